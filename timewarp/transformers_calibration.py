"""The loop's own time, and the time to start a model's kernels, from the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.primitives.step_cost import StepCost
from servecast.timewarp.transformers_cost import LoopTime, work_of
from servecast.timewarp.transformers_steps import Step, batch_of

LEAST_STEPS = 50


def fit_loop_time(steps: Sequence[Step]) -> LoopTime:
    """The coefficients that the host time of `steps` goes with, none of them below 0.

    InputError for a run of fewer than 50 steps: a garbage collection would weigh too much in it.
    """
    if len(steps) < LEAST_STEPS:
        raise InputError(
            f"{len(steps)} steps are too few to fit the time of the loop",
            hint=f"run a workload that takes {LEAST_STEPS} or more",
        )
    work = np.array([work_of(batch_of(step.parts, _no_spread)) for step in steps])
    seconds = np.array([step.host_ns for step in steps]) / 1e9
    return LoopTime(*_not_negative(work, seconds).tolist())


def launch_s(steps: Sequence[Step], cost: StepCost) -> float:
    """Seconds that the model takes in a step beyond its kernels as `cost` prices them: the mean.

    It grows with the layers: the kernels are started one by one from Python, and what streams
    through the caches in between makes that slow.
    """
    beyond = [
        step.device_ns - cost.step(batch_of(step.parts, _no_spread)).device_ns for step in steps
    ]
    return max(float(np.mean(beyond)), 0.0) / 1e9


def _not_negative(work: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares over the columns whose coefficients come out above 0."""
    kept = np.arange(len(fields(LoopTime)))
    found = np.zeros(len(kept))
    while len(kept):
        scale = np.linalg.norm(work[:, kept], axis=0)
        inverse = np.asarray(np.linalg.pinv(work[:, kept] / scale), dtype=np.float64)
        solved = inverse @ seconds / scale
        if np.all(solved >= 0.0):
            found[kept] = solved
            break
        kept = np.delete(kept, np.argmin(solved * scale))
    return found


def _no_spread(contexts: Sequence[int]) -> int:
    return 0

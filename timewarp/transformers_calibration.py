"""The loop's own time, and the time to start a model's kernels, from the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servecast.errors import InputError
from servecast.primitives.step_cost import StepCost
from servecast.timewarp.least_squares import not_negative
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
    return LoopTime(*not_negative(work, seconds).tolist())


def launch_s(steps: Sequence[Step], cost: StepCost) -> float:
    """Seconds that the model takes in a step beyond its kernels as `cost` prices them: the mean.

    It grows with the layers: the kernels are started one by one from Python, and what streams
    through the caches in between makes that slow.
    """
    beyond = [
        step.device_ns - cost.step(batch_of(step.parts, _no_spread)).device_ns for step in steps
    ]
    return max(float(np.mean(beyond)), 0.0) / 1e9


def _no_spread(contexts: Sequence[int]) -> int:
    return 0

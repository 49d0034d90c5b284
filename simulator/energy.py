"""What the GPUs of a deployment draw over a run, by how much each step asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, Group
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.ideal_source import IdealSource
from servecast.primitives.pipeline import NO_HOST
from servecast.primitives.power import is_power_known, power_w
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.run_log import RunLog


@dataclass(frozen=True, slots=True)
class Energy:
    """What a deployment draws over a run."""

    wh: float
    """Of all its GPUs. Hosts, fans and switches come on top."""
    busy: float
    """Share of the time in which a step is under way, over its replicas."""
    utilisation: float
    """Share of the roofline that the steps use, over the time in which one is under way."""


def energy(deployment: Deployment, logs: Sequence[RunLog], duration_s: float) -> Energy | None:
    """The energy of a run of `duration_s`; None where it is not known.

    A GPU draws its idle power between steps, and by `power_w` during each, whose utilisation is
    the time at the data sheet's peaks over the time that it takes. In the former the chunks of a
    step are one that begins a prompt, and verifying drafts computes one token. Not known:
    accelerators without published powers, pipelines, whose steps overlap, and data-parallel ranks,
    which wait for each other within one.
    """
    several = deployment.pipeline_parallel_size * deployment.data_parallel_size > 1
    if not is_power_known(deployment.accelerator) or several:
        return None
    ideal = _ideal_cost(replace(deployment, replicas=1))
    parts = [(log.column("duration_ns") / 1e9, _ideal_s(log, ideal)) for log in logs]
    taken_s, ideal_s = (np.concatenate(column) for column in zip(*parts, strict=True))
    used = np.divide(ideal_s, taken_s, out=np.zeros_like(taken_s), where=taken_s > 0)
    lasted_s = duration_s * len(logs)
    taken_ns = sum(int(log.column("duration_ns").sum()) for log in logs)
    busy_s = min(taken_ns / 1e9, lasted_s)
    idle_w = float(power_w(deployment.accelerator, np.zeros(1))[0])
    joules = float(taken_s @ power_w(deployment.accelerator, used)) + idle_w * (lasted_s - busy_s)
    return Energy(
        wh=joules * deployment.gpus_per_replica / 3600.0,
        busy=busy_s / lasted_s if lasted_s else 0.0,
        utilisation=float(ideal_s.sum()) / busy_s if busy_s else 0.0,
    )


@lru_cache(maxsize=16)
def _ideal_cost(deployment: Deployment) -> StepCost:
    source = IdealSource()
    return with_drafts(deployment, CompiledStepCost(deployment, source, NO_HOST), source)


def _ideal_s(log: RunLog, ideal: StepCost) -> NDArray[np.float64]:
    """Seconds of each row of the log at the device's peaks."""
    names = ("sequences", "context", "spread", "steps", "chunk_tokens")
    rows = zip(*(log.column(name).tolist() for name in names), strict=True)
    return np.array([_row_ns(ideal, *row) for row in rows], dtype=np.float64) / 1e9


def _row_ns(
    ideal: StepCost, sequences: int, context: int, spread: int, steps: int, chunk_tokens: int
) -> int:
    if not chunk_tokens:
        return ideal.decode_run(sequences, spread).run_ns(context, steps)
    decoding = Group(1, sequences, context * sequences, spread, is_decode=True)
    chunk = Group(chunk_tokens, 1, 0)
    batch = Batch((decoding, chunk)) if sequences else Batch((chunk,))
    return ideal.step(batch).device_ns

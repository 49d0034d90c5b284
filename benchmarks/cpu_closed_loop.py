"""Profile one core, forecast transformers on it, run transformers on it: does it agree?

The forecast is made of a profile of the model's kernels, and of a run of the engine with other
requests and a model of half the layers, from which the loop's own time comes and what a layer takes
beyond its kernels, starting them above all; the model itself has not run before. It is read beside
a second real run, which shows how well the engine agrees with itself. Times are of the engine's
thread's CPU clock.

`python -m benchmarks.cpu_closed_loop`; takes the extra `transformers`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from benchmarks.cpu_profile import CORE, profile, source_of
from benchmarks.table import Row, show
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.simulator.records import Records
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay
from servecast.simulator.transformers_scheduler import TransformersScheduler
from servecast.timewarp.transformers_calibration import fit_loop_time, launch_s
from servecast.timewarp.transformers_cost import LoopTime, MaskedStepCost
from servecast.timewarp.transformers_models import SmallLlama
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_run import (
    TransformersRun,
    compute_transformers,
    emulate_transformers,
    replay_transformers,
)
from servecast.traces.workload import Workload

MODEL = SmallLlama(layers=6, hidden=512, width=1536, heads=8, vocab=4096)
OPTIONS = TransformersOptions(
    num_blocks=64, max_batch_tokens=256, max_requests_per_batch=16, page_size=64
)
NO_LOOP = LoopTime(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Means:
    """What is compared: mean seconds of a run's requests."""

    ttft_s: float
    tpot_s: float
    e2e_s: float

    @classmethod
    def of(cls, records: Records) -> Means:
        """The means of a run."""
        columns = (records.ttft_ns, records.tpot_ns, records.e2e_ns)
        return cls(*(float(np.nanmean(column)) / 1e9 for column in columns))

    def off(self, truth: Means) -> Means:
        """How far these are from `truth`, relative to it."""
        return Means(
            self.ttft_s / truth.ttft_s - 1.0,
            self.tpot_s / truth.tpot_s - 1.0,
            self.e2e_s / truth.e2e_s - 1.0,
        )

    @property
    def largest(self) -> float:
        """The largest of them, whatever its sign."""
        return max(abs(self.ttft_s), abs(self.tpot_s), abs(self.e2e_s))


@dataclass(frozen=True, slots=True)
class Loop:
    """One closed loop: forecast, two real runs, and the first of them replayed."""

    cost: MaskedStepCost
    forecast: TransformersRun
    """By the engine's own loop, emulated."""
    simulated: Records
    """The same by our scheduler of transformers."""
    real: TransformersRun
    again: TransformersRun
    replayed: TransformersRun

    @property
    def forecast_off(self) -> Means:
        """The forecast from the mean of the real runs."""
        return Means.of(self.forecast.records).off(self.truth)

    @property
    def simulated_off(self) -> Means:
        """The simulated forecast from the mean of the real runs."""
        return Means.of(self.simulated).off(self.truth)

    @property
    def again_off(self) -> Means:
        """The second real run from the first."""
        return Means.of(self.again.records).off(Means.of(self.real.records))

    @property
    def replayed_off(self) -> Means:
        """The replay from the run that it replays."""
        return Means.of(self.replayed.records).off(Means.of(self.real.records))

    @property
    def truth(self) -> Means:
        """The mean of the real runs."""
        one, other = Means.of(self.real.records), Means.of(self.again.records)
        return Means(
            (one.ttft_s + other.ttft_s) / 2,
            (one.tpot_s + other.tpot_s) / 2,
            (one.e2e_s + other.e2e_s) / 2,
        )


def workload(requests: int, rate_per_s: float, seed: int) -> Workload:
    """Poisson arrivals of prompts of 20 to 199 tokens that get 8 to 39."""
    rng = np.random.default_rng(seed)
    gaps_ns = rng.exponential(1e9 / rate_per_s, requests)
    return Workload(
        name="small chat",
        arrival_ns=np.cumsum(gaps_ns).astype(np.int64),
        prompt_tokens=rng.integers(20, 200, requests),
        output_tokens=rng.integers(8, 40, requests),
        max_tokens=np.full(requests, 128, dtype=np.int64),
    )


def close_loop(
    requests: int = 40, rate_per_s: float = 2.0, seed: int = 0, profile_s: float = 40.0
) -> Loop:
    """Measure, forecast, run twice, replay; the requests of the shallow model's run are others."""
    shallow = replace(MODEL, layers=MODEL.layers // 2)
    import_module("torch").set_num_threads(1)
    source = source_of(profile([MODEL.spec], profile_s))
    other = workload(requests, 2.0 * rate_per_s, seed + 1)
    steps = compute_transformers(shallow, OPTIONS, other).steps
    layer_s = launch_s(steps, _cost(shallow, source, NO_LOOP, 0.0)) / shallow.layers
    cost = _cost(MODEL, source, fit_loop_time(steps), layer_s * MODEL.layers)
    load = workload(requests, rate_per_s, seed)
    forecast = emulate_transformers(OPTIONS, load, cost, model=MODEL.spec)
    real, again = (compute_transformers(MODEL, OPTIONS, load) for _ in range(2))
    replayed = replay_transformers(real, OPTIONS, MODEL.max_model_len)
    return Loop(cost, forecast, _simulated(load, cost), real, again, replayed)


def _simulated(load: Workload, cost: MaskedStepCost) -> Records:
    limits = SchedulerLimits(
        max_num_seqs=OPTIONS.max_requests_per_batch,
        max_num_batched_tokens=OPTIONS.max_batch_tokens,
        max_model_len=MODEL.max_model_len,
        num_blocks=OPTIONS.num_blocks,
        block_size=OPTIONS.page_size,
    )
    return replay(cost.deployment, load, limits, cost, policy=TransformersScheduler).records


def _cost(
    model: SmallLlama, source: CostSource, loop: LoopTime, started_s: float
) -> MaskedStepCost:
    deployment = Deployment(
        model=model.spec,
        accelerator=CORE,
        engine="transformers",
        engine_version="5.23",
        weights_dtype=Dtype.FP32,
        kv_cache_dtype=Dtype.FP32,
        max_model_len=model.max_model_len,
        max_num_seqs=OPTIONS.max_requests_per_batch,
        max_num_batched_tokens=OPTIONS.max_batch_tokens,
        block_size=OPTIONS.page_size,
    )
    return MaskedStepCost(deployment, source, loop, started_s)


def rows(loop: Loop) -> Iterator[Row]:
    """A row for each run."""
    runs = {
        "forecast, emulated": (loop.forecast.records, loop.forecast_off),
        "forecast, simulated": (loop.simulated, loop.simulated_off),
        "real": (loop.real.records, None),
        "real again": (loop.again.records, loop.again_off),
        "real replayed": (loop.replayed.records, loop.replayed_off),
    }
    for name, (records, off) in runs.items():
        means = Means.of(records)
        yield {
            "run": name,
            "TTFT ms": means.ttft_s * 1e3,
            "TPOT ms": means.tpot_s * 1e3,
            "E2E ms": means.e2e_s * 1e3,
            "off %": "" if off is None else _percent(off),
        }


def _percent(off: Means) -> str:
    return " ".join(f"{each * 100:+.1f}" for each in (off.ttft_s, off.tpot_s, off.e2e_s))


def main() -> None:
    """Print the runs, and the engine's own time as it was fitted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--rate", type=float, default=2.0, help="requests per second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile-seconds", type=float, default=40.0)
    given = parser.parse_args()
    loop = close_loop(given.requests, given.rate, given.seed, given.profile_seconds)
    show("transformers on one core", list(rows(loop)))
    coefficients = loop.cost.loop
    show(
        "its loop, µs",
        [
            {
                "step": coefficients.step_s * 1e6,
                "sequence": coefficients.sequence_s * 1e6,
                "query token": coefficients.query_token_s * 1e6,
                "cached token": coefficients.cached_token_s * 1e6,
                "mask element": coefficients.mask_element_s * 1e6,
                "starting kernels": loop.cost.launch_s * 1e6,
            }
        ],
    )


if __name__ == "__main__":
    main()

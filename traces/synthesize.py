"""Synthesis: a workload drawn from a traffic shape and a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from servecast.errors import InputError
from servecast.traces.arrivals import arrival_times_ns
from servecast.traces.presets import TrafficShape, preset
from servecast.traces.reshape import closed_loop, require_rate
from servecast.traces.workload import Workload

_MOST_REQUESTS = 100_000_000


def synthesize(
    shape: str | TrafficShape,
    requests: int,
    *,
    rate_per_s: float | None = None,
    concurrency: int | None = None,
    think_ns: int = 0,
    seed: int = 0,
) -> Workload:
    """A workload of `requests` requests, open loop at a rate or closed loop at a concurrency.

    The shape is a preset's name or one of your own. Arrivals and lengths have a random stream
    each, so that another rate or process leaves the lengths alone; more requests from the same
    seed begin with the same ones. The same arguments give the same workload in any process.
    """
    known = preset(shape) if isinstance(shape, str) else shape
    _require_counts(requests, seed)
    arrivals, lengths = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)
    )
    prompt_tokens, output_tokens = known.lengths.draw(requests, lengths)
    workload = Workload(
        name=known.name,
        arrival_ns=np.zeros(requests, np.int64),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=np.full(requests, known.lengths.max_output_tokens, np.int64),
        attribution=known.attribution,
    )
    return _timed(workload, known, rate_per_s, concurrency, think_ns, arrivals)


def _timed(
    workload: Workload,
    shape: TrafficShape,
    rate_per_s: float | None,
    concurrency: int | None,
    think_ns: int,
    rng: np.random.Generator,
) -> Workload:
    if concurrency is not None and rate_per_s is None:
        return closed_loop(workload, concurrency, think_ns)
    if rate_per_s is None or concurrency is not None:
        raise InputError(
            f"a synthetic workload takes a rate or a concurrency, and has "
            f"{'neither' if rate_per_s is None else 'both'}",
            hint="state `rate: 12/s` for an open loop or `concurrency: 64` for a closed one",
        )
    if think_ns:
        raise InputError(
            f"think time is {think_ns} ns at a rate, and only a closed loop has one",
            hint="state a concurrency, or leave the think time out",
        )
    require_rate(rate_per_s)
    arrival_ns = arrival_times_ns(shape.arrivals, len(workload), rate_per_s, rng)
    return replace(workload, arrival_ns=arrival_ns)


def _require_counts(requests: int, seed: int) -> None:
    if not 1 <= requests <= _MOST_REQUESTS:
        raise InputError(
            f"requests is {requests}, and must be from 1 to {_MOST_REQUESTS}",
            hint="for example 2000",
        )
    if seed < 0:
        raise InputError(f"seed is {seed}, and must be at least 0", hint="for example 1")

"""Reshaping: the same requests at another rate, fewer of them, in order, or as a closed loop."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.traces.quantities import MAX_ARRIVAL_NS, NS_PER_S
from servecast.traces.workload import Ints, Workload


def rescale(workload: Workload, rate_per_s: float) -> Workload:
    """The workload with its time stretched so that the mean rate is `rate_per_s`.

    Bursts keep their shape. Each arrival is the exact rational time rounded to a nanosecond.
    """
    require_rate(rate_per_s)
    require_no_sessions(workload, f"rate {rate_per_s:g}/s")
    if workload.concurrency is not None:
        raise InputError(
            f"rate {rate_per_s:g}/s cannot be given to `{workload.name}`: a closed loop "
            "takes the next request when one has finished",
            hint="state either a rate or a concurrency",
        )
    first_ns = int(workload.arrival_ns[0]) if len(workload) else 0
    span_ns = int(workload.arrival_ns[-1]) - first_ns if len(workload) else 0
    if span_ns == 0:
        raise InputError(
            f"rate {rate_per_s:g}/s cannot be given to `{workload.name}`: "
            f"its {len(workload)} requests arrive at one time, so it has no rate to scale",
            hint="synthesize arrivals, or state a concurrency",
        )
    target_ns = round((len(workload) - 1) * NS_PER_S / Fraction(rate_per_s))
    if not 1 <= target_ns <= MAX_ARRIVAL_NS:
        raise InputError(
            f"rate {rate_per_s:g}/s would make {len(workload)} requests last {target_ns} ns, "
            f"and that must be from 1 to {MAX_ARRIVAL_NS}",
            hint="state a rate between 0.001/s and 1000000/s",
        )
    # Python integers, because the products of two spans do not fit 64 bits.
    scaled = [
        (2 * (at_ns - first_ns) * target_ns + span_ns) // (2 * span_ns)
        for at_ns in workload.arrival_ns.tolist()
    ]
    return replace(workload, arrival_ns=np.array(scaled, np.int64))


def head(workload: Workload, requests: int) -> Workload:
    """The first `requests` requests; InputError if there are fewer."""
    if not 1 <= requests <= len(workload):
        raise InputError(
            f"requests is {requests}, and `{workload.name}` has {len(workload)}",
            hint=f"ask for 1 to {len(workload)}, or synthesize more",
        )
    return taken(workload, np.arange(requests))


def sorted_by_arrival(workload: Workload) -> Workload:
    """The requests in order of arrival, those of one time in their old order, the first at 0."""
    require_no_sessions(workload, "an order of arrival")
    ordered = taken(workload, np.argsort(workload.arrival_ns, kind="stable"))
    return replace(ordered, arrival_ns=ordered.arrival_ns - ordered.arrival_ns[:1])


def closed_loop(workload: Workload, concurrency: int, think_ns: int = 0) -> Workload:
    """The same requests in the same order, `concurrency` at a time, arrivals dropped.

    A concurrency above the number of requests starts them all at once. Of a workload with sessions
    it is so many sessions at a time.
    """
    if concurrency < 1:
        raise InputError(
            f"concurrency is {concurrency}, and must be at least 1", hint="for example 64"
        )
    if think_ns < 0:
        raise InputError(
            f"think time is {think_ns} ns, and must be at least 0", hint="0 sends without a pause"
        )
    return replace(
        workload,
        arrival_ns=np.zeros_like(workload.arrival_ns),
        concurrency=concurrency,
        think_ns=think_ns,
    )


def require_rate(rate_per_s: float) -> None:
    """Raise InputError unless the rate is a finite number above 0."""
    if not (math.isfinite(rate_per_s) and rate_per_s > 0):
        raise InputError(
            f"rate is {rate_per_s:g}/s, and must be a finite number above 0",
            hint="for example `rate: 12/s`",
        )


def require_no_sessions(workload: Workload, what: str) -> None:
    """Raise InputError where requests wait for others, and so come at no time known before."""
    if workload.sessions is not None:
        raise InputError(
            f"`{workload.name}` has sessions, whose requests wait for each other: it has no times "
            f"of arrival for {what}",
            hint="state a concurrency: so many sessions at a time",
        )


def taken(workload: Workload, rows: NDArray[np.intp] | Ints) -> Workload:
    """The requests `rows`, in that order."""
    return replace(
        workload,
        arrival_ns=workload.arrival_ns[rows],
        prompt_tokens=workload.prompt_tokens[rows],
        output_tokens=workload.output_tokens[rows],
        max_tokens=workload.max_tokens[rows],
        prefixes=None if workload.prefixes is None else workload.prefixes.take(rows),
        priorities=None if workload.priorities is None else workload.priorities[rows],
        sessions=None if workload.sessions is None else workload.sessions.take(rows),
        classes=None if workload.classes is None else workload.classes.take(rows),
    )

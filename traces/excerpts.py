"""Excerpts: a part of a workload, by time or by chance, its ticks undone, or several in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from servecast.errors import InputError
from servecast.traces import classes
from servecast.traces.prefixes import Prefixes, joined
from servecast.traces.quantities import NS_PER_S
from servecast.traces.reshape import require_no_sessions, taken
from servecast.traces.workload import Ints, Workload


def between(workload: Workload, start_s: float, end_s: float) -> Workload:
    """The requests that arrive from `start_s` up to `end_s`, the first of them at 0."""
    _require_open_loop(workload, "a span of time")
    low, high = (round(at_s * NS_PER_S) for at_s in (start_s, end_s))
    rows = np.flatnonzero((workload.arrival_ns >= low) & (workload.arrival_ns < high))
    if not len(rows):
        last_s = int(workload.arrival_ns[-1]) / NS_PER_S
        raise InputError(
            f"nothing arrives from {start_s:g} s to {end_s:g} s",
            hint=f"`{workload.name}` lasts from 0 to {last_s:g} s",
        )
    found = taken(workload, rows)
    return replace(found, arrival_ns=found.arrival_ns - found.arrival_ns[0])


def thinned(workload: Workload, share: float, seed: int = 0) -> Workload:
    """Each request kept with the chance `share`, on its own: the rate falls and bursts stay.

    What is left of a Poisson process is one (thinning).
    """
    require_no_sessions(workload, "thinning")
    if not 0 < share <= 1:
        raise InputError(f"share is {share:g}, and must be above 0 and at most 1", hint="try 0.5")
    rows = np.flatnonzero(np.random.default_rng(seed).random(len(workload)) < share)
    if not len(rows):
        raise InputError(
            f"a share of {share:g} leaves none of the {len(workload)} requests",
            hint="raise it",
        )
    return taken(workload, rows)


def without_ticks(workload: Workload) -> Workload:
    """Arrivals of one instant spread evenly up to the next one, in their order.

    For traces whose clock ticks (Mooncake's: 3 s): the n requests of a tick come a nth of the
    tick apart. The last tick is taken to be as long as the median one.
    """
    _require_open_loop(workload, "ticks")
    ticks, first, count = np.unique(workload.arrival_ns, return_index=True, return_counts=True)
    gaps = np.diff(ticks)
    last = int(np.median(gaps)) if len(gaps) else 0
    length = np.repeat(np.append(gaps, last), count)
    place = np.arange(len(workload)) - np.repeat(first, count)
    spread: Ints = workload.arrival_ns + place * length // np.repeat(count, count)
    return replace(workload, arrival_ns=spread)


def of_class(workload: Workload, name: str) -> Workload:
    """The workload with every request in the class `name`; InputError where that is no name."""
    return replace(workload, classes=classes.Classes.of([name] * len(workload)))


def mixed(workloads: Sequence[Workload]) -> Workload:
    """All requests of several open loops, each from its own time 0 on, in order of arrival.

    No prompt of one begins as a prompt of another does. Classes of the same name are one.
    """
    for workload in workloads:
        _require_open_loop(workload, "a mix")
    together = Workload(
        name="+".join(workload.name for workload in workloads),
        arrival_ns=np.concatenate([each.arrival_ns for each in workloads]),
        prompt_tokens=np.concatenate([each.prompt_tokens for each in workloads]),
        output_tokens=np.concatenate([each.output_tokens for each in workloads]),
        max_tokens=np.concatenate([each.max_tokens for each in workloads]),
        prefixes=_joined(workloads),
        priorities=_priorities(workloads),
        attribution="; ".join(dict.fromkeys(w.attribution for w in workloads if w.attribution)),
        failed=sum(workload.failed for workload in workloads),
        classes=classes.joined([(workload.classes, len(workload)) for workload in workloads]),
    )
    return taken(together, np.argsort(together.arrival_ns, kind="stable"))


def _joined(workloads: Sequence[Workload]) -> Prefixes | None:
    known = [workload.prefixes for workload in workloads]
    if all(each is None for each in known):
        return None
    sizes = [len(workload) for workload in workloads]
    return joined(list(zip(known, sizes, strict=True)))


def _priorities(workloads: Sequence[Workload]) -> Ints | None:
    if all(workload.priorities is None for workload in workloads):
        return None
    return np.concatenate(
        [
            np.zeros(len(each), np.int64) if each.priorities is None else each.priorities
            for each in workloads
        ]
    )


def _require_open_loop(workload: Workload, what: str) -> None:
    require_no_sessions(workload, what)
    if workload.concurrency is not None:
        raise InputError(
            f"`{workload.name}` is a closed loop, which has no times of arrival for {what}",
            hint="state the concurrency after that",
        )

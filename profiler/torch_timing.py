"""How calls are timed: on CUDA in graphs with events, and outside of them; else by the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, thread_time
from types import ModuleType

import numpy as np

from servecast.profiler.probe import Timing
from servecast.profiler.torch_tensors import Call

LEAST_REPEATS, MOST_REPEATS = 3, 40
REPEATS_S = 0.15
"""Repeats go on until they took this long, within their limits."""


def on_host(calls: Sequence[Call], repeats: int | None = None, *, is_alone: bool = False) -> Timing:
    """Time of a call by the host's clock; the calls take turns.

    `is_alone`: the calling thread does all of it, and what it burns is what counts, so that other
    work on the machine matters less.
    """
    clock = thread_time if is_alone else perf_counter
    calls[0]()
    turn = 0

    def once() -> float:
        nonlocal turn
        call = calls[turn % len(calls)]
        turn += 1
        start = clock()
        call()
        return clock() - start

    return _repeated(once, repeats)


def eager(torch: ModuleType, calls: Sequence[Call], repeats: int | None = None) -> Timing:
    """Time of a call as the device sees it where the host starts every kernel."""

    def run() -> None:
        for call in calls:
            call()

    run()
    return _events(torch, run, len(calls), repeats)


def in_graph(torch: ModuleType, calls: Sequence[Call], repeats: int | None = None) -> Timing:
    """Time of a call in a graph of them, after they ran outside of one."""
    cuda = torch.cuda
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        calls[0]()
    cuda.current_stream().wait_stream(side)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        for call in calls:
            call()
    graph.replay()
    return _events(torch, graph.replay, len(calls), repeats)


def _events(
    torch: ModuleType, run: Callable[[], object], calls: int, repeats: int | None
) -> Timing:
    cuda = torch.cuda
    cuda.synchronize()

    def once() -> float:
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / calls

    return _repeated(once, repeats)


def _repeated(once: Callable[[], float], repeats: int | None) -> Timing:
    """The median of repeats, and half of what the middle 80 % of them span, relative to it.

    So many repeats, or as many as the time for them allows.
    """
    least, most = (repeats, repeats) if repeats else (LEAST_REPEATS, MOST_REPEATS)
    seconds: list[float] = []
    began = perf_counter()
    while len(seconds) < least or (len(seconds) < most and perf_counter() < began + REPEATS_S):
        seconds.append(once())
    low, middle, high = np.quantile(seconds, (0.1, 0.5, 0.9)).tolist()
    return Timing(middle, (high - low) / 2 / middle)

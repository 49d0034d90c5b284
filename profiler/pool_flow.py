"""Requests on their way through two pools: prompts in one, tokens in the other.

Request by request and not step by step: what two pools of a benchmark lead to, at the cost of some
ten events a request. Prompts are computed in steps as their workers would take them; decoding is a
flow at the pace of a step of as many requests as there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from servecast.profiler.decode_worker import DecodePool, DecodeWorker
from servecast.profiler.prefill_worker import PrefillPool, PrefillWorker
from servecast.traces.workload import Workload

Times = NDArray[np.int64]


class PoolFlow:
    """A closed loop of clients in front of both pools; run once.

    A request goes to the worker with the fewest prompts before it, and once its cache has crossed
    to the one with the fewest that decode, or waits in line for any place. Its first token is
    handed out by the worker that decodes, as Dynamo's front end does.
    """

    def __init__(
        self,
        workload: Workload,
        clients: int,
        prefill: PrefillPool,
        decode: DecodePool,
        handover_ns: int,
    ) -> None:
        """`handover_ns` is from the end of a prompt until it can be decoded."""
        self._workload, self._clients = workload, clients
        self._handover_ns = handover_ns
        self._prefill = [PrefillWorker(prefill) for _ in range(prefill.workers)]
        self._decode = [DecodeWorker(decode) for _ in range(decode.workers)]
        self._handed_over: deque[int] = deque()
        self._sent = 0
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = 0
        self.arrival_ns, self.first_ns, self.end_ns = (
            np.zeros(len(workload), dtype=np.int64) for _ in range(3)
        )

    def run(self) -> tuple[Times, Times]:
        """Nanoseconds to the first token, and from there to the last, of every request."""
        for _ in range(min(self._clients, len(self._workload))):
            self._at(0, self._send)
        while self._events:
            now_ns, _, act = heappop(self._events)
            act(now_ns)
        return self.first_ns - self.arrival_ns, self.end_ns - self.first_ns

    def _at(self, when_ns: int, act: Callable[[int], None]) -> None:
        self._order += 1
        heappush(self._events, (when_ns, self._order, act))

    def _send(self, now_ns: int) -> None:
        if self._sent == len(self._workload):
            return
        request = self._sent
        self._sent += 1
        self.arrival_ns[request] = now_ns
        worker = min(self._prefill, key=lambda each: each.waiting)
        worker.add(request, int(self._workload.prompt_tokens[request]))
        if not worker.is_busy:
            worker.is_busy = True  # who comes at the same instant is in the same step
            self._at(now_ns, partial(self._compute, worker))

    def _compute(self, worker: PrefillWorker, now_ns: int) -> None:
        step_ns, ended = worker.step()
        if worker.is_busy:
            self._at(now_ns + step_ns, partial(self._computed, worker, ended))

    def _computed(self, worker: PrefillWorker, ended: list[int], now_ns: int) -> None:
        if ended:
            self._at(now_ns + self._handover_ns, partial(self._cross, ended))
        self._compute(worker, now_ns)

    def _cross(self, requests: list[int], now_ns: int) -> None:
        self._handed_over.extend(requests)
        self._fill(now_ns)

    def _fill(self, now_ns: int) -> None:
        joined: list[tuple[int, DecodeWorker]] = []
        while self._handed_over:
            worker = min(self._decode, key=lambda each: each.requests)
            if not worker.has_room:
                break
            request = self._handed_over.popleft()
            worker.join(request, int(self._workload.output_tokens[request]), now_ns)
            joined.append((request, worker))
        for request, worker in joined:
            self.first_ns[request] = now_ns + worker.step_ns
            self._watch(worker)

    def _watch(self, worker: DecodeWorker) -> None:
        if worker.due_ns is not None:
            self._at(worker.due_ns, partial(self._end, worker))

    def _end(self, worker: DecodeWorker, now_ns: int) -> None:
        if now_ns != worker.due_ns:
            return  # somebody has joined since
        for request in worker.leave(now_ns):
            self.end_ns[request] = now_ns
            self._at(now_ns + self._workload.think_ns, self._send)
        self._watch(worker)
        self._fill(now_ns)

"""Runs of vLLM with KV caches from elsewhere: of a store, or of an engine that computes prompts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from servecast.simulator.request import Request
from servecast.simulator.result import Result
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.installation import require
from servecast.timewarp.remote_kv import Link, RemoteKv, Store
from servecast.timewarp.shared_clock import SharedClock
from servecast.timewarp.vllm_replica import Node, VllmReplica
from servecast.timewarp.warped import warped
from servecast.traces.workload import Workload


def emulate_with_store(
    node: Node, workload: Workload, link: Link, held: Callable[[int], int]
) -> Result:
    """An engine that finds `held` tokens of each prompt (by index) in a store behind `link`.

    Raises as `emulate` does.
    """
    require(node.deployment.engine)
    clock = VirtualClock()
    remote = RemoteKv(clock, link, Store(held))
    engine = VllmReplica(node, clock, OpenLoop(_requests(node, workload)), remote=remote)
    with _closing(engine), warped(clock, "vllm"):
        engine.run()
    return node.result(workload, [engine.journal], engine.num_blocks)


def emulate_disaggregated(prefill: Node, decode: Node, workload: Workload, link: Link) -> Result:
    """Prompts by one engine, outputs by another, the cache over `link` in between.

    A proxy hands a request to the second engine when the first has its prompt; the second fetches
    the blocks, computes the last token again, and says every token that the client hears. The first
    keeps the blocks until they are fetched. Times, blocks and preemptions are the second engine's,
    and arrivals the client's. Raises as `emulate` does.
    """
    require(prefill.deployment.engine)
    clock = SharedClock()
    handed = Handed(_requests(decode, workload), clock)
    prompts, keeping = _requests(prefill, workload), RemoteKv(clock, finished=handed.take_over)
    first = VllmReplica(prefill, clock, OpenLoop(map(_prompt_of, prompts)), remote=keeping)
    second = VllmReplica(decode, clock, handed, remote=RemoteKv(clock, link, handed))
    handed.sent_at = keeping.sent_at
    keeping.wake = lambda ns: clock.wake(0, ns)

    def follow() -> None:
        second.run()
        while not handed.is_complete:
            clock.doze(None)
            second.run()

    with _closing(first, second), warped(clock, "vllm"):
        clock.run([first.run, follow])
    return decode.result(workload, [second.journal], second.num_blocks)


class Handed:
    """The requests whose prompts are computed, as they reach the engine that decodes."""

    def __init__(self, requests: Iterator[Request], clock: SharedClock) -> None:
        self._clock = clock
        self._waiting = {request.index: request for request in requests}
        self._ready: deque[tuple[int, Request]] = deque()
        self._prompts = {index: each.prompt_tokens for index, each in self._waiting.items()}
        self.sent_at: Callable[[str, int], None] = lambda request_id, end_ns: None
        """Tells the engine that keeps a prompt's blocks when they are fetched."""

    @property
    def is_complete(self) -> bool:
        """Whether nobody is to come any more."""
        return not self._waiting and not self._ready

    def take_over(self, request_id: str) -> None:
        """The prompt is computed, now."""
        now_ns = self._clock.now_ns()
        self._ready.append((now_ns, self._waiting.pop(int(request_id))))
        self._clock.wake(1, now_ns)

    def tokens(self, request_id: str) -> int:
        """All of the prompt is there, until it has been fetched once."""
        return self._prompts.get(int(request_id), 0)

    def fetched(self, request_id: str, end_ns: int) -> None:
        """Its blocks are free again then: who is preempted computes its prompt where it is."""
        del self._prompts[int(request_id)]
        self.sent_at(request_id, end_ns)

    def due(self, now_ns: int) -> list[Request]:
        """Take the requests that have been handed over by `now_ns`."""
        taken: list[Request] = []
        while self._ready and self._ready[0][0] <= now_ns:
            taken.append(self._ready.popleft()[1])
        return taken

    def next_ns(self) -> int | None:
        """When the next was handed over; None where nobody else has been."""
        return self._ready[0][0] if self._ready else None

    def coming(self, until_ns: int) -> Iterator[int]:
        """Prompt tokens of those who have been handed over."""
        return (request.prompt_tokens for ns, request in self._ready if ns <= until_ns)

    def finished(self, requests: int, now_ns: int) -> None:
        """Nobody waits for that."""


@contextmanager
def _closing(*engines: VllmReplica) -> Generator[None]:
    try:
        yield
    finally:
        for engine in engines:
            engine.close()


def _requests(node: Node, workload: Workload) -> Iterator[Request]:
    return node.admission(workload).requests()


def _prompt_of(request: Request) -> Request:
    """The request as the first engine gets it: for one token."""
    tokens, known = request.prompt_tokens, request.chain[:-1]
    return Request(request.index, request.arrival_ns, tokens, 1, 1, known)

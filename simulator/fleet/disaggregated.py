"""Prompts in one pool of replicas, outputs in another, and KV caches between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import simpy

from servecast.simulator.connected_engine import ConnectedEngine
from servecast.simulator.fleet.alarm import REQUESTS_ARRIVE, Alarm
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.handover import Handover
from servecast.simulator.fleet.links import Links
from servecast.simulator.fleet.one_choice import OneChoice
from servecast.simulator.fleet.router import Router
from servecast.simulator.fleet.transfer import Transfer, Way
from servecast.simulator.request import Request
from servecast.simulator.request_halves import FetchedRequest, PromptRequest


@dataclass(frozen=True, slots=True)
class Side:
    """The replicas that do one half of each request, and who chooses among them."""

    engines: Sequence[ConnectedEngine]
    router: Router


class Disaggregated:
    """Two clusters as clients see them: one.

    A request goes to the prefill side for one token and, when that is out, to the decode side. That
    reserves blocks for it; then the cache crosses, and the prefill side lets go of its own. Layer
    by layer, the decode side is asked for blocks when the request comes.
    """

    is_watched = True

    def __init__(
        self,
        env: simpy.Environment,
        prefill: Side,
        decode: Side,
        transfer: Transfer,
        way: Callable[[int, int], Way],
        on_finish: Callable[[Request], None] | None = None,
    ) -> None:
        """`way` leads from one replica to another, by their numbers."""
        self.env = env
        self._transfer = transfer
        self._way = way
        self._on_finish = on_finish
        self._links = Links()
        self._under_way: dict[int, Handover] = {}
        self._senders = {engine.number: engine for engine in prefill.engines}
        self._receivers = {engine.number: engine for engine in decode.engines}
        self._to_prefill, self._to_decode = OneChoice(prefill.router), OneChoice(decode.router)
        self._prefill = Cluster(env, prefill.engines, self._to_prefill, self._prompt_computed)
        self._decode = Cluster(env, decode.engines, self._to_decode, self._finished)
        for engine in decode.engines:
            engine.on_reserved = partial(self._reserved, engine)

    def submit(self, request: Request) -> None:
        """Hand in a request at its arrival time, which is now."""
        if self._stays(request):
            self._decode.submit(request)
            return
        hands_on = self._transfer.first_token == "prefill"
        is_over = hands_on and request.output_tokens == 1
        prompt = PromptRequest(request, is_wanted=not is_over)
        if not is_over:
            fetched = FetchedRequest(request, has_first_token=hands_on)
            self._under_way[request.index] = Handover(prompt, fetched)
            if self._transfer.by_layer:
                self._decode.submit(fetched)
        self._prefill.submit(prompt)

    @property
    def queued(self) -> int:
        """Requests that no replica of either side has a place for."""
        return len(self._prefill.queue) + len(self._decode.queue)

    def drain(self) -> None:
        """Run everything until it is idle; for after the last event."""
        self._prefill.drain()
        self._decode.drain()
        self.check()

    def check(self) -> None:
        """Raise if a request is lost between the two sides."""
        if self._under_way:
            raise AssertionError(f"requests {sorted(self._under_way)} never came across")

    def _stays(self, request: Request) -> bool:
        """Whether so little of the prompt is to be computed that the decode side does it."""
        limit = self._transfer.max_local_prefill_tokens
        if not limit:
            return False
        replica = self._to_decode.route(self._decode.engines, request)
        cached = 0 if replica is None else self._receivers[replica.number].cached_tokens(request)
        return request.prompt_tokens - cached <= limit

    def _prompt_computed(self, request: Request) -> None:
        handover = self._under_way.get(request.index)
        if handover is None:
            self._to_prefill.forget(request.index)
            self._tell(request)
            return
        now_ns, fetched = int(self.env.now), handover.fetched
        handover.prompt_ns = now_ns
        fetched.scheduled_ns = request.scheduled_ns
        if self._transfer.first_token == "prefill":
            fetched.first_token_ns = fetched.last_token_ns = now_ns
        if not self._transfer.by_layer:
            self._decode.submit(fetched)
        elif handover.receiver is not None:
            self._send(handover, handover.receiver)

    def _reserved(self, engine: ConnectedEngine, request: FetchedRequest) -> None:
        handover = self._under_way[request.index]
        handover.receiver, handover.reserved_ns = engine, int(self.env.now)
        if handover.prompt_ns is not None:
            self._send(handover, engine)

    def _send(self, handover: Handover, receiver: ConnectedEngine) -> None:
        now_ns, fetched = int(self.env.now), handover.fetched
        sender = self._senders[self._to_prefill.forget(fetched.index)]
        way = self._way(sender.number, receiver.number)
        wire_ns = way.wire_ns(fetched.missing_tokens)
        exposed_ns = way.exposed_ns(fetched.missing_tokens, handover.overlap_ns)
        earliest_ns = now_ns + exposed_ns - wire_ns
        end_ns = self._links.book(sender.number, receiver.number, earliest_ns, wire_ns)

        def over(_: simpy.Event) -> None:
            del self._under_way[fetched.index]
            fetched.cached_tokens = handover.prompt.cached_tokens
            self._decode.notify(receiver, partial(receiver.transferred, fetched))
            self._prefill.notify(sender, partial(sender.transferred, handover.prompt))

        Alarm(self.env, end_ns - now_ns, REQUESTS_ARRIVE, over)

    def _finished(self, request: Request) -> None:
        self._to_decode.forget(request.index)
        self._tell(request)

    def _tell(self, request: Request) -> None:
        if self._on_finish is not None:
            self._on_finish(request)

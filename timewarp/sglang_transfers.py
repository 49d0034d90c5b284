"""SGLang as the server that decodes of a disaggregated pair: prompts are computed elsewhere.

SGLang's own fake transfer backend takes the place of the network; a transfer takes as long as a
link says, and the first token, which the other server has computed, is the one that was decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from servecast.primitives.batch import Batch
from servecast.timewarp.device import Step
from servecast.timewarp.remote_kv import Link
from servecast.timewarp.serving import Serving
from servecast.timewarp.sglang_seam import srt
from servecast.timewarp.sglang_worker import Req


@dataclass(frozen=True, slots=True)
class Sent:
    """KV caches that come over a link, each when it is ready where its prompt is computed."""

    link: Link
    ready_ns: Callable[[int], int] = lambda index: 0
    """When a prompt is computed, by its request's index."""


class Transfers:
    """The transfers of one replica: ordered when SGLang has a place for them, one after another."""

    def __init__(self, sent: Sent, serving: Serving) -> None:
        self._sent = sent
        self._serving = serving
        self._free_ns = 0
        self._ends_ns: dict[str, int] = {}

    def order(self, rid: str) -> None:
        """SGLang has said where the KV cache of a request belongs."""
        request, link = self._serving.requests[rid].request, self._sent.link
        begin_ns = self._serving.device.clock.now_ns() + round(link.latency_s * 1e9)
        begin_ns = max(begin_ns, self._sent.ready_ns(request.index), self._free_ns)
        self._ends_ns[rid] = self._free_ns = begin_ns + link.ns(request.prompt_tokens)

    def is_over(self, rid: str) -> bool:
        """Whether the KV cache of a request is there."""
        return self._ends_ns[rid] <= self._serving.device.clock.now_ns()

    def first_token(self, req: Req) -> int:
        """What the other server has sampled after the prompt."""
        served = self._serving.requests[req.rid]
        served.place(served.request.prompt_tokens - 1)
        (token,) = served.take(1)
        return token

    def join(self, req: Req) -> None:
        """A request joins those that decode: its client hears the first token, unless it is back
        after a retraction and says what was dropped again."""
        served, now_ns = self._serving.requests[req.rid], self._serving.device.clock.now_ns()
        request = served.request
        if req.rid in self._ends_ns:
            del self._ends_ns[req.rid]
            step = Step(
                now_ns,
                now_ns,
                [(served, 0)],
                [request.prompt_tokens],
                [list(req.output_ids)],
                Batch(()),
                0,
                (),
                self._serving.blocks_used(),
            )
            self._serving.done.append(step)
            return
        request.emitted = len(req.output_ids)
        request.num_tokens = request.prompt_tokens + request.emitted
        served.computed = request.num_tokens - 1

    def wait(self) -> None:
        """Nobody can decode: jump to the end of the next transfer, or to the next arrival."""
        clock = self._serving.device.clock
        coming = [ns for ns in self._ends_ns.values() if ns > clock.now_ns()]
        arrival_ns = self._serving.arrivals.next_ns()
        if arrival_ns is not None:
            coming.append(arrival_ns)
        if coming:
            clock.jump_to(min(coming))

    def places(self) -> list[tuple[object, str, object]]:
        """What of SGLang is replaced while it runs."""
        return [
            (srt("disaggregation.fake"), "FakeKVReceiver", _receiver_class(self)),
            (
                srt("disaggregation.decode"),
                "_generate_fake_prefill_handoff_output_id",
                self.first_token,
            ),
        ]


class LinkReceiver:
    """Receives a KV cache when its transfer is over. SGLang's own fake receiver does all else."""

    transfers: Transfers
    has_sent_metadata: bool

    def __init__(self, *, bootstrap_room: int, **named: object) -> None:
        super().__init__(bootstrap_room=bootstrap_room, **named)  # type: ignore[call-arg]
        self._rid = str(bootstrap_room)

    def send_metadata(self, *given: object, **named: object) -> None:
        """SGLang has a place for the KV cache."""
        theirs: Any = super()
        theirs.send_metadata(*given, **named)
        self.transfers.order(self._rid)

    def poll(self) -> object:
        """How far the transfer is."""
        if self.has_sent_metadata and not self.transfers.is_over(self._rid):
            return srt("disaggregation.base.conn").KVPoll.Transferring
        theirs: Any = super()
        return theirs.poll()


class DecodingScheduler:
    """Says who joins those that decode. SGLang's own `Scheduler` does all else."""

    transfers: Transfers

    def get_new_prebuilt_batch(self, running_batch: object) -> Any:
        """The requests whose KV caches are there and that have a place."""
        theirs: Any = super()
        batch = theirs.get_new_prebuilt_batch(running_batch)
        for req in batch.reqs if batch else ():
            self.transfers.join(req)
        return batch

    def on_idle(self) -> None:
        """Nobody decodes; transfers may be under way."""
        theirs: Any = super()
        theirs.on_idle()
        if not theirs.is_fully_idle():
            self.transfers.wait()


def _receiver_class(transfers: Transfers) -> type[Any]:
    theirs = srt("disaggregation.fake").FakeKVReceiver
    return type("LinkReceiver", (LinkReceiver, theirs), {"transfers": transfers})

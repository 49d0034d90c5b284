"""What passes between SGLang's scheduler and its front end: handed over, not sent."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from servecast.timewarp.served import Served
from servecast.timewarp.sglang_seam import srt


class Outputs(Protocol):
    """What is read of SGLang's `BatchTokenIDOutput`."""

    rids: list[str]
    finished_reasons: list[dict[str, Any] | None]
    completion_tokens: list[int]


class End(NamedTuple):
    """How the scheduler says that a request has ended."""

    reason: str
    tokens: int
    """That it counted."""


class Inbox:
    """The end of a socket that the scheduler polls: once a turn of its loop, until it is empty."""

    def __init__(self, turn: Callable[[], list[object]]) -> None:
        """`turn` is called at each first poll, and says what has come since the last one."""
        self._turn = turn
        self._left: deque[object] | None = None
        self._empty = srt("managers.scheduler_components.request_receiver").zmq.Again

    def take(self) -> object:
        """The next message; raises zmq's own error where there is none."""
        if self._left is None:
            self._left = deque(self._turn())
        if self._left:
            return self._left.popleft()
        self._left = None
        raise self._empty()


class Outbox:
    """The end of a socket that the scheduler writes to: who has finished, and why."""

    def __init__(self) -> None:
        self._ended: dict[str, End] = {}

    def put(self, output: Outputs) -> None:
        """Take in an output; what is no output of tokens says nothing of an end."""
        if not hasattr(output, "completion_tokens"):
            return
        for rid, reason, tokens in zip(
            output.rids, output.finished_reasons, output.completion_tokens, strict=True
        ):
            if reason is not None:
                self._ended[rid] = End(reason["type"], tokens)

    def drain(self) -> dict[str, End]:
        """Who has ended since the last call, by the engine's id."""
        ended, self._ended = self._ended, {}
        return ended


def receive(socket: Inbox, flags: int = 0) -> object:
    """In place of SGLang's `sock_recv`."""
    return socket.take()


def send(socket: Outbox, output: Outputs, flags: int = 0) -> None:
    """In place of SGLang's `sock_send`."""
    socket.put(output)


def channels(inbox: Inbox, outbox: Outbox) -> Any:
    """SGLang's own set of sockets, of which two are ours and the others are not there."""
    sender = srt("managers.scheduler_components.output_sender").SenderWrapper
    return srt("managers.scheduler_components.ipc_channels").SchedulerIpcChannels(
        recv_from_tokenizer=inbox,
        recv_from_rpc=Inbox(list),
        send_to_tokenizer=sender(outbox),
        send_to_detokenizer=sender(outbox),
        send_metrics_from_scheduler=None,
    )


def request_message(served: Served, *, stream: bool, is_sent: bool = False) -> object:
    """A request as SGLang's tokenizer hands it to the scheduler.

    One that `is_sent` comes with the name of the place where its prompt is computed.
    """
    host = srt("disaggregation.utils").FAKE_BOOTSTRAP_HOST
    origin = {"bootstrap_host": host, "bootstrap_port": 1, "bootstrap_room": served.request.index}
    params = srt("sampling.sampling_params").SamplingParams(
        max_new_tokens=served.request.max_tokens, temperature=0.0
    )
    params.normalize(None)
    return srt("managers.io_struct").TokenizedGenerateReqInput(
        rid=str(served.request.index),
        input_text=None,
        input_ids=array("q", served.prompt),
        input_embeds=None,
        mm_inputs=None,
        token_type_ids=None,
        sampling_params=params,
        return_logprob=False,
        logprob_start_len=-1,
        top_logprobs_num=0,
        token_ids_logprob=None,
        stream=stream,
        **(origin if is_sent else {}),
    )


def shutdown_message() -> object:
    """What ends the scheduler's loop."""
    return srt("managers.io_struct").ShutdownReq()

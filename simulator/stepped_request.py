"""A request while a stepped engine holds it."""

from __future__ import annotations

from servecast.simulator.request import Request


class SteppedRequest:
    """What a scheduler knows of a request, under vLLM's own names, and what its device knows.

    The device is ahead of the scheduler by the batches that are under way.
    """

    __slots__ = (
        "allowed_tokens",
        "chain",
        "computed",
        "end_tokens",
        "is_decoding",
        "is_finished",
        "is_prefill_chunk",
        "is_running",
        "last_token_ns",
        "next_decode_eligible_step",
        "num_computed_tokens",
        "num_in_flight_tokens",
        "num_output_placeholders",
        "num_spec_tokens",
        "num_stale_output_tokens",
        "num_tokens",
        "order",
        "request",
        "said",
        "settled_tokens",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        self.chain = request.chain
        """The ids of all its KV blocks."""
        self.allowed_tokens = request.prompt_tokens + request.max_tokens
        """Prompt and the longest output that the client declared."""
        self.num_tokens = request.prompt_tokens
        """Prompt and the output that the scheduler has taken in."""
        self.num_computed_tokens = 0
        """With what is under way, drafts included."""
        self.num_spec_tokens = 0
        """Drafts to verify in its next step."""
        self.num_output_placeholders = 0
        """Output under way of which the scheduler does not know how much will be kept."""
        self.num_in_flight_tokens = 0
        """Tokens of batches under way."""
        self.num_stale_output_tokens = 0
        """Those of them that were scheduled before it was preempted."""
        self.is_prefill_chunk = False
        """Whether its last step ends before its last known token."""
        self.next_decode_eligible_step = 0
        self.settled_tokens = 0
        """Up to so many it has KV slots, and none of its blocks becomes full."""
        self.is_running = self.is_finished = False
        self.order = 0
        """Which one it was of all that were admitted."""
        self.computed = 0
        """On the device: tokens in the KV cache."""
        self.said = request.prompt_tokens
        """On the device: prompt and the output that has come out of it."""
        self.end_tokens = request.prompt_tokens + request.output_tokens
        """On the device: prompt and all of its output, the truth."""
        self.is_decoding = False
        """On the device: whether its prompt, or after a preemption all it had, is computed."""
        self.last_token_ns: int | None = None
        """When its client had its latest token."""

    def place(self, computed: int) -> None:
        """Begin on the device, or begin again, with `computed` tokens found in the cache."""
        self.computed = computed
        self.is_decoding = False

    def beyond(self, tokens: int) -> int:
        """How many of the next `tokens` are computed before anybody has said them."""
        return max(0, tokens - (self.said - self.computed))

    def take(self, tokens: int, rejected: int) -> int:
        """Compute `tokens` more on the device, and return how many tokens come out.

        The last known token brings another one, and so does each beyond it that is not `rejected`.
        What is computed beyond the request's end says that it has ended.
        """
        self.computed += tokens - rejected
        new = self.computed - self.said + 1
        if new < 1:
            return 0
        self.is_decoding = True
        self.said += new
        spare = self.said - self.end_tokens
        return new if spare <= 0 else max(0, new - spare - 1) + 1

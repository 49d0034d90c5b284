"""A request as the device that serves it knows it."""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.timewarp.oracle import END, Text


class Served:
    """A request on a virtual device: how far it is computed, and the text that it will say.

    Only the device knows how long that text is. The engine sees the `END` that closes it.
    """

    __slots__ = ("computed", "is_closed", "is_decoding", "last_row", "request", "text")

    def __init__(self, request: Request, block_size: int = 16) -> None:
        """`block_size` is the engine's: the request's chain names blocks of that many tokens."""
        self.request = request
        self.text = Text(request.index, request.chain[:-1], block_size)
        self.computed = 0
        """Tokens in the KV cache."""
        self.is_decoding = False
        """Whether its prompt (or, after a preemption, all it had) is computed."""
        self.is_closed = False
        """Whether its client has the last token."""
        self.last_row = 0
        """Row of the log in which its latest token comes out."""

    @property
    def prompt(self) -> list[int]:
        """The tokens that the client sent."""
        return self.text.tokens(0, self.request.prompt_tokens)

    def place(self, computed: int) -> None:
        """Begin, or begin again after a preemption, with `computed` tokens found in the cache."""
        self.computed = computed
        self.is_decoding = False

    def beyond(self, tokens: int) -> int:
        """How many of the next `tokens` are computed before anybody has said them."""
        return max(0, tokens - (self.request.num_tokens - self.computed))

    def take(self, tokens: int, rejected: int = 0) -> list[int]:
        """Compute `tokens` more; what comes out: nothing before the last known token is in.

        That one brings another, and so does each beyond it that is not `rejected`. Computed beyond
        its end, as by an engine that schedules ahead, it says `END` again.
        """
        request = self.request
        said = 1 + self.beyond(tokens) - rejected
        self.computed += tokens - rejected
        if self.computed < request.num_tokens:
            return []
        self.is_decoding = True
        start = request.num_tokens
        request.num_tokens += said
        request.emitted += said
        spare = request.emitted - request.output_tokens
        if spare < 0:
            return self.text.tokens(start, said)
        return [*self.text.tokens(start, max(0, said - spare - 1)), END]

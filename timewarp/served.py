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

    def take(self, tokens: int) -> list[int]:
        """Compute `tokens` more; what comes out: nothing before the last known token is in.

        Once it decodes, each computed token brings another. Computed beyond its end, as by an
        engine that schedules ahead, it says `END` again.
        """
        request = self.request
        self.computed += tokens
        if self.computed < request.num_tokens:
            return []
        said = tokens if self.is_decoding else 1
        self.is_decoding = True
        request.num_tokens += said
        request.emitted += said
        if request.emitted >= request.output_tokens:
            return [END]
        return self.text.tokens(request.num_tokens - said, said)

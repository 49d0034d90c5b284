"""A request that two replicas share: one computes its prompt, the other says what follows."""

from __future__ import annotations

from servecast.simulator.request import Request


class FetchedRequest(Request):
    """The request where it decodes: the KV cache of its prompt comes from elsewhere, once.

    Preempted it is computed again where it is, as any other.
    """

    __slots__ = ("is_fetched", "missing_tokens")

    def __init__(self, whole: Request, *, has_first_token: bool) -> None:
        """`has_first_token`: whoever computes the prompt hands on the token that follows it."""
        super().__init__(
            whole.index,
            whole.arrival_ns,
            whole.prompt_tokens,
            whole.output_tokens,
            whole.max_tokens,
            whole.chain[:-1],
        )
        self.priority, self.session = whole.priority, whole.session
        if has_first_token:
            self.emitted = 1
            self.num_tokens: int = whole.prompt_tokens + 1
        self.is_fetched = False
        """Whether the cache has been ordered."""
        self.missing_tokens = whole.prompt_tokens
        """Of the prompt, what the replica did not have when it reserved the blocks."""


class PromptRequest(Request):
    """The same request where its prompt is computed: there it is over with the token that follows.

    Its blocks are kept beyond that if `is_wanted`, until somebody has fetched them.
    """

    __slots__ = ("is_wanted", "whole")

    def __init__(self, whole: Request, *, is_wanted: bool) -> None:
        tokens = whole.prompt_tokens
        super().__init__(whole.index, whole.arrival_ns, tokens, 1, 1, whole.chain[:-1])
        self.priority, self.session = whole.priority, whole.session
        self.is_wanted = is_wanted
        self.whole = whole
        """What the clients sent."""

"""A request while an engine holds it."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.segment import Segment

_OWN_BLOCKS = 1 << 32
"""Ids for each request's own blocks: negative, as those of a workload are not."""


class Request:
    """One request from submission to finish; the engine drops it once it is recorded.

    Schedulers read `prompt_tokens`, `max_tokens`, `num_tokens` and `num_computed_tokens`, as the
    real ones do. `output_tokens` is the truth: only the engine reads it, to end the request.
    """

    __slots__ = (
        "arrival_ns",
        "base",
        "cached_tokens",
        "chain",
        "decode_end",
        "emitted",
        "first_run",
        "first_token_ns",
        "held",
        "host_tokens",
        "index",
        "last_token_ns",
        "max_tokens",
        "num_blocks",
        "num_cached_blocks",
        "num_computed_tokens",
        "num_preemptions",
        "num_tokens",
        "output_tokens",
        "priority",
        "prompt_tokens",
        "scheduled_ns",
        "session",
    )

    def __init__(
        self,
        index: int,
        arrival_ns: int,
        prompt_tokens: int,
        output_tokens: int,
        max_tokens: int,
        known: Sequence[tuple[int, int]] = (),
    ) -> None:
        """`known` are the extents of KV block ids that the request may share with others."""
        self.index, self.arrival_ns = index, arrival_ns
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.max_tokens = max_tokens
        self.priority = 0
        """Where requests are served by it the smallest goes first."""
        self.session: int | None = None
        """Whose it is, for routers that keep a session together; None: of none that is known."""
        self.num_tokens = prompt_tokens
        """Prompt and emitted tokens; behind by the group's steps while the request decodes."""
        self.num_computed_tokens = self.num_blocks = 0
        self.chain = [*known, (-(index + 1) * _OWN_BLOCKS, _OWN_BLOCKS)]
        """The ids of all its KV blocks, in order: those known, then its own."""
        self.num_cached_blocks = 0
        """Of its blocks, from the first, those that a prefix cache could find."""
        self.cached_tokens = 0
        """Prompt tokens that were found in the prefix cache when it was first admitted."""
        self.host_tokens = 0
        """Prompt tokens that were loaded from the host's memory for that, behind those."""
        self.held: list[tuple[Segment, int]] = []
        """Where those lie: each segment, and how many of them it held when this was noted."""
        self.emitted = self.base = 0
        """Computed tokens less the decode group's step counter: constant while it decodes."""
        self.decode_end = 0
        """The decode group's step at which the last token comes out."""
        self.num_preemptions = self.first_run = 0
        self.scheduled_ns: int | None = None
        self.first_token_ns: int | None = None
        self.last_token_ns = 0
        """When it joined the decode group; once preempted, when its latest token came out."""

    def anew(self) -> Request:
        """The same request as it came, for another engine to begin with."""
        known = self.chain[:-1]
        other = Request(
            self.index,
            self.arrival_ns,
            self.prompt_tokens,
            self.output_tokens,
            self.max_tokens,
            known,
        )
        other.priority, other.session = self.priority, self.session
        return other

    def named_blocks(self) -> int:
        """How many of its blocks have ids that others may know."""
        return sum(length for _, length in self.chain[:-1])

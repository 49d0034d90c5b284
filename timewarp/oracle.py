"""The texts of fake requests: which tokens a client sends and hears, decided beforehand."""

from __future__ import annotations

from collections.abc import Sequence

END = 0
"""The end-of-sequence token: an engine learns that a request is over when it sees it."""

FILLER = 1
"""A token that means nothing: the rest of a named block, and every draft."""
_BASE = 32749  # a prime, so that a digit moves a stream's tokens to others at every place
_DIGITS = 5


def stream_tokens(stream: int, start: int, count: int) -> list[int]:
    """Tokens `start` to `start + count` of an endless text of one's own.

    No two streams have the same pair of tokens at one place.
    """
    high, low = divmod(stream, _BASE)
    digits = (low, high)
    return [1 + (digits[at & 1] + at) % _BASE for at in range(start, start + count)]


def block_tokens(block_id: int, size: int) -> list[int]:
    """The tokens of a block with an id: its digits, which no other block begins with."""
    digits = [2 + (block_id // _BASE**power) % _BASE for power in range(_DIGITS)]
    return (digits + [FILLER] * (size - _DIGITS))[:size]


class Text:
    """A request's prompt and output, one endless text: named blocks, then a stream of its own.

    Texts are equal as far as their block ids are and no farther. Whoever continues a text, the
    next turn of a conversation, names the same blocks, and finds them in a prefix cache.
    """

    __slots__ = ("_named", "_stream")

    def __init__(self, stream: int, extents: Sequence[tuple[int, int]], block_size: int) -> None:
        """`extents` are ids of blocks of `block_size` tokens: the first, and how many."""
        self._stream = stream
        self._named = [
            token
            for first, length in extents
            for block_id in range(first, first + length)
            for token in block_tokens(block_id, block_size)
        ]

    def tokens(self, start: int, count: int) -> list[int]:
        """The tokens from place `start` on."""
        end, named = start + count, len(self._named)
        if start >= named:
            return stream_tokens(self._stream, start, count)
        return self._named[start:end] + stream_tokens(self._stream, named, max(0, end - named))

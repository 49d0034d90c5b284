"""What the requests of an emulated transformers say and hear."""

from __future__ import annotations

from collections.abc import Callable

from servecast.simulator.request import Request
from servecast.timewarp.oracle import Text

Tokens = Callable[[int, int], list[int]]
"""A text: its tokens from a place on, so many, none of them the end of it."""
Texts = Callable[[Request], Tokens]
"""Each request's: its prompt, and what follows it."""


def own_texts(request: Request) -> Tokens:
    """A text that shares its beginning with no other."""
    return Text(request.index, (), 1).tokens


def named_texts(page_size: int) -> Texts:
    """Texts that begin alike as far as the workload's prefixes do, in blocks of `page_size`."""

    def text(request: Request) -> Tokens:
        return Text(request.index, request.chain[:-1], page_size).tokens

    return text


def small_texts(texts: Texts, vocab: int) -> Texts:
    """The same for a real model, which knows the tokens below `vocab` alone."""

    def text(request: Request) -> Tokens:
        tokens = texts(request)
        return lambda start, count: [1 + token % (vocab - 1) for token in tokens(start, count)]

    return text

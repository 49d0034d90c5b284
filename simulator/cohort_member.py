"""A member of a cohort: where it stands after each of its steps, told ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.speculation import Speculation
from servecast.simulator.stepped_request import SteppedRequest

SEQUENCES, CONTEXT, BLOCKS, HEARD, TOKENS = range(5)
"""Rows of what a member adds to a cohort's steps: itself and its context on the device, the KV
blocks that it takes, and, where it goes on, itself and its new tokens as its client hears them."""
ROWS = 5

Ints = NDArray[np.int64]


class CohortMember:
    """A request from the step `start` on in which it joined; its own steps are counted from 0."""

    __slots__ = ("_known", "_reach", "held", "path", "request", "rides", "start", "steps")

    def __init__(
        self, request: SteppedRequest, start: int, held: int, path: Sequence[int], *, ahead: bool
    ) -> None:
        """`path` is the tokens that it has, prompt included, on the device before each step, and
        after the last; `held` are its KV blocks."""
        self.request = request
        self.start = start
        self.held = held
        self.path = path
        self.steps = len(path) - 1
        """Until its last token is out."""
        self.rides = self.steps
        """The same, with the step that is scheduled before the scheduler knows of that."""
        self._known = path
        if ahead:
            self._known = [request.num_tokens, *path]
            self.rides += path[-2] + 1 < request.allowed_tokens

    def adds(self, reach: int, block_size: int) -> Ints:
        """What it adds to each of its steps; a step has slots for `reach` tokens beyond those that
        the scheduler knows."""
        self._reach = reach
        rides, goes_on = self.rides, self.steps - 1
        added = np.zeros((ROWS, rides), dtype=np.int64)
        before = np.array(self.path)
        blocks = -(-(np.array(self._known[:rides]) + reach) // block_size)
        np.maximum(blocks, self.held, out=blocks)
        added[SEQUENCES] = 1
        added[CONTEXT] = before[:rides] - 1
        added[BLOCKS] = blocks
        added[BLOCKS, 0] -= self.held
        added[BLOCKS, 1:] -= blocks[:-1]
        added[HEARD, :goes_on] = 1
        added[TOKENS, :goes_on] = before[1 : goes_on + 1] - before[:goes_on]
        return added

    def taken(self, scheduled: int, block_size: int) -> int:
        """KV blocks that it took in its first `scheduled` steps."""
        slots = self._known[scheduled - 1] + self._reach
        return max(0, -(-slots // block_size) - self.held)

    def says(self, step: int) -> int:
        """Tokens that come out of it in one of its steps."""
        return min(self.path[step + 1], self.request.end_tokens) - self.path[step]


def path_of(request: SteppedRequest, speculation: Speculation | None, drafts: int) -> Sequence[int]:
    """The tokens that a decoding request has before each step of so many drafts, and after the
    last, at its end or beyond."""
    said, end = request.said, request.end_tokens
    if speculation is None or not drafts:
        return range(said, end + 1)
    first = said - request.request.prompt_tokens
    accepted = speculation.all_accepted(request.request.index, first, first + end - said)
    moves = (np.minimum(accepted, drafts) + 1).tolist()
    path, at, last = [said], 0, end - said
    while at < last:
        at += moves[at]
        path.append(said + at)
    return path

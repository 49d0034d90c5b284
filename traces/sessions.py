"""Sessions: which request follows which, and how long its client thinks in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sessions:
    """A session is a first request, sent at its time of arrival, and all that follow it.

    Request r is sent `think_ns[r]` after the earlier request `follows[r]` has finished; -1 there
    makes it the first of a session. One request may be followed by several (sub-agents).
    """

    follows: Ints
    think_ns: Ints

    def __post_init__(self) -> None:
        late = np.flatnonzero((self.follows >= np.arange(len(self.follows))) | (self.follows < -1))
        if len(late):
            row = int(late[0])
            raise InputError(
                f"request {row} follows request {self.follows[row]}, and must follow an earlier "
                "one, or -1 for none"
            )
        if len(self.think_ns) != len(self.follows) or (self.think_ns < 0).any():
            raise InputError("every request of a session needs a think time of at least 0 ns")

    def __len__(self) -> int:
        return len(self.follows)

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """Which requests begin a session."""
        return np.asarray(self.follows < 0)

    def numbers(self) -> Ints:
        """The number of each request's session, from 0 in order of their first requests."""
        number: list[int] = []
        begun = 0
        before: list[int] = self.follows.tolist()
        for follows in before:
            number.append(begun if follows < 0 else number[follows])
            begun += follows < 0
        return np.array(number, np.int64)

    def followers(self) -> list[list[int]]:
        """The requests that follow each request directly, in their order."""
        after: list[list[int]] = [[] for _ in range(len(self))]
        before: list[int] = self.follows.tolist()
        for row, follows in enumerate(before):
            if follows >= 0:
                after[follows].append(row)
        return after

    def take(self, rows: NDArray[np.integer]) -> Sessions:
        """The sessions of the requests `rows`, in that order.

        Whoever followed a request that is not taken begins a session of its own.
        """
        place = np.full(len(self) + 1, -1, np.int64)
        place[rows] = np.arange(len(rows))
        return Sessions(place[self.follows[rows]], self.think_ns[rows])

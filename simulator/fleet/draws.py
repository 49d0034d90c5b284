"""Uniform draws, taken from a generator many at a time."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 4096


class Draws:
    """Numbers drawn one by one from a stream of their own, at a tenth of a generator's price."""

    __slots__ = ("_left", "_rng")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: list[float] = []

    def uniform(self) -> float:
        """A number from 0 up to 1."""
        if not self._left:
            self._left = self._rng.random(_AT_ONCE).tolist()
        return self._left.pop()

    def below(self, count: int) -> int:
        """A whole number from 0 up to `count`, each alike."""
        return int(self.uniform() * count)

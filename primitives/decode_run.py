"""Decode steps of one batch size as integer prefix sums over the mean context."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Price = Callable[[NDArray[np.float64]], Ints]
"""From mean contexts to nanoseconds, elementwise."""

MARGIN = 1024
"""Contexts priced at least on either side of those asked for."""


class DecodeRun:
    """The cost of decoding with a fixed set of sequences, whose mean context grows by one a step.

    Prices the contexts that are asked for and some around them, twice as many whenever these are
    not enough. A prefix sums whole steps over the contexts below its own, so a run of k steps from
    c is one difference of two: skipping k steps equals taking them one by one, by construction.
    """

    __slots__ = (
        "_attention_ns",
        "_exposed_ns",
        "_first",
        "_fixed_ns",
        "_hidden_ns",
        "_prefix_ns",
        "_price",
    )

    def __init__(
        self, attention: Price, fixed_ns: int, *, hidden_ns: int = 0, exposed_ns: int = 0
    ) -> None:
        """`attention` prices the part that depends on context, `fixed_ns` is the rest of a step.

        A step is the larger of these together and `hidden_ns`, plus `exposed_ns`.
        """
        self._price = attention
        self._fixed_ns = fixed_ns
        self._hidden_ns = hidden_ns
        self._exposed_ns = exposed_ns
        self._first = 0  # the least context priced
        self._attention_ns = array("q")
        self._prefix_ns = array("q", [0])

    def run_ns(self, context: int, steps: int) -> int:
        """Nanoseconds of `steps` steps, the first at mean context `context`."""
        start = context - self._first
        if start < 0 or start + steps >= len(self._prefix_ns):
            self._reach(context, context + steps)
            start = context - self._first
        return self._prefix_ns[start + steps] - self._prefix_ns[start]

    def steps_until(self, context: int, ns: int, at_most: int) -> int:
        """The fewest steps from `context` that take at least `ns`, or `at_most` if they do not."""
        start, prefix_ns = context - self._first, self._prefix_ns
        if start < 0 or start + at_most >= len(prefix_ns):
            self._reach(context, context + at_most)
            start, prefix_ns = context - self._first, self._prefix_ns
        target = prefix_ns[start] + ns
        return bisect_left(prefix_ns, target, start + 1, start + at_most) - start

    def step_attention_ns(self, context: int) -> int:
        """The part of the step at mean context `context` that depends on it."""
        place = context - self._first
        if place < 0 or place >= len(self._attention_ns):
            self._reach(context, context + 1)
            place = context - self._first
        return self._attention_ns[place]

    def attention_ns(self, first: int, last: int) -> Ints:
        """The same of each step from mean context `first` to below `last`."""
        self._reach(first, last)
        return np.array(self._attention_ns[first - self._first : last - self._first])

    def steps_ns(self, first: int, last: int) -> Ints:
        """Each whole step from mean context `first` to below `last`."""
        self._reach(first, last)
        return np.diff(self._prefix_ns[first - self._first : last + 1 - self._first])

    def _reach(self, first: int, last: int) -> None:
        """Have the steps priced that start at mean contexts from `first` to below `last`."""
        known = len(self._attention_ns)
        margin = max(known, MARGIN)
        if not known:
            self._first = max(0, first - margin)
        end = self._first + known
        if last > end or not known:
            attention, sums = self._priced(end, last + margin)
            self._attention_ns.frombytes(attention.tobytes())
            self._prefix_ns.frombytes((sums + self._prefix_ns[-1]).tobytes())
        if first < self._first:
            before = max(0, first - margin)
            attention, sums = self._priced(before, self._first)
            starts = np.concatenate(([0], sums[:-1])) - sums[-1] + self._prefix_ns[0]
            self._attention_ns = array("q", attention.tobytes()) + self._attention_ns
            self._prefix_ns = array("q", starts.tobytes()) + self._prefix_ns
            self._first = before

    def _priced(self, first: int, last: int) -> tuple[Ints, Ints]:
        """Attention of the steps from mean context `first` to below `last`; sums of the steps."""
        attention = self._price(np.arange(first, last, dtype=np.float64))
        device = np.maximum(attention + self._fixed_ns, self._hidden_ns)
        return attention, np.cumsum(device + self._exposed_ns, dtype=np.int64)

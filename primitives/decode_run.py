"""Decode steps of one batch size as integer prefix sums over the mean context."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Price = Callable[[NDArray[np.float64]], NDArray[np.int64]]
"""From mean contexts to nanoseconds, elementwise."""


class DecodeRun:
    """The cost of decoding with a fixed set of sequences, whose mean context grows by one a step.

    Compiled lazily and doubled when a longer context is asked for. `attention_ns[c]` is the decode
    attention of a step at mean context c; `prefix_ns[c]` sums whole steps over contexts below c, so
    a run of k steps from c is `prefix_ns[c + k] - prefix_ns[c]`: skipping k steps equals taking
    them one by one, by construction.
    """

    __slots__ = (
        "_attention",
        "_exposed_ns",
        "_fixed_ns",
        "_hidden_ns",
        "attention_ns",
        "prefix_ns",
    )

    def __init__(
        self, attention: Price, fixed_ns: int, *, hidden_ns: int = 0, exposed_ns: int = 0
    ) -> None:
        """`attention` prices the part that depends on context, `fixed_ns` is the rest of a step.

        A step is the larger of these together and `hidden_ns`, plus `exposed_ns`.
        """
        self._attention = attention
        self._fixed_ns = fixed_ns
        self._hidden_ns = hidden_ns
        self._exposed_ns = exposed_ns
        self.attention_ns = array("q")
        self.prefix_ns = array("q", [0])

    def reach(self, context: int) -> None:
        """Compile so that steps starting at mean contexts below `context` are priced."""
        known = len(self.attention_ns)
        if context <= known:
            return
        upto = max(2 * known, context) + 1024
        attention = self._attention(np.arange(known, upto, dtype=np.float64))
        self.attention_ns.frombytes(attention.tobytes())
        device = np.maximum(attention + self._fixed_ns, self._hidden_ns)
        steps = device + self._exposed_ns
        sums = np.cumsum(steps, dtype=np.int64) + self.prefix_ns[-1]
        self.prefix_ns.frombytes(sums.tobytes())

    def run_ns(self, context: int, steps: int) -> int:
        """Nanoseconds of `steps` steps, the first at mean context `context`."""
        if context + steps >= len(self.prefix_ns):
            self.reach(context + steps)
        return self.prefix_ns[context + steps] - self.prefix_ns[context]

    def steps_until(self, context: int, ns: int, at_most: int) -> int:
        """The fewest steps from `context` that take at least `ns`, or `at_most` if they do not."""
        if context + at_most >= len(self.prefix_ns):
            self.reach(context + at_most)
        target = self.prefix_ns[context] + ns
        return bisect_left(self.prefix_ns, target, context + 1, context + at_most) - context

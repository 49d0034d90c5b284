"""One measured curve, read between and beyond its points through the ideal time of the operation.

The ideal time is what the device's peaks allow; its share of the measured time is the utilisation.
Between two points the time is affine in the ideal time: an overhead, then a reached rate. That is
monotone and passes through the points whatever the operation's shape; a utilisation linear in the
logarithm of the size would dip below both neighbours wherever launches decide. Points left out in
turn, of 139 AIConfigurator tables (H200 and B200, three engines), come out within these errors in
90 % of the cases, by this rule and by that one held above the lower neighbour: products 9.3 and
9.3 %, decode 10.1 and 12.4 %, prefill 11.4 and 16.3 %, experts 9.8 and 9.9 %, all-reduce 8.2 and
10.0 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.cost import Provenance

Floats = NDArray[np.float64]

Ideal = Callable[..., Floats]
"""Seconds at the device's peaks, from the sizes that grow (one array each)."""

FASTEST = 1.05
"""The utilisation that no unmeasured point exceeds: peaks of data sheets are rounded."""

SMALL = 16
"""Tokens, sequences or elements at which a curve may begin without leaving a gap below."""

_SLOPE_POINTS = 4
"""Points at the end of a curve whose common slope goes on beyond it. With one and two doublings of
the context left out at the end of vLLM's decode tables (H200), 90 % of predictions are off by 12
and 24 % or less; by the slope of the last two points by 17 and 35 %, and by the last utilisation,
held, by 46 and 107 %."""


class Surface(Protocol):
    """Costs of one site as a function of the sizes that grow."""

    def seconds(self, *at: Floats) -> Floats:
        """Seconds at these sizes, elementwise; arrays broadcast."""
        ...

    def provenance(self, *at: Floats) -> Provenance:
        """How all of these are known: that of the least known among them."""
        ...

    def left_out(self) -> Floats:
        """Relative errors of points inside, each predicted from its neighbours."""
        ...

    def left_beyond(self) -> Floats:
        """Relative errors of points at the far end, predicted from those before."""
        ...


class Curve:
    """Measured seconds over one size. A site's rows become one when it is first asked for.

    Below the first point its seconds are held (a launch does not shrink). Beyond the last the
    slope of the last few goes on, never slower than the last point's utilisation held.
    """

    __slots__ = ("_ideal", "at", "ideal_s", "measured_s")

    def __init__(self, at: Floats, seconds: Floats, ideal: Ideal) -> None:
        """`at` ascends, one entry a point; `ideal` strictly ascends with it."""
        self.at, self.measured_s = at, seconds
        self._ideal = ideal
        self.ideal_s = ideal(at)

    def seconds(self, *at: Floats) -> Floats:
        """Seconds at these sizes."""
        return self.at_ideal(self._ideal(*at))

    def at_ideal(self, ideal: Floats) -> Floats:
        """Seconds of sizes with these ideal times."""
        inside: Floats = np.interp(ideal, self.ideal_s, self.measured_s)
        if ideal.max(initial=0.0) <= self.ideal_s[-1]:
            return inside
        back = max(len(self.at) - _SLOPE_POINTS, 0)
        far = beyond(
            ideal,
            (self.ideal_s[-1], self.measured_s[-1]),
            (self.ideal_s[back], self.measured_s[back]),
        )
        return np.where(ideal > self.ideal_s[-1], far, inside)

    def provenance(self, *at: Floats) -> Provenance:
        """Measured where every size is a point's."""
        (size,) = at
        if not is_within(size, self.at):
            return Provenance.EXTRAPOLATED
        few = size.size <= len(self.at)
        known = few and are_known(size, self.at)
        return Provenance.MEASURED if known else Provenance.INTERPOLATED

    def left_out(self) -> Floats:
        """Relative errors of the points inside."""
        ideal, seconds = self.ideal_s, self.measured_s
        rate = (seconds[2:] - seconds[:-2]) / (ideal[2:] - ideal[:-2])
        return (seconds[:-2] + rate * (ideal[1:-1] - ideal[:-2])) / seconds[1:-1] - 1.0

    def left_beyond(self) -> Floats:
        """Relative errors of the last point, predicted from all before it, and from two fewer."""
        ends = [end for end in (len(self.at) - 1, len(self.at) - 2) if end >= _SLOPE_POINTS]
        last = self.at[-1:]
        shorter = [Curve(self.at[:end], self.measured_s[:end], self._ideal) for end in ends]
        errors = [curve.seconds(last) / self.measured_s[-1] - 1.0 for curve in shorter]
        return np.concatenate([np.zeros(0), *errors])


def beyond(ideal: Floats, last: tuple[Floats, Floats], back: tuple[Floats, Floats]) -> Floats:
    """Seconds beyond the last of two points, each (ideal seconds, seconds).

    The line through both, neither slower than the last one's utilisation nor faster than `FASTEST`.
    """
    held = last[1] * ideal / last[0]
    span = np.asarray(last[0] - back[0])
    rate = np.divide(last[1] - back[1], span, out=np.asarray(last[1] / last[0]), where=span > 0)
    line = last[1] + rate * (ideal - last[0])
    return np.maximum(np.minimum(line, held), ideal / FASTEST)


def is_within(size: Floats, known: Floats) -> bool:
    """Whether all sizes lie between the first and the last that is known.

    Below a first that is `SMALL` there is nothing to find out, launches decide; and none is none.
    """
    if size.max(initial=0.0) > known[-1]:
        return False
    return bool(known[0] <= SMALL or ((size >= known[0]) | (size < 1)).all())


def are_known(sizes: Floats, known: Floats) -> bool:
    """Whether every size, none above the last that is known, is one of the ascending `known`."""
    return bool((known[known.searchsorted(sizes)] == sizes).all())

"""Measured costs over two sizes: batch and context, or past and new tokens."""

from __future__ import annotations

from functools import partial

import numpy as np

from servecast.primitives.cost import Provenance
from servecast.primitives.utilisation import Curve, Floats, Ideal, are_known, beyond, is_within


class Grid:
    """A curve for each measured value of the first size, and the way from one to the next.

    Rows need not have the same columns: tables stop where memory did. From row to row the time is
    affine in the ideal time, as it is along a row.
    """

    __slots__ = ("_curves", "_first", "_ideal", "rows")

    def __init__(self, points: Floats, seconds: Floats, ideal: Ideal) -> None:
        """`points` has two columns, row and column; `ideal` strictly ascends with either."""
        order = np.lexsort((points[:, 1], points[:, 0]))
        points, seconds = points[order], seconds[order]
        self.rows, starts = np.unique(points[:, 0], return_index=True)
        self._ideal = ideal
        self._first = points[:, 1].min()
        self._curves = [
            Curve(columns[:, 1], own, partial(ideal, row))
            for row, columns, own in zip(
                self.rows, np.split(points, starts[1:]), np.split(seconds, starts[1:]), strict=True
            )
        ]

    def seconds(self, *at: Floats) -> Floats:
        """Seconds at these rows and columns."""
        row, column = (np.asarray(size, np.float64) for size in at)
        column = np.maximum(column, self._first)
        if row.ndim == 0:
            return self._in_band(int(self._band(row)), row, column)
        row, column = np.broadcast_arrays(row, column)
        bands = self._band(row)
        seconds = np.empty(row.shape)
        for band in np.unique(bands):
            own = bands == band
            seconds[own] = self._in_band(int(band), row[own], column[own])
        return seconds

    def provenance(self, *at: Floats) -> Provenance:
        """Inside where both rows around have the columns; measured where a row and its point is."""
        row, column = (np.asarray(size, np.float64) for size in at)
        if not is_within(row, self.rows):
            return Provenance.EXTRAPOLATED
        lower = int(self._band(row).min())
        upper = int(np.searchsorted(self.rows, np.max(row)))
        around = self._curves[max(lower, 0) : upper + 1]
        found = {curve.provenance(column) for curve in around}
        if Provenance.EXTRAPOLATED in found:
            return Provenance.EXTRAPOLATED
        is_known = found == {Provenance.MEASURED} and are_known(row, self.rows)
        return Provenance.MEASURED if is_known else Provenance.INTERPOLATED

    def left_out(self) -> Floats:
        """Relative errors of points inside: along rows, and of rows from those around them."""
        errors = [curve.left_out() for curve in self._curves]
        for place in range(1, len(self.rows) - 1):
            curve = self._curves[place]
            seconds = self._between(place - 1, place + 1, self.rows[place], curve.at)
            errors.append(seconds / curve.measured_s - 1.0)
        return np.concatenate(errors)

    def left_beyond(self) -> Floats:
        """Relative errors at the ends of the rows."""
        return np.concatenate([curve.left_beyond() for curve in self._curves])

    def _band(self, row: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """The last known row that is not above; −1 below the first."""
        return np.asarray(self.rows.searchsorted(row, side="right") - 1)

    def _in_band(self, lower: int, row: Floats, column: Floats) -> Floats:
        if lower < 0:
            return self._curves[0].seconds(column)
        if self.rows[lower] == row.max(initial=0.0):
            return self._curves[lower].seconds(column)
        if lower + 1 < len(self.rows):
            return self._between(lower, lower + 1, row, column)
        back = max(lower - 3, 0)
        last, earlier = self._point(lower, column), self._point(back, column)
        return beyond(self._ideal(row, column), last, earlier)

    def _between(self, lower: int, upper: int, row: Floats, column: Floats) -> Floats:
        (low, from_s), (high, to_s) = self._point(lower, column), self._point(upper, column)
        share = (self._ideal(row, column) - low) / (high - low)
        return from_s + share * (to_s - from_s)

    def _point(self, place: int, column: Floats) -> tuple[Floats, Floats]:
        ideal = self._ideal(self.rows[place], column)
        return ideal, self._curves[place].at_ideal(ideal)

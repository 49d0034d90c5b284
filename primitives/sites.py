"""A table's sites: shapes with a measured curve, and predictions for shapes without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.chunks import Chunks
from servecast.primitives.envelope import envelope
from servecast.primitives.grid import Grid
from servecast.primitives.kriging import weights
from servecast.primitives.rows import sorted_rows
from servecast.primitives.utilisation import FASTEST, Curve, Floats, Ideal, Surface

Site = tuple[int, ...]

SiteIdeal = Callable[..., Floats]
"""Seconds at the device's peaks, from a site and the sizes that grow (one array each)."""

NEIGHBOURS = 16
OCTAVES = 2.0
"""A shape further than this from every measured one has no answer here."""

_SITES_LEFT_OUT, _SITES_TESTED = 24, 8
"""Sites that are left out in turn for an error, and sites of which single points are."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The surface of a shape that was not measured."""

    surface: Surface
    is_between: bool
    """Whether the shapes it was made of are smaller and larger, in every dimension."""


class Sites:
    """The shapes of one table; what a table source reads, and builds curves of when asked.

    A shape without a curve gets the log-utilisation that its nearest measured shapes predict, and
    no more or less than theirs. Rows are made monotone first (`envelope`).
    """

    def __init__(
        self,
        sites: NDArray[np.int64],
        at: Floats,
        seconds: Floats,
        ideal: SiteIdeal,
        rigid: Sequence[bool],
    ) -> None:
        """One row of each a measurement; in `rigid` columns of a site there is no in-between."""
        self._rows = alike(sites)
        self.sites = sites[np.array([own[0] for own in self._rows], np.intp)]
        self._at, self._seconds, self._ideal = at, seconds, ideal
        self._places = {tuple(site): place for place, site in enumerate(self.sites.tolist())}
        self._rigid = np.array(rigid, np.bool_)
        self._octaves: Floats = np.log2(np.maximum(self.sites, 1).astype(np.float64))
        self._surfaces: dict[int, Surface] = {}

    def measured(self, site: Site) -> Surface | None:
        """The surface of a measured shape; None for any other."""
        place = self._places.get(site)
        return None if place is None else self._surface(place)

    def predicted(self, site: Site) -> Prediction | None:
        """What measured shapes near this one predict; None where none is near."""
        return self._predicted(site, np.arange(len(self.sites)))

    @cached_property
    def point_error(self) -> float:
        """Relative error that 90 % of points stay within, left out inside their site's curve."""
        return self._ninetieth(_SITES_TESTED, lambda place: self._surface(place).left_out())

    @cached_property
    def end_error(self) -> float:
        """Relative error that 90 % of points stay within, left out at the ends of curves."""
        return self._ninetieth(_SITES_TESTED, lambda place: self._surface(place).left_beyond())

    @cached_property
    def site_error(self) -> float:
        """Relative error that 90 % of points stay within, when their whole site is left out."""
        return self._ninetieth(_SITES_LEFT_OUT, self._left_out)

    def _left_out(self, place: int) -> Floats:
        others = np.delete(np.arange(len(self.sites)), place)
        found = self._predicted(tuple(self.sites[place].tolist()), others)
        if found is None:
            return np.zeros(0)
        at = self._at[self._rows[place]].T
        return found.surface.seconds(*at) / self._surface(place).seconds(*at) - 1.0

    def _ninetieth(self, sites: int, errors: Callable[[int], Floats]) -> float:
        """What 90 % of the errors at so many of the sites stay within."""
        last = len(self.sites) - 1
        sample = sorted({round(last * part / (sites - 1)) for part in range(sites)})
        return ninetieth(np.concatenate([np.zeros(0), *map(errors, sample)]))

    def _predicted(self, site: Site, among: NDArray[np.intp]) -> Prediction | None:
        wanted: Floats = np.log2(np.maximum(site, 1).astype(np.float64))
        same = (self.sites[among] == np.array(site))[:, self._rigid].all(axis=1)
        among = among[same]
        distance: Floats = np.linalg.norm(self._octaves[among] - wanted, axis=1)
        if np.min(distance, initial=np.inf) > OCTAVES:
            return None
        nearest = among[np.argsort(distance, kind="stable")[:NEIGHBOURS]]
        at = self._at[self._rows[nearest[0]]]
        known = np.log([self._utilisation(place, at) for place in nearest.tolist()])
        share = weights(self._octaves[nearest], wanted) @ known
        share = np.clip(share, known.min(axis=0), np.minimum(known.max(axis=0), np.log(FASTEST)))
        seconds = self._ideal(site, *at.T) / np.exp(share)
        around = self.sites[nearest]
        is_between = np.all((around.min(axis=0) <= site) & (site <= around.max(axis=0)))
        return Prediction(_surface(at, seconds, partial(self._ideal, site)), bool(is_between))

    def _utilisation(self, place: int, at: Floats) -> Floats:
        """The share of the peaks that a measured site reaches at these sizes."""
        surface = self._surface(place)
        if isinstance(surface, Curve) and np.array_equal(at[:, 0], surface.at):
            return surface.ideal_s / surface.measured_s
        site = tuple(self.sites[place].tolist())
        return self._ideal(site, *at.T) / surface.seconds(*at.T)

    def _surface(self, place: int) -> Surface:
        found = self._surfaces.get(place)
        if found is None:
            rows = self._rows[place]
            ideal = partial(self._ideal, tuple(self.sites[place].tolist()))
            found = _surface(self._at[rows], self._seconds[rows], ideal)
            self._surfaces[place] = found
        return found


def alike(rows: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """The places of equal rows, one array for each different row, in their sorted order."""
    order, is_new = sorted_rows(rows)
    return np.split(order, np.flatnonzero(is_new)[1:]) if len(order) else []


def _surface(at: Floats, seconds: Floats, ideal: Ideal) -> Surface:
    """A curve over one size; over two a grid, or chunks where nothing was measured with a past."""
    seconds = envelope(at, seconds)
    if at.shape[1] == 2 and at[:, 0].any():
        return Grid(at, seconds, ideal)
    order = np.argsort(at[:, -1])
    size, seconds = at[order, -1], seconds[order]
    return Curve(size, seconds, ideal) if at.shape[1] == 1 else Chunks(size, seconds, ideal)


def ninetieth(errors: Floats) -> float:
    """What 90 % of the errors stay within; NaN where there are none."""
    ordered = np.sort(np.abs(errors))  # np.quantile would load a module that takes 20 ms
    return float(ordered[-(len(ordered) // 10) - 1]) if len(ordered) else float("nan")

"""Shapes without measurements: what their measured neighbours predict of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.kriging import weights
from servecast.primitives.operations import Gemm
from servecast.primitives.sites import Site, Sites
from tests.synthetic_tables import gemm_s
from tests.toy_deployments import DEVICE

Floats = NDArray[np.float64]

TOKENS = (1.0, 16.0, 64.0, 256.0, 1024.0, 8192.0)
SIDES = (1024, 1536, 2560, 4096, 7168, 12288, 20480)


def ideal(site: Site, *at: Floats) -> Floats:
    return ideal_s(Gemm(at[0], site[0], site[1], Dtype.BF16), DEVICE)


def sites_of(shapes: list[Site], *, rigid: tuple[bool, bool] = (False, False)) -> Sites:
    rows = [(m, *shape) for shape in shapes for m in TOKENS]
    at = np.array(rows)[:, :1]
    sites = np.array([row[1:] for row in rows], dtype=np.int64)
    seconds = np.array([float(gemm_s(*row)) for row in rows])
    return Sites(sites, at, seconds, ideal, rigid)


def sparse_shapes() -> list[Site]:
    """30 shapes drawn from a grid, as a quick profile would have them."""
    shapes = list(product(SIDES, SIDES))
    drawn = np.random.default_rng(7).choice(len(shapes), 30, replace=False)
    return [shapes[place] for place in sorted(drawn.tolist())]


def by_inverse_distance(known: Sites, site: Site, at: Floats) -> Floats:
    """Seconds by the plain blend: log-utilisations weighted by one over squared octaves."""
    octaves = np.log2(known.sites.astype(np.float64)) - np.log2(np.array(site, np.float64))
    distance = np.linalg.norm(octaves, axis=1)
    near = np.argsort(distance, kind="stable")[:8]
    share = distance[near] ** -2 / np.sum(distance[near] ** -2)
    shapes = [tuple(shape) for shape in known.sites[near].tolist()]
    surfaces = [known.measured(shape) for shape in shapes]
    reached = [
        np.log(ideal(shape, at) / surface.seconds(at))
        for shape, surface in zip(shapes, surfaces, strict=True)
        if surface is not None
    ]
    return np.asarray(ideal(site, at) / np.exp(share @ np.array(reached)))


def test_the_weights_at_a_known_place_are_its_own() -> None:
    known = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    found = weights(known, known[1])
    np.testing.assert_allclose(found, [0.0, 1.0, 0.0], atol=0.1)
    assert weights(known, np.array([0.3, 0.4])).sum() == pytest.approx(1.0)


def test_a_measured_site_is_as_measured() -> None:
    known = sites_of([(1024, 1024), (4096, 4096)])
    surface = known.measured((4096, 4096))
    assert surface is not None
    at = np.array(TOKENS)
    np.testing.assert_allclose(surface.seconds(at), gemm_s(at, 4096.0, 4096.0), rtol=1e-12)
    assert known.measured((4096, 4097)) is None


def test_a_shape_in_between_is_predicted_and_one_far_away_is_not() -> None:
    known = sites_of(list(product(SIDES, SIDES)))
    found = known.predicted((6144, 6144))
    assert found is not None
    assert found.is_between
    at = np.array([1.0, 5.0, 100.0, 3000.0])
    np.testing.assert_allclose(found.surface.seconds(at), gemm_s(at, 6144.0, 6144.0), rtol=0.02)
    outside = known.predicted((32768, 20480))
    assert outside is not None
    assert not outside.is_between
    assert known.predicted((20480 * 5, 20480)) is None


def test_a_predicted_curve_is_monotone() -> None:
    found = sites_of(sparse_shapes()).predicted((3000, 9000))
    assert found is not None
    assert np.all(np.diff(found.surface.seconds(np.arange(0.0, 20_000.0, 7.0))) >= 0)


def test_nothing_is_predicted_across_a_rigid_dimension() -> None:
    known = sites_of([(4096, 4096), (4096, 6144)], rigid=(True, False))
    assert known.predicted((4096, 5120)) is not None
    assert known.predicted((5120, 5120)) is None


def test_sites_left_out_of_a_sparse_table_are_found_better_than_by_inverse_distance() -> None:
    shapes, at = sparse_shapes(), np.array(TOKENS)
    kriged: list[Floats] = []
    blended: list[Floats] = []
    for shape in shapes:
        rest = sites_of([other for other in shapes if other != shape])
        found = rest.predicted(shape)
        if found is not None:
            truth = gemm_s(at, *map(float, shape))
            kriged.append(np.abs(np.log(found.surface.seconds(at) / truth)))
            blended.append(np.abs(np.log(by_inverse_distance(rest, shape, at) / truth)))
    assert len(kriged) > 25
    assert np.quantile(kriged, 0.9) < 0.5 * np.quantile(blended, 0.9)


def test_errors_are_those_of_points_and_sites_left_out() -> None:
    known = sites_of(sparse_shapes())
    assert known.point_error < 1e-9  # an overhead and a rate: found again exactly
    assert known.end_error < 1e-9
    assert 1e-4 < known.site_error < 0.1
    alone = sites_of([(4096, 4096)])
    assert np.isnan(alone.site_error)

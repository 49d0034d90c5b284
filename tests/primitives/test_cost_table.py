"""A table of measured costs: sorted, without duplicates, its spread known where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.cost_table import TableKey, cost_table, variant_of

KEY = TableKey("mla_bmm", "h100_sxm", "bf16", "vllm", "0.24.0")
MEASUREMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(1e-6, 1.0)), min_size=1
)


@given(MEASUREMENTS)
def test_each_point_is_there_once_with_its_mean_and_its_widest_deviation(
    rows: list[tuple[int, int, float]],
) -> None:
    table = cost_table(KEY, np.array([row[:2] for row in rows]), np.array([r[2] for r in rows]))
    points = sorted({row[:2] for row in rows})
    assert [tuple(point) for point in table.points.tolist()] == points
    for point, mean, spread in zip(points, table.seconds, table.spread, strict=True):
        times = [row[2] for row in rows if row[:2] == point]
        assert mean == pytest.approx(np.mean(times))
        if len(times) == 1:
            assert np.isnan(spread)
        else:
            assert spread == pytest.approx(max(abs(t / mean - 1) for t in times), abs=1e-12)


def test_a_spread_that_is_known_survives_and_is_only_widened() -> None:
    points = np.array([[2, 1], [1, 1], [1, 1]])
    times, spread = np.array([1.0, 1.0, 3.0]), np.array([0.2, 0.1, np.nan])
    table = cost_table(KEY, points, times, spread=spread)
    assert table.spread.tolist() == [0.5, 0.2]


@pytest.mark.parametrize("seconds", [0.0, -1.0, np.nan, np.inf])
def test_a_time_that_is_not_positive_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="not positive"):
        cost_table(KEY, np.array([[1, 1]]), np.array([seconds]))


def test_dimensions_that_do_not_fit_the_operation_are_refused() -> None:
    with pytest.raises(InputError, match="has 3 dimensions"):
        cost_table(KEY, np.array([[1, 1, 1]]), np.array([1.0]))


def test_a_variant_is_its_traits() -> None:
    traits = {"kv": "fp8", "kernel": "fa3+fa4"}
    key = TableKey("gemm", "h100_sxm", "bf16", "vllm", "1", variant_of(traits))
    assert key.variant == "kv=fp8,kernel=fa3+fa4"
    assert key.traits == traits
    assert KEY.traits == {}

"""Findings about suspicious tables, and the monotone envelope."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servecast.primitives.cost_table import CostTable, cost_table
from servecast.primitives.envelope import envelope
from servecast.primitives.table_checks import (
    findings,
    launch_bound,
    monotone_envelope,
    slow_siblings,
    spikes,
    unit_slips,
)
from tests.synthetic_tables import gemm_table, key
from tests.toy_deployments import DEVICE

SHAPES = [(64, 64), (4096, 4096)]


def slowed(table: CostTable, least_s: float = 0.0, times: float = 1.0) -> CostTable:
    return cost_table(table.key, table.points, np.maximum(table.seconds * times, least_s))


def test_launch_bound_tables_are_found_by_their_siblings() -> None:
    fast = gemm_table(SHAPES)
    slow = slowed(gemm_table(SHAPES, key(source="sglang")), least_s=55e-6)
    (found,) = launch_bound([fast, slow])
    assert found.key.source == "sglang"
    assert "take 55 µs or more, a sibling's 4 µs" in found.message
    (found,) = launch_bound([slow, fast])
    assert found.key.source == "sglang"


@pytest.mark.parametrize(
    "fields",
    [{"source": "sglang", "dtype": "fp8"}, {"source": "sglang", "variant": "scaling=block"}, {}],
    ids=["another format", "another scaling", "the same source"],
)
def test_only_other_sources_of_the_same_products_are_siblings(fields: dict[str, str]) -> None:
    slow = slowed(gemm_table(SHAPES, key(version="0.19.0")), least_s=55e-6)
    assert launch_bound([slow, gemm_table(SHAPES, key(**fields))]) == []


def test_a_device_on_which_everything_is_slow_is_not_launch_bound() -> None:
    tables = [gemm_table(SHAPES), gemm_table(SHAPES, key(source="sglang"))]
    assert launch_bound([slowed(table, least_s=30e-6) for table in tables]) == []
    assert launch_bound([slowed(tables[0], least_s=55e-6)]) == []


def test_kernels_do_not_keep_siblings_apart() -> None:
    slow = slowed(gemm_table(SHAPES, key(source="trtllm", variant="kernel=x")), least_s=55e-6)
    assert len(launch_bound([slow, gemm_table(SHAPES, key(variant="kernel=y"))])) == 1


def test_slow_siblings_are_told_with_their_ratio() -> None:
    slow = slowed(gemm_table(SHAPES, key(source="trtllm")), times=1.6)
    (found,) = slow_siblings([gemm_table(SHAPES), slow])
    assert (found.key.source, found.message) == (
        "trtllm",
        "products of m up to 64 take 1.6 times a sibling's",
    )
    little = slowed(gemm_table(SHAPES, key(source="trtllm")), times=1.3)
    assert slow_siblings([gemm_table(SHAPES), little]) == []
    elsewhere = slowed(gemm_table([(128, 128)], key(source="trtllm")), times=1.6)
    assert slow_siblings([gemm_table(SHAPES), elsewhere]) == []


def test_a_spike_is_told_with_its_point() -> None:
    table = gemm_table(SHAPES)
    assert spikes(table) == []
    place = table.points.tolist().index([64, 64, 64])
    table.seconds[place] *= 3.0
    (found,) = spikes(table)
    assert "1 of 28 points" in found.message
    assert "m=64;n=64;k=64" in found.message


@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_times_in_another_unit_are_found(factor: float) -> None:
    table = gemm_table([(4096, 4096)])
    assert unit_slips(table, DEVICE) == []
    (found,) = unit_slips(slowed(table, times=factor), DEVICE)
    assert found.rule == "unit slip"


@pytest.mark.parametrize(
    ("operation", "point"),
    [
        ("prefill_attention", (1, 1024, 0, 32, 8, 128, 0)),
        ("decode_attention", (8, 1024, 32, 8, 128, 0)),
        ("mla_prefill", (1, 1024, 0, 16)),
        ("mla_decode", (8, 1024, 16)),
        ("moe", (64, 4096, 1536, 8, 128, 2, 4)),
        ("all_reduce", (1_048_576, 8)),
    ],
)
def test_units_of_every_kind_that_is_read_are_checked(
    operation: str, point: tuple[int, ...]
) -> None:
    def at(seconds: float) -> CostTable:
        return cost_table(key(operation), np.array([point]), np.array([seconds]))

    assert unit_slips(at(1e-3), DEVICE) == []
    assert len(unit_slips(at(1e-12), DEVICE)) == 1
    assert len(unit_slips(at(1e3), DEVICE)) == 1


def test_all_findings_come_together() -> None:
    slow = slowed(gemm_table(SHAPES, key(source="trtllm")), least_s=55e-6)
    tables = [gemm_table(SHAPES), slowed(slow, times=1e6)]
    assert {found.rule for found in findings(tables, {"toy": DEVICE})} == {
        "launch bound",
        "slow sibling",
        "unit slip",
    }
    assert findings([gemm_table(SHAPES)], {}) == []


def by_definition(at: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    above = (at[None, :, :] >= at[:, None, :]).all(axis=2)
    return np.asarray(np.where(above, seconds[None, :], np.inf).min(axis=1))


@settings(max_examples=150, derandomize=True)
@given(
    rows=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.floats(0.1, 9.0)), min_size=1)
)
def test_the_envelope_is_the_least_over_all_larger_points(
    rows: list[tuple[int, int, float]],
) -> None:
    at, seconds = np.array(rows)[:, :2], np.array(rows)[:, 2]
    np.testing.assert_array_equal(envelope(at, seconds), by_definition(at, seconds))
    np.testing.assert_array_equal(envelope(at[:, :1], seconds), by_definition(at[:, :1], seconds))


def test_a_table_is_made_monotone_site_by_site() -> None:
    table = gemm_table(SHAPES)
    noisy = slowed(table)
    noisy.seconds[:] *= np.random.default_rng(0).uniform(0.5, 2.0, len(noisy))
    smooth = monotone_envelope(noisy)
    for n, k in SHAPES:
        own = (table.points[:, 1:] == (n, k)).all(axis=1)
        assert np.all(np.diff(smooth.seconds[own]) >= 0)
    assert np.all(smooth.seconds <= noisy.seconds)
    np.testing.assert_array_equal(monotone_envelope(table).seconds, table.seconds)


def test_attention_is_made_monotone_in_batch_and_context() -> None:
    points = np.array([(b, c, 8, 1, 128, 0) for b, c in product((1, 2, 4), (16, 64, 256))])
    seconds = np.linspace(1e-5, 9e-5, 9)
    seconds[4] = 1e-3
    smooth = monotone_envelope(cost_table(key("decode_attention"), points, seconds))
    assert smooth.seconds[4] == seconds[5]

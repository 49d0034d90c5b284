"""Curves and grids: exact on their points, monotone, free of units, physical beyond."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost import Provenance
from servecast.primitives.dtype import Dtype
from servecast.primitives.envelope import envelope
from servecast.primitives.grid import Grid
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.operations import DecodeAttention, Gemm
from servecast.primitives.utilisation import FASTEST, Curve
from tests.toy_deployments import DEVICE

Floats = NDArray[np.float64]


def product_ideal(m: Floats) -> Floats:
    return ideal_s(Gemm(m, 4096, 4096, Dtype.BF16), DEVICE)


def decode_ideal(batch: Floats, context: Floats) -> Floats:
    return ideal_s(DecodeAttention(1, batch * context, 32, 8, 128, 128, Dtype.BF16), DEVICE)


SIZES = st.lists(st.integers(1, 30_000), min_size=2, max_size=12, unique=True).map(
    lambda sizes: np.array(sorted(sizes), dtype=np.float64)
)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Any monotone curve that a device could have measured: at most its peaks."""
    at = draw(SIZES)
    slowness = draw(st.lists(st.floats(1.0, 50.0), min_size=len(at), max_size=len(at)))
    seconds = np.maximum.accumulate(product_ideal(at) * np.array(slowness))
    return Curve(at, seconds, product_ideal)


@settings(max_examples=200, derandomize=True)
@given(curve=curves())
def test_a_curve_passes_through_every_point(curve: Curve) -> None:
    np.testing.assert_allclose(curve.seconds(curve.at), curve.measured_s, rtol=1e-12)
    assert curve.provenance(curve.at) is Provenance.MEASURED


@settings(max_examples=200, derandomize=True)
@given(curve=curves())
def test_more_work_never_takes_less_time(curve: Curve) -> None:
    sizes = np.arange(0.0, 70_000.0, 13.0)
    assert np.all(np.diff(curve.seconds(sizes)) >= 0)


@settings(max_examples=200, derandomize=True)
@given(curve=curves())
def test_what_was_not_measured_is_never_faster_than_the_peaks(curve: Curve) -> None:
    sizes = np.arange(1.0, 70_000.0, 17.0)
    assert np.all(curve.seconds(sizes) * FASTEST * (1 + 1e-12) >= product_ideal(sizes))


@settings(max_examples=100, derandomize=True)
@given(curve=curves(), scale=st.floats(1e-3, 1e3))
def test_a_change_of_units_changes_nothing(curve: Curve, scale: float) -> None:
    def scaled_ideal(m: Floats) -> Floats:
        return product_ideal(m) * scale

    scaled = Curve(curve.at, curve.measured_s * scale, scaled_ideal)
    sizes = np.arange(1.0, 60_000.0, 101.0)
    np.testing.assert_allclose(scaled.seconds(sizes), curve.seconds(sizes) * scale, rtol=1e-9)


@settings(max_examples=100, derandomize=True)
@given(at=SIZES, overhead=st.floats(0, 1e-4), slowness=st.floats(1.0, 20.0))
def test_an_overhead_and_a_rate_are_found_again_everywhere(
    at: Floats, overhead: float, slowness: float
) -> None:
    curve = Curve(at, overhead + slowness * product_ideal(at), product_ideal)
    sizes = np.arange(at[0], 60_000.0, 97.0)
    expected = overhead + slowness * product_ideal(sizes)
    np.testing.assert_allclose(curve.seconds(sizes), expected, rtol=1e-6)


def test_below_the_first_point_its_time_is_held() -> None:
    curve = Curve(np.array([8.0, 64.0]), np.array([1e-4, 2e-4]), product_ideal)
    assert curve.seconds(np.array([0.0, 1.0, 8.0])).tolist() == [1e-4] * 3
    assert curve.provenance(np.array(1.0)) is Provenance.INTERPOLATED
    late = Curve(np.array([512.0, 1024.0]), np.array([1e-3, 2e-3]), product_ideal)
    assert late.provenance(np.array(8.0)) is Provenance.EXTRAPOLATED


def test_beyond_the_last_point_no_more_than_its_utilisation_is_lost() -> None:
    at = np.array([1.0, 2.0, 4.0])
    steep = Curve(at, product_ideal(at) * np.array([1.0, 1.0, 30.0]), product_ideal)
    far = np.array([1e5])
    assert steep.provenance(far) is Provenance.EXTRAPOLATED
    np.testing.assert_allclose(steep.seconds(far), 30.0 * product_ideal(far))


def test_a_point_left_out_is_predicted_from_its_neighbours() -> None:
    at = np.array([1.0, 8.0, 64.0, 512.0, 4096.0])
    seconds = 5e-6 + 2.0 * product_ideal(at)
    exact = Curve(at, seconds, product_ideal)
    np.testing.assert_allclose(exact.left_out(), 0.0, atol=1e-12)
    np.testing.assert_allclose(exact.left_beyond(), 0.0, atol=1e-12)
    seconds[2] *= 2.0
    assert Curve(at, seconds, product_ideal).left_out()[1] < -0.4


BATCHES, CONTEXTS = (1.0, 4.0, 16.0, 64.0), (1.0, 64.0, 1024.0, 8192.0)


def decode_grid() -> tuple[Floats, Floats]:
    """A grid that memory cut short: the largest batch has no long contexts."""
    pairs = np.array([(b, c) for b in BATCHES for c in CONTEXTS if b * c < 400_000])
    return pairs, 6e-6 + 1.7 * decode_ideal(*pairs.T) + 1e-8 * pairs[:, 0]


def test_a_grid_passes_through_every_point_and_is_monotone_in_both_sizes() -> None:
    points, seconds = decode_grid()
    grid = Grid(points, seconds, decode_ideal)
    np.testing.assert_allclose(grid.seconds(*points.T), seconds, rtol=1e-12)
    assert grid.provenance(*points[:3].T) is Provenance.MEASURED
    batches, contexts = np.arange(1.0, 130.0, 3.0), np.arange(0.0, 20_000.0, 97.0)
    costs = grid.seconds(batches[:, None], contexts[None, :])
    assert np.all(np.diff(costs, axis=0) >= 0)
    assert np.all(np.diff(costs, axis=1) >= 0)


def test_a_grid_answers_for_one_row_as_for_many() -> None:
    grid = Grid(*decode_grid(), decode_ideal)
    contexts = np.arange(1.0, 9000.0, 13.0)
    for batch in (1.0, 3.0, 64.0, 300.0):
        many = grid.seconds(np.full(len(contexts), batch), contexts)
        np.testing.assert_array_equal(grid.seconds(np.array(batch), contexts), many)


def test_a_grid_knows_where_it_ends() -> None:
    grid = Grid(*decode_grid(), decode_ideal)

    def at(batch: float, context: float) -> Provenance:
        return grid.provenance(np.array(batch), np.array(context))

    assert at(4.0, 1024.0) is Provenance.MEASURED
    assert at(5.0, 1024.0) is Provenance.INTERPOLATED
    assert at(32.0, 8192.0) is Provenance.EXTRAPOLATED  # one of the two rows around ends before
    assert at(128.0, 64.0) is Provenance.EXTRAPOLATED


SHAPES = {
    "qkv_proj": (6144, 4096),
    "o_proj": (4096, 4096),
    "gate_up_proj": (28672, 4096),
    "down_proj": (4096, 14336),
}


def measured_products(path: Path) -> dict[str, dict[float, float]]:
    """Seconds by tokens of the products of Llama-3.1-8B on an RTX 4090."""
    found: dict[str, dict[float, float]] = {name: {} for name in SHAPES}
    with gzip.open(path, "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            if row["gpu"] == "RTX4090" and row["layer"] in found:
                found[row["layer"]][float(row["tokens"])] = float(row["time_us"]) * 1e-6
    return found


def test_points_left_out_of_measured_curves_are_found_again(data_dir: Path) -> None:
    inside: list[Floats] = []
    thinned: list[Floats] = []
    by_utilisation: list[Floats] = []
    device = accelerator("rtx_4090")
    products = measured_products(data_dir / "kernels" / "lss_vllm019_dense.csv.gz")
    for name, points in products.items():

        def ideal(m: Floats, name: str = name) -> Floats:
            return ideal_s(Gemm(m, *SHAPES[name], Dtype.BF16), device)

        at = np.array(sorted(points))
        seconds = envelope(at[:, None], np.array([points[size] for size in at.tolist()]))
        inside.append(Curve(at, seconds, ideal).left_out())
        kept = np.isin(at, [1, 8, 64, 512, 2048])
        few = Curve(at[kept], seconds[kept], ideal)
        thinned.append(few.seconds(at[~kept]) / seconds[~kept] - 1.0)
        shares = np.interp(np.log(at[~kept]), np.log(at[kept]), few.ideal_s / few.measured_s)
        by_utilisation.append(ideal(at[~kept]) / shares / seconds[~kept] - 1.0)

    def ninetieth(errors: list[Floats]) -> float:
        return float(np.quantile(np.abs(np.concatenate(errors)), 0.9))

    assert len(np.concatenate(inside)) == 600
    assert ninetieth(inside) < 0.06
    assert ninetieth(thinned) < 0.12  # five points of 152
    assert ninetieth(thinned) < ninetieth(by_utilisation)

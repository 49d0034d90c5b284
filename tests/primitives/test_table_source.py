"""Measured tables as a cost source: what answers, where it came from, and when nothing does."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.batch import Batch, Group
from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey, cost_table
from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.measured_table import REPEAT_ERROR, SIBLING_ERROR, MeasuredTables
from servecast.primitives.operations import (
    DecodeAttention,
    Elementwise,
    Gemm,
    Operation,
    Quantity,
)
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.primitives.utilisation import FASTEST
from tests.synthetic_tables import TOKENS, gemm_s, gemm_table, key, table
from tests.toy_deployments import DENSE, DEVICE

Floats = NDArray[np.float64]

VLLM = TablePreferences.of_engine("vllm", "0.24.0")
SIDES = (1024, 2048, 4096, 8192)
SHAPES = list(product(SIDES, SIDES))


def source(*tables: CostTable, preferences: TablePreferences = VLLM) -> TableSource:
    return TableSource(MeasuredTables(CostStore(tables)), preferences)


def price(found: TableSource, operation: Operation) -> Cost:
    return found.cost(operation, DEVICE)


def product_of(m: Quantity, n: int = 4096, k: int = 4096, dtype: Dtype = Dtype.BF16) -> Gemm:
    return Gemm(m, n, k, dtype)


# matrix products -------------------------------------------------------------------------------


def test_a_measured_point_is_returned_as_it_was_measured() -> None:
    found = source(gemm_table(SHAPES))
    for m in TOKENS:
        cost = price(found, product_of(float(m)))
        assert float(cost.seconds) == pytest.approx(float(gemm_s(m, 4096, 4096)), rel=1e-12)
        assert (cost.provenance, cost.relative_error) == (Provenance.MEASURED, REPEAT_ERROR)


def test_a_point_in_between_is_interpolated_with_the_error_of_points_left_out() -> None:
    noisy = gemm_table(SHAPES)
    noisy.seconds[:] *= np.random.default_rng(3).uniform(0.9, 1.0, len(noisy))
    cost = price(source(noisy), product_of(100.0))
    assert cost.provenance is Provenance.INTERPOLATED
    assert 0.01 < cost.relative_error < 0.12
    assert float(cost.seconds) == pytest.approx(float(gemm_s(100, 4096, 4096)), rel=0.12)


def test_beyond_the_largest_m_it_is_extrapolated() -> None:
    cost = price(source(gemm_table(SHAPES)), product_of(20_000.0))
    assert cost.provenance is Provenance.EXTRAPOLATED
    assert float(cost.seconds) == pytest.approx(float(gemm_s(20_000, 4096, 4096)), rel=1e-6)


def test_a_shape_that_was_not_measured_comes_from_its_neighbours() -> None:
    found = source(gemm_table(SHAPES))
    cost = price(found, product_of(64.0, 3000, 5000))
    assert cost.provenance is Provenance.INTERPOLATED
    assert 0 < cost.relative_error < 0.2
    assert float(cost.seconds) == pytest.approx(float(gemm_s(64, 3000, 5000)), rel=0.05)
    outside = price(found, product_of(64.0, 16_384, 4096))
    assert outside.provenance is Provenance.EXTRAPOLATED
    with pytest.raises(UnsupportedError, match="no table of toy has an answer for Gemm"):
        price(found, product_of(64.0, 65_536, 4096))


def test_a_curve_is_monotone_and_never_faster_than_the_peaks() -> None:
    found = source(gemm_table(SHAPES))
    m = np.arange(20_001, dtype=np.float64)
    for n, k in [(4096, 4096), (3000, 5000), (16_384, 8192)]:
        seconds = np.asarray(price(found, product_of(m, n, k)).seconds)
        assert np.all(np.diff(seconds) >= 0)
        assert np.all(seconds * FASTEST >= ideal_s(product_of(m, n, k), DEVICE))


def test_a_curve_holds_what_single_points_are_answered() -> None:
    found = source(gemm_table(SHAPES))
    m = np.arange(1, 9000, 37, dtype=np.float64)
    curve = np.asarray(price(found, product_of(m, 3000, 5000)).seconds)
    single = [float(price(found, product_of(each, 3000, 5000)).seconds) for each in m.tolist()]
    np.testing.assert_allclose(curve, single, rtol=1e-12)


def test_spikes_are_cut_to_the_envelope() -> None:
    spiked = gemm_table([(4096, 4096)])
    spiked.seconds[6] *= 5.0
    cost = price(source(spiked), product_of(64.0))
    assert float(cost.seconds) == pytest.approx(float(gemm_s(128, 4096, 4096)))


# which table -----------------------------------------------------------------------------------


def constant(of: TableKey, seconds: float, shape: tuple[int, int] = (4096, 4096)) -> CostTable:
    return cost_table(of, np.array([[8, *shape]]), np.array([seconds]))


def test_the_engine_s_own_version_comes_first_then_the_newest() -> None:
    tables = [constant(key(version=version), s) for version, s in [("0.24.0", 2.0), ("0.9.0", 1.0)]]
    assert price(source(*tables), product_of(8.0)).seconds == 2.0
    old = TablePreferences.of_engine("vllm", "0.9.0")
    assert price(source(*tables, preferences=old), product_of(8.0)).seconds == 1.0


def test_an_older_version_fills_in_a_shape_before_neighbours_do() -> None:
    new, old = constant(key(), 2.0, (4096, 2048)), constant(key(version="0.19.0"), 1.0)
    cost = price(source(new, old), product_of(8.0))
    assert (cost.seconds, cost.provenance) == (1.0, Provenance.MEASURED)


def test_a_sibling_stands_in_and_says_so() -> None:
    sibling = constant(key(source="sglang"), 1e-3)
    cost = price(source(sibling), product_of(8.0))
    assert (cost.seconds, cost.provenance) == (1e-3, Provenance.EXTRAPOLATED)
    assert cost.relative_error == SIBLING_ERROR
    own = constant(key(), 2e-3)
    assert price(source(sibling, own), product_of(8.0)).seconds == 2e-3


def test_our_own_measurements_count_as_the_engine_s() -> None:
    cost = price(source(constant(key(source="servecast"), 1e-3)), product_of(8.0))
    assert cost.provenance is Provenance.MEASURED


def test_tensorrt_llm_products_are_the_fastest_of_three() -> None:
    tables = [constant(key(source=name), s) for name, s in [("trtllm", 3e-5), ("vllm", 2e-5)]]
    trtllm = TablePreferences.of_engine("trtllm", "1.3.0rc20")
    cost = price(source(*tables, preferences=trtllm), product_of(8.0))
    assert (cost.seconds, cost.provenance) == (2e-5, Provenance.MEASURED)
    assert price(source(*tables), product_of(8.0)).seconds == 2e-5


def test_eager_and_launch_bound_tables_are_not_read() -> None:
    eager = constant(key(is_eager=True), 1e-3)
    with pytest.raises(UnsupportedError):
        price(source(eager), product_of(8.0))
    launches, sibling = constant(key(), 1e-3), constant(key(source="sglang"), 1e-5)
    assert price(source(launches, sibling), product_of(8.0)).seconds == 1e-5


def test_a_table_of_another_format_is_not_read() -> None:
    with pytest.raises(UnsupportedError):
        price(source(constant(key(dtype="fp8"), 1e-3)), product_of(8.0))
    assert price(source(constant(key(dtype="fp16"), 1e-3)), product_of(8.0)).seconds == 1e-3


def test_a_trait_that_nobody_named_rules_a_table_out() -> None:
    with pytest.raises(UnsupportedError):
        price(source(constant(key(variant="power_limit=300"), 1e-3)), product_of(8.0))
    block = constant(key(variant="scaling=block,kernel=deepgemm"), 1e-3)
    assert price(source(block), product_of(8.0)).seconds == 1e-3
    plain = constant(key(variant="kernel=cutlass"), 2e-3)
    assert price(source(block, plain), product_of(8.0)).seconds == 2e-3


def test_a_kernel_can_be_named() -> None:
    one, other = (
        constant(key(variant=f"kernel={name}"), s) for name, s in [("a", 1.0), ("b", 2.0)]
    )
    named = TablePreferences(("vllm",), traits={"kernel": ("b",)})
    assert price(source(one, other, preferences=named), product_of(8.0)).seconds == 2.0


def decode(sequences: int, context: Quantity) -> DecodeAttention:
    return DecodeAttention(sequences, context, 32, 8, 128, 128, Dtype.BF16)


def decode_table() -> CostTable:
    points = [(b, c, 32, 8, 128, 0) for b in (1, 8, 64) for c in (16, 256, 4096, 32768)]

    def seconds(batch: Floats, context: Floats, *_: Floats) -> Floats:
        return 5e-6 + 2.0 * ideal_s(decode(1, batch * context), DEVICE)

    return table(key("decode_attention", variant="kv=bf16"), points, seconds)


# in a chain ------------------------------------------------------------------------------------


def test_elementwise_work_is_left_to_the_next_source() -> None:
    with pytest.raises(UnsupportedError, match="no table of toy has an answer for Elementwise"):
        price(source(gemm_table(SHAPES)), Elementwise(1e6))
    chain = ChainedSource([source(gemm_table(SHAPES)), RooflineSource()])
    assert chain.cost(Elementwise(1e6), DEVICE) == RooflineSource().cost(Elementwise(1e6), DEVICE)
    assert chain.cost(product_of(8.0), DEVICE).provenance is Provenance.MEASURED
    assert chain.cost(product_of(8.0, 2**20), DEVICE).provenance is Provenance.ROOFLINE


def test_a_chain_of_one_passes_its_refusal_on() -> None:
    with pytest.raises(UnsupportedError):
        ChainedSource([source()]).cost(product_of(8.0), DEVICE)


def test_a_compiled_step_is_the_sum_of_what_tables_and_roofline_say() -> None:
    chain = ChainedSource([source(gemm_table(SHAPES), decode_table()), RooflineSource()])
    compiled, roofline = (CompiledStepCost(DENSE, each) for each in (chain, RooflineSource()))
    batch = Batch((Group(1, 16, 16 * 300, 0, True), Group(256, 1, 0, 0, False)))
    assert compiled.step(batch).device_ns != roofline.step(batch).device_ns
    shares = compiled.origin(batch).shares
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares[Provenance.ROOFLINE] < 0.6
    run = compiled.decode_run(16)
    assert np.all(np.diff(run.attention_ns(0, 4096)) >= 0)


def best_of(times: int, ask: Callable[[], object]) -> float:
    """The shortest of several runs, in seconds: what the machine does else is not measured."""
    found: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        found.append(time.perf_counter() - start)
    return min(found)


def test_curves_are_priced_in_milliseconds() -> None:
    found = source(gemm_table(SHAPES), decode_table())
    m, contexts = np.arange(8193.0), np.arange(8192.0)
    sites = [(n + 128, 4096) for n in range(2048, 7168, 512)]
    compiled_s = best_of(5, lambda: [price(found, product_of(m, n, k)) for n, k in sites])
    assert compiled_s < 0.020
    assert best_of(20, lambda: price(found, decode(20, contexts))) < 0.001

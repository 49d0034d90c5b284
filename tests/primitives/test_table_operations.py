"""Attention, experts and collectives of measured tables, one kind after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey, cost_table
from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    DeltaRule,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
)
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from tests.synthetic_tables import TOKENS, key, table
from tests.toy_deployments import DEVICE

Floats = NDArray[np.float64]


def source(*tables: CostTable) -> TableSource:
    return TableSource(
        MeasuredTables(CostStore(tables)), TablePreferences.of_engine("vllm", "0.24.0")
    )


def price(found: TableSource, operation: Operation) -> Cost:
    return found.cost(operation, DEVICE)


def priced(
    of: TableKey,
    points: Iterable[tuple[int, ...]],
    operation: Callable[[Sequence[float]], Operation],
    overhead_s: float = 5e-6,
) -> CostTable:
    """A table of operations that reach half of the peaks after an overhead."""

    def seconds(*sizes: Floats) -> Floats:
        rows = np.column_stack(sizes).tolist()
        return np.array([overhead_s + 2.0 * float(ideal_s(operation(row), DEVICE)) for row in rows])

    return table(of, points, seconds)


HEADS = (32, 8, 128)


def decode(sequences: int, context: Quantity, kv_dtype: Dtype = Dtype.BF16) -> DecodeAttention:
    return DecodeAttention(sequences, context, *HEADS, 128, kv_dtype)


def decode_table(variant: str = "kv=bf16", window: int = 0, overhead_s: float = 5e-6) -> CostTable:
    contexts, batches = (16, 256, 4096, 32768), (1, 8, 64)
    points = [(b, c, *HEADS, window) for b in batches for c in contexts if b * c <= 300_000]
    return priced(
        key("decode_attention", variant=variant), points,
        lambda row: decode(int(row[0]), row[1]), overhead_s,
    )  # fmt: skip


def test_decode_attention_is_exact_on_points_and_bilinear_between() -> None:
    found = source(decode_table())
    for batch, context in [(1, 16), (8, 4096), (64, 4096)]:
        cost = price(found, decode(batch, float(context)))
        expected = 5e-6 + 2.0 * float(ideal_s(decode(batch, float(context)), DEVICE))
        assert float(cost.seconds) == pytest.approx(expected, rel=1e-12)
        assert cost.provenance is Provenance.MEASURED
    between = price(found, decode(20, np.array([100.0, 3000.0])))
    expected_s = 5e-6 + 2.0 * ideal_s(decode(20, np.array([100.0, 3000.0])), DEVICE)
    np.testing.assert_allclose(between.seconds, expected_s, rtol=1e-9)
    assert between.provenance is Provenance.INTERPOLATED
    assert price(found, decode(64, 20_000.0)).provenance is Provenance.EXTRAPOLATED


def test_the_format_of_the_kv_cache_chooses_the_table() -> None:
    found = source(decode_table(), decode_table("kv=fp8", overhead_s=50e-6))
    wide, narrow = (price(found, decode(8, 256.0, dtype)) for dtype in (Dtype.BF16, Dtype.FP8))
    assert float(narrow.seconds) > float(wide.seconds) + 40e-6
    with pytest.raises(UnsupportedError):
        price(source(decode_table("kv=fp8")), decode(8, 256.0))


def test_windowed_decodes_are_not_taken_for_whole_ones() -> None:
    with pytest.raises(UnsupportedError):
        price(source(decode_table(window=128)), decode(8, 256.0))


def windowed(sequences: int, context: Quantity, fill: float = 1.0) -> DecodeAttention:
    shape = decode(sequences, context)
    return replace(shape, window=128, fill=fill)


def windowed_table() -> CostTable:
    """Kernels of a window of 128 that take 20 µs more as soon as a context outgrows it."""
    points = [(b, c, *HEADS, 128) for b in (1, 8, 64) for c in (16, 128, 256, 4096)]
    of = key("decode_attention", variant="kv=bf16")
    one = priced(of, points, lambda row: windowed(int(row[0]), row[1]))
    return cost_table(of, one.points, one.seconds + 20e-6 * (one.points[:, 1] > 128))


@pytest.mark.parametrize("sequences", [1, 8, 64])
def test_a_windowed_decode_is_as_measured_and_flat_where_it_outgrew_its_window(
    sequences: int,
) -> None:
    found = source(windowed_table(), decode_table())
    inside = price(found, windowed(sequences, 128.0))
    ideal = 2.0 * float(ideal_s(windowed(sequences, 128.0), DEVICE))
    assert inside.provenance is Provenance.MEASURED
    assert float(inside.seconds) == pytest.approx(5e-6 + ideal, rel=1e-12)
    beyond = price(found, windowed(sequences, np.array([129.0, 300.0, 4096.0, 1e6])))
    np.testing.assert_allclose(beyond.seconds, 25e-6 + ideal, rtol=1e-12)


def test_a_windowed_decode_takes_no_less_with_a_longer_context_or_a_fuller_window() -> None:
    found = source(windowed_table())
    contexts = np.arange(1.0, 600.0)
    full, half = (price(found, windowed(12, contexts, fill)).seconds for fill in (1.0, 0.5))
    assert np.all(np.diff(full) >= 0)
    assert np.all(half <= full)


def test_a_plain_decode_over_its_window_stands_in_for_a_windowed_one() -> None:
    found = source(decode_table())
    asked = price(found, windowed(8, np.array([100.0, 5000.0])))
    plain = price(found, decode(8, np.array([100.0, 128.0])))
    np.testing.assert_allclose(asked.seconds, plain.seconds, rtol=1e-12)
    assert asked.provenance is Provenance.EXTRAPOLATED
    assert asked.relative_error >= 0.5


def prefill(
    new_tokens: Quantity, past_tokens: Quantity = 0.0, window: int | None = None
) -> PrefillAttention:
    return PrefillAttention(new_tokens, past_tokens, *HEADS, 128, Dtype.BF16, window)


NEW = (64, 512, 2048, 8192)


def prefill_table(
    pasts: tuple[int, ...] = (0,), window: int = 0, batches: tuple[int, ...] = (1, 4)
) -> CostTable:
    points = [(b, n, p, *HEADS, window) for b in batches for p in pasts for n in NEW]
    of = key("prefill_attention", variant="kv=bf16")
    one = priced(of, points, lambda row: prefill(row[1], row[2], window or None))
    return cost_table(of, one.points, one.seconds * one.points[:, 0])


def test_prefill_attention_is_that_of_single_prompts() -> None:
    cost = price(source(prefill_table()), prefill(2048.0))
    expected = 5e-6 + 2.0 * float(ideal_s(prefill(2048.0), DEVICE))
    assert float(cost.seconds) == pytest.approx(expected, rel=1e-12)
    assert cost.provenance is Provenance.MEASURED
    alone = price(source(prefill_table(batches=(4,))), prefill(2048.0))
    assert float(alone.seconds) == pytest.approx(expected, rel=1e-12)


def test_a_chunk_is_derived_where_no_past_was_measured_and_read_where_it_was() -> None:
    derived = price(source(prefill_table()), prefill(2048.0, 6144.0))
    whole = float(price(source(prefill_table()), prefill(8192.0)).seconds)
    assert derived.provenance is Provenance.INTERPOLATED
    assert float(derived.seconds) == pytest.approx(whole * (1 - 0.75**2), rel=1e-3)
    measured = price(source(prefill_table(pasts=(0, 1024, 6144))), prefill(2048.0, 6144.0))
    expected = 5e-6 + 2.0 * float(ideal_s(prefill(2048.0, 6144.0), DEVICE))
    assert measured.provenance is Provenance.MEASURED
    assert float(measured.seconds) == pytest.approx(expected, rel=1e-12)


def test_a_sliding_window_has_tables_of_its_own() -> None:
    found = source(prefill_table(), cost_table_with_window())
    windowed = float(price(found, prefill(8192.0, window=128)).seconds)
    expected = 5e-6 + 2.0 * float(ideal_s(prefill(8192.0, window=128), DEVICE))
    assert windowed == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UnsupportedError):
        price(found, prefill(8192.0, window=1024))


def cost_table_with_window() -> CostTable:
    windowed = prefill_table(window=128)
    of = key("prefill_attention", variant="kv=bf16,kernel=sliding")
    return cost_table(of, windowed.points, windowed.seconds)


def latent_decode(sequences: int, context: Quantity, heads: int = 16) -> DecodeAttention:
    return DecodeAttention(sequences, context, heads, 1, 576, 512, Dtype.BF16, shared_latent=True)


def test_latent_attention_has_tables_of_its_own() -> None:
    decodes = priced(
        key("mla_decode"), [(b, c, 16) for b in (1, 8) for c in (64, 1024)],
        lambda row: latent_decode(int(row[0]), row[1]),
    )  # fmt: skip
    prefills = priced(
        key("mla_prefill"), [(1, n, 0, 16) for n in NEW],
        lambda row: PrefillAttention(row[1], row[2], 16, 16, 192, 128, Dtype.BF16),
    )  # fmt: skip
    found = source(decodes, prefills)
    assert price(found, latent_decode(8, 1024.0)).provenance is Provenance.MEASURED
    chunk = PrefillAttention(512.0, 0.0, 16, 16, 192, 128, Dtype.BF16)
    assert price(found, chunk).provenance is Provenance.MEASURED
    indexer = DecodeAttention(8, 1024.0, 64, 1, 128, 0, Dtype.FP8, shared_latent=True)
    for other in (indexer, decode(8, 1024.0)):
        with pytest.raises(UnsupportedError):
            price(found, other)


def test_latent_attention_over_picked_tokens_is_one_over_no_more_tokens_than_are_picked() -> None:
    points = [(b, c, 16) for b in (1, 8) for c in (64, 2048, 65536)]
    found = source(
        priced(key("mla_decode"), points, lambda row: latent_decode(int(row[0]), row[1]))
    )
    picked = replace(latent_decode(8, np.array([64.0, 2048.0, 60_000.0])), window=2048)
    seconds = price(found, picked).seconds
    clipped = price(found, latent_decode(8, np.array([64.0, 2048.0, 2048.0]))).seconds
    np.testing.assert_allclose(seconds, clipped, rtol=1e-12)


def test_borrowed_latent_attention_is_the_fastest_sibling_s_at_each_size() -> None:
    def sibling(name: str, factor: float, overhead_s: float) -> CostTable:
        points = [(b, c, 16) for b in (1, 8) for c in (64, 1024, 65536)]

        def kernel(row: Sequence[float]) -> Operation:
            return latent_decode(int(row[0]), row[1] * factor)

        return priced(key("mla_decode", source=name), points, kernel, overhead_s)

    level, steep = sibling("sglang", 1.0, 50e-6), sibling("trtllm", 8.0, 5e-6)
    asked = latent_decode(8, np.array([64.0, 1024.0, 65536.0]))
    alone = [price(source(one), asked).seconds for one in (level, steep)]
    both = price(source(level, steep), asked)
    np.testing.assert_allclose(both.seconds, np.minimum(alone[0], alone[1]), rtol=1e-12)
    assert both.provenance is Provenance.EXTRAPOLATED
    own = TableSource(
        MeasuredTables(CostStore([level, steep])), TablePreferences.of_engine("sglang", "0.24.0")
    )
    np.testing.assert_allclose(price(own, asked).seconds, alone[0], rtol=1e-12)


def test_the_delta_rule_is_found_by_its_heads() -> None:
    of, heads = key("delta_rule"), (4, 16, 128, 128)
    rule = priced(of, [(1, n, *heads) for n in NEW], lambda row: DeltaRule(row[1], *heads))
    found = source(rule)
    cost = price(found, DeltaRule(2048.0, *heads))
    ideal = float(ideal_s(DeltaRule(2048.0, *heads), DEVICE))
    assert cost.provenance is Provenance.MEASURED
    assert float(cost.seconds) == pytest.approx(5e-6 + 2.0 * ideal, rel=1e-12)
    with pytest.raises(UnsupportedError):
        price(found, DeltaRule(2048.0, 4, 16, 64, 64))


def experts(tokens: Quantity, width: int = 1536, local: int = 128, matrices: int = 3) -> MoeExperts:
    return MoeExperts(tokens, 128, local, 8, 4096, width, matrices, Dtype.BF16)


def expert_table(
    variant: str, layouts: tuple[tuple[int, int], ...] = ((1, 1),), overhead_s: float = 5e-6
) -> CostTable:
    points = [(m, 4096, 1536, 8, 128, tp, ep) for m in TOKENS for tp, ep in layouts]
    return priced(
        key("moe", variant=variant), points,
        lambda row: experts(row[0], int(row[2] / row[5]), int(128 / row[6])),
        overhead_s,
    )  # fmt: skip


def test_experts_are_found_by_their_width_on_the_rank() -> None:
    found = source(expert_table("distribution=power_law_1.2", ((1, 1), (2, 1), (1, 4))))
    for operation in (experts(64.0), experts(64.0, 768), experts(64.0, 1536, 32)):
        cost = price(found, operation)
        expected = 5e-6 + 2.0 * float(ideal_s(operation, DEVICE))
        assert cost.provenance is Provenance.MEASURED
        assert float(cost.seconds) == pytest.approx(expected, rel=1e-12)


def test_a_parallel_layout_that_was_not_measured_is_extrapolated() -> None:
    found = source(expert_table("distribution=power_law_1.2", ((1, 1), (2, 1), (1, 2))))
    cost = price(found, experts(64.0, 384))
    assert cost.provenance is Provenance.EXTRAPOLATED
    expected = 5e-6 + 2.0 * float(ideal_s(experts(64.0, 384), DEVICE))
    assert float(cost.seconds) == pytest.approx(expected, rel=0.1)


def test_real_routing_comes_before_even_routing() -> None:
    even = expert_table("distribution=balanced")
    skewed = expert_table("distribution=power_law_1.2", overhead_s=40e-6)
    both, one = (price(source(*tables), experts(1.0)) for tables in ((even, skewed), (even,)))
    assert float(both.seconds) == pytest.approx(float(one.seconds) + 35e-6)


def test_experts_of_two_matrices_are_not_those_of_three() -> None:
    found = source(expert_table("kernel=moe_nongated"))
    assert price(found, experts(1.0, matrices=2)).provenance is Provenance.MEASURED
    with pytest.raises(UnsupportedError):
        price(found, experts(1.0))


def all_reduce_table(of: TableKey, largest: int, overhead_s: float, slowness: float) -> CostTable:
    points = [(2**power, 8) for power in range(7, largest)]

    def seconds(elements: Floats, _: Floats) -> Floats:
        return overhead_s + slowness * ideal_s(AllReduce(elements * 2, 8), DEVICE)

    return table(of, points, seconds)


def test_an_all_reduce_takes_the_engine_s_own_kernel_until_its_table_ends() -> None:
    own = all_reduce_table(key("all_reduce"), 21, 4e-6, 3.0)
    library = all_reduce_table(key("all_reduce", source="nccl", dtype="fp16"), 28, 12e-6, 1.2)
    eager = all_reduce_table(key("all_reduce", is_eager=True), 28, 1e-6, 0.1)
    found = source(own, library, eager)
    small = price(found, AllReduce(2.0**17, 8))
    assert small.provenance is Provenance.MEASURED
    expected = 4e-6 + 3.0 * float(ideal_s(AllReduce(2.0**17, 8), DEVICE))
    assert float(small.seconds) == pytest.approx(expected)
    large = price(found, AllReduce(2.0**27, 8))
    expected = 12e-6 + 1.2 * float(ideal_s(AllReduce(2.0**27, 8), DEVICE))
    assert float(large.seconds) == pytest.approx(expected)
    with pytest.raises(UnsupportedError):
        price(found, AllReduce(2.0**17, 16))


def test_more_ranks_of_a_node_than_were_measured_do_as_half_of_them_and_wait_longer() -> None:
    found = source(all_reduce_table(key("all_reduce"), 21, 4e-6, 3.0))
    wide = replace(DEVICE, link=replace(DEVICE.link, domain=32))
    asked = found.cost(AllReduce(2.0**17, 32), wide)
    sent = AllReduce(2.0**17, 32).bytes
    known = found.cost(AllReduce(sent / (2 * 7 / 8), 8), wide)
    shortest_s = float(found.cost(AllReduce(2.0, 8), wide).seconds)
    longer_s = (0.5 + 0.5 * 1.5) * shortest_s  # to sixteen ranks, and from these to as many again
    assert float(asked.seconds) == pytest.approx(float(known.seconds) + longer_s, rel=1e-3)
    assert asked.provenance is Provenance.EXTRAPOLATED
    assert asked.relative_error >= 0.5
    with pytest.raises(UnsupportedError):
        found.cost(AllReduce(2.0**17, 64), wide)
    with pytest.raises(UnsupportedError):
        found.cost(AllReduce(2.0**17, 12), wide)

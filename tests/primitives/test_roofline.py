"""The roofline, computed by hand, and what must hold of it for every operation and device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost import Provenance
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
)
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from tests.toy_deployments import DEVICE

ROUND = RooflineCoefficients(
    gemm_flops=0.5,
    gemm_flops_narrow=0.25,
    gemm_bandwidth=0.8,
    attention_flops=0.5,
    attention_bandwidth=0.5,
    elementwise_bandwidth=0.8,
    link_bandwidth=0.5,
    operation_s=3e-6,
    all_reduce_s=5e-6,
    all_reduce_rank_s=1e-6,
    experts_flops=0.5,
    experts_flops_narrow=0.25,
    experts_flops_expanded=0.2,
    experts_tile_rows=(16.0, 64.0),
    experts_s=10e-6,
)
BARE = replace(
    ROUND, operation_s=0.0, all_reduce_s=0.0, all_reduce_rank_s=0.0, network_s=0.0, experts_s=0.0
)
"""No time but that of the roofs."""

SIZES = st.integers(1, 8192)
DTYPES = st.sampled_from((Dtype.BF16, Dtype.FP8, Dtype.INT4, Dtype.NVFP4))
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Gemm, SIZES, SIZES, SIZES, DTYPES),
    st.builds(
        PrefillAttention, SIZES, st.integers(0, 8192), st.just(32), st.just(8), st.just(128),
        st.just(128), st.just(Dtype.BF16), st.none() | st.integers(1, 4096),
    ),
    st.builds(
        DecodeAttention, st.integers(1, 256), SIZES, st.just(32), st.just(8), st.just(128),
        st.just(128), st.just(Dtype.FP8), st.booleans(),
    ),
    st.builds(
        MoeExperts, SIZES, st.just(64), st.integers(1, 64), st.integers(1, 8), SIZES, SIZES,
        st.just(3), DTYPES,
    ),
    st.builds(AllReduce, SIZES.map(float), st.integers(2, 16)),
    st.builds(Elementwise, SIZES.map(float)),
)  # fmt: skip


def seconds(
    operation: Operation, device: Accelerator = DEVICE, source: RooflineSource | None = None
) -> Quantity:
    return (source or RooflineSource(ROUND)).cost(operation, device).seconds


def test_one_token_through_a_matrix_takes_as_long_as_reading_it() -> None:
    """4096² bf16 weights are 33.554432 MB, activations 16384 B more: at 0.8 of 1 TB/s, and 3 µs."""
    gemm = Gemm(1, 4096, 4096, Dtype.BF16)
    assert seconds(gemm) == pytest.approx((33_554_432 + 16_384) / 0.8e12 + 3e-6, rel=1e-12)


def test_many_tokens_through_a_matrix_take_as_long_as_the_products() -> None:
    """2 × 4096³ FLOPs at half of 100 TFLOP/s; fp8 at a quarter of 200."""
    flops = 2 * 4096.0**3
    assert seconds(Gemm(4096, 4096, 4096, Dtype.BF16)) == pytest.approx(flops / 0.5e14 + 3e-6)
    assert seconds(Gemm(4096, 4096, 4096, Dtype.FP8)) == pytest.approx(flops / 0.5e14 + 3e-6)


def test_weight_only_formats_read_little_and_compute_in_bf16() -> None:
    few, many = Gemm(1, 4096, 4096, Dtype.INT4), Gemm(4096, 4096, 4096, Dtype.INT4)
    assert float(seconds(few)) < 0.5 * float(seconds(replace(few, dtype=Dtype.BF16)))
    assert seconds(many) == seconds(replace(many, dtype=Dtype.BF16))


def test_decoding_takes_as_long_as_reading_the_cache() -> None:
    """64 sequences × 1000 tokens × 8 heads × 256 × 2 B at half of 1 TB/s."""
    decode = DecodeAttention(64, 1000.0, 32, 8, 128, 128, Dtype.BF16)
    assert seconds(decode) == pytest.approx(262_144_000 / 0.5e12 + 3e-6)


def experts(tokens: float, dtype: Dtype = Dtype.BF16) -> MoeExperts:
    """Four experts of three matrices of 1024 x 1024; every token visits all of them."""
    return MoeExperts(tokens, 4, 4, 4, 1024, 1024, 3, dtype)


def test_many_tokens_in_experts_compute_half_a_tile_more_for_each() -> None:
    """4 x 4096 rows and 4 x 32 beside them, at 6 x 1024² FLOPs and half of 100 TFLOP/s."""
    rows = 4 * (4096 + 32)
    flops = rows * 6.0 * 1024**2
    assert seconds(experts(4096)) == pytest.approx(flops / 0.5e14 + 10e-6)


def test_few_tokens_in_experts_take_as_long_as_reading_them() -> None:
    """4 x 3 x 1024² bf16 weights are 25.2 MB, activations of 4 rows 32 KiB more."""
    moved = 4 * 3 * 1024**2 * 2 + 4 * 2048 * 2 * 2
    assert seconds(experts(1)) == pytest.approx(moved / 0.8e12 + 10e-6)


def test_experts_with_weights_to_expand_compute_slower_than_those_multiplied_in_8_bits() -> None:
    expanded = experts(4096, Dtype.MXFP4)
    narrow = replace(expanded, multiplied_in=Dtype.FP8)
    rows = 4 * (4096 + 32) * 6.0 * 1024**2
    assert seconds(expanded) == pytest.approx(rows / 0.2e14 + 10e-6)
    assert seconds(narrow) == pytest.approx(rows / 0.5e14 + 10e-6)


def test_an_all_reduce_sends_twice_and_waits_for_every_rank() -> None:
    """Ring of 4: 2 × 3/4 of 1 MB at half of 100 GB/s, 5 µs, and 1 µs a rank."""
    assert seconds(AllReduce(1e6, 4)) == pytest.approx(1.5e6 / 0.5e11 + 9e-6)


def test_elementwise_work_moves_bytes() -> None:
    assert seconds(Elementwise(8e6)) == pytest.approx(10e-6 + 3e-6)


def test_every_cost_says_that_it_is_a_roofline() -> None:
    cost = RooflineSource().cost(Elementwise(1.0), DEVICE)
    assert cost.provenance is Provenance.ROOFLINE
    assert 0 < cost.relative_error < 1


@settings(max_examples=300, derandomize=True)
@given(OPERATIONS)
def test_no_operation_is_faster_than_the_data_sheet(operation: Operation) -> None:
    seen = float(seconds(operation, source=RooflineSource()))
    moved_over = (
        DEVICE.link.bw_bytes_per_s if isinstance(operation, AllReduce) else DEVICE.bw_bytes_per_s
    )
    assert seen >= float(operation.bytes) / moved_over
    if not isinstance(operation, AllReduce | Elementwise | Collective | Send | ExpertExchange):
        assert seen >= float(operation.flops) / max(DEVICE.flops.values())


@settings(max_examples=200, derandomize=True)
@given(operation=OPERATIONS, factor=st.sampled_from((0.5, 2.0, 10.0)))
def test_a_device_k_times_as_fast_takes_one_kth(operation: Operation, factor: float) -> None:
    faster = replace(
        DEVICE,
        bw_bytes_per_s=DEVICE.bw_bytes_per_s * factor,
        flops={dtype: flops * factor for dtype, flops in DEVICE.flops.items()},
        link=Link("faster", DEVICE.link.bw_bytes_per_s * factor, 8),
        network_bytes_per_s=1e10 * factor,
    )
    bare = RooflineSource(BARE)
    slow = float(seconds(operation, source=bare))
    assert float(seconds(operation, faster, bare)) == pytest.approx(slow / factor, rel=1e-12)


def test_kibibytes_on_a_device_stated_in_kibibytes_take_as_long() -> None:
    """A change of units changes nothing (powers of two, so not even the last bit)."""
    kib = replace(DEVICE, bw_bytes_per_s=DEVICE.bw_bytes_per_s / 1024)
    assert seconds(Elementwise(8e6 / 1024), kib) == seconds(Elementwise(8e6))
    linked = replace(DEVICE, link=Link("kib", DEVICE.link.bw_bytes_per_s / 1024, 8))
    assert seconds(AllReduce(1e6 / 1024, 4), linked) == seconds(AllReduce(1e6, 4))


@pytest.mark.parametrize("m", [1.0, 64.0, 700.0])
def test_a_curve_is_priced_as_its_points(m: float) -> None:
    points = np.array([1.0, 64.0, 700.0])
    curve = np.asarray(seconds(Gemm(points, 4096, 4096, Dtype.BF16)))
    assert curve[points == m] == seconds(Gemm(m, 4096, 4096, Dtype.BF16))


def reduced_s(ranks: int, payload_bytes: float = 8e6, device: str = "h100_sxm") -> float:
    cost = RooflineSource().cost(AllReduce(payload_bytes, ranks), accelerator(device))
    return float(cost.seconds)


def test_a_sum_across_nodes_costs_the_network_s_part_more_than_one_inside() -> None:
    """Sixteen H100s in two nodes: each sends an eighth of the payload over 50 GB/s, once."""
    across_s = 8e6 / 8 / (50e9 * 0.87) + 2 * 10e-6
    assert reduced_s(16) == pytest.approx(reduced_s(8) + across_s)
    assert reduced_s(8) < reduced_s(16) < reduced_s(32) < reduced_s(64)
    assert reduced_s(16, 8e3) > reduced_s(8, 8e3) + 19e-6  # two messages, however small


def test_a_device_without_a_known_network_is_not_priced_across_nodes() -> None:
    assert reduced_s(8, device="rtx_4090") > 0
    with pytest.raises(UnsupportedError, match="network adapter of rtx_4090") as told:
        reduced_s(16, device="rtx_4090")
    assert told.value.hint == "take at most 8 of them together"

"""FLOPs and bytes of operations, against counting by hand and by brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.dtype import Dtype
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    DeltaRule,
    Gemm,
    MoeExperts,
    PrefillAttention,
)

WINDOWS = st.none() | st.integers(1, 60)


def prefill(new_tokens: int, past_tokens: int, window: int | None = None) -> PrefillAttention:
    return PrefillAttention(new_tokens, past_tokens, 32, 8, 128, 64, Dtype.BF16, window)


def pairs_by_hand(new_tokens: int, past_tokens: int, window: int | None) -> int:
    """Each query sees itself and all before it, or the last `window` of them."""
    seen = [past_tokens + query + 1 for query in range(new_tokens)]
    return sum(seen if window is None else (min(count, window) for count in seen))


def test_a_product_of_matrices() -> None:
    gemm = Gemm(m=3, n=5, k=7, dtype=Dtype.FP8)
    assert gemm.flops == 2 * 3 * 5 * 7
    assert gemm.bytes == 5 * 7 * 1 + 3 * (5 + 7) * 2


@settings(max_examples=300, derandomize=True)
@given(new_tokens=st.integers(1, 80), past_tokens=st.integers(0, 120), window=WINDOWS)
def test_causal_pairs_are_those_one_counts(
    new_tokens: int, past_tokens: int, window: int | None
) -> None:
    attention = prefill(new_tokens, past_tokens, window)
    assert attention.pairs == pairs_by_hand(new_tokens, past_tokens, window)


@settings(max_examples=100, derandomize=True)
@given(cuts=st.lists(st.integers(1, 199), max_size=4, unique=True), window=WINDOWS)
def test_chunks_attend_to_as_many_pairs_as_the_whole_prompt(
    cuts: list[int], window: int | None
) -> None:
    chunks = [
        prefill(end - start, start, window) for start, end in pairwise([0, *sorted(cuts), 200])
    ]
    assert sum(float(chunk.pairs) for chunk in chunks) == prefill(200, 0, window).pairs


def test_prefill_attention_multiplies_every_pair_and_reads_the_cache_once() -> None:
    attention = prefill(10, 100)
    assert attention.flops == 2 * (10 * 100 + 55) * 32 * (128 + 64)
    assert attention.bytes == 110 * 8 * 192 * 2 + 10 * 32 * 192 * 2


def test_a_window_bounds_what_is_read_of_the_past() -> None:
    assert prefill(10, 1000, 64).bytes == prefill(10, 64).bytes


def test_decode_attention_reads_the_cache_of_every_sequence() -> None:
    decode = DecodeAttention(4, 1000.0, 32, 8, 128, 128, Dtype.FP8)
    assert decode.flops == 2 * 4 * 1000 * 32 * 256
    assert decode.bytes == 4 * 1000 * 8 * 256


@pytest.mark.parametrize(
    ("context", "fill", "read"), [(50, 1.0, 50), (500, 1.0, 128), (500, 0.5, 64)]
)
def test_a_windowed_decode_reads_no_more_than_its_window_holds(
    context: int, fill: float, read: int
) -> None:
    decode = DecodeAttention(4, context, 32, 8, 128, 128, Dtype.BF16, window=128, fill=fill)
    assert decode.flops == 2 * 4 * read * 32 * 256
    assert decode.bytes == 4 * read * 8 * 256 * 2


def test_a_shared_latent_is_read_once_but_used_for_keys_and_values() -> None:
    decode = DecodeAttention(4, 1000.0, 128, 1, 576, 512, Dtype.BF16, shared_latent=True)
    assert decode.flops == 2 * 4 * 1000 * 128 * (576 + 512)
    assert decode.bytes == 4 * 1000 * 576 * 2


def experts(tokens: float, local_experts: int = 16, experts_per_token: int = 2) -> MoeExperts:
    return MoeExperts(tokens, 16, local_experts, experts_per_token, 100, 10, 3, Dtype.BF16)


def test_experts_activated_are_those_that_a_random_choice_hits() -> None:
    rng = np.random.default_rng(5)
    hit = [
        len({expert for _ in range(6) for expert in rng.choice(16, 2, replace=False).tolist()})
        for _ in range(4000)
    ]
    assert float(experts(6).activated) == pytest.approx(np.mean(hit), rel=0.01)


def test_one_token_activates_its_experts_and_many_activate_all() -> None:
    assert float(experts(1).activated) == pytest.approx(2)
    assert float(experts(1000).activated) == pytest.approx(16)
    assert float(experts(1000, local_experts=4).activated) == pytest.approx(4)


def test_a_rank_computes_its_share_of_the_experts() -> None:
    assert experts(8).flops == 2 * 8 * 2 * 3 * 100 * 10
    assert experts(8, local_experts=4).flops == 2 * 8 * 2 * 3 * 100 * 10 / 4
    read = float(experts(8).activated) * 3 * 100 * 10 * 2
    assert experts(8).bytes == pytest.approx(read + 16 * 110 * 2 * 2)


def test_a_ring_sends_all_but_its_own_part_twice() -> None:
    assert AllReduce(800.0, 8).bytes == 2 * 700.0


def test_a_curve_has_the_counts_of_its_points() -> None:
    tokens = np.array([1.0, 7.0, 500.0])
    curve = Gemm(tokens, 64, 32, Dtype.BF16)
    assert np.asarray(curve.flops).tolist() == [Gemm(m, 64, 32, Dtype.BF16).flops for m in tokens]
    assert np.asarray(curve.bytes).tolist() == [Gemm(m, 64, 32, Dtype.BF16).bytes for m in tokens]


def test_the_delta_rule_moves_its_state_once_and_works_in_proportion_to_the_tokens() -> None:
    one, two = (DeltaRule(tokens, 4, 16, 128, 128) for tokens in (1024.0, 2048.0))
    state = 2 * 16 * 128 * 128 * 4
    assert one.bytes == 1024 * (2 * 4 + 2 * 16) * 128 * 2 + state
    assert two.flops == 2 * one.flops == 2 * 2048 * 16 * (64 * 5 * 128 + 3 * 128 * 128)

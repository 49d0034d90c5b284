"""The compiled cost of a step: exact sums, sane directions, never below the roofline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.accelerator import Link
from servecast.primitives.batch import Batch, Group
from servecast.primitives.cost import Provenance
from servecast.primitives.decomposition import (
    decode_operations,
    head_operations,
    prefill_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.host_time import HostTime
from servecast.primitives.model import LatentAttention, LinearAttention, MoeFfn
from servecast.primitives.operations import AllReduce, Elementwise, Operation
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from servecast.primitives.step_cost import SPREAD_BUCKETS, CompiledStepCost
from tests.toy_deployments import DENSE, DEVICE, FFN, FULL, WINDOWED, toy_deployment

LATENT = LatentAttention(32, None, 256, 64, 32, 64)
SPARSE = LatentAttention(32, 512, 256, 64, 32, 64, index_topk=128, index_heads=8, index_head_dim=64)
EXPERTS = MoeFfn(experts=16, experts_per_token=2, width=1024, shared_width=1024)
RECURRENT = LinearAttention(projection_params=2048 * 6144, state_elements=2**20)

DEPLOYMENTS = {
    "dense": DENSE,
    "windows": WINDOWED,
    "four ranks": toy_deployment((16, FULL, FFN), tensor_parallel_size=4),
    "latent experts": toy_deployment((2, LATENT, FFN), (14, LATENT, EXPERTS)),
    "sparse latent": toy_deployment((4, SPARSE, FFN)),
    "recurrent hybrid": toy_deployment((12, RECURRENT, FFN), (4, FULL, FFN), (2, None, EXPERTS)),
}
COSTS = {name: CompiledStepCost(d, RooflineSource()) for name, d in DEPLOYMENTS.items()}
NAMES = st.sampled_from(sorted(COSTS))
EXAMPLES = settings(max_examples=200, derandomize=True, deadline=None)

SEQUENCES = st.integers(1, 24)
CONTEXT = st.integers(1, 2000)
CHUNKS = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 2000)), max_size=4)


def decode(sequences: int, context: int) -> Group:
    return Group(1, sequences, sequences * context, 0, True)


def chunk(new_tokens: int, past_tokens: int) -> Group:
    return Group(new_tokens, 1, past_tokens)


def device_ns(cost: CompiledStepCost, *groups: Group) -> int:
    return cost.step(Batch(groups)).device_ns


def floor_s(operations: Iterable[tuple[int, Operation]]) -> float:
    """No step is faster than its FLOPs at the highest peak or its bytes at full bandwidth."""
    flops = bytes_moved = 0.0
    for count, operation in operations:
        if not isinstance(operation, AllReduce):
            bytes_moved += count * float(operation.bytes)
            if not isinstance(operation, Elementwise | Collective | Send | ExpertExchange):
                flops += count * float(operation.flops)
    return max(flops / max(DEVICE.flops.values()), bytes_moved / DEVICE.bw_bytes_per_s)


def operations_of(deployment: Deployment, batch: Batch) -> list[tuple[int, Operation]]:
    found = [
        *token_operations(deployment, float(batch.tokens)),
        *head_operations(deployment, float(batch.sequences)),
    ]
    for group in batch.groups:
        if group.is_decode:
            context = float(group.context_sum // group.sequences)
            found += decode_operations(deployment, group.sequences, context)
        else:
            past = float(group.context_sum)
            found += prefill_operations(deployment, float(group.query_tokens), past)
    return found


@EXAMPLES
@given(NAMES, SEQUENCES, CONTEXT, CHUNKS)
def test_no_step_is_faster_than_the_roofline(
    name: str, sequences: int, context: int, chunks: list[tuple[int, int]]
) -> None:
    batch = Batch((decode(sequences, context), *(chunk(*each) for each in chunks)))
    floor_ns = floor_s(operations_of(DEPLOYMENTS[name], batch)) * 1e9
    assert COSTS[name].step(batch).device_ns >= floor_ns - 1


@EXAMPLES
@given(NAMES, SEQUENCES, CONTEXT, st.integers(1, 400), st.integers(0, 2000))
def test_a_step_costs_no_less_with_more_tokens_sequences_or_context(
    name: str, sequences: int, context: int, new_tokens: int, past_tokens: int
) -> None:
    cost = COSTS[name]
    batch = (decode(sequences, context), chunk(new_tokens, past_tokens))
    base = device_ns(cost, *batch)
    assert device_ns(cost, decode(sequences + 1, context), batch[1]) >= base
    assert device_ns(cost, decode(sequences, context + 1), batch[1]) >= base
    assert device_ns(cost, batch[0], chunk(new_tokens + 1, past_tokens)) >= base
    assert device_ns(cost, batch[0], chunk(new_tokens, past_tokens + 1)) >= base
    assert device_ns(cost, *batch, chunk(1, 0)) >= base


@EXAMPLES
@given(NAMES, SEQUENCES, CONTEXT, st.integers(1, 200))
def test_a_decode_step_costs_the_same_alone_and_inside_a_run(
    name: str, sequences: int, context: int, steps: int
) -> None:
    cost = COSTS[name]
    alone = [sum(cost.step(Batch((decode(sequences, context + k),)))) for k in range(steps)]
    run = cost.decode_run(sequences)
    assert run.run_ns(context, steps) == sum(alone)
    assert run.run_ns(context, 1) == alone[0]


@EXAMPLES
@given(NAMES, SEQUENCES, st.tuples(CONTEXT, CONTEXT), st.integers(1, 400), st.integers(0, 2000))
def test_attention_costs_the_same_beside_prompt_chunks(
    name: str, sequences: int, contexts: tuple[int, int], new_tokens: int, past_tokens: int
) -> None:
    """What the step costs more for a longer context does not depend on what is beside it."""
    cost, beside = COSTS[name], chunk(new_tokens, past_tokens)
    here, there = (decode(sequences, context) for context in contexts)
    alone = device_ns(cost, there) - device_ns(cost, here)
    assert device_ns(cost, there, beside) - device_ns(cost, here, beside) == alone
    longer = chunk(new_tokens, past_tokens + 100)
    alone = device_ns(cost, longer) - device_ns(cost, beside)
    assert device_ns(cost, here, longer) - device_ns(cost, here, beside) == alone


def test_the_mean_context_alone_decides_without_windows() -> None:
    """Contexts of 100 and 300 cost what two of 200 cost; a remainder of the mean is dropped."""
    cost = COSTS["dense"]
    exact = device_ns(cost, Group(1, 2, 400, 0, True))
    assert exact == device_ns(cost, decode(2, 200)) == device_ns(cost, Group(1, 2, 401, 0, True))


def test_a_small_model_by_hand() -> None:
    """One layer, a prompt of one token, no overheads, full efficiency: all bytes over 1 TB/s.

    Weights are q, k and v (2048 × 6144), o (4096 × 2048), gate, up and down (2048 × 8192 each) and
    the head (2048 × 32000), in bf16.
    """
    ideal = RooflineCoefficients(
        gemm_bandwidth=1.0, attention_bandwidth=1.0, elementwise_bandwidth=1.0, operation_s=0.0
    )
    cost = CompiledStepCost(toy_deployment((1, FULL, FFN)), RooflineSource(ideal))
    weights = 2048 * 6144 + 4096 * 2048 + 3 * 2048 * 8192 + 2048 * 32000
    in_and_out = (2048 + 6144) + (4096 + 2048) + (2048 + 16384) + (8192 + 2048) + (2048 + 32000)
    attention = 8 * 256 + 32 * 256  # keys and values; query and output
    rotated, residual, gated, embedded = 2 * 5120, 2 * 4 * 2048, 3 * 8192, 2 * 2048
    elements = weights + in_and_out + attention + rotated + residual + gated + embedded
    sampled_bytes = 32000 * 3 * 4
    step = cost.step(Batch((chunk(1, 0),)))
    assert step.device_ns == pytest.approx((2 * elements + sampled_bytes) / 1e12 * 1e9, abs=2)


def test_host_time_grows_with_the_sequences() -> None:
    cost = CompiledStepCost(DENSE, RooflineSource(), HostTime(step_s=1e-3, sequence_s=10e-6))
    assert cost.step(Batch((decode(1, 5),))).host_ns == 1_010_000
    assert cost.step(Batch((decode(20, 5), chunk(64, 0)))).host_ns == 1_210_000


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_a_device_k_times_as_fast_takes_one_kth(factor: float) -> None:
    bare = RooflineSource(
        RooflineCoefficients(operation_s=0.0, all_reduce_s=0.0, all_reduce_rank_s=0.0)
    )
    device = replace(
        DEVICE,
        bw_bytes_per_s=DEVICE.bw_bytes_per_s * factor,
        flops={dtype: flops * factor for dtype, flops in DEVICE.flops.items()},
        link=Link("scaled", DEVICE.link.bw_bytes_per_s * factor, 8),
    )
    slow = device_ns(CompiledStepCost(DENSE, bare), decode(8, 500), chunk(100, 50))
    scaled = CompiledStepCost(replace(DENSE, accelerator=device), bare)
    assert device_ns(scaled, decode(8, 500), chunk(100, 50)) == pytest.approx(slow / factor, abs=4)


def test_narrow_weights_make_a_decode_step_cheaper() -> None:
    narrow = CompiledStepCost(replace(DENSE, weights_dtype=Dtype.FP8), RooflineSource())
    assert device_ns(narrow, decode(1, 100)) < 0.75 * device_ns(COSTS["dense"], decode(1, 100))


def test_where_costs_come_from_is_shared_out_by_time() -> None:
    shares = COSTS["latent experts"].origin(Batch((decode(8, 500), chunk(100, 50)))).shares
    assert shares == {Provenance.ROOFLINE: pytest.approx(1.0)}


def test_only_windows_need_the_spread_of_contexts() -> None:
    assert not COSTS["dense"].needs_spread
    assert COSTS["dense"].spread([1, 5000]) == 0
    assert COSTS["windows"].needs_spread
    assert COSTS["windows"].spread([]) == 0


@pytest.mark.parametrize("contexts", [[10, 10, 10], [5, 40, 60], [64, 500, 4000], [300]])
def test_there_is_no_gap_while_all_contexts_are_on_one_side_of_the_window(
    contexts: list[int],
) -> None:
    assert COSTS["windows"].spread(contexts) == 0


@settings(max_examples=200, derandomize=True)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_the_spread_tells_what_the_window_really_holds(contexts: list[int]) -> None:
    """The clipped mean of the contexts, to half a bucket of the mean clipped."""
    spread = COSTS["windows"].spread(contexts)
    held = [context + 1 for context in contexts]
    mean_clipped = min(sum(held) / len(held), 64)
    clipped_mean = sum(min(tokens, 64) for tokens in held) / len(held)
    told = mean_clipped * (1 - spread / SPREAD_BUCKETS)
    assert told == pytest.approx(clipped_mean, abs=mean_clipped / SPREAD_BUCKETS / 2 + 1e-9)
    assert 0 <= spread < SPREAD_BUCKETS


def test_a_spread_makes_windowed_attention_cheaper() -> None:
    cost = COSTS["windows"]
    equal, unequal = (Group(1, 8, 8 * 200, spread, True) for spread in (0, 8))
    assert device_ns(cost, unequal) < device_ns(cost, equal)
    assert sum(cost.step(Batch((unequal,)))) == cost.decode_run(8, 8).run_ns(200, 1)


def test_the_spread_bucket_never_says_that_a_window_is_empty() -> None:
    cost = COSTS["windows"]
    contexts = [1] * 255 + [100_000]
    bucket = cost.spread(contexts)
    assert 0 < bucket < SPREAD_BUCKETS
    apart, equal = (cost.decode_run(64, each).run_ns(400, 1) for each in (bucket, 0))
    assert apart < equal


def test_a_model_without_mixers_has_prefill_chunks_that_cost_no_attention() -> None:
    cost = CompiledStepCost(toy_deployment((4, None, FFN)), RooflineSource())
    alone, more = (cost.step(Batch((Group(new, 1, 0),))) for new in (8, 16))
    assert sum(alone) <= sum(more)

"""Attention data parallelism in a step: ranks repeat attention and share one set of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.decomposition import (
    own_operations,
    shared_operations,
    token_operations,
)
from servecast.primitives.deployment import All2AllBackend, Deployment
from servecast.primitives.exchanges import Collective, ExpertExchange
from servecast.primitives.model import MoeFfn
from servecast.primitives.operations import AllReduce, Gemm, MoeExperts, Operation
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from tests.toy_deployments import FULL, toy_deployment

ALONE = toy_deployment((2, FULL, MoeFfn(experts=32, experts_per_token=2, width=512)))
RANKS = replace(ALONE, data_parallel_size=4, enable_expert_parallel=True)
SHARED = toy_deployment(
    (2, FULL, MoeFfn(experts=32, experts_per_token=2, width=512, shared_width=1024))
)
ROW = ALONE.model.hidden * 2.0


T = TypeVar("T", bound=Operation)


def of_kind(kind: type[T], deployment: Deployment) -> list[T]:
    operations = token_operations(deployment, 16.0)
    return [operation for _, operation in operations if isinstance(operation, kind)]


def test_experts_compute_the_tokens_of_all_ranks() -> None:
    (alone,), (shared,) = of_kind(MoeExperts, ALONE), of_kind(MoeExperts, RANKS)
    assert (alone.tokens, alone.local_experts) == (16, 32)
    assert (shared.tokens, shared.local_experts) == (64, 8)


def test_attention_is_repeated_and_computes_its_own_tokens() -> None:
    assert of_kind(Gemm, RANKS) == of_kind(Gemm, ALONE)


def test_tokens_are_gathered_by_all_ranks_and_their_sums_scattered() -> None:
    """vLLM's default: together what an all-reduce sends."""
    assert of_kind(Collective, ALONE) == []
    gathered, scattered = of_kind(Collective, RANKS)
    assert gathered == Collective("all_gather", 4 * 16 * ROW, 4)
    assert scattered == Collective("reduce_scatter", 4 * 16 * ROW, 4)
    assert gathered.bytes + scattered.bytes == AllReduce(4 * 16 * ROW, 4).bytes


def test_slices_of_experts_need_all_tokens_too() -> None:
    sliced = replace(RANKS, enable_expert_parallel=False, all2all_backend="deepep_low_latency")
    assert [each.kind for each in of_kind(Collective, sliced)] == ["all_gather", "reduce_scatter"]
    (experts,) = of_kind(MoeExperts, sliced)
    assert (experts.local_experts, experts.width) == (32, 512 // 4)


def test_an_all_reduce_stands_for_what_is_not_known_of_tensorrt_llm() -> None:
    ranks = replace(RANKS, engine="trtllm")
    assert of_kind(Collective, ranks) == []
    assert of_kind(AllReduce, ranks) == [AllReduce(4 * 16 * ROW, 4)]


def test_deepep_sends_tokens_where_they_are_needed() -> None:
    ranks = replace(RANKS, all2all_backend="deepep_low_latency")
    assert of_kind(Collective, ranks) == []
    dispatch, combine = of_kind(ExpertExchange, ranks)
    assert dispatch == ExpertExchange("moe_dispatch", "low_latency", 16, 2048, 2, 4, 1)
    assert combine == replace(dispatch, kind="moe_combine")


def test_tensor_ranks_share_out_their_tokens_where_experts_are_dealt_out_over_both() -> None:
    """vLLM's sequence-parallel experts: whole shared experts, on a share of the tokens."""
    ranks = replace(SHARED, tensor_parallel_size=2, data_parallel_size=4)
    both = replace(ranks, enable_expert_parallel=True, all2all_backend="deepep_low_latency")
    dispatch, _ = of_kind(ExpertExchange, both)
    assert (dispatch.tokens, dispatch.ranks) == (8, 8)
    (gathered,) = of_kind(Collective, both)
    assert gathered == Collective("all_gather", 16 * ROW, 2)
    assert of_kind(AllReduce, both) == [AllReduce(16 * ROW, 2)]  # of the mixers alone
    *mixer, router, up, down = of_kind(Gemm, both)
    assert [each.m for each in mixer] == [16] * len(mixer)
    assert [(each.m, each.n) for each in (router, up, down)] == [(8, 32), (8, 2 * 1024), (8, 2048)]


def test_ranks_of_several_nodes_are_counted_by_their_neighbours() -> None:
    """Tensor ranks are neighbours; those that exchange tokens stand so far apart."""

    def nodes(tensor: int, data: int, *, experts: bool) -> int:
        wide = replace(
            RANKS,
            tensor_parallel_size=tensor,
            data_parallel_size=data,
            enable_expert_parallel=experts,
        )
        return of_kind(Collective, wide)[0].nodes

    assert nodes(1, 8, experts=True) == 1
    assert nodes(1, 16, experts=True) == 2
    assert nodes(8, 2, experts=True) == 2
    assert nodes(8, 2, experts=False) == 2
    assert nodes(4, 2, experts=False) == 1
    assert nodes(4, 4, experts=False) == 2


def test_an_uneven_load_is_the_experts_alone() -> None:
    uneven = replace(RANKS, expert_imbalance=1.5)
    (experts,) = of_kind(MoeExperts, uneven)
    assert experts.tokens == 1.5 * 64
    assert of_kind(Collective, uneven) == of_kind(Collective, RANKS)
    sliced = replace(uneven, enable_expert_parallel=False)
    assert of_kind(MoeExperts, sliced)[0].tokens == 64  # every rank has a slice of each expert


def test_a_step_takes_no_less_the_more_uneven_its_load_is() -> None:
    costs = [
        CompiledStepCost(replace(RANKS, expert_imbalance=factor), RooflineSource())
        for factor in (1.0, 1.2, 2.0, 4.0)
    ]
    for tokens in (1, 32, 512):
        steps = [cost.step(Batch((Group(tokens, 1, 0),))).device_ns for cost in costs]
        assert steps == sorted(steps)
    assert steps[0] < steps[-1]


@pytest.mark.parametrize("backend", ["allgather_reducescatter", "deepep_low_latency"])
def test_own_and_shared_operations_are_all_there_is(backend: All2AllBackend) -> None:
    ranks = replace(RANKS, all2all_backend=backend)
    own, shared = own_operations(ranks, 16.0), shared_operations(ranks, 4 * 16.0)
    parts = sorted([*own, *shared], key=repr)
    assert parts == sorted(token_operations(ranks, 16.0), key=repr)

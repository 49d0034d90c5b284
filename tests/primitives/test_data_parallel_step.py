"""Attention data parallelism in a step: ranks repeat attention and share one set of experts."""

from __future__ import annotations

from dataclasses import replace

from servecast.primitives.decomposition import token_operations
from servecast.primitives.model import MoeFfn
from servecast.primitives.operations import AllReduce, Gemm, MoeExperts, Operation
from tests.toy_deployments import FULL, toy_deployment

ALONE = toy_deployment((2, FULL, MoeFfn(experts=8, experts_per_token=2, width=512)))
RANKS = replace(ALONE, data_parallel_size=4, enable_expert_parallel=True)


def of_kind(kind: type[Operation], *, ranks: bool) -> list[Operation]:
    operations = token_operations(RANKS if ranks else ALONE, 16.0)
    return [operation for _, operation in operations if isinstance(operation, kind)]


def test_experts_compute_the_tokens_of_all_ranks() -> None:
    (alone,), (shared,) = of_kind(MoeExperts, ranks=False), of_kind(MoeExperts, ranks=True)
    assert isinstance(alone, MoeExperts)
    assert isinstance(shared, MoeExperts)
    assert (alone.tokens, alone.local_experts) == (16, 8)
    assert (shared.tokens, shared.local_experts) == (64, 2)


def test_attention_is_repeated_and_computes_its_own_tokens() -> None:
    assert of_kind(Gemm, ranks=True) == of_kind(Gemm, ranks=False)


def test_tokens_are_sent_to_the_experts_and_back() -> None:
    assert of_kind(AllReduce, ranks=False) == []
    (sent,) = of_kind(AllReduce, ranks=True)
    assert isinstance(sent, AllReduce)
    assert (sent.payload_bytes, sent.ranks) == (4 * 16 * ALONE.model.hidden * 2, 4)

"""Which choices of a space are priced, and why the others are not."""

from __future__ import annotations

from collections import Counter

from servecast.search.space import candidates, grouped, key_of
from tests.search_cases import BASE, space


def test_the_size_counts_every_combination_before_any_cut() -> None:
    asked = space(tensor_parallel_size=[1, 2, 16], max_num_seqs=[8, 16], block_size=[16])
    assert asked.size == 6
    assert len(list(asked.choices())) == 6
    assert space().size == 1


def test_choices_come_in_the_order_of_the_file() -> None:
    asked = space(tensor_parallel_size=[2, 1], max_num_seqs=[8, 4])
    pairs = [(c["tensor_parallel_size"], c["max_num_seqs"]) for c in asked.choices()]
    assert pairs == [(2, 8), (2, 4), (1, 8), (1, 4)]


def test_a_choice_is_the_same_whatever_the_order_of_its_names() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_what_starts_is_priced_with_as_many_replicas_as_the_budget_holds() -> None:
    found, cut = candidates(space(gpus=7, tensor_parallel_size=[1, 2, 4]))
    assert not cut
    assert [c.max_replicas for c in found] == [7, 3, 1]
    assert [c.with_replicas(c.max_replicas).gpus for c in found] == [7, 6, 4]


def test_stated_replicas_are_kept() -> None:
    found, cut = candidates(space(gpus=4, auto_replicas=False, replicas=[1, 2, 4, 5]))
    assert [c.max_replicas for c in found] == [1, 2, 4]
    assert cut == {"5 GPUs are more than the budget of 4": 1}


def test_too_little_memory_is_a_reason_with_figures() -> None:
    found, cut = candidates(space(gpu_memory_utilization=[0.01, 0.9], max_num_seqs=[8, 16]))
    assert len(found) == 2
    assert sum(cut.values()) == 2
    assert all("weights need" in reason and "GiB" in reason for reason in cut)


def test_a_cache_too_small_for_one_full_request_is_a_reason() -> None:
    _, cut = candidates(space(num_gpu_blocks_override=[10, 100_000]))
    (reason,) = cut
    assert "max_model_len 4,096 needs" in reason


def test_a_split_that_the_engine_refuses_is_a_reason() -> None:
    _, cut = candidates(space(tensor_parallel_size=[1, 3]))
    (reason,) = cut
    assert "do not divide by tensor_parallel_size 3" in reason or "does not divide" in reason


def test_more_gpus_than_the_budget_or_than_a_node_are_reasons() -> None:
    _, cut = candidates(space(gpus=4, tensor_parallel_size=[4, 8]))
    assert cut == {"8 GPUs are more than the budget of 4": 1}
    _, cut = candidates(space(gpus=64, tensor_parallel_size=[8, 16]))
    assert any("share a node" in reason for reason in cut)


def test_a_token_budget_below_the_sequences_is_a_reason() -> None:
    _, cut = candidates(space(max_num_batched_tokens=[32, 64], max_num_seqs=[64]))
    assert cut == {"max_num_batched_tokens 32 is below max_num_seqs 64": 1}


def test_every_choice_is_either_priced_or_counted() -> None:
    asked = space(
        gpus=4,
        tensor_parallel_size=[1, 2, 3, 8],
        max_num_batched_tokens=[32, 512],
        gpu_memory_utilization=[0.01, 0.9],
    )
    found, cut = candidates(asked)
    assert len(found) + sum(cut.values()) == asked.size == 16
    assert len(found) == 2


def test_an_engine_that_is_not_simulated_is_cut_and_not_an_error() -> None:
    found, cut = candidates(space(engine=["vllm", "sglang"]))
    assert [c.deployment.engine for c in found] == ["vllm"]
    assert any("sglang" in reason for reason in cut)


def test_reasons_that_differ_in_figures_alone_are_told_once() -> None:
    cut = Counter({"needs 8.5 GiB of 7": 1, "too wide": 3, "needs 1,024 GiB of 7": 4})
    assert grouped(cut) == [(5, "needs 8.5 GiB of 7"), (3, "too wide")]


def test_a_candidate_at_another_number_of_replicas_is_else_the_same() -> None:
    found, _ = candidates(space(max_num_seqs=[8]))
    deployment = found[0].with_replicas(3)
    assert deployment.replicas == 3
    assert deployment.max_num_seqs == 8
    assert deployment.model is BASE.model

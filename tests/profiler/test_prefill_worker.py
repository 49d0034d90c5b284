"""A prompt worker's steps, followed by hand."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.primitives.batch import Batch
from servecast.profiler.prefill_worker import PrefillPool, PrefillWorker

Chunks = list[list[tuple[int, int]]]


def followed(
    pool_tokens: int, prompts: list[int], *, ranks: int = 1, is_whole: bool
) -> list[tuple[Chunks, list[int]]]:
    """Each step's (new, cached) tokens by rank, and who is done after it."""
    seen: list[Chunks] = []

    def step_ns(batches: Sequence[Batch]) -> int:
        seen.append(
            [[(group.query_tokens, group.context_sum) for group in b.groups] for b in batches]
        )
        return 7

    worker = PrefillWorker(PrefillPool(1, ranks, pool_tokens, is_whole, step_ns))
    for request, tokens in enumerate(prompts):
        worker.add(request, tokens)
    steps: list[tuple[Chunks, list[int]]] = []
    while worker.waiting:
        assert worker.is_busy == bool(steps)
        taken_ns, ended = worker.step()
        assert taken_ns == 7
        steps.append((seen[-1], ended))
    assert worker.step() == (0, [])
    assert not worker.is_busy
    return steps


def test_chunks_fill_a_step_and_go_on_in_the_next() -> None:
    assert followed(100, [150, 60], is_whole=False) == [
        ([[(100, 0)]], []),
        ([[(50, 100), (50, 0)]], [0]),
        ([[(10, 50)]], [1]),
    ]


def test_whole_prompts_wait_for_a_step_with_room() -> None:
    assert followed(100, [60, 60, 40], is_whole=True) == [
        ([[(60, 0)]], [0]),
        ([[(60, 0), (40, 0)]], [1, 2]),
    ]


def test_a_whole_prompt_longer_than_a_step_has_one_of_its_own() -> None:
    assert followed(100, [150, 10], is_whole=True) == [([[(150, 0)]], [0]), ([[(10, 0)]], [1])]


def test_requests_go_to_the_ranks_in_turn_which_step_together() -> None:
    assert followed(100, [100, 30, 20], ranks=2, is_whole=True) == [
        ([[(100, 0)], [(30, 0)]], [0, 1]),
        ([[(20, 0)], []], [2]),
    ]


def test_no_token_is_lost() -> None:
    prompts = [37, 512, 3, 200, 99]
    for ranks in (1, 2, 3):
        steps = followed(64, prompts, ranks=ranks, is_whole=False)
        assert sum(new for chunks, _ in steps for rank in chunks for new, _ in rank) == sum(prompts)
        assert sorted(request for _, ended in steps for request in ended) == list(range(5))

"""vLLM's scheduling decisions, step by step; a step is the tokens it computes of each request."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.driver import Arrival
from tests.scheduler_driver import SchedulerDriver


def driver(
    *, seqs: int = 8, budget: int = 10, blocks: int = 100, max_model_len: int = 16
) -> SchedulerDriver:
    """Blocks of four tokens."""
    return SchedulerDriver(SchedulerLimits(seqs, budget, max_model_len, blocks, block_size=4))


def test_a_prompt_is_computed_in_chunks_of_the_budget_and_then_decodes() -> None:
    engine = driver(max_model_len=64)
    engine.add(prompt_tokens=25, output_tokens=3)
    assert [engine.step() for _ in range(5)] == [{0: 10}, {0: 10}, {0: 5}, {0: 1}, {0: 1}]
    assert not engine.running


def test_prompts_share_a_step_and_the_last_is_cut() -> None:
    engine = driver()
    for prompt_tokens in (4, 4, 5):
        engine.add(prompt_tokens, output_tokens=2)
    assert engine.step() == {0: 4, 1: 4, 2: 2}
    assert engine.step() == {0: 1, 1: 1, 2: 3}
    assert engine.step() == {2: 1}


def test_decoding_comes_first_and_a_prompt_takes_what_is_left() -> None:
    engine = driver(max_model_len=64)
    engine.add(prompt_tokens=3, output_tokens=9)
    engine.add(prompt_tokens=3, output_tokens=9)
    engine.step()
    engine.add(prompt_tokens=20, output_tokens=9)
    assert engine.step() == {0: 1, 1: 1, 2: 8}
    assert engine.step() == {0: 1, 1: 1, 2: 8}
    assert engine.step() == {0: 1, 1: 1, 2: 4}
    assert engine.step() == {0: 1, 1: 1, 2: 1}


def test_the_rest_of_a_prompt_comes_before_those_who_wait() -> None:
    engine = driver(max_model_len=64)
    engine.add(prompt_tokens=15, output_tokens=1)
    engine.add(prompt_tokens=2, output_tokens=1)
    assert engine.step() == {0: 10}
    assert engine.waiting == [1]
    assert engine.step() == {0: 5, 1: 2}


def test_no_more_run_than_max_num_seqs() -> None:
    engine = driver(seqs=2)
    for _ in range(3):
        engine.add(prompt_tokens=2, output_tokens=2)
    assert engine.step() == {0: 2, 1: 2}
    assert engine.step() == {0: 1, 1: 1}
    assert engine.step() == {2: 2}


def test_a_prompt_is_admitted_only_when_the_whole_of_it_fits() -> None:
    """Four blocks: request 0 holds three, so that of two blocks waits, whatever the budget."""
    engine = driver(blocks=4)
    engine.add(prompt_tokens=9, output_tokens=3)
    engine.add(prompt_tokens=8, output_tokens=1)
    assert engine.step() == {0: 9}
    assert engine.step() == {0: 1}
    assert engine.step() == {0: 1}
    assert engine.step() == {1: 8}


def test_the_next_tokens_of_those_who_decode_are_kept_free() -> None:
    """Request 0 fills its block, so of the two free ones only one is left for a prompt."""
    engine = driver(blocks=4)
    engine.add(prompt_tokens=8, output_tokens=9)
    engine.step()
    engine.add(prompt_tokens=8, output_tokens=1)
    assert engine.step() == {0: 1}
    assert engine.waiting == [1]


def test_nobody_passes_the_head_of_the_queue() -> None:
    engine = driver(blocks=4)
    engine.add(prompt_tokens=9, output_tokens=3)
    engine.step()
    engine.add(prompt_tokens=8, output_tokens=1)
    engine.add(prompt_tokens=1, output_tokens=1)
    assert engine.step() == {0: 1}
    assert engine.waiting == [1, 2]


def test_without_a_block_the_last_admitted_is_preempted() -> None:
    engine = driver(blocks=4)
    engine.add(prompt_tokens=4, output_tokens=9)
    engine.add(prompt_tokens=4, output_tokens=9)
    for _ in range(5):
        engine.step()
    assert engine.scheduler.blocks.free == 0
    assert engine.step() == {0: 1}
    assert engine.preempted == [1]
    assert engine.running == [0]
    assert engine.waiting == [1]


def test_who_needs_a_block_itself_may_be_the_last_admitted() -> None:
    """Request 0 has room in its block; request 1 finds none and goes."""
    engine = driver(blocks=4)
    engine.add(prompt_tokens=5, output_tokens=9)
    engine.step()
    engine.add(prompt_tokens=4, output_tokens=9)
    engine.step()
    assert engine.step() == {0: 1, 1: 1}
    assert engine.scheduler.blocks.free == 0
    assert engine.step() == {0: 1, 1: 1}
    engine.step()
    assert engine.preempted == [1]


def test_the_preempted_comes_back_first_and_computes_all_its_tokens_again() -> None:
    engine = driver(blocks=4)
    engine.add(prompt_tokens=4, output_tokens=6)
    engine.add(prompt_tokens=4, output_tokens=6)
    for _ in range(5):
        engine.step()
    engine.add(prompt_tokens=1, output_tokens=1)
    assert engine.step() == {0: 1}  # request 0 is done; nobody is admitted beside a preemption
    assert (engine.preempted, engine.waiting) == ([1], [1, 2])
    assert engine.step() == {1: 9, 2: 1}


@pytest.mark.parametrize(
    ("prompt_tokens", "blocks"), [(8, 8), (9, 9)], ids=["for who decodes", "for its own chunk"]
)
def test_an_unfinished_prompt_is_preempted_when_no_block_is_left(
    prompt_tokens: int, blocks: int
) -> None:
    """Its blocks were free when it was admitted; what decodes beside it has grown since."""
    engine = driver(budget=3, seqs=3, blocks=blocks, max_model_len=32)
    engine.add(prompt_tokens=prompt_tokens, output_tokens=20)
    for _ in range(3):
        engine.step()
    assert engine.scheduler.group.size == 1
    engine.add(prompt_tokens=20, output_tokens=9)
    assert [engine.step() for _ in range(8)] == [{0: 1, 1: 2}] * 8
    assert engine.scheduler.blocks.free == 0
    assert engine.step() == {0: 1}
    assert (engine.preempted, engine.running, engine.waiting) == ([1], [0], [1])
    assert engine.scheduler.partial is None


def test_the_horizon_ends_before_a_block_is_missing() -> None:
    engine = driver(blocks=4)
    engine.add(prompt_tokens=4, output_tokens=9)
    engine.add(prompt_tokens=4, output_tokens=9)
    engine.step()
    assert engine.scheduler.horizon(at_most=9) == 4
    assert engine.scheduler.horizon(at_most=3) == 3


def test_an_arrival_matters_only_at_the_head_of_the_queue_and_with_a_place_free() -> None:
    scheduler = VllmScheduler(SchedulerLimits(1, 10, 16, 100, block_size=4))
    scheduler.add_request(Arrival(0, 0, 4, 9).request())
    assert scheduler.admits_on_arrival()
    scheduler.schedule()
    scheduler.add_request(Arrival(1, 0, 4, 9).request())
    assert not scheduler.admits_on_arrival()  # no place is free


def test_an_arrival_behind_others_who_wait_changes_nothing() -> None:
    scheduler = VllmScheduler(SchedulerLimits(8, 10, 16, 4, block_size=4))
    scheduler.add_request(Arrival(0, 0, 12, 4).request())
    scheduler.schedule()
    scheduler.add_request(Arrival(1, 0, 12, 4).request())
    assert scheduler.admits_on_arrival()
    scheduler.add_request(Arrival(2, 0, 1, 1).request())
    assert not scheduler.admits_on_arrival()


def test_limits_that_vllm_refuses_are_refused_with_the_nearest_valid_choice() -> None:
    with pytest.raises(InputError, match="max_num_batched_tokens 8 is below max_num_seqs 9") as few:
        SchedulerLimits(9, 8, 16, 4, block_size=4)
    assert few.value.hint == "set max_num_batched_tokens to 9 or more"
    with pytest.raises(InputError, match="holds 16 tokens, max_model_len is 17") as long:
        SchedulerLimits(8, 8, 17, 4, block_size=4)
    assert long.value.hint == "set max_model_len to 16 or less"


def test_check_finds_a_block_that_nobody_holds() -> None:
    engine = driver()
    engine.add(prompt_tokens=4, output_tokens=9)
    engine.step()
    engine.scheduler.blocks.allocate(1)
    with pytest.raises(AssertionError, match="98 free"):
        engine.scheduler.check()

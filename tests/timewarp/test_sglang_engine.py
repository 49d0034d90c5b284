"""SGLang's own scheduler and event loops on virtual time: traces that a reader can follow."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from servecast.timewarp.recorded_cost import RecordedCost
from servecast.timewarp.sglang_mail import Outbox, Outputs
from servecast.timewarp.warped import EPOCH_NS
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import burst, poisson, requests
from tests.timewarp.sglang_cases import (
    DEPLOYMENT,
    FLOWING,
    LOGGED,
    NORMAL,
    STEP_NS,
    declared,
    emulated,
    first_chunks,
    pressed,
    same,
    shapes,
    sharing,
)

pytestmark = pytest.mark.engine(name="sglang")

MS = 1_000_000
THREE = requests([0.0, 0.005, 0.02], [700, 100, 30], [3, 2, 2])
"""A prompt of two chunks, one that comes while the first is computed, and one between steps."""


def test_the_normal_loop_schedules_between_steps() -> None:
    run = emulated(THREE, NORMAL)
    assert shapes(run) == [
        (0, ((0, 512, 0),)),
        (1, ((0, 188, 512), (1, 100, 0))),
        (2, ((2, 30, 0),)),
        (3, ((0, 1, 700), (1, 1, 100), (2, 1, 30))),
        (4, ((0, 1, 701),)),
    ]
    assert (run.result.records.first_token_ns // MS).tolist() == [20, 20, 30]
    assert (run.result.records.finish_ns // MS).tolist() == [50, 40, 40]


def test_the_overlap_loop_schedules_a_step_ahead() -> None:
    """Who comes in the first step misses the second; who has finished is computed once more."""
    run = emulated(THREE)
    assert shapes(run) == [
        (0, ((0, 512, 0),)),
        (1, ((0, 188, 512),)),
        (2, ((1, 100, 0),)),
        (3, ((2, 30, 0),)),
        (4, ((0, 1, 700), (1, 1, 100), (2, 1, 30))),
        (5, ((0, 1, 701), (1, 1, 101), (2, 1, 31))),
        (6, ((0, 1, 702),)),
    ]
    assert (run.result.records.finish_ns // MS).tolist() == [60, 50, 50]


def test_mixed_chunks_let_others_decode_beside_prompts() -> None:
    run = emulated(THREE, "--enable-mixed-chunk", NORMAL)
    assert shapes(run) == [
        (0, ((0, 512, 0),)),
        (1, ((0, 188, 512), (1, 100, 0))),
        (2, ((2, 30, 0), (0, 1, 700), (1, 1, 100))),
        (3, ((2, 1, 30), (0, 1, 701))),
    ]


def test_a_declared_length_is_no_surprise() -> None:
    """Nobody is computed once more whose `max_tokens` are reached: SGLang knows it beforehand."""
    assert shapes(emulated(declared(THREE)))[-1] == (5, ((0, 1, 701),))


@pytest.mark.parametrize("page_size", [1, 16, 64])
def test_a_next_turn_finds_the_whole_pages_of_the_one_before(page_size: int) -> None:
    """All but the last token of the turn (128 + 64) was computed, and only that is cached."""
    turns = sharing(requests([0.0, 5.0], [128, 256], [64, 10]), 64, [[5, 6, 7], [5, 6, 7, 8]])
    run = emulated(turns, "--page-size", str(page_size), num_tokens=6400)
    cached = 191 // page_size * page_size
    assert first_chunks(run) == {0: (128, 0), 1: (256 - cached, cached)}
    assert run.result.records.cached_tokens.tolist() == [0, cached]


def test_without_a_radix_cache_nothing_is_found() -> None:
    alike = sharing(requests([0.0, 5.0], [128, 128], [4, 4]), 64, [[5, 6], [5, 6]])
    uncached = dataclasses.replace(DEPLOYMENT, enable_prefix_caching=False)
    assert first_chunks(emulated(alike, deployment=uncached)) == {0: (128, 0), 1: (128, 0)}


def served_order(policy: str) -> list[int]:
    """Who is computed in which order, of three that wait behind a first one; two share its text."""
    waiting = requests([0.0, 0.001, 0.002, 0.003], [512, 512, 448, 512], [2, 2, 2, 2])
    limits = np.array([9, 20, 40, 30])
    alike = sharing(waiting, 64, [[1, 2, 3], [50], [1, 2], [1, 2, 3]])
    run = emulated(
        dataclasses.replace(alike, max_tokens=limits),
        *("--schedule-policy", policy, "--max-running-requests", "1", NORMAL),
    )
    return list(first_chunks(run))


def test_policies_order_the_queue() -> None:
    assert served_order("fcfs") == [0, 1, 2, 3]
    assert served_order("lpm") == [0, 3, 2, 1]
    assert served_order("lof") == [0, 2, 3, 1]


@pytest.mark.parametrize(
    "options", [(), (NORMAL,), ("--enable-mixed-chunk",), ("--page-size", "16")]
)
def test_a_pool_that_runs_dry_takes_requests_back(options: tuple[str, ...]) -> None:
    """They are computed again, with what they had said, and every client gets all of it."""
    workload = pressed()
    run = emulated(workload, *options, num_tokens=2400)
    records = run.result.records
    retracted = [index for batch in run.batches.batches for index in batch.preempted]
    assert len(retracted) == run.result.preemptions >= 4
    assert np.array_equal(records.output_tokens, workload.output_tokens)
    again = [
        (count, past)
        for batch in run.batches.batches
        for index, count, past in batch.computed
        if index == retracted[0] and count > 1
    ]
    assert len(again) > 1
    assert sum(again[-1]) > workload.prompt_tokens[retracted[0]]


@pytest.mark.parametrize("options", [(), (NORMAL,)])
def test_a_closed_loop_sends_when_an_answer_is_complete(options: tuple[str, ...]) -> None:
    clients = closed_loop(burst(12, [200, 40], [30, 6, 10]), 3, 50 * MS)
    records = emulated(clients, *options).result.records
    sent, ended = np.sort(records.arrival_ns)[3:], np.sort(records.finish_ns)[:-3]
    assert np.array_equal(sent, ended + 50 * MS)


def test_limits_of_the_model_are_sglangs_own() -> None:
    """It takes prompts that leave seven tokens, and ends outputs two tokens before the end."""
    small = dataclasses.replace(DEPLOYMENT, max_model_len=256)
    run = emulated(requests([0.0] * 4, [250, 249, 200, 10], [30, 30, 100, 5]), deployment=small)
    assert run.result.rejected.tolist() == [0]
    assert run.result.records.output_tokens.tolist() == [5, 54, 5]
    assert run.result.truncated == 2


def test_sglangs_own_clocks_are_virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it measures of a request, and would export, is what the records say."""
    said: dict[str, Any] = {}
    put = Outbox.put

    def watched(self: Outbox, output: Outputs) -> None:
        put(self, output)
        said.update(zip(output.rids, getattr(output, "time_stats", ()), strict=True))

    monkeypatch.setattr(Outbox, "put", watched)
    records = emulated(poisson(20, 8.0)).result.records
    for row, index in enumerate(records.index.tolist()):
        stats = said[str(index)]
        assert stats.prefill_finished_time * 1e9 == pytest.approx(records.first_token_ns[row])
        assert stats.completion_time * 1e9 == pytest.approx(records.finish_ns[row])
        assert stats.completion_time < EPOCH_NS / 1e9


def overhead_s(*options: str) -> float:
    """What the control loop's own CPU time adds to a run."""
    workload = burst(16, [100], [200])
    frozen, flowing = (emulated(workload, *options, mode=mode) for mode in (LOGGED, FLOWING))
    return flowing.result.duration_s - frozen.result.duration_s


def test_a_flowing_clock_counts_the_loops_own_work_unless_a_step_hides_it() -> None:
    between, behind = overhead_s(NORMAL), overhead_s()
    assert between > 0.005
    assert behind < between / 2


@pytest.mark.parametrize("options", [(), (NORMAL,)])
def test_three_runs_are_identical(options: tuple[str, ...]) -> None:
    workload = pressed()
    first, second, third = (emulated(workload, *options, num_tokens=2400) for _ in range(3))
    assert same(first, second)
    assert same(first, third)


def thousand() -> Workload:
    """Seven system prompts of 128 tokens, own questions behind them, lengths as they come."""
    rng = np.random.default_rng(3)
    arrival = np.cumsum(rng.exponential(1 / 11, 1000))
    prompts, outputs = rng.integers(130, 900, 1000), rng.integers(20, 120, 1000)
    return sharing(
        declared(requests(arrival.tolist(), prompts.tolist(), outputs.tolist())),
        64,
        [[100 * (row % 7), 100 * (row % 7) + 1] for row in range(1000)],
    )


class Jittered(ConstantStepCost):
    """Steps of ten milliseconds, more or less, as a device has them."""

    def __init__(self, seed: int) -> None:
        super().__init__(STEP_NS)
        self._rng = np.random.default_rng(seed)

    def step(self, batch: Any) -> Any:
        """Some time."""
        step = super().step(batch)
        return step._replace(device_ns=int(step.device_ns * self._rng.uniform(0.5, 1.5)))


def test_a_thousand_requests_replay_to_the_last_nanosecond() -> None:
    """Prefixes are found, prompts are chunked, requests are taken back; nothing leaks."""
    workload = thousand()
    options = ("--schedule-conservativeness", "0.2")
    small = dataclasses.replace(DEPLOYMENT, max_model_len=1400)
    run = emulated(workload, *options, num_tokens=4000, deployment=small, cost=Jittered(5))
    records = run.result.records
    assert np.array_equal(records.index, np.arange(1000))
    assert np.array_equal(records.output_tokens, workload.output_tokens)
    assert 500 < (records.cached_tokens >= 128).sum() < 990  # some had been evicted
    assert run.result.preemptions > 0
    chunked = {
        i for b in run.batches.batches for i, count, past in b.computed if past and count > 1
    }
    assert len(chunked) > 100
    recorded = [batch.end_ns - batch.start_ns for batch in run.batches.batches]
    cost = RecordedCost(recorded, ConstantStepCost(STEP_NS))
    again = emulated(workload, *options, num_tokens=4000, deployment=small, cost=cost)
    assert cost.steps == len(recorded)
    assert same(run, again)

"""What goes wrong with an emulated SGLang is said once, clearly, and never hangs."""

from __future__ import annotations

import dataclasses
import time
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from servecast.errors import InputError, ServecastError, UnsupportedError
from servecast.primitives.batch import Batch, StepTime
from servecast.timewarp import sglang_seam
from servecast.timewarp.sglang_engine import SglangEngine
from servecast.timewarp.sglang_run import SglangRun, emulate_sglang
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import burst, requests
from tests.timewarp.sglang_cases import DEPLOYMENT, LOGGED, NORMAL, STEP_NS, emulated

with_engine = pytest.mark.engine(name="sglang")


class Breaking(ConstantStepCost):
    """A cost that is none from the third step on."""

    def __init__(self, broken: float) -> None:
        super().__init__(STEP_NS)
        self._broken = broken
        self._steps = 0

    def step(self, batch: Batch) -> StepTime:
        """Two steps, then what it was made with."""
        self._steps += 1
        return StepTime(STEP_NS if self._steps < 3 else self._broken, 0)  # type: ignore[arg-type]


def test_another_release_is_refused_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def older(name: str) -> str:
        return "0.5.6"

    monkeypatch.setattr(sglang_seam, "version", older)
    with pytest.raises(UnsupportedError, match=r"SGLang 0\.5\.6 is installed.*0\.5\.23"):
        emulated(burst(1, [10], [1]))


def test_no_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sglang_seam, "version", absent)
    with pytest.raises(UnsupportedError, match="SGLang is not installed") as raised:
        emulated(burst(1, [10], [1]))
    assert "servecast doctor" in str(raised.value.hint)


@with_engine
def test_a_release_without_a_needed_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {"managers.scheduler": ("Scheduler", "NoSuchThing")}
    monkeypatch.setattr(sglang_seam, "_NEEDED", needed)
    sglang_seam.srt.cache_clear()
    with pytest.raises(UnsupportedError, match="has no NoSuchThing"):
        emulated(burst(1, [10], [1]))
    sglang_seam.srt.cache_clear()


@with_engine
@pytest.mark.parametrize("broken", [float("nan"), -5, 2.5])
@pytest.mark.parametrize("options", [(), (NORMAL,)])
def test_an_impossible_cost_ends_the_run(broken: float, options: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="the device time of a step is"):
        emulated(burst(4, [100], [20]), *options, cost=Breaking(broken))
    assert len(emulated(burst(2, [10], [2]), *options).result.records) == 2


@with_engine
@pytest.mark.parametrize("options", [(), (NORMAL,)])
def test_an_engine_that_raises_ends_the_run(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = sglang_seam.srt("managers.schedule_batch").ScheduleBatch
    decode = batches.prepare_for_decode
    turns = iter(range(5))

    def failing(self: Any) -> None:
        if next(turns, None) is None:
            raise KeyError("no such slot")
        decode(self)

    monkeypatch.setattr(batches, "prepare_for_decode", failing)
    with pytest.raises(ServecastError, match=r"SGLang raised KeyError .*no such slot"):
        emulated(burst(4, [100], [20]), *options)


@with_engine
def test_sglangs_own_leak_check_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SglangEngine.run

    def leaking(self: SglangEngine) -> None:
        self.scheduler.token_to_kv_pool_allocator.alloc(3)
        run(self)

    monkeypatch.setattr(SglangEngine, "run", leaking)
    with pytest.raises(ServecastError, match="memory leak detected"):
        emulated(burst(2, [100], [5]))


@with_engine
def test_an_engine_that_schedules_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing ever fits: with requests to come it may go on, without any it never will."""
    scheduler = sglang_seam.srt("managers.scheduler").Scheduler

    def nothing(self: Any, **given: Any) -> Any:
        return None, given["running_batch"]

    monkeypatch.setattr(scheduler, "_get_new_batch_prefill_raw", nothing)
    begun_s = time.monotonic()
    with pytest.raises(ServecastError, match="schedules none of them"):
        emulated(requests([0.0, 5.0], [100], [5]))
    assert time.monotonic() - begun_s < 60


@with_engine
@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (("--no-such-option", "3"), InputError, "no-such-option"),
        (("--page-size", "many"), InputError, "page-size"),
        (("--schedule-policy", "best"), InputError, "best"),
        (("--pp-size", "2"), UnsupportedError, "--pp-size 2 is not emulated"),
        (("--enable-hierarchical-cache",), UnsupportedError, "enable-hierarchical-cache"),
        (("--disaggregation-mode", "decode"), UnsupportedError, "disaggregation-mode decode"),
        (("--scheduler-recv-interval", "4"), UnsupportedError, "scheduler-recv-interval 4"),
        (("--speculative-algorithm", "NGRAM"), UnsupportedError, "speculative-algorithm"),
    ],
)
def test_options_that_are_not_emulated_are_refused_by_name(
    words: tuple[str, ...], error: type[ServecastError], match: str
) -> None:
    with pytest.raises(error, match=match):
        emulated(burst(1, [10], [1]), *words)


@with_engine
def test_a_tensor_parallel_server_is_one_rank_here() -> None:
    run = emulated(burst(2, [10], [3]), "--tp-size", "4")
    assert len(run.result.records) == 2


@with_engine
def test_defaults_are_those_of_the_target() -> None:
    """On 80 GB SGLang computes 8,192 tokens of prompts a step, whatever this machine has."""
    words = ("--context-length", "16384", "--max-running-requests", "8")
    run = emulated_words(*words, "--max-total-tokens", "40000")
    assert [sum(count for _, count, _ in b.computed) for b in run.batches.batches][:2] == [
        8192,
        1808,
    ]


def emulated_words(*words: str) -> SglangRun:
    """A prompt of 10,000 tokens on a server started with these words alone."""
    long = dataclasses.replace(DEPLOYMENT, max_model_len=16384)
    cost = ConstantStepCost(STEP_NS)
    return emulate_sglang(long, burst(1, [10_000], [2]), words, cost, LOGGED)


@with_engine
def test_a_pool_whose_size_is_left_open_is_asked_for() -> None:
    with pytest.raises(InputError, match="leave --max-total-tokens open"):
        emulated_words("--max-running-requests", "8")

"""What goes wrong in an emulated engine ends `servecast emulate`: one error, a code, no hang."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.step_cost import CompiledStepCost
from servecast.timewarp.foreign import foreign
from servecast.timewarp.transformers_execution import Priced
from tests.command import assert_refused
from tests.engine_scenarios import EACH, SCENARIOS, emulated

ENGINES = pytest.mark.parametrize("engine", EACH)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def failing(real: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but for its fifth call."""
    turns = iter(range(4))

    def once(*given: Any, **named: Any) -> Any:
        if next(turns, None) is None:
            raise AssertionError("no such block")
        return real(*given, **named)

    return once


def inside(engine: str) -> tuple[Any, str]:
    """Something that the engine calls again and again."""
    if engine == "vllm":
        return foreign("vllm.v1.core.sched.scheduler").Scheduler, "update_from_output"
    if engine == "sglang":
        from servecast.timewarp.sglang_seam import srt

        return srt("managers.schedule_batch").ScheduleBatch, "prepare_for_decode"
    return Priced, "run"


@ENGINES
def test_an_engine_that_raises_in_the_middle_is_exit_code_1(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated(engine, "--json")  # loads it, and shows that it runs
    owner, name = inside(engine)
    monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    told = emulated(engine, "--records", "records.csv")
    assert told.code == 1
    assert told.out == ""
    assert "no such block" in told.err
    assert told.err.lower().startswith(f"error: {engine}")
    assert "Traceback" not in told.err
    assert not Path("records.csv").exists()


@ENGINES
@pytest.mark.parametrize("odd", [float("nan"), -1, 0.5])
def test_a_cost_that_is_no_duration_is_exit_code_2(
    engine: str, odd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_duration(self: CompiledStepCost, batch: Batch) -> StepTime:
        return StepTime(odd, 0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(CompiledStepCost, "step", no_duration)
    told = emulated(engine)
    assert told.code == 2
    assert f"the device time of a step is {odd} ns" in told.err
    assert "Traceback" not in told.err


@ENGINES
def test_another_version_than_the_installed_one_is_exit_code_2(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = SCENARIOS[engine].partition('version: "')[2].partition('"')[0]
    monkeypatch.setitem(SCENARIOS, engine, SCENARIOS[engine].replace(stated, "0.1"))
    assert_refused(emulated(engine), 2, "engine.version", stated)


@ENGINES
def test_a_client_whose_prompts_never_fit_is_exit_code_2(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = "synthetic: fixed, input_tokens: 200000, output_tokens: 10, requests: 3, rate: 1/s"
    head = SCENARIOS[engine].partition("workload:")[0]
    monkeypatch.setitem(SCENARIOS, engine, f"{head}workload: {{{lengths}}}\n")
    assert_refused(emulated(engine), 2, "max_model_len")


@pytest.mark.engine(name="transformers")
def test_a_request_that_the_whole_cache_does_not_hold_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = SCENARIOS["transformers"].replace("deployment: {", "deployment: {num_blocks: 2, ")
    monkeypatch.setitem(SCENARIOS, "transformers", small)
    assert_refused(emulated("transformers"), 2, "holds 512", "num_blocks")


@pytest.mark.parametrize("engine", [each for each in EACH if each.values != ("vllm",)])
def test_several_replicas_are_exit_code_2(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two = SCENARIOS[engine].replace("gpus: 1", "gpus: 2")
    two = two.replace("deployment: {", "deployment: {replicas: 2, ")
    monkeypatch.setitem(SCENARIOS, engine, two)
    assert_refused(emulated(engine), 2, "2 replicas", "replicas to 1")

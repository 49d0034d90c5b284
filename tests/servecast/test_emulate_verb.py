"""`servecast emulate`: what `simulate` says, by the engine itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import FIXED, Run, assert_refused, run, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def emulated(*arguments: object) -> Run:
    pytest.importorskip("vllm")
    write(Path(), FIXED)
    return run("emulate", "small.yaml", *arguments)


def test_a_missing_engine_is_one_error_and_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(INSTALLATIONS["vllm"]), "found", None)
    write(Path(), FIXED)
    told = run("emulate", "small.yaml")
    assert_refused(told, 2, "vLLM is not installed", *INSTALLATIONS["vllm"].commands)


def test_an_untested_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(INSTALLATIONS["vllm"]), "found", "0.31.1")
    write(Path(), FIXED)
    assert_refused(run("emulate", "small.yaml"), 2, "vLLM 0.31.1 is installed", "0.32.0")


@pytest.mark.engine(name="vllm")
def test_figures_records_and_verdicts_are_those_of_simulate() -> None:
    ours = emulated("--records", "emulated.csv")
    theirs = run("simulate", "small.yaml", "--records", "simulated.csv")
    assert (ours.code, theirs.code) == (0, 0)
    said = ours.out.removesuffix("\n").rpartition("\n\n")
    assert said[0] + "\n" == theirs.out
    assert Path("emulated.csv").read_bytes() == Path("simulated.csv").read_bytes()
    assert said[2].startswith("vLLM 0.32.0 ran on a virtual device (frozen clock, skipping): ")
    assert "× faster than real" in said[2]


@pytest.mark.engine(name="vllm")
def test_json_says_which_engine_ran_and_what_it_took() -> None:
    found = emulated("--json").json["emulation"]
    assert (found["engine"], found["release"], found["clock"]) == ("vllm", "0.32.0", "frozen")
    assert found["steps"] > 1000
    assert found["times_faster_than_real"] > 1
    assert found["cpu_s"] > 0


@pytest.mark.engine(name="vllm")
def test_the_engines_own_cpu_time_replaces_the_modelled_host_time() -> None:
    frozen = emulated("--json").json
    flowing = emulated("--json", "--flow", "0.001").json
    assert flowing["emulation"]["clock"] == "flowing"
    saved_s = frozen["latency_s"]["tpot"]["mean"] - flowing["latency_s"]["tpot"]["mean"]
    assert 1.5e-3 < saved_s < 2.5e-3  # a step's host time was modelled at 1.5 ms and more


@pytest.mark.engine(name="vllm")
def test_batches_are_written_one_line_a_step() -> None:
    told = emulated("--batches", "batches.jsonl", "--json")
    lines = [json.loads(line) for line in Path("batches.jsonl").read_text().splitlines()]
    assert len(lines) == told.json["emulation"]["steps"]
    assert lines[0]["computed"][0][0] == 0
    assert all(line["start_ns"] < line["end_ns"] for line in lines)


@pytest.mark.engine(name="vllm")
def test_a_missed_slo_is_exit_code_3() -> None:
    pytest.importorskip("vllm")
    write(Path(), FIXED.replace("40ms", "1ms"))
    assert run("emulate", "small.yaml").code == 3

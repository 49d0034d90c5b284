"""`servecast emulate`: what `simulate` says, by the engine itself, whichever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import assert_refused, run, write
from tests.engine_scenarios import EACH, SCENARIOS, emulated

ENGINES = pytest.mark.parametrize("engine", EACH)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("engine", SCENARIOS)
def test_a_missing_engine_is_one_error_and_the_commands(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(INSTALLATIONS[engine]), "found", None)
    write(Path(), SCENARIOS[engine])
    told = run("emulate", "small.yaml")
    known = INSTALLATIONS[engine]
    assert_refused(told, 2, f"{known.title} is not installed", *known.commands)


@pytest.mark.parametrize("engine", SCENARIOS)
def test_an_untested_release_is_refused(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = INSTALLATIONS[engine]
    monkeypatch.setattr(type(known), "found", "0.1.1")
    write(Path(), SCENARIOS[engine])
    told = run("emulate", "small.yaml")
    assert_refused(told, 2, f"{known.title} 0.1.1 is installed", known.releases[-1])


@ENGINES
def test_it_says_who_ran_how_and_what_it_took(engine: str) -> None:
    told = emulated(engine)
    known = INSTALLATIONS[engine]
    mode = "stepping" if engine == "transformers" else "skipping"
    said = told.out.rpartition("\n\n")[2]
    assert told.code == 0, told.err
    assert said.startswith(
        f"{known.title} {known.found} ran on a virtual device (frozen clock, {mode}): "
    )
    assert "of CPU time" in said
    assert "× faster than real" in said


@pytest.mark.parametrize("engine", [each for each in EACH if each.values != ("sglang",)])
def test_figures_records_and_verdicts_are_those_of_simulate(engine: str) -> None:
    ours = emulated(engine, "--records", "emulated.csv", "--json").json
    theirs = run("simulate", "small.yaml", "--records", "simulated.csv", "--json").json
    del ours["emulation"]
    for name in ("energy_wh", "average_w", "wh_per_million_output_tokens", "roofline_utilisation"):
        # Read from logs, of which one has a row for each step and the other one for each run.
        assert ours.pop(name) == pytest.approx(theirs.pop(name), rel=0.01)
    peaks = [each.pop("kv_blocks_peak") for each in (ours, theirs)]
    assert ours == theirs
    assert abs(peaks[0] - peaks[1]) <= 2  # counted after a step, or within it
    assert Path("emulated.csv").read_bytes() == Path("simulated.csv").read_bytes()


@ENGINES
def test_json_says_which_engine_ran_and_what_it_took(engine: str) -> None:
    found = emulated(engine, "--json").json["emulation"]
    known = INSTALLATIONS[engine]
    assert (found["engine"], found["release"], found["clock"]) == (engine, known.found, "frozen")
    assert found["steps"] > 1000
    assert found["times_faster_than_real"] > 1
    assert found["cpu_s"] > 0


@ENGINES
def test_the_engines_own_cpu_time_replaces_the_modelled_host_time(engine: str) -> None:
    frozen = emulated(engine, "--json").json
    flowing = emulated(engine, "--json", "--flow", "0.001").json
    assert flowing["emulation"]["clock"] == "flowing"
    saved_s = frozen["latency_s"]["tpot"]["mean"] - flowing["latency_s"]["tpot"]["mean"]
    low_s = 0.5e-3 if engine == "sglang" else 1.5e-3
    assert low_s < saved_s < 2.5e-3  # modelled at 0.8 ms a step and more, or at 1.5


@ENGINES
def test_batches_are_written_one_line_a_step(engine: str) -> None:
    told = emulated(engine, "--batches", "batches.jsonl", "--json")
    lines = [json.loads(line) for line in Path("batches.jsonl").read_text().splitlines()]
    assert len(lines) == told.json["emulation"]["steps"]
    assert lines[0]["computed"][0][0] == 0
    assert all(line["start_ns"] < line["end_ns"] for line in lines)


@ENGINES
def test_two_runs_are_equal_to_the_byte(engine: str) -> None:
    for name in ("one.csv", "two.csv"):
        emulated(engine, "--records", name)
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()


@ENGINES
def test_a_missed_slo_is_exit_code_3(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCENARIOS, engine, SCENARIOS[engine].replace("40ms", "1ms"))
    assert emulated(engine).code == 3

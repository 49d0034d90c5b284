"""`--costs`: the recording of a real server prices `simulate` and `emulate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servecast.domain import deployment, workload
from servecast.errors import InputError, UnsupportedError
from servecast.loading import loads
from servecast.primitives.dtype import Dtype
from servecast.primitives.speculation import Speculation
from servecast.recording import recording
from servecast.simulator.simulate import simulate
from servecast.timewarp.recorded_step_cost import RecordedStepCost
from servecast.timewarp.recorded_steps import recorded_tables
from servecast.writing import write_records
from tests.command import FIXED, Run, assert_refused, run, write
from tests.recordings import server_tables, write_recording

SCENARIO = loads(FIXED)
DEPLOYED, TRAFFIC = deployment(SCENARIO), workload(SCENARIO)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    write(Path(), FIXED)


def simulated(*arguments: object) -> Run:
    return run("simulate", "small.yaml", "--costs", "steps.csv", *arguments)


def test_a_run_is_priced_by_the_steps_that_were_recorded() -> None:
    tables = server_tables()
    write_recording(Path("steps.csv"), *tables)
    told = simulated("--records", "by_verb.csv")
    assert told.code == 0, told.err
    assert "priced by 160 different steps of Llama-3.1-8B-Instruct (bf16, 1 rank) on h100_sxm" in (
        told.err
    )
    write_records(
        Path("by_hand.csv"),
        simulate(DEPLOYED, TRAFFIC, cost=RecordedStepCost(*recorded_tables(tables))),
    )
    assert Path("by_verb.csv").read_bytes() == Path("by_hand.csv").read_bytes()


def test_steps_between_the_recorded_follow_the_server_that_was_recorded() -> None:
    """It decodes in a little more than 4 ms, and the roofline's H100 takes 9 ms."""
    write_recording(Path("steps.csv"), *server_tables())
    assert 4.3e-3 < simulated("--json").json["latency_s"]["itl"]["p50"] < 6e-3


def test_the_band_is_as_wide_as_recorded_steps_are_from_their_fit() -> None:
    write_recording(Path("exact.csv"), *server_tables())
    write_recording(Path("steps.csv"), *server_tables(noise=0.2))
    assert recording(Path("exact.csv"), DEPLOYED).error < 0.001
    error = recording(Path("steps.csv"), DEPLOYED).error
    assert 0.08 < error < 0.12  # the mean of 0 to 20 %
    assert f"if steps ±{error:.0%}" in simulated().out
    for slo in simulated("--json").json["slo"]:
        assert slo["low"] <= slo["value"] <= slo["high"]


def test_larger_batches_than_were_recorded_are_named() -> None:
    write_recording(Path("steps.csv"), *server_tables(sequences=8))
    assert "beyond the recording: up to" in simulated().out
    write_recording(Path("steps.csv"), *server_tables())
    assert "beyond the recording" not in simulated().out


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ({"model": "Qwen3-8B"}, "the scenario has meta-llama/Llama-3.1-8B-Instruct"),
        ({"device": "h200_sxm"}, "on h200_sxm, vLLM 0.32.0, and the scenario has h100_sxm"),
        ({"ranks": 2}, "2 ranks) on h100_sxm, vLLM 0.32.0, and the scenario has 1 rank"),
        ({"dtype": "fp8"}, "the scenario has bf16 weights"),
    ],
)
def test_a_recording_of_another_server_is_refused(odd: dict[str, str | int], says: str) -> None:
    tables = server_tables(**odd)  # type: ignore[arg-type]
    write_recording(Path("steps.csv"), *tables)
    assert_refused(simulated(), 2, "`steps.csv` was recorded of", says)


@pytest.mark.parametrize(
    "alike", [{"model": "Llama-3.1-8B"}, {"device": "Xeon 6960P"}, {"dtype": "fp16"},
              {"dtype": "compressed-tensors"}]
)  # fmt: skip
def test_other_names_of_the_same_and_what_cannot_be_compared_are_taken(
    alike: dict[str, str],
) -> None:
    tables = server_tables(**alike)  # type: ignore[arg-type]
    path = write_recording(Path("steps.csv"), *tables)
    assert len(recording(path, DEPLOYED).device) == 160


def test_of_several_servers_the_one_that_the_scenario_describes_is_taken() -> None:
    both = [*server_tables(), *server_tables(ranks=2)]
    path = write_recording(Path("steps.csv"), *both)
    assert recording(path, DEPLOYED).device.key.traits["ranks"] == "1"
    two = [*server_tables(), *server_tables(dtype="fp16")]
    with pytest.raises(InputError, match="the steps of one server are needed, of 2 there are"):
        recording(write_recording(path, *two), DEPLOYED)


def test_steps_with_drafts_and_without_do_not_stand_for_each_other() -> None:
    ngrams = Speculation("ngram", 2, (0.5, 0.3))
    path = write_recording(Path("steps.csv"), *server_tables())
    with pytest.raises(InputError, match="recorded without drafts, and the scenario has 2 drafts"):
        recording(path, replace(DEPLOYED, speculation=ngrams))
    write_recording(path, *server_tables(drafts=2))
    assert recording(path, replace(DEPLOYED, speculation=ngrams)).verifies_drafts
    with pytest.raises(InputError, match="recorded with drafts, and the scenario has no drafts"):
        recording(path, DEPLOYED)


@pytest.mark.parametrize("text", [None, "", "name: small\n"])
def test_a_file_that_is_no_cost_file_is_refused(text: str | None) -> None:
    if text is not None:
        Path("steps.csv").write_text(text, encoding="utf-8")
    assert_refused(simulated(), 2, "`steps.csv`", "SERVECAST_RECORD=steps.csv vllm serve")


def test_a_cost_file_without_steps_is_refused() -> None:
    write_recording(Path("steps.csv"))
    assert_refused(simulated(), 2, "holds no steps of an engine", "SERVECAST_RECORD")


def test_a_recording_without_its_host_s_half_is_refused() -> None:
    write_recording(Path("steps.csv"), *server_tables()[:1])
    assert_refused(simulated(), 2, "no times of part 'host'")


def test_recorded_steps_are_not_calibrated_too() -> None:
    assert_refused(simulated("--calibration", "c.yaml"), 2, "--calibration or --costs")


def test_other_engines_and_pipelines_are_refused_by_name() -> None:
    path = write_recording(Path("steps.csv"), *server_tables())
    with pytest.raises(UnsupportedError, match="the scenario's engine is sglang"):
        recording(path, replace(DEPLOYED, engine="sglang"))
    with pytest.raises(UnsupportedError, match="pipeline_parallel_size is 2"):
        recording(path, replace(DEPLOYED, pipeline_parallel_size=2))
    with pytest.raises(InputError, match="the scenario has fp8 weights"):
        recording(path, replace(DEPLOYED, weights_dtype=Dtype.FP8))


@pytest.mark.engine(name="vllm")
def test_the_engine_itself_at_recorded_costs_is_the_simulator() -> None:
    pytest.importorskip("vllm")
    write_recording(Path("steps.csv"), *server_tables(noise=0.1))
    told = run("emulate", "small.yaml", "--costs", "steps.csv", "--records", "emulated.csv")
    assert told.code == 0, told.err
    assert "priced by 160 different steps" in told.err
    simulated("--records", "simulated.csv")
    assert Path("emulated.csv").read_bytes() == Path("simulated.csv").read_bytes()
    assert np.loadtxt("emulated.csv", delimiter=",", skiprows=1).shape[0] == len(TRAFFIC)

"""`servecast emulate --server`: vLLM's own server and client say what the engine alone says."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import FIXED, Run, assert_refused, run, write
from tests.engine_scenarios import SCENARIOS

CLIENTS = "{synthetic: fixed, input_tokens: 200, output_tokens: 25, requests: 24, concurrency: 5}"
"""Who sends at a finish sends at the same nanosecond, whoever measures it."""
SMALL = f"{FIXED.partition('workload:')[0]}workload: {CLIENTS}\nslo: tpot:p95 < 40ms\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def emulated(*arguments: object, text: str = SMALL) -> Run:
    if not INSTALLATIONS["vllm"].is_tested:
        pytest.skip("no tested release of vllm is installed")
    write(Path(), text)
    return run("emulate", "small.yaml", *arguments)


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize(("option", "processes"), [("--server", 1), ("--processes", 2)])
def test_records_batches_and_figures_are_those_of_the_engine_alone(
    option: str, processes: int
) -> None:
    alone = emulated("--records", "alone.csv", "--batches", "alone.jsonl", "--json").json
    served = emulated(option, "--records", "served.csv", "--batches", "served.jsonl", "--json").json
    assert Path("served.csv").read_bytes() == Path("alone.csv").read_bytes()
    assert Path("served.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()
    ran, (before, after) = served["emulation"], (served.pop("emulation"), alone.pop("emulation"))
    assert served == alone
    assert before["cache"] == after["cache"]
    assert after["server"] is None
    assert ran["server"]["processes"] == processes
    assert ran["server"]["client_ttft_mean_s"] == pytest.approx(alone["latency_s"]["ttft"]["mean"])
    assert ran["server"]["client_e2e_mean_s"] == pytest.approx(alone["latency_s"]["e2e"]["mean"])


@pytest.mark.engine(name="vllm")
def test_the_answer_says_that_the_server_ran() -> None:
    told = emulated("--server")
    assert told.code == 0, told.err
    said = told.out.rpartition("\n\n")[2]
    found = INSTALLATIONS["vllm"].found
    assert said.startswith(
        f"vLLM {found}'s API server and benchmark client ran on a virtual device"
    )


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("replicas: 1", "replicas: 2", "2 replicas behind a router"),
        ("replicas: 1", "pipeline_parallel_size: 2", "over 2 pipeline stages"),
        ("concurrency: 5", "concurrency: 5, think: 1s", "does not think"),
    ],
)
def test_what_a_server_is_not_emulated_with_is_refused(old: str, new: str, says: str) -> None:
    assert_refused(emulated("--server", text=SMALL.replace(old, new)), 2, says, "--server")


@pytest.mark.engine(name="vllm")
def test_a_server_has_no_flowing_clock() -> None:
    assert_refused(emulated("--server", "--flow", "1"), 2, "frozen clock", "--flow")


@pytest.mark.parametrize("engine", ["sglang", "transformers"])
@pytest.mark.parametrize("option", ["--server", "--processes"])
def test_the_server_of_another_engine_is_refused_installed_or_not(engine: str, option: str) -> None:
    write(Path(), SCENARIOS[engine])
    told = run("emulate", "small.yaml", option)
    assert_refused(told, 2, f"the server of engine `{engine}` is not emulated", "known: vllm")


def test_a_missing_engine_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(INSTALLATIONS["vllm"]), "found", None)
    write(Path(), SMALL)
    assert_refused(run("emulate", "small.yaml", "--server"), 2, "vLLM is not installed")

"""`servecast recommend`: the answer, its files, and what it says where nothing meets the SLOs."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from servecast.loading import load
from tests.command import FIXED, SMALL, Run, run, write
from tests.emitted_cases import start_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recommend")


@pytest.fixture(scope="module")
def builtin(folder: Path) -> Run:
    """What a first-time user sees: no arguments at all."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return run("recommend")


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(folder)


def test_without_arguments_it_answers_the_builtin_scenario(builtin: Run) -> None:
    assert builtin.code == 0
    first = builtin.out.splitlines()[0]
    assert "Llama-3.1-70B-Instruct" in first
    assert "requests of chat" in first
    assert "8 × h100_sxm" in first


def test_the_answer_has_every_part(builtin: Run) -> None:
    for part in (
        "Best deployment\n",
        "tensor_parallel_size ",
        "per million output tokens on ",
        "an hour each",
        "tok/s output",
        "against vllm defaults (",
        "Runners-up\n",
        "Why\n",
        "step costs: roofline",
        "start it   runs/builtin/deploy/1/serve.sh",
        "verify it  runs/builtin/deploy/1/verify.sh",
    ):
        assert part in builtin.out, part
    assert "everything that was tried: runs/builtin" in builtin.err


def test_each_slo_is_a_row_with_value_band_and_sampling_error(builtin: Run) -> None:
    lines = builtin.out.splitlines()
    for slo in ("ttft:p95 < 500ms", "tpot:p95 < 40ms"):
        (row,) = [line for line in lines if line.startswith(slo)]
        assert " to " in row
        assert "±" in row
        assert "met" in row


def test_every_choice_is_accounted_for(builtin: Run) -> None:
    (line,) = [line for line in builtin.out.splitlines() if "would not start" in line]
    figures = [int(word) for word in line.replace("(", " ").split() if word.isdigit()]
    choices, cut, priced = figures[:3]
    assert choices == 48 == cut + priced


def test_every_file_is_there(builtin: Run, folder: Path) -> None:
    run_folder = folder / "runs" / "builtin"
    for name in ("config.yaml", "manifest.json", "trials.csv", "requests.csv.gz"):
        assert (run_folder / name).stat().st_size > 0, name
    for name in ("serve.sh", "verify.sh", "compose.yaml", "k8s.yaml", "why.md", "requests.jsonl"):
        assert (run_folder / "deploy" / "1" / name).stat().st_size > 0, name
    assert not [path for path in (folder / "runs").iterdir() if path.name.startswith(".")]


def small(*arguments: object, text: str = SMALL) -> Run:
    write(Path(), text)
    return run("recommend", "small.yaml", *arguments)


def answer(*arguments: object, text: str = SMALL) -> dict[str, Any]:
    told = small("--json", *arguments, text=text)
    assert told.code in (0, 3), told.err
    return told.json


def test_json_is_the_whole_answer_and_nothing_else() -> None:
    told = small("--json")
    assert told.code == 0
    assert told.err == ""
    found = answer()
    assert found["meets_slo"] is True
    assert found["deployment"]["tensor_parallel_size"] in (1, 2)
    assert found["objectives"]["cost"] > 0
    assert [slo["slo"] for slo in found["slo"]] == [
        "ttft:p95 < 500ms",
        "tpot:p95 < 40ms",
        "attainment > 90%",
    ]
    assert all(slo["low"] <= slo["value"] <= slo["high"] for slo in found["slo"])
    assert found["baselines"]["vllm defaults"]["objectives"]["cost"] > 0
    assert found["binding"] is None
    assert found["run"] == "runs/small"


def test_json_and_text_tell_the_same_answer() -> None:
    found, text = answer(), small().out
    d = found["deployment"]
    assert f"tensor_parallel_size {d['tensor_parallel_size']} · max_num_seqs" in text
    assert f"${found['objectives']['cost']:.2f} per million" in text


def test_the_written_config_is_the_same_scenario() -> None:
    small()
    assert load("runs/small/config.yaml") == load("small.yaml")


def test_the_manifest_says_what_it_was_made_of() -> None:
    small()
    manifest = json.loads(Path("runs/small/manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["requests"] == 150
    assert manifest["cost_source"]
    assert len(manifest["workload_sha256"]) == len(manifest["config_sha256"]) == 64
    assert "CC-BY" in manifest["attribution"]


def test_every_trial_is_a_row() -> None:
    found = answer()
    with Path("runs/small/trials.csv").open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == found["priced"] == 4
    assert {row["rung"] for row in rows} <= {"estimate", "simulate"}
    assert float(rows[0]["cost"]) > 0
    assert "missed by: ttft:p95 < 500ms" in rows[0]


def test_every_request_of_the_best_is_a_row() -> None:
    small()
    with gzip.open("runs/small/requests.csv.gz", "rt", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 150
    for row in rows:
        assert float(row["arrival_s"]) <= float(row["scheduled_s"]) < float(row["first_token_s"])
        assert float(row["first_token_s"]) <= float(row["finish_s"])


def test_every_file_starts_what_was_simulated() -> None:
    d = answer()["deployment"]
    folder = Path("runs/small/deploy/1")
    command = start_command(folder)
    for option in ("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens"):
        flag = f"--{option.replace('_', '-')}"
        assert f"{flag} {d[option]}" in command
        for name in ("compose.yaml", "k8s.yaml"):
            lines = [line.strip() for line in (folder / name).read_text().splitlines()]
            after = lines[lines.index(f'- "{flag}"') + 1]
            assert after == f'- "{d[option]}"', name
        assert f"| `{flag}` | `{d[option]}` |" in (folder / "why.md").read_text()


def test_a_gain_against_the_users_own_command() -> None:
    current = "vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 --max-num-seqs 32"
    text = small("--current", current).out
    assert "against your command (1×TP2 bf16, seqs 32" in text
    assert "simulated without --enable-prefix-caching" in text
    found = answer("--current", current)["baselines"]["your command"]
    assert found["deployment"]["max_num_seqs"] == 32
    assert found["simulated_without"]


def test_several_objectives_give_a_front() -> None:
    found = answer(text=SMALL.replace("objective: cost", "objective: [cost, ttft:p95]"))
    fronts = [found["objectives"], *(one["objectives"] for one in found["runners_up"])]
    for one in fronts:
        dominating = [
            other
            for other in fronts
            if other != one and all(other[name] <= one[name] for name in one)
        ]
        assert not dominating


def test_no_slo_is_an_answer_too() -> None:
    text = "\n".join(line for line in SMALL.splitlines() if not line.startswith("slo"))
    told = small(text=text)
    assert told.code == 0
    assert "per million output tokens" in told.out


def test_a_closed_loop_is_answered() -> None:
    told = small(text=SMALL.replace("rate: 4/s", "concurrency: 8"))
    assert told.code == 0
    assert "8 at a time" in told.out.splitlines()[0]


def test_a_single_choice_is_recommended_or_not() -> None:
    told = small(text=FIXED)
    assert told.code == 0
    assert "1 choice: 0 would not start" in told.out
    assert "Runners-up" not in told.out


def test_few_trials_are_respected() -> None:
    assert answer("--trials", 2)["simulations"] <= 2 * 2 + 2


def test_a_dry_run_says_what_would_be_done_and_writes_nothing() -> None:
    before = sorted(Path().rglob("*"))
    text = SMALL.replace("[1, 2]", "[1, 2, 3]").replace("gpus: 2", "gpus: 4")
    write(Path(), text.replace("name: small", "name: dry"))
    told = run("recommend", "small.yaml", "--dry-run")
    assert told.code == 0
    assert "6 choices, 4 would start" in told.out
    assert "2 cut: " in told.out
    assert "do not divide by tensor_parallel_size 3" in told.out
    assert "about " in told.out
    assert "runs/dry" in told.out
    assert sorted(Path().rglob("*")) == before
    plan = run("recommend", "small.yaml", "--dry-run", "--json").json
    assert (plan["choices"], plan["feasible"], plan["looked_at_most"]) == (6, 4, 4)
    assert plan["time_s"] > 0


def test_a_space_of_several_kinds_of_gpu_names_the_kind_everywhere() -> None:
    gpus = "{gpu: [h100_sxm, l40s], gpus: 4, usd_per_gpu_hour: {h100_sxm: 9, l40s: 0.9}}"
    hardware = next(line for line in SMALL.splitlines() if line.startswith("hardware"))
    text = SMALL.replace(hardware, f"hardware: {gpus}")
    told = small(text=text)
    assert "up to 4 × h100_sxm or l40s" in told.out
    rows = told.out.partition("SLO slack\n")[2].partition("\n\n")[0].splitlines()
    assert rows
    assert all(row.startswith(("h100_sxm, ", "l40s, ")) for row in rows)
    assert answer(text=text)["deployment"]["gpu"] == "l40s", "two cheap ones beat a dear one"


@pytest.mark.parametrize(
    "opened", ["kv_cache_dtype: [auto, fp8]", "async_scheduling: [false, true]"]
)
def test_runners_up_never_read_alike(opened: str) -> None:
    text = SMALL.replace("max_num_seqs", f"{opened}\n  max_num_seqs")
    text = text.replace("objective: cost", "objective: ttft:p95")
    rows = small(text=text).out.partition("SLO slack\n")[2].partition("\n\n")[0].splitlines()
    names = [row.split("  ")[0] for row in rows]
    assert len(set(names)) == len(names) > 1

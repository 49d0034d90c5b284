"""`servecast calibrate`: from benchmark results to a file that other verbs take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.command import FIXED, SMALL, assert_refused, run, write
from tests.servecast.test_bench_results import RESULT


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    write(tmp_path, FIXED)


def results(*slower: float) -> list[str]:
    """Files of runs at growing concurrency, so many times slower than the first."""
    names: list[str] = []
    for index, times in enumerate(slower):
        change = {"max_concurrency": 2**index, "mean_tpot_ms": 9.0 * times}
        Path(f"r{index}.json").write_text(json.dumps(RESULT | change), encoding="utf-8")
        names.append(f"r{index}.json")
    return names


def test_the_report_shows_errors_coefficients_and_a_verdict() -> None:
    told = run("calibrate", "small.yaml", *results(1.0, 1.1, 1.2))
    assert told.code == 0, told.err
    for words in ("r2.json", "4 at a time", "left out", "bandwidth_factor", "µs", "mean error"):
        assert words in told.out
    assert "wrote calibration.yaml" in told.err
    file = yaml.safe_load(Path("calibration.yaml").read_text())
    assert (file["gpu"], file["runs"], file["engine_version"]) == ("h100_sxm", 3, "0.32")


def test_one_run_says_that_nothing_vouches_for_it() -> None:
    assert "one run alone" in run("calibrate", "small.yaml", *results(1.0)).out


def test_json_has_ratios_of_every_run() -> None:
    found = run("calibrate", "small.yaml", *results(1.3, 1.5), "--json").json
    assert [row["file"] for row in found["runs"]] == ["r0.json", "r1.json"]
    for row in found["runs"]:
        ratios = row["forecast_over_measured"]
        assert abs(ratios["after"]["tpot"] - 1) < abs(ratios["before"]["tpot"] - 1)
        assert ratios["left_out"]["ttft"] > 0
    assert found["calibration"]["bandwidth_factor"] > 1


def test_other_verbs_take_the_file() -> None:
    write(Path(), SMALL, "open.yaml")
    run("calibrate", "small.yaml", *results(1.6, 1.8), "-o", "mine.yaml")
    plain = run("simulate", "small.yaml", "--json").json["latency_s"]["tpot"]["mean"]
    told = run("simulate", "small.yaml", "--json", "--calibration", "mine.yaml")
    assert told.json["latency_s"]["tpot"]["mean"] > 1.2 * plain
    assert "calibrated by 2 runs of meta-llama/Llama-3.1-8B-Instruct on h100_sxm" in told.err
    found = run("recommend", "open.yaml", "--calibration", "mine.yaml", "--trials", 2)
    assert found.code in (0, 3), found.err
    manifest = json.loads(Path("runs/small/manifest.json").read_text())
    assert manifest["calibration"]["bandwidth_factor"] > 1.2


def test_a_file_that_changes_nothing_changes_no_figure() -> None:
    neutral: dict[str, object] = {
        **{"model": "m", "gpu": "h100_sxm", "engine": "vllm", "engine_version": "0.32", "runs": 1},
        **{"bandwidth_factor": 1.0, "compute_factor": 1.0},
        **{"host_step_s": 1.5e-3, "host_sequence_s": 1e-5},
    }
    Path("n.yaml").write_text(yaml.safe_dump(neutral), encoding="utf-8")
    plain = run("simulate", "small.yaml").out
    assert run("simulate", "small.yaml", "--calibration", "n.yaml").out == plain


def test_coefficients_of_another_gpu_are_refused() -> None:
    run("calibrate", "small.yaml", *results(1.0), "-o", "mine.yaml")
    write(Path(), FIXED.replace("h100_sxm", "h200_sxm"), "other.yaml")
    told = run("simulate", "other.yaml", "--calibration", "mine.yaml")
    assert_refused(told, 2, "fitted on h100_sxm", "h200_sxm")


def test_coefficients_of_another_engine_are_refused() -> None:
    run("calibrate", "small.yaml", *results(1.0), "-o", "mine.yaml")
    text = Path("mine.yaml").read_text(encoding="utf-8")
    Path("theirs.yaml").write_text(text.replace("vllm", "sglang"), encoding="utf-8")
    told = run("simulate", "small.yaml", "--calibration", "theirs.yaml")
    assert_refused(told, 2, "fitted on sglang, and the scenario has vllm", "engine.name")


def test_one_host_time_is_not_taken_for_both_ways_of_scheduling() -> None:
    run("calibrate", "small.yaml", *results(1.0), "-o", "mine.yaml")
    both = FIXED.replace("deployment:", "deployment:\n  async_scheduling: [false, true]")
    write(Path(), both, "both.yaml")
    told = run("recommend", "both.yaml", "--calibration", "mine.yaml")
    assert_refused(told, 2, "async_scheduling is open", "fix async_scheduling")


def test_bad_files_are_refused_and_nothing_is_written() -> None:
    Path("r.json").write_text("{}", encoding="utf-8")
    assert_refused(run("calibrate", "small.yaml", "r.json"), 2, "completed: field required")
    assert not Path("calibration.yaml").exists()
    Path("c.yaml").write_text("bandwidth_factor: -1\n", encoding="utf-8")
    told = run("simulate", "small.yaml", "--calibration", "c.yaml")
    assert_refused(told, 2, "`c.yaml`", "servecast calibrate")
    write(Path(), SMALL, "open.yaml")
    assert run("calibrate", "open.yaml", *results(1.0)).code == 2

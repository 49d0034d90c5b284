"""Results of vLLM's serving benchmark: read as they are written, refused where not replayable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from servecast.bench_results import read_results
from servecast.errors import InputError, UnsupportedError

RESULT: dict[str, object] = {
    "backend": "vllm",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 4,
    "completed": 40,
    "failed": 0,
    "total_input_tokens": 4100,
    "total_output_tokens": 390,
    "mean_ttft_ms": 12.5,
    "mean_tpot_ms": 7.25,
}


def saved(folder: Path, *changes: Mapping[str, object]) -> Path:
    path = folder / "run.json"
    path.write_text("\n".join(json.dumps({**RESULT, **each}) for each in changes), encoding="utf-8")
    return path


def test_a_closed_loop_with_the_mean_lengths(tmp_path: Path) -> None:
    (found,) = read_results(saved(tmp_path, {}))
    workload = found.workload("run", 0)
    assert (workload.concurrency, len(workload)) == (4, 40)
    assert set(workload.prompt_tokens.tolist()) == {102}
    assert set(workload.output_tokens.tolist()) == {10}
    assert found.pace() == "4 at a time"


def test_saved_lengths_are_taken(tmp_path: Path) -> None:
    lengths = list(range(1, 41))
    (found,) = read_results(saved(tmp_path, {"input_lens": lengths, "output_lens": lengths}))
    assert found.workload("run", 0).prompt_tokens.tolist() == lengths


def test_a_rate_draws_arrivals_as_the_benchmark_does(tmp_path: Path) -> None:
    rate = {"request_rate": 8.0, "max_concurrency": None, "completed": 4000}
    (found,) = read_results(saved(tmp_path, rate))
    workload = found.workload("run", 3)
    assert workload.concurrency is None
    assert workload.arrival_ns[-1] == 500 * 10**9, "the benchmark stretches its gaps so"
    gaps = np.diff(workload.arrival_ns)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)
    assert np.array_equal(workload.arrival_ns, found.workload("run", 3).arrival_ns)
    assert found.pace() == "8/s"


def test_infinite_burstiness_is_a_metronome(tmp_path: Path) -> None:
    even = {"request_rate": 10.0, "max_concurrency": None, "burstiness": float("inf")}
    (found,) = read_results(saved(tmp_path, even))
    assert set(np.diff(found.workload("run", 0).arrival_ns).tolist()) == {100_000_000}


def test_without_a_limit_all_come_at_once(tmp_path: Path) -> None:
    (found,) = read_results(saved(tmp_path, {"max_concurrency": None}))
    assert found.workload("run", 0).arrival_ns.max() == 0
    assert found.pace() == "all at once"


def test_appended_results_are_all_read(tmp_path: Path) -> None:
    found = read_results(saved(tmp_path, {}, {"max_concurrency": 8}))
    assert [each.max_concurrency for each in found] == [4, 8]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"failed": 3}, "3 requests failed"),
        ({"mean_tpot_ms": 0}, "mean_tpot_ms: input should be greater than 0"),
        ({"request_rate": 4.0}, "both a request rate and a max concurrency"),
        ({"request_rate": -1.0}, "request_rate"),
        ({"ramp_up_strategy": "linear"}, "ramped up"),
    ],
)
def test_what_cannot_be_replayed_says_why(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    with pytest.raises((InputError, UnsupportedError), match=says):
        read_results(saved(tmp_path, change))


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), ("{,", "no JSON")])
def test_other_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_results(path)

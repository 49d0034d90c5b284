"""`servecast trace` on sessions, pools of clients, curves of rates and request logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.traces.readers import read
from servecast.traces.servegen import CLIENTS, HISTOGRAMS
from tests.command import FIXED, SMALL, run, write
from tests.traces.test_servegen import CLIENT_ROWS, HISTOGRAM_ROWS
from tests.traces.test_weka import REQUESTS


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    Path(CLIENTS).write_text(CLIENT_ROWS)
    Path(HISTOGRAMS).write_text(HISTOGRAM_ROWS)
    Path("runs.csv").write_text(REQUESTS)


def test_a_pool_is_drawn_written_and_read_back() -> None:
    told = run("trace", "servegen", "tiny", "t.csv", "--from", ".", "--rate", "20/s", "--json")
    assert told.code == 0, told.err
    workload = read("t.csv")
    assert told.json == {"written": "t.csv", "requests": len(workload)}
    assert 20 * 600 * 0.9 < len(workload) < 20 * 600 * 1.1
    assert "ServeGen" in workload.attribution
    run("trace", "servegen", "tiny", "u.csv", "--from", ".", "--span", "100s")
    assert 300 < len(read("u.csv")) < 500  # 4/s, as the excerpt says


def test_a_curve_of_rates_is_followed_at_the_stated_mean() -> None:
    Path("day.csv").write_text("t_s,rate_rps\n0,1\n100,3\n")
    run("trace", "synthesize", "chat", "t.csv", "--requests", "4000", "--rate", "5/s")
    told = run("trace", "convert", "t.csv", "u.csv", "--rates", "day.csv", "--rate", "10/s")
    assert told.code == 0, told.err
    at_s = read("u.csv").arrival_ns / 1e9
    assert len(at_s) == 4000
    assert 450 < int((at_s < 100).sum()) < 550
    assert 1400 < int(((at_s >= 100) & (at_s < 200)).sum()) < 1600
    run("trace", "convert", "t.csv", "v.csv", "--rates", "day.csv")
    assert 80 < int((read("v.csv").arrival_ns < 100 * 10**9).sum()) < 120


def test_sessions_are_looked_at_simulated_and_refused_by_what_cannot_serve_them() -> None:
    told = run("trace", "stats", "runs.csv")
    assert "2 sessions of 3.0 requests on average, 5 at most" in told.out
    assert "req/s" not in told.out
    write(Path(), _scenario(FIXED, "concurrency: 1"), "s.yaml")
    found = run("simulate", "s.yaml")
    assert found.code in (0, 3), found.err
    assert "6 requests of runs" in found.out
    write(Path(), _scenario(SMALL, "concurrency: 1"), "t.yaml")
    refused = run("recommend", "t.yaml")
    assert refused.code == 2
    assert "`runs` has sessions, which are not searched for yet" in refused.err
    write(Path(), _scenario(FIXED, "rate: 2/s"), "u.yaml")
    assert "`runs` has sessions" in run("simulate", "u.yaml").err


def _scenario(like: str, pace: str) -> str:
    stated = "synthetic: chat, requests: 150, rate: 4/s, seed: 1"
    assert stated in like
    return like.replace(stated, f"trace: runs.csv, {pace}")


def test_a_benchmarks_log_is_a_trace() -> None:
    log = {"input_lens": [9, 8], "output_lens": [3, 0], "start_times": [2.0, 1.0]}
    Path("bench.json").write_text(json.dumps(log))
    told = run("trace", "stats", "bench.json")
    assert told.code == 0, told.err
    assert "bench: 1 requests" in told.out
    assert "left out: 1 failed" in told.out

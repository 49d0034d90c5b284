"""`servecast simulate`: one deployment, its figures, its remarks, its records."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.command import FIXED, SMALL, Run, assert_refused, run, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def simulated(text: str = FIXED, *arguments: object) -> Run:
    write(Path(), text)
    return run("simulate", "small.yaml", *arguments)


def result(text: str = FIXED, *arguments: object) -> dict[str, Any]:
    return simulated(text, "--json", *arguments).json


def test_the_deployment_latencies_rates_and_slos_are_shown() -> None:
    told = simulated()
    assert told.code == 0
    for part in (
        "1 replica of 1 × h100_sxm · bf16 weights, bf16 KV\n",
        "tensor_parallel_size 1 · max_num_seqs 64 · max_num_batched_tokens 8192\n",
        "150 requests of chat in ",
        "ttft (to the first token)",
        "tpot (per output token)",
        "itl (between tokens)",
        "e2e (to the last token)",
        "tok/s output",
        "KV blocks",
        "ttft:p95 < 500ms",
    ):
        assert part in told.out, part
    assert told.err == ""


def test_json_has_the_figures_in_seconds() -> None:
    found = result()
    assert found["requests"] == 150
    assert found["overloaded"] is False
    assert found["latency_s"]["ttft"]["p50"] < found["latency_s"]["ttft"]["p99"] < 1
    assert found["latency_s"]["e2e"]["mean"] > found["latency_s"]["ttft"]["mean"]
    assert 0 < found["kv_blocks_peak"] <= found["kv_blocks"]
    assert [slo["met"] for slo in found["slo"]] == [True, True, True]
    assert found["deployment"]["usd_per_gpu_hour"] == 2.5


def test_the_same_scenario_gives_the_same_figures() -> None:
    assert simulated().out == simulated().out


def test_open_choices_are_fixed_one_by_one() -> None:
    told = simulated(SMALL, "--set", "tensor_parallel_size=2", "--set", "max_num_seqs=32")
    assert told.code == 0
    assert "tensor_parallel_size 2 · max_num_seqs 32" in told.out


def test_texts_are_choices_too() -> None:
    text = FIXED.replace("max_model_len: 8192", "max_model_len: 8192\n  quantization: [bf16, fp8]")
    assert "fp8 weights" in simulated(text, "--set", "quantization=fp8").out


def test_switches_are_fixed_as_a_scenario_writes_them() -> None:
    write(Path(), FIXED.replace("max_num_seqs: 64", "async_scheduling: [false, true]"), "on.yaml")
    for text in ("true", "True"):
        found = run("simulate", "on.yaml", "--set", f"async_scheduling={text}", "--json").json
        assert found["deployment"]["async_scheduling"] is True
    told = run("simulate", "on.yaml", "--set", "async_scheduling=maybe")
    assert_refused(told, 2, "`maybe` is not one of false, true")
    assert_refused(run("simulate", "on.yaml"), 2, "--set async_scheduling=false")


def test_what_is_not_as_usual_is_told() -> None:
    usual = simulated().out.splitlines()[1]
    text = FIXED.replace(
        "max_num_seqs: 64",
        "max_num_seqs: 64\n  async_scheduling: true\n  enable_prefix_caching: true",
    )
    told = simulated(text).out.splitlines()[1]
    assert told == f"{usual} · async_scheduling true · enable_prefix_caching true"


def test_automatic_replicas_fill_the_budget() -> None:
    assert "2 replicas of 1" in simulated(FIXED.replace("replicas: 1", "replicas: auto")).out


def test_a_missed_slo_is_exit_code_3_and_named() -> None:
    told = simulated(FIXED.replace("40ms", "1ms"))
    assert told.code == 3
    (row,) = [line for line in told.out.splitlines() if line.startswith("tpot:p95 < 1ms")]
    assert row.endswith("missed")


def test_an_overload_is_called_one() -> None:
    hot = FIXED.replace("rate: 4/s", "rate: 400/s")
    told = simulated(hot)
    assert told.code == 3
    assert "overload: requests arrive faster than they are served" in told.out
    assert result(hot)["overloaded"] is True


def test_prompts_beyond_the_model_length_are_rejected_and_counted() -> None:
    short = FIXED.replace("max_model_len: 8192", "max_model_len: 1024")
    told = simulated(short.replace(', "attainment > 90%"', ""))
    rejected = result(short)["rejected"]
    assert 0 < rejected < 150
    assert f"\nrejected: {rejected} prompts beyond max_model_len\n" in told.out
    attainment = result(short)["slo"][2]["value"]
    assert attainment <= 1 - rejected / 150 + 1e-9, "a rejected request attains nothing"


def test_records_are_one_row_a_request() -> None:
    told = simulated(FIXED, "--records", "out/records.csv.gz")
    assert "wrote out/records.csv.gz" in told.err
    with gzip.open("out/records.csv.gz", "rt", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 150
    tpot = [float(row["tpot_s"]) for row in rows if row["tpot_s"]]
    assert sum(tpot) / len(tpot) == pytest.approx(result()["latency_s"]["tpot"]["mean"], rel=1e-3)
    simulated(FIXED, "--records", "records.csv")
    assert len(Path("records.csv").read_text().splitlines()) == 151


def test_a_trace_is_replayed() -> None:
    rows = "\n".join(f"{index * 0.5},{100 + index},{20 + index}" for index in range(30))
    Path("t.csv").write_text(f"arrival_s,input_tokens,output_tokens\n{rows}\n")
    text = FIXED.replace("{synthetic: chat, requests: 150, rate: 4/s, seed: 1}", "{trace: t.csv}")
    assert result(text)["requests"] == 30
    assert result(text.replace("{trace: t.csv}", "{trace: t.csv, requests: 10}"))["requests"] == 10


def test_a_closed_loop_is_never_an_overload() -> None:
    found = result(FIXED.replace("rate: 4/s", "concurrency: 200").replace("150", "300"))
    assert found["overloaded"] is False


CACHED = """\
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 1}
engine: {name: vllm, version: "0.32"}
deployment: {max_num_seqs: 64, max_model_len: 8192, enable_prefix_caching: true}
workload: {trace: alike.jsonl}
"""


def write_prompts_that_begin_alike() -> None:
    """Twenty prompts of 2,000 tokens, the first 1,024 of them the same, a second apart."""
    rows = (
        f'{{"arrival_s": {at}, "input_tokens": 2000, "output_tokens": 50, "block_tokens": 512, '
        f'"hash_ids": [0, 1, {at + 2}]}}\n'
        for at in range(20)
    )
    Path("alike.jsonl").write_text("".join(rows), encoding="utf-8")


def test_a_prefix_cache_finds_what_prompts_share_and_saves_their_time() -> None:
    write_prompts_that_begin_alike()
    cached, plain = result(CACHED), result(CACHED.replace("true", "false"))
    assert cached["cached_share"] == 19 * 1024 / (20 * 2000)
    assert plain["cached_share"] is None
    assert cached["latency_s"]["ttft"]["p50"] < 0.7 * plain["latency_s"]["ttft"]["p50"]
    assert cached["latency_s"]["ttft"]["max"] == plain["latency_s"]["ttft"]["max"]
    assert "prefix cache: 48.6% of prompt tokens found" in simulated(CACHED).out


def test_a_hybrid_model_finds_what_all_its_layers_have_cached() -> None:
    write_prompts_that_begin_alike()
    told = simulated(CACHED.replace("meta-llama/Llama-3.1-8B-Instruct", "openai/gpt-oss-20b"))
    # The first prompt's end is kept, then where the second one parts from it: eighteen find that.
    assert "prefix cache: 46.1% of prompt tokens found" in told.out

"""`deployment.speculation` of a scenario for SGLang: what it becomes, simulates and emits."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.domain import deployment
from servecast.loading import loads
from servecast.search.sglang_arguments import arguments
from tests.command import run, write
from tests.servecast.minimal import faults

SCENARIO = """\
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 1, usd_per_gpu_hour: 2.5}
engine: {name: sglang, version: "0.5.23"}
deployment: {context_length: 8192, OPTIONS}
workload: {synthetic: chat, requests: 30, rate: 2/s}
slo: ["ttft:p95 < 2s"]
objective: tpot:p50
"""
MODEL = "method: draft_model, model: meta-llama/Llama-3.2-1B, num_speculative_tokens: 3"
CHANCES = "acceptance: {first: 0.8, decay: 0.9}"
FEWER = "num_speculative_tokens_per_batch_size: [[1, 8, 3]]"


def stated(section: str = "", others: str = "") -> str:
    drafts = f"speculation: {{{section}, {CHANCES}}}, " if section else ""
    return SCENARIO.replace("OPTIONS", f"{drafts}{others}")


def test_a_server_that_drafts_takes_fewer_requests_and_has_a_smaller_pool() -> None:
    plain, drafting = deployment(loads(stated())), deployment(loads(stated(MODEL)))
    assert drafting.max_num_seqs == 48 < plain.max_num_seqs
    assert deployment(loads(stated(MODEL, "max_running_requests: 100"))).max_num_seqs == 100
    same = deployment(loads(stated("", "mem_fraction_static: 0.85")))
    less = deployment(loads(stated(MODEL, "mem_fraction_static: 0.85")))
    weights, layers = 2.47e9, 48 / 32  # Llama-3.2-1B: 16 layers, each as large as the target's
    assert same.num_gpu_blocks_override is not None
    expected = (same.num_gpu_blocks_override - weights / 131072) / layers
    assert less.num_gpu_blocks_override == pytest.approx(expected, rel=0.01)


def test_no_drafts_are_no_speculation() -> None:
    none = stated(MODEL.replace("tokens: 3", "tokens: 0"))
    assert deployment(loads(none)) == deployment(loads(stated()))


def test_what_is_simulated_is_emitted() -> None:
    served = deployment(loads(stated(MODEL)))
    assert served.num_gpu_blocks_override is not None
    said = dict(arguments(served, served.num_gpu_blocks_override))
    assert said["--speculative-algorithm"] == "STANDALONE"
    assert said["--speculative-draft-model-path"] == "meta-llama/Llama-3.2-1B"
    assert said["--speculative-num-draft-tokens"] == "4"
    assert said["--max-running-requests"] == "48"


def test_drafts_are_searched_and_answer_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, stated(MODEL.replace("tokens: 3", "tokens: [0, 3]")))
    found = run("recommend", "small.yaml", "--json")
    assert found.code == 0, found.err
    assert found.json["deployment"]["speculation"]["num_speculative_tokens"] == 3
    assert run("simulate", "small.yaml", "--set", "num_speculative_tokens=0").code == 0


def test_what_sglang_has_no_option_for_is_a_fault() -> None:
    (place,) = faults(stated(f"{MODEL}, {FEWER}"))
    assert place == "deployment.speculation.num_speculative_tokens_per_batch_size"


def test_mixed_chunks_beside_drafts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, stated(MODEL, "enable_mixed_chunk: true"))
    told = run("simulate", "small.yaml")
    assert told.code == 2
    assert "beside enable_mixed_chunk" in told.err

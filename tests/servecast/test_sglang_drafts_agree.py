"""A scenario in which SGLang drafts, by SGLang itself and by the simulator: one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import run, write

pytestmark = pytest.mark.engine(name="sglang")

SCENARIO = """\
model: {target}
hardware: {{gpu: h200_sxm, gpus: 8, usd_per_gpu_hour: 2.5}}
engine: {{name: sglang, version: "0.5.23"}}
deployment:
  tensor_parallel_size: {ranks}
  context_length: 4096
  max_running_requests: 16
  chunked_prefill_size: 1024
  {options}
  speculation: {{{section}, acceptance: {{first: 0.8, decay: 0.9}}, request_spread: 0.15}}
workload: {{synthetic: chat, requests: 40, rate: 1/s}}
"""
LLAMA, DEEPSEEK = "meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-V3"
NGRAM = "method: ngram, num_speculative_tokens: 3"
MODEL = "method: draft_model, model: meta-llama/Llama-3.2-1B, num_speculative_tokens: 4"
HEAD = "method: eagle3, model: yuhuili/EAGLE3-LLaMA3.1-Instruct-8B, num_speculative_tokens: 2"
MTP = "method: mtp, num_speculative_tokens: 1"
BETWEEN, PAGES, UNCACHED = (
    "disable_overlap_schedule: true",
    "page_size: 16",
    "disable_radix_cache: true",
)


@pytest.mark.parametrize(
    ("target", "ranks", "section", "options"),
    [
        (LLAMA, 1, NGRAM, BETWEEN),
        (LLAMA, 1, MODEL, PAGES),
        (LLAMA, 1, HEAD, UNCACHED),
        (DEEPSEEK, 8, MTP, UNCACHED),
    ],
    ids=["n-gram, no overlap", "draft model", "EAGLE-3", "MTP"],
)
def test_sglang_and_the_simulator_say_the_same(
    target: str,
    ranks: int,
    section: str,
    options: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = SCENARIO.format(target=target, ranks=ranks, section=section, options=options)
    write(tmp_path, text)
    emulated = run("emulate", "small.yaml", "--json")
    assert emulated.code == 0, emulated.err
    ours = emulated.json
    assert ours.pop("emulation")["stepping"]
    assert ours == run("simulate", "small.yaml", "--json").json
    assert ours["deployment"]["speculation"]["method"] in section

"""A scenario that drafts, by vLLM itself and by the simulator: one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import run, write

pytestmark = pytest.mark.engine(name="vllm")

SCENARIO = """\
model: {target}
hardware: {{gpu: h200_sxm, gpus: 8, usd_per_gpu_hour: 2.5}}
engine: {{name: vllm, version: "0.32"}}
deployment:
  tensor_parallel_size: {ranks}
  max_model_len: 4096
  max_num_seqs: 16
  max_num_batched_tokens: 1024
  async_scheduling: {ahead}
  speculation: {{{section}, acceptance: {{first: 0.8, decay: 0.9}}, request_spread: 0.15}}
workload: {{synthetic: chat, requests: 40, rate: 1/s}}
"""
LLAMA, DEEPSEEK = "meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-V3"
NGRAM = "method: ngram, num_speculative_tokens: 3"
MODEL = "method: draft_model, model: meta-llama/Llama-3.2-1B, num_speculative_tokens: 4"
HEAD = "method: eagle3, model: yuhuili/EAGLE3-LLaMA3.1-Instruct-8B, num_speculative_tokens: 2"
BY_BATCH = f"{MODEL}, num_speculative_tokens_per_batch_size: [[1, 2, 4], [3, 16, 1]]"
MTP = "method: mtp, num_speculative_tokens: 1"


@pytest.mark.parametrize(
    ("target", "ranks", "section", "ahead"),
    [
        (LLAMA, 1, NGRAM, "false"),
        (LLAMA, 1, MODEL, "true"),
        (LLAMA, 1, HEAD, "false"),
        (LLAMA, 1, BY_BATCH, "true"),
        (DEEPSEEK, 8, MTP, "true"),
    ],
    ids=[
        "n-gram",
        "draft model, ahead",
        "EAGLE-3",
        "draft model, by batch size, ahead",
        "MTP, ahead",
    ],
)
def test_vllm_and_the_simulator_say_the_same(
    target: str,
    ranks: int,
    section: str,
    ahead: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not INSTALLATIONS["vllm"].is_tested:
        pytest.skip("no tested release of vllm is installed")
    monkeypatch.chdir(tmp_path)
    text = SCENARIO.format(target=target, ranks=ranks, section=section, ahead=ahead)
    write(tmp_path, text)
    emulated = run("emulate", "small.yaml", "--json")
    assert emulated.code == 0, emulated.err
    ours = emulated.json
    assert ours.pop("emulation")["stepping"]
    assert ours == run("simulate", "small.yaml", "--json").json
    assert ours["deployment"]["speculation"]["method"] in section

"""`servecast memory MODEL --gpu …`: one deployment, every GiB of it accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servecast.primitives.catalogue import accelerator
from tests.command import SMALL, assert_refused, plain, run, run_in_terminal, write

QWEN = ("Qwen/Qwen3-32B", "--gpu", "h100_sxm")
PAIR = (*QWEN, "--tensor-parallel-size", "2")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def one(*arguments: object) -> dict[str, Any]:
    told = run("memory", *arguments, "--json")
    assert (told.code, told.err) == (0, "")
    return told.json


def sizes(found: dict[str, Any]) -> dict[str, int]:
    return {line["line"]: line["bytes"] for line in found["lines"]}


def test_the_account_starts_at_the_device_and_adds_up() -> None:
    found = sizes(one(*PAIR))
    assert found["device"] == accelerator("h100_sxm").memory_bytes
    spent = found["weights"] + found["non-torch"] + found["activation"] + found["graphs"]
    assert found["for KV"] == found["may use"] + spent
    left = found["for KV"] + found["margin"]
    assert 0 <= left - found["KV cache"] < one(*PAIR)["bytes_per_block"]


def test_blocks_tokens_and_concurrency_follow_from_it() -> None:
    found = one(*PAIR)
    assert found["gpus"] == 2
    assert found["bytes_per_block"] == 2 * 64 * 16 * 4 * 128 * 2  # K and V, layers, tokens, heads
    assert found["num_gpu_blocks"] == sizes(found)["KV cache"] // found["bytes_per_block"]
    assert found["usable_blocks"] == found["num_gpu_blocks"] - 1
    assert found["kv_tokens"] == found["num_gpu_blocks"] * 16
    per_request = 40960 // 16
    assert found["max_concurrency"] == pytest.approx(found["num_gpu_blocks"] / per_request)


def test_options_do_what_they_do_in_the_engine() -> None:
    plain_, eighth = one(*PAIR), one(*PAIR, "--quantization", "fp8", "--kv-cache-dtype", "fp8")
    assert eighth["bytes_per_block"] * 2 == plain_["bytes_per_block"]
    assert sizes(eighth)["weights"] > 0.6 * sizes(plain_)["weights"]
    shorter = one(*PAIR, "--max-model-len", 16384, "--max-num-seqs", 64)
    assert (shorter["max_model_len"], shorter["max_num_seqs"]) == (16384, 64)
    half = one(*PAIR, "--gpu-memory-utilization", 0.5)
    assert sizes(half)["may use"] == pytest.approx(0.5 * sizes(half)["device"])
    stated = one(*PAIR, "--num-gpu-blocks-override", 5000)
    assert stated["num_gpu_blocks"] == 5000
    assert "margin" not in sizes(stated)


def test_it_is_told_line_by_line_with_what_each_is() -> None:
    told = run("memory", *PAIR)
    assert told.code == 0
    assert told.out.startswith("Qwen/Qwen3-32B on 2 x h100_sxm, vLLM 0.32, GiB of one GPU")
    for line in ("weights", "non-torch", "activation", "graphs", "for KV", "margin", "KV cache"):
        assert f"\n{line} " in told.out
    assert "gpu_memory_utilization 0.92" in told.out
    assert "as its null block" in told.out
    assert "requests of max_model_len 40,960 at once" in told.out
    assert "priors" in told.err


def test_a_deployment_that_would_not_start_says_so() -> None:
    told = run("memory", *QWEN)
    assert told.code == 0
    assert "does not start: KV cache holds" in told.out
    assert "max_model_len <= " in told.out
    assert one(*QWEN)["does_not_start"] is not None


def test_it_fits_a_terminal() -> None:
    shown = plain(run_in_terminal(80, "memory", *PAIR, cwd=Path.cwd()))
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "1,024 sequences" in shown


def test_a_model_s_own_config_is_a_model_and_a_path_that_exists_a_scenario() -> None:
    folder = Path("my-model")
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048,
        "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 4096,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for path in (folder, folder / "config.json"):
        assert one(path, "--gpu", "h100_sxm")["max_model_len"] == 4096
    write(Path(), SMALL)
    Path("small.yaml").rename("traffic")
    assert run("memory", "traffic").out.startswith("meta-llama/Llama-3.1-8B-Instruct on h100_sxm")


REFUSED = {
    "no GPU": (("Qwen/Qwen3-32B",), ("`Qwen/Qwen3-32B`", "--gpu h100_sxm")),
    "model": (("Qwen/Qwen3-32", *QWEN[1:]), ("`Qwen/Qwen3-32`", "did you mean `Qwen/Qwen3-32B`")),
    "GPU": (("Qwen/Qwen3-32B", "--gpu", "h100x"), ("`h100x`", "servecast gpus")),
    "format": ((*QWEN, "--quantization", "fq8"), ("`fq8`", "did you mean `fp8`")),
    "checkpoint": ((*QWEN, "--quantization", "awq"), ("int4", "config.json")),
    "cache": ((*QWEN, "--kv-cache-dtype", "fp9"), ("`fp9`", "did you mean `fp8")),
    "length": ((*QWEN, "--max-model-len", "50000"), ("50,000", "40960 or less")),
    "shards": ((*QWEN, "--tensor-parallel-size", "3"), ("3", "1, 2, 4, 8")),
    "release": ((*QWEN, "--engine-version", "0.2"), ("0.2", "nearest version")),
    "batch": ((*QWEN, "--max-num-batched-tokens", "8", "--max-num-seqs", "9"), ("8", "9")),
    "no model": (("--gpu", "h100_sxm"), ("--gpu", "built-in scenario", "name a model")),
    "scenario": (("a.yaml", "--max-num-seqs", "9"), ("--max-num-seqs", "scenario a.yaml")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_priced_is_refused(case: str) -> None:
    arguments, says = REFUSED[case]
    assert_refused(run("memory", *arguments), 2, *says)

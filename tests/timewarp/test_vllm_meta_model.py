"""vLLM's own model classes without weights, against the memory ledger and the block arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servecast.emulation import host_time, run
from servecast.primitives.catalogue import model
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, kv_cache_geometry
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.meta_model_config import meta_model_config
from servecast.traces.workload import Workload
from tests.meta_models import MEMORY, built, deployed
from tests.timewarp.emulated_cases import burst

pytestmark = pytest.mark.engine(name="vllm")


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def ours(name: str, ranks: int) -> KvCacheGeometry:
    return kv_cache_geometry(model(name), Sharding(ranks), Dtype.BF16)


@pytest.mark.parametrize(
    ("name", "ranks", "kinds"),
    [
        ("meta-llama/Llama-3.1-8B", 1, [("FullAttentionSpec", 32)]),
        ("meta-llama/Llama-3.1-8B", 4, [("FullAttentionSpec", 32)]),
        ("Qwen/Qwen3-8B", 1, [("FullAttentionSpec", 36)]),
        ("Qwen/Qwen3-30B-A3B", 2, [("FullAttentionSpec", 48)]),
        ("openai/gpt-oss-20b", 1, [("SlidingWindowSpec", 12), ("FullAttentionSpec", 12)]),
        ("openai/gpt-oss-20b", 4, [("SlidingWindowSpec", 12), ("FullAttentionSpec", 12)]),
        ("deepseek-ai/DeepSeek-V3", 8, [("MLAAttentionSpec", 61)]),
        ("deepseek-ai/DeepSeek-V2-Lite", 1, [("MLAAttentionSpec", 27)]),
    ],
)
def test_blocks_and_groups_are_those_of_the_arithmetic(
    name: str, ranks: int, kinds: list[tuple[str, int]]
) -> None:
    meta, geometry = built(model(name), ranks), ours(name, ranks)
    assert meta.groups == kinds
    assert [layers for _, layers in kinds] == [group.layers for group in geometry.groups]
    assert meta.num_blocks == geometry.num_blocks(MEMORY)


@pytest.mark.parametrize(
    ("name", "ranks", "within"),
    [
        ("meta-llama/Llama-3.1-8B", 1, 0.0001),
        ("meta-llama/Llama-3.1-8B", 4, 0.0002),
        ("Qwen/Qwen3-30B-A3B", 2, 0.0001),
        ("openai/gpt-oss-20b", 1, 0.0005),
        ("deepseek-ai/DeepSeek-V3", 1, 0.002),  # the ledger counts the latent's expansion twice
    ],
)
def test_parameters_weigh_what_the_ledger_says(name: str, ranks: int, within: float) -> None:
    counted = weight_bytes(model(name), Sharding(ranks), Dtype.BF16)
    assert counted == pytest.approx(built(model(name), ranks).model.parameter_bytes, rel=within)


def test_the_well_known_size_of_llama_8b() -> None:
    assert built(model("meta-llama/Llama-3.1-8B"), 1).model.parameters == 8_030_261_248


def test_a_local_config_is_taken_as_it_is(tmp_path: Path) -> None:
    keys = meta_model_config(model("Qwen/Qwen3-8B"), 2048)
    assert keys is not None
    keys["quantization_config"] = {"quant_method": "fp8"}
    (tmp_path / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    again = meta_model_config(model(str(tmp_path)), 2048)
    del keys["quantization_config"]
    assert again == keys


def served(workload: Workload, name: str, **changes: Any) -> Emulation:
    deployment = replace(deployed(model(name)), **changes)
    return run(deployment, workload, RooflineSource(), host_time(deployment))


def test_windows_free_their_blocks_in_the_emulated_engine() -> None:
    crowd = burst(40, [900, 1200], [100])
    name, window = "openai/gpt-oss-20b", 128
    mxfp4 = Dtype.MXFP4
    own = served(crowd, name, weights_dtype=mxfp4, num_gpu_blocks_override=4001)
    assert own.cache == "KV cache: as vLLM's own class has it (12 SlidingWindow, 12 FullAttention)"
    assert own.stepping
    assert own.result.num_blocks == 4000
    full = sum(-(-(prompt + 100) // 16) for prompt in [900, 1200] * 20)
    kept = 40 * (-(-window // 16) + 1)
    assert own.result.peak_blocks < full + kept + 2 * 2048 // 16


def test_latent_attention_is_served_as_it_is_simulated() -> None:
    crowd = burst(20, [900, 1200], [50])
    own = served(crowd, "deepseek-ai/DeepSeek-V2-Lite", num_gpu_blocks_override=2001)
    assert own.cache == "KV cache: as vLLM's own class has it (27 MLAAttention)"
    assert len(own.result.records) == 20


def test_a_model_without_a_known_config_gets_a_stand_in_that_is_named() -> None:
    name = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"
    own = served(burst(4, [100], [10]), name)
    assert own.cache == f"KV cache: plain attention stands in (no config.json is known of {name})"

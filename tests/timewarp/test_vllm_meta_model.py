"""vLLM's own model classes without weights, against the memory ledger and the block arithmetic."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from servecast.emulation import host_time, run
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, kv_cache_geometry
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.foreign import foreign
from servecast.timewarp.meta_model import MetaModel, build_meta_model
from servecast.timewarp.meta_model_config import meta_model_config
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_engine import parse, write_model
from servecast.timewarp.vllm_executor import executor_class
from servecast.timewarp.vllm_platform import present
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import burst

pytestmark = pytest.mark.engine(name="vllm")

GPU: Accelerator = accelerator("h200_sxm")
MEMORY = 80 * 2**30
NEXT = "Qwen/Qwen3-Next-80B-A3B-Instruct"


@dataclass(frozen=True)
class Built:
    """A model as vLLM builds it, and the blocks that vLLM then makes of some memory."""

    model: MetaModel
    num_blocks: int
    groups: list[tuple[str, int]]


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def deployed(name: str, **changes: Any) -> Deployment:
    plain = Deployment(
        model=model(name),
        accelerator=GPU,
        engine="vllm",
        engine_version="0.32.0",
        weights_dtype=Dtype.BF16,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=2048,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )
    return replace(plain, **changes)


def engine_config(name: str, ranks: int) -> Any:
    """vLLM's configuration for a model on the GPU, as its own parser makes it."""
    present(GPU)
    arguments = foreign("vllm.engine.arg_utils").EngineArgs
    parser = arguments.add_cli_args(foreign("vllm.utils.argparse_utils").FlexibleArgumentParser())
    serving = Serving(VirtualDevice(VirtualClock(), ConstantStepCost(1)), OpenLoop(iter(())))
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), deployed(name))
        words = ["--model", folder, "--skip-tokenizer-init", "--no-enable-prefix-caching"]
        words += ["--tensor-parallel-size", str(ranks), "--block-size", "16"]
        chosen = arguments.from_cli_args(parse(parser, [*words, "--max-model-len", "2048"]))
        chosen.distributed_executor_backend = executor_class(serving)
        return chosen.create_engine_config()


def built(name: str, ranks: int) -> Built:
    config = engine_config(name, ranks)
    meta = build_meta_model(config)
    layouts = foreign("vllm.v1.attention.backends.utils")
    layouts.resolve_kv_cache_layout(config, [["LBNHC"]], list(meta.specs.values()))
    cutting = foreign("vllm.v1.core.kv_cache_utils")
    (cut,) = cutting.get_kv_cache_configs(config, [dict(meta.specs)], [MEMORY])
    groups = [
        (type(group.kv_cache_spec).__name__, len(group.layer_names))
        for group in cut.kv_cache_groups
    ]
    return Built(meta, cut.num_blocks, groups)


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
    meta, geometry = built(name, ranks), ours(name, ranks)
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
    assert counted == pytest.approx(built(name, ranks).model.parameter_bytes, rel=within)


def test_the_well_known_size_of_llama_8b() -> None:
    assert built("meta-llama/Llama-3.1-8B", 1).model.parameters == 8_030_261_248


def test_a_recurrent_hybrid_has_its_groups() -> None:
    pytest.importorskip("compressed_tensors")
    meta, geometry = built(NEXT, 1), ours(NEXT, 1)
    assert meta.groups == [("MambaSpec", 12)] * 3 + [("FullAttentionSpec", 12)]
    assert [group.layers for group in geometry.groups] == [12] * 4
    counted = weight_bytes(model(NEXT), Sharding(1), Dtype.BF16)
    assert counted == pytest.approx(meta.model.parameter_bytes, rel=0.0001)


def test_a_local_config_is_taken_as_it_is(tmp_path: Path) -> None:
    keys = meta_model_config(model("Qwen/Qwen3-8B"), 2048)
    assert keys is not None
    keys["quantization_config"] = {"quant_method": "fp8"}
    (tmp_path / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    again = meta_model_config(model(str(tmp_path)), 2048)
    del keys["quantization_config"]
    assert again == keys


def served(workload: Workload, name: str, **changes: Any) -> Emulation:
    deployment = deployed(name, **changes)
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

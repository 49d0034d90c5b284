"""A deployment and a workload to emit files for, and what tests read back from them."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import numpy as np

from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec
from servecast.search.serve_command import ServeCommand
from servecast.traces.workload import Workload

BLOCKS = 4001
MODEL = ModelSpec(
    name="meta-llama/Llama-3.1-8B-Instruct",
    architecture="LlamaForCausalLM",
    hidden=4096,
    vocab=128256,
    tie_embeddings=False,
    max_model_len=131072,
    weights_dtype=Dtype.BF16,
    layers=(LayerGroup(32, Attention(32, 8, 128), DenseFfn(14336)),),
    source="test",
)
H100 = Accelerator(
    name="h100_sxm",
    vendor="NVIDIA",
    kind="datacenter",
    memory_bytes=79 * 2**30,
    bw_bytes_per_s=3.35e12,
    flops={Dtype.BF16: 989e12},
    link=Link("nvlink", 450e9, 8),
    tdp_w=700,
    usd_per_hour=None,
    confidence="guess",
    source="test",
)
DEPLOYMENT = Deployment(
    model=MODEL,
    accelerator=H100,
    engine="vllm",
    engine_version="0.32",
    weights_dtype=Dtype.FP8,
    kv_cache_dtype=Dtype.FP8,
    max_model_len=16384,
    max_num_seqs=192,
    max_num_batched_tokens=6144,
    tensor_parallel_size=2,
    gpu_memory_utilization=0.9,
)
TWO = dataclasses.replace(DEPLOYMENT, replicas=2)
WORKLOAD = Workload(
    name="three",
    arrival_ns=np.array([2_000_000_000, 2_250_000_000, 5_000_000_001]),
    prompt_tokens=np.array([100, 2000, 300]),
    output_tokens=np.array([10, 1, 20_000]),
    max_tokens=np.array([4096, 4096, 20_000]),
    attribution="A publisher, CC-BY-4.0",
)


def start_command(folder: Path) -> str:
    """The `vllm serve` of serve.sh, on one line."""
    text = (folder / "serve.sh").read_text().replace("\\\n", " ")
    return text[text.index("vllm serve") :].splitlines()[0]


def bench_words(folder: Path) -> list[str]:
    text = (folder / "verify.sh").read_text().replace("\\\n", " ")
    return shlex.split(text[text.index("vllm bench serve") :])[3:]


def assert_same_limits(command: ServeCommand, deployment: Deployment, blocks: int) -> None:
    for field in (
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "tensor_parallel_size",
        "gpu_memory_utilization",
        "block_size",
        "weights_dtype",
        "kv_cache_dtype",
    ):
        assert getattr(command, field) == getattr(deployment, field), field
    assert command.num_gpu_blocks_override == blocks
    assert command.unmodelled == ()
    switches = (command.enable_prefix_caching, command.async_scheduling)
    assert switches == (False, False)
    assert command.enable_chunked_prefill is True

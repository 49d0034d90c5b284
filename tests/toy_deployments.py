"""Small deployments with round numbers, for tests that need some cost and not a true one."""

from __future__ import annotations

from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, Ffn, LayerGroup, Mixer, ModelSpec

DEVICE = Accelerator(
    name="toy",
    vendor="Toy",
    kind="gpu",
    memory_bytes=80 * 2**30,
    bw_bytes_per_s=1e12,
    flops={Dtype.BF16: 1e14, Dtype.FP8: 2e14},
    link=Link("toy link", 1e11, 8),
    tdp_w=None,
    usd_per_hour=1.0,
    confidence="guess",
    source="made up",
    network_bytes_per_s=1e10,
)
FULL = Attention(heads=32, kv_heads=8, head_dim=128)
SLIDING = Attention(heads=32, kv_heads=8, head_dim=128, window=64)
FFN = DenseFfn(width=8192)


def toy_model(*groups: tuple[int, Mixer | None, Ffn | None]) -> ModelSpec:
    """A model of these layers, each (count, mixer, feed-forward)."""
    return ModelSpec(
        name="toy",
        architecture="Toy",
        hidden=2048,
        vocab=32000,
        tie_embeddings=False,
        max_model_len=4096,
        weights_dtype=Dtype.BF16,
        layers=tuple(LayerGroup(*group) for group in groups),
        source="made up",
    )


def toy_deployment(
    *groups: tuple[int, Mixer | None, Ffn | None],
    accelerator: Accelerator = DEVICE,
    max_num_seqs: int = 64,
    max_num_batched_tokens: int = 512,
    tensor_parallel_size: int = 1,
) -> Deployment:
    """A vLLM deployment of `toy_model(*groups)` on the toy device."""
    return Deployment(
        model=toy_model(*groups),
        accelerator=accelerator,
        engine="vllm",
        engine_version="0.32",
        weights_dtype=Dtype.BF16,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=4096,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        tensor_parallel_size=tensor_parallel_size,
    )


DENSE = toy_deployment((16, FULL, FFN))
WINDOWED = toy_deployment((12, SLIDING, FFN), (4, FULL, FFN))

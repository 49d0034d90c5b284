"""Steps with prompts as long as the host takes to launch them, where no CUDA graph holds them.

Decode steps are replayed from CUDA graphs; prompts of SGLang and TensorRT-LLM are launched kernel
by kernel, those of vLLM as compiled pieces. A prompt of a thousand tokens on eight GPUs takes the
host longer than the device: 150 to 250 ms for DeepSeek, GLM-5 and Qwen3.5, with one client and in
whatever format, while one of eight thousand takes no longer than its kernels.
"""

from __future__ import annotations

from servecast.primitives.model import Attention, LayerGroup, ModelSpec, MoeFfn

DENSE_S = 0.6e-3
"""Plain attention and one feed-forward part: Llama-70B, TensorRT-LLM, B200, 0.55 to 0.74 [F]."""
EXPERTS_S = 1.15e-3
"""Plain attention and experts: gpt-oss, TensorRT-LLM, B200, 0.83 to 1.1 [F]."""
MANY_KERNELS_S = 2.3e-3
"""Latent, sparse or linear attention, with three times the kernels: DeepSeek, GLM-5 and Qwen3.5,
SGLang and TensorRT-LLM, B200, 1.9 to 2.9 [F]."""

COMPILED = 0.55
"""Share of it that is left of compiled pieces: vLLM with gpt-oss and Kimi, 0.4 to 0.6 [F]."""

NODES = {"h100_sxm": 1.6, "h200_sxm": 1.6}
"""The host's time beside that of nodes with B200: DeepSeek, GLM-5, Qwen3.5, gpt-oss [F]."""

COMPILING = frozenset({"vllm"})


DRAFT_LAYERS = 4
"""Layers that take as long to launch as a draft: a layer, its projection, head and sampler [F]."""


def eager_step_s(
    model: ModelSpec, engine: str, gpu: str, *, is_compiled: bool = False, drafts: int = 0
) -> float:
    """Seconds that the host needs for a step with prompts, through all layers and drafts."""
    share = COMPILED if is_compiled or engine in COMPILING else 1.0
    layers_s = sum(group.count * _layer_s(group) for group in model.layers)
    drafted = 1.0 + drafts * DRAFT_LAYERS / model.num_layers
    return share * NODES.get(gpu, 1.0) * layers_s * drafted


def _layer_s(group: LayerGroup) -> float:
    if group.mixer is not None and not isinstance(group.mixer, Attention):
        return MANY_KERNELS_S
    return EXPERTS_S if isinstance(group.ffn, MoeFfn) else DENSE_S

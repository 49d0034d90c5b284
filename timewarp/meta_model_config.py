"""A model of the catalogue as the `config.json` that vLLM builds its own class from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    ModelSpec,
    MoeFfn,
)

Keys = dict[str, object]

KERNEL = 4
"""Taps of a gated delta net's convolution: of all models that have one."""


def meta_model_config(model: ModelSpec, max_model_len: int) -> Keys | None:
    """The keys of the model's own file, or of one that says the same of its layers and caches.

    None where neither is known: a family that is not written here, or layers that a file of the
    family cannot state.
    """
    file = Path(model.source)
    if file.suffix == ".json" and file.is_file():
        keys = cast("Keys", json.loads(file.read_text(encoding="utf-8")))
        return {name: keys[name] for name in keys if name != "quantization_config"}
    written = _FAMILIES.get(model.architecture)
    layers = written[1](model) if written else None
    if written is None or layers is None:
        return None
    return {
        "architectures": [model.architecture],
        "model_type": written[0],
        "hidden_size": model.hidden,
        "num_hidden_layers": model.num_layers,
        "vocab_size": model.vocab,
        "tie_word_embeddings": model.tie_embeddings,
        "max_position_embeddings": max(model.max_model_len, max_model_len),
        "torch_dtype": "float16" if model.weights_dtype is Dtype.FP16 else "bfloat16",
        **layers,
    }


def _plain(model: ModelSpec) -> Keys | None:
    """Equal layers of attention and a gated feed-forward part."""
    match model.layers:
        case (LayerGroup(mixer=Attention(window=None) as mixer, ffn=DenseFfn(width, True)),):
            return {**_heads(mixer), "intermediate_size": width}
        case _:
            return None


def _experts(model: ModelSpec) -> Keys | None:
    """Equal layers of attention and experts, of which some may have a window."""
    mixers = [group.mixer for group in model.layers if isinstance(group.mixer, Attention)]
    ffns = {group.ffn for group in model.layers}
    ffn = ffns.pop()
    if ffns or len(mixers) < len(model.layers) or not isinstance(ffn, MoeFfn):
        return None
    windows = {mixer.window for mixer in mixers} - {None}
    if len(windows) > 1 or (windows and model.architecture != "GptOssForCausalLM"):
        return None
    return {
        **_heads(mixers[0]),
        **_routed(ffn),
        "num_local_experts": ffn.experts,
        "intermediate_size": ffn.width,
        "shared_expert_intermediate_size": ffn.shared_width,
        "sliding_window": windows.pop() if windows else None,
        "layer_types": _interleaved(model, _attention_type),
    }


def _latent(model: ModelSpec) -> Keys | None:
    """DeepSeek's: latent attention, some dense layers first, then experts."""
    mixers = {group.mixer for group in model.layers}
    (mixer, *others) = mixers
    dense = [group for group in model.layers if isinstance(group.ffn, DenseFfn)]
    routed = [group.ffn for group in model.layers if isinstance(group.ffn, MoeFfn)]
    if others or not isinstance(mixer, LatentAttention) or mixer.index_topk or len(routed) != 1:
        return None
    keys = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    first = next((group.ffn for group in dense if isinstance(group.ffn, DenseFfn)), None)
    return {
        **{key: getattr(mixer, key) for key in keys},
        **_routed(routed[0]),
        "num_attention_heads": mixer.heads,
        "num_key_value_heads": mixer.heads,
        "intermediate_size": first.width if first else routed[0].width,
        "n_routed_experts": routed[0].experts,
        "n_shared_experts": routed[0].shared_width // routed[0].width,
        "first_k_dense_replace": sum(group.count for group in dense),
        "moe_layer_freq": 1,
        "n_group": 1,
        "topk_group": 1,
    }


def _delta(model: ModelSpec) -> Keys | None:
    """Qwen3-Next's: gated delta nets, gated attention at equal distances, experts in all."""
    linear = [group for group in model.layers if isinstance(group.mixer, LinearAttention)]
    attention = [group for group in model.layers if isinstance(group.mixer, Attention)]
    match linear, attention:
        case (
            [LayerGroup(mixer=LinearAttention(delta=heads), ffn=MoeFfn() as ffn)],
            [LayerGroup(count, Attention() as mixer, MoeFfn())],
        ) if heads is not None and model.num_layers % count == 0:
            return {
                **_heads(mixer),
                **_routed(ffn),
                "intermediate_size": ffn.width,
                "shared_expert_intermediate_size": ffn.shared_width,
                "decoder_sparse_step": 1,
                "full_attention_interval": model.num_layers // count,
                "linear_num_key_heads": heads.key_heads,
                "linear_num_value_heads": heads.value_heads,
                "linear_key_head_dim": heads.key_dim,
                "linear_value_head_dim": heads.value_dim,
                "linear_conv_kernel_dim": KERNEL,
            }
        case _:
            return None


def _heads(mixer: Attention) -> Keys:
    return {
        "num_attention_heads": mixer.heads,
        "num_key_value_heads": mixer.kv_heads,
        "head_dim": mixer.head_dim,
    }


def _routed(ffn: MoeFfn) -> Keys:
    return {
        "num_experts": ffn.experts,
        "num_experts_per_tok": ffn.experts_per_token,
        "moe_intermediate_size": ffn.width,
    }


def _attention_type(group: LayerGroup) -> str:
    is_window = isinstance(group.mixer, Attention) and group.mixer.window is not None
    return "sliding_attention" if is_window else "full_attention"


def _interleaved(model: ModelSpec, name: Callable[[LayerGroup], str]) -> list[str]:
    """A name for each layer, kinds spread evenly: their order is not in the catalogue."""
    places = [
        ((row + 0.5) / group.count, name(group))
        for group in model.layers
        for row in range(group.count)
    ]
    return [kind for _, kind in sorted(places, key=lambda each: each[0])]


_FAMILIES: dict[str, tuple[str, Callable[[ModelSpec], Keys | None]]] = {
    "LlamaForCausalLM": ("llama", _plain),
    "MistralForCausalLM": ("mistral", _plain),
    "Qwen2ForCausalLM": ("qwen2", _plain),
    "Qwen3ForCausalLM": ("qwen3", _plain),
    "MixtralForCausalLM": ("mixtral", _experts),
    "Qwen3MoeForCausalLM": ("qwen3_moe", _experts),
    "GptOssForCausalLM": ("gpt_oss", _experts),
    "DeepseekV2ForCausalLM": ("deepseek_v2", _latent),
    "DeepseekV3ForCausalLM": ("deepseek_v3", _latent),
    "Qwen3NextForCausalLM": ("qwen3_next", _delta),
}
"""By vLLM's class: transformers' name of the family, and what writes the keys of its layers."""

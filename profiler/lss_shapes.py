"""What LLMServingSim's layers compute: the shapes behind its names, for a model cut over ranks."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import InputError
from servecast.primitives.catalogue import model as catalogue_model
from servecast.primitives.model import Attention, DenseFfn, ModelSpec
from servecast.primitives.sharding import Sharding, cdiv

_SAME_SHAPES = {"Qwen/Qwen3-30B-A3B-Instruct-2507": "Qwen/Qwen3-30B-A3B"}
"""Checkpoints that the catalogue does not list, and one of the same shapes that it does."""


@dataclass(frozen=True, slots=True)
class LayerShapes:
    """The layers of one model on one rank; a name that is in neither mapping is left out."""

    attention: Attention
    """The heads of one rank."""
    gemms: dict[str, tuple[int, int]]
    """Outputs and inputs, n and k, of the layers that are matrix products."""
    widths: dict[str, int]
    """Elements that a token brings to the layers that are none."""
    vocab: int


def model_spec(name: str) -> ModelSpec:
    """The model a file names."""
    return catalogue_model(_SAME_SHAPES.get(name, name))


def fused_shapes(model: ModelSpec, tensor_parallel_size: int) -> LayerShapes:
    """Layers as vLLM runs them: queries, keys and values in one product, gate and up in one."""
    local = _attention(model, tensor_parallel_size)
    query, kv = local.heads * local.head_dim, local.kv_heads * local.head_dim
    gemms = {
        "qkv_proj": (query + 2 * kv, model.hidden),
        "o_proj": (model.hidden, query),
        "lm_head": (cdiv(model.vocab, tensor_parallel_size), model.hidden),
    }
    widths = dict.fromkeys(("embedding", "layernorm", "final_layernorm"), model.hidden)
    widths |= {"rotary_emb": query + kv, "qk_norm": query + kv}
    if isinstance(ffn := model.layers[0].ffn, DenseFfn):
        width = cdiv(ffn.width, tensor_parallel_size)
        gemms |= {"gate_up_proj": (2 * width, model.hidden), "down_proj": (model.hidden, width)}
        widths["act_fn"] = 2 * width
    return LayerShapes(local, gemms, widths, model.vocab)


def single_shapes(model: ModelSpec, tensor_parallel_size: int) -> LayerShapes:
    """Layers one by one, as PyTorch runs them; experts are whole, whatever the ranks.

    That they are not cut shows in their times, which are the same at any size. The router is left
    out: at 64 µs for 2,048 tokens it is more than its product.
    """
    local = _attention(model, tensor_parallel_size)
    query, kv = local.heads * local.head_dim, local.kv_heads * local.head_dim
    gemms = {
        "q_proj": (query, model.hidden),
        "k_proj": (kv, model.hidden),
        "v_proj": (kv, model.hidden),
        "o_proj": (model.hidden, query),
        "lm_head": (cdiv(model.vocab, tensor_parallel_size), model.hidden),
    }
    ffn = model.layers[0].ffn
    if isinstance(ffn, DenseFfn):
        width = cdiv(ffn.width, tensor_parallel_size)
        into, out = ("gate_proj", "up_proj"), "down_proj"
    else:
        width = ffn.width if ffn else 0
        into, out = ("expert.w1", "expert.w3"), "expert.w2"
    gemms |= dict.fromkeys(into, (width, model.hidden)) | {out: (model.hidden, width)}
    norms = ("embedding", "input_layernorm", "post_layernorm", "final_layernorm")
    widths = dict.fromkeys(norms, model.hidden) | {"rope": query + kv, "act_fn": width}
    return LayerShapes(local, gemms, widths, model.vocab)


def _attention(model: ModelSpec, tensor_parallel_size: int) -> Attention:
    mixer = model.layers[0].mixer
    if len(model.layers) > 1 or not isinstance(mixer, Attention):
        raise InputError(
            f"layers of {model.name} are of several kinds, and names of layers do not tell which",
            hint="only models whose layers are all alike have known shapes",
        )
    local = Sharding(tensor_parallel_size).local_mixer(mixer)
    if not isinstance(local, Attention):
        raise TypeError(f"a part of attention is {type(local).__name__}")
    return local

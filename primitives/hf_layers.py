"""From the keys of a `config.json` to the layers of the model, one by one, grouped where equal."""

from __future__ import annotations

from collections import Counter

from servecast.primitives.dtype import Dtype
from servecast.primitives.hf_families import Family
from servecast.primitives.hf_schema import HfConfig, KeyProblem, LayerKind
from servecast.primitives.linear_mixers import gated_delta_net, mamba2
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    MoeFfn,
)

Layer = tuple[Mixer | None, Ffn | None]

_LLAMA4_FULL_EVERY = 4
_STATE_DTYPES = {"float32": Dtype.FP32, "bfloat16": Dtype.BF16, "float16": Dtype.FP16}
_BLOCKS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}


def read_layers(config: HfConfig, family: Family) -> tuple[LayerGroup, ...]:
    """The layer groups in the order of their first layer; raises KeyProblem."""
    if family == "nemotron_h":
        layers = [_block(config, block) for block in _blocks(config)]
    else:
        layers = [
            (_mixer(config, kind, index), _ffn(config, index))
            for index, kind in enumerate(_kinds(config, family))
        ]
    return tuple(LayerGroup(count, *layer) for layer, count in Counter(layers).items())


def _kinds(config: HfConfig, family: Family) -> list[LayerKind]:
    count = config.need("num_hidden_layers")
    stated = config.layer_types
    if stated is None:
        return [_kind(config, family, index) for index in range(count)]
    if len(stated) != count:
        raise KeyProblem("layer_types", f"has {len(stated)} entries for {count} layers")
    return stated


def _kind(config: HfConfig, family: Family, index: int) -> LayerKind:
    """What the class of the family makes of a layer that the file does not describe."""
    match family:
        case "gemma2" | "gpt_oss":
            full = index % 2 == 1
        case "gemma3":
            full = (index + 1) % config.sliding_window_pattern == 0
        case "delta":
            full = (index + 1) % config.full_attention_interval == 0
            return "full_attention" if full else "linear_attention"
        case "llama4":
            return "chunked_attention" if _has_rope(config, index) else "full_attention"
        case "optional_window":
            full = not config.use_sliding_window or index < config.max_window_layers
        case _:
            full = config.sliding_window is None
    return "full_attention" if full else "sliding_attention"


def _has_rope(config: HfConfig, index: int) -> bool:
    """Llama 4: layers with rotary embedding attend within chunks, the others to everything."""
    if index < len(config.no_rope_layers):
        return bool(config.no_rope_layers[index])
    return (index + 1) % _LLAMA4_FULL_EVERY != 0


def _mixer(config: HfConfig, kind: LayerKind, index: int) -> Mixer:
    match kind:
        case "linear_attention":
            return _gated_delta_net(config)
        case "sliding_attention":
            return _attention(config, config.need("sliding_window"))
        case "chunked_attention":
            return _attention(config, config.need("attention_chunk_size"), chunked=True)
        case "full_attention":
            return _attention(config) if config.kv_lora_rank is None else _latent(config, index)


def _attention(config: HfConfig, window: int | None = None, *, chunked: bool = False) -> Attention:
    heads = config.num_attention_heads
    kv_heads = config.num_key_value_heads or heads
    if heads % kv_heads:
        raise KeyProblem("num_key_value_heads", f"must divide the {heads} attention heads")
    if config.head_dim is None and config.hidden_size % heads:
        raise KeyProblem("head_dim", f"is missing, and {heads} heads do not divide hidden_size")
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.head_dim or config.hidden_size // heads,
        window=window if window and window < config.max_position_embeddings else None,
        output_gate=config.attn_output_gate,
        chunked=chunked,
    )


def _latent(config: HfConfig, index: int) -> LatentAttention:
    indexed = config.index_topk is not None and not _reuses_picks(config, index)
    return LatentAttention(
        heads=config.num_attention_heads,
        q_lora_rank=config.q_lora_rank,
        kv_lora_rank=config.need("kv_lora_rank"),
        qk_nope_head_dim=config.need("qk_nope_head_dim"),
        qk_rope_head_dim=config.need("qk_rope_head_dim"),
        v_head_dim=config.need("v_head_dim"),
        index_topk=config.index_topk,
        index_heads=config.need("index_n_heads") if indexed else 0,
        index_head_dim=config.need("index_head_dim") if indexed else 0,
    )


def _reuses_picks(config: HfConfig, index: int) -> bool:
    return index < len(config.indexer_types) and config.indexer_types[index] == "shared"


def _gated_delta_net(config: HfConfig) -> LinearAttention:
    return gated_delta_net(
        config.hidden_size,
        key_heads=config.need("linear_num_key_heads"),
        value_heads=config.need("linear_num_value_heads"),
        key_dim=config.need("linear_key_head_dim"),
        value_dim=config.need("linear_value_head_dim"),
        kernel=config.linear_conv_kernel_dim,
        state_dtype=_STATE_DTYPES[config.mamba_ssm_dtype],
    )


def _ffn(config: HfConfig, index: int) -> Ffn:
    if config.experts and _routes(config, index):
        return _moe(config)
    return DenseFfn(config.intermediate_size_mlp or config.need("intermediate_size"))


def _routes(config: HfConfig, index: int) -> bool:
    """Whether a layer of a mixture-of-experts model has experts; each family says it its way."""
    if index < config.first_k_dense_replace or index in config.mlp_only_layers:
        return False
    if isinstance(config.moe_layer_freq, list):
        return index < len(config.moe_layer_freq) and config.moe_layer_freq[index] > 0
    step = config.decoder_sparse_step * config.interleave_moe_layer_step
    return index % config.moe_layer_freq == 0 and (index + 1) % step == 0


def _moe(config: HfConfig, *, gated: bool = True) -> MoeFfn:
    per_token = config.need("num_experts_per_tok")
    if per_token > config.experts:
        raise KeyProblem("num_experts_per_tok", f"exceeds the {config.experts} experts")
    width = config.moe_intermediate_size or config.need("intermediate_size")
    return MoeFfn(
        experts=config.experts,
        experts_per_token=per_token,
        width=width,
        shared_width=config.shared_width or config.n_shared_experts * width,
        gated=gated,
        latent_width=config.moe_latent_size,
    )


def _blocks(config: HfConfig) -> list[str]:
    """Nemotron-H: what each layer is, from its pattern or its list."""
    if config.layers_block_type is not None:
        return config.layers_block_type
    if config.hybrid_override_pattern is None:
        raise KeyProblem("hybrid_override_pattern", "is missing")
    return [_BLOCKS.get(block, block) for block in config.hybrid_override_pattern]


def _block(config: HfConfig, block: str) -> Layer:
    """Nemotron-H: a layer is a mixer alone or a feed-forward part (with two matrices) alone."""
    match block:
        case "mamba":
            return _mamba(config), None
        case "attention":
            return _attention(config), None
        case "moe":
            return None, _moe(config, gated=False)
        case "mlp":
            return None, DenseFfn(config.need("intermediate_size"), gated=False)
        case _:
            raise KeyProblem("hybrid_override_pattern", f"has the unknown layer kind `{block}`")


def _mamba(config: HfConfig) -> LinearAttention:
    return mamba2(
        config.hidden_size,
        heads=config.need("mamba_num_heads"),
        head_dim=config.need("mamba_head_dim"),
        groups=config.need("n_groups"),
        state=config.need("ssm_state_size"),
        kernel=config.conv_kernel,
        state_dtype=_STATE_DTYPES[config.mamba_ssm_cache_dtype],
    )

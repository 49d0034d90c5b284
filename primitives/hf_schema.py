"""The keys of a Hugging Face `config.json` that say what a model costs; all others are ignored."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import AliasChoices, BaseModel, ConfigDict, Field


class KeyProblem(Exception):
    """A key of the file breaks a rule; the reader turns it into an error that names the file."""

    def __init__(self, key: str, rule: str) -> None:
        super().__init__(f"{key}: {rule}")
        self.key = key
        self.rule = rule


Size = Annotated[int, Field(gt=0, le=10**9)]
"""A dimension: a whole number above zero."""
Count = Annotated[int, Field(ge=0, le=10**9)]
"""A number that may be zero."""


StateDtype = Literal["float32", "bfloat16", "float16"]
LayerKind = Literal["full_attention", "sliding_attention", "chunked_attention", "linear_attention"]


class HfConfig(BaseModel):
    """The text part of a `config.json`; families name some keys differently, here they agree."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    hidden_size: Size
    vocab_size: Size
    max_position_embeddings: Size
    num_hidden_layers: Annotated[int, Field(gt=0, le=10_000)] | None = None
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = Field(
        None, validation_alias=AliasChoices("head_dim", "attention_head_dim")
    )
    attn_output_gate: bool = False
    tie_word_embeddings: bool = False
    mtp_layers: Count = Field(
        0,
        validation_alias=AliasChoices(
            "num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers"
        ),
    )

    # Which layer is what.
    layer_types: list[LayerKind] | None = None
    sliding_window: Size | None = None
    use_sliding_window: bool | None = None
    max_window_layers: Count = 0
    sliding_window_pattern: Size = 6
    attention_chunk_size: Size | None = None
    no_rope_layers: list[Count] = []
    full_attention_interval: Size = 4
    hybrid_override_pattern: str | None = None
    layers_block_type: list[str] | None = None

    # Latent attention and its indexer.
    q_lora_rank: Size | None = None
    kv_lora_rank: Size | None = None
    qk_nope_head_dim: Size | None = None
    qk_rope_head_dim: Size | None = None
    v_head_dim: Size | None = None
    index_topk: Size | None = None
    index_n_heads: Size | None = None
    index_head_dim: Size | None = None
    indexer_types: list[str] = []

    # Feed-forward parts.
    intermediate_size: Size | None = None
    intermediate_size_mlp: Size | None = None
    experts: Count = Field(
        0, validation_alias=AliasChoices("n_routed_experts", "num_local_experts", "num_experts")
    )
    num_experts_per_tok: Size | None = Field(
        None, validation_alias=AliasChoices("num_experts_per_tok", "experts_per_token")
    )
    moe_intermediate_size: Size | None = None
    moe_latent_size: Size | None = None
    n_shared_experts: Count = 0
    shared_width: Count = Field(
        0,
        validation_alias=AliasChoices(
            "shared_expert_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "shared_intermediate_size",
        ),
    )
    first_k_dense_replace: Count = 0
    moe_layer_freq: Size | list[Count] = 1
    decoder_sparse_step: Size = 1
    mlp_only_layers: list[Count] = []
    interleave_moe_layer_step: Size = 1

    # Recurrent mixers.
    linear_num_key_heads: Size | None = None
    linear_num_value_heads: Size | None = None
    linear_key_head_dim: Size | None = None
    linear_value_head_dim: Size | None = None
    linear_conv_kernel_dim: Size = 4
    mamba_ssm_dtype: StateDtype = "bfloat16"
    mamba_ssm_cache_dtype: StateDtype = "float32"
    mamba_num_heads: Size | None = None
    mamba_head_dim: Size | None = None
    n_groups: Size | None = None
    ssm_state_size: Size | None = None
    conv_kernel: Size = 4

    def need(self, key: str) -> int:
        """The dimension under `key`; raises KeyProblem where the file does not give it."""
        value = getattr(self, key)
        if value is None:
            raise KeyProblem(key, "is missing")
        return cast("int", value)

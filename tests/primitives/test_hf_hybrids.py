"""Layers of latent and recurrent models, as their `config.json` files state them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.catalogue import model
from servecast.primitives.hf_config import read_config
from tests.hf_configs import Keys, assert_same_model, changed, layer_counts, write

DEEPSEEK_V3: Keys = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 3,
    "num_nextn_predict_layers": 1,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "torch_dtype": "bfloat16",
}

NEMOTRON_SUPER: Keys = {
    "architectures": ["NemotronHForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 88,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "intermediate_size": 2688,
    "vocab_size": 131072,
    "max_position_embeddings": 262144,
    "hybrid_override_pattern": (
        "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME"
    ),
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "n_groups": 8,
    "ssm_state_size": 128,
    "conv_kernel": 4,
    "n_routed_experts": 512,
    "num_experts_per_tok": 22,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2688,
    "moe_latent_size": 1024,
    "moe_shared_expert_intermediate_size": 5376,
    "num_nextn_predict_layers": 1,
    "sliding_window": None,
}

PUBLISHED: dict[str, Keys] = {
    "deepseek-ai/DeepSeek-V3": DEEPSEEK_V3,
    "deepseek-ai/DeepSeek-V3.2": {
        **DEEPSEEK_V3,
        "architectures": ["DeepseekV32ForCausalLM"],
        "index_topk": 2048,
        "index_n_heads": 64,
        "index_head_dim": 128,
    },
    "deepseek-ai/DeepSeek-V2-Lite": {
        **DEEPSEEK_V3,
        "architectures": ["DeepseekV2ForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "intermediate_size": 10944,
        "vocab_size": 102400,
        "q_lora_rank": None,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "moe_intermediate_size": 1408,
        "first_k_dense_replace": 1,
        "num_nextn_predict_layers": None,
        "quantization_config": None,
    },
    "moonshotai/Kimi-K2.5": {
        "architectures": ["KimiK25ForConditionalGeneration"],
        "text_config": {
            **DEEPSEEK_V3,
            "num_attention_heads": 64,
            "vocab_size": 163840,
            "max_position_embeddings": 262144,
            "n_routed_experts": 384,
            "first_k_dense_replace": 1,
            "num_nextn_predict_layers": 0,
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}
                },
            },
        },
    },
    "zai-org/GLM-5.2": {
        "architectures": ["GlmMoeDsaForCausalLM"],
        "hidden_size": 6144,
        "num_hidden_layers": 78,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "intermediate_size": 12288,
        "vocab_size": 154880,
        "max_position_embeddings": 1048576,
        "q_lora_rank": 2048,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 192,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "index_topk": 2048,
        "index_n_heads": 32,
        "index_head_dim": 128,
        "indexer_types": [*["full"] * 3, *["shared", "shared", "shared", "full"] * 18]
        + ["shared"] * 3,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
        "num_nextn_predict_layers": 1,
        "dtype": "bfloat16",
    },
    "Qwen/Qwen3-Next-80B-A3B-Instruct": {  # which layer is what follows from the interval
        "architectures": ["Qwen3NextForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "intermediate_size": 5120,
        "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_value_head_dim": 128,
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "decoder_sparse_step": 1,
        "vocab_size": 151936,
        "max_position_embeddings": 262144,
    },
    "Qwen/Qwen3.5-27B": {
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "text_config": {
            "attn_output_gate": True,
            "dtype": "bfloat16",
            "hidden_size": 5120,
            "num_hidden_layers": 64,
            "num_attention_heads": 24,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "intermediate_size": 17408,
            "layer_types": [*["linear_attention"] * 3, "full_attention"] * 16,
            "linear_conv_kernel_dim": 4,
            "mamba_ssm_dtype": "float32",
            "linear_key_head_dim": 128,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 48,
            "linear_value_head_dim": 128,
            "vocab_size": 248320,
            "max_position_embeddings": 262144,
            "mtp_num_hidden_layers": 1,
        },
        "tie_word_embeddings": False,
    },
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16": NEMOTRON_SUPER,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_gives_the_model_of_the_catalogue(tmp_path: Path, name: str) -> None:
    read, known = read_config(write(tmp_path, PUBLISHED[name])), model(name)
    assert_same_model(read, known)


def test_a_list_may_say_which_layers_route(tmp_path: Path) -> None:
    keys = DEEPSEEK_V3 | {"first_k_dense_replace": 0, "moe_layer_freq": [0, 0] + [1] * 59}
    spec = read_config(write(tmp_path, keys))
    assert [group.count for group in spec.layers] == [2, 59]


def test_a_list_of_blocks_is_read_as_the_pattern(tmp_path: Path) -> None:
    words = {"M": "mamba", "E": "moe", "*": "attention"}
    blocks = [words[mark] for mark in str(NEMOTRON_SUPER["hybrid_override_pattern"])]
    keys = changed(
        NEMOTRON_SUPER,
        layers_block_type=blocks,
        hybrid_override_pattern=None,
        num_hidden_layers=None,
    )
    known = model("nemotron-3-super")
    assert layer_counts(read_config(write(tmp_path, keys))) == layer_counts(known)


@pytest.mark.parametrize("missing", ["index_n_heads", "qk_rope_head_dim"])
def test_latent_attention_needs_all_its_sizes(tmp_path: Path, missing: str) -> None:
    keys = changed(PUBLISHED["deepseek-ai/DeepSeek-V3.2"], **{missing: None})
    with pytest.raises(InputError, match=f"{missing}: is missing"):
        read_config(write(tmp_path, keys))


@pytest.mark.parametrize("pattern", [None, "MX"])
def test_a_hybrid_needs_a_pattern_of_known_kinds(tmp_path: Path, pattern: str | None) -> None:
    keys = changed(NEMOTRON_SUPER, hybrid_override_pattern=pattern)
    with pytest.raises(InputError, match="hybrid_override_pattern"):
        read_config(write(tmp_path, keys))


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(
    key=st.sampled_from(sorted(NEMOTRON_SUPER | DEEPSEEK_V3)), value=anything, which=st.booleans()
)
def test_whatever_a_key_holds_the_answer_is_a_model_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object, which: bool
) -> None:
    keys = (NEMOTRON_SUPER if which else DEEPSEEK_V3) | {key: value}
    file = write(tmp_path_factory.mktemp("any"), keys)
    with suppress(InputError):  # and no other error
        assert read_config(file).num_layers > 0

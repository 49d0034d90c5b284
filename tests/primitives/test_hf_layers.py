"""Layers of attention models: a `config.json` as published gives the model of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.primitives.catalogue import model
from servecast.primitives.hf_config import read_config
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, MoeFfn
from tests.hf_configs import LLAMA, Keys, assert_same_model, write

PUBLISHED: dict[str, Keys] = {
    "meta-llama/Llama-3.1-8B": LLAMA,
    "meta-llama/Llama-2-7b-hf": {  # no key for KV heads: as many as heads
        **{key: value for key, value in LLAMA.items() if key != "num_key_value_heads"},
        "intermediate_size": 11008,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
        "torch_dtype": "float16",
    },
    "mistralai/Mistral-7B-v0.1": {
        **LLAMA,
        "architectures": ["MistralForCausalLM"],
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
    },
    "Qwen/Qwen2.5-7B-Instruct": {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
        "sliding_window": 131072,
        "use_sliding_window": False,
        "max_window_layers": 28,
    },
    "Qwen/Qwen3-30B-A3B": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
    },
    "google/gemma-2-9b-it": {
        "architectures": ["Gemma2ForCausalLM"],
        "hidden_size": 3584,
        "num_hidden_layers": 42,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "intermediate_size": 14336,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "sliding_window": 4096,
    },
    "google/gemma-3-4b-it": {  # heads, vocabulary and length are left to the class
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
    },
    "mistralai/Mixtral-8x7B-v0.1": {
        **LLAMA,
        "architectures": ["MixtralForCausalLM"],
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    },
    "microsoft/phi-4": {
        **LLAMA,
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "intermediate_size": 17920,
        "vocab_size": 100352,
        "max_position_embeddings": 16384,
    },
    "openai/gpt-oss-20b": {
        "architectures": ["GptOssForCausalLM"],
        "hidden_size": 2880,
        "num_hidden_layers": 24,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 2880,
        "num_local_experts": 32,
        "experts_per_token": 4,
        "vocab_size": 201088,
        "max_position_embeddings": 131072,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
        "sliding_window": 128,
        "quantization_config": {"quant_method": "mxfp4"},
    },
    "MiniMaxAI/MiniMax-M2.5": {
        "architectures": ["MiniMaxM2ForCausalLM"],
        "hidden_size": 3072,
        "num_hidden_layers": 62,
        "num_attention_heads": 48,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 1536,
        "shared_intermediate_size": 0,
        "num_local_experts": 256,
        "num_experts_per_tok": 8,
        "vocab_size": 200064,
        "max_position_embeddings": 196608,
        "num_mtp_modules": 3,
        "quantization_config": {"quant_method": "fp8"},
    },
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": {
        "architectures": ["Llama4ForConditionalGeneration"],
        "text_config": {
            "attention_chunk_size": 8192,
            "head_dim": 128,
            "hidden_size": 5120,
            "interleave_moe_layer_step": 2,
            "intermediate_size": 8192,
            "intermediate_size_mlp": 16384,
            "max_position_embeddings": 1048576,
            "num_attention_heads": 40,
            "num_key_value_heads": 8,
            "num_experts_per_tok": 1,
            "num_hidden_layers": 48,
            "num_local_experts": 128,
            "torch_dtype": "bfloat16",
            "vocab_size": 202048,
        },
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_gives_the_model_of_the_catalogue(tmp_path: Path, name: str) -> None:
    read, known = read_config(write(tmp_path, PUBLISHED[name])), model(name)
    assert_same_model(read, known)


def test_the_head_dim_follows_from_the_heads_where_it_is_not_given(tmp_path: Path) -> None:
    spec = read_config(write(tmp_path, LLAMA))
    assert spec.layers == (LayerGroup(32, Attention(32, 8, 128), DenseFfn(14336)),)


def test_a_window_that_is_switched_on_starts_at_its_layer(tmp_path: Path) -> None:
    keys = PUBLISHED["Qwen/Qwen2.5-7B-Instruct"] | {
        "use_sliding_window": True,
        "sliding_window": 4096,
        "max_window_layers": 20,
    }
    spec = read_config(write(tmp_path, keys))
    windows = {g.mixer.window: g.count for g in spec.layers if isinstance(g.mixer, Attention)}
    assert windows == {None: 20, 4096: 8}


def test_a_window_as_long_as_the_context_is_none(tmp_path: Path) -> None:
    keys = PUBLISHED["mistralai/Mistral-7B-v0.1"] | {"sliding_window": 32768}
    (group,) = read_config(write(tmp_path, keys)).layers
    assert group.mixer == Attention(32, 8, 128)


def test_layers_of_a_sparse_model_may_be_dense_by_step_or_by_name(tmp_path: Path) -> None:
    keys = PUBLISHED["Qwen/Qwen3-30B-A3B"] | {"decoder_sparse_step": 2, "mlp_only_layers": [1, 3]}
    spec = read_config(write(tmp_path, keys))
    routed = sum(group.count for group in spec.layers if isinstance(group.ffn, MoeFfn))
    assert routed == 48 // 2 - 2

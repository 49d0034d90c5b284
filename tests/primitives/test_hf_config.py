"""A `config.json` is read into the layers its engine would build, or refused by key and rule."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.catalogue import model
from servecast.primitives.dtype import Dtype
from servecast.primitives.hf_config import read_config
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec, MoeFfn

Keys = dict[str, object]

LLAMA: Keys = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
"""Llama-3.1-8B; the other files below are written as published, but for keys nobody reads."""

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


def write(folder: Path, keys: Keys | str) -> Path:
    file = folder / "config.json"
    file.write_text(keys if isinstance(keys, str) else json.dumps(keys), encoding="utf-8")
    return file


def layer_counts(spec: ModelSpec) -> Counter[tuple[object, object]]:
    counts: Counter[tuple[object, object]] = Counter()
    for group in spec.layers:
        counts[group.mixer, group.ffn] += group.count
    return counts


def changed(keys: Keys, **changes: object) -> Keys:
    """The keys with some replaced; None takes a key away."""
    return {key: value for key, value in (keys | changes).items() if value is not None}


# What is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_gives_the_model_of_the_catalogue(tmp_path: Path, name: str) -> None:
    read, known = read_config(write(tmp_path, PUBLISHED[name])), model(name)
    assert layer_counts(read) == layer_counts(known)
    for field in (
        "architecture", "hidden", "vocab", "tie_embeddings", "max_model_len", "weights_dtype",
        "mtp_layers",
    ):  # fmt: skip
        assert getattr(read, field) == getattr(known, field), field


def test_the_model_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My-Llama"
    folder.mkdir()
    write(folder, LLAMA)
    assert read_config(folder).name == "My-Llama"


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


# Quantization ------------------------------------------------------------------------------------


def group(bits: int, kind: str, size: int) -> Keys:
    return {
        "config_groups": {"g": {"weights": {"num_bits": bits, "type": kind, "group_size": size}}}
    }


@pytest.mark.parametrize(
    ("quantization", "dtype"),
    [
        ({"quant_method": "fp8"}, Dtype.FP8),
        ({"quant_method": "fbgemm_fp8"}, Dtype.FP8),
        ({"quant_method": "mxfp4"}, Dtype.MXFP4),
        ({"quant_method": "awq", "bits": 4}, Dtype.INT4),
        ({"quant_method": "awq", "w_bit": 4}, Dtype.INT4),
        ({"quant_method": "gptq", "bits": 8}, Dtype.INT8),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, Dtype.INT4),
        ({"quant_method": "compressed-tensors", **group(8, "int", 0)}, Dtype.INT8),
        ({"quant_method": "compressed-tensors", **group(8, "float", 0)}, Dtype.FP8),
        ({"quant_method": "compressed-tensors", **group(4, "float", 16)}, Dtype.NVFP4),
        ({"quant_method": "compressed-tensors", **group(4, "float", 32)}, Dtype.MXFP4),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, Dtype.NVFP4),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, Dtype.FP8),
    ],
)
def test_the_weights_format_is_that_of_the_quantization(
    tmp_path: Path, quantization: Keys, dtype: Dtype
) -> None:
    keys = LLAMA | {"quantization_config": quantization}
    assert read_config(write(tmp_path, keys)).weights_dtype is dtype


def test_a_quantization_file_beside_the_config_counts(tmp_path: Path) -> None:
    write(tmp_path, LLAMA)
    beside = tmp_path / "hf_quant_config.json"
    beside.write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    assert read_config(tmp_path).weights_dtype is Dtype.FP8


@pytest.mark.parametrize(
    ("stated", "dtype"),
    [("float16", Dtype.FP16), ("torch.bfloat16", Dtype.BF16), (None, Dtype.BF16)],
)
def test_without_quantization_it_is_the_torch_dtype(
    tmp_path: Path, stated: str | None, dtype: Dtype
) -> None:
    keys = changed(LLAMA, torch_dtype=stated)
    assert read_config(write(tmp_path, keys)).weights_dtype is dtype


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
        ({"hidden_size": None}, "hidden_size", "is missing"),
        ({"num_hidden_layers": None}, "num_hidden_layers", "is missing"),
        ({"num_hidden_layers": 0}, "num_hidden_layers", "must be above 0"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers", "is too large"),
        ({"intermediate_size": None}, "intermediate_size", "is missing"),
        ({"vocab_size": -1}, "vocab_size", "must be above 0"),
        ({"vocab_size": 10**30}, "vocab_size", "is too large"),
        ({"hidden_size": "4096"}, "hidden_size", "must be a whole number"),
        ({"hidden_size": 4096.5}, "hidden_size", "must be a whole number"),
        ({"hidden_size": float("nan")}, "hidden_size", "must be a whole number"),
        ({"hidden_size": float("inf")}, "hidden_size", "must be a whole number"),
        ({"hidden_size": True}, "hidden_size", "must be a whole number"),
        ({"hidden_size": [4096]}, "hidden_size", "must be a whole number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings", "must be true or false"),
        ({"num_key_value_heads": 7}, "num_key_value_heads", "must divide"),
        ({"num_attention_heads": 24}, "head_dim", "is missing"),
        ({"layer_types": ["full_attention"]}, "layer_types", "1 entries for 32 layers"),
        ({"layer_types": ["sliding_attention"] * 32}, "sliding_window", "is missing"),
        ({"layer_types": ["dreaming"] * 32}, "layer_types", "dreaming"),
        ({"num_local_experts": 8}, "num_experts_per_tok", "is missing"),
        (
            {"num_local_experts": 4, "num_experts_per_tok": 8},
            "num_experts_per_tok",
            "exceeds the 4",
        ),
        ({"torch_dtype": "float12"}, "torch_dtype", "float12"),
        ({"quantization_config": {"quant_method": "runes"}}, "quant_method", "runes"),
        ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "bits", "must be 4 or 8"),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "X"}},
            "quant_algo",
            "X",
        ),
        (
            {"quantization_config": {"quant_method": "compressed-tensors"}},
            "config_groups",
            "no group",
        ),
        ({"quantization_config": "fp8"}, "quantization_config", "must be an object"),
        ({"text_config": "none"}, "text_config", "must be an object"),
        ({"architectures": []}, "architectures", "must name"),
    ],
)
def test_a_key_that_breaks_a_rule_is_named_with_file_and_rule(
    tmp_path: Path, changes: Keys, key: str, rule: str
) -> None:
    file = write(tmp_path, changed(LLAMA, **changes))
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert str(file) in caught.value.message
    assert key in caught.value.message
    assert rule in caught.value.message
    assert "servecast models" in str(caught.value.hint)


def test_all_broken_keys_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, changed(LLAMA, hidden_size=0, vocab_size=None))
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert "hidden_size" in caught.value.message
    assert "vocab_size" in caught.value.message


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


def test_an_architecture_that_is_not_modelled_is_refused_by_name(tmp_path: Path) -> None:
    keys = LLAMA | {"architectures": ["DeepseekV4ForCausalLM"]}
    with pytest.raises(UnsupportedError, match="DeepseekV4ForCausalLM") as caught:
        read_config(write(tmp_path, keys))
    assert "DeepseekV3" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "is not JSON"), ("{", "is not JSON"), ("[1]", "JSON object"), ("[" * 10**5, "not JSON")],
    ids=["empty", "cut", "list", "nested"],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        read_config(write(tmp_path, text))


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json` cannot be read"):
        read_config(tmp_path)


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

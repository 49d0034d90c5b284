"""Architectures of `config.json` files that can be read, and what their classes assume unsaid."""

from __future__ import annotations

from typing import Literal

Family = Literal[
    "plain", "optional_window", "gemma2", "gemma3", "gpt_oss", "llama4", "delta", "nemotron_h"
]
"""How a family says which layer is what, where the file has no `layer_types`."""

FAMILIES: dict[str, Family] = {
    "LlamaForCausalLM": "plain",
    "MistralForCausalLM": "plain",
    "Mistral3ForConditionalGeneration": "plain",
    "MixtralForCausalLM": "plain",
    "Phi3ForCausalLM": "plain",
    "PhiMoEForCausalLM": "plain",
    "MiMoForCausalLM": "optional_window",
    "Qwen2ForCausalLM": "optional_window",
    "Qwen2MoeForCausalLM": "optional_window",
    "Qwen3ForCausalLM": "optional_window",
    "Qwen3MoeForCausalLM": "optional_window",
    "Qwen3NextForCausalLM": "delta",
    "Qwen3_5ForConditionalGeneration": "delta",
    "Qwen3_5MoeForConditionalGeneration": "delta",
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3",
    "Gemma3ForConditionalGeneration": "gemma3",
    "GptOssForCausalLM": "gpt_oss",
    "DeepseekV2ForCausalLM": "plain",
    "DeepseekV3ForCausalLM": "plain",
    "DeepseekV32ForCausalLM": "plain",
    "KimiK25ForConditionalGeneration": "plain",
    "Glm4ForCausalLM": "plain",
    "Glm4MoeForCausalLM": "plain",
    "GlmMoeDsaForCausalLM": "plain",
    "MiniMaxM2ForCausalLM": "plain",
    "Llama4ForCausalLM": "llama4",
    "Llama4ForConditionalGeneration": "llama4",
    "NemotronHForCausalLM": "nemotron_h",
}

DEFAULTS: dict[Family, dict[str, object]] = {
    "gemma2": {"tie_word_embeddings": True, "head_dim": 256, "sliding_window": 4096},
    "gemma3": {
        "tie_word_embeddings": True,
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
    },
    "gpt_oss": {"sliding_window": 128},
    "llama4": {"attention_chunk_size": 8192, "n_shared_experts": 1},
    "delta": {"attn_output_gate": True},
}
"""Values of the published configuration classes; checkpoints leave such keys out."""

"""What engines can do and servecast does not model yet: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Mapping

from servecast.engine_limits import own_name

_VLLM: Mapping[str, tuple[str, str]] = {
    "enable_chunked_prefill": ("scheduling without chunked prefill", "true"),
    "enable_lora": ("serving LoRA adapters", "false"),
    "enforce_eager": ("running without CUDA graphs", "false"),
}
NEUTRAL: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "vllm": _VLLM,
    "sglang": {},
    "transformers": {
        "tensor_parallel_size": ("tensor parallelism of transformers", "1"),
        "use_async_batching": ("asynchronous batching of transformers", "false"),
    },
    "trtllm": {"enable_block_reuse": ("block reuse of TensorRT-LLM", "false")},
    "reference": {},
}
"""Options, by engine, that may be stated with the one value that is modelled: the feature, and that
value."""

_SPECULATION = (
    "speculative_config", "speculative_model", "num_speculative_tokens", "speculative_decoding",
    "draft_model", "spec_method", "spec_model", "spec_tokens",
)  # fmt: skip
"""Names under which people state speculative decoding of vLLM."""

_SGLANG_SPECULATION = (
    "speculative_algorithm", "speculative_draft_model_path", "speculative_num_steps",
    "speculative_eagle_topk", "speculative_num_draft_tokens",
)  # fmt: skip
"""SGLang's own options."""

_WRITE_SPECULATION = (
    "write `speculation: {method: ngram, num_speculative_tokens: 2, acceptance: [0.5, 0.3]}`"
)

_FEATURES = {
    "disaggregated prefill and decode": (
        "kv_transfer_config", "kv_role", "kv_connector", "disaggregation", "prefill", "decode",
    ),
    "speculative decoding": ("speculation", *_SPECULATION),
    "serving LoRA adapters": ("lora", "lora_modules", "max_loras", "max_lora_rank"),
    "priority scheduling": ("priority", "priorities", "scheduler_cls"),
    "offloading of weights": ("cpu_offload_gb", "swap_space"),
    "KV cache offloading by another backend than vLLM's own": ("kv_offloading_backend",),
    "context parallelism": ("decode_context_parallel_size", "prefill_context_parallel_size"),
    "expert load balancing": ("enable_eplb", "eplb_config", "num_redundant_experts"),
    "overlapping two batches": ("enable_dbo", "ubatch_size"),
    "activations in another format than bf16": ("dtype",),
    "a changed model": ("hf_overrides", "rope_scaling", "rope_theta", "disable_sliding_window"),
    "multimodal input": ("limit_mm_per_prompt", "mm_processor_kwargs"),
    "limits on partial prefills": (
        "max_num_partial_prefills", "max_long_partial_prefills",
    ),
    "compilation settings": ("compilation_config", "cudagraph_capture_sizes", "optimization_level"),
}  # fmt: skip
_BY_KEY = {key: feature for feature, keys in _FEATURES.items() for key in keys}

_OWN_FEATURES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sglang": {
        "pipeline parallelism": ("pipeline_parallel_size", "pp_size"),
        "data parallelism inside one engine": (
            "data_parallel_size",
            "dp_size",
            "enable_dp_attention",
        ),
        "expert parallelism of SGLang": ("expert_parallel_size", "ep_size", "moe_a2a_backend"),
        "serving LoRA adapters": ("enable_lora", "lora_paths", "max_loras_per_batch"),
        "disaggregated prefill and decode": ("disaggregation_mode",),
        "hierarchical caching": ("enable_hierarchical_cache", "enable_lmcache", "enable_hisparse"),
        "priority scheduling": ("enable_priority_scheduling",),
        "a limit on the queue": ("max_queued_requests",),
        "a limit on prompts beside the chunk size": ("max_prefill_tokens",),
        "overlapping two batches": ("enable_two_batch_overlap", "enable_pdmux"),
    },
    "transformers": {
        "offloading of weights or KV cache": ("cpu_offload_space",),
        "CUDA graphs of transformers": ("use_cuda_graph", "q_padding_interval_size"),
        "compilation settings": ("default_compile_level", "varlen_compile_config"),
        "a limit on the queue": ("max_queue_size",),
    },
    "trtllm": {
        "pipeline parallelism": ("pipeline_parallel_size", "pp_size"),
        "expert parallelism of TensorRT-LLM": ("moe_expert_parallel_size", "ep_size"),
        "attention data parallelism": ("enable_attention_dp",),
        "beam search": ("max_beam_width",),
        "sharing the step's tokens among prompts": ("context_chunking_policy",),
        "holding prompts back": ("batch_wait_timeout_iters", "batch_wait_max_tokens_ratio"),
        "speculative decoding": ("speculative_config", "decoding_config"),
        "serving LoRA adapters": ("enable_lora", "lora_config"),
        "disaggregated prefill and decode": ("cache_transceiver_config",),
        "offloading of weights or KV cache": ("host_cache_size",),
    },
}  # fmt: skip

CHECKPOINT_METHODS = (
    "awq", "awq_marlin", "gptq", "gptq_marlin", "modelopt", "modelopt_fp4", "compressed-tensors",
    "bitsandbytes", "gguf",
)  # fmt: skip
"""vLLM's names of quantisation methods that load a checkpoint made for them."""


def refusal(key: str, engine: str) -> tuple[str, str] | None:
    """Why a field is refused and the way out, where it is an option of some engine; else None."""
    drafts = {"vllm": _SPECULATION, "sglang": (*_SPECULATION, *_SGLANG_SPECULATION)}
    if key in drafts.get(engine, ()):
        return "speculative decoding is stated with its acceptance", _WRITE_SPECULATION
    own = own_name(engine, key)
    if own != key:
        return f"is vLLM's name, and the engine is {engine}", f"write `{own}`"
    for own_feature, keys in _OWN_FEATURES.get(engine, {}).items():
        if key in keys:
            return f"{own_feature} is not modelled yet", "leave it out"
    # Imported late: only a field that is at fault needs the list of all options.
    from servecast.search.vllm_options import VLLM_OPTIONS

    feature, option = _BY_KEY.get(key), VLLM_OPTIONS.get(f"--{key.replace('_', '-')}")
    if feature is None and option is not None and option.harmless:
        return "changes nothing that is simulated", "leave it out, and add it when you start vLLM"
    if feature is None and option is None:
        return None
    return f"{feature or f'the vLLM option `{key}`'} is not modelled yet", "leave it out"

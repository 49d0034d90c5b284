"""The KV pools that SGLang's scheduler allocates from, without any memory behind them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from servecast.timewarp.sglang_seam import srt


class HollowCache:
    """A KV cache of so many tokens that weighs nothing."""

    mem_usage = 0
    post_capture_active = False
    layer_num = 0
    start_layer = 0
    cpu_copy_carries_mamba = False

    def __init__(self, size: int, page_size: int) -> None:
        self.size = size
        self.page_size = page_size

    def maybe_get_custom_mem_pool(self) -> None:
        """It has no memory of any kind."""

    def get_contiguous_buf_infos(self) -> tuple[list[int], list[int], list[int]]:
        """There is nothing to send or receive."""
        return [], [], []

    def get_cpu_copy(self, *_: object, **__: object) -> None:
        """There is nothing to keep of a request that is taken back."""

    def load_cpu_copy(self, *_: object, **__: object) -> None:
        """Nor to restore."""


class HollowEmbeddings:
    """No n-gram embeddings: batches pass as they are."""

    def prepare_for_forward(self, batch: object, *, chunked_req: object) -> object:
        """The batch."""
        return batch


class HollowRunner:
    """What the scheduler asks of a model runner: real pools, and no model.

    Its names are those of SGLang's `ModelRunner`. `req_to_token_pool` and the allocator are
    SGLang's own classes, so what they hand out, and when they are empty, is what it would be.
    """

    device = "cpu"
    kv_cache_dtype_str = "bfloat16"
    model = SimpleNamespace()
    spec_algorithm = None
    attn_backend = None
    canary_manager = None
    hisparse_coordinator = None
    lora_manager = None
    device_timer = None
    prefill_cuda_graph_runner = None
    shared_read_done_event = None
    sliding_window_size = None
    is_hybrid_swa = False
    prefill_aware_swa = False
    memory_pool_config = SimpleNamespace()
    mtp_draft_device_pools = ()
    mtp_draft_mamba_pools = ()
    preloaded_weights_bytes = 0
    weight_load_time = 0.0

    def __init__(self, model_config: Any, num_tokens: int, max_running_requests: int) -> None:
        torch = srt("managers.scheduler").torch
        page_size: int = srt("runtime_context").get_schedule().page_size
        num_tokens = num_tokens // page_size * page_size  # as SGLang rounds what it was given
        self.model_config = model_config
        self.max_running_requests = max_running_requests
        self.logical_max_total_num_tokens = num_tokens
        self.effective_logical_max_total_num_tokens = num_tokens
        self.graph_memory_usage: dict[str, float] = {}
        self.graph_time_usage: dict[str, float] = {}
        self.ngram_embedding_manager = HollowEmbeddings()
        self.forward_stream = torch.cpu.Stream()
        self.req_to_token_pool = _rows(max_running_requests, model_config.context_len)
        self.token_to_kv_pool = HollowCache(num_tokens, page_size)
        self.token_to_kv_pool_allocator = _allocator(self.token_to_kv_pool, torch.bfloat16)

    def init_attention_backends(self) -> None:
        """There is no attention."""

    def init_cuda_graphs(self, *, capture_decode_cuda_graph: bool = True) -> None:
        """There is nothing to capture."""

    def prewarm_sampling(self) -> None:
        """There is nothing to sample."""


def _rows(max_running_requests: int, context_len: int) -> Any:
    """The table of where requests lie; one that decodes for others has rows for those to come."""
    disaggregation = srt("runtime_context").get_disagg()
    shared: dict[str, Any] = {
        "size": max_running_requests,
        "max_context_len": context_len + _spare_slots(),
        "device": HollowRunner.device,
        "enable_memory_saver": False,
    }
    if disaggregation.disaggregation_mode != "decode":
        return srt("mem_cache.memory_pool").ReqToTokenPool(**shared)
    spare = disaggregation.disaggregation_decode_extra_slots
    return srt("disaggregation.decode").DecodeReqToTokenPool(pre_alloc_size=spare, **shared)


def _spare_slots() -> int:
    """Beyond the longest text, that a request in its row is given ahead, or SGLang keeps free."""
    sizing = srt("mem_cache.allocation_sizing")
    ahead: int = sizing.get_alloc_reserve_per_decode() + sizing.get_alloc_page_size()
    return max(ahead, int(sizing.get_req_to_token_extra_context_len()))


def _allocator(cache: HollowCache, dtype: object) -> Any:
    """The allocator that SGLang takes for pages of this size."""
    allocators = srt("mem_cache.allocator")
    shared: dict[str, Any] = {
        "size": cache.size,
        "dtype": dtype,
        "device": HollowRunner.device,
        "kvcache": cache,
        "need_sort": False,
    }
    if cache.page_size == 1:
        return allocators.TokenToKVPoolAllocator(**shared)
    return allocators.PagedTokenToKVPoolAllocator(page_size=cache.page_size, **shared)

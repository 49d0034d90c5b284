"""The section `deployment` of a scenario for TensorRT-LLM, whose scheduler here is *unverified*."""

from __future__ import annotations

from typing import Literal

from servecast.choices import Open
from servecast.engine_limits import EngineLimits, Target
from servecast.errors import InfeasibleError, InputError
from servecast.fields import Count, Flag, Fraction, first
from servecast.options import KV_CACHE, Options
from servecast.primitives.kv_cache_geometry import kv_cache_geometry
from servecast.primitives.policy import TrtllmCapacityPolicy, TrtllmPolicy
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes
from servecast.search import trtllm_defaults as theirs


class TrtllmOptions(Options):
    """The options of `trtllm-serve` and of the LLM API; absent: the defaults of 1.0."""

    tensor_parallel_size: Open[Count] = (1,)
    max_seq_len: Open[Count] | None = None
    """Absent: the longest that the model allows and the KV cache holds."""
    max_batch_size: Open[Count] = (theirs.MAX_BATCH_SIZE,)
    max_num_tokens: Open[Count] = (theirs.MAX_NUM_TOKENS,)
    tokens_per_block: Open[Count] = (theirs.TOKENS_PER_BLOCK,)
    kv_cache_free_gpu_memory_fraction: Open[Fraction] = (theirs.FREE_GPU_MEMORY_FRACTION,)
    max_tokens: Open[Count] | None = None
    """Tokens in the KV cache; absent: what that fraction of the memory holds."""
    kv_cache_dtype: Open[Literal["auto", "fp8"]] = ("auto",)
    capacity_scheduler_policy: Open[TrtllmCapacityPolicy] = ("GUARANTEED_NO_EVICT",)
    enable_chunked_prefill: Open[Flag] = (False,)
    disable_overlap_scheduler: Open[Flag] = (False,)
    enable_block_reuse: Open[Literal[False]] = (False,)

    def limits(self, target: Target) -> EngineLimits:
        """The limits as the documentation has them, free memory forecast."""
        block, tokens = self.tokens_per_block[0], self.max_num_tokens[0]
        stated = first(self.max_tokens)
        if stated is not None and stated < block:
            raise InputError(
                f"max_tokens {stated} is less than a block of {block} tokens",
                hint=f"set max_tokens to {block} or more, or leave it out",
            )
        blocks = self._num_blocks(target) if stated is None else stated // block
        return EngineLimits(
            kv_cache_dtype=KV_CACHE[self.kv_cache_dtype[0]],
            max_model_len=self._max_seq_len(target, blocks * block),
            max_num_seqs=min(self.max_batch_size[0], tokens),
            max_num_batched_tokens=tokens,
            block_size=block,
            enable_prefix_caching=self.enable_block_reuse[0],
            gpu_memory_utilization=self.kv_cache_free_gpu_memory_fraction[0],
            num_gpu_blocks_override=blocks,
            policy=TrtllmPolicy(
                self.capacity_scheduler_policy[0],
                self.enable_chunked_prefill[0],
                self.disable_overlap_scheduler[0],
            ),
        )

    def _max_seq_len(self, target: Target, cache_tokens: int) -> int:
        if cache_tokens < 1:
            raise InfeasibleError(
                f"the weights of {target.model.name} leave no room for a KV cache on "
                f"{target.accelerator.name}",
                hint="raise tensor_parallel_size, or take a GPU with more memory",
            )
        stated = first(self.max_seq_len)
        if stated is not None and stated > cache_tokens:
            raise InputError(
                f"max_seq_len {stated:,} is longer than the KV cache, which holds "
                f"{cache_tokens:,} tokens",
                hint=f"set max_seq_len to {cache_tokens} or less, or raise tensor_parallel_size",
            )
        return stated or min(target.model.max_model_len, cache_tokens)

    def _num_blocks(self, target: Target) -> int:
        sharding = Sharding(self.tensor_parallel_size[0])
        kv_cache = KV_CACHE[self.kv_cache_dtype[0]]
        block = self.tokens_per_block[0]
        return theirs.num_blocks(
            kv_cache_geometry(target.model, sharding, kv_cache, block_size=block),
            target.accelerator,
            weight_bytes(target.model, sharding, target.weights_dtype),
            self.kv_cache_free_gpu_memory_fraction[0],
        )

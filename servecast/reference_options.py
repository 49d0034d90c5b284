"""The section `deployment` of a scenario for a scheduler of the literature."""

from __future__ import annotations

from typing import Literal

from servecast.choices import Open
from servecast.engine_limits import EngineLimits, Target
from servecast.fields import Count, Fraction, first
from servecast.options import KV_CACHE, Options
from servecast.primitives.policy import ReferenceName, ReferencePolicy

MAX_NUM_SEQS = 128
"""The largest batch in the evaluation of Sarathi-Serve (OSDI 2024)."""
SARATHI_BUDGET = 512
"""The smaller of its token budgets."""
GPU_MEMORY_UTILIZATION = 0.92
"""vLLM's own (`config/cache.py` of 0.32.0)."""


class ReferenceOptions(Options):
    """One policy with vLLM's limits, memory and host time, of the release that `version` names."""

    policy: Open[ReferenceName] = ("orca",)
    tensor_parallel_size: Open[Count] = (1,)
    kv_cache_dtype: Open[Literal["auto", "fp8"]] = ("auto",)
    max_model_len: Open[Count] | None = None
    """Absent: the longest that the model allows."""
    max_num_seqs: Open[Count] = (MAX_NUM_SEQS,)
    """Requests in a batch at most."""
    max_num_batched_tokens: Open[Count] | None = None
    """Of a step; absent: 512 with `sarathi`, else the longest prompt beside a full batch."""
    block_size: Open[Count] | None = None
    """Absent: 16 with `sarathi`, else 1, as memory is reserved by the token."""
    gpu_memory_utilization: Open[Fraction] = (GPU_MEMORY_UTILIZATION,)
    num_gpu_blocks_override: Open[Count] | None = None

    def limits(self, target: Target) -> EngineLimits:
        """The limits of the papers, where the scenario states no others."""
        policy, seqs = self.policy[0], self.max_num_seqs[0]
        length = first(self.max_model_len) or target.model.max_model_len
        is_chunked = policy == "sarathi"
        tokens = max(SARATHI_BUDGET, seqs) if is_chunked else length + seqs
        return EngineLimits(
            kv_cache_dtype=KV_CACHE[self.kv_cache_dtype[0]],
            max_model_len=length,
            max_num_seqs=seqs,
            max_num_batched_tokens=first(self.max_num_batched_tokens) or tokens,
            block_size=first(self.block_size) or (16 if is_chunked else 1),
            enable_prefix_caching=False,
            gpu_memory_utilization=self.gpu_memory_utilization[0],
            num_gpu_blocks_override=first(self.num_gpu_blocks_override),
            policy=ReferencePolicy(policy),
        )

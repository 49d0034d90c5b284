"""The section `deployment` of a scenario for transformers' continuous batching."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from servecast.choices import Open
from servecast.engine_limits import EngineLimits, Target
from servecast.errors import InfeasibleError
from servecast.fields import Count, Flag, Fraction, first
from servecast.options import Options
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import kv_cache_geometry
from servecast.primitives.policy import TransformersPolicy, TransformersSchedulerType
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes
from servecast.search import transformers_defaults as theirs

Page = Annotated[int, Field(strict=True, ge=4)]
Margin = Annotated[float, Field(strict=True, ge=0, le=1)]


class TransformersOptions(Options):
    """The fields of `ContinuousBatchingConfig`; absent: its defaults on the scenario's GPU."""

    tensor_parallel_size: Open[Literal[1]] = (1,)
    page_size: Open[Page] = (theirs.PAGE_SIZE,)
    num_blocks: Open[Count] | None = None
    """Of the KV cache; absent: what `max_memory_percent` and the weights leave."""
    max_batch_tokens: Open[Count] = (theirs.MAX_BATCH_TOKENS,)
    max_requests_per_batch: Open[Count] = (theirs.MAX_REQUESTS_PER_BATCH,)
    max_memory_percent: Open[Fraction] = (theirs.MAX_MEMORY_PERCENT,)
    scheduler_type: Open[TransformersSchedulerType] = ("fifo",)
    safety_margin: Open[Margin] | None = None
    """Absent: 0.15 for `fifo`, 0 for `prefill_first`."""
    allow_block_sharing: Open[Flag] = (True,)
    use_async_batching: Open[Literal[False]] = (False,)

    def limits(self, target: Target) -> EngineLimits:
        """The limits as transformers resolves them, with flash attention."""
        tokens = self.max_batch_tokens[0]
        return EngineLimits(
            kv_cache_dtype=Dtype.BF16,
            max_model_len=target.model.max_model_len,
            max_num_seqs=min(self.max_requests_per_batch[0], tokens),
            max_num_batched_tokens=tokens,
            block_size=self.page_size[0],
            enable_prefix_caching=self.allow_block_sharing[0],
            gpu_memory_utilization=self.max_memory_percent[0],
            num_gpu_blocks_override=first(self.num_blocks) or self._num_blocks(target),
            policy=TransformersPolicy(self.scheduler_type[0], first(self.safety_margin)),
        )

    def _num_blocks(self, target: Target) -> int:
        one = Sharding()
        found = theirs.num_blocks(
            target.model,
            kv_cache_geometry(target.model, one, Dtype.BF16, block_size=self.page_size[0]),
            target.accelerator,
            weights_bytes=weight_bytes(target.model, one, target.weights_dtype),
            memory_share=self.max_memory_percent[0],
            max_batch_tokens=self.max_batch_tokens[0],
            max_requests_per_batch=self.max_requests_per_batch[0],
        )
        if not found:
            raise InfeasibleError(
                f"the weights of {target.model.name} leave no room for a KV cache on "
                f"{target.accelerator.name}",
                hint="take a GPU with more memory: transformers is modelled on one",
            )
        return found

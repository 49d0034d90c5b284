"""The section `deployment` of a scenario for SGLang."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from servecast.choices import Open
from servecast.engine_limits import EngineLimits, Target
from servecast.errors import InfeasibleError
from servecast.fields import Count, Flag, Fraction, first
from servecast.options import KV_CACHE, Options
from servecast.primitives.policy import SglangPolicy, SglangSchedulePolicy
from servecast.primitives.speculation import DraftModel
from servecast.search import sglang_defaults as theirs
from servecast.speculation import SpeculationOptions

Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class SglangOptions(Options):
    """The options of `sglang.launch_server`; absent: its defaults on the scenario's GPU."""

    tensor_parallel_size: Open[Count] = (1,)
    context_length: Open[Count] | None = None
    """Absent: the longest that the model allows."""
    max_running_requests: Open[Count] | None = None
    chunked_prefill_size: Open[Count] | None = None
    page_size: Open[Count] = (theirs.PAGE_SIZE,)
    max_total_tokens: Open[Count] | None = None
    """Tokens in the KV pool; absent: what `mem_fraction_static` and the weights leave."""
    mem_fraction_static: Open[Fraction] | None = None
    kv_cache_dtype: Open[Literal["auto", "fp8_e4m3"]] = ("auto",)
    disable_radix_cache: Open[Flag] = (False,)
    schedule_policy: Open[SglangSchedulePolicy] = ("fcfs",)
    schedule_conservativeness: Open[Positive] = (1.0,)
    enable_mixed_chunk: Open[Flag] = (False,)
    disable_overlap_schedule: Open[Flag] = (False,)
    speculation: SpeculationOptions | None = None
    """Absent: a token a step."""

    @property
    def drafts(self) -> SpeculationOptions | None:
        """What is drafted, if anything."""
        return self.speculation

    def limits(self, target: Target) -> EngineLimits:
        """The limits as SGLang resolves them, its measurement of free memory forecast."""
        page, draft = self.page_size[0], self._draft(target)
        stated = first(self.max_running_requests)
        if stated is None and self._has_drafts:
            stated = theirs.DRAFTING_RUNNING_REQUESTS
        chunk = first(self.chunked_prefill_size) or theirs.chunked_prefill_size(target.accelerator)
        length = first(self.context_length) or target.model.max_model_len
        share = first(self.mem_fraction_static) or self._share(target, chunk, stated)
        tokens = first(self.max_total_tokens) or self._pool_tokens(target, share, draft)
        pages = tokens // page
        running = theirs.max_running_requests(pages * page, length, stated)
        if running < 1:
            raise InfeasibleError(
                f"the KV pool would hold {max(tokens, 0):,} tokens",
                hint="raise tensor_parallel_size, or state max_total_tokens as the server logs it",
            )
        return EngineLimits(
            kv_cache_dtype=KV_CACHE[self.kv_cache_dtype[0]],
            max_model_len=length,
            max_num_seqs=running,
            max_num_batched_tokens=chunk,
            block_size=page,
            enable_prefix_caching=not self.disable_radix_cache[0],
            gpu_memory_utilization=share,
            num_gpu_blocks_override=pages,
            policy=SglangPolicy(
                self.schedule_policy[0],
                self.schedule_conservativeness[0],
                self.enable_mixed_chunk[0],
                self.disable_overlap_schedule[0],
            ),
        )

    @property
    def _has_drafts(self) -> bool:
        return self.speculation is not None and self.speculation.num_speculative_tokens[0] > 0

    def _draft(self, target: Target) -> DraftModel | None:
        if self.speculation is None or not self._has_drafts:
            return None
        return self.speculation.draft(target.model, target.weights_dtype)

    def _share(self, target: Target, chunk_tokens: int, running: int | None) -> float:
        return theirs.model_share(
            target.model,
            target.accelerator,
            self.tensor_parallel_size[0],
            chunk_tokens=chunk_tokens,
            max_running_requests=running,
        )

    def _pool_tokens(self, target: Target, share: float, draft: DraftModel | None) -> int:
        return theirs.model_pool(
            target.model,
            target.accelerator,
            self.tensor_parallel_size[0],
            (target.weights_dtype, KV_CACHE[self.kv_cache_dtype[0]]),
            page_size=self.page_size[0],
            share=share,
            draft=draft,
        )

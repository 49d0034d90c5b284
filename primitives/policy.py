"""How engines other than vLLM schedule, where they leave a choice; names are their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SglangSchedulePolicy = Literal["fcfs", "lpm", "lof", "dfs-weight"]
TransformersSchedulerType = Literal["fifo", "prefill_first"]
TrtllmCapacityPolicy = Literal["GUARANTEED_NO_EVICT", "MAX_UTILIZATION"]
ReferenceName = Literal["static", "orca", "sarathi"]


@dataclass(frozen=True, slots=True)
class SglangPolicy:
    """SGLang's choices; the defaults are those of 0.5.23 (`arg_groups/fields/schedule.py`)."""

    schedule_policy: SglangSchedulePolicy = "fcfs"
    schedule_conservativeness: float = 1.0
    enable_mixed_chunk: bool = False
    disable_overlap_schedule: bool = False


@dataclass(frozen=True, slots=True)
class TransformersPolicy:
    """transformers' choices; the defaults are those of 5.23.0 (`ContinuousBatchingConfig`)."""

    scheduler_type: TransformersSchedulerType = "fifo"
    safety_margin: float | None = None
    """Share of free blocks below which no prompt is begun; None is the scheduler's own."""


@dataclass(frozen=True, slots=True)
class TrtllmPolicy:
    """TensorRT-LLM's choices; the defaults are those of its LLM API in 1.0."""

    capacity_scheduler_policy: TrtllmCapacityPolicy = "GUARANTEED_NO_EVICT"
    enable_chunked_prefill: bool = False
    disable_overlap_scheduler: bool = False


@dataclass(frozen=True, slots=True)
class ReferencePolicy:
    """A scheduler of the literature, on vLLM's memory and host time."""

    policy: ReferenceName = "orca"


Policy = SglangPolicy | TransformersPolicy | TrtllmPolicy | ReferencePolicy

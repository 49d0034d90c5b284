"""What a server was started with, as far as it changes latency."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.primitives.deployment import ExpertsKernel
from servecast.primitives.dtype import Dtype
from servecast.primitives.host_time import HostTime
from servecast.profiler.benchmark_client import PROMPTS_PER_CLIENT
from servecast.simulator.trtllm_scheduler import BatchWait

MANY_CLIENTS = 16
"""From so many clients on, scripts poll for new requests less often."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Flags of one server, under one name for all engines, and where they were read."""

    max_num_batched_tokens: int
    """vLLM's name; SGLang's chunked prefill size, TensorRT-LLM's max_num_tokens."""
    host: HostTime
    source: str
    max_num_seqs: int | None = None
    """None: as many as the benchmark has clients."""
    kv_cache_dtype: Dtype = Dtype.BF16
    memory_share: float = 0.9
    """Of the device's memory; for TensorRT-LLM of what the weights leave."""
    schedules_ahead: bool = True
    """Overlap (asynchronous) scheduling."""
    recv_intervals: tuple[int, int] = (1, 1)
    """SGLang polls for requests every so many decode steps: with few clients, with many."""
    batch_wait: BatchWait | None = None
    experts_kernel: ExpertsKernel = ""
    draft_tokens: int = 0
    """Tokens that a step proposes for each sequence beside its own: multi-token prediction."""
    prompts_per_client: int = PROMPTS_PER_CLIENT

    def recv_interval(self, clients: int) -> int:
        """SGLang's `scheduler-recv-interval` with so many clients."""
        return self.recv_intervals[1 if clients >= MANY_CLIENTS else 0]

"""What a server was started with, as far as it changes latency."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.primitives.dtype import Dtype
from servecast.primitives.step_cost import HostTime
from servecast.simulator.trtllm_scheduler import BatchWait

MANY_CLIENTS = 16
"""From so many clients on, scripts poll for new requests less often."""

LARGEST_LOT = 10
"""Stream intervals of 30 and 50 delay first tokens no more than one of 10 does: 4 to 28 steps in
the sample's development part, where 10 has its full effect. Why is not known."""


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
    recv_interval: tuple[int, int] = (1, 1)
    """SGLang polls for requests every so many steps: with few clients, with many."""
    stream_interval: int = 1
    """SGLang hands out tokens in lots of so many, the first lot too."""
    batch_wait: BatchWait | None = None

    def first_token_lag_steps(self, clients: int) -> float:
        """Decode steps by which the first token is late: half a poll, and a lot of tokens."""
        polled = self.recv_interval[1 if clients >= MANY_CLIENTS else 0]
        lot = min(self.stream_interval, LARGEST_LOT)
        return (polled / 2 if polled > 1 else 0.0) + (lot if lot > 1 else 0)

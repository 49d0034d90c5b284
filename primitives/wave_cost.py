"""What a step costs data-parallel ranks that share one set of experts: all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.cost import CostSource
from servecast.primitives.decomposition import shared_operations
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.host_time import HostTime
from servecast.primitives.step_cost import CompiledStepCost, StepCost

DUMMY_TOKENS = 1
"""Of a rank that has nobody to compute: it takes part in the exchanges all the same."""

_LARGEST_GRAPH, _LARGEST_GRAPH_BLACKWELL = 512, 1024


class WaveCost(Protocol):
    """What an engine of data-parallel ranks asks of a cost."""

    def step(self, batches: Sequence[Batch]) -> StepTime:
        """Device and host nanoseconds of one step, given what each rank computes in it."""
        ...

    @property
    def rank(self) -> StepCost:
        """What a rank computes alone: its spread buckets are those of its batches."""
        ...


class CompiledWaveCost:
    """A `WaveCost` from a cost source.

    Ranks wait for each other in each layer's exchange: what a rank computes alone takes as long as
    on the slowest, and the experts as long as all ranks' tokens ask. Where the step's tokens fit
    vLLM's CUDA graphs every rank is padded to as many as the fullest has.
    """

    def __init__(
        self, deployment: Deployment, source: CostSource, host: HostTime | None = None
    ) -> None:
        self._own = CompiledStepCost(deployment, source, host, shares_experts=False)
        self._largest_graph = max_cudagraph_capture_size(deployment)
        widest = max(deployment.max_num_batched_tokens, deployment.max_num_seqs)
        tokens = np.arange(widest * deployment.data_parallel_size + 1, dtype=np.float64)
        seconds = np.zeros(len(tokens))
        for count, operation in shared_operations(deployment, tokens):
            seconds += count * source.seconds(operation, deployment.accelerator)
        self._shared_ns: list[int] = np.rint(seconds * 1e9).astype(np.int64).tolist()

    @property
    def rank(self) -> StepCost:
        """What a rank computes alone."""
        return self._own

    def step(self, batches: Sequence[Batch]) -> StepTime:
        """Nanoseconds of one step of all ranks; a rank with an empty batch runs a dummy."""
        tokens = [max(batch.tokens, DUMMY_TOKENS) for batch in batches]
        fullest = max(tokens)
        if fullest <= self._largest_graph:
            tokens = [fullest] * len(tokens)
        own = self._own
        alone_ns = max(map(own.device_ns, batches, tokens))
        device_ns = alone_ns + self._shared_ns[sum(tokens)]
        loops = (own.host_ns(batch, device_ns) for batch in batches if batch.groups)
        return StepTime(device_ns, max(loops, default=0))


def max_cudagraph_capture_size(deployment: Deployment) -> int:
    """Tokens of the largest step that vLLM 0.32.0 has a CUDA graph of; 0 where it has none."""
    if deployment.all2all_backend == "deepep_high_throughput":
        return 0
    device = deployment.accelerator
    is_blackwell = Dtype.NVFP4 in device.flops and device.kind == "datacenter"
    largest = _LARGEST_GRAPH_BLACKWELL if is_blackwell else _LARGEST_GRAPH
    return min(2 * deployment.max_num_seqs, largest, deployment.max_num_batched_tokens)

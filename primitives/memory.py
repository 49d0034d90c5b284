"""The memory ledger: what the engine may use, what it spends, what is left for the KV cache.

It follows vLLM's own start-up arithmetic (v1/worker/gpu_worker.py of 0.32.0):
`requested - weights - non-torch - peak activation - CUDA graphs`, then whole blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from servecast.errors import InfeasibleError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, kv_cache_geometry
from servecast.primitives.memory_priors import (
    GIB,
    cuda_graph_bytes,
    margin_bytes,
    non_torch_bytes,
    peak_activation_bytes,
)
from servecast.primitives.sharding import Sharding, require
from servecast.primitives.speculation import DraftModel
from servecast.primitives.weight_memory import weight_bytes


@dataclass(frozen=True, slots=True)
class Ledger:
    """The memory of the fullest rank, line by line in bytes.

    Weights and blocks are arithmetic; non-torch, activation and graphs are priors, and the margin
    is what their error may take.
    """

    total_bytes: int
    """What the driver reports for the device."""
    requested_bytes: int
    """What the engine may use: `gpu_memory_utilization` of the total."""
    weights_bytes: int
    non_torch_bytes: int
    peak_activation_bytes: int
    cuda_graph_bytes: int
    margin_bytes: int
    """Kept free by the forecast alone: the engine does not know it."""
    geometry: KvCacheGeometry
    max_model_len: int
    num_gpu_blocks_override: int | None = None
    draft_weights_bytes: int = 0
    """Of what drafts; its KV cache is a part of `geometry`."""

    @property
    def available_kv_bytes(self) -> int:
        """What the engine itself is expected to find for its KV cache; negative where none is."""
        spent = self.weights_bytes + self.draft_weights_bytes + self.non_torch_bytes
        return self.requested_bytes - spent - self.peak_activation_bytes - self.cuda_graph_bytes

    @property
    def num_gpu_blocks(self) -> int:
        """Blocks to count on: the override where given, else what is left after the margin.

        With the margin taken off, the number is safe to hand to `--num-gpu-blocks-override`.
        """
        if self.num_gpu_blocks_override is not None:
            return self.num_gpu_blocks_override
        return self.geometry.num_blocks(self.available_kv_bytes - self.margin_bytes)

    @property
    def usable_blocks(self) -> int:
        """Blocks that requests can hold: vLLM keeps one as its null block."""
        return max(0, self.num_gpu_blocks - 1)

    @property
    def kv_tokens(self) -> int:
        """The size of the KV cache in tokens as the engine logs it."""
        return self.geometry.kv_tokens(self.num_gpu_blocks, self.max_model_len)

    def max_concurrency(self, max_model_len: int) -> float:
        """Requests of that length that fit at once, as the engine logs it."""
        return self.geometry.max_concurrency(self.num_gpu_blocks, max_model_len)

    def equivalent_blocks(self, request_tokens: int) -> int:
        """Usable blocks for a model of the cache that knows plain attention alone.

        The usable blocks themselves but for hybrids; see `KvCacheGeometry.equivalent_blocks`.
        """
        return self.geometry.equivalent_blocks(self.usable_blocks, request_tokens)

    def fits(self, max_model_len: int) -> bool:
        """Whether the engine starts: one request of full length must fit the usable blocks."""
        return self.geometry.blocks_per_request(max_model_len) <= self.usable_blocks

    def shortfall(self) -> str | None:
        """Why the engine would refuse to start, with figures, or None where it starts."""
        if self.fits(self.max_model_len):
            return None
        if self.num_gpu_blocks == 0:
            return self._no_room()
        longest = self.geometry.longest_request(self.usable_blocks)
        needed = self.geometry.blocks_per_request(self.max_model_len)
        advice = f": set max_model_len <= {longest}" if longest else ""
        return (
            f"KV cache holds {longest:,} tokens of one request, max_model_len"
            f" {self.max_model_len:,} needs {_gib(needed * self.geometry.bytes_per_block)}"
            f" where {_gib(self.usable_blocks * self.geometry.bytes_per_block)} are left{advice}"
        )

    def require_fit(self) -> None:
        """Raise `InfeasibleError` with the shortfall, if there is one."""
        reason = self.shortfall()
        if reason is not None:
            raise InfeasibleError(
                reason,
                hint="raise tensor_parallel_size, lower max_model_len, or list a smaller"
                " quantization; `servecast memory` shows the ledger",
            )

    def _no_room(self) -> str:
        weights = self.weights_bytes + self.draft_weights_bytes
        others = self.requested_bytes - self.available_kv_bytes - weights
        return (
            f"weights need {_gib(weights)} of the {_gib(self.requested_bytes)} that"
            f" each GPU may use, activations, graphs and buffers {_gib(others)}, the forecast's"
            f" margin {_gib(self.margin_bytes)}: nothing is left for the KV cache"
        )


def ledger(deployment: Deployment) -> Ledger:
    """The ledger of a deployment's fullest rank.

    InputError where the engine refuses the parallel sizes, UnsupportedError for engines other than
    vLLM, whose memory a reference policy has too. It does not raise where the model does not fit:
    see `Ledger.shortfall`.
    """
    if deployment.engine not in ("vllm", "reference"):
        raise UnsupportedError(
            f"the memory of engine `{deployment.engine}` is not modelled yet",
            hint="set engine.name to `vllm`",
        )
    model, sharding = deployment.model, Sharding.of(deployment)
    draft = deployment.drafting.draft if deployment.drafting else None
    cached = model
    require(model, sharding)
    if draft is not None:
        require(draft.model, sharding)
        cached = replace(model, layers=(*model.layers, *draft.model.layers))
    total = deployment.accelerator.memory_bytes
    return Ledger(
        total_bytes=total,
        requested_bytes=math.ceil(total * deployment.gpu_memory_utilization),
        weights_bytes=weight_bytes(model, sharding, deployment.weights_dtype),
        non_torch_bytes=non_torch_bytes(sharding.ranks),
        peak_activation_bytes=peak_activation_bytes(deployment),
        cuda_graph_bytes=cuda_graph_bytes(deployment),
        margin_bytes=margin_bytes(model),
        geometry=kv_cache_geometry(
            cached,
            sharding,
            deployment.kv_cache_dtype,
            block_size=deployment.block_size,
            in_flight_tokens=_in_flight_tokens(deployment),
            enable_prefix_caching=deployment.enable_prefix_caching,
        ),
        max_model_len=deployment.max_model_len,
        num_gpu_blocks_override=deployment.num_gpu_blocks_override,
        draft_weights_bytes=_draft_bytes(draft, sharding),
    )


def _draft_bytes(draft: DraftModel | None, sharding: Sharding) -> int:
    if draft is None:
        return 0
    vocabulary = not draft.shares_vocabulary
    return weight_bytes(draft.model, sharding, draft.weights_dtype, vocabulary=vocabulary)


def _in_flight_tokens(deployment: Deployment) -> int:
    """Tokens of the batches under way: one per stage, one more under asynchronous scheduling."""
    return (deployment.pipeline_parallel_size + 1) * deployment.max_num_batched_tokens


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"

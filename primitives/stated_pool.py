"""The memory of an engine whose KV pool is stated, or forecast by its own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, kv_cache_geometry
from servecast.primitives.memory_priors import GIB
from servecast.primitives.sharding import Sharding, require
from servecast.primitives.weight_memory import weight_bytes


@dataclass(frozen=True, slots=True)
class StatedPool:
    """Weights and KV pool of the fullest rank, in bytes; nothing of the rest is forecast."""

    total_bytes: int
    """What the driver reports for the device."""
    weights_bytes: int
    num_gpu_blocks: int
    """Pages of the pool; requests can hold all of them."""
    geometry: KvCacheGeometry

    def equivalent_blocks(self, request_tokens: int) -> int:
        """Pages for a model of the cache that knows plain attention alone."""
        return self.geometry.equivalent_blocks(self.num_gpu_blocks, request_tokens)

    def shortfall(self) -> str | None:
        """Why weights and pool do not fit the device, with figures, or None where they do."""
        if self.num_gpu_blocks < 1:
            return (
                f"weights need {self.weights_bytes / GIB:.1f} GiB of the"
                f" {self.total_bytes / GIB:.1f} GiB of a GPU: nothing is left for the KV pool"
            )
        pool_bytes = self.num_gpu_blocks * self.geometry.bytes_per_block
        if self.weights_bytes + pool_bytes <= self.total_bytes:
            return None
        return (
            f"weights need {self.weights_bytes / GIB:.1f} GiB and the KV pool"
            f" {pool_bytes / GIB:.1f} GiB of the {self.total_bytes / GIB:.1f} GiB of a GPU"
        )


def stated_pool(deployment: Deployment) -> StatedPool:
    """The pool that a deployment states; InputError where it states none, or where the engine
    refuses the parallel sizes."""
    pages, model = deployment.num_gpu_blocks_override, deployment.model
    if pages is None:
        raise InputError(
            f"the size of the KV pool is not given, which {deployment.engine} measures on its GPU",
            hint="state num_gpu_blocks_override of the deployment",
        )
    sharding = Sharding.of(deployment)
    require(model, sharding)
    return StatedPool(
        total_bytes=deployment.accelerator.memory_bytes,
        weights_bytes=weight_bytes(model, sharding, deployment.weights_dtype),
        num_gpu_blocks=pages,
        geometry=kv_cache_geometry(
            model, sharding, deployment.kv_cache_dtype, block_size=deployment.block_size
        ),
    )

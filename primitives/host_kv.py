"""KV blocks in a host's memory: how many there is room for, and how long one is on its way.

Room is vLLM's own arithmetic (0.32.0, `v1/kv_offload/cpu/spec.py`): a block of all ranks in whole
pages; of a latent cache, which all ranks have alike, once.
"""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import Ledger
from servecast.primitives.model import LatentAttention
from servecast.primitives.sharding import cdiv

PAGE_BYTES = 4096
GIB = 1 << 30

TO_GPU_SHARE, TO_HOST_SHARE = 0.64, 0.69
"""Of what a data sheet states, reached by KV blocks: LMCache PR 1740 brought 1.375 GB in 33.4 ms
and stored 0.531 GB in 11.95 ms (41 and 44 GB/s). Its GPU is not named: PCIe 5 x16 is assumed."""


@dataclass(frozen=True, slots=True)
class HostKv:
    """The blocks of one replica. Each GPU moves its part of a block over a link of its own."""

    blocks: int
    block_bytes: int
    """Of all ranks, as they are moved."""
    to_gpu_block_ns: float
    to_host_block_ns: float


def host_kv(deployment: Deployment, memory: Ledger) -> HostKv | None:
    """What `kv_offloading_size` has room for; None where there is none.

    UnsupportedError where it is not known how fast the accelerator reaches its host.
    """
    if deployment.kv_offloading_size is None:
        return None
    ranks, rank_bytes = deployment.tensor_parallel_size, memory.geometry.bytes_per_block
    copies = 1 if _is_latent(deployment) else ranks
    page_bytes = cdiv(rank_bytes * copies, PAGE_BYTES) * PAGE_BYTES
    to_gpu, to_host = _bytes_per_s(deployment)
    return HostKv(
        int(deployment.kv_offloading_size * GIB) // page_bytes,
        rank_bytes * ranks,
        rank_bytes / to_gpu * 1e9,
        rank_bytes / to_host * 1e9,
    )


def _is_latent(deployment: Deployment) -> bool:
    mixers = [group.mixer for group in deployment.model.layers if group.mixer is not None]
    return all(isinstance(mixer, LatentAttention) for mixer in mixers)


def _bytes_per_s(deployment: Deployment) -> tuple[float, float]:
    """What one GPU reaches from its host and to it."""
    measured = deployment.host_gb_per_s
    if measured is not None:
        return measured * 1e9, measured * 1e9
    stated = _data_sheet(deployment.accelerator)
    return stated * TO_GPU_SHARE, stated * TO_HOST_SHARE


def _data_sheet(device: Accelerator) -> float:
    if device.host_bytes_per_s is None:
        raise UnsupportedError(
            f"how fast `{device.name}` reaches its host's memory is not known",
            hint="state host_gb_per_s of the deployment, as measured one way for one GPU",
        )
    return device.host_bytes_per_s

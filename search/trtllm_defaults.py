"""What TensorRT-LLM 1.0 does when nothing is said, as its documentation says; none of it was run.

`trtllm-serve` and the LLM API (`BuildConfig`, `KvCacheConfig`, `SchedulerConfig`), PyTorch backend.
"""

from __future__ import annotations

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.kv_cache_geometry import KvCacheGeometry
from servecast.profiler.engine_memory import RESERVED_BYTES

RELEASES = ("1.0",)
"""Of which the documentation was read."""
MAX_BATCH_SIZE = 2048
MAX_NUM_TOKENS = 8192
TOKENS_PER_BLOCK = 32
FREE_GPU_MEMORY_FRACTION = 0.9
"""Of what is free once weights and buffers are there."""


def release_of(stated: str) -> str:
    """The release that a version (`1.0`, `1.0.0`, `v1.0`) names; UnsupportedError for others."""
    plain = stated.removeprefix("v")
    for release in RELEASES:
        if plain in (release, f"{release}.0"):
            return release
    raise UnsupportedError(
        f"the documentation of TensorRT-LLM {stated} was not read\n  known: {', '.join(RELEASES)}",
        hint=f'write version: "{RELEASES[-1]}"',
    )


def num_blocks(
    geometry: KvCacheGeometry, accelerator: Accelerator, weights_bytes: int, share: float
) -> int:
    """KV blocks in that `share` of what is left; what buffers and activations take is a prior.

    UnsupportedError for caches of other kinds than full attention, which have pools of their own.
    """
    if not geometry.is_uniform:
        raise UnsupportedError(
            "TensorRT-LLM's KV cache is modelled for full attention alone: windows and states have "
            "pools of their own there",
            hint="serve it with engine.name `vllm`",
        )
    free = accelerator.memory_bytes - weights_bytes - RESERVED_BYTES
    return geometry.num_blocks(share * free)

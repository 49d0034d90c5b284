"""KV blocks of a running server: the ledger's for vLLM, a share of the memory for others."""

from __future__ import annotations

from servecast.errors import InfeasibleError
from servecast.primitives.deployment import Deployment
from servecast.primitives.kv_cache_geometry import kv_cache_geometry
from servecast.primitives.memory import ledger
from servecast.primitives.sharding import Sharding, require
from servecast.primitives.weight_memory import weight_bytes
from servecast.profiler.launch import Launch

RESERVED_BYTES = 3e9
"""Context, buffers and activations of TensorRT-LLM: what the sample's KV-bound rows suggest."""


def kv_blocks(deployment: Deployment, launch: Launch, request_tokens: int) -> int:
    """Blocks that requests of `request_tokens` can hold; no margin is kept back.

    InputError where the model cannot be cut so, InfeasibleError where one such request has no room.
    """
    require(deployment.model, Sharding.of(deployment))
    needed = -(-deployment.max_model_len // deployment.block_size)
    blocks = _blocks(deployment, launch, request_tokens)
    if blocks < needed:
        raise InfeasibleError(
            f"the KV cache would hold {max(0, blocks) * deployment.block_size} tokens, one request "
            f"needs {needed * deployment.block_size}",
            hint="more GPUs, or a narrower format",
        )
    return blocks


def _blocks(deployment: Deployment, launch: Launch, request_tokens: int) -> int:
    if deployment.engine == "vllm":
        found = ledger(deployment)
        geometry, available = found.geometry, float(found.available_kv_bytes)
    else:
        sharding = Sharding.of(deployment)
        geometry = kv_cache_geometry(
            deployment.model, sharding, deployment.kv_cache_dtype, block_size=deployment.block_size
        )
        total = float(deployment.accelerator.memory_bytes)
        weights = weight_bytes(deployment.model, sharding, deployment.weights_dtype)
        if deployment.engine == "trtllm":
            available = launch.memory_share * (total - weights - RESERVED_BYTES)
        else:
            available = launch.memory_share * total - weights
    return geometry.equivalent_blocks(geometry.num_blocks(available), request_tokens)

"""The textbook estimate that any forecast must beat: peaks of the data sheet, nothing else."""

from __future__ import annotations

from servecast.primitives.deployment import Deployment
from servecast.primitives.model import Attention, LatentAttention
from servecast.primitives.weights import active_parameters, parameters


def naive_ms(deployment: Deployment, isl: int, osl: int, clients: int) -> dict[str, float]:
    """TTFT and TPOT in ms: weights and KV over bandwidth, FLOPs over peak, no overhead, no queue.

    All weights are read in each step, mixture of experts or not.
    """
    gpus = deployment.tensor_parallel_size
    decode_s = _decode_s(deployment, gpus, isl + osl / 2, clients)
    prefill_s = _prefill_s(deployment, gpus, isl)
    return {
        "ttft_ms": (decode_s + prefill_s) * 1e3,
        "tpot_ms": (decode_s + prefill_s * clients / osl) * 1e3,
    }


def naive_pools_ms(
    prefill: Deployment, decode: Deployment, isl: int, osl: int, clients: float
) -> dict[str, float]:
    """The same of two pools, whose steps do not meet: `clients` of a worker that decodes.

    Data-parallel ranks share weights and requests evenly.
    """
    decode_s = _decode_s(decode, decode.gpus_per_replica, isl + osl / 2, clients)
    prefill_s = _prefill_s(prefill, prefill.gpus_per_replica, isl)
    return {"ttft_ms": (decode_s + prefill_s) * 1e3, "tpot_ms": decode_s * 1e3}


def _decode_s(deployment: Deployment, gpus: int, context: float, clients: float) -> float:
    device = deployment.accelerator
    cached = clients * context * _kv_elements(deployment) * deployment.kv_cache_dtype.bytes
    weights = parameters(deployment.model) * deployment.weights_dtype.bytes
    flops = 2 * active_parameters(deployment.model) * clients
    return max(
        (weights + cached) / gpus / device.bw_bytes_per_s,
        flops / gpus / device.peak_flops(deployment.weights_dtype),
    )


def _prefill_s(deployment: Deployment, gpus: int, tokens: int) -> float:
    flops = 2 * active_parameters(deployment.model) * tokens
    return flops / gpus / deployment.accelerator.peak_flops(deployment.weights_dtype)


def _kv_elements(deployment: Deployment) -> int:
    elements = 0
    for group in deployment.model.layers:
        match group.mixer:
            case Attention() as mixer:
                width = mixer.kv_heads * (mixer.head_dim + mixer.value_dim)
            case LatentAttention() as mixer:
                width = mixer.latent_dim
            case _:
                width = 0
        elements += group.count * width
    return elements

"""The textbook estimate that any forecast must beat: peaks of the data sheet, nothing else."""

from __future__ import annotations

from servecast.primitives.deployment import Deployment
from servecast.primitives.model import Attention, LatentAttention
from servecast.primitives.weights import active_parameters, parameters


def naive_ms(deployment: Deployment, isl: int, osl: int, clients: int) -> dict[str, float]:
    """TTFT and TPOT in ms: weights and KV over bandwidth, FLOPs over peak, no overhead, no queue.

    All weights are read in each step, mixture of experts or not.
    """
    device, tp = deployment.accelerator, deployment.tensor_parallel_size
    active = active_parameters(deployment.model)
    cached = clients * (isl + osl / 2) * _kv_elements(deployment)
    weights = parameters(deployment.model) * deployment.weights_dtype.bytes
    flops = device.peak_flops(deployment.weights_dtype) * tp
    decode_s = max(
        (weights + cached * deployment.kv_cache_dtype.bytes) / tp / device.bw_bytes_per_s,
        2 * active * clients / flops,
    )
    prefill_s = 2 * active * isl / flops
    return {
        "ttft_ms": (decode_s + prefill_s) * 1e3,
        "tpot_ms": (decode_s + prefill_s * clients / osl) * 1e3,
    }


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

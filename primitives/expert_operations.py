"""The routed experts of a layer: tokens of all data-parallel ranks, brought to them and back."""

from __future__ import annotations

from collections.abc import Iterator

from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange
from servecast.primitives.model import MoeFfn
from servecast.primitives.operations import (
    ACTIVATION_BYTES,
    AllReduce,
    MoeExperts,
    Operation,
    Quantity,
)
from servecast.primitives.sharding import Sharding

OF_ALL_RANKS = (MoeExperts, Collective, ExpertExchange)
"""What data-parallel ranks compute together; they wait for each other there."""


def expert_operations(
    deployment: Deployment, sharding: Sharding, ffn: MoeFfn, tokens: Quantity
) -> Iterator[Operation]:
    """What one layer's experts take on the fullest rank, `tokens` being those of each data rank.

    Attention stands before and after with each data rank's own tokens, or each tensor rank's share
    of them where experts are dealt out over both kinds of ranks. What TensorRT-LLM exchanges by is
    not known here: priced as an all-reduce, 59 published rows of it on B200 are met better (median
    TPOT error 6.4 % by the roofline, 9.3 % by tables) than as vLLM's (7.4, 10.2).
    """
    local = sharding.local_ffn(ffn)
    if not isinstance(local, MoeFfn):
        return
    hidden = deployment.model.hidden
    uneven = deployment.expert_imbalance if local.experts < ffn.experts else 1.0
    exchanged = sharding.exchange_ranks > 1
    if exchanged and deployment.engine != "trtllm":
        yield _exchange(deployment, sharding, ffn, tokens, back=False)
    yield MoeExperts(
        tokens=tokens * sharding.data_parallel_size * uneven,
        experts=ffn.experts,
        local_experts=local.experts,
        experts_per_token=ffn.experts_per_token,
        hidden=ffn.latent_width or hidden,
        width=local.width,
        matrices=3 if ffn.gated else 2,
        dtype=deployment.weights_dtype,
        multiplied_in=Dtype.FP8 if deployment.experts_kernel == "mxfp8" else None,
    )
    if exchanged and deployment.engine != "trtllm":
        yield _exchange(deployment, sharding, ffn, tokens, back=True)
    elif exchanged:
        data = sharding.data_parallel_size
        yield AllReduce(tokens * data * hidden * ACTIVATION_BYTES, data)


def _exchange(
    deployment: Deployment, sharding: Sharding, ffn: MoeFfn, tokens: Quantity, *, back: bool
) -> Operation:
    """Every token to every rank, and its sums back; or with DeepEP only where it is needed."""
    ranks, hidden = sharding.exchange_ranks, deployment.model.hidden
    nodes = sharding.exchange_nodes(deployment.accelerator.link.domain)
    backend = deployment.all2all_backend
    if backend == "allgather_reducescatter" or not sharding.enable_expert_parallel:
        payload = tokens * sharding.data_parallel_size * hidden * ACTIVATION_BYTES
        return Collective("reduce_scatter" if back else "all_gather", payload, ranks, nodes)
    return ExpertExchange(
        "moe_combine" if back else "moe_dispatch",
        "low_latency" if backend == "deepep_low_latency" else "high_throughput",
        tokens * sharding.data_parallel_size / ranks,
        hidden,
        ffn.experts_per_token,
        ranks,
        nodes,
    )

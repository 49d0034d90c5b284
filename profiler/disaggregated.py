"""Forecasts of disaggregated points: both pools from a row's labels, and requests through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from servecast.errors import UnsupportedError
from servecast.primitives.batch import Batch, Group, StepTime
from servecast.primitives.kv_payload import kv_payload
from servecast.primitives.kv_transfer import whole_s
from servecast.primitives.network import Adapters, Network
from servecast.primitives.step_cost import CompiledStepCost, StepOrigin
from servecast.profiler.benchmark_client import SHORTEST, benchmark_workload
from servecast.profiler.decode_worker import DecodePool
from servecast.profiler.engine_memory import kv_blocks
from servecast.profiler.point_costs import PointCosts
from servecast.profiler.point_deployment import Served, clients_of, replica_of
from servecast.profiler.pool_flow import PoolFlow
from servecast.profiler.pool_labels import ROLES, PoolLabels, Role
from servecast.profiler.pool_recipes import (
    EXCHANGE,
    HANDOVER_S,
    WHOLE_PROMPTS,
    largest_batch,
    prompt_tokens,
    relabelled,
    started,
)
from servecast.profiler.prefill_worker import PrefillPool
from servecast.profiler.silicon_points import SiliconPoint
from servecast.traces.workload import Workload


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """Means over all requests of a row's benchmark."""

    ttft_s: float
    tpot_s: float
    e2e_s: float
    gpus: int
    """Of both pools."""
    origin: StepOrigin
    """Of a decode step with a rank's share of the clients."""
    repair: str
    """What was wrong with the labels, or nothing."""


def forecast_pools(point: SiliconPoint, costs: PointCosts) -> PoolForecast:
    """The benchmark of a disaggregated row, run through both pools.

    UnsupportedError where a pool is not stated, InfeasibleError where no request fits its memory.
    """
    clients = clients_of(point)
    prefill, decode = pools_of(point)
    cost = costs.of(decode.deployment, decode.launch)
    workload = benchmark_workload(clients, point.isl, point.osl, exact=point.is_own_sweep)
    context = round(float(workload.prompt_tokens.mean() + workload.output_tokens.mean() / 2))
    flow = PoolFlow(
        workload,
        clients,
        _prefill_pool(point, prefill, costs),
        _decode_pool(point, decode, cost, context),
        round((HANDOVER_S + _transfer_s(point, prefill, decode, workload)) * 1e9),
    )
    ttft_ns, decoding_ns = flow.run()
    ttft_s, decoding_s = float(ttft_ns.mean()) / 1e9, float(decoding_ns.mean()) / 1e9
    steps = (workload.output_tokens - 1).clip(1)
    return PoolForecast(
        ttft_s=ttft_s,
        tpot_s=float((decoding_ns / steps).mean()) / 1e9,
        e2e_s=ttft_s + decoding_s,
        gpus=gpus_of(point),
        origin=cost.origin(_decodes(_share(point, decode), context)),
        repair=_repair(point),
    )


def pools_of(point: SiliconPoint) -> tuple[Served, Served]:
    """A replica of either pool; UnsupportedError where the row does not state both."""
    return _replica(point, "prefill"), _replica(point, "decode")


def gpus_of(point: SiliconPoint) -> int:
    """GPUs of both pools together."""
    return sum(_labels(point, r).num_workers * _replica(point, r).cut.gpus for r in ROLES)


def _labels(point: SiliconPoint, role: Role) -> PoolLabels:
    labels = point.prefill if role == "prefill" else point.decode
    if labels is None:
        raise UnsupportedError(
            f"a disaggregated row without {role}_num_workers does not state its pools",
            hint="docs/predict.md lists the columns of a pool",
        )
    return relabelled(point, labels, role)


def _repair(point: SiliconPoint) -> str:
    mended = [
        f"{role}_tp_size {labels.tp_size} is attention data parallelism in vLLM's recipes"
        for role, labels in zip(ROLES, (point.prefill, point.decode), strict=True)
        if labels is not None and _labels(point, role) != labels
    ]
    return "; ".join(mended)


def _replica(point: SiliconPoint, role: Role) -> Served:
    """One worker, as a point of its own: its engine's limits are its recipe's."""
    labels = _labels(point, role)
    share = -(-clients_of(point) // labels.num_workers)
    names = ("tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    sizes = {name: getattr(labels, name) for name in names}
    alone = {"mode": "agg", "concurrency": share, "prefill": None, "decode": None}
    deployment, launch, cut = replica_of(point.model_copy(update=sizes | alone))
    launch = started(point, launch, role)
    ranks = cut.attention_data
    if role == "prefill":
        tokens = prompt_tokens(point, launch, ranks)
        prompts = tokens // max(1, int(point.isl * SHORTEST)) + 2
        limits = replace(deployment, max_num_batched_tokens=tokens, max_num_seqs=prompts)
        return Served(limits, launch, cut)
    own = cut.clients_a_rank(share)
    seqs = min(own, largest_batch(point, labels, own) or own)
    limits = replace(deployment, max_num_seqs=seqs, max_num_batched_tokens=seqs)
    return Served(replace(limits, all2all_backend=EXCHANGE) if ranks > 1 else limits, launch, cut)


def _prefill_pool(point: SiliconPoint, served: Served, costs: PointCosts) -> PrefillPool:
    deployment, launch, cut = served
    if cut.attention_data > 1:
        wave = costs.wave(deployment, launch)

        def step_ns(batches: Sequence[Batch]) -> int:
            return _total_ns(wave.step(batches))
    else:
        cost = costs.of(deployment, launch)

        def step_ns(batches: Sequence[Batch]) -> int:
            return _total_ns(cost.step(batches[0]))

    return PrefillPool(
        workers=_labels(point, "prefill").num_workers,
        ranks=cut.attention_data,
        tokens=deployment.max_num_batched_tokens,
        is_whole=point.engine in WHOLE_PROMPTS,
        step_ns=step_ns,
    )


def _decode_pool(
    point: SiliconPoint, served: Served, cost: CompiledStepCost, context: int
) -> DecodePool:
    deployment, launch, cut = served
    ranks, request = cut.attention_data, point.isl + point.osl
    held = -(-request // deployment.block_size)
    fitting = kv_blocks(deployment, launch, request) // held

    @cache
    def step_ns(requests: int) -> int:
        return _total_ns(cost.step(_decodes(-(-requests // ranks), context)))

    places = min(deployment.max_num_seqs, fitting) * ranks
    return DecodePool(_labels(point, "decode").num_workers, places, step_ns)


def _transfer_s(point: SiliconPoint, prefill: Served, decode: Served, workload: Workload) -> float:
    """Seconds that a KV cache of mean length is on its way, over the link where it joins them."""
    payload = kv_payload(
        prefill.deployment, decode.deployment, round(float(workload.prompt_tokens.mean()))
    )
    device = decode.deployment.accelerator
    is_joined = gpus_of(point) <= device.link.domain
    adapters = Adapters.scale_up(device) if is_joined else Adapters.network(device)
    return whole_s(payload, Network(adapters, adapters))


def _share(point: SiliconPoint, decode: Served) -> int:
    clients = -(-clients_of(point) // _labels(point, "decode").num_workers)
    return min(decode.cut.clients_a_rank(clients), decode.deployment.max_num_seqs)


def _decodes(sequences: int, context: int) -> Batch:
    return Batch((Group(1, sequences, sequences * context, 0, True),))


def _total_ns(time: StepTime) -> int:
    return time.device_ns + time.host_ns

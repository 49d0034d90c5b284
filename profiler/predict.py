"""Forecasts for points of the silicon sample: its benchmark client, simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from servecast.errors import ServecastError, UnsupportedError
from servecast.primitives import catalogue
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.batch import Batch, Group
from servecast.primitives.coefficients import Coefficients, CostKind, shipped
from servecast.primitives.corrected_source import corrected, kind_of
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory_priors import has_experts
from servecast.primitives.model import ModelSpec
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.step_costs import StepCosts
from servecast.profiler.bands import family_of, tpot_band, ttft_band
from servecast.profiler.benchmark_client import benchmark_workload
from servecast.profiler.drafting_cost import DraftingStepCost
from servecast.profiler.engine_memory import kv_blocks
from servecast.profiler.label_repairs import NODE, Layout, layout
from servecast.profiler.launch import Launch
from servecast.profiler.launch_facts import launch_of
from servecast.profiler.silicon_points import SiliconPoint
from servecast.simulator.result import Result
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.simulate import replay
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from servecast.simulator.vllm_scheduler import VllmScheduler

SLACK_TOKENS = 256
"""Scripts set the model length a little above prompt and output."""
VLLM_VERSION = "0.18"
"""Where a row names none: the commonest of the sample's."""

SourceOf = Callable[[Deployment], CostSource]
CoefficientsOf = Callable[[CostKind], Coefficients]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is forecast for one point, or why nothing is. Times in ms, means over requests."""

    point_id: str
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    out_tok_s_per_gpu: float | None = None
    status: str = "ok"
    reason: str = ""
    """Of a refusal; of an answer, what was mended or assumed."""
    provenance: str = ""
    relative_error: float | None = None
    """Half-width of the band around a step's device time: what its costs claim themselves."""
    ttft_low_ms: float | None = None
    """These four hold 90 % of measurements like it; `bands` says how that is known."""
    ttft_high_ms: float | None = None
    tpot_low_ms: float | None = None
    tpot_high_ms: float | None = None

    def band(self, metric: str) -> tuple[float, float] | None:
        """Lower and upper end for `ttft_ms` or `tpot_ms`; None where there is no band."""
        ends = {
            "ttft_ms": (self.ttft_low_ms, self.ttft_high_ms),
            "tpot_ms": (self.tpot_low_ms, self.tpot_high_ms),
        }
        low, high = ends.get(metric, (None, None))
        return None if low is None or high is None else (low, high)


class Predictor:
    """Forecasts points one after the other; compiled step costs are kept for points alike."""

    def __init__(
        self, source_of: SourceOf | None = None, coefficients_of: CoefficientsOf = shipped
    ) -> None:
        """`source_of` gives the costs of a deployment; the roofline where it is left out."""
        roofline = RooflineSource()
        self._source_of: SourceOf = source_of or (lambda _: roofline)
        self._coefficients_of = coefficients_of
        self._costs: dict[tuple[CostSource, HostTime], StepCosts] = {}

    def predict(self, points: Sequence[SiliconPoint]) -> Iterator[Prediction]:
        """One prediction a point, in order; a point that cannot be forecast says why."""
        for point in points:
            with suppress(ServecastError):
                deployment, launch, _ = deployment_of(point)
                self._step_costs(deployment, launch).make_room([_verifying(deployment, launch)])
        for point in points:
            try:
                yield self._predicted(point)
            except ServecastError as error:
                reason = " ".join(error.message.split())
                yield Prediction(point.point_id, status="refused", reason=reason)

    def _predicted(self, point: SiliconPoint) -> Prediction:
        deployment, launch, cut = deployment_of(point)
        compiled = self._step_costs(deployment, launch).of(_verifying(deployment, launch))
        drafts = launch.draft_tokens
        cost = DraftingStepCost(compiled, drafts) if drafts else compiled
        workload = benchmark_workload(
            cut.clients_a_rank(_clients(point)), point.isl, point.osl,
            exact=point.is_own_sweep, each=launch.prompts_per_client,
        )  # fmt: skip
        limits = SchedulerLimits(
            max_num_seqs=deployment.max_num_seqs,
            max_num_batched_tokens=deployment.max_num_batched_tokens,
            max_model_len=deployment.max_model_len,
            num_blocks=kv_blocks(deployment, launch, point.isl + point.osl),
        )
        result = replay(
            deployment, workload, limits, cost,
            policy=_policy(point, launch), schedules_ahead=launch.schedules_ahead,
        )  # fmt: skip
        return _prediction(point, result, compiled, cut)

    def _step_costs(self, deployment: Deployment, launch: Launch) -> StepCosts:
        """The compiled costs of all points that share a source and the engine's host time."""
        source = self._source_of(deployment)
        fitted = self._coefficients_of(kind_of(source))
        step_s = fitted.step_s(deployment.engine, is_asynchronous=launch.schedules_ahead)
        host = replace(launch.host, step_s=step_s, sequence_s=fitted.sequence_s)
        key = (source, host)
        if key not in self._costs:
            self._costs[key] = StepCosts(corrected(source, fitted), host=host)
        return self._costs[key]


def deployment_of(point: SiliconPoint) -> tuple[Deployment, Launch, Layout]:
    """What a point's labels mean, blanks filled in; UnsupportedError for what is not modelled."""
    if point.mode == "disagg":
        raise UnsupportedError("disaggregated serving is not simulated yet")
    if point.pp_size > 1:
        raise UnsupportedError("pipeline parallelism is not simulated yet")
    model = catalogue.model(point.model)
    gpu = catalogue.accelerator(point.gpu)
    cut = layout(point, has_experts=has_experts(model))
    if cut.gpus > NODE:
        raise UnsupportedError(
            f"{cut.gpus} GPUs are more than the {NODE} of a node: launch scripts span nodes with "
            "disaggregated servers alone, whatever the label says"
        )
    launch = launch_of(point, model, gpu.name)
    deployment = _deployment(point, model, gpu, cut, launch)
    return deployment, launch, cut


def _deployment(
    point: SiliconPoint, model: ModelSpec, gpu: Accelerator, cut: Layout, launch: Launch
) -> Deployment:
    seqs = launch.max_num_seqs or cut.clients_a_rank(_clients(point))
    version = point.engine_version or VLLM_VERSION
    return Deployment(
        model=model,
        accelerator=gpu,
        engine=point.engine,
        engine_version=version if version[:1].isdecimal() else VLLM_VERSION,
        weights_dtype=weights_dtype(point, model),
        kv_cache_dtype=launch.kv_cache_dtype,
        max_model_len=point.isl + point.osl + SLACK_TOKENS,
        max_num_seqs=min(seqs, launch.max_num_batched_tokens),
        max_num_batched_tokens=launch.max_num_batched_tokens,
        tensor_parallel_size=cut.tensor,
        data_parallel_size=cut.attention_data,
        experts_kernel=launch.experts_kernel,
        enable_expert_parallel=cut.moe_expert > 1,
        gpu_memory_utilization=launch.memory_share,
    )


def weights_dtype(point: SiliconPoint, model: ModelSpec) -> Dtype:
    """The format of the large matrices: a blank is bf16, whatever the catalogue says.

    Models published in mxfp4 alone (gpt-oss) were served in it whatever the label.
    """
    if model.weights_dtype is Dtype.MXFP4:
        return Dtype.MXFP4
    if point.precision is None:
        return Dtype.BF16
    return Dtype.NVFP4 if point.precision == "fp4" else Dtype(point.precision)


def _clients(point: SiliconPoint) -> int:
    if point.clients is None:
        raise UnsupportedError("neither concurrency nor batch_size is given")
    return point.clients


def _verifying(deployment: Deployment, launch: Launch) -> Deployment:
    """The deployment with room for drafts in its steps, which its token budget does not count."""
    drafted = launch.draft_tokens * deployment.max_num_seqs
    budget = deployment.max_num_batched_tokens + drafted
    return replace(deployment, max_num_batched_tokens=budget)


def _policy(point: SiliconPoint, launch: Launch) -> Callable[[SchedulerLimits], Scheduler]:
    if point.engine == "trtllm":
        return partial(TrtllmScheduler, batch_wait=launch.batch_wait)
    if point.engine == "sglang":
        interval = launch.recv_interval(_clients(point))
        return partial(SglangOverlapScheduler, recv_interval=interval)
    return VllmScheduler


def _prediction(
    point: SiliconPoint, result: Result, cost: CompiledStepCost, cut: Layout
) -> Prediction:
    """Means over all requests; throughput by Little's law on nominal lengths, as the sample's."""
    records, clients = result.records, _clients(point)
    tpot_ms = result.tpot.mean * 1e3
    ttft_ms = float(records.ttft_ns.mean()) / 1e6
    busy_s = (ttft_ms + (point.osl - 1) * tpot_ms) / 1e3
    origin = cost.origin(_typical(result))
    provenance = max(origin.shares, key=lambda each: origin.shares[each])
    family = family_of(point, provenance)
    ttft_low_ms, ttft_high_ms = ttft_band(family).around(ttft_ms)
    tpot_low_ms, tpot_high_ms = tpot_band(family).around(tpot_ms)
    return Prediction(
        point_id=point.point_id,
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        e2e_ms=float(records.e2e_ns.mean()) / 1e6,
        out_tok_s_per_gpu=clients * point.osl / busy_s / cut.gpus,
        reason=cut.repair,
        provenance=provenance,
        relative_error=origin.relative_error,
        ttft_low_ms=ttft_low_ms,
        ttft_high_ms=ttft_high_ms,
        tpot_low_ms=tpot_low_ms,
        tpot_high_ms=tpot_high_ms,
    )


def _typical(result: Result) -> Batch:
    """A decode step with every running request at its mean length."""
    records, deployment = result.records, result.deployment
    context = int(records.prompt_tokens.mean() + records.output_tokens.mean() / 2)
    sequences = min(len(records), deployment.max_num_seqs)
    return Batch((Group(1, sequences, sequences * context, 0, True),))

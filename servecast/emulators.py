"""The engines that can be emulated: one call for each, from a deployment to what its run said."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from servecast.errors import UnsupportedError
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.pipeline import stage_costs
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.policies import require_room
from servecast.simulator.replica_plan import plain_blocks
from servecast.simulator.unmodelled import refuse_unmodelled
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.emulate import Emulation, emulate
from servecast.timewarp.http_emulate import emulate_server
from servecast.timewarp.installation import INSTALLATIONS, require
from servecast.timewarp.meta_model_config import meta_model_config
from servecast.timewarp.mode import Front, Mode
from servecast.timewarp.sglang_options import server_words
from servecast.timewarp.sglang_run import emulate_sglang
from servecast.timewarp.transformers_models import hollow_model
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_run import emulate_transformers
from servecast.traces.workload import Workload


class Emulator(Protocol):
    """Runs an engine's own control loop, started as this deployment would be.

    Raises InfeasibleError where the model does not fit, InputError where no request fits or the
    engine refuses its options, UnsupportedError for what is not emulated, and ServecastError where
    the engine fails.
    """

    def __call__(
        self,
        deployment: Deployment,
        workload: Workload,
        source: CostSource,
        host: HostTime,
        mode: Mode,
    ) -> Emulation:
        """What the run said; steps cost what `source` and `host` say."""
        ...


def _vllm(
    deployment: Deployment, workload: Workload, source: CostSource, host: HostTime, mode: Mode
) -> Emulation:
    def stages() -> list[StepCost]:
        target, *later_stages = stage_costs(deployment, source, host)
        return [with_drafts(deployment, target, source), *later_stages]

    return started_vllm(deployment, workload, stages, mode)


def started_vllm(
    deployment: Deployment,
    workload: Workload,
    stages: Callable[[], Sequence[StepCost]],
    mode: Mode,
) -> Emulation:
    """vLLM, or its server, where the deployment fits; `stages` are then priced, the first one with
    its drafts. Raises as `Emulator` does."""
    _refuse_host_tier(deployment)
    _refuse_data_ranks(deployment)
    plain = replace(deployment, enable_prefix_caching=False, speculation=None)
    refuse_unmodelled(replace(plain, pipeline_parallel_size=1))
    memory = ledger(deployment)
    _refuse_stand_in(deployment, memory)
    memory.require_fit()
    options = words(arguments(deployment, _vllm_blocks(deployment, memory, workload)))
    cost, *later_stages = stages()
    if mode.front is Front.NONE:
        return emulate(deployment, workload, options, cost, mode, later_stages=later_stages)
    return emulate_server(deployment, workload, options, cost, mode)


def _refuse_host_tier(deployment: Deployment) -> None:
    """UnsupportedError for KV blocks in host memory, which no virtual device moves."""
    if deployment.kv_offloading_size is not None:
        raise UnsupportedError(
            "kv_offloading_size is not emulated yet",
            hint="leave it out, or run `servecast simulate`",
        )


def _refuse_data_ranks(deployment: Deployment) -> None:
    """UnsupportedError for ranks that step together, each in a process of its own."""
    if deployment.data_parallel_size > 1:
        raise UnsupportedError(
            f"data_parallel_size {deployment.data_parallel_size} is not emulated yet",
            hint="set it to 1, or run `servecast simulate`",
        )


def _refuse_stand_in(deployment: Deployment, memory: Ledger) -> None:
    """UnsupportedError where plain attention would stand for a hybrid in a prefix cache."""
    is_known = meta_model_config(deployment.model, deployment.max_model_len) is not None
    if deployment.enable_prefix_caching and not is_known and not memory.geometry.is_uniform:
        raise UnsupportedError(
            f"prefix caching of {deployment.model.name} is not emulated without its config.json",
            hint="name the model by the folder of its config.json, or simulate it",
        )


def _vllm_blocks(deployment: Deployment, memory: Ledger, workload: Workload) -> int:
    """The ledger's own blocks, or those of the plain cache that is as good where one stands in.

    vLLM keeps one of them for itself.
    """
    if meta_model_config(deployment.model, deployment.max_model_len) is not None:
        return memory.num_gpu_blocks
    return plain_blocks(deployment, memory, workload) + 1


def _sglang(
    deployment: Deployment, workload: Workload, source: CostSource, host: HostTime, mode: Mode
) -> Emulation:
    release = _require_alone(deployment, mode)
    widest = max(deployment.max_num_batched_tokens, deployment.max_num_seqs)
    target = CompiledStepCost(replace(deployment, max_num_batched_tokens=widest), source, host)
    cost = with_drafts(deployment, target, source)
    options = server_words(deployment, deployment.num_gpu_blocks_override or 0)
    run = emulate_sglang(deployment, workload, options, cost, mode)
    return Emulation(
        run.result,
        release,
        mode.flow,
        stepping=run.stepping,
        steps=run.steps,
        cpu_s=run.cpu_s,
        startup_cpu_s=run.startup_cpu_s,
        batches=[run.batches] if mode.log_batches else [],
    )


def _transformers(
    deployment: Deployment, workload: Workload, source: CostSource, host: HostTime, mode: Mode
) -> Emulation:
    release = _require_alone(deployment, mode)
    require_room(deployment, workload)
    cost = CompiledStepCost(deployment, source, host)
    options = TransformersOptions.of(deployment, deployment.num_gpu_blocks_override or 0)
    begun_s = time.process_time()
    hollow_model()  # imports what the run takes
    started_s = time.process_time()
    clock = VirtualClock(scale=mode.flow)
    run = emulate_transformers(options, workload, cost, model=deployment.model, clock=clock)
    ended_s = time.process_time()
    batches = BatchLog(0)
    batches.batches += run.batches() if mode.log_batches else []
    return Emulation(
        run.result(deployment, cost),
        release,
        mode.flow,
        stepping=True,
        steps=len(run.steps),
        cpu_s=ended_s - started_s,
        startup_cpu_s=started_s - begun_s,
        batches=[batches] if mode.log_batches else [],
    )


EMULATORS: Mapping[str, Emulator] = MappingProxyType(
    {"vllm": _vllm, "sglang": _sglang, "transformers": _transformers}
)
"""By the engine's name in a scenario."""


def _require_alone(deployment: Deployment, mode: Mode) -> str:
    """The installed release; UnsupportedError for what vLLM alone is emulated with."""
    title = INSTALLATIONS[deployment.engine].title
    if deployment.replicas > 1:
        raise UnsupportedError(
            f"{deployment.replicas} replicas of {title} are not emulated yet",
            hint="set replicas to 1, and the rate to what one of them gets",
        )
    if deployment.drafting is not None and deployment.engine != "sglang":
        raise UnsupportedError(
            f"speculative decoding of {title} is not emulated yet",
            hint="leave the speculation out",
        )
    return require(deployment.engine)

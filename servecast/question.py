"""A scenario as the question that the search answers."""

from __future__ import annotations

from dataclasses import replace

from servecast.checks import spec, weights_dtype
from servecast.domain import deployment, require_one_pool, workload
from servecast.engine_names import TITLES
from servecast.errors import InputError, UnsupportedError
from servecast.primitives import catalogue
from servecast.primitives.calibration import Calibration
from servecast.primitives.corrected_source import default_source
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger
from servecast.primitives.model import ModelSpec
from servecast.primitives.roofline import RELATIVE_ERROR
from servecast.primitives.speculation import Speculation
from servecast.scenario import Scenario
from servecast.search.engine_defaults import EngineDefaults, defaults
from servecast.search.recommend import Question
from servecast.search.serve_command import ServeCommand, parse
from servecast.search.space import Choice, Space, refuse_unsearched


def space_of(scenario: Scenario) -> Space:
    """The scenario's open dimensions; with automatic replicas a choice is built for one replica."""
    choices = scenario.space()

    def build(choice: Choice) -> Deployment:
        return deployment(scenario, {**choice, "replicas": 1} if choices.auto_replicas else choice)

    return Space(dict(choices.open), build, scenario.hardware.gpus, choices.auto_replicas)


def question(
    scenario: Scenario,
    *,
    trials: int,
    current: str | None = None,
    calibration: Calibration | None = None,
) -> Question:
    """What `servecast recommend` asks of the search; `current` is the user's own start command.

    UnsupportedError for engines that are not searched, or that no files are written for.
    """
    require_one_pool(scenario)
    if scenario.engine.name != "sglang":
        require_vllm(scenario, "not searched yet, and no files are written to start one")
    elif current:
        require_vllm(scenario, "not read from a start command yet")
    space = space_of(scenario)
    command = parse(current) if current else None
    return Question(
        space=space,
        workload=workload(scenario),
        slos=scenario.slo,
        objectives=scenario.objective,
        source=default_source(calibration),
        relative_error=RELATIVE_ERROR,
        trials=trials,
        seed=scenario.seed,
        current=current_deployment(scenario, command) if command else None,
        current_omits=command.not_simulated(_defaults(scenario)) if command else (),
        calibration=calibration,
    )


def current_deployment(scenario: Scenario, command: ServeCommand) -> Deployment:
    """The deployment that a start command describes, on the scenario's hardware.

    As many replicas as the budget holds. What the command leaves out, the engine's defaults set.
    UnsupportedError, naming them, for options that change the schedule and are not modelled;
    InputError where the engine would not start so.
    """
    model, engine = _served_model(scenario, command), _defaults(scenario)
    max_model_len = command.max_model_len or model.max_model_len
    limits = engine.limits(
        max_model_len=max_model_len,
        max_num_seqs=command.max_num_seqs,
        max_num_batched_tokens=command.max_num_batched_tokens,
        enable_chunked_prefill=command.enable_chunked_prefill,
    )
    space = space_of(scenario)
    one = replace(
        space.build(next(iter(space.choices()))),
        model=model,
        weights_dtype=weights_dtype(model, command.weights_dtype),
        kv_cache_dtype=command.kv_cache_dtype or Dtype.BF16,
        max_model_len=max_model_len,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        replicas=1,
        tensor_parallel_size=command.tensor_parallel_size or 1,
        enable_expert_parallel=bool(command.enable_expert_parallel),
        block_size=command.block_size or engine.block_size,
        enable_prefix_caching=bool(command.enable_prefix_caching),
        async_scheduling=bool(command.async_scheduling),
        scheduling_policy=command.scheduling_policy or "fcfs",
        long_prefill_token_threshold=command.long_prefill_token_threshold,
        long_prefill_token_threshold_adaptive=command.long_prefill_token_threshold_adaptive,
        kv_offloading_size=command.kv_offloading_size,
        gpu_memory_utilization=command.gpu_memory_utilization or engine.gpu_memory_utilization,
        num_gpu_blocks_override=command.num_gpu_blocks_override,
        speculation=_drafts(scenario, command, model),
    )
    _require_start(one)
    return _with_replicas(one, scenario.hardware.gpus)


def _drafts(scenario: Scenario, command: ServeCommand, model: ModelSpec) -> Speculation | None:
    """The command's drafts on its model, with the acceptance that the scenario gives its method.

    InputError where it gives none.
    """
    stated = command.drafts
    if stated is None:
        return None
    options = scenario.deployment.drafts
    if options is None or options.method != stated.method:
        raise InputError(
            f"the command drafts by {stated.method}, and nothing says how much is accepted",
            hint=f"state deployment.speculation in the scenario, with method {stated.method}",
        )
    drafts = options.drafting(stated.num_speculative_tokens, stated.by_batch, stated.model)
    return drafts.value(model, weights_dtype(model, command.weights_dtype), scenario.seed)


def require_vllm(scenario: Scenario, undone: str) -> None:
    """UnsupportedError for another engine, whose deployments are `undone`."""
    engine = scenario.engine.name
    if engine != "vllm":
        raise UnsupportedError(
            f"deployments of {TITLES[engine]} are {undone}",
            hint="fix every choice and run `servecast simulate`, or set engine.name to `vllm`",
        )


def _require_start(one: Deployment) -> None:
    """InputError where the engine would not start by the command: so it is not what runs today."""
    refuse_unsearched(one)
    reason = ledger(one).shortfall()
    if reason is not None:
        raise InputError(
            f"the command would not start on {one.accelerator.name}: {reason}",
            hint="check hardware.gpu, and the command's tensor parallel size and model length",
        )


def _served_model(scenario: Scenario, command: ServeCommand) -> ModelSpec:
    """The command's model; refused where it is another, or set up as nothing can be simulated."""
    if command.unmodelled:
        raise UnsupportedError(
            f"the command sets what is not modelled yet: {', '.join(command.unmodelled)}",
            hint="leave it out of --current to compare with the rest of the command",
        )
    served, asked = catalogue.model(command.model), catalogue.model(scenario.model)
    if served.name != asked.name:
        raise InputError(
            f"the command serves `{command.model}`, the scenario `{scenario.model}`",
            hint="compare deployments of the same model",
        )
    return spec(scenario)


def _defaults(scenario: Scenario) -> EngineDefaults:
    device = catalogue.accelerator(scenario.hardware.gpu[0])
    return defaults("vllm", scenario.engine.version[0], device)


def _with_replicas(one: Deployment, gpus: int) -> Deployment:
    if one.gpus_per_replica > gpus:
        raise InputError(
            f"the command needs {one.gpus_per_replica} GPUs, the budget is {gpus}",
            hint=f"set hardware.gpus to {one.gpus_per_replica} or more",
        )
    return replace(one, replicas=gpus // one.gpus_per_replica)

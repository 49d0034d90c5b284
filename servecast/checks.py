"""Rules that join two sections of a scenario; each gives the faults it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from servecast.engine_limits import own_name
from servecast.errors import InputError
from servecast.faults import Fault
from servecast.fields import first
from servecast.options import VllmOptions
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.primitives.speculation import Speculation
from servecast.scenario import Scenario

Check = Callable[[Scenario], Iterator[Fault]]

_ONLINE = {Dtype.FP32, Dtype.BF16, Dtype.FP16}
"""Checkpoint formats that vLLM can quantise to fp8 while it loads (`--quantization fp8`)."""
_LOOKUP_AHEAD = "vLLM looks n-grams up under synchronous scheduling alone"
_LOOKUP_HINT = "set async_scheduling to false, or draft with a model"


def weights_dtype(model: ModelSpec, quantization: Dtype | None) -> Dtype:
    """The format in which the engine holds the weights; None keeps the checkpoint's.

    fp8 of an unquantised checkpoint is vLLM's online quantisation. Every other change of format
    needs another checkpoint and is refused.
    """
    if quantization is None or quantization == model.weights_dtype:
        return model.weights_dtype
    if quantization is Dtype.FP8 and model.weights_dtype in _ONLINE:
        return Dtype.FP8
    raise InputError(
        f"{quantization} weights of `{model.name}`, published in {model.weights_dtype}, need a "
        f"checkpoint in {quantization}",
        hint="give that checkpoint's config.json as `model`, or leave `quantization` out",
    )


def spec(scenario: Scenario) -> ModelSpec:
    """The architecture, under the name of the repository that the scenario states.

    The catalogue's own name is that of one checkpoint of several with equal dimensions.
    """
    from servecast.primitives.catalogue import model

    found = model(scenario.model)
    return found if Path(scenario.model).is_absolute() else replace(found, name=scenario.model)


def speculation(scenario: Scenario) -> Speculation | None:
    """The scenario's drafts, on its model in the first of the formats that it lists.

    Raises InputError and UnsupportedError as `SpeculationOptions.value` does, and InputError where
    vLLM refuses to look n-grams up.
    """
    options, drafts = scenario.deployment, scenario.deployment.drafts
    if drafts is None:
        return None
    looks_up = drafts.num_speculative_tokens[0] > 0 and drafts.method == "ngram"
    if looks_up and isinstance(options, VllmOptions) and options.async_scheduling[0]:
        raise InputError(_LOOKUP_AHEAD, hint=_LOOKUP_HINT)
    target = spec(scenario)
    served = weights_dtype(target, first(options.quantization))
    return drafts.value(target, served, scenario.seed)


def drafts_go_with_target(scenario: Scenario) -> Iterator[Fault]:
    """Drafts that do not go with the model, that no rank can hold, or that the engine refuses."""
    from servecast.primitives.sharding import Sharding, check

    options, path = scenario.deployment, ("deployment", "speculation")
    drafts = options.drafts
    if drafts is None:
        return
    target = spec(scenario)
    try:
        draft = drafts.draft(target, target.weights_dtype)
    except InputError as error:
        yield Fault(path, error.message, error.hint)
        return
    if isinstance(options, VllmOptions):
        if drafts.method == "ngram" and all(options.async_scheduling):
            yield Fault((*path, "method"), _LOOKUP_AHEAD, _LOOKUP_HINT)
    elif drafts.num_speculative_tokens_per_batch_size:
        name = "num_speculative_tokens_per_batch_size"
        yield Fault((*path, name), "is vLLM's alone", "leave it out")
    if draft is not None:
        reasons = [check(draft.model, Sharding(size)) for size in options.tensor_parallel_size]
        if all(reasons):
            yield Fault(path, f"the draft model: {reasons[0]}")


def quantization_has_checkpoint(scenario: Scenario) -> Iterator[Fault]:
    """Weights formats that the model's checkpoint cannot be served in."""
    for index, quantization in enumerate(scenario.deployment.quantization or ()):
        try:
            weights_dtype(spec(scenario), quantization)
        except InputError as error:
            yield Fault(("deployment", "quantization", index), error.message, error.hint)


def length_within_model(scenario: Scenario) -> Iterator[Fault]:
    """Model lengths beyond what the model was made for, which the engine refuses."""
    longest = spec(scenario).max_model_len
    name = own_name(scenario.engine.name, "max_model_len")
    for index, length in enumerate(getattr(scenario.deployment, name, None) or ()):
        if length > longest:
            yield Fault(
                ("deployment", name, index),
                f"`{length}` is longer than the model allows",
                f"{longest} or less",
            )


def some_replica_fits(scenario: Scenario) -> Iterator[Fault]:
    """Tensor parallel sizes of which the engine takes none, or none fits the budget of GPUs."""
    from servecast.primitives.sharding import Sharding, check

    options, budget = scenario.deployment, scenario.hardware.gpus
    model = spec(scenario)
    path = ("deployment", "tensor_parallel_size")
    experts: tuple[bool, ...] = (False,)
    stages: tuple[int, ...] = (1,)
    ranks: tuple[int, ...] = (1,)
    if isinstance(options, VllmOptions):
        experts, stages = options.enable_expert_parallel, options.pipeline_parallel_size
        ranks = options.data_parallel_size
    reasons = [
        check(model, Sharding(size, 1, data, enable_expert_parallel=expert))
        for size in options.tensor_parallel_size
        for data in ranks
        for expert in experts
    ]
    if all(reasons):
        yield Fault(path, str(reasons[0]))
    copies = 1 if options.replicas == "auto" else min(options.replicas)
    least = min(options.tensor_parallel_size) * min(stages) * min(ranks) * copies
    if least > budget:
        yield Fault(path, f"needs {least} GPUs, more than hardware.gpus {budget}")


def batch_holds_sequences(scenario: Scenario) -> Iterator[Fault]:
    """Token budgets below every number of sequences, with which vLLM does not start."""
    options = scenario.deployment
    if not isinstance(options, VllmOptions):
        return
    tokens, seqs = options.max_num_batched_tokens, options.max_num_seqs
    if tokens and seqs and max(tokens) < min(seqs):
        yield Fault(
            ("deployment", "max_num_batched_tokens"),
            f"`{max(tokens)}` is below max_num_seqs {min(seqs)}",
            f"{min(seqs)} or more",
        )


def adaptive_threshold_is_stated(scenario: Scenario) -> Iterator[Fault]:
    """A threshold that adapts where there is none: vLLM would pass it over."""
    options = scenario.deployment
    if not isinstance(options, VllmOptions) or options.long_prefill_token_threshold:
        return
    if any(options.long_prefill_token_threshold_adaptive):
        yield Fault(
            ("deployment", "long_prefill_token_threshold_adaptive"),
            "adapts no threshold",
            "state long_prefill_token_threshold too, or leave it out",
        )


def tier_is_stated(scenario: Scenario) -> Iterator[Fault]:
    """How fast host memory is reached, and what is loaded from it, where there is no tier there."""
    options = scenario.deployment
    if not isinstance(options, VllmOptions) or options.kv_offloading_size:
        return
    stated = {"host_gb_per_s": options.host_gb_per_s, "kv_loads": options.kv_loads != ("always",)}
    for name, is_stated in stated.items():
        if is_stated:
            yield Fault(
                ("deployment", name),
                "is about no memory",
                "state kv_offloading_size too, or leave it out",
            )


def price_known(scenario: Scenario) -> Iterator[Fault]:
    """Accelerators without a price where the objective is cost."""
    if not any(objective.name == "cost" for objective in scenario.objective):
        return
    for gpu in scenario.hardware.gpu:
        if price(scenario, gpu) is None:
            yield Fault(
                ("objective",),
                f"the cost of `{gpu}` is not known",
                "set hardware.usd_per_gpu_hour, or `objective: gpu_hours`",
            )


def price(scenario: Scenario, gpu: str) -> float | None:
    """USD per GPU and hour: the scenario's price, else the catalogue's, else None."""
    from servecast.primitives.catalogue import accelerator

    stated = scenario.hardware.usd_per_gpu_hour
    if isinstance(stated, dict):
        stated = stated.get(gpu)
    return accelerator(gpu).usd_per_hour if stated is None else stated


def power_known(scenario: Scenario) -> Iterator[Fault]:
    """Accelerators whose powers are not known where the objective is energy."""
    from servecast.primitives.catalogue import accelerator, accelerators
    from servecast.primitives.power import is_power_known

    if not any(objective.name == "energy" for objective in scenario.objective):
        return
    known = ", ".join(device.name for device in accelerators() if is_power_known(device))
    for gpu in scenario.hardware.gpu:
        if not is_power_known(accelerator(gpu)):
            yield Fault(
                ("objective",),
                f"what `{gpu}` draws is not known, and so no energy is",
                f"powers are known of {known}; or take `objective: gpu_hours`",
            )


def share_has_limits(scenario: Scenario) -> Iterator[Fault]:
    """Attainment or goodput without any limit that a request could meet or miss."""
    limited = {slo.request_class for slo in scenario.slo if slo.limits_requests}
    hint = "add one such as `ttft:p95 < 500ms`"
    for index, slo in enumerate(scenario.slo):
        is_limited = limited & {None, slo.request_class} if slo.request_class else limited
        if slo.metric in ("attainment", "goodput") and not is_limited:
            yield Fault(("slo", index), f"{slo.metric} needs an SLO of ttft, tpot or e2e", hint)
    for objective in scenario.objective:
        if objective.name == "goodput" and not limited:
            yield Fault(("objective",), "goodput needs an SLO of ttft, tpot or e2e", hint)


CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"model", "deployment"}), quantization_has_checkpoint),
    (frozenset({"model", "deployment"}), length_within_model),
    (frozenset({"model", "deployment"}), drafts_go_with_target),
    (frozenset({"model", "deployment", "hardware"}), some_replica_fits),
    (frozenset({"deployment"}), batch_holds_sequences),
    (frozenset({"deployment"}), adaptive_threshold_is_stated),
    (frozenset({"deployment"}), tier_is_stated),
    (frozenset({"hardware", "objective"}), price_known),
    (frozenset({"hardware", "objective"}), power_known),
    (frozenset({"slo", "objective"}), share_has_limits),
)
"""Each rule, with the sections that must be sound before it can be asked."""

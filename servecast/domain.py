"""A scenario as the values that the rungs take: a deployment and a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from math import prod
from types import MappingProxyType
from typing import Any

from servecast.checks import price, spec, speculation, weights_dtype
from servecast.choices import Choice, Value
from servecast.engine_limits import EngineLimits, Target
from servecast.errors import InfeasibleError, UnsupportedError
from servecast.fields import first
from servecast.primitives.deployment import Deployment, Routing
from servecast.primitives.routing_options import RoutingOptions
from servecast.scenario import Scenario
from servecast.traces.workload import Workload
from servecast.traffic import FIXED, MixedTraffic, SyntheticTraffic, TraceTraffic

_NOTHING_OPEN: Mapping[str, Value] = MappingProxyType({})


def deployment(scenario: Scenario, choice: Choice = _NOTHING_OPEN) -> Deployment:
    """The deployment at one point of the scenario's space; what is not stated, the engine sets.

    InputError where something is left open or refused by the engine; InfeasibleError beyond the
    budget; UnsupportedError for pools. `replicas: auto`: as many as fit, unless `choice` has it.
    """
    from servecast.primitives.catalogue import accelerator

    require_one_pool(scenario)
    fixed = scenario.at(choice)
    options, model, version = fixed.deployment, spec(fixed), fixed.engine.version[0]
    device = accelerator(fixed.hardware.gpu[0])
    weights = weights_dtype(model, first(options.quantization))
    limits = options.limits(Target(version, model, weights, device))
    return Deployment(
        model=model,
        accelerator=device,
        engine=fixed.engine.name,
        engine_version=version,
        weights_dtype=weights,
        replicas=_replicas(fixed, limits),
        tensor_parallel_size=options.tensor_parallel_size[0],
        routing=options.routing[0],
        routing_options=_routing_options(scenario, options.routing[0]),
        gateway=options.gateway.value() if options.gateway else None,
        usd_per_gpu_hour=price(fixed, device.name),
        speculation=speculation(fixed),
        **_of_engine(limits),
    )


def _of_engine(limits: EngineLimits) -> dict[str, Any]:
    """The fields of a deployment that its engine resolves: they have the same names."""
    return {field.name: getattr(limits, field.name) for field in fields(limits)}


def require_one_pool(scenario: Scenario) -> None:
    """UnsupportedError for replicas that differ or change: they are no single deployment."""
    if scenario.is_fleet:
        stated = ("pools", scenario.pools), ("changes", scenario.changes)
        which = next((name for name, section in stated if section), "transfer")
        raise UnsupportedError(
            f"a scenario with `{which}` is simulated only",
            hint=f"run `servecast simulate`, or take `{which}` out",
        )


def _routing_options(scenario: Scenario, routing: Routing) -> RoutingOptions:
    """Those of this router; InputError where one is stated that no router of the scenario reads."""
    from servecast.simulator.fleet.routers import read_by, require_read

    stated = scenario.deployment.routing_options.value(scenario.seed)
    require_read(scenario.deployment.routing, stated)
    return read_by(routing, stated)


def workload(scenario: Scenario) -> Workload:
    """The requests that arrive, drawn with the workload's seed or else the scenario's.

    InputError where an SLO is about a class that none of them names.
    """
    traffic = scenario.workload
    if isinstance(traffic, MixedTraffic):
        found = _mixed(traffic, scenario.seed)
    else:
        found = _arriving(traffic, scenario.seed)
    _require_classes(scenario, found)
    return found


def _mixed(traffic: MixedTraffic, seed: int) -> Workload:
    """Each part in its class, drawn by a seed of its own."""
    from servecast.traces.excerpts import mixed, of_class

    parts = enumerate(traffic.mix.items())
    return mixed([of_class(_arriving(part, seed + place), name) for place, (name, part) in parts])


def _arriving(traffic: TraceTraffic | SyntheticTraffic, seed: int) -> Workload:
    if isinstance(traffic, TraceTraffic):
        return _replayed(traffic)
    return _drawn(traffic, seed if traffic.seed is None else traffic.seed)


def _require_classes(scenario: Scenario, found: Workload) -> None:
    from servecast.traces.classes import NOBODY

    for slo in scenario.slo:
        if slo.request_class is not None:
            (found.classes or NOBODY).number(slo.request_class)


def _replicas(fixed: Scenario, limits: EngineLimits) -> int:
    options, budget = fixed.deployment, fixed.hardware.gpus
    sizes = {
        "tensor_parallel_size": options.tensor_parallel_size[0],
        "pipeline_parallel_size": limits.pipeline_parallel_size,
        "data_parallel_size": limits.data_parallel_size,
    }
    size = prod(sizes.values())
    replicas = max(1, budget // size) if options.replicas == "auto" else options.replicas[0]
    if replicas * size > budget:
        each = " x ".join(f"{name} {count}" for name, count in sizes.items() if count > 1)
        raise InfeasibleError(
            f"{replicas} x {each or 'one GPU'} takes {replicas * size} GPUs, and the "
            f"budget is {budget}",
            hint=f"raise hardware.gpus to {replicas * size}, or take fewer",
        )
    return replicas


def _replayed(traffic: TraceTraffic) -> Workload:
    from servecast.traces.readers import read
    from servecast.traces.reshape import closed_loop, head, rescale

    requests = read(traffic.trace)
    if traffic.requests is not None:
        requests = head(requests, traffic.requests)
    if traffic.rate is not None:
        requests = rescale(requests, traffic.rate)
    if traffic.concurrency is not None:
        requests = closed_loop(requests, traffic.concurrency, _think_ns(traffic.think))
    return requests


def _drawn(traffic: SyntheticTraffic, seed: int) -> Workload:
    from servecast.traces.arrivals import Constant, Gamma, Poisson
    from servecast.traces.lengths import FixedLengths
    from servecast.traces.presets import TrafficShape, preset
    from servecast.traces.synthesize import synthesize

    if traffic.input_tokens is not None and traffic.output_tokens is not None:
        lengths = FixedLengths(traffic.input_tokens, traffic.output_tokens)
        shape = TrafficShape(FIXED, arrivals=Poisson(), lengths=lengths)
    else:
        shape = preset(traffic.synthetic)
    cv = traffic.burstiness**-0.5 if traffic.burstiness is not None else traffic.cv
    if cv is not None:
        shape = replace(shape, arrivals=Gamma(cv) if cv else Constant())
    return synthesize(
        shape,
        traffic.requests,
        rate_per_s=traffic.rate,
        concurrency=traffic.concurrency,
        think_ns=_think_ns(traffic.think),
        seed=seed,
    )


def _think_ns(think_s: float | None) -> int:
    return round((think_s or 0.0) * 1e9)

"""The scenario: one YAML file that says what is served, on what, how, to whom and how well."""

from __future__ import annotations

from typing import Annotated

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
)

from servecast.changes import AnyChange
from servecast.choices import Choice, Choices, Value
from servecast.engine_forms import AnyForm, options_absent, options_read
from servecast.faults import fault, shown, validating
from servecast.fields import Section
from servecast.model_names import ModelName
from servecast.plain import mapping, sequence
from servecast.pools import PoolSection
from servecast.sections import Engine, Hardware
from servecast.simulator.objective import Objective, parse_objective
from servecast.simulator.slo import Slo, parse_slo
from servecast.traffic import Traffic
from servecast.transfers import TransferSection


def _slo_line(value: object) -> Slo:
    if isinstance(value, Slo):
        return value
    if not isinstance(value, str):
        raise fault(f"{shown(value)} is not text", 'write it in quotes: "ttft:p95 < 500ms"')
    return validating(parse_slo)(value)


def _objective_line(value: object) -> Objective:
    if isinstance(value, Objective):
        return value
    if not isinstance(value, str):
        raise fault(
            f"{shown(value)} is not text", "write `objective: cost`, or a list of such names"
        )
    return validating(parse_objective)(value)


def _listed(value: object) -> object:
    return [value] if sequence(value) is None else value


def _slo_lines(value: object) -> object:
    """A list of lines; those under the name of a class are about its requests."""
    items, lines = sequence(value), list[object]()
    for item in [value] if items is None else items:
        classes = mapping(item)
        if classes is None:
            lines.append(item)
            continue
        for name, stated in classes.items():
            of_class = sequence(stated) or [stated]
            lines += [f"{name}: {line}" if isinstance(line, str) else line for line in of_class]
    return lines


def _named_once(objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    for index, objective in enumerate(objectives):
        if objective in objectives[:index]:
            raise fault(f"`{objective}` is listed twice")
    return objectives


SloLine = Annotated[
    Slo, PlainValidator(_slo_line, json_schema_input_type=str), PlainSerializer(str)
]
ObjectiveLine = Annotated[
    Objective, PlainValidator(_objective_line, json_schema_input_type=str), PlainSerializer(str)
]
AnyOptions = Annotated[AnyForm, BeforeValidator(options_read)]
_ONE_OR_MANY = BeforeValidator(_listed, json_schema_input_type=str | list[str])
_ByClass = dict[str, str | list[str]]
_LINES = BeforeValidator(_slo_lines, json_schema_input_type=str | _ByClass | list[str | _ByClass])


class Scenario(Section):
    """What is served, on what, how, to whom and under which objectives.

    A field holds one value; under `hardware.gpu`, `engine` and `deployment` a list or a range is a
    choice. Fixed, it can be simulated; with something open, searched.
    """

    model: ModelName
    hardware: Hardware
    engine: Engine
    deployment: AnyOptions = Field(default_factory=options_absent)
    """In the form of the engine."""
    pools: tuple[PoolSection, ...] = ()
    """Where replicas differ; absent: `deployment.replicas` that are alike."""
    changes: tuple[AnyChange, ...] = ()
    """What starts and stops replicas while they serve."""
    transfer: TransferSection | None = None
    """Between pools that prefill and pools that decode."""
    workload: Traffic
    slo: Annotated[tuple[SloLine, ...], _LINES] = ()
    """Of all requests, or under the name of a class of that one's."""
    objective: Annotated[
        tuple[ObjectiveLine, ...],
        Field(min_length=1),
        _ONE_OR_MANY,
        AfterValidator(_named_once),
    ] = (Objective("cost"),)
    name: Annotated[str, Field(max_length=100, pattern=r"^\w[\w.-]*$")] = "scenario"
    """What the folder of a run is called."""
    seed: Annotated[int, Field(strict=True, ge=0)] = 0

    def space(self) -> Choices:
        """The dimensions left open; `gpu` and `engine_version` stand for those two fields."""
        listed: dict[str, tuple[Value, ...]] = {
            "gpu": self.hardware.gpu,
            "engine_version": self.engine.version,
        }
        for name, values in self.deployment:
            if isinstance(values, tuple):
                listed[name] = values
        if self.deployment.drafts is not None:
            listed["num_speculative_tokens"] = self.deployment.drafts.num_speculative_tokens
        open_ = {name: values for name, values in listed.items() if len(values) > 1}
        return Choices(open_, self.deployment.replicas == "auto")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell beside an answer: where the scenario states no more than a baseline."""
        warning = self.deployment.drafts.warning if self.deployment.drafts is not None else None
        return () if warning is None else (warning,)

    @property
    def is_fleet(self) -> bool:
        """Whether replicas differ or change, so that no single deployment says what serves."""
        return bool(self.pools or self.changes or self.transfer)

    def at(self, choice: Choice) -> Scenario:
        """The scenario fixed at one point of its space; raises where `choice` is not one."""
        self.space().check(choice)
        one = {name: (value,) for name, value in choice.items()}
        hardware = self.hardware.model_copy(update={"gpu": one.pop("gpu", self.hardware.gpu)})
        version = one.pop("engine_version", self.engine.version)
        drafts = one.pop("num_speculative_tokens", None)
        changes: dict[str, object] = {**one}
        if drafts is not None and self.deployment.drafts is not None:
            fixed = self.deployment.drafts.model_copy(update={"num_speculative_tokens": drafts})
            changes["speculation"] = fixed
        return self.model_copy(
            update={
                "hardware": hardware,
                "engine": self.engine.model_copy(update={"version": version}),
                "deployment": self.deployment.model_copy(update=changes),
            }
        )

    def dump(self) -> str:
        """YAML text that reads back as an equal scenario, with every default written out."""
        values = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)

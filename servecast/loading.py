"""Loading a scenario: every fault of the file in one error, with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from os import PathLike
from pathlib import Path

from pydantic import ValidationError

from servecast.changes import (
    AutoscalerSection,
    OutageSection,
    RandomOutagesSection,
    RolloutSection,
)
from servecast.checks import CHECKS
from servecast.document import Document, read_document
from servecast.engine_forms import FORMS, engine_stated
from servecast.errors import InputError
from servecast.faults import Fault, Place, ScenarioError
from servecast.fleets import pool_values
from servecast.pools import PoolSection
from servecast.reading import Forms, faults_of, written
from servecast.scenario import Scenario
from servecast.sections import Engine, Hardware
from servecast.speculation import Decay, SpeculationOptions
from servecast.traffic import MixedTraffic, SyntheticTraffic, TraceTraffic
from servecast.transfers import TransferSection

_FORMS: Forms = {
    "": Scenario,
    "hardware": Hardware,
    "engine": Engine,
    "pools": PoolSection,
    "transfer": TransferSection,
    "changes.<autoscaler>": AutoscalerSection,
    "changes.<outage>": OutageSection,
    "changes.<random_outages>": RandomOutagesSection,
    "changes.<rollout>": RolloutSection,
    "deployment.speculation": SpeculationOptions,
    "deployment.speculation.acceptance.<decay>": Decay,
    "workload.<trace>": TraceTraffic,
    "workload.<synthetic>": SyntheticTraffic,
    "workload.<mix>": MixedTraffic,
}


def load(path: str | PathLike[str]) -> Scenario:
    """The scenario in a YAML file, named after the file where it names itself nothing.

    Raises `ScenarioError` with all faults at once; paths in it start at the file's folder.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InputError(
            f"scenario {file} cannot be read: {reason}", hint="`servecast init` writes one"
        ) from error
    return loads(text, folder=file.parent, name=file.name)


def loads(text: str, *, folder: Path | None = None, name: str = "scenario.yaml") -> Scenario:
    """The scenario in YAML text; messages call it `name`, and its paths start at `folder`."""
    document = read_document(text, name)
    values = {"name": _name_from(name), **document.values}
    folder = folder or Path.cwd()
    faults = list(document.faults)
    engine = engine_stated(values)
    context = {"folder": folder, "engine": engine}
    try:
        scenario: Scenario | None = Scenario.model_validate(values, context=context)
        broken: set[str] = set()
    except ValidationError as error:
        scenario = None
        found = faults_of(error, values, {**_FORMS, "deployment": FORMS[engine]}, engine)
        faults += found
        broken = {str(fault.path[0]) for fault in found if fault.path}
    faults += _joint_faults(scenario or _patched(values, broken, context), broken)
    if scenario is not None and not faults:
        faults += _pool_faults(scenario, context)
    if faults or scenario is None:
        raise ScenarioError(name, _placed(faults, document))
    return scenario


def builtin() -> Scenario:
    """The scenario that comes with servecast: runs offline, without a file of one's own."""
    text = files("servecast").joinpath("scenarios/builtin.yaml").read_text(encoding="utf-8")
    return loads(text, name="builtin.yaml")


def template() -> str:
    """The commented scenario that `servecast init` writes; it is itself valid."""
    return files("servecast").joinpath("scenarios/template.yaml").read_text(encoding="utf-8")


def _name_from(file_name: str) -> str:
    """A scenario's name from that of its file."""
    return re.sub(r"[^\w.-]+|^[.-]+", "-", Path(file_name).stem).strip("-.")[:100] or "scenario"


def _joint_faults(scenario: Scenario, broken: set[str]) -> Iterator[Fault]:
    for needed, check in CHECKS:
        if not needed & broken:
            yield from check(scenario)


def _pool_faults(scenario: Scenario, context: Mapping[str, object]) -> Iterator[Fault]:
    """What is wrong in a pool together with what it shares with the others."""
    for index, pool in enumerate(scenario.pools):
        values = pool_values(scenario, pool)
        engine = engine_stated(values)
        try:
            own = Scenario.model_validate(values, context={**context, "engine": engine})
            found: Iterable[Fault] = _joint_faults(own, set())
        except ValidationError as error:
            found = faults_of(error, values, {**_FORMS, "deployment": FORMS[engine]}, engine)
        for fault in found:
            yield replace(fault, path=("pools", index, *fault.path))


def _patched(
    values: Mapping[str, object], broken: set[str], context: Mapping[str, object]
) -> Scenario:
    """The scenario with its broken sections taken from the built-in one.

    So the rules between its sound sections can be asked while other sections are at fault. A
    broken `deployment` is left out: its form is the engine's own.
    """
    sound = {
        key: value
        for key, value in values.items()
        if key in Scenario.model_fields and key not in broken
    }
    spare = {key: value for key, value in builtin() if key != "deployment"}
    return Scenario.model_validate({**spare, **sound}, context=dict(context))


def _placed(faults: Iterable[Fault], document: Document) -> Iterator[Fault]:
    """The faults with their lines. What has no value in the document has one fault only."""
    seen: set[tuple[Place, int | None]] = set()
    for fault in faults:
        path = written(fault.path, document.values)
        line = fault.line or document.line(path)
        if not path or (path, line) not in seen:
            yield replace(fault, path=path, line=line)
        seen.add((path, line))

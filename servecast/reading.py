"""Pydantic's errors as faults: our own words, paths as the user wrote them, near misses."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from servecast.errors import nearest
from servecast.faults import Fault, Place, shown
from servecast.plain import mapping, sequence
from servecast.refusals import NEUTRAL, refusal

Forms = Mapping[str, type[BaseModel]]
"""The model of each section, by its path in an error (`workload.<trace>`), `""` for the whole."""

_NOT_ASKED = "default_factory_not_called"
"""Pydantic's word for a default that depends on a field at fault: no fault of its own."""
_CHOICES_ALLOWED = "choices are allowed for hardware.gpu and under engine and deployment"


def faults_of(
    error: ValidationError, values: Mapping[str, object], forms: Forms, engine: str
) -> list[Fault]:
    """A fault for each error that validating `values` gave; `engine` is whose options they are."""
    found = [each for each in error.errors(include_url=False) if each["type"] != _NOT_ASKED]
    return [_fault(details, values, forms, engine) for details in found]


def _fault(details: ErrorDetails, values: Mapping[str, object], forms: Forms, engine: str) -> Fault:
    path = written(details["loc"], values)
    if details["type"] == "extra_forbidden":
        return _unknown_field(details["loc"], path, forms, engine)
    if details["type"] == "missing":
        return Fault(path, "is missing")
    if _is_forbidden_choice(path, details["input"]):
        return Fault(path, f"{shown(details['input'])} is a choice", _CHOICES_ALLOWED)
    return _refused(path, details["input"], engine) or _in_our_words(path, details)


def _unknown_field(loc: Place, path: Place, forms: Forms, engine: str) -> Fault:
    key = str(loc[-1])
    path = path or (key,)
    for section, form in forms.items():
        if key in form.model_fields:
            return Fault(path, "unknown field here", f"it belongs {_plain(section)}")
    home = ".".join(part for part in loc[:-1] if isinstance(part, str))
    near = nearest(key, forms[home].model_fields if home in forms else ())
    refused = refusal(key, engine)
    if refused and near != key.replace("-", "_"):
        return Fault(path, *refused)
    return Fault(path, "unknown field", f"did you mean `{near}`?" if near else None)


def _plain(section: str) -> str:
    """Where a section is, as people say it: `workload.<trace>` is under `workload.trace`."""
    return f"under `{section.replace('<', '').replace('>', '')}`" if section else "at the top level"


def _refused(path: Place, value: object, engine: str) -> Fault | None:
    """The refusal by name of a feature that is not modelled, where the path is of one."""
    if path[:1] == ("deployment",) and len(path) > 1 and path[1] in NEUTRAL[engine]:
        feature, neutral = NEUTRAL[engine][str(path[1])]
        return Fault(path, f"{feature} is not modelled yet", f"write `{path[1]}: {neutral}`")
    if path[:2] == ("engine", "name") and isinstance(value, str):
        near = nearest(value, NEUTRAL) or "vllm"
        return Fault(path, f"engine {shown(value)} is not modelled yet", f"write `name: {near}`")
    return None


def _in_our_words(path: Place, details: ErrorDetails) -> Fault:
    context = details.get("ctx", {})
    if details["type"] == "servecast":
        return Fault(path, details["msg"], context.get("hint") or None)
    message = details["msg"].removeprefix("Input ").removeprefix("Value error, ")
    hint = None
    if "expected" in context and isinstance(details["input"], str):
        known = [
            word.strip(" '") for word in str(context["expected"]).replace(" or ", ",").split(",")
        ]
        near = nearest(details["input"], known)
        hint = f"did you mean `{near}`?" if near else None
    if details["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a mapping of fields"
    if details["type"] == "tuple_type":
        message = "should be a list"
    return Fault(path, f"{shown(details['input'])} {message}", hint)


def _is_forbidden_choice(path: Place, value: object) -> bool:
    if path[:1] in (("engine",), ("deployment",), ("slo",), ("objective",)):
        return False
    is_range = {"from", "to"} <= set(mapping(value) or ())
    return (is_range or sequence(value) is not None) and path != ("hardware", "gpu")


def written(loc: Place, values: Mapping[str, object]) -> Place:
    """The path as the file has it: without union tags, and without the index of a lone value."""
    path: list[str | int] = []
    value: object = values
    for part in loc:
        items = sequence(value)
        if isinstance(part, str):
            if part.startswith("<"):
                continue
            value = (mapping(value) or {}).get(part)
        elif items is None:
            continue
        else:
            value = items[part] if part < len(items) else None
        path.append(part)
    return tuple(path)

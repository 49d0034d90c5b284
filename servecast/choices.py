"""Choices: a field that holds one value, a list, or a range, and the space that they open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from servecast.errors import InputError, nearest
from servecast.faults import fault, shown
from servecast.plain import mapping, sequence

Value = int | float | str
Choice = Mapping[str, Value]
"""One value for each open dimension of a scenario."""

T = TypeVar("T")

_RANGE = ("from", "to", "step")
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Choices:
    """The dimensions that a scenario leaves open, by option name, and the values of each."""

    open: Mapping[str, tuple[Value, ...]]
    auto_replicas: bool
    """Whether the number of replicas follows from the budget or the SLO instead of a list."""

    @property
    def is_fixed(self) -> bool:
        """Whether no dimension is open, so that the scenario is one deployment."""
        return not self.open

    @property
    def size(self) -> int:
        """How many combinations there are, before any rule cuts some of them."""
        return math.prod(len(values) for values in self.open.values())

    def check(self, choice: Choice) -> None:
        """Raise unless `choice` gives every open dimension one of its values, and nothing else.

        With automatic replicas it may also say how many.
        """
        for name, value in choice.items():
            if name == "replicas" and self.auto_replicas:
                continue
            if name not in self.open:
                near = nearest(name, self.open)
                listed = ", ".join(self.open) or "nothing"
                hint = f"did you mean `{near}`?" if near else f"open in the scenario: {listed}"
                raise InputError(f"`{name}` is not an open choice of the scenario", hint=hint)
            if value not in self.open[name]:
                listed = ", ".join(map(as_text, self.open[name]))
                raise InputError(
                    f"{name} {shown(value)} is not one of {listed}",
                    hint="take one of them, or add it to the scenario's list",
                )
        missing = [name for name in self.open if name not in choice]
        if missing:
            raise InputError(
                f"the scenario leaves {', '.join(missing)} open",
                hint=f"fix each, as by --set {missing[0]}={as_text(self.open[missing[0]][0])}; "
                "`servecast recommend` searches those of vLLM and SGLang",
            )


def as_text(value: Value) -> str:
    """A value as a scenario writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _OneOrMany:
    """The JSON schema of a choice: the value itself, a list of values, or a range."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema)
        number = {"type": "number"}
        stepped = {
            "type": "object",
            "properties": dict.fromkeys(_RANGE, number),
            "required": list(_RANGE),
            "additionalProperties": False,
        }
        return {"anyOf": [many.get("items", {}), many, stepped]}


def _as_values(value: object) -> object:
    """A tuple of what a field states: one value, a list, or an inclusive {from, to, step}."""
    bounds, items = mapping(value), sequence(value)
    if bounds is not None:
        return _expand(bounds)
    return (value,) if items is None else tuple(items)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise fault("the list of choices is empty", "state one value or more")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise fault(f"{shown(value)} is listed twice")
    return values


def _one_or_many(values: tuple[object, ...]) -> object:
    return values[0] if len(values) == 1 else list(values)


Open = Annotated[
    tuple[T, ...],
    BeforeValidator(_as_values),
    AfterValidator(_distinct),
    PlainSerializer(_one_or_many),
    _OneOrMany(),
]
"""A field that may be a choice; its value is always a tuple, of one element where it is fixed."""


def _expand(bounds: Mapping[str, object]) -> tuple[Value, ...]:
    numbers = [bounds.get(key) for key in _RANGE]
    if set(bounds) != set(_RANGE) or not all(_is_number(number) for number in numbers):
        raise fault(
            "a range needs from, to and step, all numbers", "write {from: 1, to: 8, step: 1}"
        )
    first, last, step = (Decimal(str(number)) for number in numbers)
    if step <= 0 or last < first:
        raise fault("a range goes up: step above 0, `to` not below `from`")
    count = (last - first) // step + 1
    if count > _LONGEST:
        raise fault(f"the range has {count:.0f} values, more than {_LONGEST}", "take a larger step")
    whole = all(isinstance(number, int) for number in numbers)
    steps = (first + step * index for index in range(int(count)))
    return tuple(int(number) if whole else float(number) for number in steps)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

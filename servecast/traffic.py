"""The workload section of a scenario: a trace to replay, or traffic to draw from a shape."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Self, cast

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationInfo,
    model_validator,
)

from servecast.faults import fault, shown, validating
from servecast.fields import Count, Section
from servecast.plain import mapping
from servecast.primitives import units
from servecast.traces.classes import require_name

FIXED = "fixed"
"""The synthetic shape in which every request is alike, of the lengths that the scenario states."""


def resolve_path(name: str, info: ValidationInfo) -> str:
    """The absolute path of a file named in a scenario, relative to the scenario's own folder.

    `$NAME` stands for an environment variable, which must be set.
    """
    context = mapping(cast("object", info.context)) or {}
    unset = re.search(r"\$\{?(\w+)", os.path.expandvars(name))
    if unset:
        raise fault(f"the environment variable {unset[1]} is not set", "set it, or write the path")
    try:
        written = Path(os.path.expandvars(name)).expanduser()
        path = (Path(str(context.get("folder", "."))) / written).resolve()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise fault(f"{shown(name)} is not a path") from error
    return str(path)


def _existing_file(name: str, info: ValidationInfo) -> str:
    path = resolve_path(name, info)
    if not Path(path).is_file():
        raise fault(f"there is no file `{path}`", "paths start at the scenario's own folder")
    return path


def _known_shape(name: str) -> str:
    from servecast.traces.presets import preset

    return name if name == FIXED else preset(name).name


def _rate(value: object) -> float:
    return validating(partial(units.parse_rate, positive=True))(_quantity(value, "rate"))


def _seconds(value: object) -> float:
    return validating(units.parse_seconds)(_quantity(value, "time"))


def _quantity(value: object, kind: str) -> str | float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise fault(f"{shown(value)} is not a {kind}", "write a number with its unit")
    return value


Rate = Annotated[
    float,
    PlainValidator(_rate, json_schema_input_type=str | float),
    PlainSerializer(lambda per_s: units.exact(per_s, "/s", units.RATE)),
]
Seconds = Annotated[
    float,
    PlainValidator(_seconds, json_schema_input_type=str),
    PlainSerializer(lambda seconds: units.exact(seconds, "s", units.TIME)),
]
Shape = Annotated[str, AfterValidator(validating(_known_shape))]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class _Pace(Section):
    """How requests follow each other: at a rate, or so many at a time with a pause between."""

    rate: Rate | None = None
    """Requests per second."""
    concurrency: Count | None = None
    think: Seconds | None = None
    """Seconds between an answer and the client's next request, in a closed loop."""

    @model_validator(mode="after")
    def _one_pace(self) -> Self:
        if self.rate is not None and self.concurrency is not None:
            raise fault("states both rate and concurrency", "keep one: open loop or closed loop")
        if self.think is not None and self.concurrency is None:
            raise fault("states a think time without concurrency", "only a closed loop has one")
        return self


class TraceTraffic(_Pace):
    """Requests from a file, as they came, or stretched to another rate, or as a closed loop."""

    trace: Annotated[str, AfterValidator(_existing_file)]
    requests: Count | None = None
    """How many, from the first on; absent: all."""


class SyntheticTraffic(_Pace):
    """Requests drawn from a named shape; `fixed` gives all of them the stated lengths."""

    synthetic: Shape
    requests: Count
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cv: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    """Coefficient of variation of the gaps: 1 is Poisson, 0 a metronome; absent: the shape's."""
    burstiness: Positive | None = None
    """The same as vLLM's benchmark states it: 1/cv², below 1 burstier than Poisson."""
    seed: Annotated[int, Field(strict=True, ge=0)] | None = None
    """Absent: the scenario's."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.rate is None and self.concurrency is None:
            raise fault("states neither rate nor concurrency", "add `rate: 12/s`")
        lengths = (self.input_tokens, self.output_tokens)
        if self.synthetic == FIXED and None in lengths:
            raise fault("`fixed` needs input_tokens and output_tokens")
        if self.synthetic != FIXED and lengths != (None, None):
            raise fault("states lengths that the shape has already", "write `synthetic: fixed`")
        uneven = self.cv is not None or self.burstiness is not None
        if uneven and (self.rate is None or None not in (self.cv, self.burstiness)):
            raise fault("states cv or burstiness in vain", "state one of them, and with a rate")
        return self


def _form(value: object) -> str | None:
    for name, form in _FORMS.items():
        if isinstance(value, form):
            return f"<{name}>"
    stated = [name for name in _FORMS if name in (mapping(value) or {})]
    return f"<{stated[0]}>" if len(stated) == 1 else None


def _open_loop(part: TraceTraffic | SyntheticTraffic) -> TraceTraffic | SyntheticTraffic:
    if part.concurrency is not None:
        raise fault("is a closed loop, and a mix needs times of arrival", "state a rate")
    return part


Part = Annotated[
    Annotated[TraceTraffic, Tag("<trace>")] | Annotated[SyntheticTraffic, Tag("<synthetic>")],
    Discriminator(
        _form,
        custom_error_type="servecast",
        custom_error_message="states neither or both of `trace` and `synthetic`",
    ),
    AfterValidator(_open_loop),
]
ClassName = Annotated[str, AfterValidator(validating(require_name))]


class MixedTraffic(Section):
    """Several sources at once, each from its own time 0 on, by the class of its requests."""

    mix: Annotated[dict[ClassName, Part], Field(min_length=1)]


_FORMS = {"trace": TraceTraffic, "synthetic": SyntheticTraffic, "mix": MixedTraffic}

Traffic = Annotated[
    Annotated[TraceTraffic, Tag("<trace>")]
    | Annotated[SyntheticTraffic, Tag("<synthetic>")]
    | Annotated[MixedTraffic, Tag("<mix>")],
    Discriminator(
        _form,
        custom_error_type="servecast",
        custom_error_message="states none or several of `trace`, `synthetic` and `mix`",
    ),
]

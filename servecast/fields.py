"""The kinds of field that sections of a scenario are made of."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from servecast.faults import fault, shown
from servecast.primitives.dtype import Dtype
from servecast.refusals import CHECKPOINT_METHODS

T = TypeVar("T")


class Section(BaseModel):
    """A frozen part of a scenario; a field that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first(values: tuple[T, ...] | None) -> T | None:
    """The value of a field that is fixed; None where it is left out."""
    return values[0] if values else None


def _weights_format(value: object) -> object:
    if isinstance(value, str) and value in CHECKPOINT_METHODS:
        raise fault(
            f"{shown(value)} needs a checkpoint made for it",
            "give that checkpoint's config.json as `model` and leave `quantization` out",
        )
    return value


Count = Annotated[int, Field(strict=True, ge=1)]
Flag = Annotated[bool, Field(strict=True)]
Usd = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Size = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
Weights = Annotated[Dtype, BeforeValidator(_weights_format)]

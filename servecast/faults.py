"""Faults: what is wrong in a scenario file, each with its place, told all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pydantic_core import PydanticCustomError

from servecast.errors import InputError

Place = tuple[str | int, ...]
"""Where something stands in a document: the keys and indices that lead to it."""
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong thing: its path in the file, the line where known, the rule and the way out."""

    path: Place
    message: str
    hint: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """The path as text: `deployment.max_num_seqs[2]`; empty for the whole file."""
        text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
        return text.removeprefix(".")

    def __str__(self) -> str:
        line = f"line {self.line}  " if self.line else ""
        place = f"{self.place}: " if self.place else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{line}{place}{self.message}{hint}"


class ScenarioError(InputError):
    """A scenario that cannot be used, with every fault found in it."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        counted = "1 error" if len(self.faults) == 1 else f"{len(self.faults)} errors"
        listed = "\n".join(_indented(str(fault)) for fault in self.faults)
        super().__init__(
            f"{name} has {counted}\n{listed}",
            hint="`servecast init` writes a valid scenario with every field explained",
        )


def validating(parse: Callable[[In], Out]) -> Callable[[In], Out]:
    """`parse` as a pydantic validator, so that its InputError is collected with the others."""

    def validator(value: In) -> Out:
        try:
            return parse(value)
        except InputError as error:
            raise fault(error.message, error.hint) from error

    return validator


def fault(message: str, hint: str | None = None) -> PydanticCustomError:
    """What a pydantic validator raises to state a fault in our own words."""
    return PydanticCustomError("servecast", "{message}", {"message": message, "hint": hint or ""})


def shown(value: object) -> str:
    """A value as an error message quotes it, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())

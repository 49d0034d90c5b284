"""Classes: which service class each request of a workload belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError, unknown

UNNAMED = "default"
"""The class of requests that name none, where others do."""

MAX_CLASSES = 100
"""Beyond so many a column names requests, users or prompts, and no classes of service."""

NAME_RULE = "a word of at most 40 letters, digits, `-`, `_` and `.`"
_NAME = re.compile(r"\w[\w.-]{0,39}")

Places = NDArray[np.intp] | NDArray[np.int64] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Classes:
    """A class for each request: the names in the order of their first request, and its number."""

    names: tuple[str, ...]
    numbers: NDArray[np.int16]

    @classmethod
    def of(cls, labels: Sequence[str]) -> Self:
        """The classes of requests that name them; an empty label is the class `default`.

        InputError for a label that is no name, and for too many of them.
        """
        places: dict[str, int] = {}
        numbers = np.empty(len(labels), np.int16)
        for row, label in enumerate(labels):
            name = label or UNNAMED
            if name not in places:
                places[require_name(name)] = _next(places)
            numbers[row] = places[name]
        return cls(tuple(places), numbers)

    def take(self, rows: Places) -> Self:
        """The classes of those requests, in that order; a class without requests is forgotten."""
        return type(self).of(self.labels(rows))

    def labels(self, rows: Places | slice = slice(None)) -> list[str]:
        """The name of each request's class."""
        return [self.names[number] for number in self.numbers[rows].tolist()]

    def number(self, name: str) -> int:
        """Which number stands for a class; InputError, with the nearest, for an unknown one."""
        if not self.names:
            raise InputError(
                f"class `{name}` is unknown: no request of the workload names one",
                hint="add a column `class` to the trace, or mix several: `workload: {mix: …}`",
            )
        if name not in self.names:
            command = "`servecast trace stats` lists a trace's"
            raise unknown("class", name, self.names, command=command)
        return self.names.index(name)


NOBODY = Classes((), np.empty(0, np.int16))
"""Of a workload that names none."""


def require_name(name: str) -> str:
    """`name` itself; InputError where no class can be called so."""
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 60 else name[:57] + "…"
        raise InputError(f"`{shown}` is no name of a class", hint=f"it has to be {NAME_RULE}")
    return name


def joined(parts: Sequence[tuple[Classes | None, int]]) -> Classes | None:
    """The classes of several workloads, each with its number of requests, one after the other."""
    if all(classes is None for classes, _ in parts):
        return None
    labels: list[str] = []
    for classes, size in parts:
        labels += [UNNAMED] * size if classes is None else classes.labels()
    return Classes.of(labels)


def _next(places: dict[str, int]) -> int:
    if len(places) >= MAX_CLASSES:
        raise InputError(
            f"more than {MAX_CLASSES} classes are named",
            hint="a class is a promise to many requests; rename the column if it is none",
        )
    return len(places)

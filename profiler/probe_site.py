"""One shape to measure, or what of a model cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.primitives.dtype import Dtype


@dataclass(frozen=True, slots=True, order=True)
class ProbeSite:
    """One shape: an operation with all its sizes but those that grow with the batch."""

    operation: str
    dtype: Dtype
    sizes: tuple[tuple[str, int], ...]
    traits: tuple[tuple[str, str], ...] = ()
    """Of its table's key."""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """An operation of a model that is not measured, and why."""

    operation: str
    reason: str

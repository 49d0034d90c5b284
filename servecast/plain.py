"""Plain values of unknown shape, as YAML and JSON give them, narrowed to mappings and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast


def mapping(value: object) -> Mapping[str, object] | None:
    """`value` as a mapping of fields, or None where it is none."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def sequence(value: object) -> Sequence[object] | None:
    """`value` as a list of items, or None where it is none (a text is none)."""
    return cast("list[object]", value) if isinstance(value, (list, tuple)) else None

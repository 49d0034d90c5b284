"""Formats: which column of a trace file holds what, under which of the names in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from servecast.errors import InputError, nearest
from servecast.traces.quantities import Quantity
from servecast.traces.tables import Container, Table


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A known way to write a trace: for each role the names its column may have, best first."""

    name: str
    arrival: Mapping[str, Quantity]
    input_tokens: Sequence[str]
    output_tokens: Sequence[str]
    max_tokens: Sequence[str] = ()
    prefix_ids: Sequence[str] = ()
    prefix_block: Sequence[str] = ()
    priority: Sequence[str] = ()
    follows: Sequence[str] = ()
    think: Sequence[str] = ()
    request_class: Sequence[str] = ()
    attribution_column: Sequence[str] = ()
    block_tokens: int | None = None
    """What a prefix block stands for, where the publisher says it once for all."""
    own_columns: Sequence[str] = ()
    """What a reader of its own takes besides."""
    telltale: Sequence[str] = ()
    """Columns that tell it from another format with the same names for other units."""
    fails_by_no_output: bool = False
    """Whether an output of 0 tokens is a request that failed, and not a fault of the file."""
    attribution: str = ""
    """What is owed to the publisher of every file of this format."""

    def required(self) -> tuple[Sequence[str], ...]:
        """The names of the three columns without which nothing can be replayed."""
        return (tuple(self.arrival), self.input_tokens, self.output_tokens)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one file is laid out: what a reader takes from it and what it leaves."""

    format: str
    container: Container
    arrival: str
    input_tokens: str
    output_tokens: str
    max_tokens: str | None
    prefix_ids: str | None
    prefix_block: str | None
    priority: str | None
    follows: str | None
    think: str | None
    request_class: str | None
    attribution: str | None
    ignored: tuple[str, ...]
    """Columns that no role needs."""

    def used(self) -> list[str]:
        """The columns to read: arrival, input, output, then those of the optional ones it has."""
        numbers = (self.max_tokens, self.prefix_block, self.priority, self.follows, self.think)
        optional = (*numbers, self.prefix_ids, self.request_class, self.attribution)
        required = [self.arrival, self.input_tokens, self.output_tokens]
        return required + [name for name in optional if name is not None]

    def sparse(self) -> list[str]:
        """The columns that not every row must have."""
        numbers = (self.priority, self.follows, self.think)
        sparse = (*numbers, self.prefix_ids, self.request_class, self.attribution)
        return [name for name in sparse if name is not None]


def recognise(table: Table, path: Path, formats: Sequence[TraceFormat]) -> TraceFormat:
    """The format that most of the table's columns speak for; the last one where none does."""

    def matches(known: TraceFormat) -> int:
        return sum(_pick(table.columns, names) is not None for names in known.required())

    possible = [known for known in formats if set(known.telltale) <= set(table.columns)]
    best = max(reversed(possible), key=matches)
    _require(table, path, best.required(), best.name)
    return best


def lay_out(table: Table, known: TraceFormat) -> Layout:
    """The layout of a table whose format has been recognised."""
    arrival, inputs, outputs = (_pick(table.columns, names) or "" for names in known.required())
    limits = _pick(table.columns, known.max_tokens)
    ids = _pick(table.columns, known.prefix_ids)
    block = _pick(table.columns, known.prefix_block) if ids else None
    priority = _pick(table.columns, known.priority)
    follows = _pick(table.columns, known.follows)
    think = _pick(table.columns, known.think) if follows else None
    named = _pick(table.columns, known.request_class)
    credit = _pick(table.columns, known.attribution_column)
    roles = (arrival, inputs, outputs, limits, ids, block, priority, follows, think, named, credit)
    ignored = tuple(
        name for name in table.columns if name not in roles and name not in known.own_columns
    )
    return Layout(known.name, table.container, *roles, ignored)


def require_columns(table: Table, path: Path, roles: Sequence[Sequence[str]]) -> list[str]:
    """The table's column for each role; InputError where a role has none."""
    _require(table, path, roles, "length")
    return [_pick(table.columns, names) or "" for names in roles]


def _pick(columns: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _require(table: Table, path: Path, roles: Sequence[Sequence[str]], kind: str) -> None:
    missing = [names for names in roles if _pick(table.columns, names) is None]
    if missing:
        wanted = " and ".join(" or ".join(f"`{name}`" for name in names) for names in missing)
        raise InputError(
            f"`{path}` has no column {wanted}, which the {kind} format needs\n"
            f"  columns: {', '.join(table.columns)}",
            hint=_rename_hint(table.columns, missing, roles),
        )
    for name in (_pick(table.columns, names) for names in roles):
        if name is not None and table.columns.count(name) > 1:
            raise InputError(f"`{path}` names the column `{name}` twice", hint="rename one of them")


def _rename_hint(
    columns: Sequence[str], missing: Sequence[Sequence[str]], roles: Sequence[Sequence[str]]
) -> str:
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        return "separate the columns by commas"
    spoken_for = {_pick(columns, names) for names in roles}
    # Publishers differ in the unit of this one, so a rename must not settle it unseen.
    unit = "; `timestamp` is read as seconds" if "timestamp" in columns else ""
    free = [name for name in columns if name not in spoken_for]
    for names in missing:
        for name in names:
            near = nearest(name, free)
            if near is not None:
                return f"did you mean `{near}`? Rename it to `{name}`{unit}"
    return f"name the columns {', '.join(names[0] for names in roles)}{unit}"

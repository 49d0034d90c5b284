"""Points of the public silicon sample: what was served where, without what was measured."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from servecast.errors import InputError
from servecast.profiler.pool_labels import ROLES, PoolLabels, Size, pool_cells

Engine = Literal["vllm", "sglang", "trtllm"]

OWN_SWEEP = "own-sweep"
"""How `origin` begins where the publisher measured the point itself."""

REQUIRED = ("point_id", "model", "gpu", "engine", "isl", "osl")

SHOWN = 10
"""Bad lines that an error shows; the others are counted."""


class SiliconPoint(BaseModel):
    """One row; a blank cell is None, or the default that the row's own columns mean by it."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    point_id: str
    model: str
    gpu: str
    engine: Engine
    mode: Literal["agg", "disagg"] = "agg"
    isl: Size
    """Nominal prompt tokens."""
    osl: Size
    """Nominal output tokens."""
    concurrency: Size | None = None
    batch_size: Size | None = None
    """Concurrency per attention-data-parallel rank."""
    engine_version: str | None = None
    precision: Literal["bf16", "fp16", "fp8", "fp4", "int4"] | None = None
    tp_size: Size = 1
    pp_size: Size = 1
    attention_dp_size: Size = 1
    moe_tp_size: Annotated[int, Field(ge=0)] = 1
    moe_ep_size: Annotated[int, Field(ge=0)] = 1
    n_gpus: Size | None = None
    date: str | None = None
    image: str | None = None
    origin: str | None = None
    prefill: PoolLabels | None = None
    """The pools of a disaggregated row, from its `prefill_*` and `decode_*` columns; None where
    it does not state the pool's workers."""
    decode: PoolLabels | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_pools(cls, cells: dict[str, object]) -> dict[str, object]:
        pools = {role: pool_cells(cells, role) for role in ROLES}
        return {**cells, **{role: own for role, own in pools.items() if own is not None}}

    @property
    def clients(self) -> int | None:
        """Requests in flight: the concurrency, else the batches of all attention ranks."""
        if self.concurrency is not None:
            return self.concurrency
        if self.decode is not None and self.decode.batch_size is not None:
            ranks = self.decode.num_workers * self.decode.attention_dp_size
            return self.decode.batch_size * ranks
        return self.batch_size and self.batch_size * self.attention_dp_size

    @property
    def is_own_sweep(self) -> bool:
        """Whether the publisher measured it itself, with flags and client unknown.

        Without `origin` a row with neither date nor image is one: right for 97 % of the rows.
        """
        if self.origin is not None:
            return self.origin.startswith(OWN_SWEEP)
        return self.date is None and self.image is None


def read_points(path: Path) -> list[SiliconPoint]:
    """The rows of a CSV file, in order. InputError that names every line that breaks a rule."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            _require_columns(path, rows.fieldnames or ())
            return _points(path, rows)
    except OSError as error:
        raise InputError(
            f"`{path}` cannot be read: {error.strerror}",
            hint="give a CSV with the columns of the silicon sample; docs/predict.md lists them",
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"`{path}` is no CSV text: {error}") from error


def _points(path: Path, rows: csv.DictReader[str]) -> list[SiliconPoint]:
    points: list[SiliconPoint] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    for row in rows:
        cells = {name: cell for name, cell in row.items() if isinstance(cell, str) and cell.strip()}
        try:
            point = SiliconPoint.model_validate(cells)
        except ValidationError as error:
            faults += [f"line {rows.line_num}: {fault}" for fault in _faults(error)]
            continue
        first = seen.setdefault(point.point_id, rows.line_num)
        if first != rows.line_num:
            faults.append(f"line {rows.line_num}: point_id {point.point_id} is on line {first} too")
        points.append(point)
    if faults:
        raise _refused(path, faults)
    if not points:
        raise InputError(f"`{path}` has no rows", hint="give at least one point")
    return points


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        given = fault["input"]
        value = f" is `{given}`" if isinstance(given, str | int | float) else ""
        yield f"{name}{value}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _refused(path: Path, faults: list[str]) -> InputError:
    shown = "\n".join(f"  {fault}" for fault in faults[:SHOWN])
    more = f"\n  … and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return InputError(
        f"`{path}` has {len(faults)} faults:\n{shown}{more}",
        hint="mend or remove these lines; nothing was predicted",
    )


def _require_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InputError(
            f"`{path}` lacks the columns {', '.join(missing)}",
            hint="docs/predict.md lists the columns and what a blank one means",
        )

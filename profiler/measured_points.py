"""What the public silicon sample measured, by point."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from servecast.errors import InputError
from servecast.profiler.silicon_points import SiliconPoint, read_points

METRICS = ("ttft_ms", "tpot_ms", "out_tok_s_per_gpu")
"""What is compared, by the names of the predictions' columns."""
_COLUMNS = {"out_tok_s_per_gpu": "est_out_tok_s_per_gpu"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One row: its labels and what it measured; a metric that it lacks is None."""

    point: SiliconPoint
    values: dict[str, float | None]

    @property
    def group(self) -> str:
        """Who measured, and what: rows of one group share their causes of error."""
        p = self.point
        origin = "own sweep" if p.is_own_sweep else "InferenceX"
        name = p.model.rpartition("/")[2]
        pools = ", disaggregated" if p.mode == "disagg" else ""
        kind = f"{name} {p.gpu.partition('-')[0]} {p.engine} {p.precision or 'bf16'}"
        return f"{origin}: {kind}{pools}"


def read_measured(path: Path) -> list[Measured]:
    """The rows of a file with the measured columns. InputError names each bad line."""
    points = read_points(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        names = rows.fieldnames or ()
        missing = [name for name in ("ttft_ms", "tpot_ms") if name not in names]
        if missing:
            raise InputError(
                f"`{path}` lacks the measured columns {', '.join(missing)}",
                hint="give the file of measurements, not that of the points",
            )
        return [
            Measured(point, {name: _value(path, rows.line_num, row, name) for name in METRICS})
            for point, row in zip(points, rows, strict=True)
        ]


def _value(path: Path, line: int, row: dict[str, str], metric: str) -> float | None:
    column = _COLUMNS.get(metric, metric)
    text = row.get(column) or ""
    try:
        number = float(text) if text else None
    except ValueError:
        number = -1.0
    if number is not None and not 0 < number < float("inf"):
        raise InputError(
            f"`{path}`, line {line}: {column} is `{text}`, and must be above 0",
            hint="leave it blank where nothing was measured",
        )
    return number

"""Forecasts of the development part's disaggregated rows, and the table of their errors.

`SERVECAST_DATA=... python -m benchmarks.disaggregated_rows` rewrites that part of docs/accuracy.md
alone; by measured tables only with the extra `aic`. `benchmarks.accuracy` writes it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy_sections import ENGINES
from benchmarks.accuracy_tables import METRICS, TITLES, errors_cell, percent
from benchmarks.development_part import disaggregated
from benchmarks.marked_text import rewrite, table
from servecast.primitives.coefficients import CostKind
from servecast.profiler.measured_costs import MeasuredCosts
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Prediction, Predictor
from servecast.profiler.silicon_points import SiliconPoint
from servecast.profiler.validate import validate

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
PART = "disaggregated"

Found = Mapping[CostKind, Sequence[Prediction]]


def forecasts(rows: Sequence[Measured]) -> Found:
    """The rows by measured tables and by the roofline."""
    points = [row.point for row in rows]
    return {
        "tables": list(Predictor(MeasuredCosts()).predict(points)),
        "roofline": list(Predictor().predict(points)),
    }


def errors(rows: Sequence[Measured], found: Found) -> str:
    """By engine and by how the ranks that decode are cut; own sweeps state no load."""
    columns = ("rows", "n", *(f"{m[:4].upper()}, {TITLES[k]}" for m in METRICS for k in found))
    lines = [_line(name, own, found) for name, own in _sections(rows) if own]
    return table((*columns, "naive"), lines)


def part() -> str:
    """The table of all rows that state their pools."""
    rows = disaggregated()
    return errors(rows, forecasts(rows))


def _sections(rows: Sequence[Measured]) -> Iterator[tuple[str, list[Measured]]]:
    known = [row for row in rows if not row.point.is_own_sweep]
    for engine, name in ENGINES.items():
        own = [row for row in known if row.point.engine == engine]
        yield f"InferenceX, {name}", own
        data = [row for row in own if _is_data_parallel(row.point)]
        if data:
            yield "– tensor parallel", [row for row in own if row not in data]
            yield "– attention data parallel", data
    yield "InferenceX, all", known
    yield "own sweeps", [row for row in rows if row.point.is_own_sweep]
    yield "all", list(rows)


def _is_data_parallel(point: SiliconPoint) -> bool:
    return point.decode is not None and point.decode.attention_dp_size > 1


def _line(name: str, rows: Sequence[Measured], found: Found) -> tuple[str, ...]:
    totals = {kind: validate(own, rows).total for kind, own in found.items()}
    cells = [errors_cell(totals[kind].errors(metric)) for metric in METRICS for kind in found]
    naive = next(iter(totals.values()))
    textbook = " / ".join(percent(naive.errors(m, naive=True).median, 0) for m in METRICS)
    return (name, f"{naive.errors('tpot_ms').count:,}", *cells, textbook)


def main() -> None:
    """Rewrite the part of the page, and print it."""
    text = part()
    rewrite(PAGE, {PART: text})
    print(text)


if __name__ == "__main__":
    main()

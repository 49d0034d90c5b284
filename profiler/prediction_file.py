"""Predictions as a CSV file: a row a point, in the order of the points, none left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from servecast.errors import InputError
from servecast.profiler.predict import Prediction

COLUMNS = tuple(field.name for field in fields(Prediction))
NUMBERS = (
    *("ttft_ms", "tpot_ms", "e2e_ms", "out_tok_s_per_gpu", "relative_error"),
    *("ttft_low_ms", "ttft_high_ms", "tpot_low_ms", "tpot_high_ms"),
)

_HINT = "give a file that `servecast predict POINTS.csv -o PRED.csv` wrote"


def predictions_csv(predictions: Iterable[Prediction]) -> str:
    """The file's text; numbers with six significant digits, blank where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for prediction in predictions:
        writer.writerow([_cell(getattr(prediction, name)) for name in COLUMNS])
    return text.getvalue()


def read_predictions(path: Path) -> list[Prediction]:
    """The predictions of a file. InputError where it is none, with the line of a bad number."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise InputError(f"`{path}` is no file of predictions", hint=_HINT)
            return [_prediction(path, rows.line_num, row) for row in rows]
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}", hint=_HINT) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"`{path}` is no CSV text: {error}", hint=_HINT) from error


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _prediction(path: Path, line: int, row: dict[str, str | None]) -> Prediction:
    cells = {name: row[name] or "" for name in COLUMNS}
    if cells["status"] not in ("ok", "refused"):
        raise InputError(
            f"`{path}`, line {line}: status is `{cells['status']}`, and must be ok or refused",
            hint=_HINT,
        )
    numbers: dict[str, float | None] = {}
    for name in NUMBERS:
        try:
            numbers[name] = float(cells[name]) if cells[name] else None
        except ValueError:
            raise InputError(
                f"`{path}`, line {line}: {name} is `{cells[name]}`, and must be a number",
                hint=_HINT,
            ) from None
    return Prediction(
        point_id=cells["point_id"],
        status=cells["status"],
        reason=cells["reason"],
        provenance=cells["provenance"],
        **numbers,
    )

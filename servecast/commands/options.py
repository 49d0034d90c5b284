"""Options that every verb has, stated once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")]
CalibrationFile = Annotated[
    Path | None,
    typer.Option("--calibration", help="Correct costs by this file of `servecast calibrate`."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Plain text; NO_COLOR does the same.")]

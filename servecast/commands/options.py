"""Options that every verb has, stated once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FixedScenario = Annotated[Path, typer.Argument(help="A scenario file with every choice fixed.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Fix an open choice: tensor_parallel_size=4. Repeatable."),
]
RecordsFile = Annotated[
    Path | None,
    typer.Option("--records", help="Write one row a request to this .csv or .csv.gz."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")]
CalibrationFile = Annotated[
    Path | None,
    typer.Option("--calibration", help="Correct costs by this file of `servecast calibrate`."),
]
RecordedCosts = Annotated[
    Path | None,
    typer.Option("--costs", help="Price steps by this recording of a real server (vLLM)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Plain text; NO_COLOR does the same.")]

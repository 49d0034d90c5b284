"""The command line: every verb, and the one place that turns errors into messages."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from servecast import __version__
from servecast.commands.calibrate import calibrate
from servecast.commands.catalogue import gpus, models
from servecast.commands.compare import compare
from servecast.commands.doctor import doctor
from servecast.commands.emulate import emulate
from servecast.commands.files import check, init
from servecast.commands.memory import memory
from servecast.commands.predict import predict
from servecast.commands.profile import profile
from servecast.commands.recommend import recommend
from servecast.commands.simulate import simulate
from servecast.commands.trace import trace
from servecast.commands.validate import validate
from servecast.errors import ServecastError

app = typer.Typer(
    name="servecast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text, as in a log: no boxes around help and usage errors
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    *(recommend, simulate, emulate, compare, calibrate, predict, validate),
    *(memory, models, gpus, init, check, doctor),
):
    app.command()(verb)
app.add_typer(profile, name="profile")
app.add_typer(trace, name="trace")

INTERRUPTED = 130
"""The exit code that typer gives Ctrl-C."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"servecast {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Forecast LLM serving before renting a GPU.

    Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 no deployment meets the SLOs.
    """


def main() -> None:
    """Run a verb; what the user can mend is an error and a hint, never a traceback."""
    try:
        app()
    except ServecastError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted: nothing half-written was kept", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()

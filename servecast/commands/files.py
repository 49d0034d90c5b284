"""`servecast init` and `servecast check`: a scenario to start from, and what is wrong in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, literal


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("scenario.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Write a commented scenario file to start from."""
    from servecast.errors import InputError
    from servecast.loading import template
    from servecast.writing import write_text

    if path.is_dir():
        raise InputError(f"{path} is a folder", hint=f"name a file: {path / 'scenario.yaml'}")
    if path.exists() and not force:
        raise InputError(f"{path} exists", hint="name another file, or replace it with --force")
    write_text(path, template())
    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if out.json_mode:
        out.data({"written": str(path)})
    else:
        out.line(f"wrote {literal(path)}")
        out.note(f"\nnext: servecast recommend {literal(path)}")


def check(
    path: Annotated[Path, typer.Argument(help="A scenario file.")],
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Check a scenario file: all its errors, each with its line.

    Exit code 2 if there is one.
    """
    from servecast.loading import load

    scenario = load(path)
    space = scenario.space()
    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if out.json_mode:
        out.data({"scenario": str(path), "choices": space.size, "open": dict(space.open)})
        return
    kind = "fixed: simulate it" if space.is_fixed else f"{space.size} choices"
    if not space.is_fixed:
        is_searched = scenario.engine.name in ("vllm", "sglang")
        kind += ": recommend among them" if is_searched else ": simulate one by --set"
    out.line(f"{literal(path)} is valid ({kind})")

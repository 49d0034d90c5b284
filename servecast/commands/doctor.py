"""`servecast doctor`: what is installed, and the commands that install the rest."""

from __future__ import annotations

import platform

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output


def doctor(json: Json = False, quiet: Quiet = False, no_color: NoColor = False) -> None:
    """Show which engines run here, and how to install others."""
    from servecast import __version__
    from servecast.timewarp.installation import INSTALLATIONS

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if out.json_mode:
        out.data(
            {
                "servecast": __version__,
                "python": platform.python_version(),
                "engines": {
                    name: {
                        "installed": known.found,
                        "tested": known.releases,
                        "usable": known.is_tested,
                        "install": known.commands,
                    }
                    for name, known in INSTALLATIONS.items()
                },
            }
        )
        return
    out.line(f"servecast {__version__}, Python {platform.python_version()}\n")
    rows = [
        (known.title, known.found or "–", ", ".join(known.releases), _verdict(known.is_tested))
        for known in INSTALLATIONS.values()
    ]
    out.table(("engine", "installed", "tested", ""), rows)
    for known in INSTALLATIONS.values():
        if not known.is_tested:
            out.line(f"\nto emulate {known.title}, without a GPU:")
            for command in known.commands:
                out.line(f"  {command}", whole=True)


def _verdict(usable: bool) -> str:
    return "[green]can be emulated[/]" if usable else "[yellow]cannot be emulated[/]"

"""The command line starts light: what a verb needs is imported when the verb runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from servecast.cli import app
from tests.house.sources import ROOT

HEAVY = {
    *("torch", "sklearn", "scipy", "pandas", "numpy", "pyarrow"),
    *("optuna", "simpy", "yaml", "jinja2", "plotly", "matplotlib"),
}
"""All but typer and what it brings: rich, and pydantic as soon as a verb has options."""


def modules_after(code: str) -> set[str]:
    """The top-level modules that a new interpreter has loaded once it ran `code`."""
    code += "\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def helped(*arguments: str) -> str:
    """Code that asks the command line for help."""
    return (
        f"sys.argv = ['servecast', *{arguments!r}, '--help']\n"
        "from servecast.cli import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code"
    )


def verbs() -> list[str]:
    """Every verb of the command line."""
    named = [(info.name, info.callback) for info in app.registered_commands]
    commands = [name or callback.__name__ for name, callback in named if callback]
    return [*commands, *(info.name for info in app.registered_groups if info.name)]


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = modules_after("import servecast")
    assert loaded & (HEAVY | {"typer", "rich", "pydantic"}) == set()


def test_help_imports_nothing_heavy() -> None:
    loaded = modules_after(helped())
    assert "typer" in loaded
    assert loaded & (HEAVY | {"pydantic"}) == set()


@pytest.mark.parametrize("verb", verbs())
def test_the_help_of_a_verb_imports_nothing_heavy(verb: str) -> None:
    assert modules_after(helped(verb)) & HEAVY == set()

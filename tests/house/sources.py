"""What the tests of the house walk over: the project's folders, files and syntax trees."""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("primitives", "traces", "simulator", "profiler", "timewarp", "search")
FRONT_DOOR = "servecast"
GENERATED = {"__pycache__", "build", "dist", "runs"}


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the package: the name it is imported by, its room, its file."""

    name: str
    room: str
    path: Path

    def tree(self) -> ast.Module:
        return _tree(self.path)


def rooms() -> list[str]:
    """The rooms that exist, lowest first; the front door is not one of them."""
    return [room for room in ROOMS if (ROOT / room).is_dir()]


def modules() -> list[Module]:
    """Every module of the package, found in the real folders."""
    found: list[Module] = []
    for room in (*rooms(), FRONT_DOOR):
        inside = "" if room == FRONT_DOOR else f"{FRONT_DOOR}."
        for path in files(ROOT / room, ".py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = inside + ".".join(part for part in parts if part != "__init__")
            found.append(Module(name, room, path))
    return found


def files(folder: Path, suffix: str = "") -> Iterator[Path]:
    """Files below a folder, in order; links, hidden folders and generated ones are left out."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not _is_left_out(Path(where, f)))
        for name in sorted(names):
            if name.endswith(suffix) and not Path(where, name).is_symlink():
                yield Path(where, name)


def pyproject() -> dict[str, Any]:
    """The packaging file, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _is_left_out(folder: Path) -> bool:
    hidden = folder.name.startswith(".") and folder.name != ".ci"
    return hidden or folder.is_symlink() or folder.name in GENERATED | {"servecast.egg-info"}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))

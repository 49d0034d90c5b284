"""Imports go one way: primitives, traces ← simulator ← profiler, timewarp ← search ← servecast."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator

from tests.house.sources import FRONT_DOOR, ROOMS, Module, modules, pyproject, rooms

MAY_IMPORT = {
    "primitives": set[str](),
    "traces": set[str](),
    "simulator": {"primitives", "traces"},
    "profiler": {"primitives", "traces", "simulator"},
    "timewarp": {"primitives", "traces", "simulator"},
    "search": {"primitives", "traces", "simulator", "profiler", "timewarp"},
    FRONT_DOOR: set(ROOMS),
}
LEAVES = ("servecast.errors", "servecast.whole_files")
"""What every room may import; the second knows the first."""
DISTRIBUTIONS = {"yaml": "pyyaml", "pydantic_core": "pydantic"}
"""Of the modules that are not named like the distribution they come in."""


def imported(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a module imports, wherever in it; a relative one has dots."""
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def room_of(name: str) -> str:
    """The room that a name under `servecast.` lies in."""
    part = name.split(".")[1]
    return part if part in ROOMS else FRONT_DOOR


def against_the_arrow(module: Module, name: str) -> bool:
    if not name.startswith(f"{FRONT_DOOR}."):
        return False
    known = LEAVES[: LEAVES.index(module.name)] if module.name in LEAVES else LEAVES
    if any(name == leaf or name.startswith(f"{leaf}.") for leaf in known):
        return False
    if module.name in LEAVES:
        return True
    target = room_of(name)
    return target != module.room and target not in MAY_IMPORT[module.room]


def test_modules_import_only_what_lies_below_them() -> None:
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules()
        for line, name in imported(module)
        if against_the_arrow(module, name)
    ]
    assert wrong == []


def test_imports_are_absolute_and_by_the_one_name() -> None:
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules()
        for line, name in imported(module)
        if name.startswith(".") or name.split(".")[0] in ROOMS
    ]
    assert wrong == []


def test_the_arrow_can_be_broken() -> None:
    by_room = {module.room: module for module in modules() if module.name not in LEAVES}
    assert against_the_arrow(by_room["primitives"], "servecast.traces.workload")
    assert against_the_arrow(by_room["simulator"], "servecast.search.space.Space")
    assert against_the_arrow(by_room["search"], "servecast.cli.app")
    assert not against_the_arrow(by_room["search"], "servecast.errors.InputError")
    assert not against_the_arrow(by_room[FRONT_DOOR], "servecast.search.space.Space")
    errors, files = (next(m for m in modules() if m.name == leaf) for leaf in LEAVES)
    assert against_the_arrow(errors, "servecast.primitives.units")
    assert against_the_arrow(errors, "servecast.whole_files.replacing")
    assert not against_the_arrow(files, "servecast.errors.InputError")


def test_every_room_is_known_under_one_name() -> None:
    loaded = [importlib.import_module(m.name) for m in modules() if not m.name.endswith("__main__")]
    assert not set(rooms()) & set(sys.modules), "a second copy of a room was imported"
    for module in loaded:
        defined = [item for item in vars(module).values() if isinstance(item, type)]
        assert all(not item.__module__.startswith(ROOMS) for item in defined)


def test_a_value_says_where_it_comes_from() -> None:
    from servecast.primitives.operations import Gemm

    assert Gemm.__module__ == "servecast.primitives.operations"
    assert "primitives" not in sys.modules


def test_what_is_imported_is_what_is_installed() -> None:
    names = {name.split(".")[0] for module in modules() for _, name in imported(module)}
    others = names - sys.stdlib_module_names - {FRONT_DOOR}
    needed = {DISTRIBUTIONS.get(name, name) for name in others}
    declared = {text.split(">=")[0] for text in pyproject()["project"]["dependencies"]}
    assert needed == declared

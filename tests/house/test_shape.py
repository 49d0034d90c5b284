"""One noun a file, short functions, everything typed, every class said in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.sources import Module, modules

FILE_LINES = 300
FUNCTION_LINES = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[Function]:
    for node in ast.walk(module.tree()):
        if isinstance(node, Function):
            yield node


def unannotated(function: Function) -> list[str]:
    """The parts of a signature without a type; `self` and `cls` need none."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    missing = [each.arg for each in named if each is not None and each.annotation is None]
    if missing and missing[0] in {"self", "cls"}:
        missing = missing[1:]
    return missing + ([] if function.returns else ["return"])


def test_files_are_short() -> None:
    lines = {each.name: len(each.path.read_text("utf-8").splitlines()) for each in modules()}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_functions_are_short() -> None:
    lines = {
        f"{module.name}.{each.name}": (each.end_lineno or 0) - each.lineno + 1
        for module in modules()
        for each in functions(module)
    }
    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES} == {}


def test_functions_are_typed() -> None:
    loose = {
        f"{module.name}.{each.name}": missing
        for module in modules()
        for each in functions(module)
        if (missing := unannotated(each))
    }
    assert loose == {}


def test_classes_and_modules_say_what_they_are() -> None:
    silent = [
        f"{module.name}.{getattr(node, 'name', '')}"
        for module in modules()
        for node in ast.walk(module.tree())
        if isinstance(node, ast.ClassDef | ast.Module) and not ast.get_docstring(node)
    ]
    assert silent == []

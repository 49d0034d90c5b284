"""One noun a file, short functions, everything typed, every class said in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.sources import Module, modules

FILE_LINES = 300
FUNCTION_LINES = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef

pytestmark = pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)


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


def test_a_file_is_short(module: Module) -> None:
    lines = len(module.path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{module.path} has {lines} lines"


def test_a_function_is_short(module: Module) -> None:
    long = {
        each.name: lines
        for each in functions(module)
        if (lines := (each.end_lineno or 0) - each.lineno + 1) > FUNCTION_LINES
    }
    assert not long, f"{module.path}: functions longer than {FUNCTION_LINES} lines: {long}"


def test_a_function_is_typed(module: Module) -> None:
    loose = {each.name: missing for each in functions(module) if (missing := unannotated(each))}
    assert not loose, f"{module.path}: without a type: {loose}"


def test_a_class_and_a_module_say_what_they_are(module: Module) -> None:
    tree = module.tree()
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not ast.get_docstring(node)
    ]
    assert not silent, f"{module.path}: classes without a docstring: {silent}"
    assert ast.get_docstring(tree) or not tree.body, f"{module.path} has no docstring"

"""What is not installed can be imported, decorates, and is nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator

import pytest

from servecast.timewarp.sglang_absent import AbsentFinder

NAME = "not_there_at_all"


@pytest.fixture(autouse=True)
def _found() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    finder = AbsentFinder([NAME])
    sys.meta_path.append(finder)
    yield
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_any_name_of_it_can_be_imported() -> None:
    module = importlib.import_module(f"{NAME}.kernels.language")
    assert isinstance(module.constexpr, type)
    assert isinstance(module.Mode.FAST | None, type)


def test_what_it_decorates_is_swallowed() -> None:
    module = importlib.import_module(NAME)

    def kernel() -> None:
        raise AssertionError("it ran")

    decorated = module.autotune(configs=[module.Config({"BLOCK": 16})])(module.jit(kernel))
    decorated(1)  # and does not raise


def test_no_driver_is_active() -> None:
    module = importlib.import_module(f"{NAME}.runtime")
    with pytest.raises(AttributeError):
        _ = module.driver.active


def test_other_packages_stay_absent() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("not_there_either")

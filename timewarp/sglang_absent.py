"""Stand-ins for what SGLang imports and its control loop never calls: kernels, image libraries."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

ABSENT = ("torchvision", "triton")
"""The first does not load beside a CPU torch, the second weighs 1 GB."""

_ASKED_FIRST = (
    ("transformers.utils", "is_torchvision_available"),
    ("torch.utils._triton", "has_triton_package"),
    ("torch._inductor.runtime.triton_compat", "__name__"),
)
"""Who uses these packages where they are found, and keeps the answer: (module, what asks)."""


class Kind(type):
    """A class with any attribute, that can be called with anything: enough to be imported.

    Used as a decorator it swallows what it decorates, so a kernel becomes a name.
    """

    def __getattr__(cls, name: str) -> Kind:
        if name.startswith("__") or name == "active":  # no driver is active, as without a GPU
            raise AttributeError(name)
        return Kind(name, (), {})

    def __call__(cls, *_: object, **__: object) -> Kind:
        return Kind(cls.__name__, (), {})

    def __iter__(cls) -> Iterator[object]:
        return iter(())

    def __or__(cls, other: object) -> Kind:
        return cls

    def __ror__(cls, other: object) -> Kind:
        return cls


class Absent(ModuleType):
    """A module that has any name."""

    __version__ = "3.0.0"

    def __getattr__(self, name: str) -> Kind:
        if name.startswith("__"):
            raise AttributeError(name)
        return Kind(name, (), {})


class AbsentFinder(MetaPathFinder, Loader):
    """Finds some packages that are not there, and whatever is imported from below them."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = tuple(packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification for the absent packages' modules, None for all others."""
        if fullname.partition(".")[0] in self._packages:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module that answers to any name."""
        return Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def stand_in() -> None:
    """Make SGLang importable without the absent packages; those installed are left alone.

    torch and transformers look for them too and would use them, so they are asked first.
    """
    missing = [name for name in ABSENT if find_spec(name) is None]
    if missing:
        for module, question in _ASKED_FIRST:
            asked = getattr(importlib.import_module(module), question)
            if callable(asked):
                asked()
        sys.meta_path.append(AbsentFinder(missing))

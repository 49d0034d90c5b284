"""Modules of an engine, which is not installed where servecast is developed or checked."""

from __future__ import annotations

import importlib
from typing import Any


def foreign(name: str) -> Any:
    """The module of that name, imported now, whose contents no type checker knows."""
    return importlib.import_module(name)

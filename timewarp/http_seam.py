"""Attributes of vLLM and of its web framework that are replaced while a server runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def replaced(owner: object, name: str, stand_in: object) -> Generator[None]:
    """`stand_in` in the place of an attribute of a module or class; what was there afterwards."""
    before = vars(owner)[name]
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        setattr(owner, name, before)

"""Imports keep what they read in a cache: every test has one of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that caches are written to."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SERVECAST_CACHE", str(folder))
    return folder

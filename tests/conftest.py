"""Shared fixtures. Published data is read from the folder that SERVECAST_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("servecast", deadline=None)  # a busy machine is no failure
settings.load_profile("servecast")
os.environ.setdefault("SERVECAST_CHECK", "1")  # engines check their invariants after every run


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of published traces and ground truth; unset skips, set but missing fails."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        pytest.skip("SERVECAST_DATA is not set: tests on published data need its folder")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"SERVECAST_DATA names {folder}, which is not a folder")
    return path

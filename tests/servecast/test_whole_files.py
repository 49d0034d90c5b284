"""A file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.whole_files import packed_text, replacing


def _write_half(path: Path) -> None:
    with packed_text(path) as text:
        text.write("half a row")
        raise RuntimeError


@pytest.mark.parametrize("name", ["costs.csv", "costs.csv.gz"])
def test_an_error_half_way_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError):
        _write_half(path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_text_gives_the_same_packed_bytes_under_any_name(tmp_path: Path) -> None:
    for name in ("one.gz", "other.gz"):
        with packed_text(tmp_path / name) as text:
            text.write("a,b\n1,2\n")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "other.gz").read_bytes()


def test_a_refusal_of_the_system_names_the_file_and_not_the_scratch(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.mkdir()
    with pytest.raises(InputError, match="plan` cannot be written"), replacing(path) as scratch:
        scratch.write_text("x")
    assert list(tmp_path.iterdir()) == [path]

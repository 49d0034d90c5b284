"""Text files of traces, plain or gzip: opened with every failure named, written all or nothing."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from servecast.errors import InputError, nearest
from servecast.whole_files import packed_text

_GZIP_MAGIC = b"\x1f\x8b"
_EXPECTED = "a trace is a CSV or JSONL text, or a gzip file of one"


@contextmanager
def open_text(path: Path) -> Generator[TextIO]:
    """The file's text, gzip recognised by its first bytes and not by its name.

    A file that is missing, no text or a damaged gzip raises InputError, also while it is read.
    """
    _require_file(path)
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            plain = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not UTF-8 text ({error.reason})", hint=_EXPECTED) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"`{path}` is a damaged gzip file: {error}", hint="fetch or compress it again"
        ) from error
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}", hint=_EXPECTED) from error


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write the lines, gzip where the name ends in `.gz`; the file appears whole or not at all."""
    with packed_text(path) as text:
        text.writelines(lines)


def _require_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise InputError(f"`{path}` is a folder, not a trace file", hint="name one file in it")
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"`{path}` does not exist: there is no folder `{folder}`", hint=_EXPECTED)
    near = nearest(path.name, [entry.name for entry in folder.iterdir() if entry.is_file()])
    raise InputError(
        f"`{path}` does not exist",
        hint=f"did you mean `{folder / near}`?" if near else f"ls {folder}",
    )

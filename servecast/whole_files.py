"""Files appear whole or not at all: written under a temporary name beside it, then renamed.

Like the errors, a leaf: every room may write by it, and it imports none of them.
"""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from servecast.errors import InputError

_GZIP_LEVEL = 6


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    What the system refuses is an InputError about `path`; its folder must exist.
    """
    with explained(path):
        if not path.parent.is_dir():
            raise InputError(
                f"`{path}` cannot be written: its folder does not exist",
                hint=f"mkdir -p {path.parent}",
            )
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
    scratch = Path(name)
    try:
        with explained(path):
            yield scratch
            scratch.chmod(0o644)
            os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def packed_text(path: Path) -> Generator[TextIO]:
    """A text to write `path` by, gzip where the name ends in `.gz`; line ends are left alone.

    The same text gives the same bytes: the gzip header carries neither name nor time.
    """
    with replacing(path) as scratch, scratch.open("wb") as raw:
        if path.suffix != ".gz":
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text
            return
        with (
            gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed,
            io.TextIOWrapper(cast("BinaryIO", packed), encoding="utf-8", newline="") as text,
        ):
            yield text


@contextmanager
def explained(path: Path) -> Generator[None]:
    """What the system refuses inside the block is an InputError about `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"`{path}` cannot be written: {error.strerror or error}",
            hint="name one in a folder that you may write to",
        ) from error

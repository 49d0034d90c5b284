"""Files appear whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from servecast.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from servecast.simulator.result import Result


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        with explained(path):
            scratch.chmod(0o644)
            os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Generator[None]:
    """What the system refuses inside the block is an InputError about `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}",
            hint="name one in a folder that you may write to",
        ) from error


def require_writable(folder: Path) -> None:
    """InputError where `folder` could not be made or written to; nothing is left behind."""
    with explained(folder):
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        os.rmdir(tempfile.mkdtemp(dir=there, prefix=".servecast-"))


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_records(path: Path, result: Result) -> None:
    """One row a request, as CSV (compressed where the name ends in .gz); times in seconds."""
    import pandas

    records = result.records
    frame = pandas.DataFrame(
        {
            "index": records.index,
            "replica": records.replica,
            "arrival_s": records.arrival_ns / 1e9,
            "scheduled_s": records.scheduled_ns / 1e9,
            "first_token_s": records.first_token_ns / 1e9,
            "finish_s": records.finish_ns / 1e9,
            "prompt_tokens": records.prompt_tokens,
            "output_tokens": records.output_tokens,
            "preemptions": records.preemptions,
            "ttft_s": records.ttft_ns / 1e9,
            "tpot_s": records.tpot_ns / 1e9,
            "e2e_s": records.e2e_ns / 1e9,
        }
    )
    with replacing(path) as scratch:
        write_csv(frame, scratch, compressed=path.suffix == ".gz")


def write_csv(frame: DataFrame, path: Path, *, compressed: bool) -> None:
    """A frame as CSV; compressed bytes depend neither on the hour nor on the file's name."""
    text = frame.to_csv(index=False, float_format="%.9f", lineterminator="\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if compressed else text)

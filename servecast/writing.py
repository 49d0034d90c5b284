"""What the front door writes: texts and request records, in folders made as needed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from servecast.whole_files import explained, packed_text, replacing

if TYPE_CHECKING:
    from pandas import DataFrame

    from servecast.simulator.served import Served


def require_writable(folder: Path) -> None:
    """InputError where `folder` could not be made or written to; nothing is left behind."""
    with explained(folder):
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        os.rmdir(tempfile.mkdtemp(dir=there, prefix=".servecast-"))


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    _make_folder(path)
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_records(path: Path, result: Served) -> None:
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
            "cached_tokens": records.cached_tokens,
            "host_tokens": records.host_tokens,
            "preemptions": records.preemptions,
            "ttft_s": records.ttft_ns / 1e9,
            "tpot_s": records.tpot_ns / 1e9,
            "e2e_s": records.e2e_ns / 1e9,
        }
    )
    if result.classes is not None:
        frame.insert(1, "class", result.classes.labels(records.index))
    _make_folder(path)
    with packed_text(path) as text:
        write_csv(frame, text)


def write_csv(frame: DataFrame, text: TextIO) -> None:
    """A frame as CSV, without its index; times to the nanosecond where they are seconds."""
    frame.to_csv(text, index=False, float_format="%.9f", lineterminator="\n")


def _make_folder(path: Path) -> None:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)

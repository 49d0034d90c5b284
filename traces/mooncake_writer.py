"""A workload as the JSONL of Mooncake's traces, which simulators and load generators read."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from servecast.errors import InputError
from servecast.traces.files import write_text
from servecast.traces.mooncake import MOONCAKE
from servecast.traces.prefixes import Prefixes
from servecast.traces.reshape import require_no_sessions
from servecast.traces.workload import Workload

_NS_PER_MS = 1_000_000


def write_mooncake(workload: Workload, path: str | PathLike[str]) -> None:
    """Write arrivals in whole milliseconds, lengths, and ids of blocks of 512 tokens.

    A prompt without known blocks gets ids that no other has. InputError for a closed loop, and
    where what prompts share is known in blocks of another size. The file appears whole or not.
    """
    file = Path(path)
    if not file.name.endswith((".jsonl", ".jsonl.gz")):
        raise InputError(
            f"`{file.name}` is not a name for Mooncake's format, which is JSONL",
            hint=f"name it {file.name.split('.')[0]}.jsonl",
        )
    require_no_sessions(workload, "a trace file")
    if workload.concurrency is not None:
        raise InputError(f"`{workload.name}` is a closed loop, and a trace holds times of arrival")
    size = MOONCAKE.block_tokens or 0
    known = workload.prefixes
    if known is not None and known.block_tokens != size:
        raise InputError(
            f"`{workload.name}` knows what prompts share in blocks of {known.block_tokens} tokens, "
            f"and Mooncake's are of {size}",
            hint="write the plain format, which states its block size",
        )
    write_text(file, _lines(workload, known, size))


def _lines(workload: Workload, known: Prefixes | None, size: int) -> Iterator[str]:
    free = 0 if known is None else int((known.first + known.length).max(initial=0))
    stamps_ms = (workload.arrival_ns + _NS_PER_MS // 2) // _NS_PER_MS
    lengths = np.stack([stamps_ms, workload.prompt_tokens, workload.output_tokens], axis=1)
    for row, (stamp_ms, prompt, output) in enumerate(lengths.tolist()):
        ids = [] if known is None else known.ids(row)
        own = -(-prompt // size) - len(ids)
        ids += range(free, free + own)
        free += max(own, 0)
        yield (
            f'{{"timestamp": {stamp_ms}, "input_length": {prompt}, "output_length": {output}, '
            f'"hash_ids": {ids}}}\n'
        )

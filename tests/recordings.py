"""Recordings of a made-up server, as the files that a real one leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from servecast.primitives.batch import Batch, Group
from servecast.primitives.cost_file import write_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey, cost_table, variant_of
from servecast.timewarp.recorded_work import OPERATION, StepWork

HOST_S = 300e-6


def decode(sequences: int, mean: int, drafts: int = 0) -> Batch:
    """A step of decodes alone."""
    return Batch((Group(1 + drafts, sequences, sequences * mean, 0, True),))


def mixed(sequences: int, mean: int, *chunks: tuple[int, int]) -> Batch:
    """Decodes, and chunks of so many tokens after so many others."""
    groups = [Group(new, 1, past) for new, past in chunks]
    return Batch((Group(1, sequences, sequences * mean, 0, True), *groups))


def truth_ns(batch: Batch) -> int:
    """A server of its own: decodes by what they read, prompts by tokens and pairs."""
    work = StepWork.of(batch)
    if work.is_decode:
        return 4_000_000 + 20_000 * work.sequences + 3 * work.context_tokens
    tokens = work.queries + work.new_tokens
    return 7_000_000 + 9_000 * tokens + 3 * work.context_tokens + work.pairs // 4


def batches(sequences: int = 64, drafts: int = 0) -> Iterator[Batch]:
    """Steps of fewer than so many decodes, with and without prompts."""
    rng = np.random.default_rng(3)
    for _ in range(80):
        count, mean, new, past = rng.integers(1, [sequences, 2000, 512, 900]).tolist()
        yield decode(count, mean, drafts)
        yield mixed(count, mean, (new, past), (new // 2 + 1, 0))


def server_tables(
    model: str = "Llama-3.1-8B-Instruct",
    device: str = "h100_sxm",
    dtype: str = "bf16",
    ranks: int = 1,
    *,
    sequences: int = 64,
    drafts: int = 0,
    noise: float = 0.0,
) -> list[CostTable]:
    """The device's and the host's table of a server; `noise` is relative, on the device."""
    known = list(batches(sequences, drafts))
    points = np.array([StepWork.of(batch) for batch in known], dtype=np.int64)
    factors = np.random.default_rng(1).uniform(1 - noise, 1 + noise, len(known))
    seconds = {
        "device": np.array([truth_ns(batch) / 1e9 for batch in known]) * factors,
        "host": np.full(len(known), HOST_S),
    }
    variants = {
        part: variant_of({"part": part, "model": model, "ranks": str(ranks)}) for part in seconds
    }
    return [
        cost_table(
            TableKey(OPERATION, device, dtype, "vllm", "0.32.0", variants[part]), points, each
        )
        for part, each in seconds.items()
    ]


def write_recording(path: Path, *tables: CostTable) -> Path:
    """A cost file with these tables."""
    write_costs(CostStore(tables), path)
    return path

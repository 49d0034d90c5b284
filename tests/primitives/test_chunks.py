"""Chunks on top of cached tokens, derived from whole prefills, also against measured ones."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator
from servecast.primitives.chunks import QUERY_TOKENS, Chunks
from servecast.primitives.cost import Provenance
from servecast.primitives.dtype import Dtype
from servecast.primitives.envelope import envelope
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.operations import PrefillAttention
from servecast.primitives.utilisation import FASTEST
from tests.toy_deployments import DEVICE

Floats = NDArray[np.float64]


def prefill_ideal(past: Floats, new: Floats) -> Floats:
    return ideal_s(PrefillAttention(new, past, 32, 8, 128, 128, Dtype.BF16), DEVICE)


def test_a_whole_prefill_is_as_measured_and_a_chunk_is_its_share_of_one() -> None:
    at = np.array([16.0, 256.0, 1024.0, 4096.0, 16384.0])
    chunks = Chunks(at, 5e-6 + 1.5 * prefill_ideal(np.zeros(5), at), prefill_ideal)
    whole = chunks.seconds(np.zeros(5), at)
    np.testing.assert_allclose(whole, 5e-6 + 1.5 * prefill_ideal(np.zeros(5), at), rtol=1e-12)
    late = float(chunks.seconds(np.array(3072.0), np.array(1024.0)))
    assert late == pytest.approx(float(whole[3]) * (1 - (3072 / 4096) ** 2), rel=1e-3)
    assert chunks.provenance(np.array(3072.0), np.array(1024.0)) is Provenance.INTERPOLATED
    assert chunks.provenance(np.array(0.0), np.array(1024.0)) is Provenance.MEASURED


@pytest.mark.parametrize("slowness", [1.0, 1.5, 20.0])
def test_a_chunk_grows_with_its_tokens_and_with_its_past(slowness: float) -> None:
    at = np.array([1.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0])
    seconds = 12e-6 + slowness * prefill_ideal(np.zeros(6), at)
    chunks = Chunks(at, seconds, prefill_ideal)
    past, new = np.arange(0.0, 40_000.0, 501.0), np.arange(1.0, 6000.0, 37.0)
    costs = chunks.seconds(past[:, None], new[None, :])
    assert np.all(np.diff(costs, axis=0) >= -1e-15)
    assert np.all(np.diff(costs, axis=1) >= -1e-15)
    assert np.all(costs * FASTEST >= prefill_ideal(past[:, None], new[None, :]))


def measured_chunks(path: Path) -> dict[tuple[str, str, int], list[tuple[float, float, float]]]:
    """Prefill chunks that ran alone: past and new tokens and seconds, by GPU, model and ranks."""
    found: dict[tuple[str, str, int], list[tuple[float, float, float]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            new = float(row["prefill_chunk"])
            if row["n_decode"] == "0" and new:
                place = (row["gpu"], row["model"], int(row["tp"]))
                past, seconds = float(row["kv_prefill"]), float(row["time_us"]) * 1e-6
                found[place].append((past, new, seconds))
    return found


HEADS = {
    "meta-llama/Llama-3.1-8B": (32, 8),
    "Qwen/Qwen3-32B": (64, 8),
    "Qwen/Qwen3-30B-A3B-Instruct-2507": (32, 4),
}
DEVICES = {"RTX4090": "rtx_4090", "RTXPRO6000": "rtx_pro_6000_server"}


def ideal_of(device: Accelerator, heads: int, kv_heads: int) -> Callable[[Floats, Floats], Floats]:
    def ideal(past: Floats, new: Floats) -> Floats:
        chunk = PrefillAttention(new, past, heads, kv_heads, 128, 128, Dtype.BF16)
        return ideal_s(chunk, device)

    return ideal


def test_chunks_derived_from_whole_prefills_against_measured_ones(data_dir: Path) -> None:
    ratios: list[Floats] = []
    for (gpu, model, ranks), rows in measured_chunks(
        data_dir / "kernels" / "lss_vllm019_attention.csv.gz"
    ).items():
        ideal = ideal_of(accelerator(DEVICES[gpu]), *(count // ranks for count in HEADS[model]))
        past, new, seconds = np.array(rows).T
        whole = past == 0
        sizes, first = np.unique(new[whole], return_index=True)
        chunks = Chunks(sizes, envelope(sizes[:, None], seconds[whole][first]), ideal)
        predicted = chunks.seconds(past[~whole], new[~whole])
        ratios.append(np.column_stack([new[~whole], np.log(predicted / seconds[~whole])]))
    new, error = np.concatenate(ratios).T
    assert len(new) == 1372
    assert np.median(np.abs(error)) < 0.17
    assert np.median(np.abs(error[new <= 64])) < 0.25  # 1.4 without `QUERY_TOKENS`
    assert np.median(np.abs(error[new >= QUERY_TOKENS])) < 0.10

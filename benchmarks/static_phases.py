"""The roofline's phases against static batches: prompts alone, then decodes alone.

Splitwise's measurements of Llama-2-70B on vLLM of 2023, one batch at a time, with a forecast of
what the device takes. `SERVECAST_DATA=... python -m benchmarks.static_phases`
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, show
from servecast.primitives.batch import Batch, Group
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.corrected_source import default_source
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.step_cost import CompiledStepCost

GPUS = {"A100-SXM-80GB": "a100_sxm_80gb", "H100-SXM-80GB": "h100_sxm"}
"""Those that the catalogue has: the power-capped H100 is another device."""
MODEL = "meta-llama/Llama-2-70b-hf"
LONGEST_BATCH = 64 * 512
"""Tokens of the largest prompt step in the file."""


@dataclass(frozen=True, slots=True)
class Static:
    """One batch, measured and forecast: milliseconds of the prompt step and of a decode step."""

    gpu: str
    ranks: int
    batch: int
    prompt_ms: tuple[float, float]
    """Measured, then forecast."""
    decode_ms: tuple[float, float]

    @property
    def fits(self) -> bool:
        """Whether the prompts ran as one batch: two GPUs have no room for 64, and took them apart.

        Their time to first token is that of the first few.
        """
        return (self.ranks, self.batch) != (2, 64)


def static_batches(folder: Path) -> Iterator[Static]:
    """The rows of Llama-2-70B, by GPU and ranks."""
    with (folder / "groundtruth" / "splitwise_a100_h100.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["model"] == MODEL and r["gpu"] in GPUS]
    rows.sort(key=_server)
    for (gpu, ranks), own in groupby(rows, key=_server):
        cost = CompiledStepCost(_deployment(GPUS[gpu], ranks), default_source())
        for row in own:
            yield _static(row, ranks, cost)


def _server(row: dict[str, str]) -> tuple[str, int]:
    return row["gpu"], int(row["tp"])


def _deployment(gpu: str, ranks: int) -> Deployment:
    return Deployment(
        model=model(MODEL),
        accelerator=accelerator(gpu),
        engine="vllm",
        engine_version="0.6",
        weights_dtype=Dtype.FP16,
        kv_cache_dtype=Dtype.FP16,
        max_model_len=LONGEST_BATCH,
        max_num_seqs=64,
        max_num_batched_tokens=LONGEST_BATCH,
        tensor_parallel_size=ranks,
    )


def _static(row: dict[str, str], ranks: int, cost: CompiledStepCost) -> Static:
    batch, prompt, output = (int(row[name]) for name in ("batch_size", "isl", "osl"))
    prompts = Batch(tuple(Group(prompt, 1, 0) for _ in range(batch)))
    context = prompt + output // 2
    decodes = Batch((Group(1, batch, batch * context, 0, True),))
    return Static(
        row["gpu"],
        ranks,
        batch,
        (float(row["ttft_mean_ms"]), cost.step(prompts).device_ns / 1e6),
        (float(row["tpot_mean_ms"]), cost.step(decodes).device_ns / 1e6),
    )


def floor_ms(found: Iterable[Static]) -> float:
    """The fastest decode step that any number of these GPUs took: what launching it takes."""
    return min(row.decode_ms[0] for row in found)


def summary(found: Iterable[Static], floor: float) -> Row:
    """Median signed errors of the device alone, and of decodes that launching holds back."""
    rows = list(found)
    prompt, prompt_forecast = np.array([row.prompt_ms for row in rows]).T
    decode, decode_forecast = np.array([row.decode_ms for row in rows]).T
    held_back = np.maximum(decode_forecast, floor)
    return {
        "GPUs": f"{rows[0].ranks} x {rows[0].gpu}",
        "rows": len(rows),
        "prompt off %": _median(prompt_forecast / prompt - 1),
        "decode off %": _median(decode_forecast / decode - 1),
        "left over, ms": f"{np.median(decode - decode_forecast):.1f}",
        "floor, ms": f"{floor:.1f}",
        "decode with floor off %": _median(held_back / decode - 1),
    }


def _median(errors: NDArray[np.float64]) -> str:
    return f"{np.median(errors) * 100:+.0f} (P90 {np.percentile(np.abs(errors), 90) * 100:.0f})"


def main() -> None:
    """Print a line for each kind and number of GPUs."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    found = [row for row in static_batches(Path(folder)) if row.fits]
    floors = {gpu: floor_ms(row for row in found if row.gpu == gpu) for gpu in GPUS}
    by_server = groupby(found, key=lambda row: (row.gpu, row.ranks))
    show("Llama-2-70B, fp16", [summary(rows, floors[key[0]]) for key, rows in by_server])


if __name__ == "__main__":
    main()

"""How far the memory ledger is off from public start-up logs of vLLM.

Two questions: whether its arithmetic is the engine's where a log names the parts, and how far its
priors are off where nothing but the deployment is known.
`SERVECAST_DATA=... python -m benchmarks.kv_capacity`
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.table import show
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Served:
    """What a log does not say in our words: model, format, release, limits of the batch.

    The limits are the defaults of that release on that device: 1024 and 8192 on 80 GB of Hopper,
    256 and 2048 elsewhere; vLLM before 0.8 filled a batch with one prompt of full length.
    """

    model: str
    weights: Dtype
    version: str
    batch: tuple[int, int] = (256, 2048)
    total_gib: float | None = None
    """Where the log names a card and not its memory."""


SERVED = {
    "1": Served("openai/gpt-oss-20b", Dtype.MXFP4, "0.11.0", (1024, 8192)),
    "3": Served("meta-llama/Llama-3.1-70B", Dtype.FP8, "0.11.0", (1024, 8192)),
    "6": Served("Qwen/Qwen3-32B", Dtype.BF16, "0.11.0", (1024, 8192)),
    "8": Served("mistralai/Mistral-Small-3.2-24B", Dtype.BF16, "0.11.0", (1024, 8192)),
    "10": Served("meta-llama/Llama-3.1-8B", Dtype.BF16, "0.6", (256, 29_000)),
    "14": Served("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", Dtype.BF16, "0.7", (256, 2048)),
    "18": Served("meta-llama/Llama-3.1-70B", Dtype.FP8, "0.7", (256, 2048), 79.18),
    "19": Served("Qwen/Qwen3-235B-A22B", Dtype.FP8, "0.9", (1024, 8192), 79.18),
    "29": Served("meta-llama/Llama-3.1-8B", Dtype.BF16, "0.9"),
    "32": Served("Qwen/Qwen2.5-0.5B-Instruct", Dtype.BF16, "0.30"),
    "37": Served("Qwen/Qwen2.5-1.5B-Instruct", Dtype.BF16, "0.30"),
    "51": Served("Qwen/Qwen3-Next-80B-A3B-Instruct", Dtype.INT4, "0.30", total_gib=63.4),
    "52": Served("Qwen/Qwen3-Next-80B-A3B-Instruct", Dtype.INT4, "0.30", total_gib=63.4),
}
"""Logs, by id, whose model is in the catalogue and that state utilisation and a card."""


@dataclass(frozen=True, slots=True)
class Account:
    """One log: what it found for its KV cache, and what was to be expected; GiB."""

    id: str
    model: str
    logged_gib: float
    expected_gib: float
    margin_gib: float = 0.0

    @property
    def relative_error(self) -> float:
        """Expected over logged, less one."""
        return self.expected_gib / self.logged_gib - 1

    @property
    def is_covered(self) -> bool:
        """Whether what is counted on, margin taken off, was there."""
        return self.expected_gib - self.margin_gib <= self.logged_gib


def logs(folder: Path) -> list[dict[str, str]]:
    """The rows of the file of start-up logs."""
    path = folder / "groundtruth" / "vllm_kv_capacity_logs.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_parts(rows: list[dict[str, str]]) -> Iterator[Account]:
    """Logs that name weights and activation: what the ledger's subtraction makes of their parts.

    Graphs are not among them: no release in the file subtracted what it measured of them. Some
    logs state weights and non-torch in one figure.
    """
    for row in rows:
        named = ("gpu_total_gib", "util", "weights_gib", "peak_act_gib", "avail_kv_gib")
        if all(row[name] for name in named):
            total, util, weights, peak, logged = (float(row[name]) for name in named)
            expected = total * util - weights - float(row["non_torch_gib"] or 0) - peak
            yield Account(row["id"], row["model"], logged, expected)


def by_priors(rows: list[dict[str, str]]) -> Iterator[Account]:
    """Logs whose deployment is known: the whole forecast, from names and options alone."""
    for row in rows:
        served = SERVED.get(row["id"])
        if served is not None:
            found = ledger(_deployment(row, served))
            expected = found.available_kv_bytes / GIB
            logged = float(row["avail_kv_gib"] or 0) or _by_tokens(row)
            yield Account(row["id"], row["model"], logged, expected, found.margin_bytes / GIB)


def _by_tokens(row: dict[str, str]) -> float:
    """GiB of the cache from its tokens, for plain attention in 16 bits on one GPU."""
    bytes_per_token = 4 * int(row["L"]) * int(row["kv_heads"]) * int(row["head_dim"])
    return int(row["kv_tokens"]) * bytes_per_token / GIB


def _deployment(row: dict[str, str], served: Served) -> Deployment:
    total_gib = served.total_gib or float(row["gpu_total_gib"])
    sequences, tokens = served.batch
    return Deployment(
        model=model(served.model),
        accelerator=replace(accelerator("h100_sxm"), memory_bytes=int(total_gib * GIB)),
        engine="vllm",
        engine_version=served.version,
        weights_dtype=served.weights,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=int(row["max_model_len"] or 4096),
        max_num_seqs=sequences,
        max_num_batched_tokens=tokens,
        tensor_parallel_size=int(row["tp"]),
        block_size=int(row["block"] or 16),
        gpu_memory_utilization=float(row["util"]),
    )


def main() -> None:
    """Print both tables."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    rows = logs(Path(folder))
    show("from the parts that the log names", [_cells(each) for each in by_parts(rows)])
    priors = [{**_cells(each), **_margin(each)} for each in by_priors(rows)]
    show("from names and options alone", priors)


def _cells(account: Account) -> dict[str, str]:
    return {
        "log": account.id,
        "model": account.model[:40],
        "logged GiB": f"{account.logged_gib:.2f}",
        "expected GiB": f"{account.expected_gib:.2f}",
        "off %": f"{account.relative_error * 100:+.1f}",
    }


def _margin(account: Account) -> dict[str, str]:
    return {
        "margin GiB": f"{account.margin_gib:.0f}",
        "covered": "yes" if account.is_covered else "no",
    }


if __name__ == "__main__":
    main()

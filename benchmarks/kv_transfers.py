"""KV transfers against published ones: Mooncake's table, and what Splitwise says of layer-wise.

`SERVECAST_DATA=... python -m benchmarks.kv_transfers`
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.static_phases import GPUS
from benchmarks.static_phases import MODEL as LLAMA
from benchmarks.table import Row, show
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_payload import KvPayload, kv_payload
from servecast.primitives.kv_transfer import layerwise_s, whole_s
from servecast.primitives.network import (
    MOONCAKE,
    SPLITWISE_A100,
    SPLITWISE_H100,
    Adapters,
    Connector,
    Network,
)

HCA_BYTES_PER_S = {200: 25e9, 400: 50e9}
"""Adapters by the Gbit/s of their data sheets."""
MOONCAKE_NODE = Adapters(HCA_BYTES_PER_S[200], number=8, node_ranks=8)
SPLITWISE_NODES: dict[str, tuple[Connector, Adapters]] = {
    "A100-SXM-80GB": (SPLITWISE_A100, Adapters(HCA_BYTES_PER_S[200], number=1, node_ranks=8)),
    "H100-SXM-80GB": (SPLITWISE_H100, Adapters(HCA_BYTES_PER_S[400], number=1, node_ranks=8)),
}
"""One adapter a machine: with eight, nothing that Splitwise reports would be visible."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One size of Mooncake's table, measured and forecast."""

    tokens: int
    measured_ms: float
    forecast_ms: float

    @property
    def error(self) -> float:
        """Signed, relative to what was measured."""
        return self.forecast_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True)
class Exposed:
    """What a transfer adds to one of Splitwise's prompts, both ways, in milliseconds."""

    gpu: str
    tokens: int
    prompt_ms: float
    """Measured, as is the time of a token."""
    token_ms: float
    whole_ms: float
    layerwise_ms: float

    @property
    def chosen_ms(self) -> float:
        """By the better way."""
        return min(self.whole_ms, self.layerwise_ms)


def mooncake_transfers(folder: Path) -> Iterator[Transfer]:
    """The nine sizes of Qwen3-8B, from eight ranks to eight."""
    network = Network(MOONCAKE_NODE, MOONCAKE_NODE, MOONCAKE)
    replica = _deployment("Qwen/Qwen3-8B", "h800_sxm", Dtype.BF16)
    with (folder / "kv_and_sparse" / "published_results.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["topic"] == "pd-transfer" and row["metric"] == "KV transfer time":
                tokens = int(row["n_or_x"])
                forecast_s = whole_s(kv_payload(replica, replica, tokens), network)
                yield Transfer(tokens, float(row["value"]), forecast_s * 1e3)


def splitwise_transfers(folder: Path) -> Iterator[Exposed]:
    """Llama-2-70B on eight GPUs, one prompt at a time."""
    with (folder / "groundtruth" / "splitwise_a100_h100.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            alone = (row["model"], row["tp"], row["batch_size"], row["osl"])
            if row["gpu"] in SPLITWISE_NODES and alone == (LLAMA, "8", "1", "128"):
                yield _exposed(row)


def _exposed(row: dict[str, str]) -> Exposed:
    tokens, prompt_ms = int(row["isl"]), float(row["ttft_mean_ms"])
    payload, network = splitwise_case(row["gpu"], tokens)
    return Exposed(
        gpu=row["gpu"],
        tokens=tokens,
        prompt_ms=prompt_ms,
        token_ms=float(row["tpot_mean_ms"]),
        whole_ms=whole_s(payload, network) * 1e3,
        layerwise_ms=layerwise_s(payload, network, prompt_ms / 1e3) * 1e3,
    )


def splitwise_case(gpu: str, tokens: int) -> tuple[KvPayload, Network]:
    """A prompt between two machines of one kind."""
    connector, adapters = SPLITWISE_NODES[gpu]
    replica = _deployment(LLAMA, GPUS[gpu], Dtype.FP16)
    return kv_payload(replica, replica, tokens), Network(adapters, adapters, connector)


def _deployment(name: str, gpu: str, dtype: Dtype) -> Deployment:
    return replace(_REPLICA, model=model(name), accelerator=accelerator(gpu), kv_cache_dtype=dtype)


_REPLICA = Deployment(
    model=model(LLAMA),
    accelerator=accelerator("h100_sxm"),
    engine="vllm",
    engine_version="0.11",
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=40960,
    max_num_seqs=64,
    max_num_batched_tokens=8192,
    tensor_parallel_size=8,
)


def _mooncake_row(found: Transfer) -> Row:
    return {
        "tokens": found.tokens,
        "measured ms": found.measured_ms,
        "forecast ms": f"{found.forecast_ms:.2f}",
        "off %": f"{found.error * 100:+.1f}",
    }


def _splitwise_row(found: Exposed) -> Row:
    return {
        "GPU": found.gpu,
        "tokens": found.tokens,
        "whole ms": f"{found.whole_ms:.1f}",
        "layer-wise ms": f"{found.layerwise_ms:.1f}",
        "better, % of prompt": f"{found.chosen_ms / found.prompt_ms * 100:.1f}",
        "second token, whole": f"{found.whole_ms / found.token_ms * 100:+.0f} %",
        "layer-wise": f"{found.layerwise_ms / found.token_ms * 100:+.0f} %",
    }


def main() -> None:
    """Print both tables."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    data = Path(folder)
    show("Mooncake: Qwen3-8B, TP8 to TP8", [_mooncake_row(row) for row in mooncake_transfers(data)])
    show("Splitwise: Llama-2-70B", [_splitwise_row(row) for row in splitwise_transfers(data)])


if __name__ == "__main__":
    main()

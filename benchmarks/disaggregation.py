"""Disaggregated serving against published figures: DistServe's Table 2, Splitwise's transfers.

`SERVECAST_DATA=... python -m benchmarks.disaggregation`
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.static_phases import static_batches
from benchmarks.table import Row, show
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.corrected_source import default_source
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec
from servecast.search.band import Scaled
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.fleet.transfer import Transfer
from servecast.simulator.slo import parse_slo
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload

OPT_66B = ModelSpec(
    name="facebook/opt-66b",
    architecture="OPTForCausalLM",
    hidden=9216,
    vocab=50272,
    tie_embeddings=True,
    max_model_len=2048,
    weights_dtype=Dtype.BF16,
    layers=(LayerGroup(64, Attention(72, 72, 128), DenseFfn(36864, gated=False)),),
    source="its config.json",
)
SLOS = [parse_slo("ttft:p95 < 400ms"), parse_slo("tpot:p95 < 100ms")]
"""Of DistServe's chatbot with OPT-66B, in the first version of the paper, which has the table."""
REQUESTS = 600
FACTORS = np.geomspace(0.9, 1.3, 9)
PROMPTS = (256, 512, 1024, 2048)
OUTPUT_TOKENS = 129
"""The median of Splitwise's conversations."""
ONE_ADAPTER = Transfer(bw_bytes_per_s=50e9 / 8, latency_s=0.0)
"""400 Gbit/s for the eight GPUs of a machine, at their word (`benchmarks.kv_transfers`)."""


@dataclass(frozen=True, slots=True)
class Attainment:
    """One rate of DistServe's Table 2: shares of requests within both limits, in percent."""

    rate_per_s: float
    together: float
    apart: float


def published(folder: Path) -> list[Attainment]:
    """What the two real systems reached."""
    found: dict[tuple[str, float], float] = {}
    with (folder / "kv_and_sparse" / "published_results.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["topic"] == "pd-simulator-accuracy":
                found[row["method"], float(row["n_or_x"])] = float(row["value"])
    rates = sorted({rate for _, rate in found})
    return [Attainment(r, found["vLLM real", r], found["DistServe-Low real", r]) for r in rates]


def reached(fleet: Fleet, rate_per_s: float, factor: float) -> float:
    """Percent of chat requests within both limits, every step taking `factor` times its forecast.

    The lengths of DistServe's requests are not published with the table: Azure's stand for them.
    """
    drawn = synthesize("chat", REQUESTS, rate_per_s=rate_per_s, seed=3)
    prompt_tokens = np.minimum(drawn.prompt_tokens, 1500)
    chat = replace(
        drawn,
        prompt_tokens=prompt_tokens,
        output_tokens=np.minimum(drawn.output_tokens, 2048 - prompt_tokens),
    )
    result = simulate_fleet(fleet, chat, source=Scaled(default_source(), factor))
    return 100 * result.attainment(SLOS)


def distserve(measured: Sequence[Attainment]) -> list[Row]:
    """Ours beside theirs, the one factor fitted to DistServe's column alone."""
    replica = _deployment(OPT_66B, "a100_sxm_80gb", 4, 2048)
    together = Fleet((Pool("all", replica),))
    apart = Fleet(
        (Pool("prompts", replica, "prefill"), Pool("outputs", replica, "decode")),
        transfer=Transfer(link="scale_up"),
    )

    def error(factor: float) -> float:
        ours = [reached(apart, point.rate_per_s, factor) for point in measured]
        return sum((a - point.apart) ** 2 for a, point in zip(ours, measured, strict=True))

    factor = float(min(FACTORS, key=error))
    return [
        {
            "rate/s": point.rate_per_s,
            "steps ×": factor,
            "DistServe-Low %": point.apart,
            "ours apart %": reached(apart, point.rate_per_s, factor),
            "vLLM of 2023 %": point.together,
            "ours together %": reached(together, point.rate_per_s, factor),
        }
        for point in measured
    ]


def splitwise(folder: Path) -> list[Row]:
    """What a transfer adds to a request that is alone: published 64 % of the second token where the
    cache is sent whole, 16.5 % layer by layer, and 0.8 % of all of it.

    Steps are scaled so that a token takes what Splitwise measured.
    """
    batches = static_batches(folder)
    measured_ms, forecast_ms = next(
        each.decode_ms
        for each in batches
        if (each.gpu, each.ranks, each.batch) == ("H100-SXM-80GB", 8, 1)
    )
    source = Scaled(default_source(), measured_ms / forecast_ms)
    rows: list[Row] = []
    for prompt_tokens in PROMPTS:
        second_ms, all_s = _alone(prompt_tokens, None, source)
        row: dict[str, str | int | float] = {"prompt": prompt_tokens, "token ms": second_ms}
        for name, by_layer in (("whole", False), ("by layer", True)):
            way = replace(ONE_ADAPTER, by_layer=by_layer)
            later_ms, longer_s = _alone(prompt_tokens, way, source)
            row[f"second token, {name} %"] = 100 * (later_ms / second_ms - 1)
            row[f"all, {name} %"] = 100 * (longer_s / all_s - 1)
        rows.append(row)
    return rows


def _alone(
    prompt_tokens: int, transfer: Transfer | None, source: CostSource
) -> tuple[float, float]:
    """The second token's milliseconds and the whole request's seconds; None: one replica."""
    replica = _deployment(model("meta-llama/Llama-2-70b-hf"), "h100_sxm", 8, 4096)
    pools = (Pool("prompts", replica, "prefill"), Pool("outputs", replica, "decode"))
    fleet = Fleet(pools, transfer=transfer) if transfer else Fleet((Pool("all", replica),))
    first, second, last = (
        simulate_fleet(fleet, _one(prompt_tokens, tokens), source=source).e2e.mean
        for tokens in (1, 2, OUTPUT_TOKENS)
    )
    return (second - first) * 1e3, last


def _one(prompt_tokens: int, output_tokens: int) -> Workload:
    return Workload(
        name="one request",
        arrival_ns=np.zeros(1, np.int64),
        prompt_tokens=np.array([prompt_tokens]),
        output_tokens=np.array([output_tokens]),
        max_tokens=np.array([output_tokens]),
    )


def _deployment(spec: ModelSpec, device: str, ranks: int, max_model_len: int) -> Deployment:
    return Deployment(
        model=spec,
        accelerator=accelerator(device),
        engine="vllm",
        engine_version="0.32",
        weights_dtype=Dtype.BF16,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=max_model_len,
        max_num_seqs=256,
        max_num_batched_tokens=max_model_len,
        tensor_parallel_size=ranks,
    )


def main() -> None:
    """Print both tables."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    data = Path(folder)
    show("DistServe, Table 2 (OPT-66B, A100)", distserve(published(data)))
    show("Splitwise, a request alone (Llama-2-70B, 8 H100, 400 Gbit/s)", splitwise(data))


if __name__ == "__main__":
    main()

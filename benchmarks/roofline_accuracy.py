"""How far the default install is off: its roofline against measured servers.

Replays every dense vLLM row of the development part of the public silicon sample (closed loop,
ten times the concurrency in requests, as the published client does) and prints the error of mean
TPOT and mean TTFT beside a naive roofline's. `python -m benchmarks.roofline_accuracy`
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servecast.primitives import catalogue
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, HostTime
from servecast.primitives.weights import parameters
from servecast.simulator.simulate import simulate
from servecast.traces.workload import Workload

GPUS = {
    "H100-SXM-80GB": "h100_sxm",
    "H200-SXM-141GB": "h200_sxm",
    "B200-180GB": "b200_sxm",
}
MODELS = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Llama-3.1-70B-Instruct",
    "Qwen/Qwen3-32B": "Qwen/Qwen3-32B",
}
WEIGHTS = {"": Dtype.BF16, "fp8": Dtype.FP8, "fp4": Dtype.NVFP4}
ASYNCHRONOUS = HostTime(0.3e-3, 5e-6)
"""Host time that asynchronous scheduling leaves exposed (the rows measured with it on)."""
CLIENT_NS = 500_000
"""From a last token to the client's next request."""


@dataclass(frozen=True)
class Row:
    """One measured point."""

    group: str
    deployment: Deployment
    workload: Workload
    host: HostTime
    ttft_ms: float
    tpot_ms: float


def rows(path: Path) -> Iterator[Row]:
    """The dense, aggregated vLLM rows that state their shape."""
    with path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            is_ours = line["engine"].lower() == "vllm" and line["mode"] == "agg"
            is_known = line["model"] in MODELS and line["gpu"] in GPUS and line["concurrency"]
            if is_ours and is_known:
                yield _row(line)


def _row(line: dict[str, str]) -> Row:
    concurrency, tp = int(float(line["concurrency"])), int(float(line["tp_size"]))
    isl, osl = int(line["isl"]), int(line["osl"])
    is_sweep = line["origin"].startswith("own-sweep")
    model = catalogue.model(MODELS[line["model"]])
    scripted_fp8_cache = not is_sweep
    deployment = Deployment(
        model=model,
        accelerator=catalogue.accelerator(GPUS[line["gpu"]]),
        engine="vllm",
        engine_version="0.32",
        weights_dtype=WEIGHTS[line["precision"]],
        kv_cache_dtype=Dtype.FP8 if scripted_fp8_cache else Dtype.BF16,
        max_model_len=isl + osl + 256,
        max_num_seqs=max(1, concurrency),
        max_num_batched_tokens=max(8192, concurrency),
        tensor_parallel_size=tp,
    )
    return Row(
        group=f"{line['model']} {line['gpu']} {line['precision'] or 'bf16'}",
        deployment=deployment,
        workload=_workload(concurrency, isl, osl, exact=is_sweep),
        host=HostTime() if is_sweep else ASYNCHRONOUS,
        ttft_ms=float(line["ttft_ms"]),
        tpot_ms=float(line["tpot_ms"]),
    )


def _workload(concurrency: int, isl: int, osl: int, *, exact: bool) -> Workload:
    """Ten requests a client; lengths 80–100 % of nominal where the client draws them so."""
    count = 10 * concurrency
    rng = np.random.default_rng(concurrency)
    low = 1.0 if exact else 0.8
    prompts = np.rint(isl * rng.uniform(low, 1.0, count)).astype(np.int64)
    outputs = np.rint(osl * rng.uniform(low, 1.0, count)).astype(np.int64)
    zeros = np.zeros(count, dtype=np.int64)
    return Workload("silicon", zeros, prompts, outputs, outputs, concurrency, CLIENT_NS)


def forecast_ms(row: Row, source: RooflineSource) -> tuple[float, float]:
    """Mean TTFT and mean TPOT of the simulation."""
    cost = CompiledStepCost(row.deployment, source, row.host)
    result = simulate(row.deployment, row.workload, cost=cost)
    return result.ttft.mean * 1e3, result.tpot.mean * 1e3


def naive_ms(row: Row) -> tuple[float, float]:
    """The textbook roofline: weights and KV over bandwidth, FLOPs over peak, no overhead at all."""
    d = row.deployment
    device, tp = d.accelerator, d.tensor_parallel_size
    isl, osl = float(row.workload.prompt_tokens.mean()), float(row.workload.output_tokens.mean())
    concurrency = row.workload.concurrency or 1
    params = parameters(d.model)
    per_token = 0
    for group in d.model.layers:
        if isinstance(group.mixer, Attention):
            per_token += 2 * group.count * group.mixer.kv_heads * group.mixer.head_dim
    kv_bytes = concurrency * (isl + osl / 2) * per_token * d.kv_cache_dtype.bytes
    flops = device.peak_flops(d.weights_dtype) * tp
    decode = max(
        (params * d.weights_dtype.bytes + kv_bytes) / tp / device.bw_bytes_per_s,
        2 * params * concurrency / flops,
    )
    prefill = 2 * params * isl / flops
    return (decode + prefill) * 1e3, (decode + prefill * concurrency / osl) * 1e3


def errors(found: list[Row], source: RooflineSource) -> dict[str, NDArray[np.float64]]:
    """Relative errors of (TTFT, TPOT), forecast and naive, one row a point."""
    measured = np.array([(row.ttft_ms, row.tpot_ms) for row in found])
    forecast = np.array([forecast_ms(row, source) for row in found])
    naive = np.array([naive_ms(row) for row in found])
    return {"servecast": forecast / measured - 1, "naive": naive / measured - 1}


def summary(error: NDArray[np.float64]) -> str:
    """Median, P90 and signed median of both metrics, in percent."""
    parts: list[str] = []
    for index, name in ((1, "TPOT"), (0, "TTFT")):
        column = error[:, index] * 100
        median, tail = np.percentile(np.abs(column), [50, 90])
        parts.append(f"{name} {median:5.1f} / {tail:5.1f} / {np.median(column):+6.1f}")
    return "   ".join(parts)


def main() -> None:
    """Print the table: absolute error median / P90 / signed median in percent."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    found = list(rows(Path(folder) / "groundtruth" / "silicon_dev.csv"))
    error = errors(found, RooflineSource(RooflineCoefficients()))
    groups = np.array([row.group for row in found])
    for group in [*dict.fromkeys(groups), "all"]:
        chosen = np.ones(len(groups), bool) if group == "all" else groups == group
        print(f"{group} ({chosen.sum()} rows)")
        for name, values in error.items():
            print(f"  {name:10} {summary(values[chosen])}")


if __name__ == "__main__":
    main()

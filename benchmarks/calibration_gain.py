"""What four runs of a server tell about its other loads: `calibrate` on measured servers.

Every dense vLLM server of the development part of the public silicon sample (model, GPU, format,
tensor parallel size) is calibrated by four of its points, drawn at random, as `servecast calibrate`
does; the others are forecast before and after. `python -m benchmarks.calibration_gain`
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.calibration import Calibration
from servecast.primitives.deployment import Deployment
from servecast.primitives.roofline import RooflineSource
from servecast.profiler.benchmark_client import benchmark_workload
from servecast.profiler.measured_points import Measured, read_measured
from servecast.profiler.point_deployment import deployment_of
from servecast.search.calibrate import Fitter, Observation

MODELS = ("Qwen/Qwen3-32B", "meta-llama/Llama-3.1-70B")
RUNS = 4
MOST_CLIENTS = 64


def servers(path: Path) -> dict[tuple[object, ...], list[Measured]]:
    """The points of every server that has enough of them."""
    found: dict[tuple[object, ...], list[Measured]] = defaultdict(list)
    for row in read_measured(path):
        p = row.point
        is_ours = p.engine == "vllm" and p.mode == "agg" and p.model in MODELS
        if is_ours and 0 < (p.clients or 0) <= MOST_CLIENTS:
            found[p.model, p.gpu, p.precision, p.tp_size].append(row)
    return {server: rows for server, rows in found.items() if len(rows) > 2 * RUNS}


def deployment(rows: list[Measured]) -> Deployment:
    """One server with room for all these points."""
    found, _, _ = deployment_of(rows[0].point)
    longest = max(row.point.isl + row.point.osl for row in rows)
    return replace(found, max_num_seqs=MOST_CLIENTS, max_model_len=longest + 256)


def observation(row: Measured) -> Observation:
    """The point as a run of the benchmark."""
    p = row.point
    workload = benchmark_workload(p.clients or 1, p.isl, p.osl, exact=p.is_own_sweep)
    ttft_ms, tpot_ms = row.values["ttft_ms"] or 0.0, row.values["tpot_ms"] or 0.0
    return Observation(workload, ttft_ms / 1e3, tpot_ms / 1e3)


def summary(ratios: list[NDArray[np.float64]]) -> str:
    """Points, and median and P90 of both latencies' error in percent."""
    size = np.abs(np.concatenate(ratios) - 1) * 100
    median, tail = np.percentile(size, [50, 90], axis=0)
    ttft, tpot = (f"{median[i]:.1f} / {tail[i]:.1f}" for i in (0, 1))
    return f"{len(size):4} points   TPOT {tpot}   TTFT {ttft}"


def main() -> None:
    """Print the errors of points in the fit, left out in turn, and never seen."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    errors: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for rows in servers(Path(folder) / "groundtruth" / "silicon_dev.csv").values():
        deployed = deployment(rows)
        order: list[int] = rng.permutation(len(rows)).tolist()
        seen = [observation(rows[index]) for index in order]
        fit = Fitter(deployed, seen[:RUNS], RooflineSource()).fit(lambda _: None)
        rest = Fitter(deployed, seen[RUNS:], RooflineSource())
        errors["in the fit"].append(fit.after)
        if fit.left_out is not None:
            errors["left out"].append(fit.left_out)
        errors["unseen, before"].append(rest.ratios(Calibration()))
        errors["unseen, after"].append(rest.ratios(fit.calibration))
    for name, ratios in errors.items():
        print(f"{name:15} {summary(ratios)}")


if __name__ == "__main__":
    main()

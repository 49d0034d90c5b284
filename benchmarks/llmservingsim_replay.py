"""How far forecasts are off where layers and requests were measured on the same GPU.

Replays LLMServingSim's vLLM 0.19 servers from its own tables of layers: 300 requests of ShareGPT,
10 a second. Each line of the result adds one thing that those servers did.
`SERVECAST_DATA=... python -m benchmarks.llmservingsim_replay`
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.table import Row, show
from servecast.errors import UnsupportedError
from servecast.primitives.cost_store import CostStore
from servecast.profiler.llmservingsim import import_llmservingsim
from servecast.profiler.lss_replay import REPLAYS, Errors, Replay, compared, replayed
from servecast.profiler.lss_requests import MeasuredServer, measured_servers, usable_blocks

STATISTICS = ("mean", "p50", "p90", "p99")


def steps(server: MeasuredServer, store: CostStore) -> dict[str, list[Errors]]:
    """The errors of each replay that the tables allow, by its name."""
    return {what.name: _errors(server, store, what) for what in REPLAYS}


def _errors(server: MeasuredServer, store: CostStore, what: Replay) -> list[Errors]:
    try:
        return list(compared(server.latencies, replayed(server, store, what)))
    except UnsupportedError:
        return []


def bias_row(name: str, errors: list[Errors]) -> Row:
    """Errors of the means, and of the requests one by one, in percent."""
    cells: dict[str, str | int | float] = {"replay": name}
    for each in errors:
        cells[f"{each.metric} mean %"] = f"{each.bias[0] * 100:+.1f}"
    for each in errors:
        cells[f"{each.metric} MAPE %"] = f"{each.mape * 100:.1f}"
    return cells


def statistic_row(errors: Errors) -> Row:
    """A metric's statistics: measured, forecast and the difference."""
    cells: dict[str, str | int | float] = {"metric": errors.metric}
    columns = zip(STATISTICS, errors.measured_ms, errors.forecast_ms, errors.bias, strict=True)
    for name, measured, forecast, bias in columns:
        cells[name] = f"{measured:,.1f} | {forecast:,.1f} ({bias * 100:+.1f} %)"
    return cells


def main() -> None:
    """Print, for each server, the errors of each replay and the statistics of the fullest."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    store = CostStore(import_llmservingsim(Path(folder) / "kernels"))
    for server in measured_servers(Path(folder) / "groundtruth", Path(folder) / "traces"):
        deployment, found = server.deployment, steps(server, store)
        known = "recorded" if server.states_blocks else "by the memory ledger"
        title = (
            f"{deployment.tensor_parallel_size} x {deployment.accelerator.name}, "
            f"{deployment.model.name}: {usable_blocks(server):,} usable KV blocks ({known})"
        )
        show(title, [bias_row(name, errors) for name, errors in found.items() if errors])
        fullest = [errors for errors in found.values() if errors][-1]
        show("measured | forecast, ms", [statistic_row(errors) for errors in fullest])


if __name__ == "__main__":
    main()

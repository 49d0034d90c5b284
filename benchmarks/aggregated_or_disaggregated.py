"""One figure: what it costs to meet objectives with whole replicas, and with pools for each phase.

`python -m benchmarks.aggregated_or_disaggregated [PAGE.html]`
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.table import Row, show
from servecast.panel_page import COLOURS, Page, Panel, axis, write_page
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.simulator.fleet.fleet import Fleet, Pool, Role
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.fleet.transfer import Transfer
from servecast.simulator.slo import parse_slo
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload

RATES_PER_S = (10.0, 20.0, 40.0)
MOST_GPUS = 12
REQUESTS = 500
SLOS = [parse_slo("ttft:p95 < 1s"), parse_slo("tpot:p95 < 12ms")]
USD_PER_GPU_HOUR = 2.99
TRANSFER = Transfer(bw_bytes_per_s=36e9, latency_s=4e-4)
"""An adapter of 400 Gbit/s for each GPU, at the share and delay that Mooncake was measured with."""
REPLICA = Deployment(
    model=model("meta-llama/Llama-3.1-8B-Instruct"),
    accelerator=accelerator("h100_sxm"),
    engine="vllm",
    engine_version="0.32",
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=16384,
    max_num_seqs=128,
    max_num_batched_tokens=2048,
    usd_per_gpu_hour=USD_PER_GPU_HOUR,
)


@dataclass(frozen=True, slots=True)
class Point:
    """A fleet under a load: how many GPUs do what, and the share of requests within both limits."""

    rate_per_s: float
    way: str
    gpus: int
    attainment: float

    @property
    def usd_per_hour(self) -> float:
        """The price of all of its GPUs."""
        return self.gpus * USD_PER_GPU_HOUR


def points(rate_per_s: float) -> Iterator[tuple[Point, Point]]:
    """For each number of GPUs whole replicas, and the best of all ways to part them."""
    traffic = synthesize("chat", REQUESTS, rate_per_s=rate_per_s, seed=11)
    for gpus in range(2, MOST_GPUS + 1):
        together = Fleet((_pool("both", gpus),))
        whole = Point(rate_per_s, f"{gpus} together", gpus, _share(together, traffic))
        apart = max(
            (_parted(prompts, gpus, rate_per_s, traffic) for prompts in range(1, gpus)),
            key=lambda point: point.attainment,
        )
        yield whole, apart


def _parted(prompts: int, gpus: int, rate_per_s: float, traffic: Workload) -> Point:
    pools = _pool("prefill", prompts), _pool("decode", gpus - prompts)
    share = _share(Fleet(pools, transfer=TRANSFER), traffic)
    return Point(rate_per_s, f"{prompts} + {gpus - prompts}", gpus, share)


def _pool(role: Role, replicas: int) -> Pool:
    return Pool(role, replace(REPLICA, replicas=replicas), role)


def _share(fleet: Fleet, traffic: Workload) -> float:
    return simulate_fleet(replace(fleet, routing="central_queue"), traffic).attainment(SLOS)


def page(found: Sequence[tuple[Point, Point]]) -> Page:
    """A panel for each load."""
    panels = [
        _panel(rate, [pair for pair in found if pair[0].rate_per_s == rate]) for rate in RATES_PER_S
    ]
    return Page(
        title="Whole replicas, or pools for prompts and for outputs?",
        subtitle="Llama-3.1-8B on H100s, chat of Azure's shape: requests with their first token "
        "within 1 s and 12 ms a token after it, by what all GPUs cost",
        facts=[(f"{rate:g} requests/s", _cheapest(found, rate)) for rate in RATES_PER_S],
        panels=panels,
        credit="Simulated by benchmarks/aggregated_or_disaggregated.py; traffic "
        + synthesize("chat", 1, rate_per_s=1.0).attribution,
    )


def _cheapest(found: Sequence[tuple[Point, Point]], rate: float) -> str:
    """What meets the objectives for 95 % of requests at the least cost."""
    good = [p for pair in found for p in pair if p.rate_per_s == rate and p.attainment >= 0.95]
    if not good:
        return f"none up to {MOST_GPUS} GPUs"
    best = min(good, key=lambda point: (point.gpus, -point.attainment))
    return f"{best.way}: {best.usd_per_hour:.2f} USD/h"


def _panel(rate: float, pairs: Sequence[tuple[Point, Point]]) -> Panel:
    names = ("whole replicas", "prompts + outputs")
    series = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": [pair[place].usd_per_hour for pair in pairs],
            "y": [100 * pair[place].attainment for pair in pairs],
            "text": [pair[place].way for pair in pairs],
            "hovertemplate": "%{text} GPUs: %{y:.1f} %",
            "line": {"color": COLOURS[place], "width": 2.5},
            "marker": {"size": 8},
        }
        for place, name in enumerate(names)
    ]
    return Panel(
        title=f"{rate:g} requests a second",
        note="each point is one more GPU; parted in the best of all ways",
        series=series,
        layout={
            "xaxis": axis("USD per hour"),
            "yaxis": axis("requests within both limits, %", range=[0, 103]),
        },
        is_wide=rate == RATES_PER_S[-1],
    )


def rows(found: Sequence[tuple[Point, Point]]) -> list[Row]:
    """The same as a table."""
    return [
        {
            "requests/s": whole.rate_per_s,
            "GPUs": whole.gpus,
            "USD/h": whole.usd_per_hour,
            "together %": 100 * whole.attainment,
            "apart %": 100 * apart.attainment,
            "prompts + outputs": apart.way,
        }
        for whole, apart in found
    ]


def main() -> None:
    """Write the page and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path("aggregated_or_disaggregated.html")
    parser.add_argument("path", nargs="?", type=Path, default=default, help="the page")
    path: Path = parser.parse_args().path
    found = [pair for rate in RATES_PER_S for pair in points(rate)]
    write_page(page(found), path)
    show("Requests within both limits", rows(found))
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()

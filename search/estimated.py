"""What the estimate says of SLOs and objectives, for one of the deployments it priced."""

from __future__ import annotations

from math import inf, isnan

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.search.estimate import Estimate
from servecast.search.traffic import Floats
from servecast.simulator.objective import SPENT, Objective
from servecast.simulator.slo import Slo


def price_per_million(objective: Objective, deployment: Deployment, output_rate: float) -> float:
    """USD, GPU-hours or Wh per million output tokens, at so many output tokens per second.

    The energy is at most that: as if every GPU drew all it can.
    """
    return deployment.gpus * hourly(objective, deployment) / 3600.0 / output_rate * 1e6


def hourly(objective: Objective, deployment: Deployment) -> float:
    """What a GPU spends in an hour: USD, Wh, or itself."""
    prices = {"cost": deployment.usd_per_gpu_hour, "energy": deployment.accelerator.tdp_w}
    return prices.get(objective.name, 1.0) or 0.0


def floors(priced: Estimate, slo: Slo) -> Floats | None:
    """The least that `slo` bounds can be without any load, for each; None where none is known.

    Of a class none is: its prompts may be shorter than others.
    """
    if slo.request_class is not None:
        return None
    if slo.metric == "ttft" and slo.percentile is not None and slo.percentile >= 95:
        return priced.ttft_floor
    return priced.tpot_floor if slo.metric == "tpot" else None


def slo_values(priced: Estimate, slo: Slo) -> Floats:
    """The estimate of what an SLO bounds, for each deployment; NaN where there is none."""
    if slo.is_latency:
        return _latencies(priced, slo.metric, slo.percentile)
    known = {"throughput": priced.output_rate, "goodput": priced.request_rate}
    return known.get(slo.metric, np.full_like(priced.utilisation, np.nan))


def objective_values(
    priced: Estimate, objective: Objective, gpus: Floats, prices: Floats
) -> Floats:
    """The estimate of an objective, for each deployment; NaN where there is none.

    `gpus` are all that each occupies, `prices` those of `hourly`. Goodput is at most the rate of
    requests.
    """
    if objective.name in SPENT:
        return gpus * prices / 3600.0 / priced.output_rate * 1e6
    if objective.name in ("throughput", "goodput"):
        return priced.output_rate if objective.name == "throughput" else priced.request_rate
    return _latencies(priced, objective.name, objective.percentile)


def _latencies(priced: Estimate, metric: str, percentile: float | None) -> Floats:
    """Gaps between tokens are taken for their mean in a request, ends for the mean end."""
    if metric == "e2e":
        return priced.e2e_mean
    tail = "p95" if percentile is not None and percentile > 50 else "mean"
    known: Floats = getattr(priced, f"{'ttft' if metric == 'ttft' else 'tpot'}_{tail}")
    return known


def slo_value(priced: Estimate, row: int, slo: Slo) -> float:
    """The same for one of them; where there is none, a value that misses the SLO."""
    value = float(slo_values(priced, slo)[row])
    if isnan(value) or slo.metric in ("goodput", "attainment"):
        return inf if slo.is_latency else 0.0
    return value


def objective_value(
    priced: Estimate, row: int, objective: Objective, deployment: Deployment
) -> float:
    """The same for one of them; where there is none, the worst there is."""
    if objective.name in SPENT:
        return price_per_million(objective, deployment, float(priced.output_rate[row]))
    unasked = np.zeros_like(priced.output_rate)
    value = float(objective_values(priced, objective, unasked, unasked)[row])
    if isnan(value):
        return 1e9 if objective.direction == "minimise" else 0.0
    return min(value, 1e9)

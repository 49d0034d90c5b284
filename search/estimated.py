"""What the estimate says of SLOs and objectives, for one of the deployments it priced."""

from __future__ import annotations

from math import inf

from servecast.primitives.deployment import Deployment
from servecast.search.estimate import Estimate
from servecast.simulator.objective import SPENT, Objective
from servecast.simulator.slo import Slo


def price_per_million(objective: Objective, deployment: Deployment, output_rate: float) -> float:
    """USD, GPU-hours or Wh per million output tokens, at so many output tokens per second.

    The energy is at most that: as if every GPU drew all it can.
    """
    prices = {"cost": deployment.usd_per_gpu_hour, "energy": deployment.accelerator.tdp_w}
    price = prices.get(objective.name, 1.0)
    return deployment.gpus * (price or 0.0) / 3600.0 / output_rate * 1e6


def floor(priced: Estimate, row: int, slo: Slo) -> float | None:
    """The least that `slo` bounds can be, without any load; None where no floor is known.

    Of a class none is: its prompts may be shorter than others.
    """
    if slo.request_class is not None:
        return None
    if slo.metric == "ttft" and slo.percentile is not None and slo.percentile >= 95:
        return float(priced.ttft_floor[row])
    return float(priced.tpot_floor[row]) if slo.metric == "tpot" else None


def slo_value(priced: Estimate, row: int, slo: Slo) -> float:
    """The estimate's value of what an SLO bounds; where it has none, one that misses it."""
    if slo.metric in ("ttft", "tpot"):
        tail = slo.percentile is not None and slo.percentile > 50
        return float(getattr(priced, f"{slo.metric}_{'p95' if tail else 'mean'}")[row])
    if slo.metric == "throughput":
        return float(priced.output_rate[row])
    return inf if slo.is_latency else 0.0


def objective_value(
    priced: Estimate, row: int, objective: Objective, deployment: Deployment
) -> float:
    """The estimate's value of an objective; where it has none, the worst there is."""
    output_rate = float(priced.output_rate[row])
    if objective.name in SPENT:
        return price_per_million(objective, deployment, output_rate)
    if objective.name == "throughput":
        return output_rate
    if objective.name in ("ttft", "tpot"):
        tail = objective.percentile is not None and objective.percentile > 50
        value = float(getattr(priced, f"{objective.name}_{'p95' if tail else 'mean'}")[row])
        return min(value, 1e9)
    return 1e9 if objective.direction == "minimise" else 0.0

"""What a run spends: money, GPU-hours and energy, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from servecast.primitives.units import format_share
from servecast.simulator.result import Result


def spending_lines(result: Result) -> list[str]:
    """What the deployment costs by the hour and by the token, and what it draws, where known."""
    d = result.deployment
    if d.usd_per_gpu_hour is None or not isfinite(result.usd()):
        return energy_lines(result)
    hourly = d.usd_per_gpu_hour * d.gpus
    money = f"${hourly:,.2f} an hour, ${result.usd():,.2f} per million output tokens"
    return [money, *energy_lines(result)]


def energy_lines(result: Result) -> list[str]:
    """What the deployment draws, in a line; none where that is not known."""
    drawn = result.energy
    if drawn is None or not isfinite(result.wh()):
        return []
    return [
        f"{_average_w(result):,.0f} W on average, {result.wh():,.0f} Wh per million output "
        f"tokens: a step under way {format_share(drawn.busy)} of the time, at "
        f"{format_share(drawn.utilisation)} of the roofline"
    ]


def spending_json(result: Result) -> Mapping[str, object]:
    """The same and GPU-hours as JSON values; what is not known is NaN."""
    d, drawn = result.deployment, result.energy
    price = d.usd_per_gpu_hour
    return {
        "gpu_hours": result.gpu_hours,
        "usd_per_hour": None if price is None else price * d.gpus,
        "usd_per_million_output_tokens": result.usd(),
        "energy_wh": result.wh_spent,
        "average_w": _average_w(result),
        "wh_per_million_output_tokens": result.wh(),
        "busy": None if drawn is None else drawn.busy,
        "roofline_utilisation": None if drawn is None else drawn.utilisation,
    }


def _average_w(result: Result) -> float:
    """What all GPUs drew on average, in W; NaN where it is not known."""
    return result.wh_spent * 3600.0 / result.duration_s if result.duration_s else float("nan")

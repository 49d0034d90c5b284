"""A run by classes of requests: a table, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan

from servecast.output import Output, literal
from servecast.primitives.units import format_rate, format_seconds, format_share
from servecast.simulator.class_shares import class_shares
from servecast.simulator.result import Result
from servecast.simulator.served import Served
from servecast.simulator.slo import Slo
from servecast.traces.classes import NOBODY

_LATENCIES = ("ttft", "tpot", "e2e")


@dataclass(frozen=True, slots=True)
class ClassPart:
    """What one class got of a run, and took of it."""

    name: str
    served: Served
    """The run seen through its requests."""
    step_share: float
    """Its share of the time of all steps, by which it pays; NaN where that is not known."""
    usd: float
    """USD per million of its output tokens; NaN where it is not known."""
    wh: float
    """Wh per million of its output tokens; NaN where it is not known."""


def class_parts(served: Served) -> Iterator[ClassPart]:
    """The classes of a run's workload, in the order of their first requests.

    In a fleet, whose steps differ in price, what a class takes is not known.
    """
    names = (served.classes or NOBODY).names
    shares = class_shares(served) if isinstance(served, Result) else dict.fromkeys(names, nan)
    for name, share in shares.items():
        part = served.of_class(name)
        each = share * 1e6 / part.output_tokens if part.output_tokens else nan
        yield ClassPart(name, part, share, served.usd_spent * each, served.wh_spent * each)


def show_classes(out: Output, served: Served, slos: Sequence[Slo]) -> None:
    """A row for each class, where there are any; prices where they are known."""
    rows = [_row(part, slos) for part in class_parts(served)]
    if not rows:
        return
    latencies = (f"{name} p95" for name in _LATENCIES)
    shares = ("in SLOs", "of the steps", "$ / 1M tok", "Wh / 1M tok")
    columns = ("class", "requests", *latencies, "output", *shares)
    known = [place for place in range(len(columns)) if any(row[place] != "–" for row in rows)]
    out.line()
    out.table([columns[place] for place in known], ([row[i] for i in known] for row in rows))


def classes_json(served: Served, slos: Sequence[Slo]) -> dict[str, Mapping[str, object]]:
    """Each class by its name; times in seconds, rates over the whole run."""
    return {
        part.name: {
            "requests": part.served.arrived,
            "rejected": len(part.served.rejected),
            "output_tokens_per_s": part.served.throughput,
            "requests_per_s": part.served.request_rate,
            "attainment": part.served.attainment(slos),
            "goodput_per_s": part.served.goodput(slos),
            "step_share": part.step_share,
            "usd_per_million_output_tokens": part.usd,
            "wh_per_million_output_tokens": part.wh,
            "latency_s": {name: asdict(getattr(part.served, name)) for name in _LATENCIES},
        }
        for part in class_parts(served)
    }


def _row(part: ClassPart, slos: Sequence[Slo]) -> list[str]:
    served = part.served
    p95 = [served.latency(metric, "p95") for metric in _LATENCIES]
    limited = any(slo.limits_requests for slo in slos)
    return [
        literal(part.name),
        f"{served.arrived:,}",
        *("–" if value != value else format_seconds(value) for value in p95),
        format_rate(served.throughput, "tok"),
        format_share(served.attainment(slos)) if limited else "–",
        format_share(part.step_share),
        f"{part.usd:,.2f}" if isfinite(part.usd) else "–",
        f"{part.wh:,.0f}" if isfinite(part.wh) else "–",
    ]

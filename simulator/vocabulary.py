"""The words for what is measured: our short names, and the long ones of other benchmarks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from servecast.errors import InputError, nearest

Metric = Literal["ttft", "itl", "tpot", "e2e", "attainment", "goodput", "throughput"]
Statistic = str
"""`mean`, `max`, or a percentile such as `p95` and `p99.9`."""

LATENCIES: tuple[Metric, ...] = ("ttft", "itl", "tpot", "e2e")
FLOORS: tuple[Metric, ...] = ("attainment", "goodput", "throughput")

ALIASES: dict[str, Metric] = {
    "time_to_first_token": "ttft",
    "inter_token_latency": "tpot",
    "time_per_output_token": "tpot",
    "request_latency": "e2e",
    "e2el": "e2e",
    "e2e_latency": "e2e",
    "end_to_end_latency": "e2e",
    "good_request_fraction": "attainment",
    "output_token_throughput": "throughput",
}
"""Names that users bring from aiperf, guidellm and `vllm bench`.

aiperf's `inter_token_latency` is one number per request, (latency - TTFT) / (tokens - 1), which is
our `tpot`; our `itl` is the pool of all gaps between consecutive tokens.
"""

_STATISTIC_ALIASES = {
    "avg": "mean",
    "average": "mean",
    "median": "p50",
    "maximum": "max",
}


def canonical_metric(text: str) -> Metric:
    """Our name of a metric given by any of its names; unknown ones raise with the nearest."""
    names: dict[str, Metric] = {**{name: name for name in (*LATENCIES, *FLOORS)}, **ALIASES}
    name = re.sub(r"[\s-]+", "_", text.strip().lower())
    if name in names:
        return names[name]
    near = nearest(name, names)
    raise InputError(
        f"metric `{text.strip()}` is unknown\n  known: {', '.join((*LATENCIES, *FLOORS))}",
        hint=f"did you mean `{near}`?" if near else "write `ttft:p95 < 500ms`",
    )


def canonical_statistic(text: str) -> Statistic:
    """`mean`, `max` or a percentile without needless zeros; anything else raises."""
    name = text.strip().lower()
    name = _STATISTIC_ALIASES.get(name, name)
    if name in ("mean", "max"):
        return name
    match = re.fullmatch(r"p([0-9]{1,3}(?:\.[0-9]{1,6})?)", name)
    if match is None:
        near = nearest(name, ["p50", "p95", "p99", "mean", "max"])
        raise InputError(
            f"statistic `{text.strip()}` is unknown\n  known: mean, max, p50, p95, p99.9 …",
            hint=f"did you mean `{near or 'p95'}`?",
        )
    if not 0 < float(match[1]) < 100:
        raise InputError(
            f"percentile `{text.strip()}` is not between 0 and 100",
            hint="write `p95`, or `max` for the largest value",
        )
    return f"p{float(match[1]):g}"


def split_class(text: str) -> tuple[str | None, str]:
    """The class that a line of an SLO begins with, or None, and the rest of the line.

    A class is one word more before a colon than the line's form has. Where only one colon is there,
    it ends a class unless one side of it is a word of ours: `ttft:p95`, `chat: attainment`.
    """
    head, colon, rest = text.partition(":")
    name = re.split("[:<>=]", rest, maxsplit=1)[0]
    colons = re.split("[<>=]", text, maxsplit=1)[0].count(":")
    is_line = re.search("[<>=]", text) is not None
    extra = colons - (1 if is_line else 3)
    if not colon or extra < 0 or (extra == 0 and (not is_line or not _may_end_class(head, name))):
        return None, text
    return head.strip(), rest.strip()


def _may_end_class(head: str, name: str) -> bool:
    return not _reads(canonical_metric, head) and not _reads(canonical_statistic, name)


def _reads(parse: Callable[[str], str], text: str) -> bool:
    try:
        parse(text)
    except InputError:
        return False
    return True


def percentile(statistic: Statistic) -> float | None:
    """The percentile in (0, 100) that a statistic names, or None for mean and max."""
    return float(statistic[1:]) if statistic.startswith("p") else None

"""Service level objectives: what a deployment must keep, as one line of text each."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, replace
from typing import Literal

from servecast.errors import InputError
from servecast.primitives import units
from servecast.simulator.vocabulary import (
    LATENCIES,
    Metric,
    Statistic,
    canonical_metric,
    canonical_statistic,
    percentile,
    split_class,
)
from servecast.traces.classes import require_name

Operator = Literal["<", "<=", ">", ">="]

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_OPERATORS: dict[str, Operator] = {
    "<": "<", "<=": "<=", ">": ">", ">=": ">=",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_LINE = re.compile(r"([^:<>=]+?)(?::([^:<>=]+?))?(<=|>=|<|>)([^<>=]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective: a latency statistic below a threshold, or a floor above one.

    Latencies (`ttft`, `itl`, `tpot`, `e2e`) have a statistic and a threshold in seconds. Floors
    have none: `attainment` is a share in 0..1, `goodput` requests per second that meet every
    per-request limit, `throughput` output tokens per second of the whole deployment. With a class
    it is about the requests of that class alone.
    """

    metric: Metric
    statistic: Statistic | None
    operator: Operator
    threshold: float
    request_class: str | None = None

    @property
    def percentile(self) -> float | None:
        """The percentile in (0, 100), or None for mean, max and floors."""
        return percentile(self.statistic) if self.statistic else None

    @property
    def is_latency(self) -> bool:
        """Whether it bounds a latency from above; otherwise it is a floor."""
        return self.metric in LATENCIES

    @property
    def limits_requests(self) -> bool:
        """Whether its threshold is also a limit that each single request meets or misses.

        Attainment and goodput count the requests within every such limit, whatever the statistic.
        `itl` is pooled over tokens and belongs to no request.
        """
        return self.is_latency and self.metric != "itl"

    def met_by(self, value: float) -> bool:
        """Whether `value` (in the unit of the threshold) meets it; an undefined value does not."""
        return bool(_COMPARE[self.operator](value, self.threshold))

    def __str__(self) -> str:
        name = f"{self.metric}:{self.statistic}" if self.statistic else self.metric
        whose = f"{self.request_class}: " if self.request_class else ""
        return f"{whose}{name} {self.operator} {_threshold_text(self)}"


def parse_slo(text: str) -> Slo:
    """The objective that a line states: `ttft:p95 < 500ms`, `attainment > 99%`, `goodput >= 5/s`.

    `chat: ttft:p95 < 500ms` is about the requests of the class `chat`. aiperf's form
    `time_to_first_token:p95:lt:200` is read too; there a time without a unit is in ms. A latency
    without a statistic is refused: no percentile is assumed. Errors name what is wrong and the
    nearest right thing.
    """
    name, line = split_class(text)
    return _of_all(line) if name is None else for_class(_of_all(line), name)


def for_class(slo: Slo, name: str) -> Slo:
    """`slo` for the requests of a class alone; InputError where that is no name or it has one."""
    if slo.request_class is not None:
        raise InputError(f"SLO `{slo}` is already about a class, and `{name}` is another")
    if slo.metric == "itl":
        raise InputError(
            f"SLO `{name}: {slo}` bounds the gaps of a class, which are pooled over all tokens",
            hint=f"bound `tpot`, which every request has: `{name}: tpot:p95 < 40ms`",
        )
    return replace(slo, request_class=require_name(name))


def for_all(slo: Slo) -> Slo:
    """`slo` for all requests, whatever class it was about."""
    return replace(slo, request_class=None)


def _of_all(text: str) -> Slo:
    """The objective of a line without a class."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 4:
        return _slo(text, parts[0], parts[1], parts[2].lower(), parts[3], bare_time="ms")
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"SLO `{text}` is not of the form metric:statistic, operator, value",
            hint="write it as `ttft:p95 < 500ms` or `attainment > 99%`",
        )
    return _slo(text, match[1], match[2], match[3], match[4].strip(), bare_time=None)


def _slo(
    text: str, name: str, statistic: str | None, word: str, value: str, *, bare_time: str | None
) -> Slo:
    metric = canonical_metric(name)
    sign = _OPERATORS.get(word)
    if sign is None:
        raise InputError(
            f"SLO `{text}` has the unknown operator `{word}`", hint="use one of lt, le, gt, ge"
        )
    below = sign in ("<", "<=")
    if below != (metric in LATENCIES):
        rule = (
            "an upper limit: use `<` or `<=`" if metric in LATENCIES else "a floor: use `>` or `>=`"
        )
        raise InputError(f"SLO `{text}` has `{sign}`, but `{metric}` takes {rule}")
    if metric in LATENCIES:
        threshold = units.parse_seconds(value, bare=bare_time, positive=True)
        return Slo(
            metric, _latency_statistic(text, metric, statistic, sign, value), sign, threshold
        )
    return _floor(text, metric, statistic, sign, value)


def _latency_statistic(
    text: str, metric: Metric, statistic: str | None, sign: Operator, value: str
) -> Statistic:
    if statistic is None:
        raise InputError(
            f"SLO `{text}` states no statistic of `{metric}`",
            hint=f"did you mean `{metric}:p95 {sign} {value}`? No percentile is assumed",
        )
    return canonical_statistic(statistic)


def _floor(text: str, metric: Metric, statistic: str | None, sign: Operator, value: str) -> Slo:
    if statistic is not None and canonical_statistic(statistic) != "mean":
        raise InputError(
            f"SLO `{text}` states a statistic, but `{metric}` is one number for the whole run",
            hint=f"write `{metric} {sign} {value}`",
        )
    if metric != "attainment":
        return Slo(metric, None, sign, units.parse_rate(value, positive=True))
    share = units.parse_share(value)
    if share == 1 and sign == ">":
        raise InputError(
            f"SLO `{text}` can never hold: no share is above 100%",
            hint="write `attainment >= 100%`",
        )
    return Slo(metric, None, sign, share)


def _threshold_text(slo: Slo) -> str:
    """The threshold so that `parse_slo` reads back the same number."""
    if slo.is_latency:
        return units.exact(slo.threshold, "ms" if slo.threshold < 1 else "s", units.TIME)
    if slo.metric == "attainment":
        return units.exact(slo.threshold, "%", units.SHARE)
    return units.exact(slo.threshold, "/s" if slo.metric == "goodput" else " tok/s", units.RATE)

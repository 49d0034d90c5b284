"""What clients got: records, run logs, and the numbers read from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.step_cost import StepCost
from servecast.simulator.metrics import (
    Distribution,
    distribution,
    inter_token_distribution,
    weighted_percentile,
)
from servecast.simulator.objective import Objective
from servecast.simulator.records import Records
from servecast.simulator.run_log import RunLog
from servecast.simulator.slo import Slo, for_all
from servecast.simulator.vocabulary import percentile
from servecast.traces.classes import NOBODY, Classes

OVERLOAD_BACKLOG = 0.05
"""A queue above this share of all requests when the last one arrives may be an overload."""


def _nobody() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Served(ABC):
    """A workload as it was served, by whatever served it. Times in seconds, rates per second."""

    workload: str
    records: Records
    logs: Sequence[RunLog]
    """One per replica."""
    arrived: int
    rejected: NDArray[np.int64]
    """Indices of requests whose prompt exceeds the model length."""
    truncated: int
    """Requests whose output was cut by max_tokens or the model length."""
    is_open_loop: bool
    classes: Classes | None = field(default=None, kw_only=True)
    """Of all that arrived."""
    turned_away: NDArray[np.int64] = field(default_factory=_nobody, kw_only=True)
    """Indices of requests that a gateway did not let in, or not in time."""
    part_of_s: float | None = field(default=None, kw_only=True)
    """Of a class: how long the whole run lasted, which rates are taken over."""

    @property
    @abstractmethod
    def gpu_hours(self) -> float:
        """What was occupied from the first arrival to the last token."""

    @property
    @abstractmethod
    def usd_spent(self) -> float:
        """The price of those hours; NaN where none is known."""

    @property
    @abstractmethod
    def caches_prefixes(self) -> bool:
        """Whether any of it has a prefix cache."""

    @property
    @abstractmethod
    def _step_costs(self) -> Sequence[StepCost]:
        """What a step costs, for each log."""

    @property
    def wh_spent(self) -> float:
        """What the GPUs drew over those hours, in Wh; NaN where that is not known."""
        return float("nan")

    def among(self, records: Records) -> Self:
        """The same run seen through some of its requests alone, all of which were served."""
        return replace(
            self,
            records=records,
            arrived=len(records),
            rejected=_nobody(),
            turned_away=_nobody(),
        )

    def of_class(self, name: str) -> Self:
        """The same run seen through the requests of a class; rates are over the whole run.

        The gaps between tokens stay those of all requests. InputError for an unknown class.
        """
        classes = self.classes or NOBODY
        number = classes.number(name)
        mine = np.flatnonzero(classes.numbers[self.records.index] == number)
        rejected = self.rejected[classes.numbers[self.rejected] == number]
        turned_away = self.turned_away[classes.numbers[self.turned_away] == number]
        return replace(
            self,
            records=self.records.rows(mine),
            arrived=len(mine) + len(rejected) + len(turned_away),
            rejected=rejected,
            turned_away=turned_away,
            part_of_s=self.duration_s,
        )

    @cached_property
    def duration_s(self) -> float:
        """From the first arrival to the last token."""
        if self.part_of_s is not None:
            return self.part_of_s
        if not len(self.records):
            return 0.0
        span_ns = int(self.records.finish_ns.max()) - int(self.records.arrival_ns.min())
        return span_ns / 1e9

    @property
    def output_tokens(self) -> int:
        """Tokens that came out in all."""
        return int(self.records.output_tokens.sum())

    @property
    def throughput(self) -> float:
        """Output tokens per second of the whole deployment."""
        return self.output_tokens / self.duration_s if self.duration_s else 0.0

    @property
    def request_rate(self) -> float:
        """Finished requests per second."""
        return len(self.records) / self.duration_s if self.duration_s else 0.0

    @property
    def preemptions(self) -> int:
        """Times a request lost its KV blocks and was computed again."""
        return int(self.records.preemptions.sum())

    @property
    def cached_share(self) -> float | None:
        """Share of prompt tokens found in the prefix cache; None where there is no cache."""
        if not self.caches_prefixes or not len(self.records):
            return None
        return int(self.records.cached_tokens.sum()) / int(self.records.prompt_tokens.sum())

    @property
    def host_share(self) -> float:
        """Share of prompt tokens loaded from host memory."""
        prompts = int(self.records.prompt_tokens.sum())
        return int(self.records.host_tokens.sum()) / prompts if prompts else 0.0

    @cached_property
    def ttft(self) -> Distribution:
        """Time to first token."""
        return distribution(self.records.ttft_ns / 1e9)

    @cached_property
    def tpot(self) -> Distribution:
        """Mean time per output token after the first, over requests of two tokens or more."""
        return distribution(self.records.tpot_ns / 1e9)

    @cached_property
    def e2e(self) -> Distribution:
        """From arrival to the last token."""
        return distribution(self.records.e2e_ns / 1e9)

    @cached_property
    def itl(self) -> Distribution:
        """Gaps between consecutive tokens, pooled over tokens."""
        return inter_token_distribution(*self._inter_token_ns)

    @cached_property
    def _inter_token_ns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        pairs = zip(self.logs, self._step_costs, strict=True)
        parts = [log.inter_token_ns(cost.decode_run) for log, cost in pairs]
        waits, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        return waits, counts

    def latency(self, metric: str, statistic: str) -> float:
        """A statistic (mean, max, p95 …) of ttft, itl, tpot or e2e, in seconds."""
        known: Distribution = getattr(self, metric)
        if statistic in ("mean", "p50", "p90", "p95", "p99", "max"):
            return float(getattr(known, statistic))
        rank = percentile(statistic) or 0.0
        if metric == "itl":
            return weighted_percentile(*self._inter_token_ns, rank) / 1e9
        values = np.asarray(getattr(self.records, f"{metric}_ns"), dtype=np.float64)
        values = values[~np.isnan(values)]
        return float(np.percentile(values, rank)) / 1e9 if len(values) else float("nan")

    def meeting(self, slos: Iterable[Slo]) -> NDArray[np.bool_]:
        """Which recorded requests are within every per-request limit of `slos` that is about them.

        A request of one token has no TPOT and cannot miss it.
        """
        within = np.ones(len(self.records), dtype=np.bool_)
        for slo in slos:
            if slo.limits_requests:
                values = np.asarray(getattr(self.records, f"{slo.metric}_ns"), dtype=np.float64)
                missed = values >= slo.threshold * 1e9
                if slo.operator == "<=":
                    missed = values > slo.threshold * 1e9
                within &= ~(missed & self._is_about(slo))
        return within

    def _is_about(self, slo: Slo) -> NDArray[np.bool_]:
        """Which recorded requests are of the objective's class."""
        if slo.request_class is None or self.classes is None:
            return np.ones(len(self.records), dtype=np.bool_)
        number = self.classes.number(slo.request_class)
        return np.asarray(self.classes.numbers[self.records.index] == number)

    def attainment(self, slos: Iterable[Slo]) -> float:
        """Share of all arrived requests, the rejected included, that meet every limit."""
        return float(self.meeting(slos).sum()) / self.arrived if self.arrived else 0.0

    def goodput(self, slos: Iterable[Slo]) -> float:
        """Requests per second that meet every limit."""
        return float(self.meeting(slos).sum()) / self.duration_s if self.duration_s else 0.0

    def reached(self, slo: Slo, slos: Sequence[Slo]) -> float:
        """What `slo` bounds, in the unit of its threshold; `slos` are all objectives together.

        Of the requests of its class, where it has one; NaN where none of them arrived.
        """
        if slo.request_class is not None:
            part = self.of_class(slo.request_class)
            return part.reached(for_all(slo), slos) if part.arrived else float("nan")
        if slo.is_latency and slo.statistic is not None:
            return self.latency(slo.metric, slo.statistic)
        if slo.metric == "attainment":
            return self.attainment(slos)
        return self.goodput(slos) if slo.metric == "goodput" else self.throughput

    def objective(self, objective: Objective, slos: Sequence[Slo]) -> float:
        """The value of `objective`; what is per token is infinite when nothing came out."""
        if objective.statistic is not None:
            return self.latency(objective.name, objective.statistic)
        if objective.name == "goodput":
            return self.goodput(slos)
        if objective.name == "throughput":
            return self.throughput
        if objective.name == "energy":
            return self.wh()
        return self._per_million(self.gpu_hours) if objective.name == "gpu_hours" else self.usd()

    def wh(self) -> float:
        """Wh per million output tokens; NaN where it is not known what the GPUs draw."""
        return self._per_million(self.wh_spent)

    def usd(self) -> float:
        """USD per million output tokens; NaN where no price is known."""
        return self._per_million(self.usd_spent)

    def _per_million(self, spent: float) -> float:
        return spent / self.output_tokens * 1e6 if self.output_tokens else float("inf")

    @cached_property
    def is_overloaded(self) -> bool:
        """Whether requests arrived faster than they were served.

        Seen by the queue of requests not yet scheduled: large when the last request arrives, and
        larger than at three quarters and at half of the arrivals. Never in a closed loop.
        """
        if not self.is_open_loop or len(self.records) < 20:
            return False
        arrival = self.records.arrival_ns
        scheduled = np.sort(self.records.scheduled_ns)
        marks = np.array([len(arrival) * part // 4 - 1 for part in (2, 3, 4)])
        taken = np.searchsorted(scheduled, arrival[marks], "right")
        half, three_quarters, last = (int(queued) for queued in marks + 1 - taken)
        return half < three_quarters < last and last > OVERLOAD_BACKLOG * len(arrival)

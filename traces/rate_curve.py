"""Rate curves: how many requests a second come at which time, as over a day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.traces.columns import integers
from servecast.traces.faults import Faults
from servecast.traces.files import open_text
from servecast.traces.formats import require_columns
from servecast.traces.quantities import MAX_ARRIVAL_NS, NS_PER_S, SECONDS, Quantity, scaled_integer
from servecast.traces.reshape import require_no_sessions, require_rate
from servecast.traces.tables import open_table
from servecast.traces.workload import Ints, Workload

Floats = NDArray[np.float64]

_MICRO = 6
_MOST_MICRO = 10**15


def _micro(text: str) -> int:
    rate = scaled_integer(text, _MICRO)
    if not 0 <= rate <= _MOST_MICRO:
        raise ValueError(text)
    return rate


_RATE = Quantity(_micro, "a number of requests a second from 0 to 1000000000")
_COLUMNS = (("t_s", "at_s"), ("rate_rps", "rate_per_s"))


@dataclass(frozen=True, slots=True, eq=False)
class RateCurve:
    """Rates, each from its `start_ns` to the next one's; then the curve begins again.

    The last is as long as the one before it.
    """

    start_ns: Ints
    """From 0 on, rising; at least two."""
    rate_per_s: Floats

    def __post_init__(self) -> None:
        rising = len(self.start_ns) > 1 and (np.diff(self.start_ns) > 0).all()
        if not rising or self.start_ns[0] != 0:
            raise InputError(
                "a curve of rates needs two times or more, each later than the one before, the "
                "first 0",
                hint="one row for each hour, for example",
            )
        if not self.rate_per_s.max() > 0 or self.rate_per_s.min() < 0:
            raise InputError(
                "no rate of a curve may be below 0, and one must be above", hint="see its rates"
            )

    @property
    def mean_per_s(self) -> float:
        """Over the whole curve."""
        return float(self._requests()[-1] * NS_PER_S / self._edges_ns()[-1])

    def with_mean(self, rate_per_s: float) -> RateCurve:
        """The same ups and downs around another mean."""
        require_rate(rate_per_s)
        return replace(self, rate_per_s=self.rate_per_s * (rate_per_s / self.mean_per_s))

    def applied_to(self, workload: Workload) -> Workload:
        """The workload with its time stretched here and squeezed there, so that it has these rates.

        Its own mean rate is taken as even: request i of a steady stream comes when the curve has
        brought i, and what is bursty between requests stays so. No request is added or left out.
        """
        require_no_sessions(workload, "a curve of rates")
        if not workload.rate_per_s:
            raise InputError(
                f"`{workload.name}` has no rate that a curve could change",
                hint="take a workload whose requests come at several times",
            )
        edges_ns, requests = self._edges_ns(), self._requests()
        since_ns = workload.arrival_ns - workload.arrival_ns[0]
        due: Floats = since_ns * (workload.rate_per_s / NS_PER_S)
        rounds: Floats = np.floor(due / requests[-1])
        rest = due - rounds * requests[-1]
        at_ns: Floats = rounds * float(edges_ns[-1])
        at_ns += np.asarray(np.interp(rest, requests, edges_ns), np.float64)
        if at_ns[-1] > MAX_ARRIVAL_NS:
            raise InputError(
                f"{len(workload)} requests at {self.mean_per_s:g}/s last longer than "
                f"{MAX_ARRIVAL_NS // NS_PER_S} s",
                hint="raise the rates",
            )
        found: Ints = np.rint(at_ns).astype(np.int64)
        return replace(workload, arrival_ns=found - found[0])

    def _edges_ns(self) -> Ints:
        last = 2 * self.start_ns[-1] - self.start_ns[-2]
        return np.append(self.start_ns, last)

    def _requests(self) -> Floats:
        """How many requests the curve has brought by each edge."""
        brought = np.cumsum(self.rate_per_s * np.diff(self._edges_ns()) / NS_PER_S)
        return np.concatenate(([0.0], brought))


def read_rate_curve(path: str | PathLike[str]) -> RateCurve:
    """The curve in a table of seconds (`t_s`) and requests a second (`rate_rps`)."""
    file = Path(path)
    faults = Faults(file, 5)
    times: list[Ints] = [np.empty(0, np.int64)]
    rates: list[Ints] = [np.empty(0, np.int64)]
    with open_text(file) as text:
        table = open_table(text, file)
        names = require_columns(table, file, _COLUMNS)
        for chunk in table.chunks(names, None, faults):
            times.append(integers(chunk, 0, names, SECONDS, faults))
            rates.append(integers(chunk, 1, names, _RATE, faults))
    faults.settle()
    return RateCurve(np.concatenate(times), np.concatenate(rates) / 10**_MICRO)

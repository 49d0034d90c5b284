"""ServeGen: the clients of Alibaba's hosted models, as rates, bursts and histograms of lengths.

`servegen_clients.csv` has a row a client: its mean rate, how its gaps vary, and in what share of
its windows of 10 minutes they are rather Gamma than Weibull. `servegen_client_length_hist.csv.gz`
has the lengths of most of them. Source: alibaba/ServeGen, Apache-2.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from os import PathLike
from pathlib import Path

import numpy as np

from servecast.errors import unknown
from servecast.traces.arrivals import Gamma, StationaryProcess, Weibull
from servecast.traces.client_pool import ClientPool, LengthHistogram, PoolClient
from servecast.traces.faults import Faults
from servecast.traces.files import open_text
from servecast.traces.formats import require_columns
from servecast.traces.tables import open_table

CLIENTS, HISTOGRAMS = "servegen_clients.csv", "servegen_client_length_hist.csv.gz"
_ATTRIBUTION = "synthesized from ServeGen's clients (alibaba/ServeGen), Apache-2.0"
_MOST_BAD = 5
_RULE = "a finite number of at least 0"
_Key = tuple[str, str]


def read_pool(folder: str | PathLike[str], pool: str) -> ClientPool:
    """The clients of the pool, such as `m-large`, from ServeGen's two files in the folder.

    Clients that never send are left out. InputError for a bad file or an unknown pool.
    """
    rows = list(_rows(Path(folder) / CLIENTS, _CLIENT_TEXTS, _CLIENT_NUMBERS))
    pools = {texts[0].rpartition("/")[2]: texts[0] for texts, _ in rows}
    name = pool.rpartition("/")[2]
    if name not in pools:
        raise unknown("pool", pool, pools, command=f"see the column `pool` of {CLIENTS}")
    lengths = _histograms(Path(folder) / HISTOGRAMS, pools[name])
    clients = [
        PoolClient(rate_per_s, _arrivals(cv, gamma_share), _both(lengths, number))
        for (at, number), (rate_per_s, cv, gamma_share) in rows
        if at == pools[name] and rate_per_s
    ]
    return ClientPool(name, clients, _ATTRIBUTION)


_CLIENT_TEXTS = ("pool", "client")
_CLIENT_NUMBERS = ("mean_rate", "cv_rate_weighted", "frac_gamma")
_HISTOGRAM_TEXTS = ("pool", "client", "field")
_HISTOGRAM_NUMBERS = ("bin_lo", "bin_hi", "prob")


def _arrivals(cv: float, gamma_share: float) -> StationaryProcess:
    return Gamma(cv) if gamma_share >= 0.5 else Weibull(cv)


def _both(
    lengths: Mapping[_Key, LengthHistogram], client: str
) -> tuple[LengthHistogram, LengthHistogram] | None:
    inputs, outputs = (lengths.get((client, f"{way}_tokens")) for way in ("input", "output"))
    return None if inputs is None or outputs is None else (inputs, outputs)


def _histograms(path: Path, pool: str) -> dict[_Key, LengthHistogram]:
    """By client and field; bins of one histogram stand together."""
    rows = (row for row in _rows(path, _HISTOGRAM_TEXTS, _HISTOGRAM_NUMBERS) if row[0][0] == pool)
    found: dict[_Key, LengthHistogram] = {}
    for (_, client, field), group in groupby(rows, key=lambda row: row[0]):
        low, high, probability = np.array([numbers for _, numbers in group]).T
        found[client, field] = LengthHistogram(
            low.astype(np.int64), high.astype(np.int64), probability
        )
    return found


def _rows(
    path: Path, texts: Sequence[str], numbers: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
    """The cells of each row; a number that is not given is 0."""
    faults = Faults(path, _MOST_BAD)
    with open_text(path) as text:
        table = open_table(text, path)
        names = require_columns(table, path, [(name,) for name in (*texts, *numbers)])
        for chunk in table.chunks(names, None, faults):
            for line, *cells in zip(chunk.lines, *chunk.columns, strict=True):
                found = [_number(cell) for cell in cells[len(texts) :]]
                for name, cell, number in zip(numbers, cells[len(texts) :], found, strict=True):
                    if number is None:
                        faults.add_value(line, name, cell, _RULE)
                yield tuple(cells[: len(texts)]), tuple(number or 0.0 for number in found)
    faults.settle()


def _number(cell: str) -> float | None:
    """The number in a cell, None where there is none that can be a rate, a count or a share."""
    try:
        number = float(cell or 0)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None

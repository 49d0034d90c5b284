"""What a step costs on the very server whose steps were recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.cost_table import CostTable
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.rows import sorted_rows
from servecast.timewarp.least_squares import Floats
from servecast.timewarp.recorded_fit import RecordedFit
from servecast.timewarp.recorded_work import StepWork

Keys = NDArray[np.int64]


class RecordedStepCost:
    """A `StepCost` from recorded steps: their mean where they are alike, a fit between them.

    Alike are steps of as many decodes with the same whole mean of contexts, and the same prompt
    chunks in all. How far contexts spread is in the recording and is not looked at.
    """

    needs_spread = False

    def __init__(self, device: CostTable, host: CostTable, factor: float = 1.0) -> None:
        """The two tables of a recording (`recorded_tables`), each step `factor` times as long."""
        self._device, self._host = _Part(device, factor), _Part(host, factor)
        self._runs: dict[int, DecodeRun] = {}

    @property
    def relative_error(self) -> float:
        """How far the fit is from the recorded steps: the share of their time, in the mean."""
        parts = self._device, self._host
        return sum(each.misfit_s for each in parts) / sum(each.total_s for each in parts)

    def step(self, batch: Batch) -> StepTime:
        """Nanoseconds on the device, and of the host beside it."""
        key = StepWork.of(batch).key
        return StepTime(self._device.step_ns(key), self._host.step_ns(key))

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """Steps of `sequences` sequences by their mean context."""

        def price(contexts: NDArray[np.float64]) -> Keys:
            keys = np.zeros((len(contexts), 7), dtype=np.int64)
            keys[:, :2], keys[:, 2] = sequences, contexts
            return self._device.steps_ns(keys) + self._host.steps_ns(keys)

        if sequences not in self._runs:
            self._runs[sequences] = DecodeRun(price, 0)
        return self._runs[sequences]

    def spread(self, contexts: Sequence[int]) -> int:
        """0: it is not looked at."""
        return 0

    def is_recorded(self, batch: Batch) -> bool:
        """Whether such a step was recorded; otherwise it is fitted."""
        return self._device.is_known(StepWork.of(batch).key)


class _Part:
    """One of the two tables, by the keys of its steps."""

    def __init__(self, table: CostTable, factor: float) -> None:
        keys, seconds = _means(table)
        seconds = seconds * factor
        self._fit = RecordedFit(keys.astype(np.float64), seconds)
        fitted = self._fit.seconds(keys.astype(np.float64))
        self.total_s = float(seconds.sum())
        self.misfit_s = float(np.abs(fitted - seconds).sum())
        rows = map(tuple, keys.tolist())
        self._known: dict[tuple[int, ...], int] = dict(zip(rows, _ns(seconds), strict=True))
        self._fitted: dict[tuple[int, ...], int] = {}

    def is_known(self, key: tuple[int, ...]) -> bool:
        return key in self._known

    def step_ns(self, key: tuple[int, ...]) -> int:
        found = self._known.get(key) or self._fitted.get(key)
        if found is None:
            found = self._fitted[key] = int(self.steps_ns(np.array([key]))[0])
        return found

    def steps_ns(self, keys: Keys) -> Keys:
        fitted = _ns(self._fit.seconds(keys.astype(np.float64)))
        rows: list[list[int]] = keys.tolist()
        known = [self._known.get(tuple(key), ns) for key, ns in zip(rows, fitted, strict=True)]
        return np.array(known, dtype=np.int64)


def _means(table: CostTable) -> tuple[Keys, Floats]:
    """The keys of a table's steps, each once, and the mean of those alike."""
    rows = [StepWork(*point).key for point in table.points.tolist()]
    keys = np.array(rows, dtype=np.int64)
    order, is_new = sorted_rows(keys)
    place = np.cumsum(is_new) - 1
    total = np.bincount(place, weights=table.seconds[order])
    return keys[order][is_new], total / np.bincount(place)


def _ns(seconds: Floats) -> list[int]:
    return [round(each * 1e9) for each in seconds.tolist()]

"""The cost source of elementwise work: measured norms, rotations and gates as one curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import ACTIVATION_BYTES, Elementwise, Operation, Quantity

MOVES = {"layernorm": 4.0, "rotary_emb": 2.0, "act_fn": 1.5}
"""Elements that a layer reads and writes for each of its table's: a norm adds the residual."""

BINS_PER_OCTAVE = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Curve:
    """Seconds by bytes moved, in logarithms, and how far the points stray from it."""

    log_bytes: Floats
    log_seconds: Floats
    relative_error: float

    def seconds(self, moved: Floats) -> Floats:
        """Constant below the first point, by bandwidth beyond the last."""
        logs = np.log(np.maximum(moved, 1.0))
        beyond = np.maximum(logs - self.log_bytes[-1], 0.0)
        seconds = np.exp(np.interp(logs, self.log_bytes, self.log_seconds) + beyond)
        return np.asarray(seconds, dtype=np.float64)


class ElementwiseSource:
    """Prices elementwise operations by the bytes they move, from measured layers of a device.

    An operation does not say which layer it is, so that all layers make one curve. A roofline of
    DRAM cannot stand for it: rows of a few tens of MB stay in the L2 cache of new GPUs, and move at
    more than twice the DRAM's rate. Everything else is refused with UnsupportedError: chain it.
    """

    def __init__(self, store: CostStore, source: str) -> None:
        """`source` is the engine whose kernels count."""
        self._store, self._source = store, source
        self._curves: dict[str, _Curve | None] = {}

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """Seconds of `operation`; UnsupportedError where the device has no such table."""
        curve, moved = self._read(operation, device)
        is_within = bool(np.all(np.log(np.maximum(moved, 1.0)) <= curve.log_bytes[-1]))
        provenance = Provenance.INTERPOLATED if is_within else Provenance.EXTRAPOLATED
        return Cost(curve.seconds(moved), provenance, curve.relative_error)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone."""
        curve, moved = self._read(operation, device)
        return curve.seconds(moved)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """None: it knows nothing of calls for both."""
        return None

    def _read(self, operation: Operation, device: Accelerator) -> tuple[_Curve, Floats]:
        """The device's curve, and the bytes that the operation moves."""
        if device.name not in self._curves:
            self._curves[device.name] = self._measured(device.name)
        curve = self._curves[device.name]
        if curve is None or not isinstance(operation, Elementwise):
            raise UnsupportedError(
                f"no elementwise table of {device.name} answers for {type(operation).__name__}",
                hint="chain this source with others",
            )
        return curve, np.asarray(operation.bytes, dtype=np.float64)

    def _measured(self, device: str) -> _Curve | None:
        moved: list[Floats] = []
        seconds: list[Floats] = []
        for table in self._store.find("elementwise", device, source=self._source):
            passes = MOVES.get(table.key.traits.get("layer", ""))
            if passes is not None:
                points = np.asarray(table.points, dtype=np.float64)
                moved.append(points[:, 0] * points[:, 1] * passes * ACTIVATION_BYTES)
                seconds.append(np.asarray(table.seconds, dtype=np.float64))
        return _fitted(np.concatenate(moved), np.concatenate(seconds)) if moved else None


def _fitted(moved: Floats, seconds: Floats) -> _Curve:
    """A point for each half octave, the geometric mean of what was measured in it."""
    logs, times = np.log(moved), np.log(seconds)
    bins = np.floor(np.log2(moved) * BINS_PER_OCTAVE)
    members = [bins == each for each in np.unique(bins)]
    log_bytes = np.array([logs[own].mean() for own in members])
    log_seconds = np.array([times[own].mean() for own in members])
    off = np.abs(np.exp(times - np.interp(logs, log_bytes, log_seconds)) - 1.0)
    return _Curve(log_bytes, log_seconds, float(np.percentile(off, 90)))

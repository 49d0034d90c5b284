"""A step cost that makes an engine a queue one can compute by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.decode_run import DecodeRun


class ConstantStepCost:
    """Every step takes `step_ns`, whatever it computes."""

    needs_spread = False

    def __init__(self, step_ns: int) -> None:
        self._step = StepTime(step_ns, 0)
        self._run = DecodeRun(_nothing, step_ns)

    def step(self, batch: Batch) -> StepTime:
        """The constant."""
        return self._step

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """One run serves all batch sizes."""
        return self._run

    def spread(self, contexts: Sequence[int]) -> int:
        """No context matters."""
        return 0


def _nothing(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.zeros(len(contexts), dtype=np.int64)

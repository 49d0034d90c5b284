"""Step durations of a run, fed back: what then differs is the control loop's alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from servecast.errors import InputError
from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.step_cost import StepCost


class RecordedCost:
    """A `StepCost` whose next step takes as long as the next one recorded, whatever is in it."""

    needs_spread = False

    def __init__(self, durations_ns: Iterable[int], otherwise: StepCost) -> None:
        """`otherwise` answers what is asked about steps that do not run."""
        self.steps = 0
        """Taken so far."""
        self._durations: Iterator[int] = iter(durations_ns)
        self._otherwise = otherwise

    def step(self, batch: Batch) -> StepTime:
        """The next duration; raises InputError where the recorded run had no such step."""
        duration_ns = next(self._durations, None)
        if duration_ns is None:
            raise InputError(
                f"the recording has {self.steps} steps, and the run takes another one",
                hint="replay the workload that was recorded, with the same options",
            )
        self.steps += 1
        return StepTime(duration_ns, 0)

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """As the other cost has it."""
        return self._otherwise.decode_run(sequences, spread)

    def spread(self, contexts: Sequence[int]) -> int:
        """No context matters."""
        return 0

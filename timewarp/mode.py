"""How an engine is emulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servecast.timewarp.speculation import Speculation


@dataclass(frozen=True, slots=True)
class Mode:
    """What time is made of, and how often the engine's scheduler runs."""

    flow: float | None = None
    """Virtual nanoseconds for each of the control loop's CPU time, in place of modelled host time;
    None: the clock stands still meanwhile."""
    stepping: bool = False
    """One pass of the scheduler for each step. Otherwise one stands for many wherever the outcome
    is the same to the nanosecond."""
    log_batches: bool = False
    """Keep who was computed in each step, which takes stepping."""
    speculation: Speculation | None = None
    """Drafts, which take stepping; with none a step it is as without."""

    @property
    def drafting(self) -> Speculation | None:
        """The speculation, where any token is drafted."""
        return self.speculation if self.speculation and self.speculation.acceptance else None

"""What changes a fleet while it serves."""

from __future__ import annotations

from typing import Protocol

from servecast.simulator.fleet.roster import Process, Roster


class Change(Protocol):
    """Something that starts or stops replicas of a pool, as a process beside the clients."""

    @property
    def pool(self) -> str:
        """Whose replicas it changes."""
        ...

    def happen(self, roster: Roster) -> Process:
        """Change what is to be changed, as long as `roster.unfinished` is above zero."""
        ...

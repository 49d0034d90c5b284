"""Several fronts, each for some classes of requests: models that share a budget of GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import simpy

from servecast.errors import InputError
from servecast.simulator.fleet.fleet import Fleet
from servecast.simulator.fleet.front import Front
from servecast.simulator.request import Request
from servecast.traces.classes import NOBODY
from servecast.traces.workload import Workload

ClassKey = tuple[str, ...]
"""The classes that some pools serve together; empty: all that no others do."""


def homes(fleet: Fleet, workload: Workload) -> list[ClassKey]:
    """For each class of the workload the key of `fleet.services` whose pools serve it.

    InputError where no pool serves a class, and for a pool whose class nobody has.
    """
    classes, services = workload.classes or NOBODY, fleet.services
    for key in services:
        for name in key:
            classes.number(name)
    owner = {name: key for key in services for name in key}
    found: list[ClassKey] = []
    for name in classes.names:
        key = owner.get(name, ())
        if key not in services:
            raise InputError(
                f"no pool serves class `{name}`",
                hint="name it in a pool's `classes`, or leave `classes` out in one of them",
            )
        found.append(key)
    return found


class ClassFronts:
    """Sends each request to the front of its class."""

    def __init__(
        self, env: simpy.Environment, fronts: Sequence[Front], class_numbers: Sequence[int]
    ) -> None:
        """`fronts` has one for each class; `class_numbers` says which class a request has."""
        self.env = env
        self._fronts = fronts
        self._class_numbers = class_numbers

    @property
    def is_watched(self) -> bool:
        """Whether any of them must be handed its requests in time."""
        return any(front.is_watched for front in self._fronts)

    def submit(self, request: Request) -> None:
        """Hand a request in where its class is served."""
        self._fronts[self._class_numbers[request.index]].submit(request)

    def drain(self) -> None:
        """Run all of them until they are idle."""
        for front in self._fronts:
            front.drain()

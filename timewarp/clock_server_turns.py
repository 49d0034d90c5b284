"""Whose turn it is: the decisions of a clock that several processes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from servecast.timewarp.traffic import Channel


@dataclass(frozen=True, slots=True)
class Wait:
    """What an actor says when it has nothing left to do at this instant."""

    until_ns: int | None
    """When it goes on by itself; None: only a message wakes it."""
    at_rest: bool = False
    """Whether everybody else whose time is the same goes first."""
    sent: Sequence[tuple[Channel, int]] = ()
    """What it has sent since it waited last, by channel."""
    owns: Sequence[str] = ()
    """Addresses at which it has begun to listen or read."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What an actor is told: it goes on, and this is the time."""

    actor: str
    now_ns: int
    arriving: Sequence[tuple[Channel, int]]
    """What others have sent to it since its last turn: it reads no clock before that has come."""
    is_due: bool
    """Whether it goes on because its time has come, and not for what is arriving."""


@dataclass(slots=True)
class _Actor:
    """What is known of an actor."""

    wait: Wait
    """What it said last."""
    is_running: bool = False
    mail: dict[Channel, int] = field(default_factory=dict[Channel, int])
    """What was sent to it and it was not told of."""


class Turns:
    """One actor runs at a time; time moves only when all wait and all that was sent was told.

    Then the next turn is the first of these, and ties go by the order in which actors were named:

    1. an actor for whom something is arriving,
    2. the actor whose time comes first, those `at_rest` behind the others of that time.

    So the smallest of all times is never jumped past, and neither the speed of a process nor the
    order in which the kernel carries messages decides anything.
    """

    def __init__(self, actors: Sequence[str]) -> None:
        """The `actors` in the order in which they start, at time 0."""
        self.now_ns = 0
        self._actors = {actor: _Actor(Wait(0)) for actor in actors}
        self._owners: dict[str, str] = {}

    @property
    def running(self) -> str | None:
        """Whose turn it is, if it is somebody's."""
        return next((name for name, actor in self._actors.items() if actor.is_running), None)

    def waits(self) -> dict[str, Wait]:
        """What each actor waits for that is not running."""
        return {name: each.wait for name, each in self._actors.items() if not each.is_running}

    def wait(self, actor: str, wait: Wait) -> None:
        """The turn of `actor` is over. What it sent is mail of whoever reads at that address.

        What it sent to itself it counts itself, and nobody waits for what goes to no actor.
        """
        for address in wait.owns:
            self._owners[address] = actor
        for channel, count in wait.sent:
            owner = self._owners.get(channel[1], actor)
            if owner != actor and owner in self._actors:
                mail = self._actors[owner].mail
                mail[channel] = mail.get(channel, 0) + count
        self._actors[actor].wait = wait
        self._actors[actor].is_running = False

    def leave(self, actor: str) -> None:
        """The actor has done all that it had to."""
        del self._actors[actor]

    def next(self) -> Turn | None:
        """Give somebody the next turn; None where all wait for messages, and there are none."""
        name = next((name for name, actor in self._actors.items() if actor.mail), None)
        is_due = name is None
        if name is None:
            due = [
                (actor.wait.until_ns, actor.wait.at_rest, place, name)
                for place, (name, actor) in enumerate(self._actors.items())
                if actor.wait.until_ns is not None
            ]
            if not due:
                return None
            until_ns, _, _, name = min(due)
            self.now_ns = max(self.now_ns, until_ns)
        actor = self._actors[name]
        actor.is_running = True
        arriving, actor.mail = list(actor.mail.items()), {}
        return Turn(name, self.now_ns, arriving, is_due)

"""One of several processes that share a virtual time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

from servecast.errors import InputError, ServecastError
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.traffic import Channel, Traffic
from servecast.timewarp.virtual_loop import Alone, run

T = TypeVar("T")

CLOCK_VARIABLE = "SERVECAST_CLOCK"
"""Names the environment variable that holds the path of the clock server's socket."""

NAME_VARIABLE = "SERVECAST_ACTOR"
"""Names the environment variable that holds the actor's name."""


class OverError(ServecastError):
    """The run is over: all whom this actor served are done."""


class SharedTraffic(Traffic):
    """Also notes what goes to sockets that are not this process's, for whoever reads there."""

    def __init__(self) -> None:
        super().__init__()
        self._sent: dict[Channel, int] = {}
        self._owns: list[str] = []

    def attach(self, channel: Channel, descriptor: int) -> None:
        """As in one process; others are told where this one reads."""
        super().attach(channel, descriptor)
        self._owns.append(channel[1])

    def sent(self, channel: Channel, count: int) -> None:
        """As in one process; whoever reads there is told."""
        super().sent(channel, count)
        self._sent[channel] = self._sent.get(channel, 0) + count

    def arriving(self, channel: Channel, count: int) -> None:
        """Another process has sent so much."""
        super().sent(channel, count)

    def news(self) -> dict[str, object]:
        """What was sent and attached since this was asked last, for the clock server."""
        sent, self._sent = self._sent, {}
        owns, self._owns = self._owns, []
        return {"sent": list(sent.items()), "owns": owns}


class SharedPace:
    """The pace of a loop in one of several processes: it asks the clock server."""

    def __init__(self, clock: VirtualClock, path: str, name: str) -> None:
        """Connect to the server at `path` as the actor `name`, and wait for the first turn."""
        self.traffic = SharedTraffic()
        self._clock = clock
        self._is_over = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._say({"actor": name})
        self._turn()

    def pause(self, until_ns: int | None, *, at_rest: bool) -> bool:
        """Wait for the next turn.

        Raises ServecastError where another actor failed, OverError where the run is over: from
        then on this process is alone, and winds up.
        """
        if self._is_over:
            return Alone(self._clock).pause(until_ns, at_rest=at_rest)
        self._say({"until_ns": until_ns, "at_rest": at_rest, **self.traffic.news()})
        return self._turn()

    def leave(self) -> None:
        """Tell the server that this actor has done all that it had to."""
        if not self._is_over:
            self._say({"is_done": True})
        self._socket.close()

    def _say(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the server has gone: its last words are still to read
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _turn(self) -> bool:
        line = self._lines.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"failed": "the clock has stopped"}
        if "failed" in answer:
            self._is_over = True
            raise ServecastError(answer["failed"])
        if "is_over" in answer:
            self._is_over = True
            raise OverError("the run is over")
        self._clock.jump_to(answer["now_ns"])
        for (sender, receiver), count in answer["arriving"]:
            self.traffic.arriving((sender, receiver), count)
        return bool(answer["is_due"])


def act(main: Coroutine[Any, Any, T], clock: VirtualClock | None = None) -> T | None:
    """Run `main` as the actor that the environment names, on the clock that it names.

    Returns what `main` does, or None where the run is over before it returns, as for a server.
    Raises InputError outside a group of actors, and ServecastError where another actor fails.
    """
    try:
        path, name = os.environ[CLOCK_VARIABLE], os.environ[NAME_VARIABLE]
    except KeyError as missing:
        main.close()
        raise InputError(
            f"the environment does not name {missing.args[0]}",
            hint="start this process by `servecast.timewarp.actor_group.run_actors`",
        ) from None
    clock = clock or VirtualClock()
    try:
        pace = SharedPace(clock, path, name)
        result = run(main, clock, pace)
    except OverError:
        return None
    finally:
        main.close()  # where it has not begun
    pace.leave()
    return result

"""The clock that several processes share, and what becomes of them."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from servecast.errors import ServecastError
from servecast.timewarp.clock_server_turns import Turns, Wait


class ClockServer:
    """Gives each actor its turns over a Unix socket, a line of JSON each way a turn.

    An actor says who it is, and is told when to start. Whenever it has nothing left to do it says
    until when it waits and what it has sent; it is told the time and what is arriving. At its end
    it says that it is done. When all but the `servants` are, these are told that the run is over.
    """

    def __init__(self, path: str, actors: Sequence[str], servants: Sequence[str]) -> None:
        """Listen at `path`."""
        self._actors = tuple(actors)
        self._busy = set(actors) - set(servants)
        self._turns = Turns(actors)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(len(actors))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: dict[str, _Connection] = {}
        self._last_s = time.monotonic()

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self._turns.now_ns

    def run(self, patience_s: float, lost: Callable[[], str | None]) -> None:
        """Serve until all but the servants are done; `lost` names an actor that failed unheard.

        Raises GoneError where an actor dies, ServecastError where one does not start or runs for
        `patience_s` of real time without a word, and where all wait for messages that nobody sends.
        """
        while self._busy:
            for key, _ in self._selector.select(0.05):
                self._last_s = time.monotonic()
                if key.data is None:
                    self._welcome()
                else:
                    self._hear(key.data)
            name = lost()
            if name is not None:
                raise self._gone(name)
            if time.monotonic() - self._last_s > patience_s:
                raise self._silence(patience_s)
        self._tell_all({"is_over": True})

    def fail(self, message: str) -> None:
        """Tell all actors why the run ends here."""
        self._tell_all({"failed": message})

    def close(self) -> None:
        """Close all sockets."""
        for connection in self._connections.values():
            connection.close()
        self._selector.close()
        self._listener.close()

    def _welcome(self) -> None:
        connection = _Connection(self._listener.accept()[0])
        name = connection.read()["actor"]
        connection.name = name
        self._connections[name] = connection
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        if len(self._connections) == len(self._actors):
            self._give_turn()

    def _hear(self, connection: _Connection) -> None:
        name = connection.name
        try:
            said = connection.read()
        except EOFError:
            raise self._gone(name) from None
        if "is_done" in said:
            self._selector.unregister(connection.socket)
            self._turns.leave(name)
            self._busy.discard(name)
        else:
            self._turns.wait(name, _wait(said))
        if self._busy:
            self._give_turn()

    def _give_turn(self) -> None:
        turn = self._turns.next()
        if turn is None:
            waiting = ", ".join(f"`{name}`" for name in self._turns.waits())
            raise ServecastError(
                f"all actors wait for messages, and nobody sends any: {waiting}, "
                f"{self.now_ns / 1e9:.6f} s into the run"
            )
        self._connections[turn.actor].tell(
            {"now_ns": turn.now_ns, "arriving": turn.arriving, "is_due": turn.is_due}
        )

    def _silence(self, patience_s: float) -> ServecastError:
        missing = [name for name in self._actors if name not in self._connections]
        if missing:
            return ServecastError(f"actor `{missing[0]}` has not started within {patience_s:g} s")
        name = self._turns.running
        return ServecastError(
            f"actor `{name}` has run for {patience_s:g} s without a word, "
            f"{self.now_ns / 1e9:.6f} s into the run"
        )

    def _gone(self, name: str) -> GoneError:
        what = "running" if self._turns.running == name else "waiting"
        return GoneError(name, f"{what}, {self.now_ns / 1e9:.6f} s into the run")

    def _tell_all(self, message: dict[str, object]) -> None:
        for connection in self._connections.values():
            connection.tell(message)


class GoneError(ServecastError):
    """An actor has gone without a word."""

    def __init__(self, actor: str, state: str) -> None:
        """`state` is what it was doing, and when."""
        super().__init__(f"actor `{actor}` has gone while {state}")
        self.actor = actor
        self.state = state


class _Connection:
    """A line of JSON at a time, to and from an actor."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.name = ""
        self._lines = connected.makefile("r", encoding="utf-8")

    def read(self) -> dict[str, Any]:
        """The next message; EOFError where the actor has gone."""
        try:
            line = self._lines.readline()
        except ConnectionError:
            line = ""
        if not line.endswith("\n"):
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def tell(self, message: dict[str, object]) -> None:
        """Send a message, to nobody where the actor has gone: that is noticed when it is read."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def _wait(said: dict[str, Any]) -> Wait:
    sent = [((sender, receiver), count) for (sender, receiver), count in said["sent"]]
    return Wait(said["until_ns"], said["at_rest"], sent, said["owns"])

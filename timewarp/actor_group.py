"""Processes that share a virtual time, from their start to their end."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servecast.errors import ServecastError
from servecast.timewarp.actor import CLOCK_VARIABLE, NAME_VARIABLE
from servecast.timewarp.clock_server import ClockServer, GoneError

_FAREWELL_S = 60.0
"""Real seconds for a process to end once its run has; then it is killed."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A process to start. It calls `servecast.timewarp.actor.act`."""

    command: Sequence[str]
    serves: bool = False
    """Whether it ends when all who do not serve have ended, and not by itself."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to this process's own."""


def run_actors(actors: Mapping[str, Actor], patience_s: float = 120.0) -> int:
    """Run `actors`, started at virtual 0 in their order; the virtual nanosecond of their end.

    Whoever listens has to come before those who connect. Raises ServecastError, with all processes
    ended, where one does not start, dies, fails, or is silent for `patience_s` of real time.
    """
    servants = [name for name, actor in actors.items() if actor.serves]
    with tempfile.TemporaryDirectory(prefix="servecast-") as folder:
        path = str(Path(folder, "clock"))
        server = ClockServer(path, list(actors), servants)
        processes = _Processes()
        try:
            for name, actor in actors.items():
                processes.start(name, actor, path)
            server.run(patience_s, processes.failed)
            processes.end()
        except GoneError as error:
            failure = processes.failure(error)
            server.fail(str(failure))
            raise failure from error
        except ServecastError as error:
            server.fail(str(error))
            raise
        finally:
            processes.kill()
            server.close()
        return server.now_ns


class _Processes:
    """Those that were started here, by the names of their actors."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, actor: Actor, path: str) -> None:
        own = {CLOCK_VARIABLE: path, NAME_VARIABLE: name}
        environment = {**os.environ, **actor.environment, **own}
        self._processes[name] = subprocess.Popen(actor.command, env=environment)

    def failed(self) -> str | None:
        """The name of one that has ended with an error."""
        return next((name for name, each in self._processes.items() if each.poll()), None)

    def failure(self, gone: GoneError) -> ServecastError:
        """What became of an actor whose connection has broken."""
        process = self._processes[gone.actor]
        try:
            process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            return gone
        return ServecastError(f"actor `{gone.actor}` {_end_of(process)} while {gone.state}")

    def end(self) -> None:
        """Wait for all of them; ServecastError where one does not end, or ends with an error."""
        for name, process in self._processes.items():
            try:
                process.wait(_FAREWELL_S)
            except subprocess.TimeoutExpired:
                raise ServecastError(
                    f"actor `{name}` has not ended {_FAREWELL_S:g} s after its run"
                ) from None
            if process.returncode:
                raise ServecastError(f"actor `{name}` {_end_of(process)} after its run")

    def kill(self) -> None:
        """Kill those that are left, after a moment in which they may say why they fail."""
        for process in self._processes.values():
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_of(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f"was killed by {signal.Signals(-code).name} (exit code {code})"
    return f"ended with exit code {code}"

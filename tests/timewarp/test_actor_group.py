"""A server, a router and clients in processes of their own, on one clock; and how they fail."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from servecast.errors import InputError, ServecastError
from servecast.timewarp.actor import act
from servecast.timewarp.actor_group import Actor, run_actors

LIMIT_S = 30.0


def toy(role: str, port: int, *rest: str, serves: bool = False) -> Actor:
    command = [sys.executable, "-m", "tests.timewarp.toy_actors", role, str(port), *rest]
    return Actor(command, serves)


@pytest.fixture(name="port")
def _port() -> int:  # pyright: ignore[reportUnusedFunction]
    """Free, and so is the next."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def test_a_client_behind_a_router_hears_at_the_servers_pace(tmp_path: Path, port: int) -> None:
    actors = {
        "server": toy("serve", port, serves=True),
        "router": toy("route", port + 1, serves=True),
        "client": toy("ask", port + 1, str(tmp_path / "heard")),
    }
    end_ns = run_actors(actors)
    heard = [line.split() for line in (tmp_path / "heard").read_text("utf-8").splitlines()]
    assert [(word, round(float(second), 9)) for word, second in heard] == [
        (str(number), round(0.35 * (number + 1), 9)) for number in range(5)
    ]
    assert end_ns == 1_750_000_000


def test_three_runs_of_rival_clients_are_identical(tmp_path: Path, port: int) -> None:
    runs: list[list[bytes]] = []
    for number in range(3):
        names = [str(tmp_path / f"{number}-{client}") for client in "abc"]
        actors = {
            "server": toy("serve", port, serves=True),
            "router": toy("route", port + 1, serves=True),
            **{name: toy("ask", port + 1, name) for name in names},
        }
        run_actors(actors)
        runs.append([Path(name).read_bytes() for name in names])
    assert runs[0] == runs[1] == runs[2]
    assert len(set(runs[0])) == 3


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("die", r"actor `culprit` was killed by SIGKILL \(exit code -9\) while running, 0\.\d+ s"),
        ("fail", r"actor `culprit` ended with exit code 1 while running, 0\.\d+ s into the run"),
        ("stall", r"actor `culprit` has run for 2 s without a word, 0\.\d+ s into the run"),
    ],
)
def test_an_actor_that_dies_fails_or_stalls_is_named_soon(
    tmp_path: Path, port: int, role: str, message: str
) -> None:
    actors = {
        "server": toy("serve", port, serves=True),
        "culprit": toy(role, port),
        "client": toy("ask", port, str(tmp_path / "heard")),
    }
    begun_s = time.monotonic()
    with pytest.raises(ServecastError, match=message):
        run_actors(actors, patience_s=2.0)
    assert time.monotonic() - begun_s < LIMIT_S
    assert not (tmp_path / "heard").exists()


def test_a_server_that_dies_is_named_although_it_would_end_last(tmp_path: Path, port: int) -> None:
    actors = {
        "other": toy("serve", port, serves=True),
        "server": Actor([*toy("die", port).command], serves=True),
        "client": toy("ask", port, str(tmp_path / "heard")),
    }
    with pytest.raises(ServecastError, match="actor `server` was killed by SIGKILL"):
        run_actors(actors)


def test_all_waiting_for_nobody_is_an_error_not_a_hang(port: int) -> None:
    with pytest.raises(ServecastError, match=r"nobody sends any: `one`, `two`, 0\.0+ s"):
        run_actors({"one": toy("wait", port), "two": toy("wait", port)})


def test_a_process_that_never_reports_is_named(port: int) -> None:
    idle = Actor([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ServecastError, match="actor `idle` has not started within 2 s"):
        run_actors({"idle": idle, "client": toy("wait", port)}, patience_s=2.0)


def test_a_process_that_cannot_start_is_named(port: int) -> None:
    with pytest.raises(ServecastError, match="actor `broken` ended with exit code 3"):
        run_actors({"broken": Actor([sys.executable, "-c", "raise SystemExit(3)"])})


def test_an_actor_outside_a_group_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVECAST_CLOCK", raising=False)

    async def main() -> None:
        """Never run."""

    with pytest.raises(InputError, match="does not name SERVECAST_CLOCK"):
        act(main())

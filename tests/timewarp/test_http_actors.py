"""vLLM's server and its benchmark client as two processes on one clock."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from pathlib import Path

import pytest

from servecast.errors import ServecastError
from servecast.timewarp.actor_group import Actor, run_actors
from servecast.timewarp.http_emulate import emulate_server
from tests.timewarp import vllm_actors
from tests.timewarp.vllm_actors import CASE, COST

pytestmark = pytest.mark.engine(name="vllm")


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def pair(output: Path, killed_at: str = "") -> dict[str, Actor]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
    command = [sys.executable, "-m", vllm_actors.__name__]
    return {
        "server": Actor([*command, "serve", port, killed_at], serves=True),
        "client": Actor([*command, "ask", port, str(output)]),
    }


def test_two_processes_measure_what_one_does_to_the_last_digit(tmp_path: Path) -> None:
    run_actors(pair(tmp_path / "report"))
    together = emulate_server(CASE.deployment, CASE.workload, vllm_actors.options(), COST).report
    apart = json.loads((tmp_path / "report").read_text("utf-8"))
    assert apart == dataclasses.asdict(together)
    assert len(apart["ttft_s"]) == len(CASE.workload)


def test_a_server_that_is_killed_is_named_and_the_client_does_not_hang(tmp_path: Path) -> None:
    with pytest.raises(ServecastError, match=r"`server` was killed by SIGKILL .* 1\.000000 s into"):
        run_actors(pair(tmp_path / "report", "1.0"))
    assert not (tmp_path / "report").exists()

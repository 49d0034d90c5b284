"""vLLM's server and its benchmark client as two processes on one clock."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from servecast.errors import InputError, ServecastError
from servecast.timewarp.actor_group import Actor, run_actors
from servecast.timewarp.http_emulate import ServerEmulation, emulate_server
from servecast.timewarp.mode import Front, Mode
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


def served(front: Front, *more: str) -> ServerEmulation:
    options = [*vllm_actors.options(), *more]
    return emulate_server(CASE.deployment, CASE.workload, options, COST, Mode(front=front))


def test_two_processes_measure_what_one_does_to_the_last_digit() -> None:
    together, apart = served(Front.SERVER), served(Front.PROCESSES)
    assert apart.report == together.report
    assert apart.result.records.finish_ns.tolist() == together.result.records.finish_ns.tolist()
    assert apart.steps == together.steps
    assert len(apart.report.ttft_s) == len(CASE.workload)


def test_what_the_server_s_process_refuses_is_raised_here() -> None:
    with pytest.raises(InputError, match="--no-such-option"):
        served(Front.PROCESSES, "--no-such-option")


def test_a_server_that_is_killed_is_named_and_the_client_does_not_hang(tmp_path: Path) -> None:
    with pytest.raises(ServecastError, match=r"`server` was killed by SIGKILL .* 1\.000000 s into"):
        run_actors(pair(tmp_path / "report", "1.0"))
    assert not (tmp_path / "report").exists()

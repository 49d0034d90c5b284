"""Clients of vLLM's server on virtual time that are no benchmark: strangers, and some who leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from servecast.primitives.memory import ledger
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.replica_plan import scheduler_limits
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.http_core import YieldingClock
from servecast.timewarp.http_server import MODEL, Server, load, started
from servecast.timewarp.http_threads import threads_as_jobs
from servecast.timewarp.journal import Journal
from servecast.timewarp.serving import Serving
from servecast.timewarp.virtual_loop import run
from servecast.timewarp.warped import warped
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import PLAIN, burst

pytestmark = pytest.mark.engine(name="vllm")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LIMITS = scheduler_limits(PLAIN, ledger(PLAIN), burst(1, [8], [8]))
OPTIONS = words(arguments(PLAIN, LIMITS.num_blocks + 1))


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def steps_of(talk: Callable[[Server], Awaitable[None]]) -> int:
    """Steps of 10 ms that the engine took while somebody talked to its server."""
    load(PLAIN.accelerator)
    clock, journal = VirtualClock(), Journal(0)
    device = VirtualDevice(YieldingClock(clock), ConstantStepCost(10_000_000))
    serving = Serving(device, OpenLoop(iter(())))

    async def main() -> None:
        async with started(PLAIN, OPTIONS, serving, journal, {}) as server:
            await talk(server)

    with warped(clock, "vllm"), threads_as_jobs():
        run(main(), clock)
    return journal.steps


async def post(server: Server, tokens: int) -> Streams:
    """Ask for so many tokens, by hand."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    asked = {"model": MODEL, "prompt": [5, 6, 7], "max_tokens": tokens, "stream": True}
    body = json.dumps(asked).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return reader, writer


async def tokens_heard(streams: Streams) -> tuple[int, float]:
    """How many tokens came, and how long that took from now."""
    reader, writer = streams
    loop = asyncio.get_running_loop()
    begun_s, heard = loop.time(), 0
    while b"[DONE]" not in (line := await reader.readline()):
        heard += line.startswith(b"data: ")
    writer.close()
    return heard, loop.time() - begun_s


def test_a_stranger_gets_all_that_it_asks_for() -> None:
    async def talk(server: Server) -> None:
        heard, seconds = await tokens_heard(await post(server, 7))
        assert heard == 7
        assert seconds == pytest.approx(0.07)

    assert steps_of(talk) == 7


def test_who_hangs_up_is_computed_no_more_and_others_go_on() -> None:
    async def talk(server: Server) -> None:
        staying = asyncio.create_task(tokens_heard(await post(server, 40)))
        reader, writer = await post(server, 1000)
        await reader.readuntil(b"data: ")
        writer.transport.abort()
        assert (await staying)[0] == 40
        await asyncio.sleep(5.0)

    assert steps_of(talk) < 50

"""A server, a router and clients with no engine behind them; each is a process.

python -m tests.timewarp.toy_actors ROLE PORT OUTPUT
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from servecast.errors import ServecastError
from servecast.timewarp.actor import act

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


async def listen(port: int, answer: Answer) -> None:
    """Serve for ever, with a timer that ticks as a web server's does."""
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        while True:
            await asyncio.sleep(0.1)


async def serve(port: int) -> None:
    """Answer each line after 0.25 s, one after the other as one device would."""
    turn = asyncio.Lock()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            async with turn:
                await asyncio.sleep(0.25)
            writer.write(line)
        writer.close()

    await listen(port, answer)


async def route(port: int) -> None:
    """Pass each line on to the server at the port below, and its answer back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        below, above = await asyncio.open_connection("127.0.0.1", port - 1)
        while line := await reader.readline():
            above.write(line)
            writer.write(await below.readline())
        above.close()
        writer.close()

    await listen(port, answer)


async def ask(port: int, output: str, pause_s: float = 0.1, times: int = 5) -> None:
    """Send lines and note when their answers come."""
    loop = asyncio.get_running_loop()
    heard: list[str] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(times):
        await asyncio.sleep(pause_s)
        writer.write(f"{number}\n".encode())
        line = await reader.readline()
        heard.append(f"{line.decode().strip()} {loop.time()!r}")
    writer.close()
    Path(output).write_text("\n".join(heard), encoding="utf-8")


async def die(port: int) -> None:
    """Be killed in the middle of the run."""
    await ask(port, os.devnull, times=2)
    os.kill(os.getpid(), signal.SIGKILL)


async def stall(port: int) -> None:
    """Compute, it seems, for ever."""
    await ask(port, os.devnull, times=2)
    time.sleep(60)


async def fail(port: int) -> None:
    """Raise in the middle of the run."""
    await ask(port, os.devnull, times=2)
    raise RuntimeError("no more")


async def wait(port: int) -> None:
    """Wait for a message that nobody sends."""
    await asyncio.get_running_loop().create_future()


ROLES: dict[str, Callable[..., Coroutine[None, None, None]]] = {
    each.__name__: each for each in (serve, route, ask, die, stall, fail, wait)
}

if __name__ == "__main__":
    role, port, *rest = sys.argv[1:]
    try:
        act(ROLES[role](int(port), *rest))
    except ServecastError as error:
        sys.exit(f"{role}: {error}")

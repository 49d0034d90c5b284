"""An event loop whose time jumps, under programs that sleep, talk over sockets and use threads."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from servecast.errors import ServecastError
from servecast.timewarp import traffic
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.virtual_loop import StalledError, VirtualLoop, run

HOUR_S = 3600.0


def now_s() -> float:
    return asyncio.get_running_loop().time()


def virtual() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def test_a_sleep_takes_virtual_time_and_no_real_time() -> None:
    async def main() -> float:
        await asyncio.sleep(1000 * HOUR_S)
        return now_s()

    begun_s = time.monotonic()
    assert run(main(), VirtualClock()) == 1000 * HOUR_S
    assert time.monotonic() - begun_s < 5.0


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, now_s()))

    async def main() -> None:
        await asyncio.gather(*map(sleeper, (0.3, 0.1, 0.2, 0.0)))

    run(main(), VirtualClock())
    assert woken == [(0.0, 0.0), (0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]


def test_a_cancelled_timer_is_not_jumped_to() -> None:
    async def main() -> float:
        asyncio.get_running_loop().call_later(HOUR_S, lambda: None).cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 2.5)
        return now_s()

    assert run(main(), VirtualClock()) == 2.5


@pytest.mark.parametrize("ns", [1, 999_999_999, 86_400 * 10**9 * 3 + 1])
def test_a_loop_waits_to_the_very_nanosecond(ns: int) -> None:
    clock = VirtualClock()

    async def main() -> None:
        await virtual().at(ns)

    run(main(), clock)
    assert clock.now_ns() == ns


def test_whoever_waits_at_rest_sees_all_that_happens_at_the_instant() -> None:
    seen: list[str] = []

    async def arrive(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline()).decode())

    async def decide() -> None:
        await asyncio.sleep(1.0)
        await virtual().at_rest()
        seen.append(f"decided at {now_s()}")

    async def main() -> None:
        server = await asyncio.start_server(arrive, "127.0.0.1")
        decided = asyncio.create_task(decide())
        await asyncio.sleep(1.0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"arrived\n")
        await decided
        writer.close()

    run(main(), VirtualClock())
    assert seen == ["arrived\n", "decided at 1.0"]


def test_those_at_rest_go_on_one_at_a_time() -> None:
    seen: list[str] = []

    async def decide(name: str) -> None:
        await virtual().at_rest()
        seen.append(name)
        await asyncio.sleep(0)
        seen.append(name)

    async def main() -> None:
        await asyncio.gather(decide("a"), decide("b"))

    run(main(), VirtualClock())
    assert seen == ["a", "a", "b", "b"]


async def talk(clients: int, message: bytes, times: int) -> list[tuple[int, int, float]]:
    """Clients of a server that answers what it hears 0.5 s later, and when they hear it."""
    heard: list[tuple[int, int, float]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            await asyncio.sleep(0.5)
            writer.write(data)
        writer.close()

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(times):
            writer.write(message)
            got = 0
            while got < len(message):
                got += len(await reader.read(1 << 20))
                heard.append((number, got, now_s()))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(ask(number))
    server.close()
    return heard


def test_bytes_take_no_time_however_long_the_kernel_carries_them() -> None:
    heard = run(talk(20, b"x" * 100, 10), VirtualClock())
    assert [when for _, _, when in heard] == [0.5 * (1 + at // 20) for at in range(200)]


@pytest.mark.parametrize("size", [10, 20_000, 90_000])
def test_three_runs_over_real_sockets_are_equal_to_the_last_digit(size: int) -> None:
    runs = [run(talk(8, b"x" * size, 5), VirtualClock()) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) >= 40


def test_time_stands_still_while_bytes_are_on_their_way() -> None:
    async def note(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.set_result((await reader.read(100), now_s()))

    async def main() -> tuple[bytes, float]:
        server = await asyncio.start_server(note, "127.0.0.1")
        there = server.sockets[0].getsockname()
        virtual().traffic.sent(("", traffic.as_text(there)), 1)
        with socket.create_connection(there) as peer:
            channel = traffic.as_text(peer.getsockname()), traffic.as_text(there)
            virtual().traffic.sent(channel, 5)
            slow = threading.Timer(0.2, peer.sendall, [b"hello"])  # as a busy kernel would
            slow.start()
            await asyncio.sleep(1.0)
            slow.join()
            return await heard

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(VirtualClock())) as runner:
        heard: asyncio.Future[tuple[bytes, float]] = runner.get_loop().create_future()
        assert runner.run(main()) == (b"hello", 0.0)


def test_a_message_longer_than_any_buffer_gets_through() -> None:
    heard = run(talk(2, b"x" * 3_000_000, 1), VirtualClock())
    assert sorted({number for number, got, _ in heard if got == 3_000_000}) == [0, 1]


def test_after_the_end_nothing_is_in_flight() -> None:
    async def main() -> dict[tuple[str, str], int]:
        await talk(3, b"x", 2)
        await asyncio.sleep(1.0)
        return virtual().traffic.in_flight()

    assert run(main(), VirtualClock()) == {}


def test_no_time_passes_while_a_thread_works() -> None:
    async def main() -> tuple[float, float]:
        tick = asyncio.create_task(asyncio.sleep(0.1))
        await asyncio.to_thread(time.sleep, 0.05)
        worked_s = now_s()
        await tick
        return worked_s, now_s()

    assert run(main(), VirtualClock()) == (0.0, 0.1)


def test_jobs_end_in_the_order_in_which_they_were_given() -> None:
    ended: list[int] = []

    async def job(number: int) -> None:
        await asyncio.to_thread(time.sleep, 0.01 * (3 - number))
        ended.append(number)

    async def main() -> None:
        await asyncio.gather(*map(job, range(3)))

    run(main(), VirtualClock())
    assert ended == [0, 1, 2]


def test_a_refused_connection_is_an_error_at_once_and_not_in_flight() -> None:
    async def main() -> dict[tuple[str, str], int]:
        server = await asyncio.start_server(lambda _, __: None, "127.0.0.1")
        host, port = server.sockets[0].getsockname()
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        await asyncio.sleep(1.0)
        return virtual().traffic.in_flight()

    assert run(main(), VirtualClock()) == {}


def test_a_peer_that_goes_in_the_middle_is_noticed_without_a_hang() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async def main() -> float:
        server = await asyncio.start_server(hang_up, "127.0.0.1")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 50_000)
        with pytest.raises(ConnectionResetError):
            await reader.read(100)
        writer.close()
        server.close()
        await asyncio.sleep(1.0)
        return now_s()

    assert run(main(), VirtualClock()) == 1.0


def test_everybody_waiting_is_an_error_that_says_when() -> None:
    async def main() -> None:
        await asyncio.sleep(1.5)
        await asyncio.Event().wait()

    with pytest.raises(StalledError, match="waits for somebody, 1\\.500000 s into the run"):
        run(main(), VirtualClock())


def test_bytes_that_never_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "PATIENCE_S", 0.2)

    async def main() -> None:
        server = await asyncio.start_server(lambda _, __: None, "127.0.0.1")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        there, here = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        virtual().traffic.sent((traffic.as_text(there), traffic.as_text(here)), 7)
        await reader.read(1)

    with pytest.raises(ServecastError, match=r"7 bytes from .* have not reached .* after 0\.2 s"):
        run(main(), VirtualClock())

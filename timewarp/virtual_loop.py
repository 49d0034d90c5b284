"""An asyncio event loop on virtual time, for programs that talk over real sockets."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import count
from typing import Any, Protocol, TypeVar

from servecast.errors import ServecastError
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.counted_socket import CountedSocket
from servecast.timewarp.traffic import PATIENCE_S, Traffic, as_text, widen

T = TypeVar("T")
_Ready = list[tuple[selectors.SelectorKey, int]]


class StalledError(ServecastError):
    """Everybody waits, and nobody is to come."""


class Pace(Protocol):
    """Moves virtual time on, once a loop has nothing left to do at this instant."""

    @property
    def traffic(self) -> Traffic:
        """What is on its way to the sockets of the loop."""
        ...

    def pause(self, until_ns: int | None, *, at_rest: bool) -> bool:
        """Give way until `until_ns` (None: for ever), or until something comes from elsewhere.

        Returns whether the time has come. `at_rest`, everybody else at that instant goes first.
        """
        ...


class Alone:
    """The pace of a loop that nobody else shares its time with: it jumps."""

    def __init__(self, clock: VirtualClock) -> None:
        self.traffic = Traffic()
        self._clock = clock

    def pause(self, until_ns: int | None, *, at_rest: bool) -> bool:
        """Jump; raises StalledError where there is no time to jump to."""
        if until_ns is None:
            raise StalledError(
                f"everybody waits for somebody, {self._clock.now_ns() / 1e9:.6f} s into the run",
                hint="a peer outside this loop is not waited for: give it a clock to share",
            )
        self._clock.jump_to(until_ns)
        return True


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is a `VirtualClock`, and it jumps to the next timer when nothing else can happen.

    Before each turn of the loop everything that was sent over its sockets has arrived and every
    job given to a thread pool is done, both waited for in real time; what is ready is then taken
    in the order in which its sockets were registered. So a run repeats to the last digit.

    When a jump is false. Time stands still while anything is under way that the loop knows of:
    ready callbacks, TCP connections between its own transports (`Traffic`), `run_in_executor`. It
    jumps past what it does not know of:

    - a peer outside this process, unless the loop's `Pace` is shared with it;
    - threads that are no jobs of the loop's (`anyio.to_thread`, one's own), pipes, subprocesses,
      Unix sockets, UDP, and sockets that are read by `sock_recv`, without a transport;
    - code that reads another clock: `time.monotonic` in a module that was not `warped`.

    Timers of idle programs (a server's ticks) are timers too: the time of a run in which everybody
    waits for a message that never comes moves on for ever. Whoever runs it sets an end.

    A job must end by itself: the loop waits for it, so that it cannot wait for the loop, and after
    `PATIENCE_S` that is an error.
    """

    def __init__(self, clock: VirtualClock, pace: Pace | None = None) -> None:
        """`pace` is how time moves; by itself, where nobody else is on it."""
        self.clock = clock
        self._pace = pace or Alone(clock)
        self.traffic = self._pace.traffic
        self._resting: deque[asyncio.Future[None]] = deque()
        self._jobs: deque[threading.Event] = deque()
        self._worker = ThreadPoolExecutor(1)  # one after the other: they end in their order
        super().__init__(_QuietSelector(self._before_turn))
        self.set_default_executor(self._worker)

    def time(self) -> float:
        """Virtual seconds since the run began."""
        return self.clock.now_ns() / 1e9

    async def at(self, ns: int) -> None:
        """Wait until a virtual nanosecond."""
        await asyncio.sleep(ns / 1e9 - self.time())

    async def at_rest(self) -> None:
        """Wait, without time passing, until everybody else has done all there is at this instant.

        Of several who wait so, one goes on at a time, in the order in which they began.
        """
        future: asyncio.Future[None] = self.create_future()
        self._resting.append(future)
        await future

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As asyncio's; the loop takes no further turn before it is done."""
        job = (executor or self._worker).submit(func, *args)
        future = asyncio.wrap_future(job, loop=self)
        is_told = threading.Event()
        job.add_done_callback(lambda _: is_told.set())  # called after asyncio's own
        self._jobs.append(is_told)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """As asyncio's, without a thread of its own."""
        self._worker.shutdown()

    async def create_server(self, *args: Any, **kwargs: Any) -> asyncio.Server:
        """As asyncio's; connections to it are counted from the moment they are begun."""
        server = await super().create_server(*args, **kwargs)
        for listener in server.sockets:
            if _is_tcp(listener):
                widen(listener)
            channel = ("", as_text(listener.getsockname()))
            self.traffic.attach(channel, listener.fileno())
        return server

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """As asyncio's; the other end has something to read from now on."""
        if _is_tcp(sock):
            widen(sock)
        channel = ("", as_text(address))
        self.traffic.sent(channel, 1)
        try:
            await super().sock_connect(sock, address)
        except OSError:
            self.traffic.received(channel, 1)
            raise

    # asyncio has no public place for these two; they are the same from Python 3.11 to 3.14.

    def _accept_connection2(
        self, protocol_factory: object, conn: socket.socket, *args: Any
    ) -> Coroutine[Any, Any, None]:
        self.traffic.received(("", as_text(conn.getsockname())), 1)
        base: Any = super()
        made: Coroutine[Any, Any, None] = base._accept_connection2(protocol_factory, conn, *args)
        return made

    def _make_socket_transport(self, sock: socket.socket, *args: Any, **kwargs: Any) -> object:
        base: Any = super()
        counted = CountedSocket(sock, self.traffic) if _is_tcp(sock) else sock
        return base._make_socket_transport(counted, *args, **kwargs)

    def _before_turn(self, timeout_s: float | None, poll: Callable[[], _Ready]) -> _Ready:
        """What is ready for a turn of the loop; time moves on where nothing is."""
        while self._jobs:
            if not self._jobs.popleft().wait(PATIENCE_S):
                raise ServecastError(f"a job of a thread pool is not done after {PATIENCE_S:g} s")
        self.traffic.settle()
        ready = poll()
        if ready or timeout_s == 0:
            return ready
        while self._resting and self._resting[0].done():  # whoever waited was cancelled
            self._resting.popleft()
        now_ns = self.clock.now_ns()
        if self._resting:
            if self._pace.pause(now_ns, at_rest=True):
                self._resting.popleft().set_result(None)
        else:
            self._pace.pause(
                None if timeout_s is None else now_ns + round(timeout_s * 1e9), at_rest=False
            )
        return []


class _QuietSelector(selectors.BaseSelector):
    """Asks the loop before it looks, never waits, and answers in the order of registration."""

    def __init__(self, before: Callable[[float | None, Callable[[], _Ready]], _Ready]) -> None:
        self._before = before
        self._real = selectors.DefaultSelector()
        self._numbers = count()
        self._order: dict[int, int] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._real.register(fileobj, events, data)
        self._order[key.fd] = next(self._numbers)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> _Ready:
        return self._before(timeout, self._poll)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def _poll(self) -> _Ready:
        return sorted(self._real.select(0), key=lambda each: self._order[each[0].fd])


def run(main: Coroutine[Any, Any, T], clock: VirtualClock, pace: Pace | None = None) -> T:
    """Run `main` on a loop of its own, as `asyncio.run` does, and return what it returns."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock, pace)) as runner:
        return runner.run(main)


def _is_tcp(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM

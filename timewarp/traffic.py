"""What was sent over sockets and has not been read: counted at both ends of every connection."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from typing import Any

from servecast.errors import ServecastError

Channel = tuple[str, str]
"""One direction of a connection: the sender's address, and the receiver's. Connections that are
being opened travel to a listener from the address ""."""

CHUNK_BYTES = 16_384
"""The most that is read at once. It fits into any receive buffer, so that what is read does not
depend on how far the kernel has got with a longer message."""

RECEIVE_BUFFER_BYTES = 1 << 20
"""What is asked of the kernel, which gives at least 212,992 by default: room for `WHOLE_BYTES`."""

WHOLE_BYTES = 100_000
"""Up to so much the kernel carries without waiting for the reader to make room."""

PATIENCE_S = 60.0
"""Real seconds after which something that must come is given up: an error, never a decision."""

_ENDED = select.POLLERR | select.POLLHUP | getattr(select, "POLLRDHUP", 0)
_POLLED = select.POLLIN | getattr(select, "POLLRDHUP", 0)


class Traffic:
    """The sockets of one process, and what is on its way to each of them.

    The opening of a connection, each byte, and the end of its stream count as one. `settle` waits,
    in real time, until all of it can be read. A message is therefore seen in the very turn of the
    loop after it was sent, however long the kernel takes to carry it.
    """

    def __init__(self) -> None:
        self._on_the_way: dict[Channel, int] = {}
        self._receivers: dict[Channel, int] = {}
        self._dropped: set[Channel] = set()

    def in_flight(self) -> dict[Channel, int]:
        """What has been sent and not read, by channel."""
        return {channel: count for channel, count in self._on_the_way.items() if count}

    def attach(self, channel: Channel, descriptor: int) -> None:
        """A socket of this process reads `channel`, or accepts what is opened on it."""
        self._dropped.discard(channel)
        self._receivers[channel] = descriptor

    def sent(self, channel: Channel, count: int) -> None:
        """So much is on its way, unless nobody reads any more."""
        if channel not in self._dropped:
            self._on_the_way[channel] = self._on_the_way.get(channel, 0) + count

    def received(self, channel: Channel, count: int) -> None:
        """So much has been read."""
        self._on_the_way[channel] = self._on_the_way.get(channel, 0) - count

    def drop(self, channel: Channel) -> None:
        """Nobody will read `channel` any more: what is on its way there is lost."""
        self._dropped.add(channel)
        self._receivers.pop(channel, None)
        self._on_the_way.pop(channel, None)

    def settle(self) -> None:
        """Wait until all that was sent to this process can be read.

        Raises ServecastError where it has not come after `PATIENCE_S` of real time.
        """
        until_s = 0.0
        while missing := next(self._missing(), None):
            until_s = until_s or time.monotonic() + PATIENCE_S
            if time.monotonic() > until_s:
                (sender, receiver), count = missing
                raise ServecastError(
                    f"{count} bytes from {sender or 'a new connection'} have not reached "
                    f"{receiver} after {PATIENCE_S:g} s"
                )
            time.sleep(20e-6)

    def _missing(self) -> Iterator[tuple[Channel, int]]:
        for channel, count in self._on_the_way.items():
            descriptor = self._receivers.get(channel)
            if count > 0 and descriptor is not None and not _has_come(channel, descriptor, count):
                yield channel, count


def _has_come(channel: Channel, descriptor: int, count: int) -> bool:
    """Whether `count` can be read, or as much as is read at once.

    TCP keeps the order: where the end of a stream has come, all has.
    """
    poll = select.poll()
    poll.register(descriptor, _POLLED)
    events = sum(event for _, event in poll.poll(0))
    if events & _ENDED:
        return True
    if not channel[0]:
        return bool(events & select.POLLIN)
    needed = min(count, CHUNK_BYTES) if count <= WHOLE_BYTES else 1
    return bool(events) and _readable_bytes(descriptor) >= needed


def _readable_bytes(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])


def widen(sock: socket.socket) -> None:
    """Give a socket that will listen or connect a receive buffer that `settle` can count on."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def as_text(name: Any) -> str:
    """A socket's address as text: host and port of IPv4 and IPv6 alike."""
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)

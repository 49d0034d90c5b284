"""A socket whose bytes are counted."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from servecast.timewarp.traffic import CHUNK_BYTES, Channel, Traffic, as_text


class CountedSocket:
    """What an asyncio transport uses in place of its socket: it counts what goes and what comes.

    All else is the socket's own. It reads no more than `CHUNK_BYTES` at once.
    """

    def __init__(self, sock: socket.socket, traffic: Traffic) -> None:
        """`sock` is connected."""
        here, there = as_text(sock.getsockname()), as_text(sock.getpeername())
        self._sock = sock
        self._traffic = traffic
        self._outgoing: Channel = here, there
        self._incoming: Channel = there, here
        self._has_ended = False
        traffic.attach(self._incoming, sock.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        """As the socket's."""
        return self._went(self._sock.send(data))

    def sendmsg(self, buffers: Iterable[bytes]) -> int:
        """As the socket's."""
        return self._went(self._sock.sendmsg(buffers))

    def recv(self, size: int) -> bytes:
        """As the socket's, of a chunk at most."""
        try:
            data = self._sock.recv(min(size, CHUNK_BYTES))
        except ConnectionError:
            self._traffic.drop(self._incoming)
            raise
        self._came(len(data))
        return data

    def recv_into(self, buffer: memoryview) -> int:
        """As the socket's, of a chunk at most."""
        try:
            count = self._sock.recv_into(buffer, min(len(buffer), CHUNK_BYTES))
        except ConnectionError:
            self._traffic.drop(self._incoming)
            raise
        self._came(count)
        return count

    def shutdown(self, how: int) -> None:
        """As the socket's."""
        self._sock.shutdown(how)
        if how != socket.SHUT_RD:
            self._end()

    def close(self) -> None:
        """As the socket's; what was not read is lost."""
        self._sock.close()
        self._end()
        self._traffic.drop(self._incoming)

    def _went(self, count: int) -> int:
        self._traffic.sent(self._outgoing, count)
        return count

    def _came(self, count: int) -> None:
        """The end of the stream, which is read as no bytes, counts as one, and nothing follows."""
        if count:
            self._traffic.received(self._incoming, count)
        else:
            self._traffic.drop(self._incoming)

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._traffic.sent(self._outgoing, 1)

"""A TCP proxy on this machine that does to a connection what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final

__all__ = ["Proxy", "proxied"]

_PIECE: Final = 16 << 10
_BUFFER: Final = 32 << 10
"""Bytes of the system's own buffers: small, so that back-pressure is felt soon."""


class _Link:
    """One client and its connection to the server: two pumps."""

    def __init__(self, proxy: Proxy, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.proxy = proxy
        self.client = client
        self.server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.dead = False
        self.over = False
        self.up_bytes = 0
        self.cut_at: int | None = None

    async def run(self) -> None:
        try:
            self.server = await asyncio.open_connection("127.0.0.1", self.proxy.target)
        except OSError:
            self.reset()
            return
        _shrink(self.server[1])
        pumps = [
            asyncio.create_task(self._pump(self.client[0], self.server[1], upstream=True), name="proxy: up"),
            asyncio.create_task(self._pump(self.server[0], self.client[1], upstream=False), name="proxy: down"),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            self.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upstream: bool) -> None:
        proxy = self.proxy
        with contextlib.suppress(OSError):
            while True:
                if upstream:
                    await proxy._upstream.wait()
                else:
                    await proxy._downstream.wait()
                data = await reader.read(_PIECE)
                if self.dead or proxy._blackhole:
                    # The far end closed, as far as the proxy knows; the near end must not learn of it.
                    await asyncio.Event().wait()
                if upstream:
                    await proxy._upstream.wait()
                if proxy._latency:
                    await asyncio.sleep(proxy._latency)
                if proxy._bandwidth:
                    await asyncio.sleep(len(data) / proxy._bandwidth)
                if self.dead or proxy._blackhole:
                    await asyncio.Event().wait()
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                if upstream:
                    proxy.bytes_up += len(data)
                    self.up_bytes += len(data)
                    if self.cut_at is not None and self.up_bytes >= self.cut_at:
                        writer.write(data[: len(data) - (self.up_bytes - self.cut_at)])
                        self.reset()
                        return
                else:
                    proxy.bytes_down += len(data)
                    if proxy._garble:
                        data = proxy._garbled(data)
                writer.write(data)
                await writer.drain()

    def reset(self) -> None:
        """Both ends get an RST."""
        self.over = True
        for _, writer in filter(None, (self.client, self.server)):
            if raw := writer.get_extra_info("socket"):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def close(self) -> None:
        """Both ends get a FIN."""
        self.over = True
        for _, writer in filter(None, (self.client, self.server)):
            writer.close()


class Proxy:
    """A TCP proxy with faults; `proxied()` starts one.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        target: The port it forwards to.
        connections: How many it has accepted.
        bytes_up: Bytes forwarded to the server.
        bytes_down: Bytes forwarded to clients.
    """

    def __init__(self, target: int, seed: object = 0) -> None:
        self.port = 0
        self.target = target
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None
        self._upstream, self._downstream = asyncio.Event(), asyncio.Event()
        self._upstream.set()
        self._downstream.set()
        self._blackhole = False
        self._bandwidth = 0.0
        self._latency = 0.0
        self._garble = False
        self._cut_next: int | None = None
        self._random = random.Random(f"proxy {seed}")

    @property
    def url(self) -> str:
        """Its address for a WebSocket client."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return sum(not link.over for link in self._links)

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # What it does to connections that are there

    def reset(self) -> None:
        """Break all connections with an RST, as a crashed router does."""
        for link in tuple(self._links):
            link.reset()

    def close(self) -> None:
        """End all connections in order."""
        for link in tuple(self._links):
            link.close()

    def cut_after(self, size: int) -> None:
        """Reset each connection that is there, or the next one, after so many bytes more from its client."""
        links = [link for link in self._links if not link.over]
        for link in links:
            link.cut_at = link.up_bytes + size
        if not links:
            self._cut_next = size

    def bury(self) -> None:
        """The connections that are there are dead from now on, without a word; new ones are well."""
        for link in self._links:
            link.dead = True

    # What it does while a block runs

    @contextlib.contextmanager
    def blackhole(self) -> Iterator[None]:
        """Packets vanish both ways, connections stay open. What vanished does not come back: those links are dead."""
        self._blackhole = True
        try:
            yield
        finally:
            self.bury()
            self._blackhole = False

    @contextlib.contextmanager
    def hold(self, *, upstream: bool = True, downstream: bool = False) -> Iterator[None]:
        """Read nothing from clients (`upstream`), or from the server (`downstream`): back-pressure."""
        events = [self._upstream] * upstream + [self._downstream] * downstream
        for event in events:
            event.clear()
        try:
            yield
        finally:
            for event in events:
                event.set()

    @contextlib.contextmanager
    def bandwidth(self, bytes_per_second: float) -> Iterator[None]:
        """Let no more through, each way."""
        self._bandwidth, before = bytes_per_second, self._bandwidth
        try:
            yield
        finally:
            self._bandwidth = before

    @contextlib.contextmanager
    def latency(self, seconds: float) -> Iterator[None]:
        """Each piece is so much later, one way."""
        self._latency, before = seconds, self._latency
        try:
            yield
        finally:
            self._latency = before

    @contextlib.contextmanager
    def garble(self) -> Iterator[None]:
        """Flip a bit in each piece that comes from the server."""
        self._garble = True
        try:
            yield
        finally:
            self._garble = False

    @contextlib.asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Refuse new connections, and reset those that are there."""
        assert self._listener
        self._listener.close()
        self._listener = None
        self.reset()
        try:
            yield
        finally:
            await self.start()

    # How

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        _shrink(writer)
        link = _Link(self, (reader, writer))
        link.cut_at, self._cut_next = self._cut_next, None
        task = asyncio.current_task()
        assert task
        self._links[link] = task
        try:
            await link.run()
        except asyncio.CancelledError:
            link.reset()
        finally:
            del self._links[link]

    def _garbled(self, data: bytes) -> bytes:
        garbled = bytearray(data)
        garbled[self._random.randrange(len(garbled))] ^= 1 << self._random.randrange(8)
        return bytes(garbled)


def _shrink(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    writer.transport.set_write_buffer_limits(high=_BUFFER)


@contextlib.asynccontextmanager
async def proxied(target: int, seed: object = 0) -> AsyncIterator[Proxy]:
    """A `Proxy` to that port of this machine, for as long as the block lasts."""
    proxy = Proxy(target, seed)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()

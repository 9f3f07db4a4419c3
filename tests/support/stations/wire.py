"""One listener of a station, served below HTTP, where its faults are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from dgnb.loopback.radio import BURST_SECONDS
from tests.support.stations.faults import Broadcasting
from tests.support.stations.programme import Playhead

__all__ = ["Finale", "Listener", "Wire", "bomb", "play", "send_file"]

METADATA_INTERVAL: Final = 16_000
TITLE_SECONDS: Final = 10
_STEP_SECONDS: Final = 0.1
_SEND_BUFFER_BYTES: Final = 128 << 10
_PIECE: Final = 64 << 10
_PATIENCE: Final = 60.0
_NEVER_REACHED: Final = 1 << 40
_BOMB_BYTES: Final = 50_000_000


@dataclass(eq=False)
class Listener:
    """One request for audio, while it is served and afterwards.

    Attributes:
        path: Without the query.
        opened_at: When, in UTC.
        bytes_sent: Bytes of the body that were passed to the system: audio, metadata and framing.
        ended: How it ended; "" before that. `left`: the listener closed the connection. `behind`: it did not keep up.
            `stopped`: the server ended. `complete`: a file was sent. Faults end it as `closed`, `reset`, `truncated`
            or `hung up`. A stalled listener is served until it leaves or the server ends.
    """

    path: str
    opened_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    bytes_sent: int = 0
    ended: str = ""


class Wire:
    """The TCP connection of one response, without aiohttp: status line, framing, and how it ends.

    Args:
        request: The request.
        record: The record of the listener.
        how: The faults in force.
        stopped: Set when the server ends.
    """

    def __init__(self, request: web.Request, record: Listener, how: Broadcasting, stopped: asyncio.Event) -> None:
        if request.transport is None:
            raise ConnectionResetError("The listener left.")
        self.record = record
        self.how = how
        self.after = 0.0 if how.ends and how.after is None else how.after
        self._transport = request.transport
        self._stopped = stopped
        self._zip = zlib.compressobj(wbits=31) if how.encoding == "gzip" else None
        self._chunked = how.framing == "chunked" or (how.framing is None and how.ends == "truncated")
        # The system's buffer grows to megabytes, and would hide for minutes how far behind the listener is.
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    @property
    def gone(self) -> bool:
        """Whether the listener has left or the server ends."""
        return self._stopped.is_set() or self._transport.is_closing()

    @property
    def waiting(self) -> int:
        """Bytes that the listener has not taken yet."""
        return self._transport.get_write_buffer_size()

    def head(self, headers: dict[str, str], status: str = "200 OK", length: int | None = None) -> None:
        """Send the status line and the headers."""
        if self._zip or self.how.encoding == "bomb":
            headers = {**headers, "Content-Encoding": "gzip"}
        if length is not None:
            self._chunked = False
            headers = {**headers, "Content-Length": str(length)}
        elif self.how.framing == "length":
            headers = {**headers, "Content-Length": str(_NEVER_REACHED)}
        elif self._chunked:
            headers = {**headers, "Transfer-Encoding": "chunked"}
        if not self.how.icy:
            headers = {**headers, "Connection": "close"}
        lines = [
            f"{'ICY' if self.how.icy else 'HTTP/1.1'} {status}",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        self._transport.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def send(self, data: bytes) -> None:
        """Send a part of the body. It does not wait: see `waiting`."""
        if self._zip and data:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        if data:
            self._put(data)

    async def sleep(self, seconds: float) -> None:
        """Wait, but only while the server runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    async def end(self, how: str) -> None:
        """End the connection in one of the ways of `Listener.ended`, or stall it until the listener leaves."""
        if how in ("closed", "complete") and not self.gone:
            if self._zip:
                self._put(self._zip.flush())
            if self._chunked:
                self._transport.write(b"0\r\n\r\n")
        if how in ("closed", "complete", "truncated"):
            await self.room(0)
        while how == "stalled" and not self.gone:
            await self.sleep(_STEP_SECONDS)
        if self.gone:
            how = "stopped" if self._stopped.is_set() else "left"
        self._ended(how)

    async def room(self, most: int) -> None:
        """Wait until at most so many bytes wait for the listener; after a minute without progress, disconnect it."""
        loop = asyncio.get_running_loop()
        waiting, since = self.waiting, loop.time()
        while self.waiting > most and not self.gone:
            await self.sleep(0.005)
            if self.waiting != waiting:
                waiting, since = self.waiting, loop.time()
            elif loop.time() - since > _PATIENCE:
                self._ended("behind")

    def _put(self, data: bytes) -> None:
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._transport.write(data)
        self.record.bytes_sent += len(data)

    def _ended(self, how: str) -> None:
        self.record.ended = self.record.ended or how
        if how == "reset":
            connection = self._transport.get_extra_info("socket")
            # Data on its way is lost, as when a station crashes.
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            )
        if how in ("reset", "behind") or self.waiting:
            self._transport.abort()
        else:
            self._transport.close()


class Finale(web.StreamResponse):
    """The return value of a handler that has answered through a `Wire`; aiohttp adds nothing."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


async def play(
    wire: Wire, playhead: Playhead, rate: float, headers: dict[str, str], *, asked: bool, queue: int
) -> None:
    """Play to one listener until it leaves, falls behind, or a fault ends the stream.

    Args:
        wire: The connection.
        playhead: The listener's position in the programme.
        rate: Bytes a second.
        headers: The station's headers.
        asked: Whether the listener asked for metadata.
        queue: How many bytes it may be behind, not counting the burst.
    """
    how = wire.how
    burst = BURST_SECONDS if how.burst is None else how.burst
    speed = 1.0 if how.speed is None else how.speed
    interval = how.metadata if how.metadata is not None else METADATA_INTERVAL if asked else 0
    titles = Titles(interval, rate, how.title) if interval else None
    wire.head({**headers, "icy-metaint": str(interval)} if interval else headers)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not wire.gone:
        seconds = burst + (loop.time() - began) * speed
        over = wire.after is not None and seconds >= wire.after
        if over:
            seconds = wire.after or 0.0
        audio = playhead.upto(seconds)
        wire.send(titles.mixed(audio) if titles else audio)
        if over:
            break
        if wire.waiting > queue + burst * rate:
            await wire.end("behind")
            return
        await wire.sleep(_STEP_SECONDS)
    await wire.end(how.ends or "closed")


async def send_file(wire: Wire, body: bytes, rate: float, headers: dict[str, str], status: str) -> None:
    """Send a file or a part of it, as fast as the listener takes it; a fault may cut it off."""
    how = wire.how
    due = len(body) if wire.after is None else min(len(body), int(wire.after * rate))
    wire.head(headers, status, None if how.framing == "chunked" or how.encoding == "gzip" else len(body))
    for begin in range(0, due, _PIECE):
        await wire.room(_PIECE)
        if wire.gone:
            break
        wire.send(body[begin : min(begin + _PIECE, due)])
    await wire.end("complete" if due == len(body) else how.ends or "truncated")


def bomb() -> bytes:
    """A body of some 50 kB that unpacks to 50 MB."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    packed = [packer.compress(zeros) for _ in range(_BOMB_BYTES // len(zeros) + 1)]
    return b"".join([*packed, packer.flush()])


class Titles:
    """ICY titles in the audio of one listener.

    Args:
        interval: Bytes of audio between two titles.
        rate: Bytes of audio a second.
        title: What they say; by default `Part 1`, `Part 2` …, a new one every 10 s.
    """

    def __init__(self, interval: int, rate: float, title: str | None = None) -> None:
        self._interval = interval
        self._rate = rate
        self._title = title
        self._left = interval
        self._passed = 0
        self._told = ""

    def mixed(self, audio: bytes) -> bytes:
        """The audio with the titles that are due in it."""
        parts = []
        while len(audio) >= self._left:
            parts.append(audio[: self._left])
            audio, self._left = audio[self._left :], self._interval
            self._passed += self._interval
            parts.append(self._block())
        self._left -= len(audio)
        return b"".join([*parts, audio])

    def _block(self) -> bytes:
        part = int(self._passed / self._rate / TITLE_SECONDS) + 1
        title = f"Part {part}" if self._title is None else self._title
        if title == self._told:
            return b"\0"
        self._told = title
        text = f"StreamTitle='{title}';".encode()[: 255 * 16]
        blocks = -(-len(text) // 16)
        return bytes([blocks]) + text.ljust(blocks * 16, b"\0")

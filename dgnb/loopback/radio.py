"""`/radio`: an endless station that plays a recording at real time, as MP3.

A station does not wait: a listener who takes nothing for 30 s is disconnected.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import itertools
import math
import os
import socket
import struct
from typing import Any, Final

import av
from aiohttp import web

from dgnb import samples

BURST_SECONDS: Final = 1.0
"""Seconds of audio that a listener gets at once, as on real stations, so that players start without delay."""

MOST_BEHIND: Final = 30.0
"""Seconds that a listener may take nothing."""

_BYTES_A_SECOND: Final = 16_000


class Radio:
    """A recording, by default the sample that comes with dgnb, played from its beginning to each listener."""

    def __init__(self, recording: str | os.PathLike[str] | None, stopping: asyncio.Event) -> None:
        self._recording = os.fspath(recording or samples.path())
        self._stopping = stopping

    @functools.cached_property
    def _body(self) -> bytes:
        """One pass of a recording. It has no headers and tags, so that its end joins its beginning. Blocks."""
        buffer = io.BytesIO()
        options = {"write_xing": "0", "id3v2_version": "0"}
        with av.open(self._recording) as source, av.open(buffer, "w", format="mp3", options=options) as target:
            stream: Any = target.add_stream("libmp3lame", rate=44_100, layout="mono")
            stream.bit_rate = 8 * _BYTES_A_SECOND
            for frame in itertools.chain(source.decode(audio=0), [None]):
                if frame is not None:
                    # The encoder refuses a recording with holes in its timestamps.
                    frame.pts = None
                target.mux(stream.encode(frame))
        return buffer.getvalue()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Serve one listener."""
        await asyncio.to_thread(lambda: self._body)
        response = web.StreamResponse(
            headers={
                "Content-Type": "audio/mpeg",
                "icy-name": "dgnb radio",
                "icy-br": str(_BYTES_A_SECOND * 8 // 1000),
                "Cache-Control": "no-store",
            }
        )
        response.force_close()
        # The listener may leave at any time.
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await self._play(request, response)
        return response

    async def _play(self, request: web.Request, response: web.StreamResponse, end: float = math.inf) -> None:
        """Play until the listener leaves or takes nothing, the server ends, or after `end` seconds of audio."""
        loop = asyncio.get_running_loop()
        began, sent, body = loop.time(), 0, self._body
        while request.transport and not self._stopping.is_set():
            seconds = min(BURST_SECONDS + loop.time() - began, end)
            due = int(seconds * _BYTES_A_SECOND)
            try:
                async with asyncio.timeout(MOST_BEHIND):
                    passes = body * (2 + (due - sent) // len(body))
                    await response.write(passes[sent % len(body) :][: due - sent])
            except TimeoutError:
                reset(request)
                return
            sent = due
            if seconds == end:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._stopping.wait()


def reset(request: web.Request) -> None:
    """Reset the TCP connection of a request: what is on its way is lost, as when a station crashes."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()

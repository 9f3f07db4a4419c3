"""`/radio`: an endless station that plays a recording at real time, as MP3."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import itertools
import math
import os
from typing import Any, Final

import av
from aiohttp import web

from dgnb import samples

BURST_SECONDS: Final = 1.0
"""Seconds of audio that a listener gets at once, as on real stations, so that players start without delay."""

_BYTES_A_SECOND: Final = 16_000
_PIECE: Final = 1600


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
        """Play until the listener leaves, the server ends, or after `end` seconds of audio."""
        began, body = asyncio.get_running_loop().time(), self._body
        endless = body + body[:_PIECE]
        for at in itertools.count(0, _PIECE):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(began + at / _BYTES_A_SECOND - BURST_SECONDS):
                    await self._stopping.wait()
            if self._stopping.is_set() or not request.transport or at >= end * _BYTES_A_SECOND:
                return
            await response.write(endless[at % len(body) :][:_PIECE])

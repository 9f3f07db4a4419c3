"""`/radio`: an endless station that plays a recording at real time.

| path | content |
| --- | --- |
| `/radio`, `/radio.mp3` | MP3 without end |
| `/radio.ogg` | the same in Ogg Opus |
| `/radio/hls/live.m3u8` | HLS: a moving window of 4 segments of 2 s, MPEG-TS with AAC |

A station does not wait: a listener who takes nothing for 30 s is disconnected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import Final

from aiohttp import web

from dgnb.loopback.faults import Broadcasting, InForce
from dgnb.loopback.radio.hls import LiveWindow
from dgnb.loopback.radio.programme import MP3, OGG, Programme, Recording

BURST_SECONDS: Final = 1.0
"""Seconds of audio that a listener gets at once, as on real stations, so that players start without delay."""

MOST_BEHIND: Final = 30.0
"""Seconds that a listener may take nothing."""

_STEP_SECONDS: Final = 0.1


class Radio:
    """One recording, played from its beginning to each listener.

    Args:
        recording: A file; by default, the sample that comes with dgnb.
        faults: The faults in force.
    """

    def __init__(self, recording: str | os.PathLike[str] | None, faults: InForce) -> None:
        self._recording = Recording(recording)
        self._faults = faults
        self._window: LiveWindow | None = None
        self._stopped = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """The paths that the station serves."""
        return [
            *(web.get(path, self._listen, allow_head=False) for path in ("/radio", "/radio.mp3", "/radio.ogg")),
            web.get("/radio/hls/live.m3u8", self._playlist, allow_head=False),
            web.get(r"/radio/hls/{number:\d{1,12}}.ts", self._segment, allow_head=False),
        ]

    def stop(self) -> None:
        """End all streams."""
        self._stopped.set()

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        fault = self._faults.strike(Broadcasting) or Broadcasting()
        if fault.status is not None:
            return web.Response(status=fault.status)
        programme = await self._recording.programme(OGG if request.path.endswith(".ogg") else MP3)
        response = web.StreamResponse(
            headers={
                "Content-Type": programme.content_type,
                "icy-name": "dgnb radio",
                "icy-br": str(round(programme.rate * 8 / 1000)),
                "Cache-Control": "no-store",
            }
        )
        response.force_close()
        # The listener may leave at any time.
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await self._play(request, response, programme, fault)
        return response

    async def _play(
        self, request: web.Request, response: web.StreamResponse, programme: Programme, fault: Broadcasting
    ) -> None:
        """Play until the listener leaves or takes nothing, the fault strikes, or the server ends."""
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while not self._stopped.is_set():
            seconds = min(BURST_SECONDS + loop.time() - began, fault.after)
            due = int(seconds * programme.rate)
            try:
                async with asyncio.timeout(MOST_BEHIND):
                    await response.write(programme.part(sent, due))
            except TimeoutError:
                _reset(request)
                return
            sent = due
            if seconds == fault.after:
                await self._end(request, fault)
                return
            await self._sleep()

    async def _end(self, request: web.Request, fault: Broadcasting) -> None:
        if fault.ends == "reset":
            _reset(request)
        while fault.ends == "stalled" and request.transport and not self._stopped.is_set():
            await self._sleep()

    async def _playlist(self, request: web.Request) -> web.Response:
        window = await self._live()
        return web.Response(
            text=window.playlist(),
            content_type="application/vnd.apple.mpegurl",
            headers={"Cache-Control": "no-store"},
        )

    async def _segment(self, request: web.Request) -> web.Response:
        body = (await self._live()).segment(int(request.match_info["number"]))
        if body is None:
            raise web.HTTPNotFound
        return web.Response(body=body, content_type="video/mp2t", headers={"Cache-Control": "no-store"})

    async def _live(self) -> LiveWindow:
        segments = await self._recording.segments()
        if self._window is None:
            self._window = LiveWindow(segments)
        return self._window

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STEP_SECONDS):
                await self._stopped.wait()


def _reset(request: web.Request) -> None:
    """Reset the TCP connection of a request: what is on its way is lost, as when a station crashes."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()

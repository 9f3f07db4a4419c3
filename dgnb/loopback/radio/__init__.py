"""`/radio`: an endless station that plays a recording at real time.

| path | content |
| --- | --- |
| `/radio`, `/radio.mp3` | MP3 without end; ICY titles for those who ask for them |
| `/radio.ogg` | the same in Ogg Opus |
| `/radio/hls/live.m3u8` | HLS: a moving window of 4 segments of 2 s, MPEG-TS with AAC |

A station does not wait: a listener who is more than 30 s behind is disconnected.
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

__all__ = ["Radio", "Titles", "reset"]

BURST_SECONDS: Final = 1.0
"""Seconds of audio that a listener gets at once, as on real stations, so that players start without delay."""

MOST_BEHIND: Final = 30.0
"""Seconds that a listener may be behind."""

METADATA_INTERVAL: Final = 16_000
"""Bytes of audio between two ICY titles."""

TITLE_SECONDS: Final = 10
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
                "icy-description": "A recording without end",
                "icy-br": str(round(programme.rate * 8 / 1000)),
                "Cache-Control": "no-store",
            }
        )
        response.force_close()
        titles = None
        if request.headers.get("Icy-MetaData") == "1":
            titles = Titles(METADATA_INTERVAL, programme.rate)
            response.headers["icy-metaint"] = str(METADATA_INTERVAL)
        # The listener may leave at any time; then there is nobody to tell.
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await self._play(request, response, programme, titles, fault)
        return response

    async def _play(
        self,
        request: web.Request,
        response: web.StreamResponse,
        programme: Programme,
        titles: Titles | None,
        fault: Broadcasting,
    ) -> None:
        """Play until the listener leaves or falls behind, the fault strikes, or the server ends."""
        loop = asyncio.get_running_loop()
        began, sent, over = loop.time(), 0, False
        while not over and not self._stopped.is_set():
            seconds = BURST_SECONDS + loop.time() - began
            over = fault.after is not None and seconds >= fault.after
            due = int((fault.after or 0.0 if over else seconds) * programme.rate)
            try:
                if due - sent > MOST_BEHIND * programme.rate:
                    raise TimeoutError
                audio = programme.part(sent, due)
                async with asyncio.timeout(MOST_BEHIND):
                    await response.write(titles.mixed(audio) if titles else audio)
            except TimeoutError:
                reset(request)
                return
            sent = due
            if not over:
                await self._sleep()
        if over and fault.ends == "reset":
            reset(request)
        while over and fault.ends == "stalled" and request.transport and not self._stopped.is_set():
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


def reset(request: web.Request) -> None:
    """Reset the TCP connection of a request: what is on its way is lost, as when a station crashes."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()

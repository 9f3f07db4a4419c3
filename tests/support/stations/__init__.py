"""A radio station with every fault and oddity that stations on the web have, for the tests of its listeners.

| path | content |
| --- | --- |
| `/radio`, `/radio.mp3` | MP3 without end, 1 s at once; ICY metadata for those who ask for it |
| `/radio.m3u`, `.pls`, `.asx`, `.xspf` | playlists, whose entry is relative |
| `/radio/hls/live.m3u8`, `low.m3u8`, `master.m3u8` | HLS: a moving window of 4 segments of 2 s, MPEG-TS with AAC |
| `/radio/hls/fmp4.m3u8`, `vod.m3u8` | the same in fragmented MP4; one pass of it as a recording |
| `/radio/file.mp3`, `/radio/file.wav` | one pass, with a `Content-Length` and `Range` |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from aiohttp import hdrs, web

from tests.support.stations.faults import Broadcasting, StationFaults
from tests.support.stations.hls import Hls
from tests.support.stations.playlists import PLAYLISTS, playlist
from tests.support.stations.programme import Playhead, Recordings, wav_header
from tests.support.stations.wire import Finale, Listener, Wire, bomb, play, send_file

__all__ = ["Station"]

_STATIONS: Final = ("/radio", "/radio.mp3")
_FILES: Final = ("/radio/file.mp3", "/radio/file.wav")


@dataclass(eq=False)
class Request:
    """One request, and the status of its answer."""

    path: str
    status: int | None = None


class Station(StationFaults):
    """A server on this machine that plays a recording to each listener, from its beginning.

    Args:
        recording: A file.
        queue: Bytes that a listener may be behind, its burst left out.

    Attributes:
        requests: Every request, the oldest first.
        listeners: Every request that was answered with audio, the oldest first.
    """

    def __init__(self, recording: Path, queue: int = 500_000) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.listeners: list[Listener] = []
        self._queue = queue
        self._recordings = Recordings(recording)
        self._hls = Hls(self._recordings, self)
        self._stopped = asyncio.Event()
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/{path:radio.*}", self.answer, allow_head=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handle_signals=False)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped.set()
        await self._runner.cleanup()

    @property
    def radio_url(self) -> str:
        """The address of the endless station."""
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/radio"

    @web.middleware
    async def _note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        seen = Request(request.path)
        self.requests.append(seen)
        response = await handler(request)
        seen.status = response.status
        return response

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve one request: until the listener leaves or the station ends, where it is for audio."""
        audio = request.path in (*_STATIONS, *_FILES)
        hops = _number(request.query.get("hops"))
        how = self.broadcasting_now(request.path, audio=audio, hopped=hops is not None)
        hops = how.redirects if hops is None else hops
        if how.hang_up:
            wire = self._wire(request, how)
            await wire.end("hung up")
            return Finale(444)
        if how.location is not None:
            return web.Response(status=302, headers={"Location": how.location})
        if hops:
            return web.Response(status=302, headers={"Location": str(request.rel_url.with_query(hops=hops - 1))})
        if how.body is not None or how.status not in (None, 200):
            return web.Response(
                status=how.status or 200, text=how.body or "", content_type=how.content_type or "text/html"
            )
        if request.path in _STATIONS:
            return await self._play(request, how)
        if request.path in _FILES:
            return await self._file(request, how)
        if request.path.startswith("/radio/hls/"):
            return await self._hls.answer(request.path.removeprefix("/radio/hls/"))
        if request.path.removeprefix("/radio.") in PLAYLISTS:
            return self._playlist(request)
        raise web.HTTPNotFound

    async def _play(self, request: web.Request, how: Broadcasting) -> web.StreamResponse:
        programme = await self._recordings.get(how.format or "mp3")
        then = None if how.splice is None else (how.splice, await self._recordings.get(how.then or "mp3-22050"))
        headers = {
            "Content-Type": how.content_type or programme.content_type,
            "icy-name": "dgnb radio",
            "icy-description": "The recording, for ever",
            "icy-br": str(round(programme.rate * 8 / 1000)),
            "Cache-Control": "no-store",
        }
        wire = self._wire(request, how)
        if how.encoding == "bomb":
            await send_file(wire, await asyncio.to_thread(bomb), 0.0, headers, "200 OK")
        else:
            playhead = Playhead(programme, how.joining, then)
            asked = request.headers.get("Icy-MetaData") == "1"
            await play(wire, playhead, programme.rate, headers, asked=asked, queue=self._queue)
        return Finale()

    async def _file(self, request: web.Request, how: Broadcasting) -> web.StreamResponse:
        wav = request.path.endswith(".wav")
        programme = await self._recordings.get("wav" if wav else "mp3")
        body = (wav_header(len(programme.body)) if wav else b"") + programme.body
        headers = {"Content-Type": how.content_type or programme.content_type}
        status = "200 OK"
        if how.ranges is not False:
            headers["Accept-Ranges"] = "bytes"
            try:
                wanted = request.http_range
            except ValueError:
                wanted = slice(len(body), None)
            if request.headers.get(hdrs.RANGE):
                begin, end, _ = wanted.indices(len(body))
                if begin >= end:
                    return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
                headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(body)}"
                body, status = body[begin:end], "206 Partial Content"
        await send_file(self._wire(request, how), body, programme.rate, headers, status)
        return Finale(int(status[:3]))

    def _playlist(self, request: web.Request) -> web.Response:
        how = self.listing_now()
        ending = request.path.rpartition(".")[2]
        depth = _number(request.query.get("depth"))
        depth = how.depth if depth is None else depth
        entries = how.entries or [f"radio.{ending}?depth={depth - 1}" if depth else "radio.mp3"] * (how.count or 1)
        text, kind = playlist(ending, entries, how.size)
        return web.Response(text=text, content_type=kind, headers={"Cache-Control": "no-store"})

    def _wire(self, request: web.Request, how: Broadcasting) -> Wire:
        record = Listener(request.path)
        wire = Wire(request, record, how, self._stopped)
        self.listeners.append(record)
        return wire


def _number(text: str | None) -> int | None:
    return min(int(text[:4]), 100) if text and text.isascii() and text.isdecimal() else None

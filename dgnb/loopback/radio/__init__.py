"""`/radio`: an endless station that plays a recording at real time, in the ways in which stations do that.

| path | what |
| --- | --- |
| `/radio`, `/radio.mp3` | MP3 for ever, 1 s at once; ICY metadata for those who ask for it |
| `/radio.m3u`, `.pls`, `.asx`, `.xspf` | playlists, whose entry is relative |
| `/radio/hls/live.m3u8`, `low.m3u8`, `master.m3u8` | HLS: a moving window of 4 segments of 2 s, MPEG-TS with AAC |
| `/radio/hls/fmp4.m3u8`, `vod.m3u8` | the same in fragmented MP4; one pass of it as a recording |
| `/radio/file.mp3`, `/radio/file.wav` | one pass, with a `Content-Length` and `Range` |

A listener who is more than 500 kB (`serve(radio_queue=…)`) behind is let go, as Icecast does: a station does not wait.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from aiohttp import hdrs, web

from dgnb.loopback.radio.faults import Broadcasting, RadioFaults
from dgnb.loopback.radio.hls import Hls
from dgnb.loopback.radio.playlists import PLAYLISTS, playlist
from dgnb.loopback.radio.programme import Playhead, Programmes, wav_header
from dgnb.loopback.radio.station import Finale, RadioListener, Wire, bomb, play, send_file
from dgnb.loopback.records import keep

__all__ = ["QUEUE_BYTES", "Radio", "RadioListener"]

QUEUE_BYTES: Final = 500_000
"""How far behind a listener may be, as with Icecast."""

_KEPT: Final = 1000
_STATIONS: Final = ("/radio", "/radio.mp3")
_FILES: Final = ("/radio/file.mp3", "/radio/file.wav")


class Radio:
    """One programme, encoded once for each format, played from its beginning to each listener.

    Args:
        recording: A file; the sample that comes with dgnb if not given.
        faults: What is to go wrong.
        queue: Bytes that a listener may be behind.

    Attributes:
        listeners: Every request for a station or a file that was answered with audio, the oldest first.
    """

    def __init__(
        self,
        recording: str | os.PathLike[str] | None = None,
        faults: RadioFaults | None = None,
        queue: int = QUEUE_BYTES,
    ) -> None:
        self.listeners: list[RadioListener] = []
        self._faults = faults or RadioFaults()
        self._queue = queue
        self._programmes = Programmes(recording)
        self._hls = Hls(self._programmes, self._faults)
        self._stopped = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Where it is to be heard."""
        lists = (f"/radio.{ending}" for ending in PLAYLISTS)
        paths = (*_STATIONS, *_FILES, *lists, "/radio/hls/{name}")
        return [web.get(path, self.answer, allow_head=False) for path in paths]

    def stop(self) -> None:
        """Let all listeners go."""
        self._stopped.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve one request: until the listener leaves or the station ends, where it is for audio."""
        audio = request.path in (*_STATIONS, *_FILES)
        hops = _number(request.query.get("hops"))
        how = self._faults._broadcasting(request.path, audio=audio, hopped=hops is not None)
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
            return await self._hls.answer(request.match_info["name"])
        return self._playlist(request)

    async def _play(self, request: web.Request, how: Broadcasting) -> web.StreamResponse:
        programme = await self._programmes.get(how.format or "mp3")
        then = None if how.splice is None else (how.splice, await self._programmes.get(how.then or "mp3-22050"))
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
        programme = await self._programmes.get("wav" if wav else "mp3")
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
        how = self._faults._listing()
        ending = request.path.rpartition(".")[2]
        depth = _number(request.query.get("depth"))
        depth = how.depth if depth is None else depth
        entries = how.entries or [f"radio.{ending}?depth={depth - 1}" if depth else "radio.mp3"] * (how.count or 1)
        text, kind = playlist(ending, entries, how.size)
        return web.Response(text=text, content_type=kind, headers={"Cache-Control": "no-store"})

    def _wire(self, request: web.Request, how: Broadcasting) -> Wire:
        record = RadioListener(request.path)
        wire = Wire(request, record, how, self._stopped)
        keep(self.listeners, record, _KEPT)
        return wire


def _number(text: str | None) -> int | None:
    return min(int(text[:4]), 100) if text and text.isascii() and text.isdecimal() else None

"""A web server whose pages the test writes, for sources that read the web; and tones that show which part was heard."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiohttp import web

from dgnb.audio import Audio, URLSource

__all__ = ["RATE", "SECOND", "Site", "pitches", "rest", "seconds", "source"]

RATE = 16_000
SECOND = 2 * RATE


class Site:
    """Bodies by path; a callable makes them anew each time. What was asked for is kept."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        page = self.pages.get(request.path, 404)
        if callable(page):
            page = page()
        if isinstance(page, int):
            return web.Response(status=page)
        body, kind = page if isinstance(page, tuple) else (page, "application/octet-stream")
        return web.Response(body=body, content_type=kind)


def source(url: str, **options: Any) -> URLSource:
    """A source that does not wait before it asks again."""
    found = URLSource(url, **options)
    found._wait = lambda tries: 0.0
    return found


async def rest(audio: Audio) -> bytes:
    try:
        return b"".join([chunk async for chunk in audio])
    finally:
        await audio.aclose()


def seconds(data: bytes) -> float:
    return len(data) / SECOND


def pitches(data: bytes) -> list[int]:
    """The numbers of the tones that sound one after the other: tone n has 300 + 100 n Hz, and lasts 1 s."""
    sound = np.frombuffer(data, "<i2")
    found = []
    for start in range(0, len(sound) - RATE // 2, RATE // 4):
        spectrum = np.abs(np.fft.rfft(sound[start : start + RATE // 4]))
        found.append(round((spectrum.argmax() * 4 - 300) / 100))
    return [n for n, before in zip(found, [-1, *found], strict=False) if n != before]

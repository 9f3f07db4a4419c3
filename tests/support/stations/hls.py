"""The station over HLS: a window of segments that moves in real time, and a recording."""

from __future__ import annotations

import asyncio
import random
import re
from bisect import bisect_right
from itertools import accumulate
from typing import Final

from aiohttp import web

from tests.support.stations.faults import StationFaults
from tests.support.stations.playlists import master, media
from tests.support.stations.programme import SEGMENT_SECONDS, Recordings, Variant

__all__ = ["Hls"]

WINDOW: Final = 4
"""Segments in a live playlist."""

_LISTS: Final = {"live": "high", "low": "low", "fmp4": "fmp4", "vod": "high"}
_SEGMENT: Final = re.compile(r"(high|low|fmp4|vod|locked)-(\d{1,12})\.(?:ts|m4s)")
_HEADERS: Final = {"Cache-Control": "no-store"}


class Hls:
    """Answers the requests under `/radio/hls/`.

    The live window begins with the first request, with segments 0 to 3 in it.
    """

    def __init__(self, recordings: Recordings, faults: StationFaults) -> None:
        self._recordings = recordings
        self._faults = faults
        self._began: float | None = None
        self._shown = 0.0

    async def answer(self, name: str) -> web.Response:
        """A playlist, a segment, a header or a key."""
        if name == "master.m3u8":
            variants = [(f"{one}.m3u8", await self._recordings.variant(_LISTS[one])) for one in ("live", "low")]
            return _text(master([(path, segments.bandwidth) for path, segments in variants]))
        if name == "key":
            return web.Response(status=403, text="This station is for subscribers.")
        if name == "init.mp4":
            init = (await self._recordings.variant("fmp4")).init
            return web.Response(body=init, content_type="video/mp4", headers=_HEADERS)
        kind, _, ending = name.partition(".")
        if ending == "m3u8" and kind in _LISTS:
            segments = await self._recordings.variant(_LISTS[kind])
            return _text(_vod(segments) if kind == "vod" else await self._live(kind, segments))
        if match := _SEGMENT.fullmatch(name):
            return await self._segment(match[1], int(match[2]))
        raise web.HTTPNotFound

    async def _live(self, kind: str, segments: Variant) -> str:
        fault = self._faults.segmenting_now()
        end = available(segments.seconds, self._time(frozen=bool(fault.frozen)))
        first, one_pass = end - WINDOW, len(segments.bodies)
        variant, other_from = _LISTS[kind], fault.discontinuity
        low = await self._recordings.variant("low")
        listed = []
        for number in range(first, end):
            other = other_from is not None and number >= other_from
            played = low if other else segments
            index = number % len(played.bodies)
            turn = number > 0 and (index == 0 or number == other_from)
            name = "locked" if fault.encrypted else "low" if other else variant
            listed.append((f"{name}-{number}.{'m4s' if name == 'fmp4' else 'ts'}", played.seconds[index], turn))
        turns = max(first - 1, 0) // one_pass
        turns += other_from is not None and 0 < other_from < first and other_from % one_pass != 0
        return media(
            listed,
            first=first,
            turns=turns,
            init="init.mp4" if segments.init else None,
            key="key" if fault.encrypted else None,
            target=_target(segments),
        )

    async def _segment(self, variant: str, number: int) -> web.Response:
        if self._faults.is_missing(number):
            raise web.HTTPNotFound
        segments = await self._recordings.variant({"vod": "high", "locked": "high"}.get(variant, variant))
        if variant == "vod":
            there = number < len(segments.bodies)
        else:
            # As on a real server, a segment stays for a while after it has left the window.
            end = available(segments.seconds, self._time())
            there = end - 3 * WINDOW <= number < end
        if not there:
            raise web.HTTPNotFound
        body = segments.bodies[number % len(segments.bodies)]
        if variant == "locked":
            # Without the key, the content of the cipher does not matter.
            body = random.Random(number).randbytes(len(body) // 16 * 16)
        kind = "video/iso.segment" if variant == "fmp4" else "video/mp2t"
        return web.Response(body=body, content_type=kind, headers=_HEADERS)

    def _time(self, *, frozen: bool = False) -> float:
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now
        if not frozen:
            self._shown = now - self._began
        return self._shown if frozen else now - self._began


def _vod(segments: Variant) -> str:
    listed = [(f"vod-{number}.ts", seconds, False) for number, seconds in enumerate(segments.seconds)]
    return media(listed, first=0, target=_target(segments), ended=True)


def _target(segments: Variant) -> int:
    return max(SEGMENT_SECONDS, *(round(seconds) for seconds in segments.seconds))


def _text(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/vnd.apple.mpegurl", headers=_HEADERS)


def available(seconds: tuple[float, ...], time: float) -> int:
    """How many segments exist after `time` seconds: the first window at once, each further one when it is complete.

    Args:
        seconds: How long each segment of one pass lasts.
        time: Seconds since the first request.
    """
    ends = list(accumulate(seconds))
    at_once = sum(seconds[number % len(seconds)] for number in range(WINDOW))
    passes, rest = divmod(at_once + time + 1e-6, ends[-1])
    return int(passes) * len(seconds) + bisect_right(ends, rest)

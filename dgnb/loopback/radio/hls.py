"""The station over HLS: a window of segments that moves in real time."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from itertools import accumulate
from typing import Final

from dgnb.loopback.radio.programme import SEGMENT_SECONDS, Segments

WINDOW: Final = 4
"""Segments in a live playlist."""


class LiveWindow:
    """The segments that a live playlist names. It begins to move when it is made, with segments 0 to 3 in it."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._began = asyncio.get_running_loop().time()

    def playlist(self) -> str:
        """The media playlist of this moment."""
        seconds = self._segments.seconds
        one_pass, end = len(seconds), self._available()
        first = end - WINDOW
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            f"#EXT-X-TARGETDURATION:{max(SEGMENT_SECONDS, *(round(length) for length in seconds))}",
            f"#EXT-X-MEDIA-SEQUENCE:{first}",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{max(first - 1, 0) // one_pass}",
        ]
        for number in range(first, end):
            if number > 0 and number % one_pass == 0:
                # The recording begins again, and so do the times in it.
                lines.append("#EXT-X-DISCONTINUITY")
            lines += [f"#EXTINF:{seconds[number % one_pass]:.6f},", f"{number}.ts"]
        return "\n".join([*lines, ""])

    def segment(self, number: int) -> bytes | None:
        """A segment, or None if it does not exist yet or no longer.

        As on a real server, a segment stays for a while after it has left the window.
        """
        end = self._available()
        if end - 3 * WINDOW <= number < end:
            return self._segments.bodies[number % len(self._segments.bodies)]
        return None

    def _available(self) -> int:
        return available(self._segments.seconds, asyncio.get_running_loop().time() - self._began)


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

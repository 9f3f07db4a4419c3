"""`Pacer`: chunks on the clock, without drift."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from dgnb.audio.source import CHUNK_SECONDS
from dgnb.values import ABOVE_0, number

__all__ = ["Pacer"]


class Pacer:
    """Lets audio through at the pace of a clock, in seconds of audio a second; None: at once.

    A chunk is due at the start plus the audio before it, so small delays don't add up. After a long one, and for what a
    `live` source has queued, the pace is 1.2 times as high, or 1.2 at least: Deepgram takes 1.25 times real time.
    """

    CATCH_UP: Final = 1.2

    def __init__(
        self,
        pace: float | None,
        *,
        live: bool = False,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if pace is not None:
            pace = number("pace is a positive number, or None for as fast as the server takes it", pace, ABOVE_0)
        self._pace = pace
        # Deepgram limits real time, not the pace.
        self._most = 1.0 if pace is None else pace * self.CATCH_UP if pace <= 1 else max(pace, self.CATCH_UP)
        self._live = live
        self._clock = clock
        self._sleep = sleep
        self._anchor: float | None = None
        self._sent = 0.0
        self._earliest = -math.inf

    async def wait(self, seconds: float) -> None:
        """Wait until the next `seconds` of audio are due. A cancelled wait lets nothing through."""
        if self._pace is None:
            # Other tasks get a turn.
            await self._sleep(0)
            return
        clock = self._clock or asyncio.get_running_loop().time
        now = clock()
        if self._anchor is None:
            self._anchor = now
        due = self._earliest if self._live else max(self._earliest, self._anchor + self._sent / self._pace)
        if due > now:
            await self._sleep(due - now)
            now = max(due, clock())
        self._sent += seconds
        # The slack of one chunk: without it, the jitter of every sleep would add to the delay.
        self._earliest = max(self._earliest, now - CHUNK_SECONDS) + seconds / self._most

    def restart(self) -> None:
        """Forget the time since the last chunk, because the stream was paused."""
        self._anchor = None
        self._sent = 0.0

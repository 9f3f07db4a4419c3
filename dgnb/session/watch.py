"""`Watch`: a task that measures how long the loop was held up, reports it, and has files written."""

from __future__ import annotations

import asyncio
import datetime
import logging
import math
import time
from collections import deque
from typing import Final

from dgnb.notices import say
from dgnb.session.capture import Capture
from dgnb.session.writer import FileWriter
from dgnb.transcript import Transcript

logger = logging.getLogger("dgnb")

# A clock that nobody sets, and that goes on while the machine is asleep. Windows has none: there it is the wall clock.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_INTERVAL: Final = 0.25
_RECENT: Final = 30.0
_ASLEEP: Final = 10.0  # s. Where the clock is the wall clock and gains less, somebody may have set it.
_WRITE: Final = 1.0
_BUSY: Final = 1.0  # s that the loop was held up which are worth a warning.
_REMIND: Final = 3600.0  # s of audio after which an endless stream is mentioned: it costs money, and may be forgotten.


class Watch:
    """Looks after a stream while it runs: a cell may block the loop, and the machine may sleep."""

    def __init__(self, capture: Capture, transcript: Transcript, writers: list[FileWriter], *, endless: bool) -> None:
        self.writers = writers
        self.worst = 0.0  # s that the loop was held up at most
        self._capture = capture
        self._transcript = transcript
        self._endless = endless
        self._ticked = math.inf
        self._delays: deque[tuple[float, float]] = deque(maxlen=200)

    def recent(self, now: float, seconds: float = _RECENT) -> float:
        """The longest delay in the last seconds, one that still lasts included; among the last 200 ticks."""
        return max([self._delay(now), *(delay for at, delay in self._delays if at > now - seconds)])

    def _delay(self, now: float) -> float:
        return max(0.0, now - self._ticked - _INTERVAL)

    async def run(self) -> None:
        """Watch until cancelled."""
        clock, capture, transcript = asyncio.get_running_loop().time, self._capture, self._transcript
        self._ticked = written = clock()
        wall, reminded = _with_sleep(), not self._endless
        while True:
            await asyncio.sleep(_INTERVAL)
            now, wall_before, wall = clock(), wall, _with_sleep()
            # The loop's clock stands still while the machine is asleep.
            asleep = wall - wall_before - (now - self._ticked)
            delay, self._ticked = self._delay(now), now
            self.worst = max(self.worst, delay)
            self._delays.append((now, delay))
            if asleep > _ASLEEP:
                until = datetime.datetime.now(datetime.UTC)
                since = until - datetime.timedelta(seconds=asleep)
                text = f"This machine was asleep from {since:%H:%M:%S} to {until:%H:%M:%S} UTC."
                transcript.note("warning", text)
                if capture.audio and capture.audio.live:
                    transcript.add_gap(capture.captured, capture.captured, text, asleep)
            elif delay > _BUSY:
                transcript.note("warning", f"The kernel was busy for {delay:.1f} s: nothing was sent or received.")
                logger.info("The event loop was blocked for %.1f s", delay)
            if capture.audio and not capture.audio.waits:
                capture.take_notes(capture.audio)  # of a source from which nothing comes
            if not reminded and capture.audio_cursor >= _REMIND:
                reminded = True
                text = (
                    f"{_REMIND / 3600:g} h of audio were sent, and it goes on until it is stopped; duration= ends it."
                )
                transcript.note("warning", text)
                say(text)
            if now - written >= _WRITE:
                written = now
                for writer in self.writers:
                    writer.write()


def _with_sleep() -> float:
    clock = getattr(time, "clock_gettime", None)
    return float(clock(_CLOCK) if clock else time.time())

"""`Watch`: a task that measures how long the loop was held up, reports it, and has the journal written."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import time
from collections import deque
from typing import Final

from dgnb.session.capture import Capture
from dgnb.session.writer import JournalWriter
from dgnb.transcript import Transcript

logger = logging.getLogger("dgnb")

# A clock that nobody sets, and that goes on while the machine is asleep. Windows has none: there it is the wall clock.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_INTERVAL: Final = 0.25
_RECENT: Final = 30.0
_ASLEEP: Final = 10.0  # s. Where the clock is the wall clock and gains less, somebody may have set it.
_JOURNAL: Final = 1.0
_BUSY: Final = 1.0  # s that the loop was held up which are worth a warning.
_REMIND: Final = 3600.0  # s of audio after which an endless stream is mentioned: it costs money, and may be forgotten.


class Lag:
    """How long the event loop was held up, by a cell that blocks the kernel or by a machine that slept. Pure.

    Args:
        interval: Seconds between two ticks.
        now: Seconds, monotonic.
        wall: Seconds of a clock that goes on while the machine is asleep; the monotonic one stands still.
    """

    def __init__(self, interval: float, now: float, wall: float) -> None:
        self._interval = interval
        self._ticked = now
        self._wall = wall
        self._delays: deque[tuple[float, float]] = deque(maxlen=200)
        self.worst = 0.0

    def tick(self, now: float, wall: float) -> tuple[float, float]:
        """Record a tick. Returns the seconds by which it was late, and the seconds that the machine was asleep."""
        delay = self._delay(now)
        asleep = (wall - self._wall) - (now - self._ticked)
        self._ticked, self._wall = now, wall
        self.worst = max(self.worst, delay)
        self._delays.append((now, delay))
        return delay, asleep if asleep > _ASLEEP else 0.0

    def recent(self, now: float, seconds: float = _RECENT) -> float:
        """The longest delay in the last seconds, one that still lasts included; among the last 200 ticks."""
        return max([self._delay(now), *(delay for at, delay in self._delays if at > now - seconds)])

    def _delay(self, now: float) -> float:
        return max(0.0, now - self._ticked - self._interval)


@dataclasses.dataclass(eq=False)
class Watch:
    """Looks after a stream while it runs. `endless` is whether the stream has no `duration`."""

    capture: Capture
    transcript: Transcript
    writer: JournalWriter
    endless: bool
    lag: Lag | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        clock = asyncio.get_running_loop().time
        self.lag = Lag(_INTERVAL, clock(), _with_sleep())
        written, reminded = clock(), False
        while True:
            await asyncio.sleep(_INTERVAL)
            now = clock()
            delay, asleep = self.lag.tick(now, _with_sleep())
            if asleep:
                until = datetime.datetime.now(datetime.UTC)
                since = until - datetime.timedelta(seconds=asleep)
                text = f"This machine was asleep from {since:%H:%M:%S} to {until:%H:%M:%S} UTC."
                self.transcript.note("warning", text)
                if self.capture.audio and self.capture.audio.live:
                    self.transcript.add_gap(self.capture.captured, self.capture.captured, text, asleep)
            elif delay > _BUSY:
                self.transcript.note("warning", f"The kernel was busy for {delay:.1f} s: nothing was sent or received.")
                logger.info("The event loop was blocked for %.1f s", delay)
            if self.endless and not reminded and self.capture.audio_cursor >= _REMIND:
                reminded = True
                text = (
                    f"{_REMIND / 3600:g} h of audio were sent, and it goes on until it is stopped; duration= ends it."
                )
                self.transcript.note("warning", text)
                logger.warning("%s", text)
            if now - written >= _JOURNAL:
                written = now
                self.writer.write()


def _with_sleep() -> float:
    clock = getattr(time, "clock_gettime", None)
    return float(clock(_CLOCK) if clock else time.time())

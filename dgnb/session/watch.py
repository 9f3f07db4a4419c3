"""`Watch`: a task that measures how long the loop was held up, reports it, and has the journal written."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import time
from typing import Final

from dgnb.session.capture import Capture
from dgnb.session.lag import Lag
from dgnb.session.writer import JournalWriter
from dgnb.transcript import Transcript

logger = logging.getLogger("dgnb")

# A clock that nobody sets, and that goes on while the machine is asleep. Windows has none: there it is the wall clock.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_INTERVAL: Final = 0.25
_JOURNAL: Final = 1.0
_BUSY: Final = 1.0  # s that the loop was held up which are worth a warning.
_REMIND: Final = 3600.0  # s of audio after which an endless stream is mentioned: it costs money, and may be forgotten.


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
                    self.transcript.add_gap(self.capture.captured, self.capture.captured, text)
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

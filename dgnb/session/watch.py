"""`Watch`: a task that measures how long the loop was held up, reports it, and has the journal written."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from typing import Final

from dgnb.session.capture import Capture
from dgnb.session.lag import Lag
from dgnb.session.writer import JournalWriter
from dgnb.transcript import Transcript

__all__ = ["Watch"]

logger = logging.getLogger("dgnb")

_INTERVAL: Final = 0.25
_JOURNAL: Final = 1.0
_BUSY: Final = 1.0
"""Seconds that the loop was held up which are worth a warning."""

_REMIND: Final = 3600.0
"""Seconds of audio after which a stream without a `duration` is mentioned: it may be forgotten, and costs money."""


class Watch:
    """Looks after a stream while it runs.

    Args:
        name: The source's name, for the log.
        capture: Says how much audio was captured and sent.
        transcript: Where warnings go.
        writer: Is told each second to write the journal.
        remind: Whether to mention after an hour that the stream still runs.
    """

    def __init__(
        self, name: str, capture: Capture, transcript: Transcript, writer: JournalWriter, *, remind: bool
    ) -> None:
        self._name = name
        self._capture = capture
        self._transcript = transcript
        self._writer = writer
        self._remind = remind
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lag = Lag(_INTERVAL, 0.0, 0.0)

    @property
    def worst_lag(self) -> float:
        """The longest time that the loop was held up, in seconds."""
        return self._lag.worst

    def recent_lag(self) -> float:
        """The longest time that the loop was held up in the last half minute, in seconds."""
        return self._lag.recent(self._loop.time()) if self._loop else 0.0

    def lag_since(self, then: float) -> float:
        """The longest time that the loop was held up since `then`, in seconds."""
        return self._lag.since(then, self._loop.time()) if self._loop else 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        self._loop = loop = asyncio.get_running_loop()
        self._lag = Lag(_INTERVAL, loop.time(), time.time())
        written = loop.time()
        while True:
            await asyncio.sleep(_INTERVAL)
            now = loop.time()
            delay, asleep = self._lag.tick(now, time.time())
            if asleep:
                self._report_sleep(asleep)
            elif delay > _BUSY:
                self._transcript.note(
                    "warning", f"The kernel was busy for {delay:.1f} s: nothing was sent or received."
                )
                logger.info("The event loop was blocked for %.1f s", delay)
            if self._remind and self._capture.audio_cursor >= _REMIND:
                self._remind = False
                text = (
                    f"{_REMIND / 3600:g} h of audio were sent, and it goes on until it is stopped; duration= ends it."
                )
                self._transcript.note("warning", text)
                logger.warning("%s: %s", self._name, text)
            if now - written >= _JOURNAL:
                written = now
                self._writer.write()

    def _report_sleep(self, seconds: float) -> None:
        until = datetime.datetime.now(datetime.UTC)
        since = until - datetime.timedelta(seconds=seconds)
        text = f"This machine was asleep from {since:%H:%M:%S} to {until:%H:%M:%S} UTC."
        self._transcript.note("warning", text)
        if self._capture.audio and self._capture.live:
            self._transcript.add_gap(self._capture.captured, self._capture.captured, text)

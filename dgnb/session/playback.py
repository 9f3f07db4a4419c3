"""`Playback`: the stream of a replay: what a saved session holds, in place of a server's messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final

from dgnb.audio import Audio, AudioSource
from dgnb.endpoints import Endpoint
from dgnb.exceptions import AudioError, ConfigurationError, DgnbError
from dgnb.session.stream import State, Stream
from dgnb.transcript import Gap, Transcript
from dgnb.transcript.records import Edit

NOWHERE: Final = Endpoint("replay", "no server: a replay", None, "", "its messages are those of a saved session")
"""Where a replay sends its audio."""

_LONGEST: Final = 10.0  # s of the saved session without anything. A session may have paused over night.
_TICK: Final = 0.1  # s until a pause or a stop is noticed.
_BATCH: Final = 32  # Items that are taken before the loop has its turn: a few milliseconds.


class Saved(AudioSource):
    """A saved session, in the place of a source; `speed` is that of `replay`."""

    def __init__(self, given: Transcript | str | os.PathLike[str], speed: float | None) -> None:
        self.given = given
        self.speed = speed
        self.name = "a transcript" if isinstance(given, Transcript) else os.path.basename(os.fsdecode(given))

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Refuse: it has messages and no audio."""
        raise AudioError(f"{self.name} holds messages and no audio: dgnb.replay() takes it.")


class Playback(Stream):
    """Adds nothing to the transcript but what was saved. Its source is a `Saved`."""

    def renew(self) -> None:
        """Refuse: the transcript has its messages already."""
        raise ConfigurationError("A replay does not go on after its end: make another one with dgnb.replay(…).")

    def pause(self) -> None:
        """Hold everything back, within 0.1 s."""
        self.capture.resumed.clear()

    def resume(self) -> None:
        """Go on where it was."""
        self.capture.resumed.set()

    async def run(self) -> None:
        """Take all that was saved, or up to a stop. It raises nothing: `error` says why it ended early."""
        self.cut_off, source = True, self.capture.source
        assert isinstance(source, Saved)
        try:
            given = source.given
            saved = given if isinstance(given, Transcript) else await asyncio.to_thread(Transcript.load, given)
            await self._play(saved, source.speed)
        except Exception as error:
            self._fail(error)
        self._enter(State.CLOSED)

    async def _play(self, saved: Transcript, speed: float | None) -> None:
        self.capture.duration = saved.cursor
        self._enter(State.OPEN)
        loop, before = asyncio.get_running_loop(), None
        due = loop.time()
        for count, item in enumerate(saved.items()):
            if speed and not isinstance(item, Gap | Edit):
                passed = max(0, item.at - before) / 1e9 if before is not None else 0.0
                due, before = due + min(passed, _LONGEST) / speed, item.at
            if count % _BATCH == 0:
                await asyncio.sleep(0)
            while not self.stop.asked and (self.capture.paused or loop.time() < due):
                paused, began = self.capture.paused, loop.time()
                await asyncio.sleep(_TICK if paused else min(_TICK, due - began))
                due += loop.time() - began if paused else 0.0
            if self.stop.asked:
                return
            self.transcript.restore(item)
            self._notify()
        with contextlib.suppress(DgnbError):  # a file that is gone is told when it is to be heard
            await asyncio.to_thread(setattr, self.transcript, "audio", saved.audio)
        self.cut_off = False

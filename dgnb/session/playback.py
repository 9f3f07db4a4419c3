"""`Playback`: the stream of a replay: what a saved session holds, in place of a server's messages."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from dgnb.audio import Audio, AudioSource
from dgnb.endpoints import Endpoint
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.session.capture import Capture
from dgnb.session.stream import State, Stream
from dgnb.transcript import Gap, Transcript

NOWHERE: Final = Endpoint("replay", "no server: a replay", None, "", "its messages are those of a saved session")
"""Where a replay sends its audio."""

_LONGEST: Final = 10.0
"""Seconds of the saved session that may pass without anything. What is longer was a pause, and is cut to this."""
_TICK: Final = 0.1
"""Seconds until a pause or a stop is noticed, at most."""
_BATCH: Final = 32
"""Items that are taken before the loop has its turn: a few milliseconds."""


class Saved(AudioSource):
    """A saved session, in the place of a source; `speed` is that of `replay`."""

    def __init__(self, given: Transcript | str | os.PathLike[str], speed: float | None) -> None:
        self.given = given
        self.speed = speed
        self.name = "a transcript" if isinstance(given, Transcript) else os.path.basename(os.fsdecode(given))

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Refuse: it has messages and no audio."""
        raise AudioError(f"{self.name} holds messages and no audio: dgnb.replay() takes it.")


class _Position(Capture):
    """How far the saved session had sent its audio."""

    @property
    def captured(self) -> float:
        return self._transcript.cursor

    audio_cursor = captured


class Playback(Stream):
    """Adds nothing to the transcript but what was saved. `source` is a `Saved`; the rest is as in `Stream`."""

    def __init__(self, source: AudioSource, *given: Any, **named: Any) -> None:
        super().__init__(source, *given, **named)
        assert isinstance(source, Saved)
        self._saved = source
        self._due = 0.0
        self.capture = _Position(source, self.transcript, None, None)

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
        self.cut_off = True
        try:
            given = self._saved.given
            saved = given if isinstance(given, Transcript) else await asyncio.to_thread(Transcript.load, given)
            self.capture.duration = saved.cursor
            self._enter(State.OPEN)
            await self._play(saved)
        except Exception as error:
            self._fail(error)
        self._enter(State.CLOSED)

    async def _play(self, saved: Transcript) -> None:
        self._due, before = asyncio.get_running_loop().time(), None
        for count, item in enumerate(saved.items()):
            if self._saved.speed and not isinstance(item, Gap):
                passed = max(0, item.at - before) / 1e9 if before is not None else 0.0
                self._due, before = self._due + min(passed, _LONGEST) / self._saved.speed, item.at
            if count % _BATCH == 0:
                await asyncio.sleep(0)
            await self._rest()
            if self.stop.asked:
                return
            self.transcript.restore(item)
            self._notify()
        self.cut_off = False

    async def _rest(self) -> None:
        """Wait until the next item is due. A pause puts that off; a stop ends it."""
        loop = asyncio.get_running_loop()
        while not self.stop.asked and (self.capture.paused or loop.time() < self._due):
            paused, began = self.capture.paused, loop.time()
            await asyncio.sleep(_TICK if paused else min(_TICK, self._due - began))
            self._due += loop.time() - began if paused else 0.0

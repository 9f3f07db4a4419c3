"""`Hearing`: a source that is opened once and heard by several."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from dgnb.audio import Audio, AudioSource, BufferSource, Note, Sound
from dgnb.exceptions import ConfigurationError

_AHEAD: Final = 300  # Chunks that a source which waits is read before the fastest run


class Hearing(AudioSource):
    """Keeps what a source gives in memory. Each `open()` gives all of it, from the beginning on."""

    def __init__(self, source: AudioSource, duration: float | None) -> None:
        self.name, self.size = source.name, 0
        self.audio: Audio | None = None
        self.source, self.duration = source, duration
        self._chunks: list[bytes] = []
        self._notes: list[Note] = []
        self._taps: list[deque[Note]] = []
        self._taken = 0  # Chunks that the fastest run has.
        self._ended = self._stopped = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def seconds(self) -> float:
        """How much was heard."""
        return self.size / self.audio.bytes_per_second if self.audio else 0.0

    @contextlib.asynccontextmanager
    async def begun(self, *, multichannel: bool) -> AsyncIterator[Audio]:
        """Open the source, and close it when the block ends. `AudioError`: it can't be opened."""
        self.audio = audio = await self.source.open(multichannel=multichannel)
        try:
            if audio.encoding != "linear16":
                raise ConfigurationError("Several runs hear decoded sound: leave out decode=False.")
            self._task = asyncio.create_task(self._hear(audio), name="dgnb: a source for several")
            yield audio
        finally:
            if self._task:
                self._task.cancel()
                await asyncio.wait({self._task})
            self._ended = True
            await audio.aclose()

    def stop(self) -> None:
        """Hear no more. The runs finish with what there is."""
        self._stopped = True
        self._wake()

    async def open(self, *, multichannel: bool = False) -> Audio:
        """The sound for one run. It waits, because what was heard is kept."""
        self._taps.append(notes := deque(self._notes))
        same: Any = {name: getattr(self.audio, name) for name in ("sample_rate", "channels", "live", "length")}
        return Audio(self._given(), _nothing, waits=True, notes=notes, **same)

    async def whole(self) -> Sound:
        """All of it, when the source has ended."""
        self._taken = 1 << 60
        self._wake()
        while self.audio and not self._ended:
            await self._news.wait()
        if self._error:
            raise self._error
        how: Any = {name: getattr(self.audio, name) for name in ("encoding", "sample_rate", "channels")}
        return Sound(BufferSource(b"".join(self._chunks), **how))

    async def _given(self) -> AsyncIterator[bytes]:
        place = 0
        while place < len(self._chunks) or not self._ended:
            if place == len(self._chunks):
                await self._news.wait()
                continue
            place += 1
            if place > self._taken:
                self._taken = place
                self._wake()
            yield self._chunks[place - 1]
        if self._error:
            raise self._error

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _hear(self, audio: Audio) -> None:
        frame = audio.frame_bytes or 1
        limit = math.inf
        if self.duration is not None:
            limit = max(1, round(self.duration * audio.bytes_per_second / frame)) * frame
        try:
            async for chunk in audio:
                self._tell(audio)
                self._chunks.append(chunk[: int(min(len(chunk), limit - self.size))])
                self.size += len(self._chunks[-1])
                self._wake()
                while audio.waits and len(self._chunks) > self._taken + _AHEAD and not self._stopped:
                    await self._news.wait()
                if self._stopped or self.size >= limit:
                    break
        except Exception as error:
            self._error = error
        finally:
            self._tell(audio)
            self._ended = True
            self._wake()

    def _tell(self, audio: Audio) -> None:
        for notes in (self._notes, *self._taps):
            notes.extend(audio.notes)
        audio.notes.clear()


async def _nothing() -> None:
    """Others go on hearing."""

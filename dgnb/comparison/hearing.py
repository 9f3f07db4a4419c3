"""`Hearing`: a source that is opened once and heard by several."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from dgnb.audio import Audio, AudioSource, BufferSource, Note, Sound
from dgnb.exceptions import ConfigurationError

_AHEAD: Final = 300  # Chunks that a source which waits is read before the fastest run


class Hearing:
    """Opens a source, keeps what it gives in memory, and gives it to each `tap()`.

    `audio` is what it opened.
    """

    def __init__(self, source: AudioSource, duration: float | None) -> None:
        self.name = source.name
        self.audio: Audio | None = None
        self._source, self._duration = source, duration
        self._chunks: list[bytes] = []
        self._notes: list[tuple[int, Note]] = []
        self._size = self._taken = 0  # Bytes that were heard.
        self._ended = self._stopped = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def seconds(self) -> float:
        """How much was heard."""
        return self._size / self.audio.bytes_per_second if self.audio else 0.0

    async def open(self, *, multichannel: bool) -> Audio:
        """Open the source and begin. `AudioError`: it can't be opened."""
        self.audio = audio = await self._source.open(multichannel=multichannel)
        if audio.encoding != "linear16":
            await audio.aclose()
            raise ConfigurationError("Several runs hear decoded sound: leave out decode=False.")
        self._task = asyncio.create_task(self._hear(audio), name="dgnb: a source for several")
        return audio

    def stop(self) -> None:
        """Hear no more. The runs finish with what there is."""
        self._stopped = True
        self._wake()

    async def close(self) -> None:
        """Close the source."""
        if self.audio and self._task:
            self._task.cancel()
            await asyncio.wait({self._task})
            await self.audio.aclose()
            self._ended = True

    def tap(self) -> AudioSource:
        """The same sound as a source of its own, from the beginning on."""
        return _Tap(self)

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

    async def chunks(self, notes: deque[Note]) -> AsyncIterator[bytes]:
        """What was heard and what will be, with its notes."""
        place = told = 0
        while True:
            while told < len(self._notes) and self._notes[told][0] <= place:
                notes.append(self._notes[told][1])
                told += 1
            if place < len(self._chunks):
                chunk, place = self._chunks[place], place + 1
                if place > self._taken:
                    self._taken = place
                    self._wake()
                yield chunk
            elif not self._ended:
                await self._news.wait()
            elif self._error:
                raise self._error
            else:
                return

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _hear(self, audio: Audio) -> None:
        frame = audio.frame_bytes or 1
        limit = (
            math.inf
            if self._duration is None
            else max(1, round(self._duration * audio.bytes_per_second / frame)) * frame
        )
        try:
            async for chunk in audio:
                self._keep(audio, chunk[: int(min(len(chunk), limit - self._size))])
                while audio.waits and len(self._chunks) > self._taken + _AHEAD and not self._stopped:
                    await self._news.wait()
                if self._stopped or self._size >= limit:
                    break
        except Exception as error:
            self._error = error
        finally:
            self._ended = True
            self._keep(audio, b"")

    def _keep(self, audio: Audio, chunk: bytes) -> None:
        while audio.notes:
            self._notes.append((len(self._chunks), audio.notes.popleft()))
        if chunk:
            self._chunks.append(chunk)
            self._size += len(chunk)
        self._wake()


class _Tap(AudioSource):
    """What one run hears."""

    def __init__(self, hearing: Hearing) -> None:
        self.name, self._hearing = hearing.name, hearing

    async def open(self, *, multichannel: bool = False) -> Audio:
        """The format of the source."""
        notes: deque[Note] = deque()
        same: Any = {name: getattr(self._hearing.audio, name) for name in ("sample_rate", "channels", "live", "length")}
        # It waits, because what was heard is kept. There is nothing to close: others go on hearing.
        return Audio(self._hearing.chunks(notes), _nothing, waits=True, notes=notes, **same)


async def _nothing() -> None:
    """The source is closed when all runs have ended."""

"""`Capture`: audio on its way from a source to a connection: kept in a ledger, held by a pause, let out at a pace."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from typing import Final

from dgnb.audio import Audio, AudioSource, Pacer
from dgnb.audio.recording import Recorder
from dgnb.exceptions import AudioError
from dgnb.session.ledger import Ledger
from dgnb.session.stop import RELEASE
from dgnb.transcript import Transcript

BUFFER_SECONDS: Final = 120.0
"""Audio that is kept until a final covers it. 120 s of linear16 at 16 kHz are 3.8 MB."""

_AHEAD_OF_GATE: Final = 0.6  # The same where it must be known what follows a silence.
_READ_AHEAD: Final = 0.2  # s of unsent audio up to which a source that can wait is read.
_CANCELLED: Final = "was cancelled from inside: something that it waits for was."


class Capture:
    """Takes audio from a source: as it comes where it would be lost otherwise, else as fast as it is sent.

    `audio` is None until it is open, `duration` and `recorder` where there is none. `ended`: no more will be captured.
    """

    def __init__(self, source: AudioSource, transcript: Transcript, duration: float | None, pace: float | None) -> None:
        self.audio: Audio | None = None  # What the source opened.
        self.ledger = Ledger(0)
        self.pacer = Pacer(pace)
        self.ended = False  # No more audio will be captured.
        self.resumed = asyncio.Event()  # Set unless the session is paused.
        self.resumed.set()
        self.source = source
        self.recorder: Recorder | None = None
        self._transcript = transcript
        self.duration = duration
        self._pace = pace
        self._left_at = self._skipped_at = 0.0  # When a pause or a close began, and where on the timeline.
        self._skipped = 0.0  # Seconds that were skipped in this pause, of a source that does not wait.
        self._newest = b""
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._captured = asyncio.Event()
        self._sent = asyncio.Event()

    @property
    def bytes_per_second(self) -> float:
        """Turns bytes into seconds."""
        return self.audio.bytes_per_second if self.audio else 1.0

    def seconds(self, size: int) -> float:
        """How long so many bytes of audio last."""
        return size / self.bytes_per_second

    @property
    def captured(self) -> float:
        """Seconds of audio that were taken from the source."""
        return self.seconds(self.ledger.captured)

    @property
    def audio_cursor(self) -> float:
        """Seconds of audio that were sent; without a source, what the transcript says."""
        return self.seconds(self.ledger.sent) if self.audio else self._transcript.cursor

    @property
    def pending(self) -> float:
        """Seconds of captured audio that no final covers yet."""
        return self.seconds(self.ledger.pending)

    @property
    def paused(self) -> bool:
        """Whether audio is held back."""
        return not self.resumed.is_set()

    @property
    def length(self) -> float | None:
        """Seconds of audio that will have been taken at the end; None where the source does not say."""
        known = [length for length in (self.audio and self.audio.length, self.duration) if length]
        return min(known, default=None)

    @property
    def decoded(self) -> bool:
        """Whether the audio is linear16, so that bytes are an exact time."""
        return self.audio is not None and self.audio.encoding == "linear16"

    @property
    def level(self) -> float | None:
        """See `LiveSession.level`."""
        if len(self._newest) < 2 or not self.decoded:
            return None
        samples = memoryview(self._newest[: len(self._newest) // 2 * 2]).cast("h")
        peak = max(max(samples), -min(samples))
        return 20 * math.log10(peak / 32768) if peak else -math.inf

    async def open(self, *, multichannel: bool) -> Audio:
        """Open the source, after a close to go on where it was. `AudioError`: it can't be opened at first."""
        failed = None
        if self.audio is None:
            self.audio = audio = await self._opened(multichannel)
            rate, frame = audio.bytes_per_second, audio.frame_bytes or 1
            self.ledger = Ledger(round(BUFFER_SECONDS * rate), frame)
            self.cut(0.1)
        elif not self.exhausted:
            try:
                self.audio = await self._opened(multichannel)
            except AudioError as error:
                failed = error
            if self.audio.live and not failed:
                missed = asyncio.get_running_loop().time() - self._left_at
                text = f"{missed:.1f} s of the live stream were missed between the end and retry()"
                self._transcript.add_gap(self.captured, self.captured, text, missed)
        self.pacer = Pacer(self._pace, live=self.audio.live)
        if not self.exhausted:
            self.ended = self._closing = False
            self._task = asyncio.create_task(self._run(self.audio, failed), name="dgnb: capture")
        return self.audio

    async def _opened(self, multichannel: bool) -> Audio:
        opening = asyncio.ensure_future(self.source.open(multichannel=multichannel))
        try:
            await asyncio.wait({opening})
        except asyncio.CancelledError:
            # A network drive may be gone, and a source of your own may not let itself be cancelled.
            late = asyncio.create_task(_given_up(opening), name="dgnb: give up a source")
            await asyncio.wait({late}, timeout=RELEASE)
            if not late.done():
                self._transcript.note("warning", f"{self.source.name} takes long to open, and is not waited for.")
            raise
        if opening.cancelled():
            raise AudioError(f"{self.source.name} {_CANCELLED}")
        audio = opening.result()
        if not isinstance(audio, Audio):
            raise AudioError(f"open() of {self.source.name} gave {type(audio).__name__}, and not an Audio.")
        if self.audio and (audio.bytes_per_second, audio.channels) != (self.bytes_per_second, self.audio.channels):
            await audio.aclose()
            raise AudioError(f"{self.source.name} has another format than before: start a new session.")
        return audio

    def cut(self, seconds: float) -> None:
        """Send so many seconds in one frame at most."""
        frame = (self.audio and self.audio.frame_bytes) or 1
        self.ledger.chunk = max(1, round(seconds * self.bytes_per_second / frame)) * frame

    @property
    def failure(self) -> BaseException | None:
        """Why the source failed, or None."""
        return self._task.exception() if self._task and self._task.done() and not self._task.cancelled() else None

    @property
    def exhausted(self) -> bool:
        """Whether the source has come to its end, or to the `duration`."""
        return self._task is not None and self._task.done() and not self._task.cancelled() and self.failure is None

    def end(self, *, at_once: bool) -> None:
        """Capture no more. `at_once` lets what there is out without a pace."""
        self._closing = True
        if self._task:
            self._task.cancel()
        if at_once:
            self.pacer = Pacer(None)

    async def close(self) -> None:
        """End capturing and close the source. A source that takes long to close is not waited for."""
        if self.audio is None or self._task is None:
            return
        self.end(at_once=False)
        self._left_at = asyncio.get_running_loop().time()
        deadline = self._left_at + RELEASE
        await asyncio.wait({self._task}, timeout=RELEASE)
        try:
            async with asyncio.timeout_at(deadline):
                await self.audio.aclose()
        except TimeoutError:
            self._transcript.note("warning", f"{self.source.name} takes long to close, and is not waited for.")

    def pause(self) -> None:
        """Begin a pause."""
        self.resumed.clear()
        self._captured.set()  # whoever waits for audio sees the pause
        self._left_at = asyncio.get_running_loop().time()

    def resume(self) -> str:
        """End a pause. Returns what it cost, in words, or ""."""
        self.resumed.set()
        self.pacer.restart()
        skipped, self._skipped = self._skipped, 0.0
        if not skipped:
            return ""
        text = f"{skipped:.1f} s of the live stream were skipped in a pause"
        self._transcript.add_gap(self._skipped_at, self._skipped_at, text, skipped)
        return text

    def _skip(self, chunk: bytes, frame: int) -> bytes:
        """Skip no more of a chunk than the pause has lasted, as a station may send much at once. Returns the rest."""
        if not self._skipped:
            self._skipped_at = self.captured
        due = asyncio.get_running_loop().time() - self._left_at - self._skipped
        size = min(len(chunk), max(0, round(due * self.bytes_per_second / frame)) * frame)
        self._skipped += self.seconds(size)
        return chunk[size:]

    async def more(self) -> None:
        """Wait until audio was captured, or the source has ended."""
        self._captured.clear()
        await self._captured.wait()

    async def something_to_send(self) -> bool:
        """Wait until a connection would have audio to send; False where none will come."""
        while True:
            if self.audio and self.audio.waits:
                await self.resumed.wait()
            if self.ledger.unsent or self.ended:
                return self.ledger.unsent > 0
            await self.more()

    def send(self, chunk: bytes) -> None:
        """The connection takes this chunk of `ledger.peek()`."""
        self.ledger.advance(len(chunk))
        self._transcript.cursor = self.audio_cursor
        self._sent.set()
        self._newest = chunk

    async def _run(self, audio: Audio, failed: AudioError | None) -> None:
        ledger, frame = self.ledger, audio.frame_bytes or 1
        limit = sys.maxsize
        if self.duration is not None:
            limit = max(1, round(self.duration * audio.bytes_per_second / frame)) * frame
        odd = bytearray()
        # A file is read again from its beginning.
        again = 0 if audio.live else ledger.captured
        try:
            if failed:
                raise failed
            async for given in audio:
                if again:
                    audio.notes.clear()
                self.take_notes(audio)
                # A source of your own may reuse its buffer, cut a sample in two, or give much at once.
                odd += given
                whole = len(odd) - len(odd) % frame
                taken, odd = bytes(odd[again:whole]), odd[whole:]
                again = max(0, again - whole)
                if self.paused and not audio.waits:
                    taken = self._skip(taken, frame)
                for start in range(0, len(taken), step := ledger.chunk):
                    chunk = taken[start : start + step][: limit - ledger.captured]
                    ledger.capture(chunk)
                    if self.recorder:
                        self.recorder.capture(chunk)
                    self._captured.set()
                    if ledger.captured >= limit:
                        return
                    while audio.waits and self.seconds(ledger.unsent) >= _read_ahead(ledger):  # a stop loses no chunk
                        self._sent.clear()
                        await self._sent.wait()
        except asyncio.CancelledError:
            if self._closing:
                raise
            raise AudioError(f"{self.source.name} {_CANCELLED}") from None
        finally:
            self.take_notes(audio)
            self.ended = True
            self._captured.set()

    def take_notes(self, audio: Audio) -> None:
        """Put what the source reports into the events, and what it missed into the gaps."""
        while audio.notes:
            note, at = audio.notes.popleft(), self.captured
            self._transcript.note(note.type, f"at {at:.1f} s: {note.text}", start=at)
            if note.missed:
                # It was never captured, so it takes no time on the timeline.
                self._transcript.add_gap(at, at, f"{note.missed:.1f} s were missed: {note.text}", note.missed)


def _read_ahead(ledger: Ledger) -> float:
    return _AHEAD_OF_GATE if ledger.gate else _READ_AHEAD


async def _given_up(opening: asyncio.Future[Audio]) -> None:
    """Cancel what opens a source. What it opens nevertheless is closed."""
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and not opening.exception() and isinstance(audio := opening.result(), Audio):
        with contextlib.suppress(Exception):
            await audio.aclose()

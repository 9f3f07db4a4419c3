"""Self-describing audio: each 0.4 s hold the number of a word, so that lost, doubled and late words can be counted.

A block is 40 units of 10 ms. Each unit repeats a mark, the word, and the unit's number in its block. Silence is zeros.
A reader finds the next word wherever the audio was cut.
"""

from __future__ import annotations

import asyncio
import functools
import io
import struct
import wave
from collections.abc import Sequence

from dgnb.audio import Audio, AudioSource

__all__ = ["BLOCK", "BLOCK_SECONDS", "BYTES_PER_SECOND", "RATE", "Reader", "Token", "WordSource", "block", "wav"]

RATE = 16_000
BYTES_PER_SECOND = 2 * RATE
BLOCK_SECONDS = 0.4
BLOCK = 12_800
"""Bytes."""

_UNIT = 320
_MARK = 0x3C5A
_HEADER = struct.Struct("<HIH")
_REPEATS = _UNIT // _HEADER.size
_SILENCE = bytes(BLOCK)

Token = tuple[int, int, int]
"""A word (0 for silence, -1 for damaged audio), and where it begins and ends, in bytes."""


@functools.lru_cache(maxsize=1024)
def block(word: int) -> bytes:
    """The audio of a word; 0 is silence."""
    if not word:
        return _SILENCE
    return b"".join(_HEADER.pack(_MARK, word, unit) * _REPEATS for unit in range(BLOCK // _UNIT))


def wav(words: Sequence[int]) -> bytes:
    """A WAV file of these words."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(b"".join(block(word) for word in words))
    return file.getvalue()


class Reader:
    """Reads words from audio that comes in pieces.

    Attributes:
        received: Bytes so far.
    """

    def __init__(self) -> None:
        self.received = 0
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Token]:
        """Take audio, and return the tokens that are complete. The tokens tile the audio."""
        self._held += data
        self.received += len(data)
        if len(self._held) < BLOCK:
            return []
        return self._take()

    def flush(self) -> list[Token]:
        """Return the rest at the end: too little for a word."""
        tokens = self._take(ended=True)
        if self._held:
            word = -1 if any(self._held) else 0
            tokens.append((word, self.received - len(self._held), self.received))
            self._held.clear()
        return tokens

    def _take(self, *, ended: bool = False) -> list[Token]:
        held, tokens = self._held, []
        base = self.received - len(held)
        at = 0
        while len(held) - at >= BLOCK:
            word, size = self._token(at, ended)
            if not size:
                break
            tokens.append((word, base + at, base + at + size))
            at += size
        del held[:at]
        return tokens

    def _token(self, at: int, ended: bool) -> tuple[int, int]:
        held = self._held
        if (word := self._word(at)) is not None:
            return word, BLOCK
        piece = bytes(held[at : at + BLOCK])
        if zeros := len(piece) - len(piece.lstrip(b"\0")):
            return 0, zeros
        # A part of a word: the next whole word begins within the length of a block.
        if len(held) - at < 2 * BLOCK and not ended:
            return -1, 0
        for size in range(2, min(BLOCK, len(held) - at - BLOCK + 1), 2):
            if held[at + size : at + size + 2] == b"\x5a\x3c" and self._word(at + size):
                return -1, size
            if held[at + size] == 0 and not any(held[at + size : at + size + 64]):
                return -1, size
        return -1, BLOCK

    def _word(self, at: int) -> int | None:
        mark, word, unit = _HEADER.unpack_from(self._held, at)
        if (mark == _MARK and not unit) or (mark == word == unit == 0):
            return word if self._held[at : at + BLOCK] == block(word) else None
        return None


class WordSource(AudioSource):
    """Words as a source. A live one gives 100 ms each 100 ms whether or not they are taken; a file gives what is taken.

    Args:
        words: What is said; 0 for silence.
        live: Whether it goes on when nobody reads it.
        chunk: Seconds a chunk.
        asleep: Live only: the audio of a jump of the clock of more than 10 min, a sleep of the machine, is lost.

    Attributes:
        given: Bytes that were taken.
        started: When it was opened, on the loop's clock.
    """

    name = "words"

    def __init__(self, words: Sequence[int], *, live: bool = False, chunk: float = 0.1, asleep: bool = False) -> None:
        self.words = words
        self.live = live
        self.given = 0
        self.started = 0.0
        self._chunk = chunk
        self._bytes = round(chunk * BYTES_PER_SECOND)
        self._asleep = asleep
        self._next = 0
        self._piece = b""
        self._loop: asyncio.AbstractEventLoop

    async def open(self, *, multichannel: bool = False) -> Audio:
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        if not self.live:
            # A file is read again from its beginning.
            self._next, self._piece = 0, b""
        return Audio(self, self._closed, live=self.live)

    def __aiter__(self) -> WordSource:
        return self

    async def __anext__(self) -> bytes:
        if not self._piece and self._next == len(self.words):
            raise StopAsyncIteration
        if self.live:
            due = self.started + self.given / BYTES_PER_SECOND + self._chunk
            now = self._loop.time()
            if self._asleep and now - due > 600:
                self.started += now - due
            elif due > now:
                await asyncio.sleep(due - now)
        else:
            await asyncio.sleep(0)
        # No wait follows, so that cancelling loses no audio.
        while len(self._piece) < self._bytes and self._next < len(self.words):
            self._piece += block(self.words[self._next])
            self._next += 1
        chunk, self._piece = self._piece[: self._bytes], self._piece[self._bytes :]
        self.given += len(chunk)
        return chunk

    async def _closed(self) -> None: ...

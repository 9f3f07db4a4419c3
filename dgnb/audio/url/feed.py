"""Between the thread that reads the web and the one that decodes: a body, and the stretches of it with one codec."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from dgnb.audio.threads import Pipe
from dgnb.exceptions import AudioError

__all__ = ["Body", "Stretch"]

_SILENT_BYTES: Final = 1 << 14
_HEADERS: Final = (b"OggS\0\2", b"fLaC\0", b"RIFF", b"\x1aE\xdf\xa3")
"""Where formats begin that can't be recognised from their middle."""
_READ_AHEAD: Final = 1 << 14
_MOST_SILENT_BYTES: Final = 1 << 21
_SILENT_SECONDS: Final = 4.0
"""A decoder that is fed so much and gives nothing no longer understands: the codec has changed."""


class Body:
    """Bytes for one decoder. It is made in the fetching loop and read in the decoder's thread.

    Attributes:
        live: More may come under the same address.
        away: Since when nothing was heard before it, on `time.monotonic`, and why; None if nothing was missed.
        began: When its first bytes came, on `time.monotonic`.
        heard: Seconds of audio that it gave.
        lead: Seconds of audio that it was ahead of the clock, at most.
        error: Why it was not decoded to its end.
    """

    def __init__(self, *, live: bool, away: tuple[float, str] | None = None) -> None:
        self.pipe = Pipe()
        self.live = live
        self.away = away
        self.began: float | None = None
        self.heard = 0.0
        self.lead = 0.0
        self.error: AudioError | None = None
        self._ahead = 0.0
        self._heard_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    def hear(self, seconds: float) -> None:
        """Count audio that was decoded."""
        now = time.monotonic()
        self._ahead = max(0.0, self._ahead - (now - self._heard_at)) + seconds
        self._heard_at = now
        self.heard += seconds
        self.lead = max(self.lead, self._ahead)

    def finish(self) -> None:
        """The decoder wants no more. From any thread."""
        self.pipe.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._done.set)

    async def finished(self) -> None:
        """Say that no more comes, and wait until what there is was decoded."""
        self.pipe.end()
        await self._done.wait()


class Stretch:
    """The part of a body that one decoder understands: it ends where the decoder has long given nothing.

    What was read since it last gave something can be read again, by the next decoder.

    Args:
        pipe: The body.
        endless: Trust the decoder, however long it gives nothing.
    """

    def __init__(self, pipe: Pipe, *, endless: bool) -> None:
        self._pipe = pipe
        self._endless = endless
        self._over = False
        self._since = bytearray()
        self._before = bytearray()
        self._first = 1
        self._again = b""
        self._failed_on = b""
        self._read = 0
        self._seconds = 0.0
        self._credit = 0.0

    def read(self, size: int = -1, /) -> bytes:
        """As `Pipe.read`."""
        if self._endless:
            return self._pipe.read(size)
        if self._credit:
            self._read += len(self._since)
            self._seconds += self._credit
            # Without its first byte, the header that this stretch began with is found no more.
            self._before = (self._before + self._since[self._first :])[-_READ_AHEAD:]
            self._first = 0
            self._since.clear()
            self._credit = 0.0
        most = _SILENT_SECONDS * self._read / self._seconds if self._seconds else _MOST_SILENT_BYTES
        if len(self._since) > max(_SILENT_BYTES, most):
            return b""
        if self._again:
            data = self._again[:size] if size >= 0 else self._again
            self._again = self._again[len(data) :]
        else:
            data = self._pipe.read(size)
            self._over = not data
        self._since += data
        return data

    def understood(self, seconds: float) -> None:
        """So much audio came of it, unless the decoder was about to give up: that shows when it reads on."""
        self._credit += seconds

    def again(self) -> bool:
        """Begin anew with what was not understood; False where that is only the end of what was."""
        if self._endless or (self._over and len(self._since) < _SILENT_BYTES):
            return False
        if self._failed_on == self._since:
            # It failed on this before: what follows may be better.
            self._since.clear()
        self._failed_on = bytes(self._since)
        found = (start for header in _HEADERS if (start := (self._before + self._since).find(header)) >= 0)
        start = min(found, default=len(self._before))
        self._again = bytes((self._before + self._since)[start:]) + self._again
        self._before.clear()
        self._first = 1
        self._since.clear()
        self._read, self._seconds, self._credit = 0, 0.0, 0.0
        return True

    def close(self) -> None:
        """Nothing is done here: the next stretch is of the same body."""

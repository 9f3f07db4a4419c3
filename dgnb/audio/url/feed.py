"""What goes from the thread that reads the web to the decoder's thread: a body, and its stretches of one codec."""

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
"""Headers of formats that can't be recognised from their middle."""
_READ_AHEAD: Final = 1 << 14
_MOST_SILENT_BYTES: Final = 1 << 21
_SILENT_SECONDS: Final = 4.0
"""When a decoder gives nothing for so many seconds of input, the codec has changed."""


class Body:
    """Bytes for one decoder. The fetching loop makes it; the decoder's thread reads it.

    What the loop writes is handed over with the pipe, what the thread writes with `finish` and `finished`.

    Attributes:
        live: More may come under the same address.
        away: Since when nothing was heard before it, on `time.monotonic`, and why; None if nothing was missed.
        exact: What is missed is counted segment by segment, so the time away does not count.
        began: When its first bytes came, on `time.monotonic`.
        heard: Seconds of audio that were decoded.
        lead: The most seconds that the decoded audio was ahead of the clock.
        error: Why it was not decoded to its end.
    """

    def __init__(self, *, live: bool, away: tuple[float, str] | None, exact: bool) -> None:
        self.pipe = Pipe()
        self.live = live
        self.away = away
        self.exact = exact
        self.began: float | None = None
        self.heard = 0.0
        self.lead = 0.0
        self.error: AudioError | None = None
        self._ahead = 0.0
        self._heard_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    def hear(self, seconds: float) -> None:
        """Count decoded audio. In the decoder's thread."""
        now = time.monotonic()
        self._ahead = max(0.0, self._ahead - (now - self._heard_at)) + seconds
        self._heard_at = now
        self.heard += seconds
        self.lead = max(self.lead, self._ahead)

    def finish(self) -> None:
        """Say that the decoder wants no more. In the decoder's thread."""
        self.pipe.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
            self._loop.call_soon_threadsafe(self._done.set)

    async def finished(self) -> None:
        """Say that no more comes, and wait until all of it is decoded. In the fetching loop."""
        self.pipe.end()
        await self._done.wait()


class Stretch:
    """The part of a body that one decoder understands. It ends when the decoder gives nothing for long.

    The next decoder reads again what was read since the decoder last gave something.

    Args:
        pipe: The body.
        endless: Never end it, however long the decoder gives nothing.
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
            # Without its first byte, the header that this stretch began with is not found again.
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
        """Count audio that the decoder gave. It counts when the decoder reads on, and did not give up."""
        self._credit += seconds

    def again(self) -> bool:
        """Go back to what was not understood. False: that is only the end of what was understood."""
        if self._endless or (self._over and len(self._since) < _SILENT_BYTES):
            return False
        if self._failed_on == self._since:
            # The decoder failed on this before, so leave it out.
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
        """Do nothing: the next stretch reads the same body."""

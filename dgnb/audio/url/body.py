"""One body as a file for the decoder: its metadata is taken out, and what breaks off is resumed."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from dgnb.audio.source import Note
from dgnb.audio.url import icy
from dgnb.audio.url.fetch import Answer, Fetcher, Trouble
from dgnb.exceptions import AudioError

MOST_TRIES: Final = 8
"""Tries in a row without a byte, after which a source is given up."""

_SILENT_BYTES: Final = 1 << 14
_HEADERS: Final = (b"OggS\0\2", b"fLaC\0", b"RIFF", b"\x1aE\xdf\xa3")
"""Headers of formats that can't be recognised from their middle."""
_READ_AHEAD: Final = 1 << 14
_MOST_SILENT_BYTES: Final = 1 << 21
_SILENT_SECONDS: Final = 4.0
"""When a decoder gives nothing for so many seconds of input, the codec has changed."""
_SKIPPED: Final = 1 << 20
"""So many bytes are read and dropped rather than asked for anew."""


class Body:
    """A body from its first byte to its last. With `wait`, the seconds before each try, what breaks off is resumed.

    `notes` are to be reported before what is read next. `began` and `last` are when its first and last byte came.
    """

    def __init__(self, fetcher: Fetcher, answer: Answer, wait: Callable[[int], float] | None) -> None:
        try:
            self._without_titles = icy.Stripper(icy.interval(answer.headers))
        except ValueError as error:
            raise Trouble(fetcher.name, str(error), fatal=True) from None
        self._without_tags = icy.TagStripper(answer.start(16))
        self.error: AudioError | None = None
        self.notes: deque[Note] = deque()
        self.began = self.last = time.monotonic()
        self._fetcher = fetcher
        self._answer = answer
        self._wait = wait
        self._length = answer.length
        self._ready = b""
        self._position = self._tries = 0
        self._elsewhere = False
        self._broken = ""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes and at least one; none at the end, also at an early one."""
        while not self._ready and not self.error:
            try:
                data = self._more()
            except AudioError as error:
                self.error = error
                break
            audio = self._without_titles(data)
            self._ready = self._without_tags(audio) if data else self._without_tags.rest()
            self.notes.extend(Note("title", title) for title in self._without_titles.titles)
            self._without_titles.titles.clear()
            if not data:
                break
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()

    def _more(self) -> bytes:
        while True:
            try:
                if self._elsewhere:
                    self._ask_again()
                data = self._answer.read()
            except Trouble as failure:
                if not self._wait or failure.fatal or self._length is None:
                    raise
                self._tries += 1
                if self._tries > MOST_TRIES:
                    raise self._lost(failure.reason) from None
                self._broken = self._broken or failure.reason
                self._elsewhere = True
                self._fetcher.sleep(self._wait(self._tries))
                continue
            if data:
                self._tries = 0
                self._position += len(data)
                self.last = time.monotonic()
            return data

    def _ask_again(self) -> None:
        """Ask for the rest of the file."""
        self._answer.close()
        validator = self._answer.headers.get("ETag", "")
        if not validator.startswith('"'):
            validator = self._answer.headers.get("Last-Modified", "")
        extra = {"Range": f"bytes={self._position}-"} | ({"If-Range": validator} if validator else {})
        answer = self._fetcher.get(self._answer.url, **extra)
        self._answer = answer
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {self._position}-"):
            raise self._lost(self._broken or "it does not send a part of the file after all")
        if self._broken:
            self.notes.append(Note("source", f"resumed after {time.monotonic() - self.last:.1f} s: {self._broken}"))
        self._elsewhere, self._broken = False, ""

    def _lost(self, reason: str) -> Trouble:
        words = f"{reason} (after {self._position} of {self._length} bytes), and it can't be resumed"
        return Trouble(self._fetcher.name, words, fatal=True)


class SeekableBody(Body):
    """A file on a server that sends any part of it: for an MP4 whose index stands at its end."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go on elsewhere, with another request where that is far."""
        assert self._length
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._length}[whence]
        target = min(max(0, base + offset), self._length)
        while 0 < target - self.tell() < _SKIPPED and self.read(target - self.tell()):
            pass
        if target != self.tell():
            self._ready, self._position, self._elsewhere = b"", target, True
        return target

    def tell(self) -> int:
        """The position in the file."""
        return self._position - len(self._ready)

    def _more(self) -> bytes:
        return b"" if self._position == self._length else super()._more()


class Stretch:
    """The part of a body that one decoder understands. It ends when the decoder gives nothing for long.

    The next decoder reads again what was read since the decoder last gave something.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._over = False
        self._again = self._failed_on = b""
        self._begin()

    def _begin(self) -> None:
        self._since = bytearray()
        self._before = bytearray()
        self._first = 1
        self._read, self._seconds, self._credit = 0, 0.0, 0.0

    @property
    def error(self) -> AudioError | None:
        """Why the body ended early, or None."""
        return self._body.error

    def read(self, size: int, /) -> bytes:
        """As `Body.read`, but at most what this decoder understands."""
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
            data, self._again = self._again[:size], self._again[size:]
        else:
            data = self._body.read(size)
            self._over = not data
        self._since += data
        return data

    def understood(self, seconds: float) -> None:
        """Count audio that the decoder gave. It counts when the decoder reads on, and did not give up."""
        self._credit += seconds

    def again(self) -> bool:
        """Go back to what was not understood. False: that is only the end of what was understood."""
        if self._over and len(self._since) < _SILENT_BYTES:
            return False
        if self._failed_on == self._since:
            # The decoder failed on this before, so leave it out.
            self._since.clear()
        self._failed_on = bytes(self._since)
        found = (start for header in _HEADERS if (start := (self._before + self._since).find(header)) >= 0)
        start = min(found, default=len(self._before))
        self._again = bytes((self._before + self._since)[start:]) + self._again
        self._begin()
        return True

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

_UNHEARD: Final = 1 << 15  # When so many bytes in a time without sound bring none, the codec has changed
_SKIPPED: Final = 1 << 20  # So many bytes are read and dropped rather than asked for anew


class Body:
    """A body from its first byte to its last. With `wait`, the seconds before each try, what breaks off is resumed.

    `notes` are to be reported before what is read next. `began` and `last` are when its first and last byte came. One
    without a length is at an end when nothing of what it sends is sound.
    """

    def __init__(self, fetcher: Fetcher, answer: Answer, wait: Callable[[int], float] | None) -> None:
        self._without_titles = icy.Stripper(answer.headers)
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
        self.heard()

    def heard(self) -> None:
        """What was read has given sound."""
        self._heard, self._unheard = time.monotonic(), 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes and at least one; none at the end, also at an early one."""
        while not self._ready and not self.error:
            try:
                data = self._more()
            except AudioError as error:
                self.error = error
                break
            self._ready = self._without_titles(data)
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
                self._unheard += len(data)
                self.last = time.monotonic()
            if (
                self._length is None
                and self._unheard > _UNHEARD
                and self.last > self._heard + self._fetcher.stall_timeout
            ):
                raise Trouble(self._fetcher.name, "what it sends now can't be decoded")
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

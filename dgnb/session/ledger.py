"""`Ledger`: which audio was captured, and what became of it. Pure: no clock, no loop, no I/O.

Positions are bytes on the source's timeline. At every step, captured audio is either acknowledged (a final covers it),
pending (in memory, on its way, or both) or in a gap.
"""

from __future__ import annotations

import sys
from bisect import insort
from typing import NamedTuple

from dgnb.audio.gate import Gate


class Lost(NamedTuple):
    """Captured audio that no final will cover: from `start` up to `end`, in bytes, and why."""

    start: int
    end: int
    reason: str


class Ledger:
    """Keeps audio until a final covers it, so that a new connection can begin where the last final ended.

    A connection gets one unbroken stretch. When more than `capacity` bytes are pending, the oldest are dropped. Audio
    that was sent is lost only with its connection. Audio that was not sent is lost at once, and the connection is
    `torn`: it would take what follows for the next moment, so it must not get it.
    """

    def __init__(self, capacity: int, frame: int = 1, chunk: int = sys.maxsize) -> None:
        self._capacity = max(capacity, frame)
        self._frame = frame  # bytes of one sample of all channels: a connection begins at a whole one
        self.chunk = chunk  # bytes that are sent at once, at most
        self._audio = bytearray()  # From `kept` to `captured`.
        self.gate: Gate | None = None  # Where silence is not sent.
        self._begun = False
        self._reported = 0
        self._closed = False
        self.captured = 0  # the end of the audio that was taken from the source
        self.acknowledged = 0  # all before it is covered by a final, or in `gaps`; it never moves back
        self.sent = 0  # where the next audio for the connection begins
        self.reached = 0  # the furthest that any connection was sent; it never moves back
        self.kept = 0  # where the oldest audio in memory begins
        self.gaps: list[Lost] = []  # what is lost, in order

    @property
    def pending(self) -> int:
        """Bytes that no final covers and that are not lost."""
        lost = sum(gap.end - max(gap.start, self.acknowledged) for gap in self.gaps if gap.end > self.acknowledged)
        return self.captured - self.acknowledged - lost

    @property
    def unsent(self) -> int:
        """Bytes in memory that were not sent."""
        return self.captured - max(self.sent, self.kept)

    @property
    def torn(self) -> bool:
        """Whether the audio that the connection would get next is lost."""
        return self.sent < self.kept

    def new_gaps(self) -> list[Lost]:
        """What was lost since the last call. None of it changes later."""
        new, self._reported = self.gaps[self._reported :], len(self.gaps)
        return new

    def capture(self, chunk: bytes) -> None:
        """Take audio from the source."""
        self._audio += chunk
        self.captured += len(chunk)
        if self.gate:
            self.gate.capture(chunk)
        if self.captured - self.kept > self._capacity:
            self._drop_oldest()

    def begin(self) -> int:
        """A connection is open. Returns the position at which it begins."""
        self._begun = True
        return self.sent

    def peek(self) -> bytes:
        """The audio to send next; empty when there is none, or when the connection is torn."""
        start = self.sent - self.kept
        return b"" if self.torn else bytes(self._audio[start : start + self.chunk])

    def advance(self, size: int) -> None:
        """So many bytes of `peek()` were sent."""
        self.sent += size
        self.reached = max(self.reached, self.sent)

    def acknowledge(self, position: int) -> None:
        """A final ends at `position`. One that ends after the audio that was sent counts only up to there."""
        position = min(position, self.sent)
        position -= position % self._frame
        if position > self.acknowledged:
            self.acknowledged = position
            self._forget(position)

    def settle(self, slack: int, reason: str) -> None:
        """The connection has ended well. More than `slack` bytes at its end without a final are a gap."""
        if self.sent - self.acknowledged > slack:
            self._lose(self.acknowledged, self.sent, reason)
        self.acknowledged = max(self.acknowledged, self.sent)
        self._forget(self.acknowledged)

    def rewind(self, reason: str) -> None:
        """The connection is gone. The next one begins where the last final ended, or with the oldest audio kept."""
        self._begun = False
        if self.kept > self.acknowledged:
            # Audio that was dropped unsent is in the gaps already.
            self._lose(self.acknowledged, self.sent if self.torn else self.kept, reason)
            self.acknowledged = self.kept
        self.sent = self.acknowledged

    def close(self, reason: str) -> None:
        """There is no further connection: what is pending is lost. `sent` stays as a record."""
        sent = self.sent
        self.rewind(reason)
        self.sent = sent
        self._closed = self.acknowledged < self.captured
        if self._closed:
            # A row of its own, as `reopen` takes it back.
            self.gaps.append(Lost(self.acknowledged, self.captured, reason))

    def reopen(self) -> Lost | None:
        """There is a further connection after `close`: what that lost is pending again. Returns that loss."""
        lost = self.gaps.pop() if self._closed else None
        self._closed = False
        self._reported = min(self._reported, len(self.gaps))
        self.rewind("")
        return lost

    def give_back(self) -> None:
        """Audio that was never sent counts as never captured."""
        self.captured = min(self.captured, max(self.reached, self.kept))
        del self._audio[self.captured - self.kept :]

    def _lose(self, start: int, end: int, reason: str) -> None:
        if end <= start:
            return
        if len(self.gaps) > self._reported and self.gaps[-1].end == start and self.gaps[-1].reason == reason:
            start = self.gaps.pop().start
        # Nearly always the last one. After a tear, earlier audio may be lost later.
        insort(self.gaps, Lost(start, end, reason))

    def _forget(self, position: int) -> None:
        """Free the audio before `position`."""
        if position > self.kept:
            del self._audio[: position - self.kept]
            self.kept = position

    def _drop_oldest(self) -> None:
        start = max(self.sent, self.kept)
        oldest = self.captured - self._capacity
        if self._begun and oldest > self.sent:
            # The connection waits for this audio. Half is dropped at once, because each tear costs a connection.
            oldest = self.captured - self._capacity // 2
        self._forget(oldest + -oldest % self._frame)
        if self.torn:
            self._lose(start, self.kept, "more audio was waiting than is kept in memory")
            if not self._begun:
                self.acknowledged = self.sent = self.kept

"""`Ledger`: which audio was captured, and what became of it. Pure: no clock, no loop, no I/O.

Positions are bytes on the source's timeline. At every step, what was captured is acknowledged (a final covers it),
pending (in memory, on its way, or both) or in a gap, and never two of these.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import NamedTuple

__all__ = ["Ledger", "Lost"]


class Lost(NamedTuple):
    """A stretch of captured audio that no final will cover: from `start` up to `end`, in bytes, and why."""

    start: int
    end: int
    reason: str


class Ledger:
    """Keeps audio until a final covers it, so that a new connection can begin where the last final ended.

    A connection is given one unbroken stretch: `begin()` says where it begins, `peek()` and `advance()` hand it out,
    `acknowledge()` lets go of it, `rewind()` goes back to the end of the last final for the next connection. When more
    than `capacity` is pending the oldest goes. If it was sent it may still be acknowledged, and is lost only with its
    connection; if it was not, it is lost at once, and the connection is `torn`: it can't be given what follows, as it
    would take it for the next moment.

    Args:
        capacity: Bytes that are kept.
        frame: Bytes of one sample of all channels; a connection begins at a whole one.

    Attributes:
        captured: Where the audio ends that was taken from the source.
        acknowledged: Everything before it is covered by a final, or in `gaps`. It never moves back.
        sent: What the connection is given next begins here.
        reached: The furthest that any connection was given. It never moves back.
        kept: The oldest that is in memory begins here.
        gaps: What is lost, in order.
    """

    def __init__(self, capacity: int, frame: int = 1) -> None:
        self._capacity = max(capacity, frame)
        self._frame = frame
        self._chunks: deque[bytes] = deque()
        self._next = 0
        """Which of the chunks `sent` lies in."""
        self._next_start = 0
        """Where that chunk begins."""
        self._begun = False
        self._told = 0
        self.captured = 0
        self.acknowledged = 0
        self.sent = 0
        self.reached = 0
        self.kept = 0
        self.gaps: list[Lost] = []

    @property
    def pending(self) -> int:
        """Bytes that no final covers yet, and that are not lost."""
        lost = sum(gap.end - max(gap.start, self.acknowledged) for gap in self.gaps if gap.end > self.acknowledged)
        return self.captured - self.acknowledged - lost

    @property
    def unsent(self) -> int:
        """Bytes in memory that the connection was not given yet."""
        return self.captured - max(self.sent, self.kept)

    @property
    def torn(self) -> bool:
        """Whether what the connection would be given next is lost."""
        return self.sent < self.kept

    def new_gaps(self) -> list[Lost]:
        """What was lost since this was asked last; none of it grows or shrinks any more."""
        new, self._told = self.gaps[self._told :], len(self.gaps)
        return new

    def capture(self, chunk: bytes) -> None:
        """Take audio from the source."""
        self._chunks.append(chunk)
        self.captured += len(chunk)
        if self.captured - self.kept > self._capacity:
            self._drop_oldest()

    def begin(self) -> int:
        """A connection is open; its first moment is this position."""
        self._begun = True
        return self.sent

    def peek(self) -> bytes:
        """What the connection is to be given next; nothing when there is none, or when it is torn."""
        if self.torn or self._next >= len(self._chunks):
            return b""
        return self._chunks[self._next][self.sent - self._next_start :]

    def advance(self, size: int) -> None:
        """The connection was given so many bytes of `peek()`."""
        self.sent += size
        self.reached = max(self.reached, self.sent)
        while self._next < len(self._chunks) and self.sent >= self._next_start + len(self._chunks[self._next]):
            self._next_start += len(self._chunks[self._next])
            self._next += 1

    def acknowledge(self, position: int) -> None:
        """A final of this connection ends at `position`; one that claims more than was sent is not believed."""
        position = min(position, self.sent)
        position -= position % self._frame
        if position > self.acknowledged:
            self.acknowledged = position
            self._forget(position)

    def settle(self, slack: int, reason: str) -> None:
        """The connection has ended well: all that it was given was heard, in finals or, up to `slack` bytes, in none.

        More than that without a final at the end is a gap.
        """
        if self.sent - self.acknowledged > slack:
            self._lose(self.acknowledged, self.sent, reason)
        self.acknowledged = max(self.acknowledged, self.sent)
        self._forget(self.acknowledged)

    def rewind(self, reason: str) -> None:
        """The connection is gone: the next one begins where the last final ended, or with the oldest that is kept."""
        self._begun = False
        if self.kept > self.acknowledged:
            # What was lost unsent stands in the gaps already.
            self._lose(self.acknowledged, self.sent if self.torn else self.kept, reason)
            self.acknowledged = self.kept
        self.sent = self.acknowledged
        self._next, self._next_start = 0, self.kept
        self.advance(0)

    def close(self, reason: str) -> None:
        """Nothing more will be heard: what is pending is lost. `sent` stays as a record."""
        sent = self.sent
        self.rewind(reason)
        self._lose(self.acknowledged, self.captured, reason)
        self.acknowledged = self.kept = self.captured
        self._chunks.clear()
        self._next, self._next_start, self.sent = 0, self.kept, sent

    def give_back(self) -> None:
        """What no connection was ever given counts as never captured: nobody wants it any more."""
        self.captured = min(self.captured, max(self.reached, self.kept))

    def _lose(self, start: int, end: int, reason: str) -> None:
        if end <= start:
            return
        if len(self.gaps) > self._told and self.gaps[-1].end == start and self.gaps[-1].reason == reason:
            start = self.gaps.pop().start
        # Nearly always the last: only behind a tear is something lost later on that lies earlier.
        insort(self.gaps, Lost(start, end, reason))

    def _forget(self, position: int) -> None:
        """Let go of the chunks that end at `position` or before."""
        while self._chunks and self.kept + len(self._chunks[0]) <= position:
            self._pop()

    def _pop(self) -> None:
        self.kept += len(self._chunks.popleft())
        if self._next:
            self._next -= 1
        else:
            self._next_start = self.kept

    def _drop_oldest(self) -> None:
        reason = "more audio was waiting than is kept in memory"
        if not self._begun:
            while self._overflows(self._capacity):
                self._pop()
            if self.kept > self.acknowledged:
                self._lose(self.acknowledged, self.kept, reason)
                self.acknowledged = self.sent = self.kept
            return
        while self._overflows(self._capacity) and self.kept + len(self._chunks[0]) <= self.sent:
            self._pop()
        if self._overflows(self._capacity):
            # Unsent, where a connection waits for it. Half goes at once: each tear costs a connection.
            start = max(self.sent, self.kept)
            while self._overflows(self._capacity // 2):
                self._pop()
            self._lose(start, self.kept, reason)

    def _overflows(self, capacity: int) -> bool:
        return self.captured - self.kept > capacity and len(self._chunks) > 1

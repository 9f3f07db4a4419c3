"""`MessageLog`: every message as it came, in little memory."""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from dgnb.transcript import storage
from dgnb.transcript.records import Record

_PARSED: Final = 512
"""The newest messages, which stay parsed: sessions and tables read what came since they last looked."""
_BLOCK: Final = 64 << 10
"""Bytes of lines that are compressed together. It takes half a millisecond."""


class MessageLog:
    """Every message with its circumstances, in the order of arrival.

    Most messages are interims, and each repeats the one before it. So all but the newest are kept as their lines of the
    session file, in compressed blocks: 0.1 to 0.3 kB a message. They are parsed again when someone reads them.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._ends = array("q")
        """How many messages have come at the end of each block."""
        self._lines: list[bytes] = []
        """The lines of the next block."""
        self._size = 0
        self._newest: deque[Record] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, record: Record) -> None:
        """Add a message that came."""
        self._newest.append(record)
        self._count += 1
        if len(self._newest) > _PARSED:
            line = storage.pack(self._newest.popleft())
            self._lines.append(line)
            self._size += len(line)
            if self._size >= _BLOCK:
                self._blocks.append(zlib.compress(b"".join(self._lines), 1))
                self._ends.append(self._count - len(self._newest))
                self._lines, self._size = [], 0

    def records(self, first: int = 0) -> Iterator[Record]:
        """The messages from position `first` on that have come by now. Old ones are parsed one at a time."""
        packed = self._count - len(self._newest)
        newest = list(islice(self._newest, max(0, first - packed), None))
        for lines in self._packed(first, packed):
            yield from map(storage.unpack, lines)
        yield from newest

    def lines(self, first: int, last: int) -> Iterator[bytes]:
        """The lines of the messages from position `first` up to `last`, a block at a time."""
        packed = self._count - len(self._newest)
        newest = list(islice(self._newest, max(0, first - packed), max(0, last - packed)))
        for lines in self._packed(first, min(last, packed)):
            yield b"".join(lines)
        yield b"".join(map(storage.pack, newest))

    def _packed(self, first: int, last: int) -> Iterator[list[bytes]]:
        """The lines from position `first` up to `last`, by block."""
        waiting, compressed = self._lines, self._ends[-1] if self._ends else 0
        for number in range(bisect_right(self._ends, first), bisect_right(self._ends, last - 1) + 1):
            begin = self._ends[number - 1] if number else 0
            old = begin < compressed
            lines = zlib.decompress(self._blocks[number]).splitlines(keepends=True) if old else waiting
            yield lines[max(0, first - begin) : last - begin]

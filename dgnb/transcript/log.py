"""`MessageLog`: every message as it came, in little memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from dgnb.transcript import storage
from dgnb.transcript.records import Record

_PARSED: Final = 512
"""The newest messages, which stay parsed: sessions and tables read what came since they last looked."""
_BLOCK: Final = 128  # Messages whose lines are compressed together. It takes one or two milliseconds.


class MessageLog:
    """Every message in order. All but the newest are compressed lines of the session file: 0.1 to 0.3 kB a message."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._newest: list[Record] = []

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._newest)

    def append(self, record: Record) -> None:
        """Add a message that came."""
        self._newest.append(record)
        if len(self._newest) >= _PARSED + _BLOCK:
            self._blocks.append(zlib.compress(storage.pack(self._newest[:_BLOCK]), 1))
            del self._newest[:_BLOCK]

    def records(self, first: int = 0) -> Iterator[Record]:
        """The messages from position `first` on that have come by now. Old ones are parsed one at a time."""
        packed = len(self._blocks) * _BLOCK
        newest = self._newest[max(0, first - packed) :]
        for lines in self._packed(first, packed):
            yield from map(storage.unpack, lines)
        yield from newest

    def lines(self, first: int, last: int) -> Iterator[bytes]:
        """The lines of the messages from position `first` up to `last`, a block at a time."""
        packed = len(self._blocks) * _BLOCK
        newest = self._newest[max(0, first - packed) : max(0, last - packed)]
        for lines in self._packed(first, min(last, packed)):
            yield b"".join(lines)
        yield storage.pack(newest)

    def _packed(self, first: int, last: int) -> Iterator[list[bytes]]:
        for begin in range(first - first % _BLOCK, last, _BLOCK):
            lines = zlib.decompress(self._blocks[begin // _BLOCK]).splitlines(keepends=True)
            yield lines[max(0, first - begin) : last - begin]

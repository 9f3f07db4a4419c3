"""`MessageLog`: every message as it came, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dgnb.messages import Results
from dgnb.transcript import storage
from dgnb.transcript.records import Record

_BLOCK: Final = 256
"""Messages that are packed at a time."""
_PARSED: Final = 4096
"""The newest messages, which stay parsed."""


class MessageLog:
    """Every message with its circumstances, in the order of arrival.

    Interims are most of the messages, and nothing else refers to the old ones. So these are packed: kept as their lines
    of the session file, in less than half the memory. They are parsed again when someone reads them.
    """

    def __init__(self) -> None:
        self._records: list[Record | bytes] = []

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: Record) -> None:
        """Add a message that came."""
        self._records.append(record)
        if not len(self._records) % _BLOCK:
            self._pack(len(self._records) - _PARSED)

    def records(self, first: int = 0) -> Iterator[Record]:
        """The messages from position `first` on."""
        for record in self._records[first:]:
            yield storage.unpack(record) if isinstance(record, bytes) else record

    def lines(self, first: int, last: int) -> list[Record | bytes]:
        """The messages from position `first` up to `last`, as `storage.dump` takes them."""
        return self._records[first:last]

    def _pack(self, last: int) -> None:
        """Pack the block of messages before position `last`."""
        for position in range(max(0, last - _BLOCK), last):
            record = self._records[position]
            # The words of a final on the source's timeline are kept elsewhere; without an offset they are the same.
            if (
                isinstance(record, Record)
                and isinstance(record.message, Results)
                and (record.offset or not record.message.is_final)
            ):
                self._records[position] = storage.pack(record)

"""The session file: JSON lines after a header. `save` and the journal write it, `load` reads it.

    {"dgnb":1,"lines":3}                    a saved file: so many lines follow
    {"dgnb":1,"journal":true}               a journal: it grows, and ends wherever its writer was killed
    {"at":…,"message":{…},"offset":0.0,"audio_cursor":1.5,"connection":0}
    {"event":{"at":…,"type":"opened","text":"…"}}
    {"gap":{"start":3.0,"end":4.0,"reason":"…"}}
    {"edit":{"speaker":0,"name":"Ada"}}     what a person changed; a later line wins
    {"edit":{"speaker":2,"into":0}}
    {"edit":{"places":[3,4],"text":"…"}}    places count the words as they were recognised

Lines of other kinds are ignored: a later version may have written them.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import msgspec

from dgnb.exceptions import DgnbError, ProtocolError
from dgnb.messages import UnknownMessage, encode, parse
from dgnb.messages.base import Seconds, Whole
from dgnb.transcript.records import Edit, Event, Gap, Moment, Record, writable

_VERSION: Final = 1

JOURNAL: Final = f'{{"dgnb":{_VERSION},"journal":true}}\n'.encode()
"""The first line of a journal."""


class _Line(msgspec.Struct, frozen=True, gc=False):
    """A line of any kind. A message that could not be parsed is a JSON string."""

    at: Moment | None = None
    message: msgspec.Raw = msgspec.Raw()
    offset: Seconds = 0.0
    audio_cursor: Seconds | None = None
    connection: Whole = 0
    event: Event | msgspec.UnsetType = msgspec.UNSET
    gap: Gap | msgspec.UnsetType = msgspec.UNSET
    edit: Edit | msgspec.UnsetType = msgspec.UNSET


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


def header(lines: int) -> bytes:
    """The first line of a file with so many further lines, so that a file that was cut short is recognised."""
    return f'{{"dgnb":{_VERSION},"lines":{lines}}}\n'.encode()


def dump(events: Iterable[Event], gaps: Iterable[Gap], edits: Iterable[Edit]) -> bytes:
    """Events, gaps and edits as lines. They stand before the messages: a file that breaks off lacks nothing else."""
    lines: list[Any] = [{"event": event} for event in events]
    lines += [{"gap": gap} for gap in gaps]
    lines += [{"edit": edit} for edit in edits]
    return _encoder.encode_lines(lines)


def pack(records: Iterable[Record]) -> bytes:
    """The lines of messages."""
    return _encoder.encode_lines(map(_as_it_came, records))


def _as_it_came(record: Record) -> Record | _Line:
    if not isinstance(message := record.message, UnknownMessage):
        return record
    raw = _encoder.encode(writable(message.raw)) if isinstance(message.raw, str) else encode(message).encode()
    return _Line(record.at, msgspec.Raw(raw), record.offset, record.audio_cursor, record.connection)


def unpack(line: bytes) -> Record:
    """The record that was packed."""
    return cast(Record, _item(line))


def read(path: str | os.PathLike[str]) -> Iterator[Record | Event | Gap | Edit]:
    """What the lines of a file hold, one at a time; an error of `Transcript.load` takes back those before it."""
    where, number = "", 1
    try:
        # open() takes a number for an open file; os.fsdecode refuses it.
        with open(os.fsdecode(path), "rb") as file:
            # The file may be anything, and have no line end at all.
            first = file.readline(1000).removeprefix(codecs.BOM_UTF8)
            head = msgspec.json.decode(first, type=dict[str, Any])
            if "dgnb" not in head:
                raise ValueError("its first line is not the header of one")
            if head["dgnb"] != _VERSION:
                raise DgnbError(f"{path} is not a session file of version {_VERSION}. Was it saved by a newer dgnb?")
            grows = head.get("journal") is True
            # Editors put a mark at the start and empty lines at the end.
            for number, line in enumerate(filter(bytes.strip, file), 2):
                if grows and not line.endswith(b"\n"):
                    # The journal's writer was killed in the middle of this line.
                    return
                where = f"line {number}: "
                if item := _item(line):
                    yield item
    except (OSError, ValueError, TypeError, RecursionError, ProtocolError) as error:
        raise DgnbError(
            f"{path} can't be read as a session file: {where}{error}. Is it one that save() or a journal wrote?"
        ) from error
    if number - 1 != head.get("lines", number - 1):
        raise DgnbError(f"{path} is cut short: it has {number - 1} of its {head['lines']} lines.")


def _item(text: bytes) -> Record | Event | Gap | Edit | None:
    line = _decoder.decode(text)
    raw = bytes(line.message)
    if not raw:
        return line.event or line.gap or line.edit or None
    if line.at is None:
        raise ValueError("the message has no time of arrival")
    message = parse(msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw)
    return Record(line.at, message, line.offset, line.audio_cursor, line.connection)

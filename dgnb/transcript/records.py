"""The immutable records of a transcript: a message with its circumstances, an event, a gap, a line of text."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from dgnb.messages import (
    Alternative,
    Answer,
    Channel,
    Metadata,
    Results,
    ServerMessage,
    SpeechStarted,
    TurnInfo,
    UnknownMessage,
    UtteranceEnd,
    Word,
)
from dgnb.messages.base import Whole
from dgnb.transcript.turns import heard_in
from dgnb.writing import joined

Moment = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""Nanoseconds since 1970, UTC, that fit in a column; checked when they are read from a file."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message as it came, and its circumstances.

    `at` is when it came (nanoseconds since 1970, UTC). `offset` is where 0 s of its connection lies on the source's
    timeline. `audio_cursor` is how far the audio had been sent by then, on the same timeline.
    """

    at: Moment
    message: ServerMessage
    offset: float = 0.0
    audio_cursor: float | None = None
    connection: int = 0


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to the stream: `opened`, `closed`, `warning`, `error`, or the `type` of a message.

    `start` is where on the source's timeline, in seconds; None in files of before 0.4.
    """

    at: Moment
    type: str
    text: str
    request_id: str | None = None
    start: float | None = None


class Gap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Audio that was not transcribed: seconds on the source's timeline, and the reason.

    `missed` is how many seconds are missing where they take no time on the timeline; None in files of before 0.4.
    """

    start: float
    end: float
    reason: str
    missed: float | None = None


class Edit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change: the `name` of a speaker, `into` whom they go, `text` at `places`, or `audio`. None takes it back."""

    speaker: Whole | None = None
    name: str | None = None
    audio: str | None = None
    into: Whole | None = None
    places: tuple[Whole, ...] = ()
    text: str | None = None


class Line(msgspec.Struct, frozen=True, gc=False):
    """The newest final words of one utterance, by their place among all words."""

    utterance: int
    channel: int
    words: dict[float, Word]

    @property
    def first(self) -> Word:
        """The first of the words."""
        return next(iter(self.words.values()))

    @property
    def text(self) -> str:
        """The words as one text."""
        return joined(self.words.values())


def writable(text: str) -> str:
    """The text with `?` for what UTF-8 can't encode: file names and broken messages may hold lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def channel_of(results: Results) -> int:
    """The channel that was heard; 0 where the server names none."""
    return results.channel_index[0] if results.channel_index else 0


def placed(results: Results, offset: float) -> Results:
    """The same `Results` with the times of its first alternative moved by `offset` seconds."""
    words = tuple(
        msgspec.structs.replace(word, start=word.start + offset, end=word.end + offset) for word in results.words
    )
    heard = Channel((Alternative(results.transcript, words=words),))
    return msgspec.structs.replace(results, start=results.start + offset, channel=heard)


def latency_of(record: Record) -> float | None:
    """Seconds from audio sent to audio heard; None for other messages, and without an audio cursor."""
    heard = heard_in(record.message)
    if heard is None or record.audio_cursor is None:
        return None
    return record.audio_cursor - (record.offset + heard.start + heard.duration)


def results_row(record: Record, results: Results, churn: float | None) -> tuple[Any, ...]:
    """The row of a `Results` in the table `results`; `record` holds it, or the turn that means it."""
    alternative, behind = results.alternative, latency_of(record)
    return (
        results.start + record.offset,
        results.start + results.duration + record.offset,
        alternative.transcript,
        bool(results.is_final),
        alternative.confidence,
        None if results.is_final else behind,
        behind if results.is_final else None,
        churn,
        len(alternative.words),
        channel_of(results),
        bool(results.speech_final),
        bool(results.from_finalize),
        record.audio_cursor,
        record.connection,
        record.at,
    )


def event_of(record: Record) -> Event | None:
    """The row of a message in the table `events`; None for a `Results` and an `Update`, which are about words."""
    message, start = record.message, record.audio_cursor
    match message:
        case Results() | Answer() | TurnInfo(event="Update"):
            return None
        case TurnInfo():
            ended = f"{message.trigger}: " if message.trigger else ""
            at = message.audio_window_end + record.offset
            return Event(record.at, message.event, f"{ended}{message.transcript}", message.request_id, at)
        case Metadata():
            text = f"{message.duration} s of audio received" if message.duration is not None else ""
        case SpeechStarted():
            start = message.timestamp + record.offset
            text = f"at {start:.3f} s"
        case UtteranceEnd():
            start = message.last_word_end + record.offset
            text = f"last word ended at {start:.3f} s"
        case UnknownMessage():
            return Event(record.at, message.type or "unknown", message.problem, start=start)
        case _:
            text = getattr(message, "description", None) or getattr(message, "code", None) or ""
    return Event(record.at, message.type, text, getattr(message, "request_id", None), start)

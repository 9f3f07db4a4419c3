"""What a transcript is made of, and what each of its rows says: immutable records, and nothing that changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from dgnb.messages import (
    Error,
    Metadata,
    Results,
    ServerMessage,
    SpeechStarted,
    UnknownMessage,
    UtteranceEnd,
    Warning,
    Word,
)

__all__ = [
    "Event",
    "Gap",
    "Line",
    "Moment",
    "Record",
    "event_of",
    "latency_of",
    "results_row",
    "shown",
    "utterance_row",
    "writable",
]

Moment = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""Nanoseconds since 1970, UTC, that fit in a column; checked where they are read from a file."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message and its circumstances.

    `at` is when it came (nanoseconds since 1970, UTC); `offset` is where its connection's 0 s lies on the source's
    timeline; `audio_cursor` is how far the audio had been sent then, on the same timeline.
    """

    at: Moment
    message: ServerMessage
    offset: float = 0.0
    audio_cursor: float | None = None
    connection: int = 0


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to the stream: `opened`, `closed`, `warning`, `error`, or a message's `type`."""

    at: Moment
    type: str
    text: str
    request_id: str | None = None


class Gap(msgspec.Struct, frozen=True):
    """Audio that was not transcribed: seconds on the source's timeline, and why."""

    start: float
    end: float
    reason: str


class Line(msgspec.Struct, frozen=True, gc=False):
    """One utterance as far as it is final: seconds on the source's timeline, and its text."""

    start: float
    end: float
    speaker: int | None
    channel: int
    text: str


def writable(text: str) -> str:
    """The same, fit for a file: names of files and broken messages may hold what is no text."""
    return text.encode("utf-8", "replace").decode()


def shown(words: Iterable[Word]) -> str:
    """The words as one text."""
    return " ".join(word.punctuated_word or word.word for word in words)


def utterance_row(words: list[Word], channel: int) -> tuple[Any, ...]:
    """The row of an utterance, which has a word at least."""
    confidences = [word.confidence for word in words if word.confidence is not None]
    return (
        words[0].start,
        words[-1].end,
        shown(words),
        len(words),
        sum(confidences) / len(confidences) if confidences else None,
        words[0].speaker,
        channel,
    )


def latency_of(record: Record) -> float | None:
    """Seconds from audio sent to audio heard; None where it was not told how far the audio had been sent."""
    if not isinstance(record.message, Results) or record.audio_cursor is None:
        return None
    return record.audio_cursor - (record.offset + record.message.start + record.message.duration)


def results_row(record: Record, results: Results) -> tuple[Any, ...]:
    """The row of a `Results`, on the source's timeline."""
    return (
        record.at,
        results.start + record.offset,
        results.start + results.duration + record.offset,
        results.channel_index[0] if results.channel_index else 0,
        bool(results.is_final),
        bool(results.speech_final),
        bool(results.from_finalize),
        results.transcript,
        len(results.words),
        results.alternative.confidence,
        record.audio_cursor,
        None if results.is_final else latency_of(record),
        record.connection,
    )


def event_of(record: Record) -> Event | None:
    """The row of a message that speaks of the stream rather than of words."""
    message = record.message
    match message:
        case Results():
            return None
        case Metadata():
            text = f"{message.duration} s of audio received" if message.duration is not None else ""
        case SpeechStarted():
            text = f"at {message.timestamp + record.offset:.3f} s"
        case UtteranceEnd():
            text = f"last word ended at {message.last_word_end + record.offset:.3f} s"
        case Error() | Warning():
            text = message.description or message.code or ""
        case UnknownMessage():
            return Event(record.at, message.type or "unknown", message.problem)
        case _:
            text = getattr(message, "description", None) or ""
    return Event(record.at, message.type, text, getattr(message, "request_id", None))

"""What a transcript is made of, and what each of its rows says: immutable records, and nothing that changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    "results_rows",
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


def utterance_row(words: list[Word], start: float, end: float, channel: int) -> tuple[Any, ...]:
    """The row of an utterance, which has a word at least."""
    # A NaN is no confidence either.
    confidences = [c for word in words if (c := word.confidence) is not None and c == c]
    return (
        start,
        end,
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


def results_rows(records: Iterable[Record]) -> Iterator[tuple[Any, ...]]:
    """A row for each `Results`, on the source's timeline."""
    # What was heard last of each channel of each connection, as far as it is not final.
    hearings: dict[tuple[int, int], _Hearing] = {}
    for record in records:
        results = record.message
        if not isinstance(results, Results):
            continue
        alternative = results.alternative
        channel = results.channel_index[0] if results.channel_index else 0
        behind = latency_of(record)
        hearing = hearings.get((record.connection, channel))
        latency = delay = churn = None
        if results.is_final:
            delay = behind
            if hearing is not None:
                rewritten = hearing.settle(results)
                churn = rewritten / len(alternative.words) if alternative.words else None
                if not hearing.words:
                    del hearings[record.connection, channel]
        else:
            latency = behind
            if hearing is None:
                hearing = hearings[record.connection, channel] = _Hearing()
            hearing.compare(results)
        yield (
            record.at,
            results.start + record.offset,
            results.start + results.duration + record.offset,
            channel,
            bool(results.is_final),
            bool(results.speech_final),
            bool(results.from_finalize),
            alternative.transcript,
            len(alternative.words),
            alternative.confidence,
            record.audio_cursor,
            latency,
            delay,
            churn,
            record.connection,
        )


class _Hearing:
    """The words of the newest interim, and how often what stands at each place was rewritten."""

    def __init__(self) -> None:
        self.words: tuple[Word, ...] = ()
        self._texts: list[str] = []
        self._rewritten: list[int] = []

    def compare(self, results: Results) -> int:
        """Take the next hearing, count what it rewrites, and say how many words of the one before it speaks of."""
        before, words, texts = self.words, results.words, [word.word for word in results.words]
        reach = len(before)
        if texts[:reach] != self._texts:
            end = results.start + results.duration
            # What lies beyond this hearing is not withdrawn: it is to be said again.
            while reach and _beyond(before[reach - 1], end):
                reach -= 1
            for place in range(reach):
                if place >= len(texts) or texts[place] != self._texts[place]:
                    self._rewritten[place] += 1
        self._rewritten += [0] * (len(texts) - len(self._rewritten))
        self.words, self._texts = words, texts
        return reach

    def settle(self, results: Results) -> int:
        """Take the final: how often its words were rewritten. What lies beyond it is kept for the next one."""
        before = self.words
        left = max(self.compare(results), len(results.words))
        self.words = before[left:]
        self._texts = [word.word for word in self.words]
        waiting = self._rewritten[left : len(before)]
        total = sum(self._rewritten) - sum(waiting)
        self._rewritten = waiting
        return total


def _beyond(word: Word, end: float) -> bool:
    """Whether more of the word lies after `end` than before."""
    return word.start + word.end > 2 * end


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

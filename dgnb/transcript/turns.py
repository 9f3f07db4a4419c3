"""Flux's turns: the `Results` that a `TurnInfo` means, and the rows of the table `turns`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from dgnb.messages import Alternative, Channel, Connected, Results, TurnInfo, Word
from dgnb.writing import Said, plain, shares

if TYPE_CHECKING:
    from dgnb.transcript.records import Record

UNFINISHED: Final = "unfinished"
"""The `trigger` of an EndOfTurn that the server never sent: the session keeps the last words of a stream with it."""


def heard_in(message: object) -> Results | None:
    """What a message says was heard: a `Results` as it is, a turn as one `Results` that replaces the one before it.

    An `EndOfTurn` is a final and ends an utterance. The confidence is the mean of the words': that of the end of the
    turn is another one. Words without times share the turn's by their length. None for other messages.
    """
    if not isinstance(message, TurnInfo):
        return message if isinstance(message, Results) else None
    words, final = _words(message), message.event == "EndOfTurn"
    start = words[0].start if words else message.audio_window_start
    known = [word.confidence for word in words if word.confidence is not None]
    mean = sum(known) / len(known) if known else None
    heard = Alternative(message.transcript, mean, words, message.languages, message.languages_hinted)
    duration, asked = max(0.0, message.audio_window_end - start), final and message.trigger == "manual"
    return Results((0, 1), duration, start, Channel((heard,)), final, final, asked)


def _words(turn: TurnInfo) -> tuple[Word, ...]:
    language = turn.languages[0] if turn.languages and len(turn.languages) == 1 else None
    times = [(word.start, word.end) for word in turn.words if word.start is not None and word.end is not None]
    timed = len(times) == len(turn.words)
    if not timed:
        times = shares([word.word for word in turn.words], turn.audio_window_start, turn.audio_window_end)
    words = tuple(
        Word(plain(said.word), start, end, said.confidence, said.word, language=language)
        for said, (start, end) in zip(turn.words, times, strict=True)
    )
    return words if timed else tuple(Said(**structs.asdict(word), estimated=True) for word in words)


class Turns:
    """Takes the records of a transcript, in order. `rows` are those of the table `turns`."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._connection = -1
        # When how much audio had been sent: (s, ns), of the last quarter of an hour.
        self._sent: deque[tuple[float, int]] = deque(maxlen=4096)
        self._eager: float | None = None
        self._resumed = 0

    def take(self, record: Record) -> None:
        """Take the next record."""
        turn = record.message
        if not isinstance(turn, TurnInfo | Connected):
            return
        if record.connection != self._connection:
            self._connection = record.connection
            self._eager, self._resumed = None, 0
            self._sent.clear()
        if record.audio_cursor is not None:
            self._sent.append((record.audio_cursor, record.at))
        if not isinstance(turn, TurnInfo):
            return
        if turn.event == "EagerEndOfTurn":
            self._eager = turn.audio_window_end + record.offset
        elif turn.event == "TurnResumed":
            self._resumed += 1
        elif turn.event == "EndOfTurn" and (heard := heard_in(turn)):
            self._end(record, turn, heard)

    def _end(self, record: Record, turn: TurnInfo, heard: Results) -> None:
        sent_at = self._sent_at(heard.words[-1].end + record.offset) if heard.words else None
        self.rows.append(
            (
                len(self.rows),
                heard.start + record.offset,
                heard.start + heard.duration + record.offset,
                turn.transcript,
                len(turn.words),
                turn.trigger,
                turn.end_of_turn_confidence,
                None if sent_at is None or turn.trigger == UNFINISHED else (record.at - sent_at) / 1e9,
                self._eager,
                self._resumed,
                record.at,
            )
        )
        self._eager, self._resumed = None, 0

    def _sent_at(self, position: float) -> float | None:
        """When the audio up to `position` seconds had been sent, in ns; between two messages, in proportion."""
        later: tuple[float, int] | None = None
        for sent, at in reversed(self._sent):
            if sent <= position:
                return at if later is None else at + (later[1] - at) * (position - sent) / (later[0] - sent)
            later = sent, at
        return None

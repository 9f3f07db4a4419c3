"""`Transcript`: what was said so far, reduced from the server's messages.

The rules, and the only place that knows them: finals tile the timeline of their channel and never change; each
`Results` replaces its channel's interim and a final clears it; a final may cover less than the interim before it; a
final that says again what an earlier one said counts only for what is new in it.
"""

from __future__ import annotations

import logging
import math
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dgnb import captions, files
from dgnb.exceptions import DgnbError
from dgnb.messages import Results, ServerMessage, UnknownMessage, UtteranceEnd, Word
from dgnb.transcript import storage
from dgnb.transcript.records import (
    Event,
    Gap,
    Line,
    Record,
    event_of,
    latency_of,
    results_row,
    shown,
    utterance_row,
    writable,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Event", "Gap", "Line", "Record", "Transcript"]

logger = logging.getLogger("dgnb")

_SLACK: Final = 0.02
"""Seconds that the finals of a channel may overlap or lie apart and still be neighbours: times are rounded."""

Observer = Callable[[ServerMessage], object]


class _Utterance(msgspec.Struct):
    """The utterance that a channel is in."""

    index: int
    speaker: int | None
    last_word_end: float


class Transcript:
    """What was said so far; grows while a stream runs, and stays when it has ended.

    Every table is a snapshot: changing it changes nothing here. All times are seconds on the source's timeline,
    whatever lay between. Not thread-safe: use it in the loop that the session runs in, where every cell is.

    Example:
        ```python
        transcript = await dgnb.transcribe("speech.wav", smart_format=True)
        transcript.words.query("confidence < 0.5")
        transcript.to_srt("speech.srt")
        ```
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._told: list[Event] = []  # by messages
        self._notes: list[Event] = []  # by the session
        self._gaps: list[Gap] = []
        self._interims: dict[int, Results] = {}
        self._finals: list[str] = []
        # The words of the finals, on the source's timeline; and for each its channel, utterance and arrival.
        self._words: list[Word] = []
        self._channels = array("q")
        self._utterance_of = array("q")
        self._arrivals = array("q")
        self._utterances = 0
        self._open: dict[int, _Utterance] = {}
        self._covered: dict[int, list[tuple[float, float]]] = {}
        self._newest_interim: Record | None = None
        self._observers: list[Observer] = []
        self._frames: dict[str, tuple[int, pd.DataFrame]] = {}
        self.unknown: Counter[str] = Counter()
        """How many messages of each unknown type came; they are kept as `UnknownMessage` records."""

    def __repr__(self) -> str:
        seconds = max((spans[-1][1] for spans in self._covered.values()), default=0.0)
        return f"<Transcript: {len(self._words)} words in {seconds:.1f} s>"

    # What goes in

    def feed(
        self,
        message: ServerMessage,
        *,
        at: int | None = None,
        offset: float = 0.0,
        audio_cursor: float | None = None,
        connection: int = 0,
    ) -> None:
        """Take one message of the server; see `Record` for the circumstances.

        Observers are told afterwards. One that raises is logged, told once in `events`, and taken off.
        """
        self._take(Record(time.time_ns() if at is None else at, message, offset, audio_cursor, connection))
        if self._observers:
            self._tell(message)

    def note(self, type: str, text: str, *, request_id: str | None = None, at: int | None = None) -> None:
        """Add a row to `events`."""
        self._notes.append(Event(time.time_ns() if at is None else at, type, writable(text), request_id))

    def add_gap(self, start: float, end: float, reason: str) -> None:
        """Add a row to `gaps`: audio from `start` to `end` seconds will not be transcribed.

        Where both are the same, audio is missing that was never captured. Rows may overlap.

        Raises:
            ValueError: `end` lies before `start`, or one of them is no time.
        """
        if not (math.isfinite(start) and math.isfinite(end) and start <= end):
            raise ValueError(f"A gap goes from a time to the same or a later one, not from {start} to {end} s.")
        self._gaps.append(Gap(start, end, writable(reason)))

    def observe(self, callback: Observer) -> None:
        """Call `callback(message)` for each message from now on, in the session's loop. It must not block."""
        self._observers.append(callback)

    def unobserve(self, callback: Observer) -> None:
        """Stop calling `callback`; one that is not there is no error."""
        if callback in self._observers:
            self._observers.remove(callback)

    def drop_interims(self) -> None:
        """Forget what is not final: the connection that would have finished it is gone."""
        self._interims.clear()

    def _tell(self, message: ServerMessage) -> None:
        for observer in tuple(self._observers):
            try:
                observer(message)
            except Exception as error:
                self.unobserve(observer)
                logger.exception("An observer of the transcript raised; it is not called again")
                name = getattr(observer, "__qualname__", type(observer).__name__)
                try:
                    what = repr(error)
                except Exception:
                    what = type(error).__name__
                self.note("warning", f"The observer {name} raised {what}; it is not called again.")

    def _take(self, record: Record) -> None:
        self._records.append(record)
        if isinstance(record.message, Results):
            self._take_results(record, record.message)
        else:
            self._take_event(record, record.message)

    def _take_event(self, record: Record, message: ServerMessage) -> None:
        if isinstance(message, UtteranceEnd):
            channel = message.channel[0] if message.channel else 0
            utterance = self._open.get(channel)
            # An UtteranceEnd may arrive after the next utterance began: it ends only what it speaks of.
            if utterance and utterance.last_word_end <= message.last_word_end + record.offset + 0.001:
                del self._open[channel]
        elif isinstance(message, UnknownMessage):
            self.unknown[message.type] += 1
        if event := event_of(record):
            self._told.append(event)

    def _take_results(self, record: Record, results: Results) -> None:
        channel = results.channel_index[0] if results.channel_index else 0
        if not results.is_final:
            self._interims[channel] = results
            self._newest_interim = record
            return
        self._interims.pop(channel, None)
        text, words = results.transcript, results.words
        spans = self._covered.setdefault(channel, [])
        start = results.start + record.offset
        if not _follows(results, spans[-1][1] - record.offset if spans else None):
            text, words = self._unsaid(record, results, spans)
        elif spans and start <= spans[-1][1] + _SLACK:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + results.duration))
        else:
            spans.append((start, start + results.duration))
        if text:
            self._finals.append(text)
        if words:
            self._take_words(words, channel, record)
        if results.speech_final:
            self._open.pop(channel, None)

    def _unsaid(
        self, record: Record, results: Results, spans: list[tuple[float, float]]
    ) -> tuple[str, tuple[Word, ...]]:
        """Of a final that does not simply follow the one before: what no earlier one has said."""
        text, words = results.transcript, results.words
        start, end = (seconds + record.offset for seconds in _extent(results))
        again = sum(max(0.0, min(end, b) - max(start, a)) for a, b in spans)
        if again > _SLACK:
            # The server says again what it has said: finals never change, so only what is new counts.
            words = tuple(word for word in words if not _holds(spans, record.offset + (word.start + word.end) / 2))
            if len(words) < len(results.words):
                text = shown(words)
            elif not words and again > (end - start) / 2:
                text = ""
            if text != results.transcript:
                what = f"A final from {start:.3f} to {end:.3f} s says again what an earlier one said"
                self.note("warning", f"{what}; {again:.3f} s of it are left out.", at=record.at)
        spans[:] = _joined([*spans, (start, end)])
        return text, words

    def _take_words(self, words: Sequence[Word], channel: int, record: Record) -> None:
        offset = record.offset
        if offset:
            words = [msgspec.structs.replace(word, start=word.start + offset, end=word.end + offset) for word in words]
        utterance = self._open.get(channel)
        for word in words:
            if utterance is None or utterance.speaker != word.speaker:
                utterance = self._open[channel] = _Utterance(self._utterances, word.speaker, word.end)
                self._utterances += 1
            self._utterance_of.append(utterance.index)
            utterance.last_word_end = word.end
        self._words.extend(words)
        self._channels.extend(array("q", (channel,)) * len(words))
        self._arrivals.extend(array("q", (record.at,)) * len(words))

    # What comes out

    @property
    def text(self) -> str:
        """All finals, in the order that they came, as one text."""
        return " ".join(self._finals)

    @property
    def interim(self) -> str:
        """What is being said and may still change; channels in order."""
        return " ".join(filter(None, (self._interims[channel].transcript for channel in sorted(self._interims))))

    @property
    def messages(self) -> list[ServerMessage]:
        """Every message as it came, in order."""
        return [record.message for record in self._records]

    @property
    def count(self) -> int:
        """How many messages have come."""
        return len(self._records)

    @property
    def word_count(self) -> int:
        """How many words the finals have."""
        return len(self._words)

    def lines(self, words: int = 300) -> list[Line]:
        """The last `words` words by utterance, oldest first, at a cost that does not grow with the transcript."""
        first = max(0, len(self._words) - words)
        groups: dict[int, list[int]] = {}
        for index in range(first, len(self._words)):
            groups.setdefault(self._utterance_of[index], []).append(index)
        lines = []
        for indices in groups.values():
            spoken = [self._words[index] for index in indices]
            start, end = spoken[0].start, spoken[-1].end
            lines.append(Line(start, end, spoken[0].speaker, self._channels[indices[0]], shown(spoken)))
        return lines

    def since(self, position: int) -> list[ServerMessage]:
        """The messages from this position on: what has come after `position` of them."""
        return [record.message for record in self._records[position:]]

    @property
    def transcript_cursor(self) -> float:
        """How far the audio is covered by finals, in seconds: the channel that is furthest behind."""
        return min((spans[-1][1] for spans in self._covered.values()), default=0.0)

    def unheard(self, until: float) -> list[tuple[float, float]]:
        """The stretches up to `until` seconds that some channel has no final for and that no gap tells of, in order."""
        missing: list[tuple[float, float]] = []
        told = [(gap.start, gap.end) for gap in self._gaps]
        for spans in self._covered.values() or [[]]:
            at = 0.0
            for start, end in sorted([*spans, *told, (until, until)]):
                if min(start, until) > at + _SLACK:
                    missing.append((at, min(start, until)))
                at = max(at, end)
        return _joined(missing)

    @property
    def latency(self) -> float | None:
        """Seconds from audio sent to audio heard, at the newest interim; None without interims.

        The audio cursor minus the end of the newest interim, as Deepgram's "Measuring Streaming Latency" defines it.
        """
        return latency_of(self._newest_interim) if self._newest_interim else None

    @property
    def words(self) -> pd.DataFrame:
        """One row a word of the finals, in the order that they came.

        Columns: `word` (as recognised), `punctuated_word` (as displayed), `start`, `end` (s), `confidence` (0 to 1, or
        NaN), `speaker` (or NA), `channel`, `language` (or NA), `utterance` (row of `utterances`), `received_at` (UTC).
        """
        return self._frame("words", len(self._words), self._words_frame)

    @property
    def utterances(self) -> pd.DataFrame:
        """One row an utterance: it ends at a `speech_final`, at an `UtteranceEnd`, or where the speaker changes.

        Columns: `start`, `end` (s), `transcript`, `words` (how many), `confidence` (mean of the words'), `speaker`,
        `channel`.
        """
        return self._frame("utterances", len(self._words), self._utterances_frame)

    @property
    def results(self) -> pd.DataFrame:
        """One row a `Results` message, interim ones too, with `latency` in seconds (NaN for finals)."""
        return self._frame("results", len(self._records), self._results_frame)

    @property
    def events(self) -> pd.DataFrame:
        """What happened to the stream, in order of time: opened, closed, warnings, errors, Metadata and the like."""
        return self._frame("events", len(self._told) + len(self._notes), self._events_frame)

    @property
    def gaps(self) -> pd.DataFrame:
        """Audio that was not transcribed, with the reason. No rows is the rule.

        Columns: `start`, `end` (s), `reason`. A row whose `start` is its `end` is a moment at which audio is missing
        that was never captured, so that it takes no time on the source's timeline.
        """
        return self._frame("gaps", len(self._gaps), self._gaps_frame)

    def to_srt(self, path: str | os.PathLike[str] | None = None, **limits: Any) -> str | None:
        """SubRip captions of the finals so far: written to `path`, or returned when there is none.

        Args:
            path: A file to write, replaced as a whole or not at all.
            **limits: `max_chars` a line (42), `max_lines` (2), `max_duration` in seconds (7).
        """
        return _deliver(captions.to_srt(captions.cues(self._grouped(), **limits)), path)

    def to_webvtt(self, path: str | os.PathLike[str] | None = None, **limits: Any) -> str | None:
        """WebVTT captions of the finals so far, as `to_srt`."""
        return _deliver(captions.to_webvtt(captions.cues(self._grouped(), **limits)), path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write every message with its arrival time as JSON lines; `load` gives an equal transcript.

        The file is replaced as a whole or not at all. It holds no key.

        Raises:
            DgnbError: The file can't be written; it is as it was before.
        """
        lines, written = self.saved()
        files.write(path, storage.header(sum(written)) + lines)

    def saved(self, since: tuple[int, int, int] = (0, 0, 0)) -> tuple[bytes, tuple[int, int, int]]:
        """What `save` writes, without the header, of all that came after `since`; and the `since` to go on from.

        `since` counts the notes, gaps and messages that were written before; the cost is that of what is new.
        """
        notes, gaps, records = since
        until = (len(self._notes), len(self._gaps), len(self._records))
        new = self._notes[notes : until[0]], self._gaps[gaps : until[1]], self._records[records : until[2]]
        return storage.dump(*new), until

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transcript:
        """Read what `save` or a journal wrote.

        A journal is read up to where it breaks off: its writer may have been killed. A saved file must be whole.

        Raises:
            DgnbError: The file can't be read, is not one of these, is of a newer version, is cut short, or is broken.
        """
        transcript = cls()
        notes = []
        try:
            for item in storage.read(path):
                if isinstance(item, Record):
                    transcript._take(item)
                elif isinstance(item, Gap):
                    transcript.add_gap(item.start, item.end, item.reason)
                else:
                    notes.append(item)
        except (ValueError, OverflowError) as error:
            raise DgnbError(f"{path} can't be read as a session file: {error} Was it changed by hand?") from error
        # What taking the messages noted anew was noted before they were saved.
        transcript._notes = notes
        return transcript

    # How

    def _frame(self, name: str, version: int, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        from dgnb import frames

        built = self._frames.get(name)
        if built is None or built[0] != version:
            built = self._frames[name] = (version, build())
        return frames.snapshot(built[1])

    def _words_frame(self) -> pd.DataFrame:
        from dgnb import frames

        words = self._words
        columns: dict[str, Sequence[Any]] = {
            "word": [word.word for word in words],
            "punctuated_word": [word.punctuated_word or word.word for word in words],
            "start": [word.start for word in words],
            "end": [word.end for word in words],
            "confidence": [word.confidence for word in words],
            "speaker": [word.speaker for word in words],
            "channel": self._channels,
            "language": [word.language for word in words],
            "utterance": self._utterance_of,
            "received_at": self._arrivals,
        }
        return frames.table(frames.WORDS, columns)

    def _utterances_frame(self) -> pd.DataFrame:
        from dgnb import frames

        return frames.rows(
            frames.UTTERANCES, (utterance_row(words, channel) for words, channel in self._by_utterance())
        )

    def _results_frame(self) -> pd.DataFrame:
        from dgnb import frames

        return frames.rows(
            frames.RESULTS,
            (results_row(record, record.message) for record in self._records if isinstance(record.message, Results)),
        )

    def _events_frame(self) -> pd.DataFrame:
        from dgnb import frames

        ordered = sorted([*self._told, *self._notes], key=lambda event: event.at)
        return frames.rows(frames.EVENTS, ((e.at, e.type, e.text, e.request_id) for e in ordered))

    def _gaps_frame(self) -> pd.DataFrame:
        from dgnb import frames

        return frames.rows(frames.GAPS, ((gap.start, gap.end, gap.reason) for gap in self._gaps))

    def _by_utterance(self) -> list[tuple[list[Word], int]]:
        groups: list[tuple[list[Word], int]] = [([], 0) for _ in range(self._utterances)]
        for word, channel, utterance in zip(self._words, self._channels, self._utterance_of, strict=True):
            if not groups[utterance][0]:
                groups[utterance] = ([], channel)
            groups[utterance][0].append(word)
        return groups

    def _grouped(self) -> list[list[Word]]:
        return [words for words, _ in self._by_utterance()]


def _follows(results: Results, covered: float | None) -> bool:
    """Whether a final begins where the finals before it end, or later, and holds all its words: the rule by far."""
    start, end = results.start, results.start + results.duration
    if results.duration < 0 or (covered is not None and start < covered - _SLACK):
        return False
    for word in results.words:  # noqa: SIM110 - a generator costs three times as much, at each final
        if word.start < start or word.end > end:
            return False
    return True


def _extent(results: Results) -> tuple[float, float]:
    """What a final covers: its own stretch, and the middle of each of its words."""
    middles = [(word.start + word.end) / 2 for word in results.words]
    return min([results.start, *middles]), max([results.start, results.start + results.duration, *middles])


def _holds(spans: Iterable[tuple[float, float]], seconds: float) -> bool:
    return any(start <= seconds <= end for start, end in spans)


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same stretches in order, neighbours as one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + _SLACK:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _deliver(text: str, path: str | os.PathLike[str] | None) -> str | None:
    if path is None:
        return text
    files.write(path, text)
    return None

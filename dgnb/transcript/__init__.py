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

from dgnb import captions, exports, files
from dgnb.exceptions import DgnbError
from dgnb.messages import Metadata, Results, ServerMessage, UnknownMessage, UtteranceEnd, Word
from dgnb.transcript import storage
from dgnb.transcript.records import (
    Event,
    Gap,
    Line,
    Record,
    event_of,
    latency_of,
    results_rows,
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
        # The words of the finals as they came, so that none is held twice; and for each where its connection's 0 s lies
        # on the source's timeline, its channel, its utterance and its arrival.
        self._words: list[Word] = []
        self._offsets = array("d")
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
        utterance = self._open.get(channel)
        for word in words:
            if utterance is None or utterance.speaker != word.speaker:
                utterance = self._open[channel] = _Utterance(self._utterances, word.speaker, 0.0)
                self._utterances += 1
            self._utterance_of.append(utterance.index)
            utterance.last_word_end = word.end + record.offset
        self._words.extend(words)
        self._offsets.extend(array("d", (record.offset,)) * len(words))
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
            start, end = self._placed(indices[0]).start, self._placed(indices[-1]).end
            spoken = [self._words[index] for index in indices]
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
        """One row a `Results` message, interim ones too, in the order that they came.

        Columns: `received_at` (UTC), `start`, `end` (s), `channel`, `is_final`, `speech_final`, `from_finalize`,
        `transcript`, `words` (how many), `confidence` (0 to 1, or NaN), `audio_cursor` (s of audio sent when it came,
        or NaN), `latency`, `finalization_delay`, `churn`, `connection` (0 is the first one).

        - `latency` (s, interims): `audio_cursor` minus `end`, as Deepgram's "Measuring Streaming Latency" defines it;
          finals are held back on purpose, and would spoil it.
        - `finalization_delay` (s, finals): `audio_cursor` minus `end`: how long after its end a stretch was settled.
        - `churn` (finals): how often a word of it was rewritten before, by the word. Each hearing is compared, place by
          place, with the interim before it; a place that holds another word, or none any more, was rewritten once. So 0
          means that what was shown first stayed, and 0.5 that every other word was replaced once. Capitals and
          punctuation do not count. What an interim says beyond the final's end is counted to the next final. NaN where
          no interim came before, and for a final without words.
        """
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

    def summary(self) -> pd.DataFrame:
        """The figures of it all, one row a measure: `value`, `unit`; see `dgnb.tables.summary` for what each means.

        Duration and speech, words and words per minute, each speaker's share, confidence, latency, finals and interims,
        reconnects, gaps. Right at any time, also while the stream runs.

        Example:
            ```python
            transcript.summary().loc["words per minute", "value"]
            ```
        """
        from dgnb import tables

        return tables.summary(self.words, self.results, self.events, self.gaps)

    def pauses(self, longer: float = 0.5) -> pd.DataFrame:
        """Where nobody spoke for longer than so many seconds, between two words of a channel: `dgnb.tables.pauses`.

        Columns: `start`, `end`, `seconds`, `after`, `before` (the words around it), `channel`.
        """
        from dgnb import tables

        return tables.pauses(self.words, longer)

    def speaking_rate(self, window: float = 60.0) -> pd.DataFrame:
        """Words per minute along time, in windows of so many seconds: `dgnb.tables.speaking_rate`.

        Columns: `start`, `end` (s), `words` (how many), `words_per_minute`.
        """
        from dgnb import tables

        return tables.speaking_rate(self.words, window)

    def find(self, phrase: str) -> pd.DataFrame:
        """Every place where a phrase was said, whatever its capitals and punctuation: `dgnb.tables.find`.

        Columns: `start`, `end` (s), `text`, `context` (five words more on each side), `channel`, `first`, `last`
        (positions in `words`).
        """
        from dgnb import tables

        return tables.find(self.words, phrase)

    def doubtful(self, below: float = 0.5, join: float = 1.0) -> pd.DataFrame:
        """Stretches of words whose confidence is below this, at most `join` seconds apart: `dgnb.tables.doubtful`.

        Columns: `start`, `end` (s), `text`, `words` (how many), `confidence` (the lowest), `channel`, `first`, `last`
        (positions in `words`).
        """
        from dgnb import tables

        return tables.doubtful(self.words, below, join)

    def to_srt(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_chars: int = 42,
        max_lines: int = 2,
        max_duration: float = 7.0,
        min_duration: float = 0.8,
        max_chars_per_second: float = 20.0,
        speakers: bool | None = None,
    ) -> str | None:
        """SubRip captions of the finals so far: written to `path`, or returned when there is none.

        Args:
            path: A file to write, replaced as a whole or not at all.
            max_chars: Characters a line; a longer word stands alone.
            max_lines: Lines a caption.
            max_duration: Seconds a caption.
            min_duration: Seconds a caption stays at least, where nobody speaks after it.
            max_chars_per_second: Reading speed: a caption that asks for more stays longer, where nobody speaks after
                it; nothing is left out where somebody does.
            speakers: Whether to tell who speaks, as `Speaker 0: `; None when there are several speakers or channels.

        Raises:
            ConfigurationError: A limit that nothing can keep.
            DgnbError: The file can't be written; it is as it was before.
        """
        cues = captions.cues(
            self._spoken(),
            max_chars=max_chars,
            max_lines=max_lines,
            max_duration=max_duration,
            min_duration=min_duration,
            max_chars_per_second=max_chars_per_second,
            speakers=speakers,
        )
        return _deliver(captions.to_srt(cues), path)

    def to_webvtt(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_chars: int = 42,
        max_lines: int = 2,
        max_duration: float = 7.0,
        min_duration: float = 0.8,
        max_chars_per_second: float = 20.0,
        speakers: bool | None = None,
    ) -> str | None:
        """WebVTT captions of the finals so far, as `to_srt`; who speaks is told by voice tags, `<v Speaker 0>`."""
        cues = captions.cues(
            self._spoken(),
            max_chars=max_chars,
            max_lines=max_lines,
            max_duration=max_duration,
            min_duration=min_duration,
            max_chars_per_second=max_chars_per_second,
            speakers=speakers,
        )
        return _deliver(captions.to_webvtt(cues), path)

    def to_csv(
        self, path: str | os.PathLike[str] | None = None, table: str = "words", *, safe: bool = True
    ) -> str | None:
        """A table as CSV: written to `path`, or returned when there is none.

        A spreadsheet runs text that begins with `=`, `+`, `-`, `@`, a tab or a line break as a formula: `safe` puts a
        `'` before it, in cells and headers, and has the file begin with the mark that tells spreadsheets of UTF-8.
        Numbers stay numbers. `dgnb.exports.read_csv` gives back the same table; pandas and others read it as it is.

        Args:
            path: A file to write, replaced as a whole or not at all.
            table: `words`, `utterances`, `results`, `events` or `gaps`.
            safe: Make it safe to open in a spreadsheet.

        Raises:
            ConfigurationError: There is no table of that name.
            DgnbError: The file can't be written; it is as it was before.
        """
        text = exports.to_csv(getattr(self, exports.known(table)), safe=safe)
        return _deliver(text, path, mark="\ufeff" if safe else "")

    def to_parquet(self, path: str | os.PathLike[str], table: str = "words") -> None:
        """Write a table as Parquet, which keeps its dtypes: `pandas.read_parquet` gives the same table.

        Args:
            path: A file to write, replaced as a whole or not at all.
            table: `words`, `utterances`, `results`, `events` or `gaps`.

        Raises:
            ConfigurationError: There is no table of that name.
            DgnbError: pyarrow is not installed (`pip install 'dgnb[export]'`), or the file can't be written; it is as
                it was before.
        """
        files.write(path, exports.to_parquet(getattr(self, exports.known(table))))

    def to_textgrid(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Words and utterances as a Praat TextGrid: written to `path`, or returned when there is none.

        Each speaker, or channel, has a tier of words and one of utterances, from 0 to the end of the audio. Praat
        allows no overlap in a tier: an interval that reaches into the next ends where that begins. Whole milliseconds.

        Raises:
            DgnbError: The file can't be written; it is as it was before.
        """
        return _deliver(exports.to_textgrid(self._spoken(), duration=self._duration()), path)

    def to_rttm(self, path: str | os.PathLike[str] | None = None, *, file_id: str = "audio") -> str | None:
        """Who spoke when, as RTTM, a line an utterance: written to `path`, or returned when there is none.

        Args:
            path: A file to write, replaced as a whole or not at all.
            file_id: What to call the recording, without spaces.

        Raises:
            ConfigurationError: `file_id` is empty or has spaces in it.
            DgnbError: The file can't be written; it is as it was before.
        """
        return _deliver(exports.to_rttm(self._spoken(), file_id=file_id), path)

    def to_deepgram_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """All words in the shape of Deepgram's answer for a recording: written to `path`, or returned.

        What was made for such answers reads it: `metadata`, `results.channels`, `results.utterances`. What a stream
        does not tell is empty (`sha256`) or left out (a confidence).

        Raises:
            DgnbError: The file can't be written; it is as it was before.
        """
        began = self._records[0].at if self._records else None
        metadata = exports.about(self.messages, began=began, duration=self._duration())
        return _deliver(exports.to_deepgram_json(self._spoken(), metadata), path)

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
            "start": [word.start + offset for word, offset in zip(words, self._offsets, strict=True)],
            "end": [word.end + offset for word, offset in zip(words, self._offsets, strict=True)],
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

        words, offsets, channels = self._words, self._offsets, self._channels
        return frames.rows(
            frames.UTTERANCES,
            (
                utterance_row(
                    [words[index] for index in indices],
                    words[indices[0]].start + offsets[indices[0]],
                    words[indices[-1]].end + offsets[indices[-1]],
                    channels[indices[0]],
                )
                for indices in self._by_utterance()
            ),
        )

    def _results_frame(self) -> pd.DataFrame:
        from dgnb import frames

        return frames.rows(frames.RESULTS, results_rows(self._records))

    def _events_frame(self) -> pd.DataFrame:
        from dgnb import frames

        ordered = sorted([*self._told, *self._notes], key=lambda event: event.at)
        return frames.rows(frames.EVENTS, ((e.at, e.type, e.text, e.request_id) for e in ordered))

    def _gaps_frame(self) -> pd.DataFrame:
        from dgnb import frames

        return frames.rows(frames.GAPS, ((gap.start, gap.end, gap.reason) for gap in self._gaps))

    def _by_utterance(self) -> list[list[int]]:
        """The positions of each utterance's words."""
        groups: list[list[int]] = [[] for _ in range(self._utterances)]
        for index, utterance in enumerate(self._utterance_of):
            groups[utterance].append(index)
        return groups

    def _spoken(self) -> list[captions.Utterance]:
        """The words of each utterance on the source's timeline, and its channel."""
        return [
            ([self._placed(index) for index in indices], self._channels[indices[0]]) for indices in self._by_utterance()
        ]

    def _duration(self) -> float:
        """Seconds of audio that were heard, or said to have been received."""
        told = [
            record.message.duration + record.offset
            for record in self._records
            if isinstance(record.message, Metadata) and record.message.duration is not None
        ]
        return max([0.0, *told, *(spans[-1][1] for spans in self._covered.values())])

    def _placed(self, index: int) -> Word:
        """One word, on the source's timeline."""
        word, offset = self._words[index], self._offsets[index]
        if not offset:
            return word
        return msgspec.structs.replace(word, start=word.start + offset, end=word.end + offset)


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


def _deliver(text: str, path: str | os.PathLike[str] | None, *, mark: str = "") -> str | None:
    """Write text to a file, with a mark before it; or give it back."""
    if path is None:
        return text
    files.write(path, mark + text)
    return None

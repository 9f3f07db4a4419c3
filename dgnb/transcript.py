"""`Transcript`: what was said so far, reduced from the server's messages.

The rules, and the only place that knows them: finals tile the timeline of their channel and never change; each
`Results` replaces its channel's interim and a final clears it; a final may cover less than the interim before it; a
final that says again what an earlier one said counts only for what is new in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from dgnb import captions
from dgnb.exceptions import DgnbError
from dgnb.messages import (
    Error,
    Metadata,
    Results,
    Seconds,
    ServerMessage,
    SpeechStarted,
    UnknownMessage,
    UtteranceEnd,
    Warning,
    Whole,
    Word,
    encode,
    parse,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Event", "Gap", "Line", "Record", "Transcript"]

logger = logging.getLogger("dgnb")

_FILE_VERSION: Final = 1
_SLACK: Final = 0.02
"""Seconds that the finals of a channel may overlap or lie apart and still be neighbours: times are rounded."""

Observer = Callable[[ServerMessage], object]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message and its circumstances.

    `at` is when it came (nanoseconds since 1970, UTC); `offset` is where its connection's 0 s lies on the source's
    timeline; `audio_cursor` is how far the audio had been sent then, on the same timeline.
    """

    at: int
    message: ServerMessage
    offset: float = 0.0
    audio_cursor: float | None = None
    connection: int = 0


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to the stream: `opened`, `closed`, `warning`, `error`, or a message's `type`."""

    at: int
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


class _Line(msgspec.Struct, frozen=True):
    """A record as it is saved; a message that could not be taken apart is a JSON string."""

    at: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
    message: msgspec.Raw
    offset: Seconds = 0.0
    audio_cursor: Seconds | None = None
    connection: Whole = 0


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
        record = Record(time.time_ns() if at is None else at, message, offset, audio_cursor, connection)
        self._records.append(record)
        if isinstance(message, Results):
            self._take_results(record, message)
        else:
            self._take_event(record, message)
        if self._observers:
            self._tell(message)

    def note(self, type: str, text: str, *, request_id: str | None = None, at: int | None = None) -> None:
        """Add a row to `events`."""
        # Names of files may hold what is no text.
        text = text.encode("utf-8", "replace").decode()
        self._notes.append(Event(time.time_ns() if at is None else at, type, text, request_id))

    def add_gap(self, start: float, end: float, reason: str) -> None:
        """Add a row to `gaps`: audio from `start` to `end` will not be transcribed."""
        self._gaps.append(Gap(start, end, reason))

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

    def _take_event(self, record: Record, message: ServerMessage) -> None:
        if isinstance(message, UtteranceEnd):
            channel = message.channel[0] if message.channel else 0
            utterance = self._open.get(channel)
            # An UtteranceEnd may arrive after the next utterance began: it ends only what it speaks of.
            if utterance and utterance.last_word_end <= message.last_word_end + record.offset + 0.001:
                del self._open[channel]
        elif isinstance(message, UnknownMessage):
            self.unknown[message.type] += 1
        if event := _event(record):
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
                text = _shown(words)
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
            lines.append(Line(start, end, spoken[0].speaker, self._channels[indices[0]], _shown(spoken)))
        return lines

    def since(self, position: int) -> list[ServerMessage]:
        """The messages from this position on: what has come after `position` of them."""
        return [record.message for record in self._records[position:]]

    @property
    def transcript_cursor(self) -> float:
        """How far the audio is covered by finals, in seconds: the channel that is furthest behind."""
        return min((spans[-1][1] for spans in self._covered.values()), default=0.0)

    def unheard(self, until: float) -> list[tuple[float, float]]:
        """The stretches up to `until` seconds that some channel has no final for, in order."""
        missing: list[tuple[float, float]] = []
        for spans in self._covered.values() or [[]]:
            at = 0.0
            for start, end in [*spans, (until, until)]:
                if start > at + _SLACK:
                    missing.append((at, min(start, until)))
                at = max(at, end)
        return [(start, end) for start, end in _joined(missing) if end > start]

    @property
    def latency(self) -> float | None:
        """Seconds from audio sent to audio heard, at the newest interim; None without interims.

        The audio cursor minus the end of the newest interim, as Deepgram's "Measuring Streaming Latency" defines it.
        """
        return _latency(self._newest_interim) if self._newest_interim else None

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
        """Audio that was not transcribed, with the reason. No rows is the rule."""
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
        """
        _deliver("".join(self._lines()), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transcript:
        """Read what `save` wrote.

        Raises:
            DgnbError: The file is not one of these, or of a newer version.
        """
        transcript = cls()
        try:
            with Path(path).open(encoding="utf-8") as file:
                header = msgspec.json.decode(file.readline(), type=dict[str, Any])
                if header.get("dgnb") != _FILE_VERSION:
                    raise DgnbError(
                        f"{path} is not a session file of version {_FILE_VERSION}. Was it saved by a newer dgnb?"
                    )
                lines = list(file)
                if len(lines) != header.get("lines", len(lines)):
                    raise DgnbError(f"{path} is cut short: it has {len(lines)} of its {header['lines']} lines.")
                notes = [note for line in lines if (note := transcript._load_line(line))]
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            raise DgnbError(f"{path} can't be read as a session file: {error}. Is it one that save() wrote?") from error
        # What feeding the messages noted anew was noted before they were saved.
        transcript._notes = notes
        return transcript

    # How

    def _load_line(self, text: str) -> Event | None:
        """Take one line of a file; a note is only given back."""
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if "message" in raw:
            line = msgspec.json.decode(text, type=_Line)
            message = bytes(line.message)
            self.feed(
                parse(msgspec.json.decode(message, type=str) if message.startswith(b'"') else message),
                at=line.at,
                offset=line.offset,
                audio_cursor=line.audio_cursor,
                connection=line.connection,
            )
        elif "event" in raw:
            return msgspec.json.decode(raw["event"], type=Event)
        elif "gap" in raw:
            self._gaps.append(msgspec.json.decode(raw["gap"], type=Gap))
        return None

    def _lines(self) -> Iterator[str]:
        dump = msgspec.json.Encoder().encode
        # So that a file that was cut short, even between two lines, is known as such.
        lines = len(self._records) + len(self._notes) + len(self._gaps)
        yield f'{{"dgnb":{_FILE_VERSION},"lines":{lines}}}\n'
        for record in self._records:
            message: bytes = encode(record.message).encode()
            if isinstance(record.message, UnknownMessage) and isinstance(record.message.raw, str):
                message = dump(record.message.raw)
            line = _Line(record.at, msgspec.Raw(message), record.offset, record.audio_cursor, record.connection)
            yield dump(line).decode() + "\n"
        for kind, items in (("event", self._notes), ("gap", self._gaps)):
            for item in items:
                yield dump({kind: item}).decode() + "\n"

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
            frames.UTTERANCES, (_utterance_row(words, channel) for words, channel in self._by_utterance())
        )

    def _results_frame(self) -> pd.DataFrame:
        from dgnb import frames

        return frames.rows(
            frames.RESULTS,
            (_results_row(record, record.message) for record in self._records if isinstance(record.message, Results)),
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


def _shown(words: Iterable[Word]) -> str:
    return " ".join(word.punctuated_word or word.word for word in words)


def _utterance_row(words: list[Word], channel: int) -> tuple[Any, ...]:
    confidences = [word.confidence for word in words if word.confidence is not None]
    return (
        words[0].start,
        words[-1].end,
        _shown(words),
        len(words),
        sum(confidences) / len(confidences) if confidences else None,
        words[0].speaker,
        channel,
    )


def _latency(record: Record) -> float | None:
    if not isinstance(record.message, Results) or record.audio_cursor is None:
        return None
    return record.audio_cursor - (record.offset + record.message.start + record.message.duration)


def _results_row(record: Record, results: Results) -> tuple[Any, ...]:
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
        None if results.is_final else _latency(record),
        record.connection,
    )


def _event(record: Record) -> Event | None:
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


def _deliver(text: str, path: str | os.PathLike[str] | None) -> str | None:
    """Return the text, or write it so that an existing file is either replaced whole or untouched."""
    if path is None:
        return text
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            # A folder, which refuses; or a device or pipe, which must stay what it is.
            target.write_text(text, encoding="utf-8", newline="\n")
            return None
        draft = target.parent / f".dgnb-{secrets.token_hex(8)}"
        try:
            with draft.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            if target.exists():
                shutil.copymode(target, draft)
            draft.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DgnbError(f"{str(path)!r} can't be written: {reason}. Is the folder there, and not full?") from error
    return None

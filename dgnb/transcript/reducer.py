"""`Reducer`: from the server's messages to what was said so far.

The rules: finals tile the timeline of their channel and never change. Each `Results` replaces the interim of its
channel. A final clears it, also one that covers less than the interim. A word that an earlier final said at the same
time does not count again. A final covers what its connection was sent before it, also silence that it leaves out.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from dgnb.messages import Answer, Metadata, Results, ServerMessage, UnknownMessage, UtteranceEnd, Word
from dgnb.transcript import storage
from dgnb.transcript.log import MessageLog
from dgnb.transcript.overlay import Edited
from dgnb.transcript.records import Edit, Event, Gap, Line, Record, channel_of, event_of, latency_of, placed, writable
from dgnb.transcript.turns import heard_in
from dgnb.transcript.words import SLACK, WordLog
from dgnb.writing import Said, closing, fitted, joined, spaced, spread

logger = logging.getLogger("dgnb")

_ESTIMATED: Final = (
    "The server sends words without times. Each gets a share of its final's time; `estimated` marks it in `words`."
)

_BATCH: Final = 4096
_MARKS: Final = 3  # punctuation marks behind a word, at most.
_TOLD: Final = 20  # finals that say something again which are told: some servers send no others.

Saved = tuple[int, int, int, int]
Observer = Callable[[ServerMessage], object]


class Reducer(Edited):
    """Takes messages, notes and gaps, and knows what is final. `Transcript` adds tables, exports and files."""

    def __init__(self) -> None:
        self._log = MessageLog()
        self._events: list[Event] = []  # from messages
        self._notes: list[Event] = []  # from the session
        self._gaps: list[Gap] = []
        self._interims: dict[int, Results] = {}
        self._newest_interim: Record | None = None
        self._reached: dict[int, float] = {}  # where the last final of each channel ends
        self._repeats = 0  # finals that said again what an earlier one said
        self._answer: Answer | None = None
        self._estimates = False  # whether text without words has come
        self._finals: list[str] = []
        self._words = WordLog()
        self._observers: list[Observer] = []
        self._received = 0.0  # seconds of audio, by the server's account
        self.unknown: Counter[str] = Counter()
        """How many messages of each unknown type came; they are kept as `UnknownMessage`."""
        self.cost: float | None = None
        """US$ for the audio that was sent, by `dgnb.prices`; None where none is known, and on this machine."""
        self.cursor = 0.0
        """Internal: seconds of audio that were sent. Notes stand there on the timeline."""

    # Input

    def feed(
        self,
        message: ServerMessage,
        *,
        at: int | None = None,
        offset: float = 0.0,
        audio_cursor: float | None = None,
        connection: int = 0,
    ) -> None:
        """Internal: take a message, with the rest of its `Record`. Observers that raise are logged and removed."""
        self._take(Record(time.time_ns() if at is None else at, message, offset, audio_cursor, connection))
        if self._observers:
            self._tell(message)

    def note(self, type: str, text: str, *, request_id: str = "", at: int = 0, start: float | None = None) -> None:
        """Internal: add a row to `events`; as a rule `at` is now and `start` the `cursor`."""
        start = self.cursor if start is None else start
        self._notes.append(Event(at or time.time_ns(), type, writable(text), request_id or None, start))

    def add_gap(self, start: float, end: float, reason: str, missed: float | None = None) -> None:
        """Internal: add a row to `gaps`: audio from `start` to `end` seconds will not be transcribed.

        Where both are the same, `missed` seconds were never captured. `ValueError`: it is no stretch of time.
        """
        if not (math.isfinite(start) and math.isfinite(end) and start <= end):
            raise ValueError(f"A gap goes from a time to the same or a later one, not from {start} to {end} s.")
        self._gaps.append(Gap(start, end, writable(reason), missed))

    def withdraw_gap(self, start: float, end: float, reason: str) -> None:
        """Internal: remove a row of `gaps`, because that audio will be transcribed after all."""
        with contextlib.suppress(ValueError):  # it was filled meanwhile
            self._gaps.remove(Gap(start, end, writable(reason)))

    def restore(self, item: Record | Event | Gap | Edit) -> None:
        """Internal: take an item of a session file or of `items`. `ValueError` for a gap as in `add_gap`."""
        if isinstance(item, Record):
            notes = len(self._notes)
            self._take(item)
            # Those that came of taking the message are items themselves.
            del self._notes[notes:]
            if self._observers:
                self._tell(item.message)
        elif isinstance(item, Gap):
            self.add_gap(item.start, item.end, item.reason, item.missed)
        elif isinstance(item, Edit):
            self._words.overlay.take(item)
        else:
            self._notes.append(item)

    def items(self) -> Iterator[Record | Event | Gap | Edit]:
        """Internal: all that was taken, by time, for `restore`; a gap comes after the message up to which it came."""
        yield from self._words.overlay.edits
        timed: list[Iterable[Record | Event]] = [list(self._notes), self._log.records()]
        gaps = deque(self._gaps)
        for item in heapq.merge(*timed, key=lambda item: item.at):
            yield item
            while gaps and isinstance(item, Record) and gaps[0].end <= (item.audio_cursor or 0.0):
                yield gaps.popleft()
        yield from gaps

    def observe(self, callback: Observer) -> None:
        """Call `callback(message)` for each message from now on, in the session's loop. It must not block."""
        self._observers.append(callback)

    def unobserve(self, callback: Observer) -> None:
        """Stop calling `callback`. Does nothing if it is not an observer."""
        if callback in self._observers:
            self._observers.remove(callback)

    def drop_interims(self) -> None:
        """Internal: forget the interims, because the connection that would have finished them is gone."""
        self._interims.clear()

    def _tell(self, message: ServerMessage) -> None:
        for observer in tuple(self._observers):
            try:
                observer(message)
            except Exception as error:
                self.unobserve(observer)
                logger.exception("An observer of the transcript raised; it is not called again")
                name = getattr(observer, "__qualname__", type(observer).__name__)
                # Its repr may raise, too; the log has the rest.
                what = type(error).__name__
                self.note("warning", f"The observer {name} raised {what}; it is not called again.")

    def _take(self, record: Record) -> None:
        message = record.message
        self._log.append(record)
        if record.audio_cursor is not None:
            self.cursor = record.audio_cursor
        if (heard := heard_in(message)) and heard.is_final:
            self._take_final(record, heard)
        elif heard:
            self._interims[channel_of(heard)] = heard
            self._newest_interim = record
        elif isinstance(message, UtteranceEnd):
            channel = message.channel[0] if message.channel else 0
            self._words.end_utterance(channel, message.last_word_end + record.offset)
        elif isinstance(message, Metadata) and message.duration is not None:
            self._received = max(self._received, message.duration + record.offset)
        elif isinstance(message, Answer):
            self._answer = message
        elif isinstance(message, UnknownMessage):
            self.unknown[message.type] += 1
        if event := event_of(record):
            self._events.append(event)

    def _take_final(self, record: Record, final: Results) -> None:
        channel = channel_of(final)
        self._interims.pop(channel, None)
        if record.offset:
            final = placed(final, record.offset)
        end = final.start + final.duration
        words: Sequence[Word] = final.words
        text = final.transcript.strip() or joined(words)
        before = self._words.ending(channel)
        if before and closing(text):
            # Some servers send a full stop in a final of its own, and some send one again and again.
            text = "" if before.endswith(text) or closing(before[-_MARKS:]) else text
            self._words.punctuate(channel, text)
        elif text:
            space = not before or spaced(before, text)
            words = fitted(text, words, space) if words else spread(text, final.start, max(final.start, end), space)
            if not self._estimates and type(words[0]) is Said and words[0].estimated:
                self._estimates = True
                self.note("warning", _ESTIMATED, at=record.at)
            # An answer for a recording says nothing again, and two people may say the same word at the same time.
            follows = self._answer is not None or _follows(final, self._reached.get(channel, final.start))
            new = words if follows else self._new(words, final, record.at)
            words, text = new, text if len(new) == len(words) else joined(new)
            self._words.add(words, channel, record.at)
        if text:
            gap = " " if self._finals and spaced(self._finals[-1], text) else ""
            self._finals.append(gap + text)
        self._reached[channel] = max(self._reached.get(channel, end), end)
        if final.speech_final:
            self._words.end_utterance(channel)

    def _new(self, words: Sequence[Word], final: Results, at: int) -> Sequence[Word]:
        """The words that no earlier final said at the same time."""
        new = self._words.unsaid(words, channel_of(final))
        if len(new) < len(words):
            self._repeats += 1
            if self._repeats <= _TOLD:
                what = f"A final from {final.start:.3f} to {final.start + final.duration:.3f} s says again what an"
                more = " Further ones are not told." if self._repeats == _TOLD else ""
                text = f"{what} earlier one said; {len(words) - len(new)} of its words are left out.{more}"
                self.note("warning", text, at=at)
        return new

    @property
    def text(self) -> str:
        """The text of all finals, in the order that they came."""
        return joined(self._words.read()[1]) if self._words.overlay.corrected else "".join(self._finals)

    @property
    def interim(self) -> str:
        """The text that may still change, channels in order."""
        return " ".join(filter(None, (self._interims[channel].transcript for channel in sorted(self._interims))))

    @property
    def messages(self) -> list[ServerMessage]:
        """Every message as it came, in order."""
        return self.since(0)

    @property
    def count(self) -> int:
        """Internal: how many messages have come."""
        return len(self._log)

    @property
    def word_count(self) -> int:
        """Internal: how many words the finals have."""
        return len(self._words)

    def lines(self, words: int = 300) -> list[Line]:
        """Internal: the last `words` words by utterance, oldest first, at a cost that does not grow."""
        return self._words.lines(words)

    def latest(self, count: int) -> tuple[list[Word], list[Event]]:
        """Internal: the last so many words, and rows of `events`, at a cost that does not grow."""
        events = sorted([*self._events[-count:], *self._notes[-count:]], key=lambda event: event.at)
        return list(self._words.read(max(0, len(self._words) - count))[1]), events[-count:]

    def since(self, position: int) -> list[ServerMessage]:
        """Internal: the messages from this position on."""
        return [record.message for record in self._log.records(position)]

    @property
    def transcript_cursor(self) -> float:
        """How far finals cover the audio, in seconds, on the channel that is furthest behind."""
        return min(self._reached.values(), default=0.0)

    @property
    def latency(self) -> float | None:
        """Seconds from audio sent to audio heard at the newest interim. None without interims.

        The audio cursor minus the end of the newest interim, as Deepgram's "Measuring Streaming Latency" defines it.
        """
        return latency_of(self._newest_interim) if self._newest_interim else None

    def saved(self, since: Saved = (0, 0, 0, 0)) -> tuple[bytes, Saved]:
        """Internal: what `save` writes since then, with 4096 messages at most, and the next `since`."""
        notes, gaps, edits, messages = since
        changes = self._words.overlay.edits
        until = (len(self._notes), len(self._gaps), len(changes), min(len(self._log), messages + _BATCH))
        lines = self._log.lines(messages, until[3])
        return storage.dump(self._notes[notes:], self._gaps[gaps:], changes[edits:]) + b"".join(lines), until


def _follows(final: Results, reached: float) -> bool:
    """Whether a final begins where the one before it ended, or later, and holds all its words: nearly all do."""
    start, end = final.start - SLACK, final.start + final.duration + SLACK
    if start < reached - 2 * SLACK:
        return False
    for word in final.words:  # noqa: SIM110 - a generator costs three times as much, at each final
        if word.start < start or word.end > end:
            return False
    return True

"""`WordLog`: the words of the finals, in columns that grow."""

from __future__ import annotations

import contextlib
import itertools
import math
from array import array
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from dgnb.captions import Names
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Word
from dgnb.transcript.overlay import Overlay
from dgnb.transcript.records import Line
from dgnb.values import native, number, whole
from dgnb.writing import Said, is_spaced, joined

SLACK: Final = 0.02
"""Seconds by which neighbouring words and finals may overlap: the server rounds times."""
_SAME: Final = ("word", "start", "end", "confidence", "speaker", "language")
"""Columns of the table `words` that are fields of a word."""


class WordLog:
    """The words of the finals as they came. A new speaker, an endpoint and a step back in time end an utterance."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._utterances = array("q")
        self._arrivals = array("q")
        self._channels = array("q")  # By utterance
        self._open: dict[int, int] = {}  # The utterance that each channel is in
        self._last: dict[int, int] = {}  # The position of the last word of each channel
        self._places: dict[tuple[int, str, int], list[int]] = {}
        """Where a word stands that a channel has in a second of the timeline, up to position `_placed`."""
        self._placed = 0
        self.overlay = Overlay()
        self.speakers: set[int] = set()
        self.punctuated = 0  # How many words got punctuation later

    def __len__(self) -> int:
        return len(self._words)

    @property
    def end(self) -> float:
        """When the last word ends, in seconds; 0.0 without words."""
        return max((word.end for word in self._words), default=0.0)

    def add(self, words: Sequence[Word], channel: int, at: int) -> None:
        """Append the words of a final of this channel that arrived at `at` (ns since 1970, UTC)."""
        before = self._words[self._last[channel]] if channel in self._open else None
        for word in words:
            if before is None or before.speaker != word.speaker or word.end < before.start:
                self._open[channel] = len(self._channels)
                self._channels.append(channel)
                if word.speaker is not None:
                    self.speakers.add(word.speaker)
            self._utterances.append(self._open[channel])
            before = word
        self._words.extend(words)
        if words:
            self._last[channel] = len(self._words) - 1
        self._arrivals.extend(array("q", (at,)) * len(words))

    def ending(self, channel: int) -> str:
        """The last word of a channel, as displayed, or ""."""
        word = self._words[self._last[channel]] if channel in self._last else None
        return (word.punctuated_word or word.word) if word else ""

    def punctuate(self, channel: int, text: str) -> None:
        """Put punctuation behind the last word of a channel."""
        if text:
            position = self._last[channel]
            word = self._words[position]
            self._words[position] = msgspec.structs.replace(word, punctuated_word=self.ending(channel) + text)
            self.punctuated += 1

    def unsaid(self, words: Sequence[Word], channel: int) -> Sequence[Word]:
        """Those of the words that the channel does not have at the same time. Each of its words answers for one."""
        for position in range(self._placed, len(self._words)):
            word = self._words[position]
            place = (self._channels[self._utterances[position]], _letters(word), math.floor(_middle(word)))
            self._places.setdefault(place, []).append(position)
        self._placed = len(self._words)
        new, used = [], set()
        for word in words:
            letters, second = _letters(word), math.floor(_middle(word))
            same = [
                position
                for near in (second - 1, second, second + 1)
                for position in self._places.get((channel, letters, near), ())
                if position not in used and _together(word, self._words[position])
            ]
            if same:
                used.add(min(same, key=lambda position: abs(_middle(self._words[position]) - _middle(word))))
            else:
                new.append(word)
        return tuple(new)

    def end_utterance(self, channel: int, last_word_end: float | None = None) -> None:
        """End the utterance that a channel is in; with `last_word_end`, only one whose words end there or before."""
        # An UtteranceEnd may arrive after the next utterance began: it ends only the one that it speaks of.
        if channel in self._open and (
            last_word_end is None or self._words[self._last[channel]].end <= last_word_end + 0.001
        ):
            del self._open[channel]

    def read(self, first: int = 0, last: int | None = None) -> tuple[Sequence[int], Sequence[Word]]:
        """The words from place `first` up to `last` as people read them, and the place of each."""
        return self.overlay.applied(self._words, first, last)

    def places(self, row: Any) -> tuple[int, ...]:
        """The places of the words of a channel that a label, a pair of labels or a row stands for."""
        given, found = native(row), set[int]()
        with contextlib.suppress(ConfigurationError, LookupError, TypeError):
            if isinstance(given, int | float | str) or type(given) is tuple:
                labels = given if type(given) is tuple and len(given) == 2 else (given, given)
                first, last = (whole("", label, 0, len(self) - 1) for label in labels)
                found = {place for place in range(first, last + 1) if self._channel(place) == self._channel(first)}
            else:
                row = row.squeeze(axis=0) if hasattr(row, "squeeze") else row
                fields = row._asdict() if hasattr(row, "_asdict") else row
                start, end = (number("", fields[name]) for name in ("start", "end"))
                # A row may be older than a correction.
                said = itertools.chain(zip(*self.read(), strict=True), enumerate(self._words))
                near = [(place, word) for place, word in said if word.end >= start and word.start <= end]
                for place, word in near:
                    within = start <= _middle(word) <= end or word.start <= (start + end) / 2 <= word.end
                    if within and self._channel(place) == fields.get("channel", 0):
                        found.add(place)
                label = fields.get("Index", getattr(row, "name", None))
                found = {label} if "word" in fields and label in found else found
        if not found:
            what = "a label of words, a pair of labels, or a row of words, utterances, find() or doubtful()"
            raise ConfigurationError(f"There are no such words here: {row!r:.200}. Pass {what}.")
        return tuple(sorted(found))

    def _channel(self, place: int) -> int:
        return self._channels[self._utterances[place]]

    def lines(self, words: int, *, first: bool = False) -> list[Line]:
        """The last (or first) so many words by utterance, oldest first, at a cost that does not grow with the log."""
        begin = 0 if first else max(0, len(self._words) - words)
        found: dict[int, dict[float, Word]] = {}
        for place, word in zip(*self.read(begin, begin + words), strict=True):
            line = found.setdefault(self._utterances[place], {})
            # Words that share a place stand at fractions of it.
            line[place if place not in line else max(line) + 2**-20] = word
        return [Line(utterance, self._channels[utterance], spoken) for utterance, spoken in found.items()]

    def utterances(self) -> list[tuple[list[Word], int]]:
        """The words of each utterance, with its channel."""
        groups: list[list[Word]] = [[] for _ in self._channels]
        for place, word in zip(*self.read(), strict=True):
            groups[self._utterances[place]].append(word)
        return list(zip(groups, self._channels, strict=True))

    @property
    def state(self) -> tuple[int, int, int]:
        """It differs whenever a word does."""
        return len(self._words), self.punctuated, len(self.overlay.edits)

    def columns(self) -> dict[str, Any]:
        """The columns of the table `words` that have values, and each word's place."""
        places, words = self.read()
        utterances = [self._utterances[place] for place in places]
        columns: dict[str, Any] = {name: list(map(attrgetter(name), words)) for name in _SAME}
        if names := self.overlay.names:
            columns["speaker_name"] = list(map(names.get, columns["speaker"]))
        if any(word.speaker_confidence is not None for word in words):
            columns["speaker_confidence"] = [word.speaker_confidence for word in words]
        if self.overlay.corrected:
            columns["corrected"] = [type(word) is Said and word.corrected for word in words]
        return columns | {
            "place": places,
            "punctuated_word": [word.punctuated_word or word.word for word in words],
            "channel": [self._channels[utterance] for utterance in utterances],
            "utterance": utterances,
            "spaced": list(map(is_spaced, words)),
            "estimated": [type(word) is Said and word.estimated for word in words],
            "received_at": [self._arrivals[place] for place in places],
        }


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _together(one: Word, other: Word) -> bool:
    overlap = min(one.end, other.end) - max(one.start, other.start)
    return overlap > SLACK or abs(_middle(one) - _middle(other)) <= SLACK


def _letters(word: Word) -> str:
    """The word as it is compared: without capitals and punctuation."""
    text = word.word.casefold()
    return "".join(filter(str.isalnum, text)) or text


def utterances_row(words: list[Word], channel: int, names: Names) -> tuple[Any, ...]:
    """The row of an utterance in the table `utterances`; it has no words where a person removed them."""
    if not words:
        return None, None, "", 0, None, None, None, channel
    # NaN is not a confidence.
    confidences = [c for word in words if (c := word.confidence) is not None and c == c]
    mean = sum(confidences) / len(confidences) if confidences else None
    speaker = words[0].speaker
    return words[0].start, words[-1].end, joined(words), len(words), mean, speaker, names.get(speaker), channel

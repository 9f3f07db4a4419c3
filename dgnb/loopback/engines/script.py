"""`Script`: an engine that says given words at given times, for tests and demonstrations. It ignores the audio."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Final

from dgnb.loopback.engines import SAMPLE_RATE, EngineInfo, EngineStream, Event, Heard, HeardWord, SpeechStarted
from dgnb.values import ABOVE_0, native, number

__all__ = ["Script"]

MIN_PAUSE: Final = 0.3
"""Seconds of silence that tell a pause from a gap between words."""

_INTERIM_EVERY: Final = 1.0
_SILENCE_EVERY: Final = 3.0
_TICK: Final = 1e-6


class Script:
    """A deterministic engine: its words come at their times on the audio clock, whatever the sizes of the pieces.

    A word is known when its end has been fed. Finals come at pauses, after `cut` seconds without a pause, and after
    every 3 s of silence. Interims come with every second of audio in which an utterance is open. There is no pause
    between words; after the end of a sentence (`.`, `?` or `!`) there are `gap` seconds of silence.

    Args:
        text: What is said; "" is silence.
        words_per_second: The speed.
        start: Seconds of silence before the first word.
        gap: Seconds of silence after a sentence.
        repeat: Whether to say it again and again, each time `gap` seconds after the end.
        cut: Seconds after which an utterance is cut into a final that is no endpoint, as engines do.

    Example:
        ```python
        async with dgnb.loopback.serve(dgnb.loopback.Script("Hello world.", start=0.2)) as server:
            transcript = await dgnb.transcribe("speech.wav", endpoint=server.url)
        ```
    """

    info = EngineInfo("script", "1", "script", "00000000-0000-4000-8000-000000000001")
    """It says that there is no model."""

    languages: tuple[str, ...] | None = None
    """Any language."""

    def __init__(
        self,
        text: str = "",
        *,
        words_per_second: float = 2.5,
        start: float = 0.2,
        gap: float = 1.0,
        repeat: bool = False,
        cut: float = 10.0,
    ) -> None:
        rule = "words_per_second and cut are positive; start and gap are not negative"
        words_per_second, cut = number(rule, words_per_second, ABOVE_0), number(rule, cut, ABOVE_0, math.inf)
        start, gap = number(rule, start, 0.0), number(rule, gap, 0.0)
        words = []
        sentence, position = start, 0
        for word in native(text).split():
            begin, end = sentence + position / words_per_second, sentence + (position + 1) / words_per_second
            words.append(HeardWord(word, round(begin, 6), round(end, 6), 0.99))
            position += 1
            if word.endswith((".", "?", "!")):
                sentence, position = end + gap, 0
        self.words: tuple[HeardWord, ...] = tuple(words)
        """What is said, once, with seconds on the audio clock."""
        self._gap, self._repeat, self._cut = gap, repeat, cut

    def open(self, *, language: str = "en", pause: float = 0.7, interims: bool = True) -> EngineStream:
        """Begin a stream at 0 s."""
        return _ScriptStream(self._endless(), max(pause, MIN_PAUSE), interims, self._cut)

    def _endless(self) -> Iterator[HeardWord]:
        yield from self.words
        period = self.words[-1].end + self._gap if self.words else 0.0
        if not self._repeat or period <= 0:
            return
        for turn in itertools.count(1):
            for word in self.words:
                yield dataclasses.replace(word, start=word.start + turn * period, end=word.end + turn * period)


class _ScriptStream:
    """One stream. It goes from one instant to the next, so that the sizes of the pieces make no difference."""

    def __init__(self, words: Iterator[HeardWord], pause: float, interims: bool, cut: float) -> None:
        self._words = words
        self._next = next(words, None)
        self._speaking = False
        self._open: list[HeardWord] = []
        self._pause, self._interims, self._cut = pause, interims, cut
        self._fed = 0
        self._now = 0.0
        self._edge = 0.0
        self._voice_until = -math.inf
        self._interim_at = math.inf

    def feed(self, pcm: bytes) -> list[Event]:
        self._fed += len(pcm) // 2
        clock = self._fed / SAMPLE_RATE
        events: list[Event] = []
        while True:
            # Rounded to microseconds, equal instants keep the order of the agenda.
            instant, happen = min(self._agenda(), key=lambda entry: round(entry[0], 6))
            if instant > clock + _TICK:
                break
            self._now = max(self._now, min(instant, clock))
            events += happen()
        self._now = clock
        return events

    def flush(self) -> list[Event]:
        events: list[Event] = []
        word = self._next
        if self._speaking and word is not None and self._now - word.start >= (word.end - word.start) / 2:
            # A word that is half fed is heard now; otherwise, it is heard when its end is fed.
            self._next = dataclasses.replace(word, end=self._now)
            events += self._end_word()
        if self._now - self._edge > _TICK:
            events.append(self._final(self._now))
        return events

    def _agenda(self) -> Iterator[tuple[float, Callable[[], list[Event]]]]:
        """When what may happen next."""
        if self._open and not self._speaking:
            yield self._voice_until + self._pause, lambda: [self._final(self._now, pause=True)]
        if self._next is not None:
            yield (self._next.end, self._end_word) if self._speaking else (self._next.start, self._start_word)
        if self._open:
            yield self._edge + self._cut, lambda: [self._final(self._voice_until)]
            yield self._interim_at, self._interim
        if not (self._open or self._speaking):
            yield self._edge + _SILENCE_EVERY, lambda: [self._final(self._now)]

    def _start_word(self) -> list[Event]:
        assert self._next is not None
        start, self._speaking = self._next.start, True
        return [SpeechStarted(at=start)] if start - self._voice_until >= self._pause - _TICK else []

    def _end_word(self) -> list[Event]:
        assert self._next is not None
        if self._interims and not self._open:
            self._interim_at = math.floor(self._now / _INTERIM_EVERY + 1) * _INTERIM_EVERY
        self._open.append(dataclasses.replace(self._next, start=max(self._next.start, self._edge)))
        self._voice_until = self._next.end
        self._next, self._speaking = next(self._words, None), False
        return []

    def _interim(self) -> list[Event]:
        self._interim_at += _INTERIM_EVERY
        return [Heard(self._edge, self._now, tuple(self._open), final=False)]

    def _final(self, end: float, *, pause: bool = False) -> Heard:
        heard = Heard(self._edge, end, tuple(self._open), final=True, pause=pause)
        self._open, self._edge = [], end
        return heard

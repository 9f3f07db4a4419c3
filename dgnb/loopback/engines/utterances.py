"""Cuts a stream into utterances, for any engine that decodes stretches of audio.

Nothing here knows a speech model. The voice detector finds speech, a `Decode` turns a stretch into words, and
`UtteranceStream` decides which stretches to decode and when, so that the finals tile the audio clock.

    audio clock  ──────────────┬──────────────────────────────┬────────────>
    voice                      │     ▁▂▇▇▇▆▇▇▁▁▆▇▇▅▂▁         │
    decoded                    │   [─────────────────────]    │
    finals       ──── silence ─┴───── one utterance ──────────┴── silence ──
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dgnb.loopback.engines import SAMPLE_RATE, Event, Heard, HeardWord, SpeechStarted

FRAME = 512
"""Samples in a frame, which has one probability: 32 ms."""

_CONTEXT = 64

Samples = npt.NDArray[np.float32]
"""Audio from -1 to 1, one channel, 16 kHz."""

_SPEECH = 0.5  # Probability from which a frame holds a voice; Silero's own threshold
_QUIET = 0.35  # Probability under which a voice has ended. Between the two, nothing changes.
_FRAMES_OF_SPEECH = 3  # Frames of voice that open an utterance; a click or a cough is shorter

_PAUSE_FLOOR = 0.5
"""Shortest pause, in seconds, that ends an utterance. Stops and hesitations inside a phrase last up to 0.4 s, and
Whisper gets words wrong that are cut from their context."""
_LONGEST_PAUSE = 10.0
"""Longest pause, in seconds, that is waited for. With a longer one, speech becomes final after `_SILENCE`, without an
endpoint."""
_SILENCE = 3.0  # Seconds of silence after which an empty final is sent
_LONGEST = 15.0  # Seconds of speech after which an utterance is cut; with lead and tail it fits Whisper's window
_LEAD = 0.3  # Seconds before the detected onset that are decoded too, because soft beginnings come before it
_TAIL = 0.3  # Seconds after the voice that are decoded too
_UNHEARD = 0.8
"""Seconds of voice behind the last word from which on they are decoded, because a decoder may stop early. A half word
at a cut is shorter."""
_PARTS = 4  # How often a final is decoded at most

_REACTION = FRAME
"""Samples by which the detector trails the voice, at onsets and ends: the median over read and synthetic speech."""
_SILENCE_IN_SPEECH = 0.1  # Shortest silence, in seconds, between words
_NEAR = 0.25  # Largest error, in seconds, of a decoder's word times
_SHORTEST_WORD = 0.04

_INTERIM_EVERY = 1.0  # Seconds of audio between interims
_INTERIM_SHARE = 3.0
"""An interim waits this many times the duration of the last decoding, so interims take a third of the time at most."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The words of a stretch, in seconds from its start, and the language if the decoder detected it."""

    words: tuple[HeardWord, ...]
    language: str | None = None


Decode = Callable[[Samples, bool], Decoded]
"""Recognises a stretch. The second argument is true for a final, which asks for accuracy; otherwise, for speed."""


class SileroVoice:
    """Silero, with its state kept from one call to the next.

    faster-whisper ships the detector and runs it over a finished recording. Here, a stream costs 0.1 ms a frame, and
    nothing is computed twice.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)
        self._tail = np.zeros(_CONTEXT, np.float32)

    def feed(self, samples: Samples) -> list[float]:
        """Take whole frames, at least one; return the probability, 0 to 1, that each holds a voice."""
        frames = samples.reshape(-1, FRAME)
        before = np.vstack([self._tail, frames[:-1, -_CONTEXT:]])
        batch = np.hstack([before, frames])
        output, self._h, self._c = self._session.run(None, {"input": batch, "h": self._h, "c": self._c})
        self._tail = frames[-1, -_CONTEXT:].copy()
        return [float(p) for p in np.asarray(output).ravel()]


class UtteranceStream:
    """An `EngineStream` made of a voice detector and a speech model. Positions are samples since the stream began.

    Each stream needs a voice detector of its own. `pause` and `interims` are as in `Engine.open`; `clock` gives the
    wall-clock seconds by which the decoding is measured.
    """

    def __init__(
        self, decode: Decode, voice: SileroVoice, *, pause: float, interims: bool, clock: Callable[[], float]
    ) -> None:
        self._decode = decode
        self._voice = voice
        self._endpoint = pause <= _LONGEST_PAUSE
        self._pause = _samples(max(pause, _PAUSE_FLOOR) if self._endpoint else _SILENCE)
        self._interims = interims
        self._clock = clock
        self._track = _Track()
        self._unjudged = bytearray()  # less than a frame, waiting for the voice detector
        self._judged = 0  # how far the voice detector is

        self._onset: int | None = None  # where the open utterance began
        self._rise: int | None = None  # where a voice may have begun
        self._voiced = 0  # frames of voice in the open utterance
        self._last_voice = 0
        self._talking = False

        self._interim_at = 0
        self._interim_took = 0.0
        self._debt = 0.0  # seconds by which decoding is behind audio that arrives in real time

    def feed(self, pcm: bytes) -> list[Event]:
        """Take samples (a whole number of them; may be empty) and return what became known, in order."""
        self._track.add(pcm)
        self._debt = max(0.0, self._debt - len(pcm) / 2 / SAMPLE_RATE)
        self._unjudged += pcm
        whole = len(self._unjudged) // (2 * FRAME) * 2 * FRAME
        events: list[Event] = []
        if whole:
            frames = bytes(self._unjudged[:whole])
            del self._unjudged[:whole]
            for probability in self._voice.feed(_floats(frames)):
                self._track.probabilities.append(probability)
                self._judge(probability, events)
            self._interim(events)
        return events

    def flush(self) -> list[Event]:
        """Finalise everything fed so far; the last final ends at the clock. Feeding may go on afterwards."""
        if self._track.fed == self._track.base:
            return []
        return [self._finish(self._track.fed, pause=False)]

    # Decisions

    def _judge(self, probability: float, events: list[Event]) -> None:
        """Take the probability of one frame: open, cut or close an utterance, or report silence."""
        at, now = self._judged, self._judged + FRAME
        self._judged = now
        if probability >= _SPEECH:
            self._talking = True
            self._voiced += 1
            self._rise = at if self._rise is None else self._rise
        elif probability < _QUIET:
            self._talking = False
        if self._talking:
            self._last_voice = now
        elif self._onset is None:
            self._rise, self._voiced = None, 0
        if self._onset is None:
            if self._rise is not None and self._voiced >= _FRAMES_OF_SPEECH:
                self._onset = self._interim_at = max(self._rise, self._track.base)
                events.append(SpeechStarted(self._onset / SAMPLE_RATE))
            if self._rise is None and now - self._track.base >= _samples(_SILENCE + _LEAD):
                events.append(self._close(now - _samples(_LEAD), Decoded(())))
        elif now - self._last_voice >= self._pause:
            # The next utterance may begin at once and needs its lead, so the two share the silence.
            events.append(self._finish(now - min(_samples(_LEAD), self._pause // 2), pause=self._endpoint))
        elif now - self._onset >= _samples(_LONGEST) and self._talking:
            events.append(self._cut(now))

    def _interim(self, events: list[Event]) -> None:
        if self._onset is None or not self._interims or self._debt > 0 or self._last_voice <= self._interim_at:
            return
        if self._judged - self._interim_at < _samples(max(_INTERIM_EVERY, _INTERIM_SHARE * self._interim_took)):
            return
        before = self._debt
        decoded = self._words(self._onset, self._judged, final=False)
        self._interim_took = self._debt - before
        self._interim_at = self._judged
        events.append(self._heard(self._judged, decoded, final=False))

    def _finish(self, end: int, *, pause: bool) -> Heard:
        """Close the stretch up to `end`, with its words if somebody spoke."""
        decoded = Decoded(())
        if self._onset is not None:
            if self._voiced >= _FRAMES_OF_SPEECH:
                decoded = self._words(self._onset, end, final=True)
            # After a flush in the middle of a word, the rest of the word opens the next utterance.
            self._onset = self._rise = end if self._talking else None
            self._voiced = 0
            self._interim_at = end
        return self._close(end, decoded, pause=pause)

    def _cut(self, now: int) -> Heard:
        """Close an utterance that is too long, where it harms least, and carry the rest over."""
        assert self._onset is not None
        decoded = self._words(self._onset, now, final=True)
        earliest, latest = self._onset + (now - self._onset) // 2, now - _samples(1.0)
        between = [_samples((a.end + b.start) / 2) for a, b in itertools.pairwise(decoded.words)]
        # The quietest place between two words in the later half; without words, the quietest place.
        places = [at for at in between if earliest <= at <= latest] or range(earliest, latest, FRAME)
        end = min(places, key=self._track.loudness)
        before = [word for word in decoded.words if _samples(word.end) <= end]
        words = tuple(replace(word, end=min(word.end, end / SAMPLE_RATE)) for word in before)
        heard = self._close(end, replace(decoded, words=words))
        self._onset = self._rise = self._interim_at = end
        self._voiced = sum(p >= _SPEECH for p in self._track.probabilities)
        return heard

    def _close(self, end: int, decoded: Decoded, *, pause: bool = False) -> Heard:
        heard = self._heard(end, decoded, final=True, pause=pause and bool(decoded.words))
        self._track.forget(end)
        return heard

    def _heard(self, end: int, decoded: Decoded, *, final: bool, pause: bool = False) -> Heard:
        first, last = self._track.base / SAMPLE_RATE, end / SAMPLE_RATE
        inside = tuple(
            replace(w, start=min(max(first, w.start), last), end=min(max(first, w.end), last)) for w in decoded.words
        )
        return Heard(first, last, inside, final, pause, decoded.language)

    def _words(self, onset: int, end: int, *, final: bool) -> Decoded:
        """Decode the utterance from `onset` to `end`; the words come back on the audio clock."""
        start = max(self._track.base, onset - _samples(_LEAD))
        stop = min(end, self._last_voice + _samples(_TAIL))
        began = self._clock()
        words: tuple[HeardWord, ...] = ()
        language = None
        for _ in range(_PARTS if final else 1):
            decoded = self._decode(self._track.samples(start, stop), final)
            language = language or decoded.language
            shift = start / SAMPLE_RATE
            placed = [replace(word, start=word.start + shift, end=word.end + shift) for word in decoded.words]
            settled = _settle(placed, self._track.silences(start, stop))
            words += settled
            start = max(start, _samples(settled[-1].end)) if settled else stop
            if self._track.voice(start, stop) < _samples(_UNHEARD):
                break
        self._debt += max(0.0, self._clock() - began)
        return Decoded(words, language)


class _Track:
    """The audio from the end of the last final on, and how likely each frame of it holds a voice."""

    def __init__(self) -> None:
        self.base = 0  # where the next final starts
        self.fed = 0
        self.probabilities: list[float] = []  # one for each frame from _first_frame on
        self._first_frame = 0
        self._pcm = bytearray()  # from base to fed

    def add(self, pcm: bytes) -> None:
        self._pcm += pcm
        self.fed += len(pcm) // 2

    def forget(self, end: int) -> None:
        """Drop everything before `end`, where the next final starts."""
        del self._pcm[: (end - self.base) * 2]
        self.base = end
        gone = end // FRAME - self._first_frame
        del self.probabilities[:gone]
        self._first_frame += gone

    def samples(self, start: int, stop: int) -> Samples:
        return _floats(bytes(self._pcm[(start - self.base) * 2 : (stop - self.base) * 2]))

    def loudness(self, at: int) -> float:
        around = self.samples(max(self.base, at - FRAME), min(self.fed, at + FRAME))
        return float(np.square(around).mean()) if around.size else math.inf

    def voice(self, start: int, stop: int) -> int:
        """How many samples between two positions hold a voice."""
        first, last = (max(0, at // FRAME - self._first_frame) for at in (start + _REACTION, stop + _REACTION))
        return FRAME * sum(probability >= _SPEECH for probability in self.probabilities[first:last])

    def silences(self, start: int, stop: int) -> list[tuple[float, float]]:
        """The stretches without voice between two positions, in seconds on the audio clock.

        The silence before the first voice counts however short it is, because it says where the first word begins.
        """
        silences: list[tuple[float, float]] = []
        quiet: int | None = start
        for index, probability in enumerate(self.probabilities):
            at = (self._first_frame + index) * FRAME - _REACTION
            if at >= stop:
                break
            if probability >= _SPEECH and quiet is not None:
                if quiet == start or at - quiet >= _samples(_SILENCE_IN_SPEECH):
                    silences.append((quiet / SAMPLE_RATE, max(start, at) / SAMPLE_RATE))
                quiet = None
            elif probability < _QUIET and quiet is None:
                quiet = max(start, at)
        if quiet is not None:
            # No voice follows, so no word is to be moved there.
            silences.append((quiet / SAMPLE_RATE, math.inf))
        return silences


def _settle(words: Sequence[HeardWord], silences: Sequence[tuple[float, float]]) -> tuple[HeardWord, ...]:
    """Move the ends of words out of the silences, and the start of a phrase to where the voice begins.

    A decoder that aligns words to audio counts the pauses to the words around them; the detector knows better. A word
    deep inside a silence was never said.
    """
    moved = list(words)
    for quiet, voice in silences:
        moved = [outside for word in moved if (outside := _outside(word, quiet, voice))]
        first = next((index for index, word in enumerate(moved) if voice <= word.start <= voice + _NEAR), None)
        if first == 0 or (first and moved[first - 1].end <= quiet):
            moved[first] = replace(moved[first], start=voice)
    settled: list[HeardWord] = []
    reached = 0.0
    for word in moved:
        start = max(word.start, reached)
        reached = max(word.end, start + _SHORTEST_WORD)
        settled.append(replace(word, start=start, end=reached))
    return tuple(settled)


def _outside(word: HeardWord, quiet: float, voice: float) -> HeardWord | None:
    """A word moved out of a silence from `quiet` to `voice`; None for one that lies deep inside it."""
    if word.start >= voice or word.end <= quiet:
        return word
    before, after = quiet - word.start, word.end - voice
    if max(before, after) <= -_NEAR:
        return None
    return replace(word, start=voice) if after > before else replace(word, end=quiet)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _floats(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)

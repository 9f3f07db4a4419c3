"""Cutting a stream into utterances: what any engine that decodes stretches of audio needs around its decoder.

Nothing here knows a model. A `Voice` says where somebody speaks, a `Decoder` says which words a stretch holds, and
`UtteranceStream` decides which stretches to decode and when, so that the finals tile the audio clock.

    audio clock  ──────────────┬──────────────────────────────┬────────────>
    voice                      │     ▁▂▇▇▇▆▇▇▁▁▆▇▇▅▂▁         │
    decoded                    │   [─────────────────────]    │
    finals       ──── silence ─┴───── one utterance ──────────┴── silence ──
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dgnb.loopback.engines import SAMPLE_RATE, Event, Heard, HeardWord, SpeechStarted
from dgnb.loopback.engines.voice import FRAME, Samples, Voice

__all__ = ["Decoded", "Decoder", "UtteranceStream"]

_SPEECH = 0.5
"""Probability from which a frame holds a voice; Silero's own threshold."""
_QUIET = 0.35
"""Probability under which a voice has ended; between the two, things stay as they are."""
_FRAMES_OF_SPEECH = 3
"""Frames of voice before an utterance is believed: a click or a cough is shorter."""

_PAUSE_FLOOR = 0.5
"""Shortest pause, in seconds, that ends an utterance whatever was asked. Stops and hesitations inside a phrase last up
to 0.4 s, and Whisper guesses words wrong that are cut from their context."""
_LONGEST_PAUSE = 10.0
"""A longer pause is not waited for: what was said becomes final after `_SILENCE`, without being an endpoint."""
_SILENCE = 3.0
"""Seconds of silence after which the listener is told so."""
_LONGEST = 15.0
"""Seconds of speech after which an utterance is cut for its length; with lead and tail it fits Whisper's window."""
_LEAD = 0.3
"""Seconds before the detector's onset that are decoded with the utterance: soft beginnings come before it."""
_TAIL = 0.3
"""Seconds after the voice that are decoded with the utterance."""

_REACTION = FRAME
"""Samples by which the detector trails the voice, onsets and ends alike: a frame, the median over read and synthetic
speech."""
_SILENCE_IN_SPEECH = 0.1
"""Shortest silence, in seconds, between words."""
_NEAR = 0.25
"""How far, in seconds, a decoder's word times may be from the truth."""
_SHORTEST_WORD = 0.04

_INTERIM_EVERY = 1.0
"""Seconds of audio between interims."""
_INTERIM_SHARE = 3.0
"""An interim waits that many times what the last one took, so that interims have a third of the time at most."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The words of a stretch, in seconds from its start, and the language if the decoder had to find it out."""

    words: tuple[HeardWord, ...]
    language: str | None = None


class Decoder(Protocol):
    """What turns a stretch of audio into words."""

    def decode(self, samples: Samples, *, final: bool) -> Decoded:
        """Recognise a stretch; `final` asks for care, otherwise for speed."""


class UtteranceStream:
    """An `EngineStream` made of a voice detector and a decoder.

    Args:
        decoder: Recognises a stretch.
        voice: Says where somebody speaks; it must be this stream's own.
        pause: Seconds of silence that end an utterance.
        interims: Whether to decode what is not final yet.
        clock: Seconds that pass on the wall, to measure what decoding takes.
    """

    def __init__(
        self, decoder: Decoder, voice: Voice, *, pause: float, interims: bool, clock: Callable[[], float]
    ) -> None:
        self._decoder = decoder
        self._voice = voice
        self._endpoint = pause <= _LONGEST_PAUSE
        self._pause = _samples(max(pause, _PAUSE_FLOOR) if self._endpoint else _SILENCE)
        self._interims = interims
        self._clock = clock

        # All positions are samples since the stream began.
        self._pcm = bytearray()  # audio from _base to _fed
        self._base = 0  # where the next final starts
        self._fed = 0
        self._unjudged = bytearray()  # less than a frame, waiting for the voice detector
        self._judged = 0  # what the voice detector has seen
        self._probabilities: list[float] = []  # one for each frame from _first_frame on
        self._first_frame = 0

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
        self._pcm += pcm
        self._fed += len(pcm) // 2
        self._debt = max(0.0, self._debt - len(pcm) / 2 / SAMPLE_RATE)
        self._unjudged += pcm
        whole = len(self._unjudged) // (2 * FRAME) * 2 * FRAME
        events: list[Event] = []
        if whole:
            frames = bytes(self._unjudged[:whole])
            del self._unjudged[:whole]
            for probability in self._voice.feed(_floats(frames)):
                self._probabilities.append(probability)
                self._judge(probability, events)
            self._interim(events)
        return events

    def flush(self) -> list[Event]:
        """Finalise everything fed so far; the last final ends at the clock. Feeding may go on afterwards."""
        if self._fed == self._base:
            return []
        return [self._finish(self._fed, pause=False)]

    # -- deciding --

    def _judge(self, probability: float, events: list[Event]) -> None:
        """Take one frame's probability: open, cut or close an utterance, or report silence."""
        at = self._judged
        now = self._judged = at + FRAME
        if probability >= _SPEECH:
            self._talking = True
            self._voiced += 1
            self._rise = at if self._rise is None else self._rise
        elif probability < _QUIET:
            self._talking = False
        if self._talking:
            self._last_voice = now

        if self._onset is None:
            if not self._talking:
                self._rise, self._voiced = None, 0
            elif self._rise is not None and self._voiced >= _FRAMES_OF_SPEECH:
                self._onset = self._interim_at = max(self._rise, self._base)
                events.append(SpeechStarted(self._onset / SAMPLE_RATE))
            if self._rise is None and now - self._base >= _samples(_SILENCE + _LEAD):
                events.append(self._close(now - _samples(_LEAD), (), pause=False))
        elif now - self._last_voice >= self._pause:
            # What follows at once needs its lead, so the silence is shared between the two.
            events.append(self._finish(now - min(_samples(_LEAD), self._pause // 2), pause=self._endpoint))
        elif now - self._onset >= _samples(_LONGEST) and self._talking:
            events.append(self._cut(now))

    def _interim(self, events: list[Event]) -> None:
        if self._onset is None or not self._interims or self._debt > 0 or self._last_voice <= self._interim_at:
            return
        if self._judged - self._interim_at < _samples(max(_INTERIM_EVERY, _INTERIM_SHARE * self._interim_took)):
            return
        before = self._debt
        decoded = self._decode(self._judged, final=False)
        self._interim_took = self._debt - before
        self._interim_at = self._judged
        events.append(self._heard(self._judged, decoded.words, final=False, language=decoded.language))

    def _finish(self, end: int, *, pause: bool) -> Heard:
        """Close the stretch up to `end`, with its words if somebody spoke."""
        decoded = Decoded(())
        if self._onset is not None and self._voiced >= _FRAMES_OF_SPEECH:
            decoded = self._decode(end, final=True)
        if self._onset is not None:
            # A flush in the middle of a word: what is left of it opens the next utterance.
            self._onset = self._rise = end if self._talking else None
            self._voiced = 0
            self._interim_at = end
        return self._close(end, decoded.words, pause=pause, language=decoded.language)

    def _cut(self, now: int) -> Heard:
        """Close an utterance that has become too long, where it harms least, and carry the rest over."""
        assert self._onset is not None
        decoded = self._decode(now, final=True)
        earliest, latest = self._onset + (now - self._onset) // 2, now - _samples(1.0)
        gaps = [
            (_samples((a.end + b.start) / 2), index + 1)
            for index, (a, b) in enumerate(zip(decoded.words, decoded.words[1:], strict=False))
        ]
        # Between two words, at the quietest such place in the later half; failing words, at the quietest place.
        places = [gap for gap in gaps if earliest <= gap[0] <= latest] or [
            (at, sum(_samples(word.end) <= at for word in decoded.words)) for at in range(earliest, latest, FRAME)
        ]
        end, count = min(places, key=lambda place: self._loudness(place[0]))
        words = tuple(replace(w, end=min(w.end, end / SAMPLE_RATE)) for w in decoded.words[:count])
        heard = self._close(end, words, pause=False, language=decoded.language)
        self._onset = self._rise = self._interim_at = end
        self._voiced = sum(p >= _SPEECH for p in self._probabilities)
        return heard

    def _close(self, end: int, words: tuple[HeardWord, ...], *, pause: bool, language: str | None = None) -> Heard:
        heard = self._heard(end, words, final=True, pause=pause and bool(words), language=language)
        del self._pcm[: (end - self._base) * 2]
        self._base = end
        gone = end // FRAME - self._first_frame
        del self._probabilities[:gone]
        self._first_frame += gone
        return heard

    def _heard(
        self, end: int, words: tuple[HeardWord, ...], *, final: bool, pause: bool = False, language: str | None = None
    ) -> Heard:
        first, last = self._base / SAMPLE_RATE, end / SAMPLE_RATE
        inside = tuple(
            replace(w, start=min(max(first, w.start), last), end=min(max(first, w.end), last)) for w in words
        )
        return Heard(first, last, inside, final, pause, language)

    # -- decoding --

    def _decode(self, end: int, *, final: bool) -> Decoded:
        """Decode the open utterance up to `end`; the words come back on the audio clock."""
        assert self._onset is not None
        start = max(self._base, self._onset - _samples(_LEAD))
        stop = min(end, self._last_voice + _samples(_TAIL))
        began = self._clock()
        decoded = self._decoder.decode(self._samples(start, stop), final=final)
        self._debt += max(0.0, self._clock() - began)
        shift = start / SAMPLE_RATE
        words = [replace(word, start=word.start + shift, end=word.end + shift) for word in decoded.words]
        return replace(decoded, words=_settle(words, self._silences(start, stop)))

    def _silences(self, start: int, stop: int) -> list[tuple[float, float]]:
        """List the stretches without voice between two positions, in seconds on the audio clock.

        However short it is, the one before the first voice counts: it says where the first word begins.
        """
        silences: list[tuple[float, float]] = []
        quiet: int | None = start
        for index, probability in enumerate(self._probabilities):
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

    def _samples(self, start: int, stop: int) -> Samples:
        return _floats(bytes(self._pcm[(start - self._base) * 2 : (stop - self._base) * 2]))

    def _loudness(self, at: int) -> float:
        around = self._samples(max(self._base, at - FRAME), min(self._fed, at + FRAME))
        return float(np.square(around).mean()) if around.size else math.inf


def _settle(words: Sequence[HeardWord], silences: Sequence[tuple[float, float]]) -> tuple[HeardWord, ...]:
    """Move the ends of words out of the silences, and words that begin a phrase to where the voice does.

    A decoder that aligns words to audio gives the pauses to the words around them; the detector knows better. A word
    deep inside a silence was never said.
    """
    starts = [word.start for word in words]
    ends = [word.end for word in words]
    kept = [True] * len(words)
    for quiet, voice in silences:
        for i in range(len(words)):
            before, after = quiet - starts[i], ends[i] - voice
            if starts[i] >= voice or ends[i] <= quiet:
                continue
            if before <= 0 and after <= 0:
                kept[i] = before > -_NEAR or after > -_NEAR
                after = starts[i] + ends[i] - quiet - voice
                before = -after
            if after > before:
                starts[i] = voice
            else:
                ends[i] = quiet
        if following := [i for i, start in enumerate(starts) if voice <= start <= voice + _NEAR]:
            first = following[0]
            if not first or ends[first - 1] <= quiet:
                starts[first] = voice
    settled: list[HeardWord] = []
    reached = 0.0
    for word, start, end, keep in zip(words, starts, ends, kept, strict=True):
        if keep:
            start = max(start, reached)
            reached = max(end, start + _SHORTEST_WORD)
            settled.append(replace(word, start=start, end=reached))
    return tuple(settled)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _floats(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)

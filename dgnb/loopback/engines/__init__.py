"""Speech engines: they turn samples into words, behind one small interface.

An `Engine` is a loaded model, one for a process. It opens an `EngineStream` for each channel of each connection. A
stream takes 16 kHz mono linear16 in pieces of any size, and returns events: `SpeechStarted`, and `Heard` for a stretch
of audio with its words. All times are seconds on the stream's audio clock: samples fed, divided by the sample rate.

Every engine obeys one law: its final `Heard` tile the clock. The first starts at 0, each starts where the one before
ended, silence included (without words), and `flush()` brings them up to the clock. A final never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

DEFAULT_MODEL = "tiny.en"
"""The Whisper model that is used when none is named."""

SAMPLE_RATE = 16_000
"""Samples a second that an engine takes: 16 bit signed little-endian, one channel."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine really is, for `metadata.model_info`."""

    name: str
    version: str
    arch: str
    uuid: str


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word: `text` as displayed (case and punctuation kept), seconds on the audio clock, confidence 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said from `start` to `end`; unless it is `final`, the next one replaces it.

    `pause` says that the speaker paused at `end` (an endpoint). It is false if the stretch was cut for its length or by
    `flush()`, and true only for a final with words.
    """

    start: float
    end: float
    words: tuple[HeardWord, ...]
    final: bool
    pause: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A voice began at `at`."""

    at: float


Event = Heard | SpeechStarted


class EngineStream(Protocol):
    """The recognition of one channel. Call it from one thread at a time, never from an event loop's."""

    def feed(self, pcm: bytes) -> list[Event]:
        """Take samples (a whole number of them; may be empty) and return what became known, in order."""

    def flush(self) -> list[Event]:
        """Finalise everything fed so far; the last final ends at the clock. Feeding may go on afterwards."""


class Engine(Protocol):
    """A loaded model. Safe to use from several threads."""

    @property
    def info(self) -> EngineInfo:
        """The model that really runs."""

    @property
    def languages(self) -> tuple[str, ...] | None:
        """The languages it knows, as the first part of BCP-47, such as `("en",)`; None for any."""

    def open(self, *, language: str = "en", pause: float = 0.7, interims: bool = True) -> EngineStream:
        """Begin a stream at 0 s. `language` is BCP-47; an engine for a single language may ignore it.

        `pause` are the seconds of silence that end an utterance (an engine may need more), and `interims` says whether
        to compute hypotheses that are not final yet.
        """

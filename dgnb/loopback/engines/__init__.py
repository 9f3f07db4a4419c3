"""Speech engines: what turns samples into words, behind one small interface.

An `Engine` is a loaded model, one for a process. It opens an `EngineStream` for each channel of each
connection. A stream is fed 16 kHz mono linear16 in pieces of any size and answers with what it has
come to know: `SpeechStarted`, and `Heard` for a stretch of audio with its words. All times are seconds
on the stream's own audio clock: samples fed so far, divided by the sample rate.

The one law an engine keeps: its final `Heard` tile the clock. The first starts at 0, each starts where the one
before it ended, silence included (with no words), and `flush()` brings them up to the clock. A final is never taken
back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "DEFAULT_MODEL",
    "SAMPLE_RATE",
    "Engine",
    "EngineInfo",
    "EngineStream",
    "Event",
    "Heard",
    "HeardWord",
    "SpeechStarted",
]

DEFAULT_MODEL = "tiny.en"
"""The Whisper model that is used when none is named."""

SAMPLE_RATE = 16_000
"""Samples a second of what an engine is fed: 16 bit signed little-endian, one channel."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine truly is; it goes into `metadata.model_info` as it stands."""

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
    speaker: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said from `start` to `end`; replaced by the next one unless `final`.

    `pause` says that the speaker paused at `end` (an endpoint), rather than that the stretch was cut for its length
    or by `flush()`. It is only ever true of a final with words.
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
    """One channel's recognition. Calls come one at a time, from any thread, never from an event loop's."""

    def feed(self, pcm: bytes) -> list[Event]:
        """Take samples (a whole number of them; may be empty) and return what became known, in order."""

    def flush(self) -> list[Event]:
        """Finalise everything fed so far; the last final ends at the clock. Feeding may go on afterwards."""


class Engine(Protocol):
    """A loaded model. Safe to use from several threads."""

    @property
    def info(self) -> EngineInfo:
        """The true model."""

    @property
    def languages(self) -> tuple[str, ...] | None:
        """The languages it knows, as the first part of BCP-47: `("en",)`; None when any will do."""

    def open(
        self, *, language: str = "en", pause: float = 0.7, interims: bool = True, keyterms: Sequence[str] = ()
    ) -> EngineStream:
        """Begin a stream at 0 s.

        Args:
            language: BCP-47; an engine that knows one language only may ignore it.
            pause: Seconds of silence that end an utterance; an engine may need longer.
            interims: Whether not yet final hypotheses are wanted; without them, none are computed.
            keyterms: Words to listen for, where the engine can.
        """

"""Turns what an engine hears into the messages of `/v2/listen` (Flux): samples in, messages out. No socket, no thread.

The engine says when a voice begins and when it pauses. From the end of the turn's last word on, silence is counted on
the audio clock. The confidence that the turn has ended grows with the silence: it is `1 - 0.3 ** (silence / 0.7)`. So a
threshold stands for a length of silence: 0.5 for 0.40 s, 0.7 for 0.70 s, 0.9 for 1.34 s, and 1.0 is never reached. An
engine may notice a pause later than that; then the turn ends when it does.

`audio_window_end` is how far the text covers the audio: it stands still while a voice is heard and the engine has no
newer hypothesis. `ForceEndTurn` ends the turn with the words that are known; what was said, but is not decoded yet,
belongs to the next turn.

Source: Deepgram's specification of 2026-07 and its pages on the state machine of Flux.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec import structs

from dgnb import messages as wire
from dgnb.exceptions import ConfigurationError, ProtocolError
from dgnb.loopback.engines import SAMPLE_RATE, Engine, EngineStream, Event, Heard, HeardWord, SpeechStarted
from dgnb.options import FluxOptions

UPDATE_EVERY: Final = 0.25
"""Seconds of audio between two messages while nothing changes."""

_ENGINE_PAUSE: Final = 0.3  # Shorter than the silence of most thresholds: what follows it is counted here.
_TICK: Final = 1e-6
_CONFIGURABLE: Final = {"type", "thresholds", "keyterms", "language_hints", "numerals"}


def silence_of(threshold: float) -> float:
    """The seconds of silence after which the confidence that a turn has ended reaches `threshold`."""
    return 0.7 * math.log(1 - threshold) / math.log(0.3) if threshold < 1 else math.inf


def language_of(options: FluxOptions) -> str:
    """The language to open an engine with."""
    if options.model.endswith("-en"):
        return "en"
    hints = {hint.lower().partition("-")[0] for hint in options.language_hint}
    return hints.pop() if len(hints) == 1 else "multi"


def parse_control(text: str) -> wire.ControlMessage:
    """Read one text frame of a client.

    Raises:
        ProtocolError: It is not one of the messages that `/v2/listen` takes; `KeepAlive` is none.
    """
    message = wire.parse_control(text)
    if not isinstance(message, wire.Configure | wire.ForceEndTurn | wire.CloseStream):
        raise ProtocolError(f"{message.type} is not a message of /v2/listen.")
    if isinstance(message, wire.Configure) and (unknown := json.loads(text).keys() - _CONFIGURABLE):
        raise ProtocolError(f"Configure has unknown fields: {', '.join(sorted(unknown))}.")
    return message


class Turns:
    """The turns of one connection. Call it from one thread at a time, and not from an event loop's."""

    def __init__(self, engine: Engine, options: FluxOptions, *, request_id: str = "") -> None:
        self._engine = engine
        self._options = options
        self._request_id = request_id
        self._fed = 0
        self._now = 0.0
        self._covered = 0.0
        self._update_at = UPDATE_EVERY
        self._quiet = True  # No voice is heard.
        self._index = 0
        self._start = 0.0
        self._active = False
        self._eager = False
        self._settled: tuple[HeardWord, ...] = ()
        self._tentative: tuple[HeardWord, ...] = ()
        self._languages: Counter[str] = Counter()
        self._spoken = 0.0  # The end of the last word of earlier turns

    @functools.cached_property
    def _stream(self) -> EngineStream:
        # On first use, in the thread of the connection.
        return self._engine.open(language=language_of(self._options), pause=_ENGINE_PAUSE, interims=True)

    @property
    def clock(self) -> float:
        """Seconds of audio fed so far."""
        return self._fed / SAMPLE_RATE

    def received(self, data: bytes) -> None:
        """Take bytes as they came on the wire; nothing is made of them here."""

    def feed(self, pcm: Sequence[bytes]) -> list[wire.ServerMessage]:
        """Take 16 kHz linear16 of the only channel. Returns what is due."""
        (piece,) = pcm
        self._fed += len(piece) // 2
        return self._take(self._stream.feed(piece)) + self._advance(self.clock)

    def answer(self, message: wire.ControlMessage) -> list[wire.ServerMessage]:
        """The answer to `ForceEndTurn` or `Configure`."""
        if isinstance(message, wire.Configure):
            return [self._configure(message)]
        if not self._active:
            told = "There is no active turn to end."
            return [wire.Warning(told, "FORCE_END_TURN_NO_ACTIVE_TURN", self._request_id)]
        return [self._end("manual")]

    def close(self) -> list[wire.ServerMessage]:
        """Decode everything. The last message is an `Update` with all words of the open turn; nothing ends the turn."""
        messages = self._take(self._stream.flush())
        self._covered = self.clock
        return [*messages, self._info("Update")]

    def _configure(self, message: wire.Configure) -> wire.ServerMessage:
        """Apply all of it or nothing. Only thresholds have an effect; the rest is checked."""
        others = {"keyterm": message.keyterms, "language_hint": message.language_hints, "numerals": message.numerals}
        wanted: dict[str, Any] = structs.asdict(message.thresholds or wire.Thresholds()) | others
        try:
            options = dataclasses.replace(
                self._options, **{n: value for n, value in wanted.items() if value is not None}
            )
        except ConfigurationError as error:
            code = "INVALID_THRESHOLD" if "eot_" in str(error) else "INVALID_PARAMETER"
            return wire.ConfigureFailure(self._request_id, code=code, description=str(error))
        self._options = options
        return wire.ConfigureSuccess(
            self._request_id,
            keyterms=tuple(options.keyterm),
            thresholds=wire.Thresholds(options.eager_eot_threshold, options.eot_threshold, options.eot_timeout_ms),
            language_hints=tuple(options.language_hint),
            numerals=options.numerals,
        )

    # The engine's events

    def _take(self, events: Sequence[Event]) -> list[wire.ServerMessage]:
        messages: list[wire.ServerMessage] = []
        for event in events:
            # A large piece of audio may hold the end of a turn before this event. It takes the place of an `Update`.
            at = event.at if isinstance(event, SpeechStarted) else event.end
            messages += self._advance(min(at, self.clock), -_TICK)
            if isinstance(event, SpeechStarted):
                self._quiet = False
                messages += self._resumed()
            else:
                messages += self._heard(event)
        return messages

    def _resumed(self) -> list[wire.ServerMessage]:
        resumed, self._eager = self._eager, False
        return [self._info("TurnResumed")] if resumed else []

    def _heard(self, heard: Heard) -> list[wire.ServerMessage]:
        said = self._words
        # By the middle: an engine may move the edges of a word of an earlier turn a little.
        words = tuple(word for word in heard.words if word.start + word.end > 2 * self._spoken and word.text.strip())
        if heard.final:
            self._settled, self._tentative = self._settled + words, ()
            self._languages.update([heard.language] * len(words) if heard.language else [])
        else:
            self._tentative = words
        self._quiet = heard.final and (heard.pause or not heard.words)
        self._covered = max(self._covered, heard.end)
        if not self._active and self._words:
            self._active = True
            return [self._info("StartOfTurn")]
        return self._resumed() if [word.text for word in said] != [word.text for word in self._words] else []

    # The audio clock

    def _advance(self, until: float, tolerance: float = _TICK) -> list[wire.ServerMessage]:
        """Let time pass, from one instant to the next, so that the sizes of the pieces make no difference."""
        messages: list[wire.ServerMessage] = []
        while True:
            # Of what is due at the same time, the first counts.
            instant, happen = min(self._agenda(), key=lambda entry: round(max(entry[0], self._now), 6))
            self._now = max(self._now, min(instant, until))
            if self._quiet:
                self._covered = self._now
            if instant > until + tolerance:
                return messages
            messages.append(happen())

    def _agenda(self) -> Iterator[tuple[float, Callable[[], wire.TurnInfo]]]:
        """When what may happen next, if no voice is heard until then."""
        options = self._options
        if self._active and self._quiet:
            yield self._silent_from + silence_of(options.eot_threshold), lambda: self._end("model")
            yield self._silent_from + options.eot_timeout_ms / 1000, lambda: self._end("timeout")
            if options.eager_eot_threshold is not None and not self._eager and self._words:
                yield self._silent_from + silence_of(options.eager_eot_threshold), self._eager_end
        yield self._update_at, lambda: self._info("Update")

    def _eager_end(self) -> wire.TurnInfo:
        self._eager = True
        return self._info("EagerEndOfTurn")

    def _end(self, trigger: str) -> wire.TurnInfo:
        ended = self._info("EndOfTurn", trigger)
        self._spoken = max([self._spoken, *(word.end for word in self._words)])
        self._settled = self._tentative = ()
        self._languages.clear()
        self._active = self._eager = False
        self._index += 1
        self._start = self._covered
        return ended

    @property
    def _words(self) -> tuple[HeardWord, ...]:
        return self._settled + self._tentative

    @property
    def _silent_from(self) -> float:
        return self._words[-1].end if self._words else self._start

    def _info(self, event: str, trigger: str | None = None) -> wire.TurnInfo:
        """The turn as it is now. It takes the place of the next `Update`."""
        self._update_at = self._now + UPDATE_EVERY
        multilingual = not self._options.model.endswith("-en")
        words = self._words
        silence = max(0.0, self._now - self._silent_from) if self._active and self._quiet else 0.0
        return wire.TurnInfo(
            event=event,
            turn_index=self._index,
            audio_window_start=_ms(min([self._start, *(word.start for word in words)])),
            audio_window_end=_ms(self._covered),
            transcript=" ".join(word.text.strip() for word in words),
            words=tuple(
                wire.TurnWord(
                    word.text.strip(), round(min(max(word.confidence, 0.0), 1.0), 4), _ms(word.start), _ms(word.end)
                )
                for word in words
            ),
            end_of_turn_confidence=min(round(1 - 0.3 ** (silence / 0.7), 4), 0.9999),
            trigger=trigger,
            languages=tuple(language for language, _ in self._languages.most_common()) if multilingual else None,
            languages_hinted=tuple(self._options.language_hint) or None,
            request_id=self._request_id,
        )


def _ms(seconds: float) -> float:
    return round(seconds, 3)

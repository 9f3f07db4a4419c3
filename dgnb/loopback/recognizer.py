"""Turns what an engine hears into the messages of a Deepgram-compatible service: samples in, messages out.

There is no socket, no thread and no clock but the audio's. The rules, from the service's documentation:

- Finals tile each channel's timeline, silence included, and never change.
- Interim results are replaced, and are sent only if the client asks for them.
- `speech_final` marks an endpoint: the engine heard a pause, and `endpointing` is on.
- `UtteranceEnd` comes from a separate detector of gaps between words, once for each gap.
- `Finalize` flushes what was fed; `CloseStream` flushes too, and ends with `Metadata`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Final

import msgspec

from dgnb import messages as wire
from dgnb.loopback.engines import SAMPLE_RATE, Engine, Event, Heard, HeardWord, SpeechStarted
from dgnb.options import LiveOptions, StreamOptions

DEFAULT_PAUSE: Final = 0.7
"""Seconds of silence that end an utterance when `endpointing` is off."""

_NOT_HONOURED: Final = (
    *("version", "keywords", "search", "replace", "redact", "detect_entities", "language_hint", "numerals"),
    *("profanity_filter", "dictation", "callback", "callback_method", "keyterm", "diarize", "diarize_model"),
)
_KEPT: Final = re.compile(r"[%&@#]|(?<=[^\W_])['-](?=[^\W_])|(?<=\d)[.,:](?=\d)")
"""Punctuation that belongs to a word: spoken symbols; apostrophes and hyphens inside it; `.`, `,`, `:` in numbers."""


class Recognizer:
    """The recognition of one connection: all its channels, from the first sample to `Metadata`.

    Call it from one thread at a time, and not from an event loop's: the engine works inside the calls.
    """

    def __init__(self, engine: Engine, options: LiveOptions, *, request_id: str = "") -> None:
        self._engine = engine
        self._options = options
        self._created = datetime.now(UTC)
        self._received = hashlib.sha256()
        info = engine.info
        self._model = wire.ModelInfo(name=info.name, version=info.version, arch=info.arch)
        self._metadata = wire.ResultsMetadata(request_id, info.uuid, self._model)
        self._channels: list[_Channel] = []

    @property
    def clock(self) -> float:
        """Seconds of audio fed so far."""
        return self._channels[0].clock if self._channels else 0.0

    def received(self, data: bytes) -> None:
        """Take bytes as they came on the wire, for the digest in `Metadata`."""
        self._received.update(data)

    def feed(self, pcm: Sequence[bytes]) -> list[wire.ServerMessage]:
        """Take 16 kHz linear16, a piece for each channel, in each call the same number. Returns what is due."""
        if not self._channels:
            count = len(pcm)
            self._channels = [_Channel(self._engine, self._options, n, count, self._metadata) for n in range(count)]
        fed = zip(self._channels, pcm, strict=True)
        return [message for channel, piece in fed for message in channel.feed(piece)]

    def finalize(self, channel: int | None = None) -> list[wire.ServerMessage]:
        """Finalise what was fed to all channels, or to one. The last final of each has `from_finalize`.

        If nothing is left to finalise, there is no message, as at Deepgram.
        """
        flushed = [one for one in self._channels if channel is None or channel == one.index]
        return [message for one in flushed for message in one.flush(from_finalize=True)]

    def answer(self, message: wire.ControlMessage) -> list[wire.ServerMessage]:
        """The answer to `Finalize`."""
        return self.finalize(message.channel) if isinstance(message, wire.Finalize) else []

    def close(self) -> list[wire.ServerMessage]:
        """Finalise everything and end with `Metadata`."""
        messages = [message for channel in self._channels for message in channel.flush()]
        uuid = self._engine.info.uuid
        metadata = wire.Metadata(
            request_id=self._metadata.request_id,
            duration=_ms(self.clock),
            channels=len(self._channels) or (self._options.channels if self._options.multichannel else 1),
            created=self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            sha256=self._received.hexdigest(),
            transaction_key="deprecated",
            models=(uuid,),
            model_info={uuid: self._model},
        )
        return [*messages, metadata]


class _Channel:
    """One channel: the engine's stream, the end of the last final, and the gap since the last word."""

    def __init__(
        self, engine: Engine, options: LiveOptions, index: int, channels: int, metadata: wire.ResultsMetadata
    ) -> None:
        self.index = index
        self._options = options
        self._metadata = metadata
        self._channel_index = (index, channels)
        self._punctuated = options.punctuate or options.smart_format or options.detect_entities
        self._speakers = options.diarize or options.diarize_model is not None
        self._fed = 0
        self._edge = 0.0
        self._gap = _Gap(None if options.utterance_end_ms is None else options.utterance_end_ms / 1000)
        self._stream = engine.open(
            language=options.language,
            pause=DEFAULT_PAUSE if options.endpointing is False else options.endpointing / 1000,
            interims=options.interim_results,
        )

    @property
    def clock(self) -> float:
        return self._fed / SAMPLE_RATE

    def feed(self, pcm: bytes) -> list[wire.ServerMessage]:
        self._fed += len(pcm) // 2
        return self._messages(self._stream.feed(pcm))

    def flush(self, *, from_finalize: bool = False) -> list[wire.ServerMessage]:
        messages = self._messages(self._stream.flush())
        finals = [n for n, message in enumerate(messages) if isinstance(message, wire.Results) and message.is_final]
        if from_finalize and finals:
            messages[finals[-1]] = msgspec.structs.replace(messages[finals[-1]], from_finalize=True)
        return messages

    def _messages(self, events: Sequence[Event]) -> list[wire.ServerMessage]:
        messages: list[wire.ServerMessage] = []
        for event in events:
            # A large piece of audio may hold a whole gap before this event.
            messages += self._utterance_end(
                event.at if isinstance(event, SpeechStarted) else self._gap.silence_until(event)
            )
            if isinstance(event, SpeechStarted):
                self._gap.paused = False
                if self._options.vad_events:
                    messages.append(wire.SpeechStarted(channel=self._channel_index, timestamp=_ms(event.at)))
            elif event.final or self._options.interim_results:
                messages += self._results(event)
                self._gap.heard(event)
        return messages + self._utterance_end(self.clock if self._gap.paused else self._gap.reported_to)

    def _results(self, heard: Heard) -> list[wire.ServerMessage]:
        # From the end of the last final, not from the engine's figure, so that finals tile to the millisecond.
        end = max(self._edge, _ms(heard.end))
        if heard.final and end == self._edge and not heard.words:
            return []
        start = self._edge
        if heard.final:
            self._edge = end
        return [
            wire.Results(
                channel_index=self._channel_index,
                start=start,
                duration=_ms(end - start),
                is_final=heard.final,
                speech_final=heard.final and heard.pause and self._options.endpointing is not False,
                from_finalize=False,
                channel=wire.Channel(alternatives=(self._alternative(heard),)),
                metadata=self._metadata,
            )
        ]

    def _alternative(self, heard: Heard) -> wire.Alternative:
        language = heard.language if self._options.language == "multi" else None
        words = [word for word in (self._word(word, language) for word in heard.words) if word.word]
        return wire.Alternative(
            transcript=" ".join((word.punctuated_word or word.word) for word in words),
            confidence=round(fmean(word.confidence or 0.0 for word in words), 4) if words else 0.0,
            words=tuple(words),
            languages=(language,) if language and words else None,
        )

    def _word(self, heard: HeardWord, language: str | None) -> wire.Word:
        return wire.Word(
            word=plain(heard.text),
            start=_ms(heard.start),
            end=_ms(heard.end),
            confidence=round(min(max(heard.confidence, 0.0), 1.0), 4),
            punctuated_word=heard.text.strip() if self._punctuated else None,
            # Clients that ask for speakers rely on the number, though no engine tells speakers apart.
            speaker=0 if self._speakers else None,
            language=language,
        )

    def _utterance_end(self, until: float) -> list[wire.ServerMessage]:
        last = self._gap.due(until)
        return [] if last is None else [wire.UtteranceEnd(channel=self._channel_index, last_word_end=last)]


class _Gap:
    """The time since the last word, which ends an utterance when it is long enough.

    An engine reports words some time after they were said. So the gap grows with the audio clock only after the engine
    has heard a pause; before that, it grows with what the engine has reported.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._final_word_end: float | None = None
        self._last_word_end: float | None = None
        self.paused = False
        self.reported_to = 0.0
        self._fired_at: float | None = None

    def silence_until(self, heard: Heard) -> float:
        """The end of the silence after the last word, as far as the engine has reported: the start of the next word."""
        last = self._last_word_end
        if last is None:
            return 0.0
        return next((_ms(w.start) for w in heard.words if _ms(w.start) >= last), heard.end if self.paused else last)

    def heard(self, heard: Heard) -> None:
        self.reported_to = heard.end
        if heard.words:
            self._last_word_end = _ms(heard.words[-1].end)
            self.paused = heard.pause
        else:
            self._last_word_end = self._final_word_end
        if heard.final:
            self._final_word_end = self._last_word_end

    def due(self, until: float) -> float | None:
        """The end of the last word, if the gap from there to `until` is new and long enough."""
        last = self._last_word_end
        if self._limit is None or last is None or until - last < self._limit - 1e-9:
            return None
        # A later hypothesis may move the edge of the same gap a little.
        if self._fired_at is not None and last < self._fired_at:
            return None
        self._fired_at = last + self._limit
        return last


def plain(text: str) -> str:
    """A word in the form of `word` on the wire: “Don’t!” becomes "don't".

    It is in lower case and has no punctuation but apostrophes and hyphens inside it.
    """
    text = unicodedata.normalize("NFC", text.strip().lower()).replace("’", "'")
    return "".join(
        character
        for position, character in enumerate(text)
        if unicodedata.category(character)[0] not in "PZC" or _KEPT.match(text, position)
    )


def ignored_options(options: StreamOptions) -> list[str]:
    """The valid parameters of a query that have no effect here, such as `numerals`."""
    return sorted([*(name for name in options.changed() if name in _NOT_HONOURED), *options.extra])


def _ms(seconds: float) -> float:
    return round(seconds, 3)

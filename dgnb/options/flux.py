"""`FluxOptions`: the query of a live stream to `/v2/listen`, where the model itself says when a turn ends.

Source: Deepgram's specification (asyncapi) of 2026-07, its SDK 7.17 and its documentation of 2026-09.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.options.base import Options, check_language, option, refuse, signed

__all__ = ["FluxOptions"]

FLUX_MODELS: Final = ("flux-general-en", "flux-general-multi")
FLUX_ENCODINGS: Final = ("linear16", "linear32", "mulaw", "alaw", "opus", "ogg-opus")
FLUX_RATES: Final = (8000, 16_000, 24_000, 44_100, 48_000)
FLUX_LANGUAGES: Final = ("en", "es", "fr", "de", "hi", "ru", "pt", "ja", "it", "nl")

_MOST_TERM: Final = 100  # characters of a key term
_MOST_TAG: Final = 128


@signed
@dataclass(frozen=True, kw_only=True, repr=False)
class FluxOptions(Options):
    """What to ask of Flux, Deepgram's model for conversations: one frozen object with the wire's names.

    Thresholds are confidences that a turn has ended, 0 to 1. The text is always punctuated, interim results always
    come, and audio has one channel. There is no diarization.

    Example:
        ```python
        options = dgnb.FluxOptions(eot_threshold=0.8, eager_eot_threshold=0.5)
        session = dgnb.LiveSession("speech.wav", options)
        ```

    Raises:
        ConfigurationError: A name, a type, a value or a combination is wrong. Nothing was sent.
    """

    path: ClassVar[str] = "/v2/listen"
    channels: ClassVar[int] = 1
    multichannel: ClassVar[bool] = False
    callback: ClassVar[None] = None

    model: str = option("flux-general-en", "common", "Model: English, or several languages.", suggestions=FLUX_MODELS)
    eot_threshold: float = option(
        0.7,
        "common",
        "Confidence that ends a turn; at 1.0 a time-out or finalize() does.",
        minimum=0.5,
        maximum=1.0,
    )
    eager_eot_threshold: float | None = option(
        None, "common", "Confidence for an EagerEndOfTurn; at most eot_threshold.", minimum=0.3, maximum=0.9
    )
    eot_timeout_ms: int = option(
        5000, "common", "Milliseconds of silence that end a turn anyway.", minimum=500, maximum=60_000
    )
    keyterm: Sequence[str] = option((), "common", "Terms to listen for; case is kept.", maximum=100)
    language_hint: Sequence[str] = option((), "common", "Languages to expect (flux-general-multi).")
    numerals: bool = option(False, "formatting", "Write numbers as digits.")
    profanity_filter: bool = option(False, "formatting", "Remove profanity.")
    redact: Sequence[str] = option(
        (), "words", "Kinds of content to redact.", choices=("numbers", "aggressive_numbers")
    )
    encoding: str | None = option(
        None, "audio", "Encoding of raw audio; unset for files with a header.", choices=FLUX_ENCODINGS
    )
    sample_rate: int | None = option(None, "audio", "Samples a second of raw audio.", choices=FLUX_RATES)
    tag: Sequence[str] = option((), "account", "Labels for usage reports, at most 128 characters each.")
    mip_opt_out: bool = option(False, "account", "Keep the audio out of Deepgram's model improvement programme.")
    extra: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"group": "account", "help": "Further wire parameters, sent untouched."},
    )

    def for_audio(self, encoding: str | None, sample_rate: int | None, channels: int) -> FluxOptions:
        """See `Options`. Raw audio in a form that Flux does not take is a `ConfigurationError`."""
        if encoding is not None:
            FluxOptions(encoding=encoding, sample_rate=sample_rate)
            refuse([(channels != 1, f"Flux hears one channel, not {channels}: leave out decode=False.")])
        return super().for_audio(encoding, sample_rate, channels)

    def _check(self) -> None:
        if self.model not in FLUX_MODELS and not self.model.startswith("flux-"):
            raise ConfigurationError(
                f"model={self.model!r} is not served on /v2/listen.{nearest(self.model, FLUX_MODELS)} "
                f"Flux has {' and '.join(FLUX_MODELS)}; other models take LiveOptions."
            )
        for hint in self.language_hint:
            check_language("language_hint", hint)
        long = next((term for term in self.keyterm if len(term) > _MOST_TERM), "")
        eager, raw = self.eager_eot_threshold, self.encoding is not None
        unknown = [hint for hint in self.language_hint if hint.lower().partition("-")[0] not in FLUX_LANGUAGES]
        refuse(
            (
                (
                    eager is not None and eager > self.eot_threshold,
                    f"eager_eot_threshold is at most eot_threshold ({self.eot_threshold}), not {eager}.",
                ),
                (
                    self.language_hint and self.model == FLUX_MODELS[0],
                    "language_hint needs model='flux-general-multi'.",
                ),
                (unknown, f"language_hint is one of {', '.join(FLUX_LANGUAGES)}, not {unknown[:1]}."),
                (long, f"keyterm takes terms of up to {_MOST_TERM} characters: {long[:20]!r}… has {len(long)}."),
                (not all(map(str.strip, self.keyterm)), "keyterm has a blank term. Leave it out."),
                (any(len(tag) > _MOST_TAG for tag in self.tag), f"tag takes labels of up to {_MOST_TAG} characters."),
                (self.sample_rate is not None and not raw, "sample_rate needs encoding, such as 'linear16'."),
                (raw and self.sample_rate is None, "encoding needs sample_rate, such as 16000."),
            )
        )

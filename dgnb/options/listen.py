"""`ListenOptions`: what live streams and recordings of `/v1/listen` have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.options.base import ENCODINGS, Options, check_encoding, check_language, option, refuse

_NOVA_2 = ("meeting", "finance", "conversationalai", "voicemail", "video", "medical", "drivethru", "automotive")
MODELS: Final[tuple[str, ...]] = (
    *("nova-3", "nova-3-general", "nova-3-medical"),
    *("nova-2", "nova-2-general", *(f"nova-2-{kind}" for kind in (*_NOVA_2, "phonecall", "atc"))),
    *("nova", "nova-general", "nova-phonecall", "nova-medical"),
    *("enhanced", "enhanced-general", "enhanced-meeting", "enhanced-phonecall", "enhanced-finance"),
    *("base", "base-general", "meeting", "phonecall", "finance", "conversationalai", "voicemail", "video"),
)
"""The models that the documentation names. Other names, such as UUIDs of custom models, are taken too."""

MOST_CHANNELS: Final = 20
"""Channels that `/v1/listen` takes."""

LANGUAGES: Final = ("en", "en-US", "en-GB", "multi", "de", "es", "fr", "hi", "it", "ja", "nl", "pt", "ru")
"""Languages to suggest; which ones a model knows is the service's to say."""

_NEWER_NOVA = re.compile(r"nova-([4-9]|\d\d+)(-.*)?")


@dataclass(frozen=True, kw_only=True, repr=False)
class ListenOptions(Options):
    """The options that `LiveOptions` and `PrerecordedOptions` share."""

    path: ClassVar[str] = "/v1/listen"
    unnamed: ClassVar[str | None] = "base-general"
    not_served: ClassVar[tuple[tuple[str, str], ...]] = ()
    """How the names of models begin that are served elsewhere, and what to use instead."""

    model: str = option("nova-3", "common", "Recognition model, or the UUID of one of your own.", suggestions=MODELS)
    language: str = option(
        "en", "common", "BCP-47 tag such as en, en-GB, de; or multi (nova-2 and nova-3).", suggestions=LANGUAGES
    )
    smart_format: bool = option(False, "common", "Dates, numbers, currencies and paragraphs; implies punctuate.")
    punctuate: bool = option(False, "common", "Punctuation and capitals.")
    diarize: bool = option(False, "common", "Tell speakers apart. Deprecated by Deepgram in favour of diarize_model.")
    keyterm: Sequence[str] = option((), "common", "Terms to listen for (nova-3); case is kept.", maximum=100)
    diarize_model: str | None = option(
        None, "words", "Tell speakers apart, with this version of the diarizer.", choices=("latest", "v1")
    )
    keywords: Sequence[str] = option((), "words", "word:intensifier (before nova-3).", maximum=100)
    search: Sequence[str] = option((), "words", "Terms to search for in the audio.", maximum=50)
    replace: Sequence[str] = option((), "words", "find:replacement; write find in lower case.", maximum=200)
    redact: Sequence[str] = option(
        (),
        "words",
        "Kinds of content to redact.",
        choices=("true", "false", "pci", "numbers", "aggressive_numbers", "ssn"),
    )
    detect_entities: bool = option(False, "words", "List entities in each final; turns punctuate on.")
    numerals: bool = option(False, "formatting", "Write numbers as digits.")
    profanity_filter: bool = option(False, "formatting", "Remove profanity.")
    dictation: bool = option(False, "formatting", "Spoken punctuation commands; needs punctuate.")
    multichannel: bool = option(False, "audio", "Transcribe each channel separately.")
    encoding: str | None = option(
        None, "audio", "Encoding of raw audio; unset for files with a header.", suggestions=ENCODINGS
    )
    sample_rate: int | None = option(None, "audio", "Samples a second of raw audio.", minimum=1)
    channels: int = option(1, "audio", "Channels of raw audio; needs encoding.", minimum=1, maximum=MOST_CHANNELS)
    version: str = option("latest", "account", "Version of the model.")
    tag: Sequence[str] = option((), "account", "Labels for usage reports, at most 128 characters each.")
    mip_opt_out: bool = option(False, "account", "Keep the audio out of Deepgram's model improvement programme.")
    callback: str | None = option(None, "account", "URL that the results are sent to, on port 80, 443, 8080 or 8443.")

    def _check(self) -> None:
        """Refuse what does not go together, and say what to do instead."""
        _check_model(self.model, self.not_served)
        check_language("language", self.language)
        if self.encoding is not None:
            check_encoding(self.encoding)
        if self.callback is not None and not re.match("(https?|wss?)://[^/]", self.callback):
            raise ConfigurationError("callback is an http, https, ws or wss URL.")
        nova_3, raw = self.model.startswith("nova-3"), self.encoding is not None
        # A documented model before nova-3; others may know anything.
        older = self.model in MODELS and not nova_3
        older_than_nova_2 = older and not self.model.startswith("nova-2")
        multi = self.language == "multi"
        refuse(
            (
                (
                    nova_3 and self.keywords,
                    "keywords does not work with nova-3. Use keyterm (plain terms, no weights).",
                ),
                (older and self.keyterm, f"keyterm needs nova-3, not {self.model}. Use keywords, or nova-3."),
                (older_than_nova_2 and multi, f"language='multi' needs nova-2 or nova-3, not {self.model}."),
                (
                    self.sample_rate is not None and not raw,
                    "sample_rate needs encoding, such as 'linear16'; for an array, pass it beside the options.",
                ),
                (raw and self.sample_rate is None, "encoding needs sample_rate, such as 16000."),
                (self.channels != 1 and not raw, "channels needs encoding and sample_rate: it is for raw audio."),
                (self.dictation and not self.punctuated, "dictation needs punctuate=True."),
            )
        )

    @property
    def punctuated(self) -> bool:
        """Whether the words come with punctuation."""
        return self.punctuate or self.smart_format or self.detect_entities


def _check_model(model: str, not_served: tuple[tuple[str, str], ...]) -> None:
    """Refuse what is surely a slip. Custom models, UUIDs and newer generations are taken."""
    if model in MODELS or _NEWER_NOVA.fullmatch(model):
        return
    for beginning, remedy in not_served:
        if model.startswith(beginning):
            raise ConfigurationError(f"model={model!r} {remedy}")
    if close := nearest(model.lower().replace("_", "-").replace(" ", "-"), MODELS, cutoff=0.85):
        raise ConfigurationError(f"There is no model {model!r}.{close}")

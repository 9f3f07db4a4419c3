"""`PrerecordedOptions`: the query of a recording to `POST /v1/listen`.

Source: Deepgram's specification (openapi) of 2026-07 and its documentation of 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dgnb.options.base import check_language, option, refuse, signed
from dgnb.options.listen import ListenOptions

__all__ = ["PrerecordedOptions"]


@signed
@dataclass(frozen=True, kw_only=True, repr=False)
class PrerecordedOptions(ListenOptions):
    """What to ask for a recording: one frozen object with the wire's names, as `LiveOptions`.

    `utt_split` is in seconds. `summarize=True` is `"v2"`. Topics, intents, sentiment and summaries are in English only.

    Example:
        ```python
        options = dgnb.PrerecordedOptions(smart_format=True, paragraphs=True, topics=True)
        ```

    Raises:
        ConfigurationError: A name, a type, a value or a combination is wrong. Nothing was sent.
    """

    not_served: ClassVar = (("flux", "takes live streams only: use 'nova-3', or dgnb.transcribe() with FluxOptions."),)

    utterances: bool = option(False, "common", "Utterances; dgnb asks for them anyway.")
    paragraphs: bool = option(False, "common", "Paragraphs and sentences; turns punctuate on.")
    detect_language: Sequence[str] = option(
        (), "common", "True to detect the language of each channel, or the languages to choose from."
    )
    utt_split: float = option(0.8, "timing", "Seconds of silence that split utterances.", minimum=0)
    filler_words: bool = option(False, "words", "Keep uh and um.")
    measurements: bool = option(False, "formatting", "Write measurements as abbreviations.")
    summarize: str | bool | None = option(
        None, "understanding", "A summary; of 50 words or fewer the text itself.", choices=("v2", "true")
    )
    topics: bool = option(False, "understanding", "Topics of stretches of the text.")
    intents: bool = option(False, "understanding", "Intents of stretches of the text.")
    sentiment: bool = option(False, "understanding", "Sentiment of stretches of the text.")
    custom_topic: Sequence[str] = option((), "understanding", "Topics to look for.", maximum=100)
    custom_topic_mode: Literal["extended", "strict"] = option(
        "extended", "understanding", "strict finds custom_topic alone.", choices=("extended", "strict")
    )
    custom_intent: Sequence[str] = option((), "understanding", "Intents to look for.", maximum=100)
    custom_intent_mode: Literal["extended", "strict"] = option(
        "extended", "understanding", "strict finds custom_intent alone.", choices=("extended", "strict")
    )
    redact: Sequence[str] = option((), "words", "Kinds of content, or of entities, to redact.")
    diarize_model: str | None = option(
        None, "words", "Tell speakers apart, with this version of the diarizer.", choices=("latest", "v1", "v2")
    )
    callback_method: Literal["POST", "PUT"] = option(
        "POST", "account", "HTTP method of the callback.", choices=("POST", "PUT")
    )
    extra: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"group": "account", "help": "Further wire parameters, sent untouched."},
    )

    def __post_init__(self) -> None:
        if self.summarize is True:
            object.__setattr__(self, "summarize", "v2")
        super().__post_init__()

    def _check(self) -> None:
        super()._check()
        for tag in self.detect_language:
            if tag != "true":
                check_language("detect_language", tag)
        english = self.detect_language or self.language.lower().startswith("en")
        asked = [name for name in ("summarize", "topics", "intents", "sentiment") if getattr(self, name)]
        refuse(
            (
                (
                    self.diarize and self.diarize_model,
                    "diarize and diarize_model are both given: use diarize_model.",
                ),
                (asked and not english, f"{', '.join(asked)} is for English alone, not {self.language!r}."),
                (self.custom_topic and not self.topics, "custom_topic needs topics=True."),
                (self.custom_intent and not self.intents, "custom_intent needs intents=True."),
                (self.callback is None and self.callback_method != "POST", "callback_method needs callback."),
            )
        )

"""`LiveOptions`: the query of a live stream to `/v1/listen`.

The names, types and defaults are those of Deepgram's streaming specification of 2026-07, except that `model` is
`nova-3` here, where the specification asks for a choice. Only what differs from the wire's own default is sent.
`loopback.recognizer` says what the local server does with an option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dgnb.options.base import check_language, option, refuse, signed
from dgnb.options.listen import MODELS, ListenOptions

__all__ = ["LiveOptions"]


@signed
@dataclass(frozen=True, kw_only=True, repr=False)
class LiveOptions(ListenOptions):
    """What to ask of the recogniser: one frozen object with the wire's names.

    A wrong name, type, value or combination raises `ConfigurationError` at once, with the nearest valid one. A value in
    the wire's form, such as `"true"` or `"300"`, is understood.
    Durations are in milliseconds, as on the wire. Options that take several values take a string or any iterable of
    strings. `dataclasses.replace(options, language="de")` gives a changed copy.

    `extra` holds any further wire parameter, sent untouched: `extra={"filler_words": True}`. A list is repeated.

    Example:
        ```python
        options = dgnb.LiveOptions(smart_format=True, interim_results=True, keyterm=["dgnb", "Praat"])
        ```

    Raises:
        ConfigurationError: See above. Nothing was sent.
    """

    not_served: ClassVar = (
        ("flux", "is served on /v2/listen: pass dgnb.FluxOptions(model=…), or use 'nova-3'."),
        ("whisper", "cannot be streamed at Deepgram: use 'nova-3', or dgnb.transcribe_file() for a recording."),
    )

    interim_results: bool = option(False, "common", "Preliminary results about every second.")
    endpointing: int | Literal[False] = option(
        10, "common", "Milliseconds of silence after which a result is speech_final; False turns it off.", minimum=0
    )
    utterance_end_ms: int | None = option(
        None, "common", "Milliseconds without words until UtteranceEnd; needs interim_results.", minimum=1000
    )
    language_hint: Sequence[str] = option((), "words", "Languages to expect (nova-3, language=multi).")
    no_delay: bool = option(False, "timing", "Do not delay results for smart_format.")
    vad_events: bool = option(False, "timing", "Send SpeechStarted when speech begins.")
    callback_method: Literal["POST", "GET", "PUT", "DELETE"] = option(
        "POST", "account", "HTTP method of the callback.", choices=("POST", "GET", "PUT", "DELETE")
    )
    extra: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"group": "account", "help": "Further wire parameters, sent untouched."},
    )

    def _check(self) -> None:
        super()._check()
        for hint in self.language_hint:
            check_language("language_hint", hint)
        multi = self.language == "multi" and (self.model.startswith("nova-3") or self.model not in MODELS)
        needs = "utterance_end_ms needs interim_results=True."
        refuse(
            (
                (self.language_hint and not multi, "language_hint needs model='nova-3' and language='multi'."),
                (self.utterance_end_ms is not None and not self.interim_results, needs),
                (self.callback is None and self.callback_method != "POST", "callback_method needs callback."),
            )
        )

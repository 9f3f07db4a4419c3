"""`LiveOptions`: the query of `/v1/listen`, typed and validated before any I/O.

The names, types and defaults are those of Deepgram's streaming specification of 2026-07, except that `model` is
`nova-3` here, where the specification asks for a choice. Only what differs from the wire's own default is sent.
`loopback.recognizer` says what the local server does with an option.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeVar

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.notices import escaped, grid, quiet
from dgnb.values import native, whole

__all__ = ["ENCODINGS", "MODELS", "MOST_CHANNELS", "LiveOptions", "as_options", "check_encoding"]

_NOVA_2 = ("meeting", "finance", "conversationalai", "voicemail", "video", "medical", "drivethru", "automotive")
MODELS: Final[tuple[str, ...]] = (
    *("nova-3", "nova-3-general", "nova-3-medical"),
    *("nova-2", "nova-2-general", *(f"nova-2-{kind}" for kind in (*_NOVA_2, "phonecall", "atc"))),
    *("nova", "nova-general", "nova-phonecall", "nova-medical"),
    *("enhanced", "enhanced-general", "enhanced-meeting", "enhanced-phonecall", "enhanced-finance"),
    *("base", "base-general", "meeting", "phonecall", "finance", "conversationalai", "voicemail", "video"),
)
"""The models that the documentation names. Other names, such as UUIDs of custom models, are taken too."""

ENCODINGS: Final[tuple[str, ...]] = (
    *("linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb"),
    *("opus", "ogg-opus", "speex", "g729"),
)
"""The encodings of raw audio that `/v1/listen` takes."""

MOST_CHANNELS: Final = 20
"""Channels that `/v1/listen` takes."""

F = TypeVar("F", bound=Callable[..., Any])

LANGUAGES: Final = ("en", "en-US", "en-GB", "multi", "de", "es", "fr", "hi", "it", "ja", "nl", "pt", "ru")
"""Languages to suggest; which ones a model knows is the service's to say."""

_LANGUAGE = re.compile(r"multi|[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)
_WANTED: Final = {bool: "True or False", int: "a whole number", str: "text"}
_TRUTH: Final[dict[str, Any]] = {"true": True, "1": True, "false": False, "0": False}
_NEWER_NOVA = re.compile(r"nova-([4-9]|\d\d+)(-.*)?")


def _option(default: Any, group: str, help: str, **limits: Any) -> Any:
    """A field with the metadata of its checks, completion and form. A default of () means many texts."""
    limits = {"choices": (), "suggestions": (), "minimum": None, "maximum": None, **limits}
    return field(default=default, metadata={"group": group, "help": help, "many": default == (), **limits})


@dataclass(frozen=True, kw_only=True, repr=False)
class LiveOptions:
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

    model: str = _option("nova-3", "common", "Recognition model, or the UUID of one of your own.", suggestions=MODELS)
    language: str = _option(
        "en", "common", "BCP-47 tag such as en, en-GB, de; or multi (nova-2 and nova-3).", suggestions=LANGUAGES
    )
    smart_format: bool = _option(False, "common", "Dates, numbers, currencies and paragraphs; implies punctuate.")
    punctuate: bool = _option(False, "common", "Punctuation and capitals.")
    interim_results: bool = _option(False, "common", "Preliminary results about every second.")
    diarize: bool = _option(False, "common", "Tell speakers apart. Deprecated by Deepgram in favour of diarize_model.")
    endpointing: int | Literal[False] = _option(
        10, "common", "Milliseconds of silence after which a result is speech_final; False turns it off.", minimum=0
    )
    utterance_end_ms: int | None = _option(
        None, "common", "Milliseconds without words until UtteranceEnd; needs interim_results.", minimum=1000
    )
    keyterm: Sequence[str] = _option((), "common", "Terms to listen for (nova-3); case is kept.", maximum=100)

    diarize_model: Literal["latest", "v1"] | None = _option(
        None, "words", "Tell speakers apart, with this version of the diarizer.", choices=("latest", "v1")
    )
    keywords: Sequence[str] = _option((), "words", "word:intensifier (before nova-3).", maximum=100)
    search: Sequence[str] = _option((), "words", "Terms to search for in the audio.", maximum=50)
    replace: Sequence[str] = _option((), "words", "find:replacement; write find in lower case.", maximum=200)
    redact: Sequence[str] = _option(
        (),
        "words",
        "Kinds of content to redact.",
        choices=("true", "false", "pci", "numbers", "aggressive_numbers", "ssn"),
    )
    detect_entities: bool = _option(False, "words", "List entities in each final; turns punctuate on.")
    language_hint: Sequence[str] = _option((), "words", "Languages to expect (nova-3, language=multi).")
    numerals: bool = _option(False, "formatting", "Write numbers as digits.")
    profanity_filter: bool = _option(False, "formatting", "Remove profanity.")
    dictation: bool = _option(False, "formatting", "Spoken punctuation commands; needs punctuate.")
    no_delay: bool = _option(False, "timing", "Do not delay results for smart_format.")
    vad_events: bool = _option(False, "timing", "Send SpeechStarted when speech begins.")
    multichannel: bool = _option(False, "audio", "Transcribe each channel separately.")
    encoding: str | None = _option(
        None, "audio", "Encoding of raw audio; unset for files with a header.", suggestions=ENCODINGS
    )
    sample_rate: int | None = _option(None, "audio", "Samples a second of raw audio.", minimum=1)
    channels: int = _option(1, "audio", "Channels of raw audio; needs encoding.", minimum=1, maximum=MOST_CHANNELS)
    version: str = _option("latest", "account", "Version of the model.")
    tag: Sequence[str] = _option((), "account", "Labels for usage reports, at most 128 characters each.")
    mip_opt_out: bool = _option(False, "account", "Keep the audio out of Deepgram's model improvement programme.")
    callback: str | None = _option(None, "account", "URL that the results are sent to, on port 80, 443, 8080 or 8443.")
    callback_method: Literal["POST", "GET", "PUT", "DELETE"] = _option(
        "POST", "account", "HTTP method of the callback.", choices=("POST", "GET", "PUT", "DELETE")
    )
    extra: Mapping[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"group": "account", "help": "Further wire parameters, sent untouched."},
    )

    def __new__(cls, *unnamed: Any, **options: Any) -> Self:
        """Refuse unknown names."""
        if unnamed:
            raise ConfigurationError("Options are given by name, such as LiveOptions(model='nova-3').")
        # The generated __init__ would raise a bare TypeError.
        known = [f.name for f in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise ConfigurationError(
                    f"There is no option {name!r}.{nearest(name, known)} "
                    f"A parameter that dgnb does not know goes in extra={{{name!r}: …}}."
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if f.name != "extra":
                object.__setattr__(self, f.name, _checked(f, getattr(self, f.name)))
        if not isinstance(self.extra, Mapping):
            raise ConfigurationError("extra is a mapping of further wire parameters, such as {'filler_words': True}.")
        for name in self.extra:
            if name != "extra" and name in _FIELDS:
                raise ConfigurationError(
                    f"{name!r} is an option of its own: write {name}=…, not extra={{{name!r}: …}}."
                )
        extra = {native(name): native(value) for name, value in self.extra.items()}
        extra = {name: list(_many(value)) if _is_many(value) else value for name, value in extra.items()}
        object.__setattr__(self, "extra", extra)
        _check_values(self)
        _check_together(self)

    def __repr__(self) -> str:
        return f"LiveOptions({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"

    def _repr_html_(self) -> str:
        rows = [
            (escaped(name), f"<b>{escaped(repr(value))}</b>", _FIELDS[name].metadata["help"])
            for name, value in self.changed().items()
        ]
        return quiet(
            f"LiveOptions: what differs from the defaults{grid(rows)}" if rows else "LiveOptions: all defaults"
        )

    def changed(self) -> dict[str, Any]:
        """The options that differ from the defaults, by name; `LiveOptions(**options.changed())` is equal."""
        changed: dict[str, Any] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name == "extra":
                if value:
                    changed["extra"] = dict(value)
            elif value != f.default or type(value) is not type(f.default):
                changed[f.name] = list(value) if f.metadata["many"] else value
        return changed

    def query(self) -> list[tuple[str, str]]:
        """The query of the request: booleans as `true` and `false`, lists as repeated keys.

        Example:
            ```python
            >>> dgnb.LiveOptions(punctuate=True, keyterm=["a", "b"]).query()
            [('model', 'nova-3'), ('punctuate', 'true'), ('keyterm', 'a'), ('keyterm', 'b')]
            ```
        """
        given = {"model": self.model, **self.changed()}
        extra = given.pop("extra", {})
        return [(name, as_text(item)) for name, value in [*given.items(), *extra.items()] for item in _many(value)]

    @classmethod
    def from_query(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """The options of a request, for servers: the inverse of `query()`, with the same validation.

        Parameters that are not options go into `extra`. Without `model` it is the wire's own default, `base-general`.

        Example:
            ```python
            >>> dgnb.LiveOptions.from_query([("model", "nova-3"), ("endpointing", "300")])
            LiveOptions(endpointing=300)
            ```

        Raises:
            ConfigurationError: A value is wrong, two do not go together, or one that takes one value was given twice.
        """
        found: dict[str, list[str]] = {}
        for name, text in pairs:
            found.setdefault(name, []).append(text)
        options: dict[str, Any] = {"model": "base-general"}
        extra: dict[str, Any] = {}
        for name, texts in found.items():
            if name == "extra" or name not in _FIELDS:
                extra[name] = texts[0] if len(texts) == 1 else texts
            elif _FIELDS[name].metadata["many"]:
                options[name] = texts
            elif len(texts) > 1:
                raise ConfigurationError(f"{name} was given {len(texts)} times; it takes one value.")
            elif _kind(_FIELDS[name]) is bool and texts[0] not in ("true", "false"):
                raise ConfigurationError(f"{name} is true or false on the wire, not {texts[0]!r}.")
            else:
                options[name] = texts[0]
        return cls(**options, extra=extra)

    def for_audio(self, encoding: str | None, sample_rate: int | None, channels: int) -> Self:
        """The same options for audio of this form, which is not validated. `encoding=None`: audio with a header."""
        if encoding is None:
            sample_rate, channels = None, 1
        fitted = copy.copy(self)
        # copy() calls no __init__, and what it gave is not shared yet.
        vars(fitted).update(encoding=encoding, sample_rate=sample_rate, channels=channels)
        return fitted


_FIELDS: Final = {f.name: f for f in dataclasses.fields(LiveOptions)}


def takes_options(function: F) -> F:
    """A function that takes options as `**wire`, with a signature that names them: Tab and Shift-Tab show it."""
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    own = inspect.signature(LiveOptions.__init__).parameters
    options = [own[name] for name in _FIELDS if name not in signature.parameters]
    vars(function)["__signature__"] = signature.replace(parameters=[*named, *options])
    return function


vars(LiveOptions.__new__)["__signature__"] = inspect.signature(LiveOptions.__init__)


def _check_together(o: LiveOptions) -> None:
    """Refuse what does not go together, and say what to do instead."""
    nova_3, raw = o.model.startswith("nova-3"), o.encoding is not None
    # A documented model before nova-3; others may know anything.
    older = o.model in MODELS and not nova_3
    older_than_nova_2 = older and not o.model.startswith("nova-2")
    multi = o.language == "multi"
    punctuated = o.punctuate or o.smart_format or o.detect_entities
    conflicts: tuple[tuple[object, str], ...] = (
        (nova_3 and o.keywords, "keywords does not work with nova-3. Use keyterm (plain terms, no weights)."),
        (older and o.keyterm, f"keyterm needs nova-3, not {o.model}. Use keywords, or nova-3."),
        (older_than_nova_2 and multi, f"language='multi' needs nova-2 or nova-3, not {o.model}."),
        (o.language_hint and (older or not multi), "language_hint needs model='nova-3' and language='multi'."),
        (o.utterance_end_ms is not None and not o.interim_results, "utterance_end_ms needs interim_results=True."),
        (
            o.sample_rate is not None and not raw,
            "sample_rate needs encoding, such as 'linear16'; for an array, pass it beside the options.",
        ),
        (raw and o.sample_rate is None, "encoding needs sample_rate, such as 16000."),
        (o.channels != 1 and not raw, "channels needs encoding and sample_rate: it is for raw audio."),
        (o.dictation and not punctuated, "dictation needs punctuate=True."),
        (o.callback is None and o.callback_method != "POST", "callback_method needs callback."),
    )
    for conflict, message in conflicts:
        if conflict:
            raise ConfigurationError(message)


def as_options(options: object, named: Mapping[str, Any]) -> LiveOptions:
    """Options that were given as an object, as a mapping, or by name."""
    if options is None:
        return LiveOptions(**named)
    if isinstance(options, Mapping):
        options = LiveOptions(**{str(name): value for name, value in options.items()})
    if not isinstance(options, LiveOptions):
        raise ConfigurationError(
            f"options is a LiveOptions or a dict of options, not {type(options).__name__}: write "
            "LiveOptions(smart_format=True), for one."
        )
    if named:
        raise ConfigurationError(f"Give options as LiveOptions or by name ({', '.join(named)}), not both.")
    return options


def check_encoding(encoding: object) -> None:
    """Refuse what is not an encoding of raw audio."""
    if encoding not in ENCODINGS:
        hint = nearest(str(encoding), ENCODINGS) or f" Use one of: {', '.join(ENCODINGS)}."
        raise ConfigurationError(f"encoding={encoding!r} is not an encoding of raw audio.{hint}")


def _check_values(options: LiveOptions) -> None:
    _check_model(options.model)
    for name, tag in (("language", options.language), *(("language_hint", hint) for hint in options.language_hint)):
        if not _LANGUAGE.fullmatch(tag):
            raise ConfigurationError(
                f"{name}={tag!r} is not a language tag. Use one such as 'en', 'en-GB' or 'de', or 'multi'."
            )
    if options.encoding is not None:
        check_encoding(options.encoding)
    if options.callback is not None and not re.match("(https?|wss?)://[^/]", options.callback):
        raise ConfigurationError("callback is an http, https, ws or wss URL.")


def _kind(f: dataclasses.Field[Any]) -> type[Any]:
    """The type of one value of an option, by its annotation."""
    return {"bool": bool, "int": int}.get(str(f.type).partition(" ")[0], str)


def _checked(f: dataclasses.Field[Any], value: Any) -> Any:
    meta, value = f.metadata, native(value)
    if meta["many"]:
        values = _many(value)
        if meta["maximum"] is not None and len(values) > meta["maximum"]:
            raise ConfigurationError(f"{f.name} takes at most {meta['maximum']} values, not {len(values)}.")
        return tuple(_checked_one(f, one) for one in values)
    if f.name == "endpointing" and as_text(value).strip().lower() == "false":
        return False
    if value is None and f.default is None:
        return value
    return _checked_one(f, value)


def _checked_one(f: dataclasses.Field[Any], value: Any) -> Any:
    meta, kind = f.metadata, _kind(f)
    rule = f"{f.name} is {_WANTED[kind]}"
    rule += {"endpointing": " or False", "utterance_end_ms": " or None"}.get(f.name, "")
    if kind is int:
        value = whole(rule, value, least=-sys.maxsize)
        if meta["minimum"] is not None and value < meta["minimum"]:
            raise ConfigurationError(f"{f.name} is at least {meta['minimum']}, not {value}.")
        if meta["maximum"] is not None and value > meta["maximum"]:
            raise ConfigurationError(f"{f.name} is at most {meta['maximum']}, not {value}.")
    elif kind is bool:
        value = _TRUTH.get(as_text(value).strip().lower(), value)
    if type(value) is not kind:
        raise ConfigurationError(f"{rule}, not {value!r}.")
    if kind is str and not value:
        raise ConfigurationError(f"{f.name} is empty. Leave it out instead.")
    if meta["choices"] and value not in meta["choices"]:
        hint = nearest(value, meta["choices"]) or f" Use one of: {', '.join(meta['choices'])}."
        raise ConfigurationError(f"{f.name}={value!r} is not allowed.{hint}")
    return value


def _check_model(model: str) -> None:
    """Refuse what is surely a slip. Custom models, UUIDs and newer generations are taken."""
    if model in MODELS or _NEWER_NOVA.fullmatch(model):
        return
    if model.startswith("flux"):
        raise ConfigurationError(f"model={model!r} is served on /v2/listen, which dgnb does not speak. Use 'nova-3'.")
    if model.startswith("whisper"):
        raise ConfigurationError(f"model={model!r} cannot be streamed at Deepgram. Use 'nova-3'.")
    if close := nearest(model.lower().replace("_", "-").replace(" ", "-"), MODELS, cutoff=0.85):
        raise ConfigurationError(f"There is no model {model!r}.{close}")


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(map(native, value)) if _is_many(value) else (value,)


def _is_many(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def as_text(value: Any) -> str:
    """One value as on the wire, where booleans are lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)

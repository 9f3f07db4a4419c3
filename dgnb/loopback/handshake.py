"""The checks before the WebSocket opens, with Deepgram's statuses and words."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.loopback.engines import Engine
from dgnb.loopback.intake import HIGHEST_RATE, LOWEST_RATE
from dgnb.options import MODELS, FluxOptions, LiveOptions, PrerecordedOptions, fields_of
from dgnb.options.flux import FLUX_MODELS
from dgnb.values import is_loopback

INVALID_PARAMETER: Final = "INVALID_PARAMETER"
"""The code of a refusal in the form of `/v2/listen`: `{"code", "description"}`."""

_FREE: Final = (
    *("extra", "filler_words", "measurements", "tier", "alternatives", "diarize_version"),
    *("numbers", "numbers_spaces", "dates", "date_format", "times", "ner", "paragraphs"),
    *("keyword_boost", "vad_turnoff"),
)
"""Parameters that are no fields of `LiveOptions`: documented ones, and those of the SDKs up to version 2."""

_KINDS: Final = {model.rpartition("-")[2] for model in MODELS if model.startswith("nova-2-")}
_Listen = TypeVar("_Listen", LiveOptions, PrerecordedOptions)
_ENGLISH: Final = ("topics", "intents", "sentiment", "custom_topic", "custom_intent")  # Left out for other languages
_ONLY_RAW: Final = {"sample_rate", "channels"}  # Parameters that are only read with `encoding`

_UUID: Final = re.compile(r"(custom/)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NEWER_NOVA: Final = re.compile(r"nova-([4-9]|\d\d+)(-[a-z]+)*")
_OLDER: Final = re.compile(rf"((2|nova-2|nova|enhanced|base)-)?(ea|{'|'.join(sorted(_KINDS))})")
_WHISPER: Final = re.compile(r"whisper(-(tiny|base|small|medium|large))?")
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?", re.ASCII)


class Refusal(Exception):
    """A handshake that is answered with an HTTP error. `code` is Deepgram's `err_code`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def check_host(host: str, origins: Sequence[str]) -> None:
    """Refuse with 403 what a web page from elsewhere could send, under its own name or one that it points here.

    aiohttp refuses a request with no Host header or several. A program on this machine sends no Origin header, a
    browser sends one.
    """
    if not _is_here(host):
        raise Refusal(403, "FORBIDDEN", "The Host header is not this machine: use 127.0.0.1 or localhost.")
    for origin in origins:
        # Without a URL parser: parsers disagree on the host of http://here\@there.
        scheme, _, rest = origin.partition("://")
        if scheme not in {"http", "https"} or not _is_here(rest):
            raise Refusal(403, "FORBIDDEN", "Pages from elsewhere may not connect to this server.")


def _is_here(netloc: str) -> bool:
    match = _HOST.fullmatch(netloc)
    return match is not None and is_loopback(match[1])


def credential(headers: Mapping[str, str]) -> tuple[str, str]:
    """The scheme and the key of a request."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in {"token", "bearer"}:
        # Browsers can send no header, so their clients name the key as a second protocol.
        scheme, _, key = headers.get("Sec-WebSocket-Protocol", "").partition(",")
    return scheme.strip().lower(), key.strip()


def check_credential(headers: Mapping[str, str], token: str | None) -> None:
    """Refuse with 401 a request without a key. Any key will do, unless the server has a token."""
    scheme, key = credential(headers)
    # Bytes of a header that are not UTF-8 arrive as surrogates.
    sent = key.encode(errors="surrogateescape")
    known = scheme in {"token", "bearer"} and sent
    if not known or (token is not None and not hmac.compare_digest(sent, token.encode())):
        raise Refusal(401, "INVALID_AUTH", "Invalid credentials.")


def parse_query(query: Sequence[tuple[str, str]]) -> LiveOptions:
    """The options of a query. Refuses with 400 what is unknown or wrong, and with 405 a model that is not streamed."""
    for name, value in query:
        if name == "model" and value.startswith("whisper"):
            raise Refusal(405, "METHOD_NOT_ALLOWED", f"The model {value!r} can't be streamed. Use 'nova-3'.")
    return _parsed(LiveOptions, [_respelled(parameter) for parameter in query], _FREE)


def parse_recorded(query: Sequence[tuple[str, str]]) -> PrerecordedOptions:
    """The options of a recording. Refuses with 400 what is unknown or wrong."""
    if not dict(query).get("language", "en").lower().startswith("en"):
        query = [parameter for parameter in query if parameter[0] not in _ENGLISH]
    options = _parsed(PrerecordedOptions, query)
    if options.callback:
        raise Refusal(400, "Bad Request", "This server sends no results elsewhere: leave out callback.")
    return options


def _parsed(kind: type[_Listen], query: Sequence[tuple[str, str]], free: Sequence[str] = ()) -> _Listen:
    """The options of a query of `/v1/listen`."""
    known = [*fields_of(kind), *free]
    for name, value in query:
        if name not in known:
            raise Refusal(400, "Bad Request", f"Unknown parameter {name!r}.{nearest(name, known)}")
        if name == "extra" and ":" not in value:
            raise Refusal(400, "Bad Request", f"extra={value!r} is not of the form 'key:value'.")
    read = query if any(name == "encoding" for name, _ in query) else [p for p in query if p[0] not in _ONLY_RAW]
    try:
        options = kind.from_query(read)
    except ConfigurationError as error:
        raise Refusal(400, "Bad Request", str(error)) from None
    model = options.model
    if not (model in MODELS or any(form.fullmatch(model) for form in (_UUID, _NEWER_NOVA, _OLDER, _WHISPER))):
        raise Refusal(400, "Bad Request", f"No such model/language/tier combination found: {model!r}.")
    if options.sample_rate and not LOWEST_RATE <= options.sample_rate <= HIGHEST_RATE:
        bounds = f"{LOWEST_RATE} to {HIGHEST_RATE}"
        raise Refusal(400, "Bad Request", f"sample_rate is {bounds} here, not {options.sample_rate}.")
    if options.encoding in ("opus", "speex"):
        told = f"This server takes no bare packets of {options.encoding}. Send ogg-opus or linear16."
        raise Refusal(400, "Bad Request", told)
    return options


def parse_turn_query(query: Sequence[tuple[str, str]]) -> FluxOptions:
    """The options of a query of `/v2/listen`. Refuses with 400 what is unknown or wrong, and names it."""
    given, known = [name for name, _ in query], fields_of(FluxOptions).keys() - {"extra"}
    if unknown := dict.fromkeys(name for name in given if name not in known):
        raise Refusal(400, "INVALID_QUERY_PARAMETER", f"Unknown query parameters: {', '.join(unknown)}")
    try:
        options = FluxOptions.from_query(query)
    except ConfigurationError as error:
        raise Refusal(400, INVALID_PARAMETER, str(error)) from None
    if "model" not in given or options.model not in FLUX_MODELS:
        raise Refusal(400, INVALID_PARAMETER, f"model is {' or '.join(FLUX_MODELS)}, and it is required.")
    if options.encoding == "opus":
        raise Refusal(400, INVALID_PARAMETER, "encoding: this server takes no bare packets of opus, but ogg-opus.")
    return options


def _respelled(parameter: tuple[str, str]) -> tuple[str, str]:
    """A parameter as `LiveOptions` spells it: SDKs write `callback_method=post`, older ones `endpointing=true`."""
    name, value = parameter
    if name == "endpointing" and value == "true":
        return name, "10"
    return name, value.upper() if name == "callback_method" else value


def check_language(language: str, engine: Engine) -> None:
    """Refuse with 400 a language that the engine does not know."""
    if engine.languages is None:
        return
    primary = language.lower().partition("-")[0]
    known = {one.lower().partition("-")[0] for one in engine.languages}
    if primary in known or (primary == "multi" and len(known) > 1):
        return
    only = ", ".join(sorted(known)[:10])
    raise Refusal(
        400,
        "Bad Request",
        f"No such model/language/tier combination found: {engine.info.name} on this server knows {only}, not "
        f"{language!r}. Start the server with another model: --model tiny, or model='tiny'.",
    )

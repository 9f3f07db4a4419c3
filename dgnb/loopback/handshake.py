"""Who may connect, and with what: the checks before the WebSocket, in Deepgram's words and statuses. Pure."""

from __future__ import annotations

import dataclasses
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.loopback.engines import Engine
from dgnb.options import MODELS, LiveOptions

__all__ = [
    "FREE_PARAMETERS",
    "Refusal",
    "check_credential",
    "check_host",
    "check_language",
    "is_loopback",
    "parse_query",
]

FREE_PARAMETERS: Final = (
    *("extra", "filler_words", "measurements"),
    *("tier", "alternatives", "diarize_version"),
)
"""Parameters of the documentation that are not options of their own in `LiveOptions`."""

_FIELDS: Final = {field.name for field in dataclasses.fields(LiveOptions)}
_UUID: Final = re.compile(r"(custom/)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NEWER_NOVA: Final = re.compile(r"nova-([4-9]|\d\d+)(-[a-z]+)*")
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?", re.ASCII)


class Refusal(Exception):
    """A handshake that is answered with an HTTP error.

    Attributes:
        status: The HTTP status.
        code: Deepgram's `err_code`.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine.

    Example:
        ```python
        >>> is_loopback("127.0.0.1"), is_loopback("192.168.0.2")
        (True, False)
        ```
    """
    host = host.removeprefix("[").removesuffix("]")
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, origins: Sequence[str] = ()) -> None:
    """Refuse what a web page elsewhere could send, by way of a name that it made to point here, or of its own origin.

    Args:
        host: The Host header; aiohttp lets no request through that has none or several.
        origins: Every Origin header: a program of this machine sends none, a browser one.

    Raises:
        Refusal: 403.
    """
    if not _is_here(host):
        raise Refusal(403, "FORBIDDEN", "The Host header is not this machine: use 127.0.0.1 or localhost.")
    for origin in origins:
        # No URL parser: those disagree on what the host of http://here\@there is, and this one need not know.
        scheme, _, rest = origin.partition("://")
        if scheme not in {"http", "https"} or not _is_here(rest):
            raise Refusal(403, "FORBIDDEN", "Pages from elsewhere may not connect to this server.")


def _is_here(netloc: str) -> bool:
    match = _HOST.fullmatch(netloc)
    return match is not None and is_loopback(match[1])


def check_credential(headers: Mapping[str, str], token: str | None) -> None:
    """Ask for a key as Deepgram does; any will do, unless the server has a token.

    Raises:
        Refusal: 401.
    """
    key = _credential(headers)
    # A header may hold bytes that are no text; they come as surrogates.
    sent = key.encode(errors="surrogateescape")
    if not key or (token is not None and not hmac.compare_digest(sent, token.encode())):
        raise Refusal(401, "INVALID_AUTH", "Invalid credentials.")


def _credential(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() in {"token", "bearer"}:
        return key.strip()
    protocols = [protocol.strip() for protocol in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if len(protocols) == 2 and protocols[0].lower() in {"token", "bearer"}:
        return protocols[1]
    return ""


def parse_query(query: Sequence[tuple[str, str]]) -> LiveOptions:
    """The options asked for.

    Raises:
        Refusal: 400 for what is unknown, wrong or does not go together; 405 for a model that can't be streamed.
    """
    for name, value in query:
        if name not in FREE_PARAMETERS and (name not in _FIELDS):
            hint = nearest(name, [*_FIELDS, *FREE_PARAMETERS])
            raise Refusal(400, "Bad Request", f"Unknown parameter {name!r}.{hint}")
        if name == "model" and value.startswith("whisper"):
            raise Refusal(405, "METHOD_NOT_ALLOWED", f"The model {value!r} can't be streamed. Use 'nova-3'.")
    try:
        options = LiveOptions.from_query(query)
    except ConfigurationError as error:
        raise Refusal(400, "Bad Request", str(error)) from None
    model = options.model
    if not (model in MODELS or _UUID.fullmatch(model) or _NEWER_NOVA.fullmatch(model)):
        raise Refusal(400, "Bad Request", f"No such model/language/tier combination found: {model!r}.")
    for name, value in query:
        if name == "extra" and ":" not in value:
            raise Refusal(400, "Bad Request", f"extra={value!r} is not of the form 'key:value'.")
    return options


def check_language(options: LiveOptions, engine: Engine) -> None:
    """Refuse a language that the engine does not know.

    Raises:
        Refusal: 400.
    """
    if engine.languages is None:
        return
    primary = options.language.lower().partition("-")[0]
    known = {language.lower().partition("-")[0] for language in engine.languages}
    if primary in known or (primary == "multi" and len(known) > 1):
        return
    only = ", ".join(sorted(known)[:10])
    raise Refusal(
        400,
        "Bad Request",
        f"No such model/language/tier combination found: {engine.info.name} on this server knows {only}, not "
        f"{options.language!r}. Start the server with another model: --model tiny, or model='tiny'.",
    )

"""Where a stream goes: Deepgram, the offline engine or another server; and the key for it.

`choose()` decides and checks before any I/O. `Endpoint.locate()` starts the offline engine when it is needed.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from ssl import SSLContext, create_default_context
from typing import Any, AnyStr, Final, Literal
from urllib.parse import urlsplit

from dgnb.exceptions import ConfigurationError, nearest, shell
from dgnb.values import is_loopback, native

logger = logging.getLogger("dgnb")

DEEPGRAM: Final = "wss://api.deepgram.com"
KEY_VARIABLE: Final = "DEEPGRAM_API_KEY"
TOKEN_VARIABLE: Final = "DEEPGRAM_TOKEN"
ENDPOINT_VARIABLE: Final = "DGNB_ENDPOINT"

_BASE64: Final = (base64.b64encode, base64.urlsafe_b64encode)

_ESCAPES: Final = re.compile(r"\\[/\"\\u]|%[2-7]|&#")
_TOKEN_ARGUMENT: Final = "access_token="


class Secret:
    """A key that no repr, traceback, log or copy shows. `reveal()` gives it."""

    __slots__ = ("__mask", "__reveal")

    def __init__(self, value: str) -> None:
        self.__reveal: Callable[[], str] = lambda: value
        self.__mask: Callable[[str], str] | None = None

    def reveal(self) -> str:
        """The key itself, for the request's header only."""
        return self.__reveal()

    def masked(self, said: AnyStr) -> AnyStr:
        """A text with `<key>` in place of the key, also where it stands in base64 or with escaped characters."""
        mask = self.__mask = self.__mask or _mask_of(self.reveal())
        if isinstance(said, str):
            return mask(said)
        text = said.decode("latin-1")
        return said if (masked := mask(text)) is text else masked.encode("latin-1")

    def __repr__(self) -> str:
        return "<key>"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("A key is not pickled.")


def hidden(*given: Any) -> list[Any]:
    """Arguments whose texts no traceback shows. Rebind them first of all: a traceback may print arguments."""
    return [Secret(text) if isinstance(text := native(each), str) else text for each in given]


def hide(named: dict[str, Any]) -> None:
    """The same for those of the arguments by name that may be secret."""
    secret = [name for name in ("endpoint", "api_key", "access_token", "proxy") if name in named]
    named.update(zip(secret, hidden(*map(named.get, secret)), strict=True))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What `choose()` decided, and for what reason.

    `url` is the base address; None for `offline`, which has none until it runs. `key_origin` is where the key came
    from: `api_key=`, `access_token=`, a variable, or "" without a key. `ssl` is None for the system's authorities.
    `proxy` is None for that of the environment, and False for none.
    """

    kind: Literal["deepgram", "offline", "custom", "replay"]
    url: str | None
    key: Secret | None
    key_origin: str
    reason: str
    ssl: SSLContext | None = None
    proxy: Secret | Literal[False] | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"

    @property
    def name(self) -> str:
        """What people call it."""
        return {"deepgram": "Deepgram", "offline": "the offline engine on this machine"}.get(self.kind, str(self.url))

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.url is None or is_loopback(urlsplit(self.url).hostname)

    @property
    def answers_silence(self) -> bool:
        """Whether it is known to send empty finals where nobody speaks, as Deepgram does."""
        return (urlsplit(self.url or "").hostname or "").endswith(".deepgram.com")

    @property
    def authorization(self) -> str:
        """The value of the request's header: `Bearer` goes before an access token, `Token` before a key."""
        scheme = "Bearer" if self.key_origin in (_TOKEN_ARGUMENT, TOKEN_VARIABLE) else "Token"
        # Self-hosted servers require a key that is not empty, and do not check it.
        return f"{scheme} {self.key.reveal() if self.key else 'none'}"

    def masked(self, said: AnyStr) -> AnyStr:
        """What a server said, with `<key>` in place of the key: some servers quote it."""
        return self.key.masked(said) if self.key else said

    async def locate(self) -> Endpoint:
        """The same with an address. For `offline`, start the engine's process if it does not run yet.

        Cancelling is safe: the start goes on, and serves the next caller.
        """
        if self.kind == "offline":
            from dgnb import offline

            url, token = await asyncio.to_thread(offline.ensure)
            return replace(self, url=url, key=Secret(token), key_origin="the offline engine's own token")
        return self


def choose(
    endpoint: str | Secret | Endpoint | None = None,
    api_key: str | Secret | None = None,
    access_token: str | Secret | None = None,
    ssl: SSLContext | str | os.PathLike[str] | None = None,
    proxy: str | Secret | Literal[False] | None = None,
) -> Endpoint:
    """Decide where a stream goes. An `Endpoint` is a decision already.

    When `endpoint` is None, it is `DGNB_ENDPOINT`; if that is not set, Deepgram when there is a key, else the offline
    engine. Without `api_key` and `access_token`, it is `DEEPGRAM_TOKEN` or `DEEPGRAM_API_KEY`.
    """
    endpoint, api_key, access_token, proxy = hidden(endpoint, api_key, access_token, proxy)
    if isinstance(endpoint, Endpoint):
        return endpoint
    try:
        chosen = _chosen(endpoint.reveal() if isinstance(endpoint, Secret) else endpoint, _key(api_key, access_token))
        if ssl is not None and (chosen.url or "").startswith("ws://"):
            raise ConfigurationError("ssl= goes with a wss:// address: ws:// is not encrypted. Leave it out.")
        return replace(chosen, ssl=_context(native(ssl)), proxy=_checked_proxy(proxy))
    except ConfigurationError as error:
        problem = str(error)
    # Outside of the frames that hold the address as it was given.
    raise ConfigurationError(problem)


def _chosen(endpoint: Any, found: tuple[Secret | None, str]) -> Endpoint:
    (key, origin), reason = found, "as asked for by endpoint="
    if endpoint is None and os.environ.get(ENDPOINT_VARIABLE):
        endpoint, reason = os.environ[ENDPOINT_VARIABLE], f"as asked for by {ENDPOINT_VARIABLE}"
    if endpoint == "offline":
        return Endpoint("offline", None, None, "", reason)
    if endpoint is None:
        if key:
            return Endpoint("deepgram", DEEPGRAM, key, origin, f"because a key is in {origin}")
        return Endpoint("offline", None, None, "", f"because there is no key in api_key= or {KEY_VARIABLE}")
    if not isinstance(endpoint, str):
        raise ConfigurationError(f"endpoint must be 'deepgram', 'offline' or a wss:// address, not {endpoint!r}.")
    if endpoint == "deepgram":
        if not key:
            raise ConfigurationError(
                f"Deepgram needs a key: set {KEY_VARIABLE} before the notebook starts, or pass api_key=. "
                "Without one, endpoint='offline' transcribes on this machine."
            )
        return Endpoint("deepgram", DEEPGRAM, key, origin, reason)
    url = _checked_url(endpoint)
    if url.startswith("ws://") and origin in (KEY_VARIABLE, TOKEN_VARIABLE):
        # The account's key is never sent in clear. One that is passed for this server may be, within the machine.
        key, origin = None, ""
    return Endpoint("custom", url, key, origin, reason)


def _mask_of(key: str) -> Callable[[str], str]:
    """A function that masks a key. A text without any form of the key is returned as it is, at little cost."""
    if len(key) < 8:
        # It may be a word of a talk, or a part of one.
        key = f"Token {key}"
    plain = {key}
    for before in range(3):
        # The characters of base64 that depend on the key alone, whatever stands before it.
        core = slice(-(-before * 8 // 6), (before + len(key)) * 8 // 6)
        plain |= {encode(bytes(before) + key.encode())[core].decode() for encode in _BASE64}
    pattern = re.compile("|".join(["".join(map(_any_form, key)), *map(re.escape, plain)]), re.IGNORECASE)
    plain = {form.lower() for form in plain}

    def mask(said: str) -> str:
        lowered = said.lower()
        found = any(form in lowered for form in plain)
        # An expression alone would take longer than all the rest of a message's way.
        found = found or (("\\" in said or "%" in said or "&" in said) and bool(_ESCAPES.search(said)))
        return pattern.sub("<key>", said) if found else said

    return mask


def _any_form(character: str) -> str:
    """A pattern for a character that is escaped as in JSON, in an address or in HTML, or is not."""
    code, plain = ord(character), re.escape(character)
    plain = plain if character.isalnum() else rf"\\*{plain}"
    return rf"(?:{plain}|\\+u00{code:02x}|%(?:25)*{code:02x}|&#0*{code};|&#x0*{code:x};)"


_warned_of: set[str] = set()


def _warn_of_literal(key: Secret) -> None:
    """Warn, once in a process, that a key is written in a cell of the notebook."""
    cells = getattr(getattr(shell(), "history_manager", None), "input_hist_raw", ())
    # A short key may be any word in a cell. Deepgram's keys have 40 characters.
    if _warned_of or len(key.reveal()) < 12 or not any(key.reveal() in cell for cell in cells):
        return
    _warned_of.add("a key in a cell")
    logger.warning(
        "The key is written in a cell: the notebook and IPython's history save it. Make another key, delete this one, "
        "and set %s before the notebook starts, or use api_key=getpass.getpass().",
        KEY_VARIABLE,
    )


def _key(key: Any, token: Any) -> tuple[Secret | None, str]:
    """The key or the access token, checked, and where it came from."""
    if key is not None and token is not None:
        raise ConfigurationError("api_key= and access_token= are both given. Pass one of them.")
    given, origin = (token, _TOKEN_ARGUMENT) if key is None else (key, "api_key=")
    if given is None:
        origin = next((name for name in (TOKEN_VARIABLE, KEY_VARIABLE) if os.environ.get(name, "").strip()), "")
        if not origin:
            return None, ""
        given = Secret(os.environ[origin])
    if not isinstance(given, Secret):
        raise ConfigurationError(f"The key in {origin} must be a string, not {type(given).__name__}.")
    stripped = Secret(given.reveal().strip())
    if not re.fullmatch(r"[!-~]+", stripped.reveal()):
        # The key goes into a header, where a line break starts another header.
        raise ConfigurationError(
            f"The key in {origin} is empty, or has spaces or other wrong characters. Copy it once more."
        )
    _warn_of_literal(stripped)
    return stripped, origin


def _context(ssl: object) -> SSLContext | None:
    """What TLS trusts; a path is that of a file or folder of authorities beside the system's."""
    if ssl is None or isinstance(ssl, SSLContext):
        return ssl
    try:
        path, context = os.path.expanduser(os.fsdecode(ssl)), create_default_context()  # type: ignore[arg-type]
        context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"ssl= is an ssl.SSLContext, or the path of a certificate authority's PEM file, not {ssl!r} ({error})."
        ) from None
    return context


def _checked_proxy(proxy: Any) -> Any:
    if proxy is None or proxy is False:
        return proxy
    from websockets.asyncio.client import parse_proxy  # type: ignore[attr-defined]
    from websockets.exceptions import InvalidProxy

    try:
        parse_proxy(proxy.reveal())
    except (AttributeError, InvalidProxy, ValueError):
        raise ConfigurationError(
            "proxy= is the address of a proxy, such as 'http://user:password@proxy.example:3128' or "
            "'socks5://proxy.example:1080', or False for none."
        ) from None
    return proxy


def _checked_url(endpoint: str) -> str:
    hint = "endpoint must be 'deepgram', 'offline' or an address such as 'wss://api.eu.deepgram.com'"
    if "://" not in endpoint:
        # What it is stays untold: it may be a key.
        raise ConfigurationError(f"{hint}.{nearest(endpoint.lower(), ['deepgram', 'offline'])}")
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{hint}; this one has no valid host and port.") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "endpoint must not hold credentials or a query: pass the key as api_key=, and parameters in LiveOptions."
        )
    if parts.scheme not in ("ws", "wss") or not host:
        scheme = "ws" if parts.scheme == "http" and is_loopback(host) else "wss"
        also = f" Did you mean '{scheme}://{parts.netloc}'?" if host else ""
        raise ConfigurationError(f"{hint}.{also}")
    if parts.scheme == "ws" and not is_loopback(host):
        raise ConfigurationError(
            f"ws:// to {host} would send key and audio in clear. Use wss://, or an SSH tunnel to localhost."
        )
    return parts._replace(path=parts.path.rstrip("/").removesuffix("/v1/listen")).geturl()

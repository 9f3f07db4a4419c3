"""Where a stream goes: Deepgram, the offline engine or another server; and the key for it.

`choose()` decides and checks before any I/O. `Endpoint.locate()` starts the offline engine when it is needed.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import AnyStr, Final, Literal
from urllib.parse import urlsplit

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.values import native

logger = logging.getLogger("dgnb")

DEEPGRAM: Final = "wss://api.deepgram.com"
KEY_VARIABLE: Final = "DEEPGRAM_API_KEY"
ENDPOINT_VARIABLE: Final = "DGNB_ENDPOINT"

_LEAST_KEY: Final = 12
"""Characters. A shorter key may be any word in a cell. Deepgram's keys have 40."""

_LEAST_QUOTED: Final = 8
"""Characters. A shorter key is masked only where `Token` stands before it."""

_ESCAPES: Final = re.compile(r"\\[/\"\\]|\\u00[2-7]|%[2-7]|&#")
_URL_SAFE: Final = str.maketrans("+/", "-_")

_ANY_KEY: Final = "none"
"""Self-hosted servers require a key that is not empty, and do not check it."""


class Secret:
    """A key that no repr, traceback, log or copy shows. `reveal()` gives it."""

    __slots__ = ("__mask", "__reveal")

    def __init__(self, value: str) -> None:
        self.__reveal: Callable[[], str] = lambda: value
        self.__mask: Callable[[str], str] | None = None

    @classmethod
    def of(cls, key: object) -> Secret | None:
        """Wrap a key as you give it; None stays None."""
        if key is None or isinstance(key, Secret):
            return key
        key = native(key)
        if not isinstance(key, str):
            raise ConfigurationError(f"The key in api_key= must be a string, not {type(key).__name__}.")
        return cls(key)

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


@dataclass(frozen=True, slots=True)
class Address:
    """A server to connect to: its base `ws(s)://host[:port][/path]`, and the key to send."""

    url: str
    key: Secret
    key_origin: str

    def masked(self, said: AnyStr) -> AnyStr:
        """What a server said, with `<key>` in place of the key: some servers quote it."""
        return self.key.masked(said) if self.key_origin else said


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What `choose()` decided, and for what reason.

    `url` is the base address; None for `offline`, which has none until it runs. `key_origin` is where the key came
    from: `api_key=`, `DEEPGRAM_API_KEY`, or "" without a key.
    """

    kind: Literal["deepgram", "offline", "custom"]
    url: str | None
    key: Secret | None
    key_origin: str
    reason: str

    def __str__(self) -> str:
        names = {"deepgram": "Deepgram", "offline": "the offline engine on this machine", "custom": self.url}
        return f"{names[self.kind]} ({self.reason})"

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.url is None or is_loopback(urlsplit(self.url).hostname)

    @property
    def answers_silence(self) -> bool:
        """Whether it is known to send empty finals where nobody speaks, as Deepgram does."""
        return (urlsplit(self.url or "").hostname or "").endswith(".deepgram.com")

    async def locate(self) -> Address:
        """Give the address. For `offline`, start the engine's process if it does not run yet.

        Cancelling is safe: the start goes on, and serves the next caller.

        Raises:
            DgnbError: The offline engine can't be started.
        """
        if self.kind == "offline":
            from dgnb import offline

            url, token = await asyncio.to_thread(offline.ensure)
            return Address(url, Secret(token), "the offline engine's own token")
        assert self.url is not None
        return Address(self.url, self.key or Secret(_ANY_KEY), self.key_origin)


def choose(endpoint: str | None = None, api_key: str | Secret | None = None) -> Endpoint:
    """Decide where a stream goes.

    When `endpoint` is None, it is `DGNB_ENDPOINT`; if that is not set, Deepgram when there is a key, else the offline
    engine. When `api_key` is None, it is `DEEPGRAM_API_KEY`.

    Raises:
        ConfigurationError: The name or address is wrong, `ws://` would leave this machine, or the key is missing.
    """
    # Rebound wherever a key is an argument, because a traceback may print arguments.
    secret = api_key = Secret.of(api_key)
    endpoint, reason = native(endpoint), "endpoint="
    if endpoint is None and os.environ.get(ENDPOINT_VARIABLE):
        endpoint, reason = os.environ[ENDPOINT_VARIABLE], ENDPOINT_VARIABLE
    if endpoint == "offline":
        return Endpoint("offline", None, None, "", reason)
    key, origin = _key(secret)
    if endpoint is None:
        if key:
            return Endpoint("deepgram", DEEPGRAM, key, origin, f"a key is in {origin}")
        return Endpoint("offline", None, None, "", f"there is no key in api_key= or {KEY_VARIABLE}")
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
    if url.startswith("ws://") and origin == KEY_VARIABLE:
        # The account's key is never sent in clear. One that is passed for this server may be, within the machine.
        key, origin = None, ""
    return Endpoint("custom", url, key, origin, reason)


def _mask_of(key: str) -> Callable[[str], str]:
    """A function that masks a key. A text without any form of the key is returned as it is, at little cost."""
    if len(key) < _LEAST_QUOTED:
        # It may be a word of a talk, or a part of one.
        key = f"Token {key}"
    needles, forms = [key.lower()], ["".join(map(_any_form, key))]
    for before in range(3):
        # The characters of base64 that depend on the key alone, whatever stands before it.
        coded = base64.b64encode(bytes(before) + key.encode())
        core = coded[-(-before * 8 // 6) : (before + len(key)) * 8 // 6].decode()
        needles += [core.lower(), core.lower().translate(_URL_SAFE)]
        forms.append("|".join(map(re.escape, (core, core.translate(_URL_SAFE)))))
    pattern, needles = re.compile("|".join(forms), re.IGNORECASE), list(dict.fromkeys(needles))

    def mask(said: str) -> str:
        lowered = said.lower()
        escaped = ("\\" in said or "%" in said or "&" in said) and _ESCAPES.search(lowered)
        if escaped or any(needle in lowered for needle in needles):
            return pattern.sub("<key>", said)
        return said

    return mask


def _any_form(character: str) -> str:
    """A pattern for a character that is escaped as in JSON, in an address or in HTML, or is not."""
    code, plain = ord(character), re.escape(character)
    plain = plain if character.isalnum() else rf"\\*{plain}"
    return rf"(?:{plain}|\\+u00{code:02x}|%(?:25)*{code:02x}|&#0*{code};|&#x0*{code:x};)"


def is_loopback(host: str | None) -> bool:
    """Whether a host name is this machine itself."""
    if host is None:
        return False
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_warned_of: set[str] = set()


def _warn_of_literal(key: Secret) -> None:
    """Warn, once in a process, that a key is written in a cell of the notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cells = getattr(getattr(shell, "history_manager", None), "input_hist_raw", ())
    if _warned_of or len(key.reveal()) < _LEAST_KEY or not any(key.reveal() in cell for cell in cells):
        return
    _warned_of.add("a key in a cell")
    logger.warning(
        "The key is written in a cell: the notebook and IPython's history save it. Make another key, delete this one, "
        "and set %s before the notebook starts, or use api_key=getpass.getpass().",
        KEY_VARIABLE,
    )


def _key(given: Secret | None) -> tuple[Secret | None, str]:
    """The key, checked, and where it came from."""
    origin = "api_key="
    if given is None:
        in_environment = os.environ.get(KEY_VARIABLE, "").strip()
        if not in_environment:
            return None, ""
        given, origin = Secret(in_environment), KEY_VARIABLE
    stripped = Secret(given.reveal().strip())
    if not stripped.reveal():
        raise ConfigurationError(f"The key in {origin} is empty. Leave it out, or pass a key from Deepgram's console.")
    if not re.fullmatch(r"[!-~]+", stripped.reveal()):
        # The key goes into a header, where a line break starts another header.
        raise ConfigurationError(f"The key in {origin} has spaces or other wrong characters. Copy it once more.")
    _warn_of_literal(stripped)
    return stripped, origin


def _checked_url(endpoint: str) -> str:
    hint = "endpoint must be 'deepgram', 'offline' or an address such as 'wss://api.eu.deepgram.com'"
    if "://" not in endpoint:
        raise ConfigurationError(f"{hint}, not {endpoint!r}.{nearest(endpoint.lower(), ['deepgram', 'offline'])}")
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{hint}; this one has no valid host and port.") from None
    if "@" in parts.netloc:
        raise ConfigurationError("endpoint must not hold credentials: pass the key as api_key=.")
    if parts.scheme not in ("ws", "wss") or not host:
        plain = "ws" if is_loopback(host) else "wss"
        other = {"http": plain, "https": "wss"}.get(parts.scheme)
        also = f" Did you mean '{other}://{parts.netloc}'?" if other and host else ""
        raise ConfigurationError(f"{hint}, not {endpoint!r}.{also}")
    if parts.query or parts.fragment:
        raise ConfigurationError("endpoint must not have a query: pass the parameters in LiveOptions.")
    if parts.scheme == "ws" and not is_loopback(host):
        raise ConfigurationError(
            f"ws:// to {host} would send key and audio in clear. Use wss://, or an SSH tunnel to localhost."
        )
    return parts._replace(path=parts.path.rstrip("/").removesuffix("/v1/listen")).geturl()

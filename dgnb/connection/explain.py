"""What a refusal or a close code means, in plain words with a remedy.

The server's own words are quoted, bounded and on one line. Source of the codes: Deepgram's pages on errors and on
closed streams, and RFC 6455.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from dgnb.endpoints import Address, Endpoint, is_loopback
from dgnb.exceptions import AuthenticationError, ConfigurationError, ConnectionLost, DgnbError, HandshakeError

__all__ = ["connection_lost", "handshake_error"]

_SHOWN: Final = 600
"""Characters of a server's own words that go into a message."""

_CLOSED: Final = {
    1000: "the server ended the stream although audio was still to come. Was it shut down, or told to stop by an empty "
    "frame?",
    1001: "the server is going away. Start again in a moment.",
    1002: "the server saw a fault in the WebSocket protocol. Is something between here and there rewriting it?",
    1003: "the server does not take this kind of frame.",
    1006: "the line went dead without a word. Is the network still there?",
    1007: "the server saw text that is not UTF-8.",
    1008: "the server refuses what it was sent.",
    1009: "a message was too large.",
    1011: "the server had an internal fault.",
    1012: "the server is restarting. Start again in a moment.",
    1013: "the server is overloaded. Start again in a moment.",
    1014: "a gateway on the way had a fault. Start again in a moment.",
}
_DEEPGRAM: Final = {
    "DATA-0000": "the audio could not be decoded. Does encoding say what the audio is? Leave encoding out for files "
    "with a header.",
    "NET-0000": "the server produced nothing for half a minute: an internal fault, or audio that it can't read.",
    "NET-0001": "neither audio nor KeepAlive came for 10 s. A cell that blocks the kernel starves the stream: await, "
    "or use a thread, for what takes long.",
}


def connection_lost(code: int, reason: str, own: str, request_id: str) -> ConnectionLost:
    """Say in plain words what a close code means. `own` is this side's reason, where it gave up first."""
    told = reason.upper().replace("NET0", "NET-0")
    known = next((text for mark, text in _DEEPGRAM.items() if mark in told), None)
    if own:
        remedy = (
            "Is the network still there?" if "ping" in own else "The server sent what it may not. Is endpoint right?"
        )
        known = f"this side gave up ({own}). {remedy}"
    text = known or _CLOSED.get(code, "the server closed it.")
    quoted = f" {_words(reason)!r}" if reason else ""
    asked = f" (request {request_id})" if request_id else ""
    return ConnectionLost(
        f"The connection was lost: {text} Code {code}{quoted}{asked}.", code=code, reason=reason, request_id=request_id
    )


_REFUSED: Final = {
    400: "A parameter is wrong, or does not go with another: see the server's words.",
    402: "The account has no credit left.",
    403: "The key's project has no access to this model or feature.",
    404: "Is the endpoint the right one?",
    405: "This model can't be streamed: use another one, such as nova-3.",
    408: "Try again.",
    429: "The project has as many streams open as it may: close some, or wait a moment.",
}
_CERTIFICATE: Final = {
    9: "Is this machine's clock right?",
    10: "Is this machine's clock right? If so, the server's owner has to renew it.",
    62: "Is endpoint= the name that the certificate is for?",
    64: "Is endpoint= the name that the certificate is for?",
}
"""Remedies by OpenSSL's code: not valid yet, expired, another host, another address."""


def handshake_error(error: Exception, endpoint: Endpoint, address: Address, timeout: float) -> DgnbError:
    """What to raise for an error of websockets or of the system that came before the connection was open."""
    host = urlsplit(address.url).netloc
    told = _words(address.masked(str(error)))
    if isinstance(error, InvalidStatus):
        return _refused(error, host, address, offline=endpoint.kind == "offline")
    if isinstance(error, InvalidURI):
        return ConfigurationError(f"endpoint={address.url!r} is not an address that can be connected to.")
    through = _proxy(address.url)
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = _CERTIFICATE.get(
            getattr(error, "verify_code", 0),
            "On macOS run Install Certificates.command; behind a proxy that inspects TLS, or with a server of your "
            "own, point SSL_CERT_FILE to the certificate of its authority before the kernel starts.",
        )
        why = (getattr(error, "verify_message", "") or told).rstrip(".")
        by = f", reached through {through}," if through else ""
        return HandshakeError(f"The certificate of {host}{by} is not trusted ({why}). {remedy}")
    if isinstance(error, ssl.SSLError):
        why = (error.reason or told).replace("_", " ").lower()
        return HandshakeError(f"TLS with {host} failed ({why}). Is it a wss:// server, and the port right?")
    if isinstance(error, InvalidProxy | ProxyError | ImportError) or (
        through and isinstance(error, OSError | ValueError)
    ):
        return HandshakeError(_through(error, host, through or "the proxy", timeout))
    if isinstance(error, TimeoutError):
        return HandshakeError(f"{host} did not answer within {timeout:g} s. Is the network there?{_unused_proxy()}")
    if isinstance(error, socket.gaierror):
        name = urlsplit(address.url).hostname
        return HandshakeError(f"There is no host {name!r}, or no network ({error.strerror}).{_unused_proxy()}")
    if isinstance(error, OSError):
        remedy = {
            "deepgram": "Is the network there? Without it, endpoint='offline' transcribes on this machine.",
            "offline": "Restart the kernel to start the engine afresh.",
            "custom": "Is the server running, and the port right?",
        }[endpoint.kind]
        hint = "" if endpoint.local else _unused_proxy()
        return HandshakeError(f"{host} can't be reached: {_why(error)}. {remedy}{hint}")
    if isinstance(error, InvalidHandshake):
        return HandshakeError(f"{host} does not answer as a WebSocket server ({told}). Is endpoint right?")
    return HandshakeError(f"{host} could not be connected to: {told}.")


def _proxy(url: str) -> str:
    """The proxy by which websockets goes to an address, in words without its credentials; "" where it goes directly."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname) or proxy_bypass(f"{parts.hostname}:{parts.port or 443}"):
        return ""
    named = getproxies()
    scheme = next((scheme for scheme in ("wss", "socks", "https") if scheme in named), None)
    if scheme is None:
        return ""
    variables = [f"{scheme}_proxy", f"{scheme}_proxy".upper()]
    origin = next((name for name in variables if os.environ.get(name)), "the system's settings")
    # Only where it can be told apart from user and password for sure.
    found = re.fullmatch(r"\w+://(?:[^/?#@]*@)?([\w.-]+(?::\d+)?)/?", named[scheme], re.ASCII)
    return f"the proxy {found[1]} of {origin}" if found else f"the proxy of {origin}"


def _through(error: Exception, host: str, proxy: str, timeout: float) -> str:
    """What went wrong on the way through a proxy. The error's own words may hold its credentials."""
    around = f"NO_PROXY={host} goes around it."
    if isinstance(error, ImportError):
        return (
            f"The way to {host} is {proxy}, and SOCKS needs the package python-socks: "
            f"pip install 'python-socks[asyncio]'. {around}"
        )
    around = f"Is it right? {around}"
    if isinstance(error, InvalidProxyStatus):
        status = error.response.status_code
        wanted = " It wants other credentials, as in http://user:password@host:port." if status == 407 else ""
        return f"The way to {host} is {proxy}, which refused with {status}.{wanted} {around}"
    if isinstance(error, ProxyError):
        return f"The way to {host} is {proxy}, which does not answer as one does. {around}"
    if isinstance(error, TimeoutError):
        return f"{host} did not answer within {timeout:g} s by way of {proxy}. {around}"
    if isinstance(error, socket.gaierror):
        return f"The way to {host} is {proxy}, and there is no such host, or no network. {around}"
    if isinstance(error, OSError):
        return f"{host} can't be reached by way of {proxy}: {_why(error)}. {around}"
    return f"The way to {host} is {proxy}, which is no address such as http://proxy.example:3128. {around}"


def _unused_proxy() -> str:
    """A hint where there is a proxy, and websockets does not go by it."""
    return " ALL_PROXY is not used for WebSockets: set HTTPS_PROXY." if "all" in getproxies() else ""


def _why(error: OSError) -> str:
    # A name with several addresses fails once for each, and asyncio joins the errors to one without a number.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "nothing listens there"
    return _words(error)


def _refused(error: InvalidStatus, host: str, address: Address, *, offline: bool) -> HandshakeError:
    status, headers = error.response.status_code, error.response.headers

    def words(text: object) -> str:
        # Some servers quote what they refuse.
        return _words(address.masked(str(text or "")))

    body = (error.response.body or b"").decode("utf-8", "replace")
    told = _told(body)
    if told:
        body = told.get("err_msg") or told.get("message") or told.get("details") or ""
    elif body.lstrip().startswith("<"):
        body = re.sub(r"<(style|script)\b.*?</\1|<[^>]*>", " ", body, flags=re.DOTALL | re.IGNORECASE)
    hint = words(headers.get("dg-error"))
    said = ". ".join(dict.fromkeys(filter(None, (hint.rstrip("."), words(body).rstrip(".")))))
    request_id = words(headers.get("dg-request-id") or told.get("request_id"))[:64]
    fields: dict[str, Any] = {"status": status, "error": said, "request_id": request_id}
    quoted = f" {said!r}" if said else ""
    asked = f" (request {request_id})" if request_id else ""
    if status in (401, 403):
        permission = "INSUFFICIENT" in f"{told.get('err_code')}{hint}".upper()
        if status == 403:
            remedy = _REFUSED[403]
        elif permission:
            remedy = "The key is right, but lacks the permission to transcribe (usage:write)."
        else:
            remedy = "Is it complete, and of this server?"
        if not address.key_origin:
            return AuthenticationError(
                f"{host} wants a key, and none was sent: it refused with {status}{quoted}{asked}. Pass api_key=.",
                **fields,
            )
        return AuthenticationError(
            f"{host} refused the key from {address.key_origin} with {status}{quoted}{asked}. {remedy}", **fields
        )
    remedy = _REFUSED.get(status, "")
    if offline:
        host = "The offline engine"
    if status < 300:
        return HandshakeError(
            f"{host} answered with an ordinary page ({status}){quoted}{asked}, not as a WebSocket. Is endpoint right?",
            **fields,
        )
    if 300 <= status < 400:
        remedy = "It redirects elsewhere, which is not followed: the key stays here. Is endpoint right?"
    elif offline:
        remedy = "DGNB_OFFLINE_MODEL names its model: tiny.en when unset, or the folder of another one."
    elif status >= 500:
        remedy = "The fault is the server's: try again in a moment."
    return HandshakeError(f"{host} refused with {status}{quoted}{asked}. {remedy}".rstrip(), **fields)


def _told(body: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(body)
        if isinstance(told, dict):
            return told
    return {}


def _words(text: object) -> str:
    """A server's words for a message: one line, bounded, without control characters."""
    plain = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(plain.split())[:_SHOWN]

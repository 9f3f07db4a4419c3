"""What a refusal or a close code means, in plain words with a remedy.

The server's own words are quoted, bounded and on one line. Source of the codes: Deepgram's pages on errors and on
closed streams, and RFC 6455.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI, ProxyError

from dgnb.endpoints import Address, Endpoint
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
        known = f"this side gave up ({own}). Is the network still there?"
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


def handshake_error(error: Exception, endpoint: Endpoint, address: Address, timeout: float) -> DgnbError:
    """What to raise for an error of websockets or of the system that came before the connection was open."""
    host = urlsplit(address.url).netloc
    if isinstance(error, InvalidStatus):
        return _refused(error, host, address, offline=endpoint.kind == "offline")
    if isinstance(error, InvalidURI):
        return ConfigurationError(f"endpoint={address.url!r} is not an address that can be connected to.")
    if isinstance(error, InvalidProxy | ProxyError):
        return HandshakeError(
            f"The proxy on the way to {host} failed ({type(error).__name__}). Check HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or _words(error)
        return HandshakeError(
            f"The certificate of {host} is not trusted ({why}). On macOS run Install "
            "Certificates.command; behind a proxy that inspects TLS, point SSL_CERT_FILE to its certificate."
        )
    if isinstance(error, TimeoutError):
        return HandshakeError(f"{host} did not answer within {timeout:g} s. Is the network there?")
    if isinstance(error, socket.gaierror):
        return HandshakeError(f"There is no host {urlsplit(address.url).hostname!r}, or no network ({error.strerror}).")
    if isinstance(error, OSError):
        why = "nothing listens there" if isinstance(error, ConnectionRefusedError) else _words(str(error))
        remedy = {
            "deepgram": "Is the network there? Without it, endpoint='offline' transcribes on this machine.",
            "offline": "Restart the kernel to start the engine afresh.",
            "custom": "Is the server running, and the port right?",
        }[endpoint.kind]
        return HandshakeError(f"{host} can't be reached: {why}. {remedy}")
    if isinstance(error, ImportError):
        return HandshakeError(f"The proxy on the way to {host} needs a package: {error}. Install it, or set NO_PROXY.")
    if isinstance(error, InvalidHandshake):
        return HandshakeError(
            f"{host} does not answer as a WebSocket server ({_words(str(error))}). Is endpoint right?"
        )
    return HandshakeError(f"{host} could not be connected to: {_words(str(error))}.")


def _refused(error: InvalidStatus, host: str, address: Address, *, offline: bool) -> HandshakeError:
    status, headers = error.response.status_code, error.response.headers
    # Some servers quote what they refuse.
    key = address.key.reveal()
    body = (error.response.body or b"").decode("utf-8", "replace").replace(key, "<key>")
    told = _told(body)
    words = _words(told.get("err_msg") or told.get("message") or told.get("details") or "" if told else body)
    hint = headers.get("dg-error", "").replace(key, "<key>")
    said = ". ".join(dict.fromkeys(filter(None, (_words(hint).rstrip("."), words.rstrip(".")))))
    request_id = _words(headers.get("dg-request-id") or told.get("request_id") or "")[:64]
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

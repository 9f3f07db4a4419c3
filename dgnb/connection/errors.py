"""One table of what a refusal or a close code means, what to do about it, and whether to try again; and the errors.

To add an HTTP status, a close code or a reason of the server, add a row to `RULES`. Sources: Deepgram's pages on errors
and on closed streams, RFC 6455 (close codes), RFC 9110 (HTTP).
"""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import re
import socket
import ssl
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import websockets.asyncio.client as ws
from websockets.exceptions import InvalidMessage, InvalidProxy, InvalidProxyStatus, InvalidStatus, ProxyError
from websockets.http11 import Response

from dgnb.endpoints import Endpoint
from dgnb.exceptions import AuthenticationError, ConnectionLost, GaveUp, HandshakeError
from dgnb.messages import Error, ServerMessage, UnknownMessage

_LONGEST_QUOTE: Final = 600  # Characters of a server's own words that go into a message

_UNKNOWN: Final = 2
"""Answers of unknown types, before any of Deepgram's, after which the server is doubted to speak its protocol."""
HOPELESS: Final = 20  # Answers before any of Deepgram's after which a server that sends what is no message is given up
_FOREIGN: Final = (
    "It does not seem to speak Deepgram's protocol: is endpoint the address of a server that answers as Deepgram does?"
)


class Again(enum.Enum):
    """Whether to try again after a fault; `ONCE` means once without a final in between."""

    ALWAYS = "always"
    ONCE = "once"
    NEVER = "never"


class Rule(NamedTuple):
    """One row: what a fault means and what to do, whether to try again, and what to check when it happens twice."""

    text: str
    again: Again
    twice: str = ""


_ALWAYS, _ONCE, _NEVER = Again
_FORMAT: Final = "Is the audio in the format that encoding and sample_rate say?"

RULES: Final[dict[int | str | GaveUp, Rule]] = {
    # HTTP statuses, and the rest of each class.
    400: Rule("A parameter is wrong, or does not go with another: see the server's words.", _NEVER),
    401: Rule("Is the key complete, and for this server?", _NEVER),
    402: Rule("The account has no credit left.", _NEVER),
    403: Rule("The key's project has no access to this model or feature.", _NEVER),
    404: Rule("Is the endpoint the right one?", _NEVER),
    405: Rule("This model can't be streamed: use another one, such as nova-3.", _NEVER),
    408: Rule("Try again.", _ALWAYS),
    429: Rule("The project has as many streams open as it may: close some, or wait a moment.", _ALWAYS),
    "2xx": Rule("That is an ordinary page, not a WebSocket. Is endpoint right?", _NEVER),
    "3xx": Rule("dgnb does not follow redirects, so that the key stays here. Is endpoint right?", _NEVER),
    "4xx": Rule("", _NEVER),
    "5xx": Rule("The fault is the server's: try again in a moment.", _ALWAYS),
    # The same statuses where they mean something else: for a recording that is uploaded, and for a grant of a token.
    "file 400": Rule("A parameter is wrong, or the recording is no audio: see the server's words.", _NEVER),
    "file 405": Rule("Is the endpoint the right one?", _NEVER),
    "file 408": Rule("The upload was too slow: send fewer recordings at a time.", _ALWAYS),
    "file 413": Rule("The recording is too large: split it, or send its sound only.", _NEVER),
    "file 414": Rule("The query is too long: give fewer terms.", _NEVER),
    "file 429": Rule("The project has as many requests under way as it may: send fewer at a time.", _ALWAYS),
    "file 499": Rule("Try again.", _ALWAYS),
    "file 504": Rule(
        "The service works on a recording for ten minutes at most (Whisper: twenty). Split it at a silence, or have "
        "the result sent to a server of yours with callback=.",
        _NEVER,
    ),
    "grant 403": Rule("Only a key whose role is Member or higher can grant tokens.", _NEVER),
    # Close codes, and the rest of each class.
    1000: Rule("the server ended the stream although audio was still to come. Was it shut down?", _ONCE),
    1001: Rule("the server is going away. Start again in a moment.", _ALWAYS),
    1002: Rule("the server saw a fault in the WebSocket protocol. Does a proxy change the frames?", _NEVER),
    1003: Rule("the server does not take this kind of frame.", _NEVER),
    1006: Rule("the line went dead without a close frame. Is the network still there?", _ALWAYS),
    1007: Rule("the server saw text that is not UTF-8.", _NEVER),
    1008: Rule("the server refuses what it was sent.", _NEVER),
    1009: Rule("a message was too large.", _NEVER),
    1010: Rule("the server lacks a WebSocket extension.", _NEVER),
    1011: Rule("the server had an internal fault.", _ALWAYS),
    1012: Rule("the server is restarting. Start again in a moment.", _ALWAYS),
    1013: Rule("the server is overloaded. Start again in a moment.", _ALWAYS),
    1014: Rule("a gateway on the way had a fault. Start again in a moment.", _ALWAYS),
    1015: Rule("the TLS handshake failed.", _NEVER),
    "4xxx": Rule("the server closed it.", _ALWAYS),
    # Reasons in the server's words. They say more than the number that they come with.
    "REMOTE_CONTENT_ERROR": Rule("The service can't fetch this address. Download it, and pass the file.", _ONCE),
    "INSUFFICIENT_PERMISSIONS": Rule("The key is right, but lacks the permission to transcribe (usage:write).", _NEVER),
    "DATA-0000": Rule("the audio could not be decoded. Is encoding right? A file with a header needs none.", _NEVER),
    "NET-0000": Rule(
        "the server produced nothing for half a minute: an internal fault, or audio that it can't read.", _ONCE, _FORMAT
    ),
    "NET-0001": Rule(
        "neither audio nor KeepAlive came for 10 s. A cell that blocks the kernel starves the stream: await, or use a "
        "thread, for what takes long.",
        _ALWAYS,
    ),
    # Those of /v2/listen.
    "INTERNAL_SERVER_ERROR": Rule("the server had an internal fault.", _ALWAYS),
    "INACTIVE_CLIENT": Rule("nothing came for a minute, not even a ping. Did a cell block the kernel?", _ALWAYS),
    "UNPARSABLE_CLIENT_MESSAGE": Rule(
        "the server can't read a message that it was sent. Is it a self-hosted one of before September 2026?", _NEVER
    ),
    # Why this side dropped the connection.
    GaveUp.UNANSWERED: Rule("nothing came for too long, not even an answer to a ping. Is the network there?", _ALWAYS),
    GaveUp.SILENT: Rule("audio was sent, and the server heard no more of it, but answered pings.", _ONCE, _FORMAT),
    GaveUp.FOREIGN: Rule(
        "the server answers with binary frames or other things that are no messages, so it does not speak Deepgram's "
        "protocol. Is endpoint right?",
        _NEVER,
    ),
    GaveUp.PROTOCOL: Rule("this side gave up: the server broke the WebSocket protocol. Is endpoint right?", _ALWAYS),
}
_REASONS: Final = {name.replace("-", ""): name for name in RULES if isinstance(name, str) and name.isupper()}
_CERTIFICATE: Final = (
    "Is endpoint= the name that it is for, and this machine's clock right? On macOS run Install Certificates.command. "
    "Behind a proxy that inspects TLS, or with a server of your own, point ssl= or, before the kernel starts, "
    "SSL_CERT_FILE to the certificate of its authority."
)
_UNREACHABLE: Final = {
    "deepgram": "Is the network there? Without it, endpoint='offline' transcribes on this machine.",
    "offline": "Restart the kernel to start the engine afresh.",
    "custom": "Is the server running, and the port right?",
}
_OFFLINE: Final = "DGNB_OFFLINE_MODEL names its model: tiny.en when unset, or the folder of another one."


def find_rule(number: int, reason: str = "", gave_up: GaveUp | None = None, request: str = "") -> Rule:
    """The row for an HTTP status or close code, the server's words that came with it, and why this side gave up.

    `request` is what was asked for where it was no WebSocket: "file" or "grant".
    """
    # A server names its reason as NET-0001, or by a link that ends in net0001.
    said = reason.upper().replace("-", "")
    named = (name for mark, name in _REASONS.items() if mark in said)
    family = f"{number // 100}xx" if number < 1000 else f"{number // 1000}xxx"
    for key in (gave_up, *named, f"{request} {number}", number, family):
        if key in RULES:
            return RULES[key]
    return Rule("the server closed it.", _ONCE)


def may_retry(error: Exception) -> Again:
    """Whether to connect again after this error."""
    if isinstance(error, ConnectionLost):
        return find_rule(error.code, error.reason, error.gave_up).again
    return Again.ALWAYS if isinstance(error, HandshakeError) and error.transient else Again.NEVER


def connection_lost(
    code: int, reason: str = "", *, gave_up: GaveUp | None = None, detail: str = "", request_id: str = ""
) -> ConnectionLost:
    """Make the error for a connection that ended. `detail` is what this side saw, where the server gave no reason."""
    rule = find_rule(code, reason, gave_up)
    return ConnectionLost(
        f"The connection was lost: {rule.text} Code {code}{_quoted(one_line(reason or detail), request_id)}.",
        code=code,
        reason=reason,
        request_id=request_id,
        gave_up=gave_up,
    )


def reason_in(message: ServerMessage) -> str:
    """A server's words in an `Error` message, also in one that is spelled otherwise; "" for any other message."""
    if isinstance(message, Error):
        found = message.variant or message.code, message.description or message.message
    elif isinstance(message, UnknownMessage) and isinstance(message.raw, dict):
        fields = message.raw.get("error") or (message.raw if message.type.lower() == "error" else "")
        names = ("description", "message", "reason", "detail")
        said = [fields.get(name) for name in names] if isinstance(fields, dict) else [fields]
        found = None, next(filter(None, said), None)
    else:
        return ""
    return one_line(": ".join(map(str, filter(None, found))))


class Answers:
    """The answers of a server up to the first that is Deepgram's: its `first` words, and the `doubt` about it."""

    def __init__(self) -> None:
        self.recognised = False  # Whether one of Deepgram's came.
        self.doubt = self.first = ""  # The text of the doubt, and the server's first words.
        self.count = 0

    def wonder(self, data: bytes, problem: str = "") -> None:
        """Take an answer that is not Deepgram's; `problem` says why it is no message at all."""
        self.count += 1
        text = data.decode("utf-8", "replace")
        if "\0" in text or "\ufffd" in text:
            problem = "The server answers with binary frames"
        else:
            self.first = self.first or one_line(text)
        if not self.doubt and (problem or self.count >= _UNKNOWN):
            self.doubt = f"{problem or f'The server answers with unknown messages: {self.first!r}'}. {_FOREIGN}"

    @property
    def foreign(self) -> str:
        """A sentence for an error where the server has answered, and with nothing of Deepgram's; else ""."""
        return f" {_FOREIGN}" if self.count and not self.recognised else ""


def handshake_error(error: Exception, endpoint: Endpoint, timeout: float) -> HandshakeError:
    """Make the error to raise for an error of websockets or of the system during the handshake."""
    if isinstance(error, InvalidStatus):
        return refusal(error.response, endpoint)
    host, proxy = urlsplit(str(endpoint.url)).netloc, _proxy(endpoint)
    # Trying again may help where nobody answered, or the line broke before the answer was complete.
    transient = isinstance(error, OSError | EOFError | InvalidMessage | ProxyError)
    if isinstance(error, ssl.SSLError):
        # The others are a wrong certificate, or a server without TLS.
        transient = isinstance(error, ssl.SSLEOFError)
        text = _tls(error, host, endpoint, proxy)
    elif isinstance(error, InvalidProxy | ProxyError | ImportError) or (
        proxy and isinstance(error, OSError | ValueError)
    ):
        around = f"HTTPS_PROXY names another proxy, and NO_PROXY={host} none." if endpoint.proxy is None else ""
        text = f"{host} can't be reached by way of {proxy or 'the proxy'}: {_why(error, timeout)}. "
        text += around or "proxy=False goes around the proxy."
        if isinstance(error, InvalidProxyStatus):
            transient = find_rule(error.response.status_code).again is Again.ALWAYS
    elif isinstance(error, OSError):
        text = f"{host} can't be reached: {_why(error, timeout)}. {_UNREACHABLE[endpoint.kind]}"
    else:
        told = one_line(endpoint.masked(str(error)))
        text = f"{host} does not answer as a WebSocket server ({told}). Is endpoint right?"
    return HandshakeError(text, transient=transient)


def not_greeted(endpoint: Endpoint, timeout: float, request_id: str) -> HandshakeError:
    """Make the error for a server of `/v2/listen` that opened the connection, and did not say that it is ready."""
    text = f"{urlsplit(str(endpoint.url)).netloc} opened the connection, and sent no Connected within {timeout:g} s. "
    text += f"Does it serve Flux, and with these options{_quoted('', request_id)}?"
    return HandshakeError(text, transient=True, request_id=request_id)


def refusal(response: Response, endpoint: Endpoint, request: str = "") -> HandshakeError:
    """Make the error for a server that answered with an HTTP status. `request` is as in `find_rule`."""
    status = response.status_code
    reason, said, request_id = _answer(response, endpoint)
    wait = response.headers.get("Retry-After", "").strip()
    # A 403 has the same err_code, and is about the model.
    rule = find_rule(status, reason if status in (400, 401) else "", request=request)
    host, did, remedy = urlsplit(str(endpoint.url)).netloc, "refused", rule.text
    kind = HandshakeError
    if status in (401, 403):
        kind = AuthenticationError
        if endpoint.key_origin:
            did = f"refused the key from {endpoint.key_origin}"
            if status == 401 and endpoint.authorization.startswith("Bearer"):
                remedy = "Is the access token still valid? It lasts for 30 s, unless it was granted for longer."
        else:
            remedy = "No key was sent. Pass api_key=."
    elif status < 300:
        did = "answered"
    elif endpoint.kind == "offline":
        host, remedy = "The offline engine", rule.text if request else _OFFLINE
    return kind(
        f"{host} {did} with {status}{_quoted(said, request_id)}. {remedy}".rstrip(),
        status=status,
        error=said,
        request_id=request_id,
        transient=rule.again is not Again.NEVER,
        # None without one, and for a date, which few servers send.
        retry_after=float(wait) if re.fullmatch(r"\d{1,9}(\.\d+)?", wait, re.ASCII) else None,
    )


def one_line(text: object) -> str:
    """A server's words for a message: one line, bounded, without control characters."""
    plain = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(plain.split())[:_LONGEST_QUOTE]


def _quoted(said: str, request_id: str) -> str:
    return (f" {said!r}" if said else "") + (f" (request {request_id})" if request_id else "")


def _answer(response: Response, endpoint: Endpoint) -> tuple[str, str, str]:
    """The error code, the words and the request id of a refusal. The key is masked: some servers quote it."""

    def masked(text: object) -> str:
        return one_line(endpoint.masked(str(text or "")))

    body = (response.body or b"").decode("utf-8", "replace")
    told: dict[str, Any] = {}
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(body)
        told = parsed if isinstance(parsed, dict) else {}
    if told:
        body = next(filter(None, map(told.get, ("err_msg", "message", "details", "description", "code"))), "")
    elif body.lstrip().startswith("<"):
        body = re.sub(r"<(style|script)\b.*?</\1|<[^>]*>", " ", body, flags=re.DOTALL | re.IGNORECASE)
    hint = masked(response.headers.get("dg-error"))
    said = ". ".join(dict.fromkeys(filter(None, (hint.rstrip("."), masked(body).rstrip(".")))))
    request_id = masked(response.headers.get("dg-request-id") or told.get("request_id"))[:64]
    code = told.get("err_code") or told.get("category") or told.get("error_code") or told.get("code")
    return f"{code} {hint}", said, request_id


def _why(error: Exception, timeout: float) -> str:
    """What went wrong. Nothing of an error about a proxy is quoted: it may hold the proxy's credentials."""
    match error:
        case ImportError():
            return "SOCKS needs the package python-socks: pip install 'python-socks[asyncio]'"
        case InvalidProxyStatus():
            return f"it refused with {error.response.status_code} (407: it wants http://user:password@host:port)"
        case ProxyError():
            return "it does not answer as a proxy does"
        case TimeoutError():
            return f"no answer came within {timeout:g} s"
        case socket.gaierror():
            return "there is no such host, or no network"
        case OSError():
            # A name with several addresses fails once for each, and asyncio joins the errors to one without a number.
            refused = isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error)
            return "nothing listens there" if refused else one_line(error)
        case _:
            return "it is no address such as http://proxy.example:3128"


def _tls(error: ssl.SSLError, host: str, endpoint: Endpoint, proxy: str) -> str:
    told = one_line(endpoint.masked(str(error)))
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (getattr(error, "verify_message", "") or told).rstrip(".")
        by = f", reached through {proxy}," if proxy else ""
        return f"The certificate of {host}{by} is not trusted ({why}). {_CERTIFICATE}"
    why = (getattr(error, "reason", "") or told).replace("_", " ").lower()
    return f"TLS with {host} failed ({why}). Is it a wss:// server, and the port right?"


def _proxy(endpoint: Endpoint) -> str:
    """The proxy that websockets uses for an address, in words without its credentials; "" for none."""
    used: str | None = None
    if endpoint.proxy:
        used = endpoint.proxy.reveal()
    elif endpoint.proxy is None and not endpoint.local:
        used = ws.get_proxy(ws.parse_uri(str(endpoint.url)))  # type: ignore[attr-defined]
    # The address is shown only where it can't be mistaken for a user name or a password.
    found = re.fullmatch(r"\w+://(?:[^/?#@]*@)?([\w.-]+(?::\d+)?)/?", used or "", re.ASCII)
    return f"the proxy {found[1]}" if found else "the proxy" if used else ""

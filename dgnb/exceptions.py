"""What can go wrong, as one tree.

    DgnbError
    ├── ConfigurationError (ValueError)     options or source are wrong; raised before any I/O
    ├── AudioError                          a source cannot be opened, read or decoded
    ├── HandshakeError                      .status .error .request_id: the server's own words
    │   └── AuthenticationError             401, 403: says where the key came from, never the key
    ├── ConnectionLost (ConnectionError)    .code .reason .request_id .gave_up
    ├── CloseTimeout (TimeoutError)         the server did not finish in time; the transcript is kept
    ├── SessionStopped                      .transcript: it ends before its source does
    └── ProtocolError                       a text frame that is not a JSON object

Each message says what happened, quotes the server's words, and ends with what to change. No exception carries a key.
IPython shows the user's own lines and the message, without the frames of dgnb. `%tb Verbose` shows all.
"""

from __future__ import annotations

import difflib
import enum
import functools
import itertools
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

__all__ = [
    "AudioError",
    "AuthenticationError",
    "CloseTimeout",
    "ConfigurationError",
    "ConnectionLost",
    "DgnbError",
    "HandshakeError",
    "ProtocolError",
    "SessionStopped",
]


_PACKAGE: Final = str(Path(__file__).parent)
_OWN_LINES: Final = 3


class DgnbError(Exception):
    """The base of every error that dgnb raises on purpose."""

    def __init__(self, message: str = "", **told: Any) -> None:
        super().__init__(message)
        vars(self).update(told)

    def _render_traceback_(self) -> list[str]:
        return short_traceback(self, str(self))


class ConfigurationError(DgnbError, ValueError):
    """Options or a source are wrong. Raised before any I/O, so nothing was sent."""


class AudioError(DgnbError):
    """A source cannot be opened, read or decoded."""


class HandshakeError(DgnbError):
    """The server was not reached, or it refused the WebSocket.

    Attributes:
        status: The HTTP status, or None when the server did not answer.
        error: The server's own words (the `dg-error` header or the body), or "".
        request_id: Deepgram's id of the request, to quote to its support, or "".
        transient: Whether trying again may help: the server was not reached, is overloaded, or has a fault.
        retry_after: Seconds to wait before the next try, from the `Retry-After` header, or None.
    """

    status: int | None = None
    error: str = ""
    request_id: str = ""
    transient: bool = False
    retry_after: float | None = None


class AuthenticationError(HandshakeError):
    """The key is missing, wrong, or not allowed to do this (401 or 403)."""


class GaveUp(enum.Enum):
    """Why this side dropped a connection. The table of `connection/errors.py` says what each one means."""

    UNANSWERED = "no byte came in time after a ping"
    SILENT = "audio was taken, and no more of it was heard"
    PROTOCOL = "the server broke the WebSocket protocol"
    FOREIGN = "the server does not speak Deepgram's protocol"


class ConnectionLost(DgnbError, ConnectionError):
    """An open connection ended before the server had finished.

    Attributes:
        code: The WebSocket close code; 1006 when none was received.
        reason: The server's reason, from its close frame and from an `Error` message before it; or "".
        request_id: Deepgram's id of the request, or "".
        gave_up: Why this side dropped the connection, or None when the server or the network ended it.
    """

    code: int = 1006
    reason: str = ""
    request_id: str = ""
    gave_up: GaveUp | None = None


class CloseTimeout(DgnbError, TimeoutError):
    """The server did not finish within `close_timeout`. The transcript keeps what had arrived."""


class SessionStopped(DgnbError):
    """Who waited for a whole transcript does not get one: the session was stopped, or replaced by another one.

    Attributes:
        transcript: The `Transcript` up to the stop.
    """

    transcript: Any = None


class ProtocolError(DgnbError):
    """The server sent a text frame that is not a JSON object. The connection stays open."""


def shorten(error: BaseException) -> None:
    """Have an interrupt shown as errors of dgnb are."""
    vars(error)["_render_traceback_"] = functools.partial(short_traceback, error, "The cell was interrupted.")


def shell() -> Any:
    """The IPython that this code runs in, or None."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def short_traceback(error: BaseException, message: str) -> list[str]:
    """What IPython shows of an error, unless a mode asks for more: the lines that led into dgnb, and the message."""
    running = shell()
    if running.InteractiveTB.mode != "Context":
        return list(running.InteractiveTB.structured_traceback(type(error), error, error.__traceback__))
    frames = itertools.takewhile(
        lambda frame: not frame.filename.startswith(_PACKAGE), traceback.extract_tb(error.__traceback__)
    )
    # Generated code, such as the __init__ of a dataclass, has no line to show.
    own = [frame for frame in frames if frame.line and f"{os.sep}IPython{os.sep}" not in frame.filename]
    shown = []
    for frame in own[-_OWN_LINES:]:
        kind, name = running.compile.format_code_name(frame.filename) or ("File", frame.filename)
        shown += [f"{kind} {name}, line {frame.lineno}", f"    {str(frame.line)[:200]}"]
    red, plain = ("", "") if running.colors.lower() == "nocolor" else ("\x1b[31m", "\x1b[0m")
    notes = getattr(error, "__notes__", ())
    return [*shown, f"{red}{type(error).__name__}{plain}: {message}", *notes, "The whole traceback: %tb Verbose"]


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint to append to a message: `" Did you mean 'diarize'?"`, or "" when no name is near."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {match[0]!r}?" if match else ""

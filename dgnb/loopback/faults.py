"""Faults on purpose: what a `LoopbackServer` can do wrong, for the tests of its clients.

Each is a context manager, and ends with it. They add up; of several of a kind the newest wins. A `times` counts
how often it strikes, after which all is well again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Dropping", "Faults", "Rejecting"]


@dataclass(eq=False)
class _Fault:
    times: int | None = None

    def strike(self) -> None:
        if self.times is not None:
            self.times -= 1

    @property
    def spent(self) -> bool:
        return self.times is not None and self.times <= 0


@dataclass(eq=False)
class Rejecting(_Fault):
    """Answer handshakes with an HTTP status."""

    status: int = 500
    error: str | None = None
    body: Mapping[str, Any] | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Dropping(_Fault):
    """End connections after so many seconds of their audio; without a code, without a word."""

    after: float = 0.0
    code: int | None = None
    reason: str = ""


@dataclass(eq=False)
class Silent(_Fault):
    """Send nothing."""


@dataclass(eq=False)
class Unresponsive(_Fault):
    """Leave handshakes unanswered."""


@dataclass(eq=False)
class Unclosing(_Fault):
    """Leave `CloseStream` unanswered."""


_Kind = TypeVar("_Kind", bound=_Fault)


class Faults:
    """The faults in force. `LoopbackServer` inherits the public ones."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []

    @contextmanager
    def rejecting(
        self,
        status: int,
        error: str | None = None,
        body: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> Iterator[None]:
        """Answer handshakes with an HTTP error instead of 101.

        Args:
            status: 400 to 599, or a 3xx with a `Location` among the headers.
            error: The server's words, in `dg-error` and in the body; fitting ones if not given.
            body: A mapping is sent as JSON, text as HTML; `{err_code, err_msg, request_id}` if not given.
            headers: Further headers, such as `{"Retry-After": "2"}`.
            times: How many handshakes; all until the end of the context if not given.

        Example:
            ```python
            with server.rejecting(429, headers={"Retry-After": "1"}, times=2):
                await dgnb.transcribe("speech.wav", endpoint=server.url)
            ```
        """
        with self._in_force(Rejecting(times, status, error, body, dict(headers or {}))):
            yield

    @contextmanager
    def dropping(
        self, after: float = 0.0, code: int | None = None, reason: str = "", times: int | None = None
    ) -> Iterator[None]:
        """End connections after `after` seconds of their audio, what was due by then being sent.

        Connections that are open already are dropped too, with their next audio.

        Args:
            after: Seconds of audio since the connection opened; 0 drops it as soon as it is open.
            code: A close code to send; without one the TCP connection is reset, as when a line goes dead (1006).
            reason: The reason that goes with the code.
            times: How many connections; all until the end of the context if not given.

        Example:
            ```python
            with server.dropping(after=1.5, times=1): ...
            with server.dropping(after=0, code=1008, reason="DATA-0000"): ...
            ```
        """
        with self._in_force(Dropping(times, after, code, reason)):
            yield

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take everything and send nothing: no `Results`, no answer to `Finalize` or `CloseStream`, no close.

        Holds for open connections too. What would have been sent in the meantime is lost.

        Example:
            ```python
            with server.silent(), pytest.raises(dgnb.CloseTimeout): ...
            ```
        """
        with self._in_force(Silent()):
            yield

    @contextmanager
    def refusing_to_close(self) -> Iterator[None]:
        """Transcribe, but leave `CloseStream` unanswered: no last results, no `Metadata`, no close.

        Example:
            ```python
            with server.refusing_to_close(): ...
            ```
        """
        with self._in_force(Unclosing()):
            yield

    @contextmanager
    def unresponsive(self, times: int | None = None) -> Iterator[None]:
        """Accept TCP connections and leave the handshake unanswered.

        Args:
            times: How many handshakes; all until the end of the context if not given.

        Example:
            ```python
            with server.unresponsive(times=1): ...
            ```
        """
        with self._in_force(Unresponsive(times)):
            yield

    @property
    def _any(self) -> bool:
        return bool(self._faults)

    def _in_force_now(self, kind: type[_Kind]) -> _Kind | None:
        return next((fault for fault in reversed(self._faults) if isinstance(fault, kind) and not fault.spent), None)

    def _drop_due(self, clock: float) -> Dropping | None:
        """The drop that strikes a connection with so much audio, if any; asking counts."""
        for fault in reversed(self._faults):
            if isinstance(fault, Dropping) and not fault.spent and clock >= fault.after - 1e-6:
                fault.strike()
                return fault
        return None

    @contextmanager
    def _in_force(self, fault: _Fault) -> Iterator[None]:
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)

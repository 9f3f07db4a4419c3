"""Faults on purpose: what a `LoopbackServer` can do wrong, so that you can test its clients.

Each fault is a context manager and ends with its context. Several may be in force; of two of the same kind, the newest
counts. `times` says how often a fault strikes; after that, the server behaves well again.

```python
with server.silent(), pytest.raises(dgnb.CloseTimeout):
    await dgnb.transcribe("speech.wav", endpoint=server.url)
```
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from dgnb.values import native

Ending = Literal["closed", "reset", "stalled"]


@dataclass(eq=False)
class Fault:
    """Something to do wrong, `times` times or without end."""

    times: int | None = None

    def __post_init__(self) -> None:
        vars(self).update({name: native(value) for name, value in vars(self).items()})

    def strike(self) -> None:
        """Count one time."""
        if self.times is not None:
            self.times -= 1


@dataclass(eq=False)
class Rejecting(Fault):
    """Answer handshakes with an HTTP status."""

    status: int = 500
    error: str | None = None
    body: Mapping[str, Any] | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Dropping(Fault):
    """End connections after so many seconds of their audio; without a code, there is no close frame."""

    after: float = 0.0
    code: int | None = None
    reason: str = ""


class Silent(Fault):
    """Send nothing."""


class Unresponsive(Fault):
    """Leave handshakes unanswered."""


class Unclosing(Fault):
    """Leave `CloseStream` unanswered."""


@dataclass(eq=False)
class Broadcasting(Fault):
    """How the station serves a listener."""

    after: float = math.inf
    ends: Ending = "closed"
    status: int | None = None


_Kind = TypeVar("_Kind", bound=Fault)


class InForce:
    """The faults in force, the oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    @contextmanager
    def during(self, fault: Fault) -> Iterator[None]:
        """Keep a fault in force within the context."""
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)

    def all(self, kind: type[_Kind]) -> list[_Kind]:
        """Every fault of a kind that has not struck as often as it may, the oldest first."""
        return [one for one in self._faults if isinstance(one, kind) and (one.times is None or one.times > 0)]

    def now(self, kind: type[_Kind]) -> _Kind | None:
        """The newest fault of a kind, if any; asking does not count."""
        return next(reversed(self.all(kind)), None)

    def strike(self, kind: type[_Kind], due: Callable[[_Kind], bool] = lambda _: True) -> _Kind | None:
        """The newest fault of a kind that is due, if any; asking counts."""
        fault = next(filter(due, reversed(self.all(kind))), None)
        if fault is not None:
            fault.strike()
        return fault


class Faults:
    """The public faults, which `LoopbackServer` inherits."""

    def __init__(self) -> None:
        self._in_force = InForce()

    def rejecting(
        self,
        status: int,
        error: str | None = None,
        body: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> AbstractContextManager[None]:
        """Answer handshakes with an HTTP error instead of 101.

        Args:
            status: 400 to 599, or a 3xx with a `Location` among the headers.
            error: The server's words, in `dg-error` and in the body; by default, words that fit the status.
            body: A mapping is sent as JSON, text as HTML; by default, `{err_code, err_msg, request_id}`.
            headers: Further headers, such as `{"Retry-After": "2"}`.
            times: How many handshakes; by default, all until the context ends.

        Example:
            ```python
            with server.rejecting(429, headers={"Retry-After": "1"}, times=2):
                await dgnb.transcribe("speech.wav", endpoint=server.url)
            ```
        """
        sent = {name: str(native(value)) for name, value in (headers or {}).items()}
        return self._in_force.during(Rejecting(times, status, error, body, sent))

    def dropping(
        self, after: float = 0.0, code: int | None = None, reason: str = "", times: int | None = None
    ) -> AbstractContextManager[None]:
        """End connections after `after` seconds of their audio; results that are due by then are sent first.

        Connections that are already open are dropped too, with their next audio.

        Args:
            after: Seconds of audio since the connection opened; 0 drops it as soon as it is open.
            code: A close code to send. Without one, the TCP connection ends without a close frame (1006).
            reason: The reason that goes with the code.
            times: How many connections; by default, all until the context ends.

        Example:
            ```python
            with server.dropping(after=1.5, times=1): ...
            with server.dropping(after=0, code=1008, reason="DATA-0000"): ...
            ```
        """
        return self._in_force.during(Dropping(times, after, code, reason))

    def silent(self) -> AbstractContextManager[None]:
        """Take everything and send nothing: no `Results`, no answer to `Finalize` or `CloseStream`, no close.

        This applies to open connections too. Messages that fall into the context are never sent.
        """
        return self._in_force.during(Silent())

    def refusing_to_close(self) -> AbstractContextManager[None]:
        """Transcribe, but leave `CloseStream` unanswered: no last results, no `Metadata`, no close."""
        return self._in_force.during(Unclosing())

    def unresponsive(self, times: int | None = None) -> AbstractContextManager[None]:
        """Accept TCP connections and leave the handshake unanswered.

        Args:
            times: How many handshakes; by default, all until the context ends.
        """
        return self._in_force.during(Unresponsive(times))

    def broadcasting(
        self,
        *,
        after: float | None = None,
        ends: Ending | None = None,
        status: int | None = None,
        times: int | None = None,
    ) -> AbstractContextManager[None]:
        """Let the station (`/radio`) fail for those who begin to listen within the context.

        Args:
            after: Seconds of audio after which it ends; 0 ends right after the headers. By default it goes on for
                ever, or ends at once if `ends` is given.
            ends: How it ends: `"closed"` in good order (the default), `"reset"`, or `"stalled"`, which leaves the
                connection open and sends nothing more.
            status: An HTTP status to answer with, instead of audio.
            times: How many listeners; by default, all until the context ends.

        Example:
            ```python
            with server.broadcasting(after=2, ends="reset", times=1): ...
            with server.broadcasting(status=503): ...
            ```
        """
        if after is None:
            after = 0.0 if ends else math.inf
        return self._in_force.during(Broadcasting(times, after, ends or "closed", status))

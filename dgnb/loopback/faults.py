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
from typing import Any, Literal

from dgnb.values import native


class InForce:
    """The faults in force, the oldest first: each has its kind, how many times it may strike, and its settings."""

    def __init__(self) -> None:
        self._faults: list[dict[str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    @contextmanager
    def during(self, kind: str, times: int | None = None, **settings: Any) -> Iterator[None]:
        """Keep a fault in force within the context."""
        fault = {name: native(value) for name, value in settings.items()}
        fault |= {"kind": kind, "times": math.inf if times is None else native(times)}
        self._faults.append(fault)
        try:
            yield
        finally:
            # By identity: an equal fault may be in force around this one.
            self._faults = [one for one in self._faults if one is not fault]

    def strike(self, kind: str, due: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any] | None:
        """The newest fault of a kind that is due and may strike, if any; asking counts."""
        able = [one for one in self._faults if one["kind"] == kind and one["times"] > 0 and due(one)]
        if able:
            able[-1]["times"] -= 1
        return able[-1] if able else None


class Faults:
    """The public faults, which `LoopbackServer` inherits."""

    _in_force: InForce

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
        body = dict(body) if isinstance(body, Mapping) else body
        return self._in_force.during("rejecting", times, status=status, error=error, body=body, headers=sent)

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
        return self._in_force.during("dropping", times, after=after, code=code, reason=reason)

    def silent(self) -> AbstractContextManager[None]:
        """Take everything and send nothing: no `Results`, no answer to `Finalize` or `CloseStream`, no close.

        This applies to open connections too. Messages that fall into the context are never sent.
        """
        return self._in_force.during("silent")

    def refusing_to_close(self) -> AbstractContextManager[None]:
        """Transcribe, but leave `CloseStream` unanswered: no last results, no `Metadata`, no close."""
        return self._in_force.during("unclosing")

    def unresponsive(self, times: int | None = None) -> AbstractContextManager[None]:
        """Accept TCP connections and leave handshakes unanswered: `times` of them, or all until the context ends."""
        return self._in_force.during("unresponsive", times)

    def broadcasting(
        self,
        *,
        after: float | None = None,
        ends: Literal["closed", "reset", "stalled"] | None = None,
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
        return self._in_force.during("broadcasting", times, after=after, ends=ends or "closed", status=status)

"""What a `LoopbackServer` has seen: handshakes and connections, for assertions in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from dgnb.options import LiveOptions

__all__ = ["Handshake", "ServedConnection", "keep", "masked"]

_KEPT: Final = 20_000
_SECRET: Final = {"authorization", "proxy-authorization", "cookie"}

_Item = TypeVar("_Item")


@dataclass(eq=False)
class Handshake:
    """One HTTP request, and how it was answered.

    Attributes:
        path: Without the query.
        query: Its parameters, in order.
        headers: With lower-case names; whatever could be a credential is `***`.
        status: The HTTP status given; None while there is none.
        error: The words given, or "".
        request_id: As in `dg-request-id`.
    """

    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    request_id: str
    status: int | None = None
    error: str = ""


@dataclass(eq=False)
class ServedConnection:
    """One WebSocket connection, while it runs and afterwards.

    Attributes:
        request_id: As in `dg-request-id`.
        options: What the client asked for.
        opened_at: When the handshake was done, in UTC.
        bytes_received: Bytes of audio.
        audio_seconds: The audio clock: seconds that were decoded and recognised so far.
        texts: Text frames, in order, as they came.
        frame_times: When each frame came, by the loop's clock, in seconds.
        violations: What a client must not do: frames after `CloseStream`, empty audio, text that does not
            parse.
        sent: Messages sent, by type.
        close_code: How it ended; None while it is open, 1006 where there was no close frame.
        close_reason: The reason that goes with it.
        dropped: Whether a fault ended it.
    """

    request_id: str
    options: LiveOptions
    opened_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    bytes_received: int = 0
    audio_seconds: float = 0.0
    texts: list[str] = field(default_factory=list)
    frame_times: list[float] = field(default_factory=list, repr=False)
    violations: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    close_code: int | None = None
    close_reason: str = ""
    dropped: bool = False
    _closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether it still runs."""
        return self.close_code is None

    async def wait_closed(self) -> None:
        """Wait until it has ended. Cancelling is safe."""
        await self._closed.wait()

    def ended(self, code: int, reason: str = "") -> None:
        """Note how it ended; the first note stands."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason

    def over(self) -> None:
        """Wake whoever waits for the end: nothing of the connection is left."""
        self._closed.set()


def keep(log: list[_Item], item: _Item, most: int = _KEPT) -> None:
    """Append to a log that does not grow for ever: a server may run for weeks."""
    log.append(item)
    if len(log) > most:
        del log[: most // 2]


def masked(headers: Mapping[str, Any]) -> dict[str, str]:
    """Headers to keep: nothing in them opens anything."""
    kept = {}
    for name, value in headers.items():
        name = name.lower()
        if name in _SECRET:
            scheme, space, _ = str(value).partition(" ")
            value = f"{scheme} ***" if space else "***"
        elif name == "sec-websocket-protocol":
            first, comma, _ = str(value).partition(",")
            value = f"{first}, ***" if comma else "***"
        kept[name] = str(value)
    return kept

"""What a `LoopbackServer` records: requests and connections, for assertions in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from dgnb.options import LiveOptions

_KEPT: Final = 20_000
_SECRET: Final = {"authorization", "proxy-authorization", "cookie", "sec-websocket-protocol"}


@dataclass(eq=False)
class Handshake:
    """One HTTP request, and how it was answered.

    Attributes:
        path: The path, without the query.
        query: The parameters, in order.
        headers: The headers, with lower-case names; credentials are `***`.
        status: The HTTP status of the answer; None before there is one.
        error: The error text of the answer, or "".
        request_id: The value of `dg-request-id`.
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
        request_id: The value of `dg-request-id`.
        options: What the client asked for.
        opened_at: The end of the handshake, in UTC.
        bytes_received: Bytes of audio.
        audio_seconds: The audio clock: seconds that are decoded and recognised.
        texts: Text frames, in order.
        frame_times: When each frame arrived, in seconds of the loop's clock.
        violations: What a client must not send: frames after `CloseStream`, empty audio, text that does not parse.
        sent: How many messages were sent, by type.
        close_code: The close code; None while the connection is open, 1006 without a close frame.
        close_reason: The reason that goes with it.
        dropped: Whether a fault ended the connection.
        over: Set when no thread and no task of the connection is left.
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
    over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self.close_code is None

    async def wait_closed(self) -> None:
        """Wait until the connection has ended. Cancelling is safe."""
        await self.over.wait()


def keep(log: list[Any], item: Any, most: int = _KEPT) -> None:
    """Append to a log of limited length: a server may run for weeks."""
    log.append(item)
    if len(log) > most:
        del log[: most // 2]


def masked(headers: Mapping[str, Any]) -> dict[str, str]:
    """Headers to keep, without credentials."""
    kept = {name.lower(): str(value) for name, value in headers.items()}
    for name in _SECRET & kept.keys():
        scheme, space, _ = kept[name].partition(" ")
        kept[name] = f"{scheme} ***" if space and scheme.rstrip(",").isalpha() else "***"
    return kept

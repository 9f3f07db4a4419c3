"""The WebSocket under a `Connection`: no redirects, no key in the log, and a watch for a server that went silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import websockets.asyncio.client as ws
from websockets.frames import Frame

from dgnb.endpoints import Address

_LOOK: Final = 1.0
"""Seconds between two looks at whether the server is silent."""

_wire_logger = logging.getLogger("dgnb.wire")


class MaskedLog(logging.LoggerAdapter[logging.Logger]):
    """The log `dgnb.wire` without the key: at DEBUG, websockets logs every header and frame."""

    def __init__(self, address: Address) -> None:
        super().__init__(_wire_logger)
        self._address = address

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a masked text."""
        if self.isEnabledFor(level):
            # A frame shows its beginning and its end alone, and may cut a key in two.
            masked = self._address.masked
            args = tuple(replace(arg, data=masked(bytes(arg.data))) if isinstance(arg, Frame) else arg for arg in args)
            text = str(msg) % args if args else str(msg)
            self.logger.log(level, "%s", self._address.masked(text), **kwargs)


class HiddenHeader(str):
    """A header that is sent as it is, and that the repr of the objects that hold it does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'<key>'"


class Socket(ws.ClientConnection):
    """A WebSocket that knows when the last bytes came, pongs included: `heard_at`, in the loop's seconds."""

    heard_at = 0.0

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.heard_at = self.loop.time()
        super().data_received(data)


class OpenSocket(ws.connect):
    """Opens a `Socket`. A redirect is an error: the key must not go to another server."""

    def process_redirect(self, exc: Exception) -> Exception | str:  # noqa: D102
        return exc


class SilenceWatch:
    """Calls `give_up` when no byte, pongs included, has come for `limit` seconds in which this side read."""

    def __init__(self, socket_: Socket, limit: float, give_up: Callable[[], None]) -> None:
        self._socket = socket_
        self._limit = limit
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._read_at = self._loop.time()
        self._timer = self._loop.call_later(_LOOK, self._look)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def _look(self) -> None:
        transport = self._socket.transport
        if transport.is_closing():
            return
        now = self._loop.time()
        if now - self._looked_at > 2 * _LOOK or not transport.is_reading():
            # The loop was blocked, or nobody took the messages.
            self._read_at = now
        self._looked_at = now
        if now - max(self._socket.heard_at, self._read_at) >= self._limit:
            self._give_up()
        else:
            self._timer = self._loop.call_later(_LOOK, self._look)

"""The WebSocket under a `Connection`: no redirects, no log, and a watch for a server that went silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import websockets.asyncio.client as ws

_LOOK: Final = 1.0
"""Seconds between two looks at whether the server is silent."""

SILENT: Final = logging.Logger("dgnb.wire", logging.CRITICAL)  # noqa: LOG001 - not even a handler of the root hears it
"""What websockets logs, headers and frames among it, is heard nowhere: it would show the key."""


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

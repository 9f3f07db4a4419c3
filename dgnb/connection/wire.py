"""The WebSocket under a `Connection`: no redirects, no log, and when it was last heard."""

from __future__ import annotations

import logging
from typing import Final

import websockets.asyncio.client as ws

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

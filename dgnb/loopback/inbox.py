"""What a client has sent and the thread has not taken yet: bounded, in order, from a loop to a thread."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from typing import Final

from dgnb.messages import CloseStream, Finalize

__all__ = ["Inbox", "Item", "Stop"]

# While there is room the socket is read, and so pings are answered even to a client that is far ahead of the engine:
# this is a quarter of an hour of linear16 at 16 kHz.
CAPACITY_BYTES: Final = 32 << 20
_ITEM_BYTES: Final = 128
_CRUMB_BYTES: Final = 2048


class Stop:
    """Tells the thread that nobody waits for it any more."""


Item = bytes | Finalize | CloseStream | Stop


class Inbox:
    """A queue from a loop to a thread. The loop is to wait for `room()` before it puts more in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._peeked: deque[Item] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Wait until there is room. Cancelling is safe."""
        await self._room.wait()

    def put(self, item: Item) -> None:
        """Add something; from the loop."""
        self._bytes += _size(item)
        if self._bytes >= CAPACITY_BYTES:
            self._room.clear()
        self._queue.put(item)

    def get(self, *, joined: bool) -> Item:
        """Wait for what comes next, and take it; from the thread.

        Args:
            joined: Whether very small messages of audio that wait in a row may be taken as one, to save work.

        Raises:
            RuntimeError: The loop is closed.
        """
        item = self._peeked.popleft() if self._peeked else self._queue.get()
        size = _size(item)
        if isinstance(item, bytes) and joined:
            while len(item) < _CRUMB_BYTES and isinstance(crumb := self._peek(), bytes):
                self._peeked.popleft()
                item += crumb
                size += _size(crumb)
        self._loop.call_soon_threadsafe(self._taken, size)
        return item

    def _peek(self) -> Item | None:
        if not self._peeked:
            try:
                self._peeked.append(self._queue.get_nowait())
            except queue.Empty:
                return None
        return self._peeked[0]

    def _taken(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < CAPACITY_BYTES:
            self._room.set()


def _size(item: Item) -> int:
    # Very many very small things fill it too.
    return _ITEM_BYTES + (len(item) if isinstance(item, bytes) else 0)

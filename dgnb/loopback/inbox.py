"""Audio and control messages of one client, on their way from the loop to the thread: bounded, in order."""

from __future__ import annotations

import asyncio
import queue
from typing import Final

from dgnb.messages import CloseStream, Finalize

# While there is room the socket is read, so pings are answered even if a client is far ahead of the engine. This is a
# quarter of an hour of linear16 at 16 kHz.
CAPACITY_BYTES: Final = 32 << 20
_ITEM_BYTES: Final = 128


Item = bytes | Finalize | CloseStream | None
"""None tells the thread that nobody waits for its results any more."""


class Inbox:
    """A queue from a loop to a thread. The loop waits for `room()` before each `put()`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Wait until there is room. Cancelling is safe."""
        await self._room.wait()

    def put(self, item: Item) -> None:
        """Add an item; from the loop."""
        self._bytes += _size(item)
        if self._bytes >= CAPACITY_BYTES:
            self._room.clear()
        self._queue.put(item)

    def get(self) -> Item:
        """Wait for the next item and take it; from the thread. When the loop is closed, it is None."""
        item = self._queue.get()
        try:
            self._loop.call_soon_threadsafe(self._taken, _size(item))
        except RuntimeError:
            return None
        return item

    def _taken(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < CAPACITY_BYTES:
            self._room.set()


def _size(item: Item) -> int:
    # Many very small items fill the queue too.
    return _ITEM_BYTES + (len(item) if isinstance(item, bytes) else 0)

"""The decoder's thread, the queue out of it, and the pipe into it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Final, TypeVar

from dgnb.audio.decode import Detected, Item
from dgnb.audio.source import MOST_NOTES, Audio, Note, SourceFormat
from dgnb.exceptions import AudioError

T = TypeVar("T")

_QUEUED: Final = 50
_QUEUED_LIVE: Final = 6000
"""Chunks of a source that does not wait: 10 minutes, 19 MB of 16 kHz mono. So much is taken while the loop is blocked;
who takes it then decides what to keep. When this is full too, the station has to wait, or it drops the connection."""
_PIPE_BYTES: Final = 1 << 20
_PATIENCE: Final = 60
"""Seconds without sound after which a file is out of reach: a read of a network drive that is gone never ends."""
_RELEASE: Final = 2.0  # Seconds in which a thread ends. One that hangs in a read is left behind, as it is a daemon.


class Pipe:
    """Bytes to the decoder's thread, from one writer: `push` waits while it is full, `read` while it is empty."""

    def __init__(self) -> None:
        self.error: AudioError | None = None
        self.ended = False  # no more bytes will come, or are wanted
        self.format: SourceFormat | None = None  # of raw bytes, where only the first of them say it
        self._condition = threading.Condition()
        self._bytes = bytearray()

    def push(self, data: bytes) -> bool:
        """Add bytes when there is room. False: the reader wants no more."""
        with self._condition:
            self._condition.wait_for(lambda: self.ended or len(self._bytes) < _PIPE_BYTES)
            if not self.ended:
                self._bytes += data
                self._condition.notify()
            return not self.ended

    async def put(self, data: bytes) -> bool:
        """As `push`, in the loop."""
        return await in_daemon(self.push, data) if len(self._bytes) >= _PIPE_BYTES else self.push(data)

    def end(self, error: AudioError | None = None) -> None:
        """End it. Only the first call counts."""
        with self._condition:
            if not self.ended:
                self.error = error
            self.ended = True
            self._condition.notify()

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes and at least one, because a radio's bytes come slowly; none at the end."""
        with self._condition:
            while not self._bytes and not self.ended:
                self._condition.wait()
            taken = bytes(self._bytes[:size])
            del self._bytes[:size]
            if len(self._bytes) < _PIPE_BYTES // 2:
                self._condition.notify()
        return taken

    close = end


class DecoderThread:
    """Runs a generator of audio in a daemon thread, a bounded number of chunks ahead; nothing is dropped."""

    def __init__(self, produce: Generator[Item, None, None], name: str, *, patient: bool) -> None:
        self._name = name
        self._patient = patient
        self.notes: deque[Note] = deque(maxlen=MOST_NOTES)
        self._produce = produce
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._found = Detected()
        # The condition guards all that follows.
        self._condition = threading.Condition()
        self._queue: deque[Item] = deque()
        self._most = _QUEUED
        self._awaited = False
        self._stopped = False
        self._finished = False
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name=f"dgnb: decode {name}", daemon=True).start()

    # In the thread

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with contextlib.closing(self._produce):
                for item in self._produce:
                    if not self._offer(item):
                        break
        except (OSError, ValueError) as raised:
            # A drive that fails, or a file that its owner has closed.
            why = getattr(raised, "strerror", None) or str(raised)
            error = AudioError(f"{self._name} can't be read: {why}. Copy it to a disk of this machine.")
        except BaseException as raised:
            error = raised
        with self._condition:
            self._error = error
            self._finished = True
            self._ring()

    def _offer(self, item: Item) -> bool:
        """Queue an item when there is room. False: no more are wanted."""
        with self._condition:
            while len(self._queue) >= self._most and not self._stopped:
                self._condition.wait()
            if self._stopped or self._loop.is_closed():
                return False
            if isinstance(item, Detected):
                self._most = _QUEUED if item.get("waits", True) else _QUEUED_LIVE
            self._queue.append(item)
            self._ring()
        return True

    def _ring(self) -> None:
        """Wake the loop if it waits: a wake-up for each chunk costs more than the chunk. Under the lock."""
        if self._awaited:
            self._awaited = False
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
                self._loop.call_soon_threadsafe(self._rung.set)

    # In the loop

    async def detected(self) -> Detected:
        """Wait for the first chunk, and return what describes it."""
        with contextlib.suppress(StopAsyncIteration):
            self._queue.appendleft(await anext(self))
        return self._found

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            with self._condition:
                while self._queue:
                    item = self._queue.popleft()
                    if len(self._queue) <= self._most // 2:
                        self._condition.notify()
                    if isinstance(item, bytes):
                        return item
                    if isinstance(item, Note):
                        self.notes.append(item)
                    else:
                        self._found = item
                if self._finished:
                    error, self._error = self._error, None
                    if error:
                        # The thread's frames hold what nobody may see, such as an address with its password.
                        raise error.with_traceback(None)
                    raise StopAsyncIteration
                self._expect()
            await self._wait()

    def _expect(self) -> None:
        """Say that the loop is about to wait for a ring. Under the lock."""
        self._rung.clear()
        self._awaited = True

    async def _heard(self, seconds: float) -> bool:
        """Wait for the ring that was expected, at most so long, and say whether it came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        # A loop that was busy hears of both at once.
        return self._rung.is_set()

    async def _wait(self) -> None:
        waited = 0
        # Second by second: a process that was stopped, or a machine asleep, has not waited.
        while not await self._heard(1.0):
            waited += 1
            if waited >= _PATIENCE and not self._patient:
                raise AudioError(
                    f"{self._name} can't be read: nothing came of it in {waited} s. Is its drive still there? Copy it "
                    "to a disk of this machine."
                )

    async def aclose(self) -> None:
        """Drop what is queued, and wait for the thread's end."""
        rung = True
        while rung:
            with self._condition:
                self._stopped = True
                self._queue.clear()
                self._condition.notify()
                if self._finished:
                    return
                self._expect()
            rung = await self._heard(_RELEASE)


async def in_thread(
    produce: Generator[Item, None, None],
    name: str,
    release: Callable[[], Awaitable[None]] | None = None,
) -> Audio:
    """Run a generator of audio in a thread, and return its `Audio` when the first chunk is there.

    `release` ends what feeds it, and is awaited on every path. `patience` are the seconds to wait for a chunk, or None.
    """
    try:
        thread = DecoderThread(produce, name, patient=release is not None)
    except RuntimeError as error:
        if release:
            await release()
        raise no_thread(name, error) from None

    async def close() -> None:
        if release:
            await release()
        await thread.aclose()

    try:
        found = await thread.detected()
    except BaseException:
        # An Audio goes on closing when it is cancelled once more.
        await Audio(thread, close).aclose()
        raise
    return Audio(thread, close, notes=thread.notes, **found)


async def in_daemon(work: Callable[..., T], *arguments: Any) -> T:
    """Wait for work in a daemon thread: one of the loop's pool that waits for ever would hold up the exit."""
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work(*arguments))
        except BaseException as error:  # nobody else would hear of a SystemExit
            outcome.set_exception(error)

    threading.Thread(target=run, name="dgnb: wait", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def no_thread(name: str, error: Exception) -> AudioError:
    """The error for a system that gives no more threads."""
    return AudioError(
        f"{name} can't be read: {error}. Too much runs here at once; end some of it, or restart the kernel."
    )

"""The decoder's thread, the queue out of it, and the pipe into it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Final

from dgnb.audio import decode
from dgnb.audio.source import CHUNK_SECONDS, MOST_NOTES, SAMPLE_RATE, Audio, Note, Raw
from dgnb.exceptions import AudioError

__all__ = ["Feed", "Pipe", "Worker", "begun", "decoded", "no_thread", "passed"]

_QUEUED_CHUNKS: Final = 50
_KEPT_SECONDS: Final = 120.0
_PIPE_BYTES: Final = 1 << 20


class Pipe:
    """Bytes from the loop to the decoder's thread: `put` waits while it is full, `read` while it is empty.

    Attributes:
        error: Why the bytes ended early, where they did; read once they are used up.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._bytes = bytearray()
        self._ended = False
        self._room = asyncio.Event()
        self._room.set()
        self.error: AudioError | None = None

    async def put(self, data: bytes) -> bool:
        """Add bytes, once there is room; False when no more are wanted."""
        await self._room.wait()
        with self._condition:
            if self._ended:
                return False
            self._bytes += data
            if len(self._bytes) >= _PIPE_BYTES:
                self._room.clear()
            self._condition.notify()
        return True

    def end(self, error: AudioError | None = None) -> None:
        """No more bytes will come. Only the first end counts."""
        with self._condition:
            if not self._ended:
                self.error = error
            self._ended = True
            self._condition.notify()
        self._make_room()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, at least one, or none at the end.

        What there is, rather than waiting for all that was asked for: a radio trickles.
        """
        with self._condition:
            while not self._bytes and not self._ended:
                self._condition.wait()
            taken = bytes(self._bytes[:size] if size >= 0 else self._bytes)
            del self._bytes[: len(taken)]
            full = len(self._bytes) >= _PIPE_BYTES
        if not full and not self._room.is_set():
            self._make_room()
        return taken

    def _make_room(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._room.set)

    def close(self) -> None:
        """The reader wants no more."""
        self.end()


class Feed:
    """A task that fills a pipe, and is the only one to do so.

    Args:
        fill: Puts bytes into the pipe it is given; what it raises becomes the pipe's error.
        name: Of the source.
        explain: Makes an `AudioError` of what `fill` raised.
    """

    def __init__(
        self, fill: Callable[[Pipe], Awaitable[None]], name: str, explain: Callable[[Exception], AudioError]
    ) -> None:
        self.pipe = Pipe()
        self._fill = fill
        self._explain = explain
        self._task = asyncio.create_task(self._run(), name=f"dgnb: read {name}")

    async def _run(self) -> None:
        try:
            await self._fill(self.pipe)
        except Exception as error:
            self.pipe.end(self._explain(error))
        finally:
            self.pipe.end()

    async def aclose(self) -> None:
        """End the pipe, and cancel the task and wait for its end."""
        self.pipe.end()
        self._task.cancel()
        await asyncio.wait([self._task])


class Worker:
    """Runs a generator of chunks in a daemon thread, a bounded number of chunks ahead of who takes them.

    A daemon, because a thread that waits for a silent radio must not keep the interpreter from ending.

    A file waits when the queue is full. A radio does not wait for anybody: its queue holds 120 s, and then the oldest
    chunk goes, and a note says so. One that has come faster than any radio does is held back like a file.

    Attributes:
        notes: Those that belong to the chunks taken so far.

    Raises:
        RuntimeError: No thread can be started.
    """

    def __init__(self, produce: Generator[bytes, None, None], name: str, found: decode.Found) -> None:
        self.notes: deque[Note] = deque(maxlen=MOST_NOTES)
        self._produce = produce
        self._found = found
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._chunks: deque[bytes | Note] = deque()
        self._stopped = False
        self._finished = False
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        self._dropped = 0.0
        threading.Thread(target=self._run, name=f"dgnb: decode {name}", daemon=True).start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with contextlib.closing(self._produce):
                for chunk in self._produce:
                    if not self._offer(chunk):
                        break
        except BaseException as raised:
            error = raised
        with self._condition:
            self._take_notes()
            self._error = error
            self._finished = True
        self._tell()

    def _offer(self, chunk: bytes) -> bool:
        """Queue a chunk when there is room; False when no more are wanted."""
        with self._condition:
            while self._full() and not self._stopped:
                if self._found.radio and not self._found.patient:
                    self._drop()
                else:
                    self._condition.wait()
            if self._stopped or self._loop.is_closed():
                return False
            self._take_notes()
            self._chunks.append(chunk)
        self._tell()
        return True

    def _full(self) -> bool:
        most = round(_KEPT_SECONDS / CHUNK_SECONDS) if self._found.radio else _QUEUED_CHUNKS
        return len(self._chunks) >= most

    def _drop(self) -> None:
        oldest = self._chunks.popleft()
        if isinstance(oldest, Note):
            self.notes.append(oldest)
        else:
            self._dropped += len(oldest) / (2 * self._found.channels * SAMPLE_RATE)

    def _take_notes(self) -> None:
        while self._found.notes:
            self._chunks.append(self._found.notes.popleft())

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._news.set)

    async def first(self) -> None:
        """Wait until there is a chunk; raise what the thread raised before there was one."""
        while True:
            self._news.clear()
            with self._condition:
                if any(isinstance(chunk, bytes) for chunk in self._chunks):
                    return
                if self._finished:
                    if self._error:
                        raise self._error
                    return
            await self._news.wait()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            self._news.clear()
            with self._condition:
                if self._dropped:
                    text = (
                        f"nobody took the audio for more than {_KEPT_SECONDS:g} s, so the oldest "
                        f"{self._dropped:.1f} s of it were dropped; was the kernel busy?"
                    )
                    self.notes.append(Note("source", text, self._dropped))
                    self._dropped = 0.0
                while self._chunks:
                    chunk = self._chunks.popleft()
                    if isinstance(chunk, bytes):
                        self._condition.notify()
                        return chunk
                    self.notes.append(chunk)
                if self._finished:
                    error, self._error = self._error, None
                    if error:
                        raise error
                    raise StopAsyncIteration
            await self._news.wait()

    async def aclose(self) -> None:
        """Drop what is queued, and wait for the thread's end."""
        with self._condition:
            self._stopped = True
            self._chunks.clear()
            self._condition.notify()
        while True:
            self._news.clear()
            if self._finished:
                return
            await self._news.wait()


async def decoded(
    open_file: Callable[[], decode.Readable],
    name: str,
    raw: Raw | None,
    *,
    multichannel: bool,
    release: Callable[[], Awaitable[None]] | None = None,
    live: bool = False,
) -> Audio:
    """Audio that a thread decodes from a file, once there is some of it.

    `release` ends what feeds the file; it is awaited on every path.
    """
    found = decode.Found()
    return await begun(decode.decoded(open_file, name, raw, multichannel, found), name, found, release, live=live)


async def passed(open_file: Callable[[], decode.Readable], name: str, raw: Raw | None) -> Audio:
    """Audio that goes out as it is in the file."""
    found = decode.Found()
    return await begun(decode.passed(open_file, name, raw, found), name, found)


async def begun(
    produce: Generator[bytes, None, None],
    name: str,
    found: decode.Found,
    release: Callable[[], Awaitable[None]] | None = None,
    *,
    live: bool = False,
) -> Audio:
    """Audio that a generator gives in a thread of its own, once there is some of it.

    `release` ends what feeds the generator; it is awaited on every path.

    Raises:
        AudioError: It is not audio, or no thread can be started.
    """
    try:
        worker = Worker(produce, name, found)
    except RuntimeError as error:
        if release:
            await release()
        raise no_thread(name, error) from None

    async def close() -> None:
        if release:
            await release()
        await worker.aclose()

    audio = Audio(worker, close)
    try:
        await worker.first()
    except BaseException:
        await audio.aclose()
        raise
    return Audio(
        worker,
        close,
        encoding=found.encoding,
        sample_rate=found.sample_rate,
        channels=found.channels,
        bytes_per_second=found.bytes_per_second,
        live=live or found.radio,
        # An iterator may be live, and is asked for its next bytes only when there is room.
        waits=not found.radio,
        notes=worker.notes,
    )


def no_thread(name: str, error: Exception) -> AudioError:
    """What is said when the system gives no thread."""
    return AudioError(
        f"{name} can't be read: {error}. Too much runs here at once; end some of it, or restart the kernel."
    )

"""What gives its audio bit by bit: streams, queues and iterators, of the loop or of other threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import queue
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Iterator
from typing import Any, Final

from dgnb.audio.arrays import as_array, holds_samples, linear16
from dgnb.audio.decode import decoded
from dgnb.audio.source import Audio, SourceFormat
from dgnb.audio.threads import Pipe, in_daemon, in_thread
from dgnb.exceptions import AudioError, ConfigurationError, DgnbError
from dgnb.values import native

BYTES: Final = (bytes, bytearray, memoryview)
_READ: Final = 65_536  # Bytes that are asked for at a time. Streams give what there is.
_POLL: Final = 0.1  # Seconds after which a thread that waits for a queue looks whether it is still wanted
_RELEASE: Final = 0.2
"""Seconds in which a thread ends. One that waits for its next chunk is left behind, as it is a daemon."""


def is_read_by_size(data: Any) -> bool:
    """Whether it is read by size. Iterating over a stream gives lines; of somebody's own iterator, audio.

    The `read` of an http response takes no size: it gives all at once.
    """
    read = getattr(data, "read", None)
    if read is None or (isinstance(data, AsyncIterable) and not hasattr(data, "readline")):
        return False
    try:
        inspect.signature(read).bind(_READ)
    except TypeError:
        return False
    except ValueError:
        pass  # Functions in C need not tell.
    return True


def name_of_stream(data: Any) -> str:
    """What people may call a queue or an iterator. ConfigurationError: it is neither."""
    if _is_queue(data):
        return "a queue"
    if isinstance(data, AsyncIterable):
        return "an async iterator"
    if isinstance(data, Iterable) and not isinstance(data, Collection):
        return "an iterator"
    first = "Call it. " if callable(data) else "Await it. " if inspect.isawaitable(data) else ""
    raise ConfigurationError(
        "A source is a path, an http(s) address, bytes, an array, (sample_rate, array), an open binary file, a queue, "
        f"an iterator of bytes or arrays, or an AudioSource, not {type(data).__name__}. {first}Of a response pass its "
        "stream: .content, or .aiter_bytes()."
    )


async def streamed(stream: Any, name: str, stated: SourceFormat | None, rate: int | None, **how: Any) -> Audio:
    """Open a stream, a queue or an iterator. `rate` is of arrays; `how` is for `decoded`."""
    pipe = Pipe()
    pipe.format = stated
    chunks = _chunks(stream, pipe)
    filling = asyncio.create_task(_fill(pipe, chunks, rate, name), name=f"dgnb: read {name}")

    async def release() -> None:
        pipe.end()
        if isinstance(chunks, AsyncIterable) or not (await asyncio.wait([filling], timeout=_RELEASE))[0]:
            filling.cancel()
            await asyncio.wait([filling])

    # It is live, and still waits: it is asked for its next bytes only when there is room.
    return await in_thread(decoded(lambda: pipe, name, stated, live=True, **how), name, release)


def _converted(pipe: Pipe, rate: Any, chunk: Any) -> bytes:
    """The bytes of what an iterator or a queue gives. The first array says how all are to be read."""
    if isinstance(chunk, BYTES):
        return bytes(chunk)
    if not holds_samples(native(chunk)):
        raise ConfigurationError(
            f"it gave {type(chunk).__name__}, not bytes or arrays. Give it chunks of 20 to 250 ms."
        )
    array, rate = as_array(chunk, rate)
    if not array.size:
        return b""
    data, channels = linear16(array, alone=False)
    found = SourceFormat.of("linear16", rate, channels)
    pipe.format = pipe.format or found
    if found != pipe.format:
        raise ConfigurationError(
            f"an array has {channels} channels at {rate} Hz, unlike what came before. Give one kind."
        )
    return data


def _is_queue(data: Any) -> bool:
    return hasattr(data, "get_nowait") and hasattr(data, "put")


def _chunks(stream: Any, pipe: Pipe) -> AsyncIterable[Any] | Iterable[Any]:
    """What is to be read in the loop, or in a thread."""
    if _is_queue(stream):
        waits = inspect.iscoroutinefunction(stream.get)
        return _awaited(stream.get, lambda chunk: chunk is not None) if waits else _polled(stream, pipe)
    if not is_read_by_size(stream):
        return stream  # type: ignore[no-any-return]
    if inspect.iscoroutinefunction(stream.read):
        return _awaited(functools.partial(stream.read, _READ), bool)
    # read() of a pipe waits for all bytes that it is asked for, read1() for any.
    read = getattr(stream, "read1", stream.read)
    return iter(lambda: read(_READ) or None, None)


async def _awaited(get: Callable[[], Any], more: Callable[[Any], bool]) -> AsyncIterator[Any]:
    while more(chunk := await get()):
        yield chunk


def _polled(given: Any, pipe: Pipe) -> Iterator[Any]:
    """What a queue of threads or processes holds. What is taken out while the pipe ends is gone."""
    while not pipe.ended:
        with contextlib.suppress(queue.Empty):
            if (chunk := given.get(timeout=_POLL)) is None:
                break
            yield chunk


async def _fill(pipe: Pipe, chunks: AsyncIterable[Any] | Iterable[Any], rate: Any, name: str) -> None:
    try:
        if not isinstance(chunks, AsyncIterable):
            await in_daemon(_push, pipe, chunks, rate)
            return
        # A generator that is left half-way is otherwise closed at some later time.
        closing: Any = contextlib.aclosing(chunks) if hasattr(chunks, "aclose") else contextlib.nullcontext()
        async with closing:
            async for chunk in chunks:
                if not await pipe.put(_converted(pipe, rate, chunk)):
                    break
    except (Exception, SystemExit) as error:
        if type(error).__name__ not in ("ShutDown", "QueueShutDown"):  # of a queue, since Python 3.13
            why = error if isinstance(error, DgnbError) else f"{error!r}."
            pipe.end(AudioError(f"Reading {name} failed: {why}"))
    finally:
        pipe.end()


def _push(pipe: Pipe, chunks: Iterable[Any], rate: Any) -> None:
    """Fill a pipe, in a thread of its own."""
    closing: Any = contextlib.closing(chunks) if inspect.isgenerator(chunks) else contextlib.nullcontext()
    with closing:
        for chunk in chunks:
            if not pipe.push(_converted(pipe, rate, chunk)):
                break

"""`BufferSource`: audio that is in memory, in an open file, or comes from an async iterator."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from dgnb.audio.decode import decoded
from dgnb.audio.source import Audio, AudioSource, SourceFormat
from dgnb.audio.threads import PATIENCE, Pipe, in_daemon, in_thread
from dgnb.audio.tracks import as_track
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.options import MOST_CHANNELS
from dgnb.values import native

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BufferSource"]

_LOUDEST: Final = 4.0
"""Floats a little over 1 are clipped. Larger floats are refused: they have another scale."""
_READ: Final = 65_536
"""Bytes that are asked for at a time. Streams give what there is."""


class BufferSource(AudioSource):
    """Audio that is in memory, in an open file, or comes from an async iterator.

    Args:
        data: `bytes`, an open binary file, or an async iterator of `bytes`: a container, or raw samples with `encoding`
            and `sample_rate`. A file is read from where it stands, and stays open. It may be a pipe, a socket's
            `makefile("rb")`, the `stdout` of a subprocess, or the `content` of an aiohttp response: what has
            `readline` is read by size, as its bytes arrive. A generator and a pipe can be opened once.
            Or a NumPy array of shape (samples,) or (samples, channels), int16, or float between -1 and 1, with
            `sample_rate`.
        encoding: For raw bytes, as in `FileSource`.
        sample_rate: Samples a second of raw bytes or of an array.
        channels: Interleaved channels of raw bytes.
        track: As in `FileSource`.

    Example:
        ```python
        dgnb.BufferSource(np.zeros(16000, dtype="int16"), sample_rate=16000)
        ```

    Raises:
        ConfigurationError: The data is of another kind, or its description is wrong.
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview | np.ndarray[Any, Any] | BinaryIO | AsyncIterable[bytes],
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        track: int | str | None = None,
    ) -> None:
        self._stream: Any = None
        self._taken = False
        self._track = as_track(track)
        if isinstance(data, (bytes, bytearray, memoryview)):
            held = bytes(data)
            self.name = f"{len(held)} bytes"
            if not held:
                raise ConfigurationError("The buffer is empty.")
            self._file: Callable[[], Any] = lambda: io.BytesIO(held)
        elif hasattr(data, "dtype"):
            if sample_rate is None:
                raise ConfigurationError("An array needs sample_rate: pass sample_rate=16000, beside any options.")
            if native(encoding) not in (None, "linear16"):
                raise ConfigurationError(f"An array is linear16, not {encoding!r}: leave out encoding.")
            data, channels = _array_bytes(data)
            self.name = f"an array of {len(data) // channels // 2} samples"
            encoding = "linear16"
            self._file = lambda: io.BytesIO(data)
        elif _is_stream(data):
            self.name = _file_name(data)
            if _can_seek(data):
                given = _GivenFile(data)
                self._file = lambda: given
            else:
                self._stream = data
        elif isinstance(data, AsyncIterable):
            self.name = "an async iterator"
            self._stream = data
        else:
            raise ConfigurationError(
                "A source is a path, an http(s) address, bytes, an array, an open binary file, an async iterator or an "
                f"AudioSource, not {type(data).__name__}. Of a response pass its stream: .content, or .aiter_bytes()."
            )
        self.format = SourceFormat.decodable(encoding, sample_rate, channels)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Find out the format. See `AudioSource.open`."""
        how: Any = {"multichannel": multichannel, "track": self._track}
        stream = self._stream
        if stream is None:
            produce = decoded(self._file, self.name, self.format, **how)
            return await in_thread(produce, self.name, patience=PATIENCE)
        if self._taken and (hasattr(stream, "__anext__") or hasattr(stream, "read")):
            raise AudioError(f"{self.name} was opened before, and can't begin anew. Make a new BufferSource.")
        self._taken = True
        pipe = Pipe()
        chunks = _pieces(stream) if _is_stream(stream) else stream
        filling = asyncio.create_task(_fill(pipe, chunks, self.name), name=f"dgnb: read {self.name}")

        async def release() -> None:
            pipe.end()
            filling.cancel()
            await asyncio.wait([filling])

        # It is live, and still waits: it is asked for its next bytes only when there is room.
        produce = decoded(lambda: pipe, self.name, self.format, live=True, **how)
        return await in_thread(produce, self.name, release)


class _GivenFile:
    """An open file that can seek. It begins where it stood, and closing it is its owner's business."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._start = file.tell()
        file.seek(0, os.SEEK_END)
        if file.tell() <= self._start:
            raise ConfigurationError("The file holds no bytes after its position. Call seek(0) on it first.")
        self.read = file.read
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            offset += self._start
        return int(self._file.seek(offset, whence) - self._start)

    def tell(self) -> int:
        return int(self._file.tell() - self._start)

    def close(self) -> None:
        pass


def _is_stream(data: Any) -> bool:
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


def _file_name(file: Any) -> str:
    if hasattr(file, "encoding"):
        raise ConfigurationError("The file is open as text. Open it with mode 'rb', or pass its .buffer.")
    if getattr(file, "closed", None) is True:
        raise ConfigurationError("The file is closed. Open it again, or pass its path.")
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else "a stream"


def _can_seek(file: Any) -> bool:
    return not inspect.iscoroutinefunction(file.read) and hasattr(file, "seekable") and file.seekable()


async def _fill(pipe: Pipe, chunks: AsyncIterable[bytes], name: str) -> None:
    # A generator that is left half-way is otherwise closed at some later time.
    closing: Any = contextlib.aclosing(chunks) if hasattr(chunks, "aclose") else contextlib.nullcontext()
    try:
        async with closing:
            async for chunk in chunks:
                if not isinstance(chunk, (bytes, bytearray, memoryview)):
                    raise TypeError(f"it gave {type(chunk).__name__}, not bytes")
                if not await pipe.put(bytes(chunk)):
                    break
    except Exception as error:
        pipe.end(AudioError(f"Reading {name} failed: {error!r}."))
    finally:
        pipe.end()


async def _pieces(stream: Any) -> AsyncIterator[bytes]:
    read = stream.read
    if not inspect.iscoroutinefunction(read):
        # read() of a pipe waits for all bytes that it is asked for, read1() for any.
        read = functools.partial(in_daemon, getattr(stream, "read1", read))
    while piece := await read(_READ):
        yield piece


def _array_bytes(data: Any) -> tuple[bytes, int]:
    import numpy as np

    array = np.asarray(data)
    if array.ndim not in (1, 2) or not array.size:
        raise ConfigurationError(f"An array is of shape (samples,) or (samples, channels), not {array.shape}.")
    channels = 1 if array.ndim == 1 else array.shape[1]
    if channels > MOST_CHANNELS:
        raise ConfigurationError(f"An array is of shape (samples, channels), not {array.shape}. Transpose it with .T.")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ConfigurationError("The array holds NaN or infinity. Replace them, for one with np.nan_to_num.")
        if (loudest := float(np.abs(array).max())) > _LOUDEST:
            raise ConfigurationError(
                f"A float array is between -1 and 1, not up to {loudest:g}. Divide it by its scale."
            )
        # Half precision cannot hold 32767.
        array = np.clip(array.astype(np.result_type(array.dtype, np.float32)) * 32768.0, -32768, 32767).round()
    elif array.dtype.kind != "i" or array.dtype.itemsize != 2:
        raise ConfigurationError(f"An array is int16, or float between -1 and 1, not {array.dtype}.")
    return array.astype("<i2").tobytes(), channels

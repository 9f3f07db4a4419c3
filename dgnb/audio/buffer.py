"""`BufferSource`: audio that is in memory, in an open file, or comes bit by bit."""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable, Generator
from typing import Any

from dgnb.audio.arrays import as_array, holds_samples, linear16
from dgnb.audio.decode import Item, decoded
from dgnb.audio.source import Audio, AudioSource, SourceFormat
from dgnb.audio.streams import BYTES, is_read_by_size, name_of_stream, streamed
from dgnb.audio.threads import in_thread
from dgnb.audio.tracks import as_track
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.values import native

__all__ = ["BufferSource"]


class BufferSource(AudioSource):
    """Audio that is in memory, in an open file, or comes bit by bit.

    Args:
        data: A container, or raw samples with `encoding` and `sample_rate`: as `bytes`, an open binary file, or an
            iterator or a queue of `bytes`. A file is read from where it stands, and stays open. It may be a pipe, a
            socket's `makefile("rb")`, the `stdout` of a subprocess, or the `content` of an aiohttp response: what has
            `readline` is read by size, as its bytes arrive.
            Or samples with `sample_rate`: an array, a tensor or a list of shape (samples,), (samples, channels) or
            (channels, samples), as floats between -1 and 1 or integers of 8 to 32 bits, or an iterator or a queue of
            these. Each may be a pair of it and its rate, such as (16000, array).
            Iterators may be async or not; one of the latter runs in a thread. None ends a queue. An iterator and a pipe
            can be opened once.
        encoding: For raw bytes, as in `FileSource`.
        sample_rate: Samples a second of raw bytes or of arrays.
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
        data: Any,
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        track: int | str | None = None,
    ) -> None:
        self._stream: Any = None
        self._taken = self._given = False
        self._rate = sample_rate
        self._track = as_track(track)
        if isinstance(data, list | tuple) and data and all(isinstance(part, BYTES) for part in data):
            data = b"".join(data)
        if isinstance(data, BYTES):
            held = bytes(data)
            self.name = f"{len(held)} bytes"
            if not held:
                raise ConfigurationError("The buffer is empty.")
            self._file: Callable[[], Any] = lambda: io.BytesIO(held)
        elif is_read_by_size(data):
            self.name = _file_name(data)
            if not inspect.iscoroutinefunction(data.read) and hasattr(data, "seekable") and data.seekable():
                given = _GivenFile(data)
                self._file, self._given = (lambda: given), True
            else:
                self._stream = data
        elif holds_samples(data):
            if native(encoding) not in (None, "linear16"):
                raise ConfigurationError(f"An array is linear16, not {encoding!r}: leave out encoding.")
            array, sample_rate = as_array(data, sample_rate)
            samples, found = linear16(array)
            if channels not in (1, found):
                raise ConfigurationError(f"The array has the channels {found}, not {channels}. Leave out channels.")
            self.name = f"an array of {len(samples) // found // 2} samples"
            encoding, channels = "linear16", found
            self._file = lambda: io.BytesIO(samples)
        else:
            self.name = name_of_stream(data)
            self._stream = data
            if encoding is None and sample_rate is not None:
                SourceFormat.of("linear16", sample_rate, channels)
                sample_rate = None  # it gives arrays, which say the rest
        self.format = SourceFormat.of(encoding, sample_rate, channels, decode=True)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Find out the format. See `AudioSource.open`."""
        stream = self._stream
        if stream is None:
            return await in_thread(self.decoded(multichannel), self.name)
        if self._taken and any(hasattr(stream, name) for name in ("__anext__", "__next__", "read")):
            raise AudioError(f"{self.name} was opened before, and can't begin anew. Make a new BufferSource.")
        self._taken = True
        how: Any = {"multichannel": multichannel, "track": self._track}
        return await streamed(stream, self.name, self.format, self._rate, **how)

    @property
    def kept(self) -> bool:
        """Whether the data is in memory, so that it can be read while a session reads it."""
        return self._stream is None and not self._given

    def opened(self) -> Any:
        """What is in memory or in an open file, at its first byte. `ConfigurationError`: it comes bit by bit."""
        if self._stream is not None:
            raise ConfigurationError(f"{self.name} comes bit by bit, so it is no recording. Use dgnb.transcribe().")
        file = self._file()
        file.seek(0)
        return file

    def decoded(self, multichannel: bool = False, start: float | None = None) -> Generator[Item, None, None]:
        """The chunks of what is in memory, read in the caller's thread, with what is to be told of them."""
        return decoded(self._file, self.name, self.format, multichannel=multichannel, track=self._track, start=start)


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


def _file_name(file: Any) -> str:
    if getattr(file, "closed", None) is True:
        raise ConfigurationError("The file is closed. Open it again, or pass its path.")
    unreadable = isinstance(file, io.IOBase) and not file.readable()
    if unreadable or hasattr(file, "encoding"):
        raise ConfigurationError(
            "The file is open as text, or for writing. Open it with mode 'rb', or pass its .buffer."
        )
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else "a stream"

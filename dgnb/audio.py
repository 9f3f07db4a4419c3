"""Audio on the way in: files, URLs and buffers, decoded to linear16 and cut into chunks of 100 ms.

PyAV reads bytes, never a path or an address, so it opens nothing that was not handed to it. It runs in a daemon thread
of its own with a bounded queue: a ten-hour file takes as much memory as a short one, and the event loop never waits for
a disk. Decoded audio is mono 16 kHz (all channels when `multichannel`), so every byte has a time.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import io
import os
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast
from urllib.parse import urlsplit

from dgnb.exceptions import AudioError, ConfigurationError, nearest
from dgnb.options import ENCODINGS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Audio", "AudioSource", "BufferSource", "FileSource", "Pacer", "URLSource", "as_source"]

SAMPLE_RATE: Final = 16_000
CHUNK_SECONDS: Final = 0.1
"""Deepgram advises 20 to 250 ms a message, about 100 ms."""

_QUEUED_CHUNKS = 50
_PIPE_BYTES = 1 << 20
_FORMATS: Final = {
    "linear16": "s16le",
    "linear32": "s32le",
    "mulaw": "mulaw",
    "alaw": "alaw",
    "flac": "flac",
    "ogg-opus": "ogg",
    "amr-nb": "amrnb",
    "amr-wb": "amrwb",
    "g729": "g729",
}
_HEADERS: Final = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3"}
_PROBE: Final = {"probesize": "65536", "analyzeduration": "1000000", "protocol_whitelist": "none"}


@dataclass(frozen=True, slots=True)
class Raw:
    """How audio without a header is to be read."""

    encoding: str
    sample_rate: int
    channels: int = 1

    @classmethod
    def of(cls, encoding: str | None, sample_rate: int | None, channels: int) -> Raw | None:
        """Both of the first two, or neither."""
        if encoding is None and sample_rate is None:
            return None
        if encoding is None or sample_rate is None:
            missing = "encoding" if encoding is None else "sample_rate"
            raise ConfigurationError(f"Raw audio needs both encoding and sample_rate: {missing} is missing.")
        if encoding not in ENCODINGS:
            hint = nearest(encoding, ENCODINGS) or f" Use one of: {', '.join(ENCODINGS)}."
            raise ConfigurationError(f"encoding={encoding!r} is not an encoding of raw audio.{hint}")
        if sample_rate < 1 or channels < 1:
            raise ConfigurationError("sample_rate and channels are positive.")
        return cls(encoding, sample_rate, channels)

    @property
    def demuxer(self) -> str:
        """FFmpeg's name for it."""
        if self.encoding not in _FORMATS:
            raise ConfigurationError(
                f"Raw {self.encoding} can't be decoded here. Send it as it is with FileSource(…, decode=False)."
            )
        return _FORMATS[self.encoding]


class Audio:
    """Opened audio: an async iterator of chunks, none of them empty, and what they are.

    Attributes:
        encoding: `linear16`, or None for a container that is passed through as it is.
        sample_rate: Samples a second; None for a container.
        channels: Interleaved channels.
        bytes_per_second: Turns bytes into seconds; an average for a container.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        *,
        encoding: str | None = "linear16",
        sample_rate: int | None = SAMPLE_RATE,
        channels: int = 1,
        bytes_per_second: float | None = None,
    ) -> None:
        self.encoding = encoding
        self.sample_rate = sample_rate
        self.channels = channels
        self.bytes_per_second = bytes_per_second or 2 * channels * (sample_rate or SAMPLE_RATE)
        self._chunks = chunks
        self._close = close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            chunk = await anext(self._chunks)
            if chunk:  # an empty binary frame would end the stream
                return chunk

    async def aclose(self) -> None:
        """Release the file, the connection and the thread. Safe to call twice."""
        await self._close()


class AudioSource(abc.ABC):
    """Where audio comes from. Subclass it with `open()` to bring your own.

    Attributes:
        name: For people: a file name, or an address without its credentials.
        live: It goes on whether or not anybody reads it, as a radio does.
    """

    name: str = "audio"
    live: bool = False

    @abc.abstractmethod
    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open it and look at what it is.

        Args:
            multichannel: Keep the channels apart instead of mixing them.

        Raises:
            AudioError: It can't be opened, or is not audio.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class FileSource(AudioSource):
    """A file: any container and codec that FFmpeg reads, or raw samples with `encoding` and `sample_rate`.

    Args:
        path: The file.
        encoding: For raw audio without a header: `linear16`, `mulaw`, …
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        decode: False sends the bytes as they are. That gives up exact times for pacing and resuming, mixing down, and
            any sample rate but the file's own.

    Example:
        ```python
        dgnb.FileSource("talk.m4a")
        dgnb.FileSource("call.ulaw", encoding="mulaw", sample_rate=8000)
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        decode: bool = True,
    ) -> None:
        self.path = Path(path).expanduser()
        self.name = self.path.name
        self.decode = decode
        self.raw = Raw.of(encoding, sample_rate, channels)
        if decode and self.raw:
            _ = self.raw.demuxer

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the file. See `AudioSource.open`."""
        file = await asyncio.to_thread(self._open_file)
        if not self.decode:
            return await self._pass_through(file)
        return await _decoded(file, self.name, self.raw, multichannel=multichannel, abort=lambda: None)

    def _open_file(self) -> BinaryIO:
        try:
            if not self.path.exists():
                raise AudioError(f"There is no file {str(self.path)!r} (the working folder is {os.getcwd()!r}).")
            if not self.path.is_file():
                kind = "a folder" if self.path.is_dir() else "not a regular file"
                raise AudioError(f"{str(self.path)!r} is {kind}; give the path of an audio file.")
            file = self.path.open("rb")
            if not file.peek(1):
                file.close()
                raise AudioError(f"{str(self.path)!r} is empty.")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AudioError(f"{str(self.path)!r} can't be opened: {reason}.") from error
        return file

    async def _pass_through(self, file: BinaryIO) -> Audio:
        if self.raw:
            rate = _SAMPLE_BYTES.get(self.raw.encoding, 1) * self.raw.sample_rate * self.raw.channels
        else:
            rate = await asyncio.to_thread(_byte_rate, file, self.name)

        async def chunks() -> AsyncIterator[bytes]:
            size = max(1, round(rate * CHUNK_SECONDS))
            while chunk := await asyncio.to_thread(file.read, size):
                yield chunk

        async def close() -> None:
            file.close()

        return Audio(
            chunks(),
            close,
            encoding=self.raw.encoding if self.raw else None,
            sample_rate=self.raw.sample_rate if self.raw else None,
            channels=self.raw.channels if self.raw else 1,
            bytes_per_second=rate,
        )


_SAMPLE_BYTES: Final = {"linear16": 2, "linear32": 4}


class URLSource(AudioSource):
    """An http or https address: a radio station, or a file on a server. Decoded as the bytes arrive.

    There is no limit on the total time; a connection that brings nothing for `stall_timeout` seconds is given up.
    Redirects are followed, five at most. Credentials in the address are used, and shown nowhere.

    Args:
        url: The address.
        headers: Further request headers.
        encoding: For raw audio without a header, as in `FileSource`.
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        stall_timeout: Seconds.

    Example:
        ```python
        await dgnb.transcribe(dgnb.URLSource("https://example.org/radio.mp3"), duration=30)
        ```
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        stall_timeout: float = 15.0,
    ) -> None:
        try:
            parts = urlsplit(url)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            right = False
        if not right:
            raise ConfigurationError("A URL source is an http:// or https:// address with a host.")
        self.name = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.raw = Raw.of(encoding, sample_rate, channels)
        if self.raw:
            _ = self.raw.demuxer
        self._url = url
        self._headers = dict(headers or {})
        self._stall_timeout = stall_timeout

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Send the request, and look at what comes. See `AudioSource.open`."""
        import aiohttp

        import dgnb

        # identity: a compressed body could unpack to any size.
        headers = {"User-Agent": f"dgnb/{dgnb.__version__}", "Accept-Encoding": "identity", **self._headers}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=self._stall_timeout)
        session = aiohttp.ClientSession(headers=headers, timeout=timeout, auto_decompress=False)
        pipe = _Pipe()
        reader: asyncio.Task[None] | None = None

        async def close() -> None:
            pipe.end()
            if reader:
                reader.cancel()
                await asyncio.wait([reader])
            await session.close()

        try:
            response = await session.get(self._url, max_redirects=5)
            await self._check(response)
            reader = asyncio.create_task(self._read(response, pipe), name=f"dgnb: read {self.name}")
            audio = await _decoded(pipe, self.name, self.raw, multichannel=multichannel, abort=pipe.end)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            await close()
            raise self._error(error) from None
        except BaseException:
            await close()
            raise
        audio_close = audio.aclose

        async def close_all() -> None:
            pipe.end()
            await audio_close()
            await close()

        audio._close = close_all
        return audio

    async def _check(self, response: Any) -> None:
        kind = response.content_type
        if response.status >= 400:
            raise AudioError(f"{self.name} answered {response.status} {response.reason or ''}".rstrip() + ".")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise AudioError(f"{self.name} sends its body compressed although it was asked not to.")
        if "mpegurl" in kind or "scpls" in kind or urlsplit(self.name).path.endswith((".m3u", ".m3u8", ".pls")):
            raise AudioError(f"{self.name} is a playlist ({kind}), not audio. Use the address of a stream in it.")
        if kind.startswith("text/") or kind in ("application/json", "application/xhtml+xml"):
            start = _printable(await response.content.read(200))
            raise AudioError(f"{self.name} is not audio but {kind}; it begins with {start}.")

    async def _read(self, response: Any, pipe: _Pipe) -> None:
        import aiohttp

        try:
            async for data in response.content.iter_any():
                await pipe.put(data)
            pipe.end()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            pipe.end(self._error(error))
        finally:
            pipe.end()
            response.close()

    def _error(self, error: BaseException) -> AudioError:
        if isinstance(error, AudioError):
            return error
        what = str(error).replace(self._url, self.name) or type(error).__name__
        if isinstance(error, TimeoutError):
            what = f"nothing came for {self._stall_timeout:g} s"
        return AudioError(f"{self.name} can't be read: {what}. Does the address open in a browser?")


class BufferSource(AudioSource):
    """Audio that is in memory, or comes from an async iterator.

    Args:
        data: `bytes` or an async iterator of `bytes`: a container, or raw samples with `encoding` and `sample_rate`.
            Or a NumPy array of shape (samples,) or (samples, channels), int16, or float between -1 and 1, with
            `sample_rate`.
        encoding: For raw bytes, as in `FileSource`.
        sample_rate: Samples a second of raw bytes or of an array.
        channels: Interleaved channels of raw bytes.

    Example:
        ```python
        dgnb.BufferSource(np.zeros(16000, dtype="int16"), sample_rate=16000)
        ```
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview | np.ndarray[Any, Any] | AsyncIterable[bytes],
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
    ) -> None:
        self._data: bytes | AsyncIterable[bytes]
        if isinstance(data, (bytes, bytearray, memoryview)):
            self._data = bytes(data)
            self.name = f"{len(self._data)} bytes"
            if not self._data:
                raise ConfigurationError("The buffer is empty.")
        elif isinstance(data, AsyncIterable):
            self._data = data
            self.name = "an async iterator"
            self.live = True
        elif hasattr(data, "dtype"):
            if encoding is not None or sample_rate is None:
                raise ConfigurationError("An array needs sample_rate, and no encoding.")
            self._data, channels = _array_bytes(data)
            self.name = f"an array of {len(data)} samples"
            encoding = "linear16"
        else:
            raise ConfigurationError(f"A buffer is bytes, a NumPy array or an async iterator, not {type(data).__name__}.")
        self.raw = Raw.of(encoding, sample_rate, channels)
        if self.raw:
            _ = self.raw.demuxer

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Look at what it is. See `AudioSource.open`; an async iterator can be opened once."""
        if isinstance(self._data, bytes):
            file = io.BytesIO(self._data)
            return await _decoded(file, self.name, self.raw, multichannel=multichannel, abort=lambda: None)
        pipe = _Pipe()
        reader = asyncio.create_task(self._read(self._data, pipe), name="dgnb: read an async iterator")
        try:
            audio = await _decoded(pipe, self.name, self.raw, multichannel=multichannel, abort=pipe.end)
        except BaseException:
            reader.cancel()
            await asyncio.wait([reader])
            raise
        audio_close = audio.aclose

        async def close_all() -> None:
            pipe.end()
            reader.cancel()
            await asyncio.wait([reader])
            await audio_close()

        audio._close = close_all
        return audio

    async def _read(self, chunks: AsyncIterable[bytes], pipe: _Pipe) -> None:
        try:
            async for chunk in chunks:
                if not isinstance(chunk, (bytes, bytearray, memoryview)):
                    raise TypeError(f"it gave {type(chunk).__name__}, not bytes")
                await pipe.put(bytes(chunk))
        except Exception as error:
            pipe.end(AudioError(f"The async iterator failed: {error!r}."))
        finally:
            pipe.end()


def as_source(
    source: object, *, encoding: str | None = None, sample_rate: int | None = None, channels: int = 1
) -> AudioSource:
    """A path, an http(s) URL, bytes, an array, an async iterator or an `AudioSource`, as an `AudioSource`.

    Raises:
        ConfigurationError: It is none of these.
    """
    raw: dict[str, Any] = {"encoding": encoding, "sample_rate": sample_rate, "channels": channels}
    if isinstance(source, AudioSource):
        return source
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        return URLSource(source, **raw)
    if isinstance(source, str) and "://" in source:
        raise ConfigurationError("A source is a path or an http(s) address; other schemes are not read.")
    if isinstance(source, (str, os.PathLike)):
        if not str(source).strip():
            raise ConfigurationError("The source is empty: give a path, an http(s) address or an AudioSource.")
        return FileSource(source, **raw)
    if isinstance(source, (bytes, bytearray, memoryview, AsyncIterable)) or hasattr(source, "dtype"):
        return BufferSource(cast("bytes", source), **raw)
    raise ConfigurationError(
        f"A source is a path, an http(s) address, bytes, an array or an AudioSource, not {type(source).__name__}."
    )


class Pacer:
    """Lets audio through at the pace of a clock, without drift.

    Chunk after chunk is due at the start plus the audio before it, so small delays don't add up. After a long delay,
    such as a cell that blocked the loop, audio catches up at 1.2 times the pace at most: Deepgram takes 1.25.

    Args:
        pace: Seconds of audio a second; None lets everything through at once.
        live: The source sets the pace itself, so whatever it has queued up may go at the catch-up rate.
        clock: Seconds, monotonic.
        sleep: Waits that many seconds of the clock.
    """

    CATCH_UP: Final = 1.2

    def __init__(
        self,
        pace: float | None,
        *,
        live: bool = False,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if pace is not None and not pace > 0:
            raise ConfigurationError("pace is a positive number, or None for as fast as the server takes it.")
        self._pace = pace
        self._live = live
        self._clock = clock
        self._sleep = sleep
        self._anchor: float | None = None
        self._sent = 0.0
        self._earliest = 0.0

    async def wait(self, seconds: float) -> None:
        """Wait until the next `seconds` of audio are due."""
        if self._pace is None:
            # Only a turn for the others.
            await self._sleep(0)
            return
        clock = self._clock or asyncio.get_running_loop().time
        now = clock()
        if self._anchor is None:
            self._anchor = self._earliest = now
        due = self._earliest if self._live else max(self._earliest, self._anchor + self._sent / self._pace)
        if due > now:
            await self._sleep(due - now)
            now = max(due, clock())
        self._sent += seconds
        self._earliest = max(self._earliest, now - CHUNK_SECONDS) + seconds / (self._pace * self.CATCH_UP)

    def restart(self) -> None:
        """Forget the time that passed since the last chunk: the stream was paused."""
        self._anchor = None
        self._sent = 0.0


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class _Pipe:
    """Bytes from the loop to the decoder's thread: `put` waits while it is full, `read` while it is empty."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._bytes = bytearray()
        self._ended = False
        self._room = asyncio.Event()
        self._room.set()
        self.error: AudioError | None = None

    async def put(self, data: bytes) -> None:
        await self._room.wait()
        with self._condition:
            self._bytes += data
            if len(self._bytes) >= _PIPE_BYTES:
                self._room.clear()
            self._condition.notify()

    def end(self, error: AudioError | None = None) -> None:
        with self._condition:
            self.error = self.error or (None if self._ended else error)
            self._ended = True
            self._condition.notify()

    def read(self, size: int = -1, /) -> bytes:
        with self._condition:
            while not self._bytes and not self._ended:
                self._condition.wait()
            # What there is, rather than waiting for all that was asked for: a radio trickles.
            taken = bytes(self._bytes[:size] if size >= 0 else self._bytes)
            del self._bytes[: len(taken)]
        if not self._room.is_set():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._room.set)
        return taken

    def close(self) -> None:
        self.end()


class _Worker:
    """Runs an iterator of chunks in a daemon thread, a bounded number of chunks ahead of who takes them.

    A daemon, because a thread that waits for a silent radio must not keep the interpreter from ending.
    """

    def __init__(self, produce: Iterator[bytes], abort: Callable[[], None], name: str) -> None:
        self._produce = produce
        self._abort = abort
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._stopped = False
        self._finished = False
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        threading.Thread(target=self._run, name=f"dgnb: decode {name}", daemon=True).start()

    def _run(self) -> None:
        try:
            for chunk in self._produce:
                with self._condition:
                    while len(self._chunks) >= _QUEUED_CHUNKS and not self._stopped:
                        self._condition.wait()
                    if self._stopped:
                        break
                    self._chunks.append(chunk)
                self._tell()
        except BaseException as error:
            self._error = error
        finally:
            with contextlib.suppress(Exception):
                cast("Any", self._produce).close()
            self._finished = True
            self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._news.set)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            self._news.clear()
            while self._chunks:
                with self._condition:
                    chunk = self._chunks.popleft()
                    self._condition.notify()
                yield chunk
            if self._finished and not self._chunks:
                if self._error:
                    raise self._error
                return
            await self._news.wait()

    async def first(self) -> None:
        """Wait until there is a chunk; raise what the thread raised before there was one."""
        while not self._chunks and not self._finished:
            await self._news.wait()
            self._news.clear()
        if not self._chunks and self._error:
            raise self._error

    async def close(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._abort()
        while not self._finished:
            self._news.clear()
            if not self._finished:
                await self._news.wait()


async def _decoded(
    file: _Readable, name: str, raw: Raw | None, *, multichannel: bool, abort: Callable[[], None]
) -> Audio:
    """Audio that a thread decodes from `file`, once there is some of it."""
    opened = _Opened()
    worker = _Worker(_decode(file, name, raw, multichannel=multichannel, opened=opened), abort, name)
    try:
        await worker.first()
        if not opened.channels:
            raise AudioError(f"{name} holds no audio.")
    except BaseException:
        await asyncio.shield(worker.close())
        raise
    return Audio(worker.chunks(), worker.close, channels=opened.channels)


@dataclass(slots=True)
class _Opened:
    """What the decoder's thread found; set before its first chunk."""

    channels: int = 0


def _decode(
    file: _Readable, name: str, raw: Raw | None, *, multichannel: bool, opened: _Opened
) -> Iterator[bytes]:
    """Decode to linear16 at 16 kHz in chunks of 100 ms; the last one may be shorter."""
    import av

    head = _Head(file)
    pipe_error = lambda: getattr(file, "error", None)  # noqa: E731
    if raw:
        for mark, kind in _HEADERS.items():
            if head.start.startswith(mark):
                raise AudioError(f"{name} has a {kind} header, so it is not raw {raw.encoding}: leave out encoding.")
    try:
        with _opened(head, raw) as container:
            if not container.streams.audio:
                raise AudioError(f"{name} holds no audio; it begins with {_printable(head.start)}.")
            stream = container.streams.audio[0]
            channels = stream.channels if multichannel else 1
            resample = _Resampler(channels)
            pending = bytearray()
            size = 2 * channels * round(SAMPLE_RATE * CHUNK_SECONDS)
            for frame in _frames(container, stream):
                pending += resample(frame)
                while len(pending) >= size:
                    opened.channels = channels
                    yield bytes(pending[:size])
                    del pending[:size]
            pending += resample(None)
            if pending:
                opened.channels = channels
                yield bytes(pending)
    except av.error.FFmpegError as error:
        if found := pipe_error():
            raise found from None
        raise AudioError(
            f"{name} can't be decoded as audio ({error.strerror}); it begins with {_printable(head.start)}."
        ) from None
    finally:
        file.close()
    if found := pipe_error():
        raise found


def _opened(head: _Head, raw: Raw | None) -> Any:
    import av

    if raw is None:
        return av.open(head, "r", options=_PROBE, metadata_errors="replace", buffer_size=8192)
    options = {"sample_rate": str(raw.sample_rate), "ch_layout": f"{raw.channels}c", "protocol_whitelist": "none"}
    if raw.encoding not in ("linear16", "linear32", "mulaw", "alaw"):
        options = dict(_PROBE)
    return av.open(head, "r", format=raw.demuxer, options=options, buffer_size=8192)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame that decodes. A damaged packet costs itself, not the stream."""
    import av

    decoded = damaged = 0
    last: Exception | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            last, damaged = error, damaged + 1
            if not decoded and damaged > 50:
                raise
            continue
        decoded += len(frames)
        yield from frames
    if last and not decoded:
        raise last


class _Resampler:
    """Frames of any format to interleaved linear16 at 16 kHz; the format may change on the way."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._form: tuple[Any, ...] | None = None
        self._resampler: Any = None

    def __call__(self, frame: Any) -> bytes:
        import av

        tail = b""
        if frame is not None:
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form != self._form:
                tail = self._flush()
                layout = "mono" if self._channels == 1 else frame.layout.name
                self._resampler = av.AudioResampler(format="s16", layout=layout, rate=SAMPLE_RATE)
                self._form = form
            frame.pts = None
            return tail + self._bytes(self._resampler.resample(frame))
        return self._flush()

    def _flush(self) -> bytes:
        return self._bytes(self._resampler.resample(None)) if self._resampler else b""

    def _bytes(self, frames: list[Any]) -> bytes:
        return b"".join(bytes(f.planes[0])[: 2 * self._channels * f.samples] for f in frames)


class _Head:
    """A file that remembers its first bytes, to say in an error what it was."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self.start = file.read(64)
        self._pending = self.start
        if hasattr(file, "seek"):
            self._pending = b""
            file.seek(0)
            self.seek = file.seek
            self.tell = cast("Any", file).tell

    def read(self, size: int = -1) -> bytes:
        if self._pending:
            pending, self._pending = self._pending, b""
            return pending
        return self._file.read(size)


def _byte_rate(file: BinaryIO, name: str) -> float:
    """Bytes a second of a container, on average."""
    import av

    try:
        with av.open(file, "r", options=_PROBE) as container:
            duration = (container.duration or 0) / av.time_base
    except av.error.FFmpegError as error:
        raise AudioError(f"{name} can't be read as audio ({error.strerror}).") from None
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size / duration if duration > 0 else 16_000.0


def _array_bytes(array: Any) -> tuple[bytes, int]:
    import numpy as np

    if array.ndim not in (1, 2) or not array.size:
        raise ConfigurationError(f"An array is of shape (samples,) or (samples, channels), not {array.shape}.")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ConfigurationError("The array holds NaN or infinity.")
        array = np.clip(array * 32768.0, -32768, 32767).round().astype("<i2")
    elif array.dtype != np.int16:
        raise ConfigurationError(f"An array is int16, or float between -1 and 1, not {array.dtype}.")
    return array.astype("<i2").tobytes(), (1 if array.ndim == 1 else array.shape[1])


def _printable(start: bytes) -> str:
    """The first bytes for a message: quoted, short, without control characters."""
    return repr(start[:40].decode("ascii", "backslashreplace"))

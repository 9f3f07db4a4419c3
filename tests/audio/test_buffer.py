"""Audio in memory and from async iterators."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import io
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.audio import Audio, BufferSource, as_source
from dgnb.exceptions import AudioError, ConfigurationError
from tests.support.samples import RATE, Samples, samples


async def collect(audio: Audio, chunks: list[bytes]) -> None:
    async for chunk in audio:
        chunks.append(chunk)


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


# Bytes


async def test_bytes_are_a_file_or_raw_samples(wav: Callable[..., bytes], tone: Callable[..., Samples]) -> None:
    sound = tone(0.55)
    assert np.array_equal(await samples(await BufferSource(wav(sound)).open()), sound)
    raw = BufferSource(memoryview(sound.tobytes()), encoding="linear16", sample_rate=RATE)
    assert np.array_equal(await samples(await raw.open()), sound)


def test_a_buffer_of_another_type_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="The buffer is empty"):
        BufferSource(b"")
    with pytest.raises(ConfigurationError, match=r"not set\."):
        BufferSource({1, 2, 3})


async def test_a_list_of_recorded_bytes_is_joined(tone: Callable[..., Samples]) -> None:
    data = tone(0.55).tobytes()
    for parts in ([data[:999], bytearray(data[999:])], (data,)):
        source = BufferSource(parts, encoding="linear16", sample_rate=RATE)
        assert (await samples(await source.open())).tobytes() == data


async def test_bytes_that_are_not_audio_raise_one_clear_error() -> None:
    with pytest.raises(AudioError, match="11 bytes is text, not audio"):
        await BufferSource(b"no audio at").open()


# Async iterators


@given(cuts=st.lists(st.integers(0, 20_000), max_size=12))
@settings(max_examples=25, deadline=None)
def test_the_sound_does_not_depend_on_how_an_iterator_cuts_its_bytes(
    cuts: list[int], tone: Callable[..., Samples]
) -> None:
    data = tone(0.6).tobytes()
    edges = [0, *sorted(cuts), len(data)]
    parts = [data[a:b] for a, b in pairwise(edges)]

    async def run() -> bytes:
        source = BufferSource(pieces(*parts), encoding="linear16", sample_rate=RATE)
        return (await samples(await source.open())).tobytes()

    assert asyncio.run(run()) == data


async def test_an_iterator_is_live_and_its_first_chunk_does_not_wait_for_the_rest(tone: Callable[..., Samples]) -> None:
    heard = asyncio.Event()

    async def microphone() -> AsyncIterator[bytes]:
        yield tone(0.3).tobytes()
        await heard.wait()

    source = BufferSource(microphone(), encoding="linear16", sample_rate=RATE)
    audio = await asyncio.wait_for(source.open(), 5)
    # Live, and still asked for its next bytes only when there is room.
    assert audio.live
    assert audio.waits
    assert len(await anext(audio)) == 3200
    heard.set()
    await audio.aclose()


async def test_the_error_of_an_iterator_comes_after_its_audio(tone: Callable[..., Samples]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield tone(0.5).tobytes()
        raise OSError("unplugged")

    audio = await BufferSource(broken(), encoding="linear16", sample_rate=RATE).open()
    got: list[bytes] = []
    with pytest.raises(AudioError, match=r"Reading an async iterator failed: OSError.*unplugged"):
        await collect(audio, got)
    await audio.aclose()
    assert sum(map(len, got)) == 16_000


async def test_an_iterator_that_gives_no_bytes_objects_raises_one_clear_error() -> None:
    async def words() -> AsyncIterator[Any]:
        yield "hello"

    with pytest.raises(AudioError, match="it gave str, not bytes"):
        await BufferSource(words(), encoding="linear16", sample_rate=RATE).open()


async def test_an_empty_iterator_raises_one_clear_error() -> None:
    with pytest.raises(AudioError, match=r"is empty|holds no samples"):
        await BufferSource(pieces(), encoding="linear16", sample_rate=RATE).open()


async def test_a_generator_can_be_opened_once(tone: Callable[..., Samples]) -> None:
    source = BufferSource(pieces(tone(0.2).tobytes()), encoding="linear16", sample_rate=RATE)
    await (await source.open()).aclose()
    with pytest.raises(AudioError, match="opened before"):
        await source.open()


async def test_closing_early_ends_the_generator_too(tone: Callable[..., Samples]) -> None:
    ended = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal ended
        try:
            while True:
                yield tone(0.1).tobytes()
        finally:
            ended = True

    audio = await BufferSource(endless(), encoding="linear16", sample_rate=RATE).open()
    await anext(audio)
    await audio.aclose()
    assert ended


async def test_an_open_that_is_cancelled_ends_the_generator_too() -> None:
    waiting, ended = asyncio.Event(), False

    async def silent() -> AsyncIterator[bytes]:
        nonlocal ended
        try:
            waiting.set()
            await asyncio.Event().wait()
            yield b""
        finally:
            ended = True

    task = asyncio.create_task(BufferSource(silent(), encoding="linear16", sample_rate=RATE).open())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_an_iterator_is_read_no_further_ahead_than_the_pipe_holds() -> None:
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 65_536
            yield bytes(65_536)

    audio = await BufferSource(chunks(), encoding="linear16", sample_rate=16_000).open()
    taken = 0
    async for chunk in audio:
        taken += len(chunk)
        await asyncio.sleep(0)
        if taken > 3_000_000:
            break
    assert given - taken < 2_500_000
    await audio.aclose()


# Open files and streams


class Trickle(io.RawIOBase):
    """A file of bytes that cannot seek, such as a pipe: it gives as many as it likes."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[: self._most])


class Upload:
    """An upload as web frameworks give it: it has `read`, and neither `readline` nor an iterator."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


class Lines(Upload):
    """A stream of asyncio, aiohttp or aiofiles: iterating over it gives lines."""

    async def readline(self) -> bytes:
        raise ValueError("Separator is not found, and chunk exceed the limit")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self.readline()


class AsyncFile(Lines):
    """A file of anyio or trio: only `seekable` does not wait."""

    def seekable(self) -> bool:
        return True

    async def tell(self) -> int:
        raise NotImplementedError


class Microphone(Upload):
    """An iterator with a method of its own that is called `read`."""

    async def read(self, size: int = -1) -> bytes:
        raise NotImplementedError

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data.getvalue()


STREAMS: list[Callable[[bytes], Any]] = [
    io.BytesIO,
    lambda data: Trickle(data, 1000),
    lambda data: io.BufferedReader(Trickle(data, 1000)),
    lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
    Upload,
    Lines,
    AsyncFile,
    Microphone,
]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("header", [True, False])
async def test_an_open_file_or_stream_is_read_by_size(
    stream: Callable[[bytes], Any], header: bool, wav: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    sound = tone(2.35)
    sound[1000:9000] = 10  # line ends
    raw: dict[str, Any] = {} if header else {"encoding": "linear16", "sample_rate": RATE}
    source = as_source(stream(wav(sound) if header else sound.tobytes()), **raw)
    assert np.array_equal(await samples(await source.open()), sound)


async def test_the_output_of_a_subprocess_is_audio(tone: Callable[..., Samples], tmp_path: Path) -> None:
    sound = tone(3.0)
    path = tmp_path / "tone.raw"
    path.write_bytes(sound.tobytes())
    code = f"import sys; sys.stdout.buffer.write(open({str(path)!r}, 'rb').read())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    source = as_source(process.stdout, encoding="linear16", sample_rate=RATE)
    assert np.array_equal(await samples(await source.open()), sound)
    await process.wait()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as blocking:  # noqa: ASYNC220
        source = as_source(blocking.stdout, encoding="linear16", sample_rate=RATE)
        assert np.array_equal(await samples(await source.open()), sound)


async def test_the_body_of_an_aiohttp_response_is_audio(tone: Callable[..., Samples]) -> None:
    sound = tone(3.0)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=sound.tobytes())

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        source = as_source(response.content, encoding="linear16", sample_rate=RATE)
        assert np.array_equal(await samples(await source.open()), sound)


async def test_the_file_of_a_socket_gives_its_first_chunk_at_once_and_closing_waits_for_no_more(
    tone: Callable[..., Samples],
) -> None:
    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as file:
        far.sendall(tone(0.3).tobytes())
        audio = await BufferSource(file, encoding="linear16", sample_rate=RATE).open()
        assert audio.live
        assert len(await anext(audio)) == 3200
        await asyncio.wait_for(audio.aclose(), 5)
        far.sendall(bytes(100))  # ends the thread that still reads


async def test_a_file_is_read_from_where_it_stands_and_stays_open(
    wav: Callable[..., bytes], tone: Callable[..., Samples], tmp_path: Path
) -> None:
    sound = tone(0.55)
    path = tmp_path / "two.bin"
    path.write_bytes(b"something else" + wav(sound))
    with path.open("rb") as file:
        file.seek(14)
        source = BufferSource(file)
        assert source.name == "two.bin"
        for _ in range(2):
            audio = await source.open()
            assert not audio.live
            assert np.array_equal(await samples(audio), sound)
        assert not file.closed


def test_a_file_that_gives_no_bytes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    with (
        path.open(encoding="utf-8") as file,
        pytest.raises(ConfigurationError, match=r"mode 'rb', or pass its \.buffer"),
    ):
        BufferSource(file)
    with codecs.open(str(path), encoding="utf-8") as file, pytest.raises(ConfigurationError, match="open as text"):
        BufferSource(file)
    for mode in ("wb", "ab"):
        with path.open(mode) as file, pytest.raises(ConfigurationError, match=r"for writing\. Open it with mode 'rb'"):
            BufferSource(file)
    with pytest.raises(ConfigurationError, match="open as text"):
        BufferSource(io.StringIO("text"))
    with path.open("rb") as closed:
        pass
    with pytest.raises(ConfigurationError, match="The file is closed"):
        BufferSource(closed)
    written = io.BytesIO()
    written.write(b"RIFF")
    with pytest.raises(ConfigurationError, match=r"Call seek\(0\) on it first"):
        BufferSource(written)
    written.seek(0)
    BufferSource(written)


async def test_a_stream_that_fails_raises_one_clear_error_and_is_opened_once() -> None:
    source = BufferSource(Microphone(b""), encoding="linear16", sample_rate=RATE)
    with pytest.raises(AudioError, match=r"holds no samples|is empty"):
        await source.open()
    source = BufferSource(Trickle(b"", 9), encoding="linear16", sample_rate=RATE)
    with pytest.raises(AudioError, match=r"holds no samples|is empty"):
        await source.open()
    with pytest.raises(AudioError, match="opened before"):
        await source.open()


def test_a_response_instead_of_its_stream_is_refused_at_once() -> None:
    class Response:
        """As of aiohttp or httpx: `read` gives all of it."""

        async def read(self) -> bytes:
            raise NotImplementedError

    with pytest.raises(ConfigurationError, match=r"not Response\. Of a response pass its stream: \.content"):
        as_source(Response())

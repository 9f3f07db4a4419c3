"""Audio in memory and from async iterators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.audio import Audio, BufferSource
from dgnb.exceptions import AudioError, ConfigurationError

Samples = npt.NDArray[Any]
RATE = 16_000


async def samples(audio: Audio) -> Samples:
    try:
        return np.frombuffer(b"".join([chunk async for chunk in audio]), "<i2").reshape(-1, audio.channels)
    finally:
        await audio.aclose()


async def collect(audio: Audio, chunks: list[bytes]) -> None:
    async for chunk in audio:
        chunks.append(chunk)


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


# Arrays


async def test_an_array_of_integers_goes_through_unchanged(tone: Callable[..., Samples]) -> None:
    sound = tone(0.55)
    assert np.array_equal(await samples(await BufferSource(sound[:, 0], sample_rate=RATE).open()), sound)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
async def test_an_array_of_floats_is_scaled_and_clipped(dtype: str) -> None:
    source = BufferSource(np.array([0.0, 0.5, -0.5, 1.0, -1.0, 1.5]).astype(dtype), sample_rate=RATE)
    assert (await samples(await source.open()))[:, 0].tolist() == [0, 16384, -16384, 32767, -32768, 32767]


async def test_the_second_axis_of_an_array_is_its_channels(tone: Callable[..., Samples]) -> None:
    sound = tone(0.55, channels=2)
    source = BufferSource(sound, sample_rate=RATE)
    assert np.array_equal(await samples(await source.open(multichannel=True)), sound)
    assert (await samples(await source.open())).shape == (len(sound), 1)


async def test_an_array_of_another_byte_order_is_read_correctly(tone: Callable[..., Samples]) -> None:
    sound = tone(0.25)
    assert np.array_equal(await samples(await BufferSource(sound.astype(">i2"), sample_rate=RATE).open()), sound)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros(9), {}, "needs sample_rate"),
        (np.zeros(9), {"sample_rate": RATE, "encoding": "mulaw"}, "no encoding"),
        (np.zeros(0), {"sample_rate": RATE}, r"not \(0,\)"),
        (np.zeros((2, 2, 2)), {"sample_rate": RATE}, "of shape"),
        (np.array(1.0), {"sample_rate": RATE}, "of shape"),
        (np.zeros((2, 16_000)), {"sample_rate": RATE}, "Transpose it"),
        (np.array([0.0, np.nan]), {"sample_rate": RATE}, "NaN or infinity"),
        (np.array([0.0, 20_000.0]), {"sample_rate": RATE}, "between -1 and 1, not up to 20000"),
        (np.zeros(9, "int32"), {"sample_rate": RATE}, "not int32"),
        (np.zeros(9, "uint8"), {"sample_rate": RATE}, "not uint8"),
        (np.array(["a"]), {"sample_rate": RATE}, "not <U1"),
    ],
)
def test_an_array_that_is_not_audio_is_refused_at_once(array: Samples, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BufferSource(array, **options)


# Bytes


async def test_bytes_are_a_file_or_raw_samples(wav: Callable[..., bytes], tone: Callable[..., Samples]) -> None:
    sound = tone(0.55)
    assert np.array_equal(await samples(await BufferSource(wav(sound)).open()), sound)
    raw = BufferSource(memoryview(sound.tobytes()), encoding="linear16", sample_rate=RATE)
    assert np.array_equal(await samples(await raw.open()), sound)


def test_a_buffer_of_another_type_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="The buffer is empty"):
        BufferSource(b"")
    with pytest.raises(ConfigurationError, match="not list"):
        BufferSource([1, 2, 3])  # type: ignore[arg-type]


async def test_bytes_that_are_not_audio_raise_one_clear_error() -> None:
    with pytest.raises(AudioError, match="11 bytes can't be decoded as audio"):
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
    with pytest.raises(AudioError, match=r"The async iterator failed: OSError.*unplugged"):
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

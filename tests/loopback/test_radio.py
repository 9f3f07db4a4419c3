from __future__ import annotations

import asyncio
import io
import math
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import av
import numpy as np
import pytest

from dgnb.loopback import LoopbackServer, serve

BYTES_A_SECOND = 16_000
"""128 kbit/s."""


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A tone of half a second."""
    path = tmp_path / "tone.wav"
    wave = (np.sin(np.arange(8000) * 2 * math.pi * 440 / 16_000) * 20_000).astype("<i2")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
    return path


@pytest.fixture
async def server(tone: Path) -> AsyncIterator[LoopbackServer]:
    async with serve("", radio=tone) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_station_says_what_it_is(server: LoopbackServer, session: aiohttp.ClientSession) -> None:
    async with session.get(server.radio_url) as response:
        assert response.status == 200
        assert response.headers["icy-name"] == "dgnb radio"
        assert response.content_type == "audio/mpeg"
        assert "Content-Length" not in response.headers


async def test_a_listener_gets_a_second_at_once_and_the_rest_in_time(
    server: LoopbackServer, session: aiohttp.ClientSession
) -> None:
    loop = asyncio.get_running_loop()
    async with session.get(server.radio_url) as response:
        await response.content.readexactly(BYTES_A_SECOND * 9 // 10)
        began = loop.time()
        await response.content.readexactly(BYTES_A_SECOND)
        assert 0.7 < loop.time() - began < 1.5


async def test_the_recording_is_played_for_ever_and_decodes_without_a_break(
    server: LoopbackServer, session: aiohttp.ClientSession
) -> None:
    async with session.get(server.radio_url) as response:
        audio = await response.content.readexactly(BYTES_A_SECOND * 3 // 2)
    with av.open(io.BytesIO(audio), "r", format="mp3") as file:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    seconds = len(samples) / 44_100
    assert seconds > 1.3
    loud = [np.abs(samples[begin : begin + 4410]).max() > 0.1 for begin in range(0, len(samples) - 4410, 4410)]
    assert all(loud)


async def test_several_may_listen(server: LoopbackServer, session: aiohttp.ClientSession) -> None:
    async def head() -> bytes:
        async with session.get(server.radio_url) as response:
            return await response.content.readexactly(1000)

    first, second, third = await asyncio.gather(head(), head(), head())
    assert first == second == third
    assert first[0] == 0xFF


async def test_listeners_are_let_go_when_the_server_ends(tone: Path, session: aiohttp.ClientSession) -> None:
    async with serve("", radio=tone) as server:
        response = await session.get(server.radio_url)
        await response.content.readexactly(1000)
    async with asyncio.timeout(2):
        await response.read()
    response.close()


async def test_the_sample_is_what_is_played_unless_told_otherwise(session: aiohttp.ClientSession) -> None:
    async with serve("") as server, session.get(server.radio_url) as response:
        assert len(await response.content.readexactly(1000)) == 1000

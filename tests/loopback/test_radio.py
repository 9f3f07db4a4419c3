from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.ears import decoded
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

BYTES_A_SECOND = 16_000
"""128 kbit/s."""

Recordings = Callable[[float], Path]


@pytest.fixture
def recording(tmp_path: Path, tone: Callable[..., Any], wav: Callable[..., bytes]) -> Recordings:
    """`recording(seconds)`: a file with a tone."""

    def make(seconds: float) -> Path:
        path = tmp_path / f"{seconds}.wav"
        path.write_bytes(wav(tone(seconds)))
        return path

    return make


@pytest.fixture
async def server(recording: Recordings) -> AsyncIterator[FaultyServer]:
    async with FaultyServer("", radio=recording(0.5)) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


# Stations


async def test_a_station_says_what_it_is(server: FaultyServer, session: aiohttp.ClientSession) -> None:
    async with session.get(server.radio_url) as response:
        assert response.status == 200
        assert response.headers["icy-name"] == "dgnb radio"
        assert response.content_type == "audio/mpeg"
        assert "Content-Length" not in response.headers


async def test_a_listener_gets_a_second_at_once_and_the_rest_in_time(
    server: FaultyServer, session: aiohttp.ClientSession
) -> None:
    loop = asyncio.get_running_loop()
    async with session.get(server.radio_url) as response:
        await response.content.readexactly(BYTES_A_SECOND * 9 // 10)
        began = loop.time()
        await response.content.readexactly(BYTES_A_SECOND)
        assert 0.7 < loop.time() - began < 1.5


@pytest.mark.parametrize("path", ["", ".mp3"])
async def test_a_recording_shorter_than_the_stream_is_repeated(
    path: str, server: FaultyServer, session: aiohttp.ClientSession
) -> None:
    with server.broadcasting(after=2.5):
        async with session.get(server.radio_url + path) as response:
            assert response.content_type == "audio/mpeg"
            seconds, _ = decoded(await response.read(), "mp3")
    assert 2.4 < seconds < 2.6


async def test_each_listener_hears_the_recording_from_its_beginning(
    server: FaultyServer, session: aiohttp.ClientSession
) -> None:
    async def head() -> bytes:
        async with session.get(server.radio_url) as response:
            return await response.content.readexactly(1000)

    first, second, third = await asyncio.gather(head(), head(), head())
    assert first == second == third
    assert first[0] == 0xFF


async def test_the_station_plays_the_sample_by_default(session: aiohttp.ClientSession) -> None:
    async with FaultyServer("") as server, session.get(server.radio_url) as response:
        assert len(await response.content.readexactly(1000)) == 1000


async def test_the_end_of_the_server_ends_its_streams(recording: Recordings, session: aiohttp.ClientSession) -> None:
    async with FaultyServer("", radio=recording(0.5)) as server:
        response = await session.get(server.radio_url)
        await response.content.readexactly(1000)
    async with asyncio.timeout(2):
        await response.read()
    response.close()


async def test_a_listener_that_never_reads_does_not_keep_the_server_from_ending(
    recording: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A burst too large for the system's buffers, sent to a listener that does not read.
    monkeypatch.setattr("dgnb.loopback.radio.BURST_SECONDS", 1000.0)
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        async with FaultyServer("", radio=recording(0.5)) as server:
            address = urlsplit(server.radio_url)
            await loop.sock_connect(connection, (address.hostname, address.port))
            await loop.sock_sendall(connection, f"GET /radio HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
            await until(lambda: bool(server.requests) and server.requests[0].status is not None)
            began = loop.time()
        assert loop.time() - began < 5

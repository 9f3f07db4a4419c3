from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from dgnb.loopback import LoopbackServer, serve
from tests.support.ears import decoded, hear
from tests.support.waiting import until

BYTES_A_SECOND = 16_000
"""128 kbit/s."""

LONG = 3.0
"""Seconds of the recording that is cut into segments."""

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
async def server(recording: Recordings) -> AsyncIterator[LoopbackServer]:
    async with serve("", radio=recording(0.5)) as server:
        yield server


@pytest.fixture
async def long_server(recording: Recordings) -> AsyncIterator[LoopbackServer]:
    async with serve("", radio=recording(LONG)) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


# Stations


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


@pytest.mark.parametrize(
    ("path", "kind", "form"), [("", "mpeg", "mp3"), (".mp3", "mpeg", "mp3"), (".ogg", "ogg", "ogg")]
)
async def test_a_recording_shorter_than_the_stream_is_repeated(
    path: str, kind: str, form: str, server: LoopbackServer, session: aiohttp.ClientSession
) -> None:
    with server.broadcasting(after=2.5):
        async with session.get(server.radio_url + path) as response:
            assert response.content_type == f"audio/{kind}"
            seconds, _ = decoded(await response.read(), form)
    # An Ogg page holds a second, and the last one is cut off.
    assert 1.4 < seconds < 2.6


async def test_each_listener_hears_the_recording_from_its_beginning(
    server: LoopbackServer, session: aiohttp.ClientSession
) -> None:
    async def head() -> bytes:
        async with session.get(server.radio_url) as response:
            return await response.content.readexactly(1000)

    first, second, third = await asyncio.gather(head(), head(), head())
    assert first == second == third
    assert first[0] == 0xFF


async def test_the_station_plays_the_sample_by_default(session: aiohttp.ClientSession) -> None:
    async with serve("") as server, session.get(server.radio_url) as response:
        assert len(await response.content.readexactly(1000)) == 1000


async def test_the_end_of_the_server_ends_its_streams(recording: Recordings, session: aiohttp.ClientSession) -> None:
    async with serve("", radio=recording(0.5)) as server:
        response = await session.get(server.radio_url)
        await response.content.readexactly(1000)
    async with asyncio.timeout(2):
        await response.read()
    response.close()


async def test_a_listener_that_never_reads_is_disconnected(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A burst too large for the system's buffers, sent to a listener that does not read.
    monkeypatch.setattr("dgnb.loopback.radio.BURST_SECONDS", 1000.0)
    monkeypatch.setattr("dgnb.loopback.radio.MOST_BEHIND", 0.2)
    address, loop = urlsplit(server.radio_url), asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, (address.hostname, address.port))
        await loop.sock_sendall(connection, f"GET /radio HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        await until(lambda: bool(server.requests) and server.requests[0].status is not None)


# Faults of a station


async def test_a_station_ends_in_good_order(server: LoopbackServer, session: aiohttp.ClientSession) -> None:
    with server.broadcasting(after=0.5, times=1):
        async with session.get(server.radio_url) as response:
            assert len(await response.read()) == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.01)
        async with session.get(server.radio_url) as response:
            assert len(await response.content.readexactly(12_000)) == 12_000


async def test_a_station_resets_the_connection(server: LoopbackServer) -> None:
    with server.broadcasting(ends="reset"):
        assert (await hear(server)).ended == "reset"
        with server.broadcasting(ends="reset", after=0.5):
            assert (await hear(server)).ended == "reset"


async def test_a_station_stalls(server: LoopbackServer) -> None:
    with server.broadcasting(after=0.5, ends="stalled"):
        heard = await hear(server, patience=0.4)
    assert heard.ended == "open"
    assert len(heard.body) == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.02)
    await until(lambda: server.requests[0].status == 200)


async def test_a_stalled_listener_does_not_keep_the_server_from_ending(recording: Recordings) -> None:
    async with serve("", radio=recording(0.5)) as server:
        with server.broadcasting(after=0, ends="stalled"):
            listening = asyncio.create_task(hear(server))
            await until(lambda: bool(server.requests))
    assert (await listening).ended == "closed"


async def test_a_station_refuses_the_given_number_of_times(
    server: LoopbackServer, session: aiohttp.ClientSession
) -> None:
    with server.broadcasting(status=503, times=2):
        statuses = []
        for _ in range(3):
            async with session.get(server.radio_url) as response:
                statuses.append(response.status)
    assert statuses == [503, 503, 200]


# HLS


async def playlist(session: aiohttp.ClientSession, url: str, first: int = 0) -> str:
    """The playlist as soon as its window begins at this segment."""
    async with asyncio.timeout(10):
        while True:
            async with session.get(url) as response:
                assert response.content_type == "application/vnd.apple.mpegurl"
                text = await response.text()
            if int(re.findall(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)[0]) >= first:
                return text
            await asyncio.sleep(0.05)


def names(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


async def test_a_live_window_moves(server: LoopbackServer, session: aiohttp.ClientSession) -> None:
    url = f"{server.radio_url}/hls/live.m3u8"
    before = names(await playlist(session, url))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert names(await playlist(session, url, 1))[:3] == before[1:]
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1" in await playlist(session, url, 2)
    assert 0.7 < loop.time() - began < 2


async def test_segments_of_a_live_window_join(long_server: LoopbackServer, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/live.m3u8"
    text = await playlist(session, url)
    assert "#EXT-X-MEDIA-SEQUENCE:0\n" in text
    assert "#EXT-X-TARGETDURATION:2\n" in text
    assert "#EXT-X-ENDLIST" not in text
    listed, lines = names(text), text.splitlines()
    assert len(listed) == 4
    # The recording has two segments: times begin again with the third.
    assert [lines[lines.index(name) - 2] == "#EXT-X-DISCONTINUITY" for name in listed] == [False, False, True, False]
    bodies = []
    for name in listed:
        async with session.get(urljoin(url, name)) as response:
            assert response.content_type == "video/mp2t"
            bodies.append(await response.read())
    assert sum(map(float, re.findall(r"#EXTINF:([\d.]+)", text))) == pytest.approx(2 * LONG, abs=0.2)
    assert decoded(b"".join(bodies[:2]), "mpegts")[0] == pytest.approx(LONG, abs=0.1)


@pytest.mark.parametrize("name", ["99.ts", "x.ts", "other.m3u8"])
async def test_a_segment_outside_the_window_is_404(
    name: str, long_server: LoopbackServer, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{long_server.radio_url}/hls/{name}") as response:
        assert response.status == 404

from __future__ import annotations

import asyncio
import configparser
import io
import re
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import aiohttp
import av
import numpy as np
import pytest

from tests.support.ears import decoded, hear, without_metadata
from tests.support.stations import Station
from tests.support.waiting import until

BYTES_A_SECOND = 16_000
"""128 kbit/s."""

LONG = 3.0
"""Seconds of the recording that is cut into segments."""


@pytest.fixture
def short(tmp_path: Path, tone: Callable[..., Any], wav: Callable[..., bytes]) -> Path:
    """A tone of half a second."""
    path = tmp_path / "short.wav"
    path.write_bytes(wav(tone(0.5)))
    return path


@pytest.fixture
def long(tmp_path: Path, tone: Callable[..., Any], wav: Callable[..., bytes]) -> Path:
    path = tmp_path / "long.wav"
    path.write_bytes(wav(tone(LONG)))
    return path


@pytest.fixture
async def server(short: Path) -> AsyncIterator[Station]:
    async with Station(short) as server:
        yield server


@pytest.fixture
async def long_server(long: Path) -> AsyncIterator[Station]:
    async with Station(long) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


Deaf = Callable[[Station], Awaitable[None]]


def mp3_rates(audio: bytes) -> list[int]:
    """The sample rate of each frame, from its header: FFmpeg counts the first among the last that it has probed."""
    rates, at = [], 0
    while at + 4 <= len(audio):
        assert audio[at] == 0xFF
        # 0xFB: MPEG-1, layer III, 128 kbit/s; 0xF3: MPEG-2, layer III, 64 kbit/s
        rate, bits, samples = {0xFB: (44_100, 128_000, 1152), 0xF3: (22_050, 64_000, 576)}[audio[at + 1]]
        assert audio[at + 2] & 0xFC == {44_100: 0x90, 22_050: 0x80}[rate]
        rates.append(rate)
        at += samples * bits // (8 * rate) + (audio[at + 2] >> 1 & 1)
    return rates


async def until_ended(server: Station, *ended: str) -> None:
    """Wait until the listeners have ended in these ways."""
    await until(lambda: [listener.ended for listener in server.listeners] == list(ended))


# Stations


async def test_a_station_says_what_it_is(server: Station, session: aiohttp.ClientSession) -> None:
    async with session.get(server.radio_url) as response:
        assert response.status == 200
        assert response.headers["icy-name"] == "dgnb radio"
        assert response.content_type == "audio/mpeg"
        assert "Content-Length" not in response.headers


async def test_a_listener_gets_a_second_at_once_and_the_rest_in_time(
    server: Station, session: aiohttp.ClientSession
) -> None:
    loop = asyncio.get_running_loop()
    async with session.get(server.radio_url) as response:
        await response.content.readexactly(BYTES_A_SECOND * 9 // 10)
        began = loop.time()
        await response.content.readexactly(BYTES_A_SECOND)
        assert 0.7 < loop.time() - began < 1.5


async def test_the_recording_is_played_for_ever_and_decodes_without_a_break(
    server: Station, session: aiohttp.ClientSession
) -> None:
    async with session.get(server.radio_url) as response:
        audio = await response.content.readexactly(BYTES_A_SECOND * 3 // 2)
    with av.open(io.BytesIO(audio), "r", format="mp3") as file:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    seconds = len(samples) / 44_100
    assert seconds > 1.3
    loud = [np.abs(samples[begin : begin + 4410]).max() > 0.1 for begin in range(0, len(samples) - 4410, 4410)]
    assert all(loud)


async def test_several_listeners_hear_the_same(server: Station, session: aiohttp.ClientSession) -> None:
    async def head() -> bytes:
        async with session.get(server.radio_url) as response:
            return await response.content.readexactly(1000)

    first, second, third = await asyncio.gather(head(), head(), head())
    assert first == second == third
    assert first[0] == 0xFF


async def test_the_end_of_the_server_ends_its_streams(short: Path, session: aiohttp.ClientSession) -> None:
    async with Station(short) as server:
        response = await session.get(server.radio_url)
        await response.content.readexactly(1000)
    async with asyncio.timeout(2):
        await response.read()
    response.close()


async def test_a_listener_that_asks_for_metadata_gets_a_title_every_ten_seconds(server: Station) -> None:
    with server.broadcasting(burst=25, after=25):
        heard = await hear(server, Icy_MetaData="1")
    assert heard.headers["icy-metaint"] == "16000"
    audio, said = without_metadata(heard.body, 16_000)
    assert said == ["StreamTitle='Part 1';", "StreamTitle='Part 2';", "StreamTitle='Part 3';"]
    seconds, _ = decoded(audio, "mp3")
    assert 24.8 < seconds < 25.1


async def test_a_listener_that_does_not_ask_gets_audio_only(server: Station) -> None:
    with server.broadcasting(burst=2, after=2):
        heard = await hear(server)
    assert "icy-metaint" not in heard.headers
    assert b"StreamTitle" not in heard.body
    assert decoded(heard.body, "mp3")[0] > 1.9


async def test_metadata_may_come_unasked_and_stay_away_when_asked(server: Station) -> None:
    with server.broadcasting(burst=2, after=2):
        with server.broadcasting(metadata=512, title='it\'s "<b>"'):
            heard = await hear(server)
        with server.broadcasting(metadata=0):
            plain = await hear(server, Icy_MetaData="1")
    audio, said = without_metadata(heard.body, int(heard.headers["icy-metaint"]))
    assert said == ["StreamTitle='it's \"<b>\"';"]
    assert "icy-metaint" not in plain.headers
    assert audio == plain.body


@pytest.fixture
async def deaf() -> AsyncIterator[Deaf]:
    """`await deaf(server)`: a listener that never reads."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)

        async def listen(server: Station) -> None:
            address, loop = urlsplit(server.radio_url), asyncio.get_running_loop()
            await loop.sock_connect(connection, (address.hostname, address.port))
            request = f"GET /radio HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
            await loop.sock_sendall(connection, request.encode())

        yield listen


async def test_a_listener_that_is_too_far_behind_is_disconnected(short: Path, deaf: Deaf) -> None:
    async with Station(short, queue=50_000) as server:
        with server.broadcasting(speed=1000):
            await deaf(server)
            await until_ended(server, "behind")


async def test_a_listener_that_does_not_take_the_end_is_disconnected(
    server: Station, deaf: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.stations.wire._PATIENCE", 0.2)
    with server.broadcasting(burst=60, after=60):
        await deaf(server)
        await until_ended(server, "behind")


async def test_a_listener_that_keeps_up_is_not_disconnected(short: Path) -> None:
    async with Station(short, queue=50_000) as server:
        with server.broadcasting(speed=20, after=20):
            assert (await hear(server)).ended == "closed"
        assert server.listeners[0].bytes_sent == pytest.approx(20 * BYTES_A_SECOND, rel=0.01)


async def test_listeners_are_recorded(server: Station) -> None:
    assert server.listeners == []
    await hear(server, enough=1000)
    await until_ended(server, "left")
    with server.broadcasting(after=0.5):
        heard = await hear(server, "/radio.mp3")
    left, closed = server.listeners
    assert (left.path, closed.path, closed.ended) == ("/radio", "/radio.mp3", "closed")
    assert closed.bytes_sent == len(heard.body)
    assert closed.opened_at >= left.opened_at


async def test_listeners_at_the_end_of_the_server_are_recorded_as_stopped(short: Path) -> None:
    async with Station(short) as server:
        listening = asyncio.create_task(hear(server))
        await until(lambda: bool(server.listeners))
    await listening
    assert [listener.ended for listener in server.listeners] == ["stopped"]


# Endings


async def test_the_end_of_the_connection_is_the_end(server: Station) -> None:
    with server.broadcasting(after=0.5, times=1):
        heard = await hear(server)
    assert heard.ended == "closed"
    assert not {"content-length", "transfer-encoding"} & set(heard.headers)
    assert len(heard.body) == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.01)
    assert len((await hear(server, enough=12_000)).body) > 10_000


async def test_a_station_resets_the_connection(server: Station) -> None:
    with server.broadcasting(ends="reset"), server.broadcasting(after=0.5, times=1):
        assert (await hear(server)).ended == "reset"
        assert (await hear(server)).ended == "reset"
    await until_ended(server, "reset", "reset")
    half, nothing = server.listeners
    assert half.bytes_sent == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.01)
    assert nothing.bytes_sent == 0


async def test_chunks_end_with_the_last_one_or_before_it(server: Station) -> None:
    with server.broadcasting(after=0.5, framing="chunked"):
        whole = await hear(server)
        with server.broadcasting(ends="truncated"):
            truncated = await hear(server)
    assert whole.headers["transfer-encoding"] == truncated.headers["transfer-encoding"] == "chunked"
    assert whole.body.endswith(b"\r\n0\r\n\r\n")
    assert truncated.body == whole.body.removesuffix(b"0\r\n\r\n")
    assert truncated.ended == "closed"


async def test_a_length_is_not_reached(server: Station, session: aiohttp.ClientSession) -> None:
    with server.broadcasting(after=0.5, framing="length"):
        heard = await hear(server)
        async with session.get(server.radio_url) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    assert heard.ended == "closed"
    assert int(heard.headers["content-length"]) > len(heard.body) > 7000


async def test_a_station_stalls(server: Station) -> None:
    with server.broadcasting(after=0.5, ends="stalled"):
        heard = await hear(server, patience=0.4)
    assert heard.ended == "open"
    assert len(heard.body) == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.01)
    await until_ended(server, "left")


async def test_a_stalled_listener_does_not_keep_the_server_from_ending(short: Path) -> None:
    async with Station(short) as server:
        with server.broadcasting(after=0, ends="stalled"):
            listening = asyncio.create_task(hear(server))
            await until(lambda: bool(server.listeners))
    assert (await listening).ended == "closed"


async def test_a_station_accepts_and_closes_again_and_again(server: Station) -> None:
    with server.broadcasting(after=0):
        for _ in range(3):
            heard = await hear(server)
            assert (heard.status, heard.body, heard.ended) == ("HTTP/1.1 200 OK", b"", "closed")
    with server.broadcasting(hang_up=True):
        heard = await hear(server)
        assert (heard.status, heard.ended) == ("", "closed")
    assert [listener.ended for listener in server.listeners] == [*["closed"] * 3, "hung up"]
    assert {listener.bytes_sent for listener in server.listeners} == {0}


# Answers


@pytest.mark.parametrize("status", [403, 404, 451, 503])
async def test_a_station_refuses_the_given_number_of_times(status: int, server: Station) -> None:
    with server.broadcasting(status=status, times=2):
        answers = [(await hear(server, enough=10)).status[:12] for _ in range(3)]
    assert answers == [f"HTTP/1.1 {status}", f"HTTP/1.1 {status}", "HTTP/1.1 200"]
    assert len(server.listeners) == 1
    assert [request.status for request in server.requests[:2]] == [status, status]


async def test_a_station_answers_with_a_page(server: Station, session: aiohttp.ClientSession) -> None:
    with server.broadcasting(body="<html>Sold.</html>"):
        async with session.get(server.radio_url) as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert await response.text() == "<html>Sold.</html>"


async def test_a_station_answers_as_shoutcast_does(server: Station) -> None:
    with server.broadcasting(icy=True, metadata=1000, after=0.5):
        heard = await hear(server)
    assert heard.status == "ICY 200 OK"
    assert heard.headers["content-type"] == "audio/mpeg"
    assert "connection" not in heard.headers
    audio, said = without_metadata(heard.body, int(heard.headers["icy-metaint"]))
    assert said == ["StreamTitle='Part 1';"]
    assert decoded(audio, "mp3")[0] > 0.4


async def test_redirects_lead_to_the_station(server: Station, session: aiohttp.ClientSession) -> None:
    with server.broadcasting(redirects=3, times=2):
        for _ in range(2):
            async with session.get(server.radio_url) as response:
                assert response.status == 200
                assert [hop.status for hop in response.history] == [302] * 3
        async with session.get(server.radio_url) as response:
            assert not response.history


async def test_a_station_redirects_in_a_loop_or_elsewhere(
    server: Station, short: Path, session: aiohttp.ClientSession
) -> None:
    with server.broadcasting(location="/radio"), pytest.raises(aiohttp.TooManyRedirects):
        await session.get(server.radio_url)
    async with Station(short) as other:
        with server.broadcasting(location=other.radio_url):
            async with session.get(server.radio_url) as response:
                assert str(response.url) == other.radio_url
                await response.content.readexactly(100)
    assert len(other.listeners) == 1


async def test_a_station_compresses_unasked(server: Station) -> None:
    with server.broadcasting(after=0.5):
        plain = await hear(server)
        with server.broadcasting(encoding="gzip"):
            packed = await hear(server, Accept_Encoding="identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert zlib.decompress(packed.body, wbits=31) == plain.body


async def test_compressed_audio_comes_in_time_too(server: Station) -> None:
    with server.broadcasting(after=0.5, ends="stalled", encoding="gzip"):
        packed = await hear(server, patience=1.0)
    assert len(zlib.decompressobj(wbits=31).decompress(packed.body)) > 0.49 * BYTES_A_SECOND


async def test_a_bomb_is_small_and_grows(server: Station) -> None:
    with server.broadcasting(encoding="bomb"):
        heard = await hear(server)
    assert heard.headers["content-encoding"] == "gzip"
    assert len(heard.body) < 60_000
    assert len(zlib.decompress(heard.body, wbits=31)) >= 50_000_000


# Formats


@pytest.mark.parametrize(
    ("form", "kind", "demuxer", "rate"),
    [
        ("mp3", "audio/mpeg", "mp3", 44_100),
        ("aac", "audio/aac", "aac", 44_100),
        ("ogg", "audio/ogg", "ogg", 48_000),
        ("wav", "audio/wav", "wav", 16_000),
    ],
)
async def test_a_station_plays_without_end_in_other_formats(
    form: Any, kind: str, demuxer: str, rate: int, server: Station
) -> None:
    with server.broadcasting(format=form, burst=3, after=3):
        heard = await hear(server)
    assert heard.headers["content-type"] == kind
    seconds, rates = decoded(heard.body, demuxer)
    assert 2.5 < seconds < 3.4
    assert rates == {rate}


async def test_noise_does_not_decode(server: Station) -> None:
    with server.broadcasting(format="noise", burst=1, after=1):
        heard = await hear(server)
    assert heard.headers["content-type"] == "audio/mpeg"
    assert len(heard.body) == BYTES_A_SECOND
    with pytest.raises(av.error.FFmpegError):
        decoded(heard.body)


async def test_the_sample_rate_changes_on_the_way(server: Station) -> None:
    with server.broadcasting(splice=1.0, burst=2, after=2):
        heard = await hear(server)
    rates = mp3_rates(heard.body)
    change = rates.index(22_050)
    assert set(rates[:change]) == {44_100}
    assert set(rates[change:]) == {22_050}
    assert change * 1152 / 44_100 == pytest.approx(1.0, abs=0.06)
    assert (len(rates) - change) * 576 / 22_050 == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(("then", "magic"), [("aac", b"\xff\xf1"), ("ogg", b"OggS"), ("wav", b"RIFF")])
async def test_the_codec_changes_on_the_way(then: Any, magic: bytes, server: Station) -> None:
    with server.broadcasting(splice=1.0, then=then, burst=2, after=2):
        heard = await hear(server)
    at = heard.body.index(magic, BYTES_A_SECOND)
    assert at < BYTES_A_SECOND + 418
    assert {*mp3_rates(heard.body[:at])} == {44_100}
    assert decoded(heard.body[at:], then)[0] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(("form", "magic"), [("ogg", b"OggS"), ("wav", b"RIFF"), ("mp3", b"\xff\xfb")])
async def test_a_listener_joins_in_the_middle(form: Any, magic: bytes, server: Station) -> None:
    with server.broadcasting(format=form, after=0.3):
        assert (await hear(server)).body.startswith(magic)
        with server.broadcasting(joining=0.123):
            joined = await hear(server)
    assert len(joined.body) > 100
    assert not joined.body.startswith(magic)


async def test_a_long_burst_comes_at_once(server: Station) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with server.broadcasting(burst=30):
        await hear(server, enough=30 * BYTES_A_SECOND)
    assert loop.time() - began < 3


async def test_a_station_may_be_too_slow(server: Station, session: aiohttp.ClientSession) -> None:
    loop = asyncio.get_running_loop()
    with server.broadcasting(burst=0, speed=0.1):
        began = loop.time()
        async with session.get(server.radio_url) as response:
            await response.content.readexactly(BYTES_A_SECOND // 20)
    assert 0.4 < loop.time() - began < 2


# Playlists


def entries(ending: str, text: str) -> list[str]:
    if ending == "m3u":
        return [line for line in text.splitlines() if line and not line.startswith("#")]
    if ending == "pls":
        parser = configparser.ConfigParser()
        parser.read_string(text)
        listed = parser["playlist"]
        return [listed[f"file{n}"] for n in range(1, int(listed["numberofentries"]) + 1)]
    tree = ElementTree.fromstring(text)
    if ending == "asx":
        return [ref.attrib["href"] for ref in tree.iter("Ref")]
    return [location.text or "" for location in tree.iter("{http://xspf.org/ns/0/}location")]


KINDS = {
    "m3u": "audio/x-mpegurl",
    "pls": "audio/x-scpls",
    "asx": "video/x-ms-asf",
    "xspf": "application/xspf+xml",
}


@pytest.mark.parametrize("ending", KINDS)
async def test_playlists_name_the_station(ending: str, server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{server.radio_url}.{ending}"
    async with session.get(url) as response:
        assert response.content_type == KINDS[ending]
        assert entries(ending, await response.text()) == ["radio.mp3"]
    async with session.get(urljoin(url, "radio.mp3")) as response:
        assert response.content_type == "audio/mpeg"


@pytest.mark.parametrize("ending", KINDS)
async def test_playlists_name_the_given_entries(ending: str, server: Station, session: aiohttp.ClientSession) -> None:
    async def listed(url: str) -> tuple[int, list[str]]:
        async with session.get(url) as response:
            text = await response.text()
            return len(text), entries(ending, text)

    url = f"{server.radio_url}.{ending}"
    with server.listing(entries=[f"radio.{ending}", "http://10.0.0.1/?a=1&b=<"]):
        assert (await listed(url))[1] == [f"radio.{ending}", "http://10.0.0.1/?a=1&b=<"]
    with server.listing(count=60):
        assert (await listed(url))[1] == ["radio.mp3"] * 60
    with server.listing(size=1_000_000, times=1):
        assert await listed(url) == (1_000_000, ["radio.mp3"])
        assert (await listed(url))[0] < 1000
    with server.listing(depth=3):
        seen = 0
        while not url.endswith("radio.mp3"):
            url = urljoin(url, (await listed(url))[1][0])
            seen += 1
    assert seen == 4


# HLS


async def text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        assert response.status == 200
        assert response.content_type == "application/vnd.apple.mpegurl"
        return await response.text()


async def data(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as response:
        assert response.status == 200
        return await response.read()


def number(playlist: str) -> int:
    return int(re.findall(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", playlist)[0])


async def moved(session: aiohttp.ClientSession, url: str, first: int) -> str:
    """The playlist as soon as its window begins there."""
    async with asyncio.timeout(10):
        while number(playlist := await text(session, url)) < first:  # noqa: ASYNC110 - as players do
            await asyncio.sleep(0.05)
    return playlist


async def test_a_live_window_moves(server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{server.radio_url}/hls/live.m3u8"
    names = entries("m3u", await text(session, url))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert entries("m3u", await moved(session, url, 1))[:3] == names[1:]
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1" in await moved(session, url, 2)
    assert 0.7 < loop.time() - began < 2


async def test_segments_of_a_live_window_join(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/live.m3u8"
    playlist = await text(session, url)
    names = entries("m3u", playlist)
    assert number(playlist) == 0
    assert "#EXT-X-TARGETDURATION:2" in playlist
    assert "#EXT-X-ENDLIST" not in playlist
    assert len(names) == 4
    # The recording has two segments: times begin again with the third.
    lines = playlist.splitlines()
    assert [lines[lines.index(name) - 2] == "#EXT-X-DISCONTINUITY" for name in names] == [False, False, True, False]
    bodies = [await data(session, urljoin(url, name)) for name in names]
    assert [body[0] for body in bodies] == [0x47] * 4
    seconds = sum(map(float, re.findall(r"#EXTINF:([\d.]+)", playlist)))
    assert seconds == pytest.approx(2 * LONG, abs=0.2)
    assert decoded(b"".join(bodies[:2]), "mpegts")[0] == pytest.approx(LONG, abs=0.1)
    async with session.get(urljoin(url, "high-99.ts")) as response:
        assert response.status == 404


async def test_a_master_playlist_names_two_variants(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/master.m3u8"
    playlist = await text(session, url)
    assert entries("m3u", playlist) == ["live.m3u8", "low.m3u8"]
    high, low = map(int, re.findall(r"BANDWIDTH=(\d+)", playlist))
    assert high > low
    low_names = entries("m3u", await text(session, urljoin(url, "low.m3u8")))
    assert decoded(await data(session, urljoin(url, low_names[0])), "mpegts")[1] == {22_050}


async def test_a_recording_ends(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/vod.m3u8"
    playlist = await text(session, url)
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    bodies = [await data(session, urljoin(url, name)) for name in entries("m3u", playlist)]
    assert decoded(b"".join(bodies), "mpegts")[0] == pytest.approx(LONG, abs=0.1)


async def test_fragments_follow_their_map(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/fmp4.m3u8"
    playlist = await text(session, url)
    init = re.findall(r'#EXT-X-MAP:URI="(.*)"', playlist)[0]
    names = [init, *entries("m3u", playlist)[:2]]
    bodies = [await data(session, urljoin(url, name)) for name in names]
    assert decoded(b"".join(bodies), "mp4")[0] == pytest.approx(LONG, abs=0.1)


async def test_a_segment_is_missing(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/live.m3u8"
    names = entries("m3u", await text(session, url))
    with long_server.segmenting(missing=[1], times=1):
        statuses = []
        for name in [*names[:2], names[1]]:
            async with session.get(urljoin(url, name)) as response:
                statuses.append(response.status)
    assert statuses == [200, 404, 200]


async def test_another_encoding_follows_a_discontinuity(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/live.m3u8"
    with long_server.segmenting(discontinuity=1):
        playlist = await text(session, url)
    names = entries("m3u", playlist)
    assert f"#EXT-X-DISCONTINUITY\n#EXTINF:{re.findall('EXTINF:(.*)', playlist)[1]}\n{names[1]}" in playlist
    rates = [decoded(await data(session, urljoin(url, name)), "mpegts")[1] for name in names[:2]]
    assert rates == [{44_100}, {22_050}]


async def test_segments_are_encrypted(long_server: Station, session: aiohttp.ClientSession) -> None:
    url = f"{long_server.radio_url}/hls/live.m3u8"
    with long_server.segmenting(encrypted=True):
        playlist = await text(session, url)
    key = re.findall(r'#EXT-X-KEY:METHOD=AES-128,URI="(.*)"', playlist)[0]
    async with session.get(urljoin(url, key)) as response:
        assert response.status == 403
    body = await data(session, urljoin(url, entries("m3u", playlist)[0]))
    assert len(body) % 16 == 0
    with pytest.raises(av.error.FFmpegError):
        decoded(body)


async def test_a_window_freezes(server: Station, session: aiohttp.ClientSession) -> None:
    live, low = (f"{server.radio_url}/hls/{name}.m3u8" for name in ("live", "low"))
    before = await text(session, live)
    with server.segmenting(frozen=True):
        frozen = await text(session, live)
        # A segment lasts half a second, so that the real window has moved when this returns.
        await asyncio.sleep(0.6)
        assert await text(session, live) == frozen == before
    assert number(await text(session, low)) > number(before)


async def test_a_fault_may_concern_one_path(long_server: Station, session: aiohttp.ClientSession) -> None:
    with long_server.broadcasting(path="/radio/hls/", status=404), long_server.broadcasting(after=0):
        for path, status in (("/hls/live.m3u8", 404), (".m3u", 200), ("", 200)):
            async with session.get(long_server.radio_url + path) as response:
                assert response.status == status


# Files


@pytest.mark.parametrize(("name", "demuxer"), [("file.mp3", "mp3"), ("file.wav", "wav")])
async def test_a_file_has_a_length_and_parts(name: str, demuxer: str, long_server: Station) -> None:
    path = f"/radio/{name}"
    whole = await hear(long_server, path)
    assert int(whole.headers["content-length"]) == len(whole.body)
    assert whole.headers["accept-ranges"] == "bytes"
    assert decoded(whole.body, demuxer)[0] == pytest.approx(LONG, abs=0.1)
    size = len(whole.body)
    for asked, begin, end in (("100-199", 100, 200), ("1000-", 1000, size), ("-10", size - 10, size)):
        part = await hear(long_server, path, Range=f"bytes={asked}")
        assert part.status == "HTTP/1.1 206 Partial Content"
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert part.body == whole.body[begin:end]
    assert "416" in (await hear(long_server, path, Connection="close", Range=f"bytes={size}-")).status
    with long_server.broadcasting(ranges=False):
        deaf = await hear(long_server, path, Range="bytes=100-199")
    assert (deaf.status, deaf.body) == ("HTTP/1.1 200 OK", whole.body)
    assert {listener.ended for listener in long_server.listeners} == {"complete"}


@pytest.mark.parametrize(("ends", "seen"), [(None, "closed"), ("reset", "reset"), ("stalled", "open")])
async def test_a_file_breaks_off(ends: Any, seen: str, long_server: Station) -> None:
    with long_server.broadcasting(after=1, ends=ends):
        heard = await hear(long_server, "/radio/file.mp3", patience=0.4)
    assert heard.ended == seen
    assert int(heard.headers["content-length"]) > 2.9 * BYTES_A_SECOND
    if ends != "reset":
        assert len(heard.body) == pytest.approx(BYTES_A_SECOND, abs=2)


# Combinations


async def test_faults_add_up_and_the_newer_wins(server: Station) -> None:
    with server.broadcasting(after=0.5, framing="chunked"), server.broadcasting(after=0.25, icy=True):
        heard = await hear(server)
    assert heard.status == "ICY 200 OK"
    assert heard.headers["transfer-encoding"] == "chunked"
    assert 0.2 * BYTES_A_SECOND < len(heard.body) < 0.3 * BYTES_A_SECOND


@pytest.mark.parametrize(
    "how",
    [
        {"after": 1, "ends": "truncated", "framing": "close"},
        {"encoding": "bomb", "after": 1},
        {"redirects": 1000},
    ],
)
async def test_contradicting_settings_are_refused(how: dict[str, Any], server: Station) -> None:
    with pytest.raises(ValueError, match=r"\w"), server.broadcasting(**how):
        pass

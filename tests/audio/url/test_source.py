"""Addresses: read as the bytes arrive, from real servers on this machine, good and bad ones."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web

from dgnb.audio import Audio, URLSource
from dgnb.exceptions import AudioError, ConfigurationError

Samples = npt.NDArray[Any]
Serve = Callable[..., Awaitable[str]]

RATE = 16_000
SECRET = "s3cret-canary"


async def chunks(audio: Audio) -> list[bytes]:
    try:
        return [chunk async for chunk in audio]
    finally:
        await audio.aclose()


async def collect(audio: Audio, chunks: list[bytes]) -> None:
    async for chunk in audio:
        chunks.append(chunk)


async def refused(source: URLSource) -> str:
    """The message of the one error that opening raises within 5 s."""
    began = time.monotonic()
    with pytest.raises(AudioError) as caught:
        await source.open()
    assert time.monotonic() - began < 5
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def answer(body: bytes, content_type: str = "audio/mpeg", **options: Any) -> Callable[..., Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, **options)

    return handler


@pytest.fixture(scope="module")
def mp3(encoded: Callable[..., bytes], tone: Callable[..., Samples]) -> bytes:
    return encoded(tone(6.0, 44_100), 44_100, "libmp3lame", "mp3", 64_000)


# Good addresses


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [
        ("libmp3lame", "mp3", 44_100),
        ("aac", "adts", 44_100),
        ("aac", "mpegts", 44_100),
        ("libopus", "ogg", 48_000),
        ("libopus", "webm", 48_000),
        ("flac", "flac", 44_100),
        ("pcm_s16le", "wav", 44_100),
    ],
)
async def test_a_file_on_a_server_is_decoded_whole(
    web_server: Serve,
    encoded: Callable[..., bytes],
    tone: Callable[..., Samples],
    codec: str,
    container: str,
    rate: int,
) -> None:
    url = await web_server(answer(encoded(tone(3.0, rate), rate, codec, container)))
    audio = await URLSource(f"{url}/a").open()
    assert not audio.live
    parts = await chunks(audio)
    assert all(len(part) == 3200 for part in parts[:-1])
    assert sum(map(len, parts)) / 2 / RATE == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(("bit_rate", "cut"), [(64_000, 0), (128_000, 333), (320_000, 777)])
async def test_a_station_is_heard_as_soon_as_a_few_frames_have_come(
    web_server: Serve, encoded: Callable[..., bytes], tone: Callable[..., Samples], bit_rate: int, cut: int
) -> None:
    data = encoded(tone(4.0, 44_100), 44_100, "libmp3lame", "mp3", bit_rate)[cut:]
    heard = asyncio.Event()
    sent = 0

    async def station(request: web.Request) -> web.StreamResponse:
        """Sends a little more each time, until the listener has decoded something."""
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg", "icy-name": "X"})
        await response.prepare(request)
        while not heard.is_set() and sent < len(data):
            await response.write(data[sent : sent + 512])
            sent = min(len(data), sent + 512)
            try:
                await asyncio.wait_for(heard.wait(), 0.03)
            except TimeoutError:
                continue
        return response

    audio = await URLSource(f"{await web_server(station)}/live").open()
    heard.set()
    assert audio.live
    assert len(await anext(audio)) == 3200
    await audio.aclose()
    assert sent < bit_rate / 8 * 1.0


async def test_a_redirect_is_followed_and_the_headers_say_who_asks(web_server: Serve, mp3: bytes) -> None:
    seen = {}

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/old":
            raise web.HTTPFound("/new")
        seen.update(request.headers)
        return web.Response(body=mp3, content_type="audio/mpeg")

    url = await web_server(handler)
    await chunks(await URLSource(f"{url}/old", headers={"X-Station": "1"}).open())
    assert seen["User-Agent"].startswith("dgnb/")
    assert seen["Accept-Encoding"] == "identity"
    assert seen["X-Station"] == "1"


async def test_a_body_may_last_longer_than_the_stall_timeout(web_server: Serve, mp3: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(mp3), len(mp3) // 8):
            await response.write(mp3[start : start + len(mp3) // 8])
            await asyncio.sleep(0.1)  # a slow station is the point
        return response

    source = URLSource(f"{await web_server(handler)}/", stall_timeout=0.4)
    parts = await chunks(await source.open())
    assert sum(map(len, parts)) / 2 / RATE == pytest.approx(6.0, abs=0.1)


async def test_the_sample_rate_may_change_in_the_middle(
    web_server: Serve, encoded: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    first = encoded(tone(2.0, 44_100, 2), 44_100, "libmp3lame", "mp3")
    second = encoded(tone(2.0, 22_050), 22_050, "libmp3lame", "mp3")
    url = await web_server(answer(first + second))
    parts = await chunks(await URLSource(f"{url}/").open(multichannel=True))
    assert sum(map(len, parts)) / 4 / RATE == pytest.approx(4.0, abs=0.2)


async def test_raw_samples_are_read_from_a_server_too(web_server: Serve, tone: Callable[..., Samples]) -> None:
    sound = tone(1.05)
    url = await web_server(answer(sound.tobytes(), "application/octet-stream"))
    source = URLSource(f"{url}/", encoding="linear16", sample_rate=RATE)
    assert b"".join(await chunks(await source.open())) == sound.tobytes()


# Bad addresses


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (451, "451"), (500, "500"), (204, "204")]
)
async def test_the_error_names_a_status_that_is_not_success(web_server: Serve, status: int, words: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    message = await refused(URLSource(f"{await web_server(handler)}/a.mp3"))
    assert f"a.mp3 can't be read: it answered {words}" in message
    assert "Does the address open in a browser?" in message


@pytest.mark.parametrize("status", [401, 403])
async def test_the_error_for_a_refusal_names_the_headers(web_server: Serve, status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    assert "give headers={…}" in await refused(URLSource(f"{await web_server(handler)}/a.mp3"))


@pytest.mark.parametrize("kind", ["text/html", "image/png", "application/json", "text/plain", "video/unknown"])
async def test_the_bytes_decide_where_the_content_type_lies(web_server: Serve, mp3: bytes, kind: str) -> None:
    audio = await URLSource(f"{await web_server(answer(mp3, kind))}/a").open()
    assert len(await anext(audio)) == 3200
    await audio.aclose()


@pytest.mark.parametrize(
    "path", ["/a%40b%27.mp3?sig=ab%2Fcd%3D&acl=%2f*", "/a+b%20c.mp3?x=%7e&y=%C3%A4+", "/%2e%2E/a;b=1.mp3?a=b=c&&d"]
)
async def test_an_address_is_sent_byte_for_byte(web_server: Serve, mp3: bytes, path: str) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        if len(asked) == 1:
            return web.Response(status=302, headers={"Location": f"{path}&again=%2D"})
        return web.Response(body=mp3)

    audio = await URLSource(f"{await web_server(handler)}{path}").open()
    await audio.aclose()
    assert asked == [path, f"{path}&again=%2D"]


async def test_the_error_for_a_web_page_says_what_it_is_and_quotes_none_of_it(web_server: Serve) -> None:
    page = b"<!doctype html><html><body>Sign in first \x1b[31m</body></html>"
    message = await refused(URLSource(f"{await web_server(answer(page, 'text/html'))}/a.mp3"))
    assert "is a page or a document, not audio" in message
    assert "html>" not in message


async def test_a_web_page_that_claims_to_be_audio_is_refused(web_server: Serve) -> None:
    page = b"<!doctype html><html><body>Sign in first</body></html>" * 200
    assert "is a page or a document, not audio" in await refused(URLSource(f"{await web_server(answer(page))}/a.mp3"))


@pytest.mark.parametrize("body", [bytes(200_000), np.random.default_rng(2).bytes(300_000), b"lorem ipsum " * 9000])
async def test_a_body_that_is_not_audio_raises_one_clear_error(web_server: Serve, body: bytes) -> None:
    message = await refused(URLSource(f"{await web_server(answer(body))}/a.mp3"))
    assert message.count("a.mp3") == 1
    assert any(words in message for words in ("can't be decoded as audio", "holds no audio", "is text, not audio"))


async def test_an_empty_body_is_an_error(web_server: Serve) -> None:
    assert "a.mp3 is empty" in await refused(URLSource(f"{await web_server(answer(b''))}/a.mp3"))


async def test_a_compressed_body_is_refused_before_it_can_unpack(web_server: Serve) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    url = await web_server(answer(bomb, headers={"Content-Encoding": "gzip"}))
    assert "sends its body compressed" in await refused(URLSource(f"{url}/a.mp3"))


async def test_an_mp4_with_its_index_at_the_end_says_what_to_do(
    web_server: Serve, encoded: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    url = await web_server(answer(encoded(tone(2.0, 44_100), 44_100, "aac", "mp4"), "audio/mp4"))
    assert "Download it, and use the file." in await refused(URLSource(f"{url}/a.m4a"))


async def test_an_mp4_with_its_index_at_the_end_is_read_by_ranges_where_the_server_has_them(
    web_server: Serve, encoded: Callable[..., bytes], tone: Callable[..., Samples], tmp_path: Path
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encoded(tone(30.0, 44_100), 44_100, "aac", "mp4"))
    ranges: list[str] = []

    async def handler(request: web.Request) -> web.FileResponse:
        ranges.append(request.headers.get("Range", ""))
        return web.FileResponse(path, headers={"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"})

    audio = await URLSource(f"{await web_server(handler)}/a.m4a").open()
    parts: list[bytes] = []
    await collect(audio, parts)
    await audio.aclose()
    assert sum(map(len, parts)) / 2 / RATE == pytest.approx(30.0, abs=0.05)
    assert len(ranges) <= 10


async def test_redirects_that_never_end_are_given_up(web_server: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.path)

    assert "go round in a circle" in await refused(URLSource(f"{await web_server(handler)}/"))


async def test_more_than_five_redirects_are_given_up(web_server: Serve) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound(f"{request.path}x")

    assert "redirects more than five times" in await refused(URLSource(f"{await web_server(handler)}/"))
    assert len(asked) == 6


async def test_a_redirect_to_another_scheme_than_http_is_refused(web_server: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"file://user:{SECRET}@/etc/passwd"})

    assert "can't be read" in await refused(URLSource(f"{await web_server(handler)}/"))


async def test_a_closed_port_raises_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://user:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/a.mp3?key={SECRET}"
        message = await refused(URLSource(url))
    assert "can't be read" in message
    assert "Does the address open in a browser?" in message


async def test_a_host_that_does_not_exist_raises_one_clear_error() -> None:
    assert "radio.invalid" in await refused(URLSource(f"http://u:{SECRET}@radio.invalid/a.mp3"))


async def test_a_server_that_says_nothing_is_given_up(web_server: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    url = await web_server(handler)
    assert "nothing came for 0.2 s" in await refused(URLSource(f"{url}/", stall_timeout=0.2))


async def test_a_body_that_breaks_off_gives_what_came_and_then_the_error(web_server: Serve, mp3: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(mp3))})
        await response.prepare(request)
        await response.write(mp3[: len(mp3) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    audio = await URLSource(f"{await web_server(handler)}/a.mp3").open()
    got: list[bytes] = []
    with pytest.raises(AudioError, match="the connection ended before the body was complete"):
        await collect(audio, got)
    await audio.aclose()
    assert sum(map(len, got)) / 2 / RATE == pytest.approx(3.0, abs=0.2)


# Secrets


@pytest.mark.parametrize("address", ["http://user:{0}@127.0.0.1:9/x?token={0}", "http://{0}@127.0.0.1:9/x#{0}"])
async def test_no_frame_of_a_failure_shows_credentials_or_query(address: str) -> None:
    with pytest.raises(AudioError) as caught:
        await URLSource(address.format(SECRET), headers={"X-Key": SECRET}).open()
    trace = caught.value.__traceback__
    assert trace
    # The first frame is this test's own.
    shown = traceback.TracebackException(AudioError, caught.value, trace.tb_next, capture_locals=True)
    assert SECRET not in "".join(shown.format())


async def test_credentials_are_used_and_shown_nowhere(web_server: Serve, mp3: bytes) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Authorization", ""), request.query_string))
        return web.Response(body=mp3, content_type="audio/mpeg")

    url = (await web_server(handler)).replace("http://", f"http://user:{SECRET}@")
    source = URLSource(f"{url}/a.mp3?token={SECRET}", headers={"X-Key": SECRET})
    audio = await source.open()
    shown = [repr(source), str(source), source.name, *(task.get_name() for task in asyncio.all_tasks())]
    assert SECRET not in " ".join(shown)
    assert source.name.endswith("/a.mp3?…")
    await audio.aclose()
    assert seen[0][0].startswith("Basic ")
    assert seen[0][1] == f"token={SECRET}"


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/a", "http://", "http:///a", "radio.mp3", "http://127.0.0.1:99999/", "http://[::1/a", 7, None],
)
def test_a_wrong_address_is_refused_at_once(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="http:// or https:// address"):
        URLSource(url)


def test_the_error_for_a_wrong_address_hides_its_credentials() -> None:
    with pytest.raises(ConfigurationError) as caught:
        URLSource(f"ftp://user:{SECRET}@127.0.0.1/a")
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError, match="stall_timeout"):
        URLSource("http://127.0.0.1/", stall_timeout=0)


# Lifecycle


async def test_closing_a_running_station_closes_its_connection(web_server: Serve, mp3: bytes) -> None:
    gone = asyncio.Event()

    async def station(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(mp3)
                await asyncio.sleep(0)
        finally:
            gone.set()

    audio = await URLSource(f"{await web_server(station)}/").open()
    await anext(audio)
    await audio.aclose()
    await audio.aclose()
    await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.parametrize("stage", ["before the answer", "in the body"])
async def test_an_open_that_is_cancelled_leaves_nothing_behind(web_server: Serve, stage: str) -> None:
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if stage == "in the body":
            await response.prepare(request)
            await response.write(b"ID3\3\0\0")
        asked.set()
        await asyncio.Event().wait()
        return response

    task = asyncio.create_task(URLSource(f"{await web_server(handler)}/").open())
    await asyncio.wait_for(asked.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_station_that_nobody_listens_to_is_held_back(web_server: Serve) -> None:
    sent = 0
    full = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            writing = asyncio.ensure_future(response.write(bytes(1 << 18)))
            done, _ = await asyncio.wait([writing], timeout=0.5)
            if not done:
                full.set()
            await writing
            sent += 1 << 18

    url = await web_server(endless)
    audio = await URLSource(f"{url}/", encoding="linear16", sample_rate=RATE).open()
    await asyncio.wait_for(full.wait(), 20)
    await audio.aclose()
    assert sent < 40_000_000

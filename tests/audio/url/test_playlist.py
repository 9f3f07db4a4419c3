"""Playlists that name a stream, and HLS, which is one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from dgnb.audio.url import playlist
from dgnb.exceptions import AudioError
from tests.audio.url.site import Site, rest, seconds, source

Samples = npt.NDArray[Any]
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
def site() -> Site:
    return Site()


# Playlists

FORMS = {
    "m3u": (b"#EXTM3U\n#EXTINF:-1,Name\n{0}\n", "audio/x-mpegurl"),
    "m3u without a mark": (b"\xef\xbb\xbf{0}\r\n", "audio/mpegurl"),
    "m3u as audio": (b"\n#EXTM3U\n{0}", "audio/mpeg"),
    "pls": (b"[playlist]\r\nNumberOfEntries=1\r\nFile1={0}\r\nTitle1=x\r\n", "audio/x-scpls"),
    "pls as text": (b"[Playlist]\nfile1 = {0}\n", "text/plain"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entry", ["song.mp3?a=1&b=2", "/radio/song.mp3", "{url}/radio/song.mp3"])
async def test_a_playlist_leads_to_its_stream(web_server: Serve, site: Site, mp3: bytes, form: str, entry: str) -> None:
    url = await web_server(site.handle)
    body, kind = FORMS[form]
    site.pages["/radio/list"] = (body.replace(b"{0}", entry.replace("{url}", url).encode()), kind)
    site.pages["/radio/song.mp3"] = mp3
    assert seconds(await rest(await source(f"{url}/radio/list").open())) == pytest.approx(3.0, abs=0.1)
    assert site.asked == ["/radio/list", "/radio/song.mp3"]


async def test_audio_with_the_suffix_of_a_playlist_is_audio(web_server: Serve, site: Site, mp3: bytes) -> None:
    url = await web_server(site.handle)
    site.pages["/listen.pls"] = (mp3, "audio/x-scpls")
    assert seconds(await rest(await source(f"{url}/listen.pls").open())) == pytest.approx(3.0, abs=0.1)


async def test_the_next_entry_is_tried_when_one_fails(web_server: Serve, site: Site, mp3: bytes) -> None:
    url = await web_server(site.handle)
    site.pages |= {
        "/list.pls": b"[playlist]\nFile2=/page\nFile1=/gone\nFile10=/noise\nFile11=/good.mp3\nFile12=/never",
        "/page": (b"<html>", "text/html"),
        "/noise": np.random.default_rng(3).bytes(90_000),
        "/good.mp3": mp3,
    }
    audio = await source(f"{url}/list.pls").open()
    assert seconds(await rest(audio)) == pytest.approx(3.0, abs=0.1)
    assert site.asked == ["/list.pls", "/gone", "/page", "/noise", "/good.mp3"]
    assert [note.type for note in audio.notes] == ["warning"]
    assert "a playlist of 5 addresses; only one of them was read" in audio.notes[0].text


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ({"/a.m3u": b"#EXTM3U\n/a.m3u\n"}, "leads back to itself"),
        ({"/a.m3u": b"#EXTM3U\n/b.m3u\n", "/b.m3u": b"#EXTM3U\na.m3u"}, "leads back to itself"),
        ({"/a.m3u": b"#EXTM3U\n# nothing\n"}, "names no address"),
        ({"/a.m3u": b"#EXTM3U\n/x.mp3"}, "answered 404"),
        ({"/a.m3u": b"#EXTM3U\nfile:///etc/passwd"}, "no http:// or https:// address"),
        ({"/a.m3u": b"#EXTM3U\nconcat:/etc/passwd"}, "no http:// or https:// address"),
        ({"/a.m3u": b"#EXTM3U\n" + b"# padding\n" * 9000}, "goes on for too long"),
        (
            {"/a.m3u": b"#EXTM3U\n/1.m3u"} | {f"/{n}.m3u": f"#EXTM3U\n/{n + 1}.m3u".encode() for n in range(9)},
            "more than three deep",
        ),
    ],
)
async def test_a_playlist_that_leads_nowhere_raises_one_clear_error(
    web_server: Serve, site: Site, pages: dict[str, bytes], message: str
) -> None:
    url = await web_server(site.handle)
    site.pages |= pages
    with pytest.raises(AudioError, match=message):
        await source(f"{url}/a.m3u").open()
    assert len(site.asked) <= 5


async def test_playlists_of_playlists_are_asked_fifty_times_at_most(web_server: Serve, site: Site) -> None:
    url = await web_server(site.handle)
    site.pages["/a.m3u"] = "\n".join(["#EXTM3U", *(f"/{n}.m3u" for n in range(99))]).encode()
    site.pages |= {f"/{n}.m3u": "\n".join(["#EXTM3U", *(f"/{n}-{m}" for m in range(99))]).encode() for n in range(99)}
    with pytest.raises(AudioError):
        await source(f"{url}/a.m3u").open()
    assert len(site.asked) <= 51


async def test_an_endless_stream_that_claims_to_be_a_playlist_is_given_up(web_server: Serve) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/x-mpegurl"})
        await response.prepare(request)
        while True:
            await response.write(b"http://127.0.0.1/\n" * 500)

    with pytest.raises(AudioError, match="goes on for too long"):
        await source(f"{await web_server(endless)}/a").open()


@given(st.binary(max_size=400))
def test_any_bytes_are_read_as_a_playlist_without_an_error(data: bytes) -> None:
    for head in (b"", b"#EXTM3U\n", b"[playlist]\nFile1="):
        playlist.is_playlist(head + data, "audio/x-mpegurl", "/a.pls")
        assert len(playlist.entries(head + data)) <= 50


@pytest.mark.parametrize("part", [b"\n", b"file1 ", b"[playlist]\nfile1=\n"])
def test_reading_a_playlist_never_takes_long(part: bytes) -> None:
    data = (b"[playlist]\n" if b"file" in part else b"") + part * (65_000 // len(part))
    began = time.process_time()
    playlist.entries(data)
    assert time.process_time() - began < 0.5


@pytest.fixture(scope="module")
def mp3(encoded: Callable[..., bytes], tone: Callable[..., Samples]) -> bytes:
    return encoded(tone(3.0, 44_100), 44_100, "libmp3lame", "mp3", 64_000)

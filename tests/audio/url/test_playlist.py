"""Playlists that name a stream, and HLS, which is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dgnb.audio import Audio, URLSource
from dgnb.audio.url import hls, playlist
from dgnb.exceptions import AudioError

Samples = npt.NDArray[Any]
Serve = Callable[..., Awaitable[str]]

RATE = 16_000
SECOND = 2 * RATE


class Site:
    """Bodies by path; a callable makes them anew each time. What was asked for is kept."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        page = self.pages.get(request.path, 404)
        if callable(page):
            page = page()
        if isinstance(page, int):
            return web.Response(status=page)
        body, kind = page if isinstance(page, tuple) else (page, "application/octet-stream")
        return web.Response(body=body, content_type=kind)


@pytest.fixture
def site() -> Site:
    return Site()


def source(url: str, **options: Any) -> URLSource:
    """A source that does not wait before it asks again."""
    found = URLSource(url, **options)
    found._wait = lambda tries: 0.0
    return found


async def rest(audio: Audio) -> bytes:
    try:
        return b"".join([chunk async for chunk in audio])
    finally:
        await audio.aclose()


def seconds(data: bytes) -> float:
    return len(data) / SECOND


# Playlists

FORMS = {
    "m3u": (b"#EXTM3U\n#EXTINF:-1,Name\n{0}\n", "audio/x-mpegurl"),
    "m3u without a mark": (b"\xef\xbb\xbf{0}\r\n", "audio/mpegurl"),
    "m3u as audio": (b"\n#EXTM3U\n{0}", "audio/mpeg"),
    "pls": (b"[playlist]\r\nNumberOfEntries=1\r\nFile1={0}\r\nTitle1=x\r\n", "audio/x-scpls"),
    "pls as text": (b"[Playlist]\nfile1 = {0}\n", "text/plain"),
    "asx": (b'<ASX version="3.0"><Entry><Ref HREF="{0}"/></Entry></ASX>', "video/x-ms-asf"),
    "xspf": (
        b'<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><trackList><track><location>{0}</location>'
        b"</track></trackList></playlist>",
        "application/xspf+xml",
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entry", ["song.mp3?a=1&amp;b=2", "/radio/song.mp3", "{url}/radio/song.mp3"])
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
    for head in (b"", b"#EXTM3U\n", b"[playlist]\nFile1=", b"<asx><ref href=", b"<?xml?><location>"):
        playlist.is_playlist(head + data, "audio/x-mpegurl", "/a.pls")
        assert len(playlist.entries(head + data)) <= 50


@pytest.mark.parametrize("part", [b"\n", b"<ref ", b"<location> ", b"file1 ", b"[playlist]\nfile1=\n", b"<ref href="])
def test_reading_a_playlist_never_takes_long(part: bytes) -> None:
    data = (b"[playlist]\n" if b"file" in part else b"<asx>" if b"ref" in part else b"") + part * (65_000 // len(part))
    began = time.process_time()
    playlist.entries(data)
    assert time.process_time() - began < 0.5


# HLS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "_SHORTEST_WAIT", 0.05)


def media(
    first: int, names: list[str], *, seconds: float = 0.5, end: bool = False, lead: str = ""
) -> tuple[bytes, str]:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:0.3", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for name in names:
        lines += [
            *([] if name.startswith("#") else [lead, f"#EXTINF:{seconds},"] if lead else [f"#EXTINF:{seconds},"]),
            name,
        ]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if end else [])]).encode(), "application/vnd.apple.mpegurl"


@pytest.fixture(scope="module")
def segments(encoded: Callable[..., bytes], tone: Callable[..., Samples]) -> Callable[..., list[bytes]]:
    """`segments(count)`: one second of AAC each, a tone of its own pitch."""

    def make(count: int, container: str = "adts") -> list[bytes]:
        return [encoded(tone(1.0, 44_100, 1, 300.0 + 100 * n), 44_100, "aac", container) for n in range(count)]

    return make


def pitches(data: bytes) -> list[int]:
    """The number of the segment that sounds in each second, as `segments` numbers them."""
    sound = np.frombuffer(data, "<i2")
    found = []
    for start in range(0, len(sound) - RATE // 2, RATE // 4):
        spectrum = np.abs(np.fft.rfft(sound[start : start + RATE // 4]))
        found.append(round((spectrum.argmax() * 4 - 300) / 100))
    return [n for n, before in zip(found, [-1, *found], strict=False) if n != before]


@pytest.mark.parametrize("container", ["adts", "mpegts"])
async def test_a_recording_in_segments_is_read_to_its_end(
    web_server: Serve, site: Site, segments: Any, container: str
) -> None:
    url = await web_server(site.handle)
    parts = segments(4, container)
    site.pages |= {f"/a/{n}.ts": part for n, part in enumerate(parts)}
    site.pages["/a/list.m3u8"] = media(0, [f"{n}.ts" for n in range(4)], end=True)
    audio = await source(f"{url}/a/list.m3u8").open()
    assert not audio.live
    got = await rest(audio)
    assert seconds(got) == pytest.approx(4.0, abs=0.25)
    assert pitches(got) == [0, 1, 2, 3]
    assert site.asked == ["/a/list.m3u8", *(f"/a/{n}.ts" for n in range(4))]


async def test_a_live_window_is_followed_and_no_segment_is_heard_twice(
    web_server: Serve, site: Site, segments: Any
) -> None:
    url = await web_server(site.handle)
    site.pages |= {f"/{n}.aac": part for n, part in enumerate(segments(8))}
    windows = iter([(0, 4), (0, 4), (1, 5), (2, 6), (3, 8)])
    last = (3, 8)

    def window() -> tuple[bytes, str]:
        nonlocal last
        last = next(windows, last)
        return media(last[0], [f"{n}.aac" for n in range(*last)], end=last == (3, 8))

    site.pages["/list.m3u8"] = window
    audio = await source(f"{url}/list.m3u8").open()
    assert audio.live
    assert pitches(await rest(audio)) == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(set(site.asked)) == sorted({f"/{n}.aac" for n in range(1, 8)} | {"/list.m3u8"})
    assert len([path for path in site.asked if path != "/list.m3u8"]) == 7
    assert not audio.notes


async def test_segments_that_vanished_are_reported_as_missed(web_server: Serve, site: Site, segments: Any) -> None:
    url = await web_server(site.handle)
    site.pages |= {f"/{n}.aac": part for n, part in enumerate(segments(8))}
    pages = iter([media(0, ["0.aac", "1.aac"]), media(5, ["5.aac", "6.aac"], end=True)])
    site.pages["/list.m3u8"] = lambda: next(pages)
    audio = await source(f"{url}/list.m3u8").open()
    assert pitches(await rest(audio)) == [0, 1, 5, 6]
    (note,) = audio.notes
    assert note.type == "source"
    assert note.missed == pytest.approx(3 * 0.5)


async def test_a_segment_that_is_not_there_is_skipped_with_a_note(web_server: Serve, site: Site, segments: Any) -> None:
    url = await web_server(site.handle)
    site.pages |= {f"/{n}.aac": part for n, part in enumerate(segments(4)) if n not in (0, 2)}
    site.pages["/list.m3u8"] = media(0, [f"{n}.aac" for n in range(4)], end=True)
    audio = await source(f"{url}/list.m3u8").open()
    assert pitches(await rest(audio)) == [1, 3]
    assert [(note.type, note.missed) for note in audio.notes] == [("source", 0.5)] * 2
    assert "answered 404" in audio.notes[0].text


async def test_a_recording_without_any_of_its_segments_is_an_error(web_server: Serve, site: Site) -> None:
    url = await web_server(site.handle)
    site.pages["/list.m3u8"] = media(0, ["0.aac", "1.aac"], end=True)
    with pytest.raises(AudioError, match="answered 404"):
        await source(f"{url}/list.m3u8").open()


async def test_a_discontinuity_begins_a_decoder_anew(
    web_server: Serve, site: Site, segments: Any, encoded: Any, tone: Any
) -> None:
    url = await web_server(site.handle)
    site.pages |= {
        "/0.aac": segments(1)[0],
        "/1.mp3": encoded(tone(1.0, 22_050, 1, 400.0), 22_050, "libmp3lame", "mp3"),
    }
    site.pages["/list.m3u8"] = media(0, ["0.aac", "#EXT-X-DISCONTINUITY", "1.mp3"], end=True)
    assert pitches(await rest(await source(f"{url}/list.m3u8").open())) == [0, 1]


async def test_the_shared_header_of_fragments_is_put_before_them(
    web_server: Serve, site: Site, fragments: tuple[bytes, list[bytes]]
) -> None:
    url = await web_server(site.handle)
    init, parts = fragments
    site.pages |= {"/init.mp4": init} | {f"/{n}.m4s": part for n, part in enumerate(parts)}
    names = [f"{n}.m4s" for n in range(len(parts))]
    site.pages["/list.m3u8"] = media(0, ['#EXT-X-MAP:URI="init.mp4"', *names], end=True)
    got = await rest(await source(f"{url}/list.m3u8").open())
    assert seconds(got) == pytest.approx(3.0, abs=0.15)
    assert site.asked.count("/init.mp4") == 1


async def test_the_variant_with_audio_and_the_lowest_bandwidth_is_taken(
    web_server: Serve, site: Site, segments: Any
) -> None:
    url = await web_server(site.handle)
    site.pages["/master.m3u8"] = (
        b'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.4d401f,mp4a.40.2"\nbig.m3u8\n'
        b'#EXT-X-STREAM-INF:BANDWIDTH=90000,CODECS="avc1.4d401f"\nmute.m3u8\n'
        b'#EXT-X-STREAM-INF:BANDWIDTH=200000,CODECS="mp4a.40.2"\nsmall/list.m3u8\n',
        "application/vnd.apple.mpegurl",
    )
    site.pages["/small/list.m3u8"] = media(0, ["0.aac"], end=True)
    site.pages["/small/0.aac"] = segments(1)[0]
    await rest(await source(f"{url}/master.m3u8").open())
    assert site.asked == ["/master.m3u8", "/small/list.m3u8", "/small/0.aac"]


def test_an_audio_only_rendition_is_preferred() -> None:
    text = (
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="audio/list.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="avc1,mp4a.40.2",AUDIO="a"\nvideo.m3u8\n'
    )
    found = hls.parse(text, URL("http://radio.example/x/master.m3u8"), "x")
    assert hls.choose(found, "x") == "http://radio.example/x/audio/list.m3u8"
    mute = hls.parse('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="avc1"\nvideo.m3u8\n', URL("http://r/"), "x")
    with pytest.raises(AudioError, match="no variant of its HLS playlist has audio"):
        hls.choose(mute, "x")


@pytest.mark.parametrize(
    ("lead", "message"),
    [
        ('#EXT-X-KEY:METHOD=AES-128,URI="key"', r"HLS segments are encrypted \(AES-128\)"),
        ('#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://key"', r"HLS segments are encrypted \(SAMPLE-AES\)"),
        ("#EXT-X-BYTERANGE:100@0", "HLS segments are byte ranges"),
        ('#EXT-X-MAP:URI="init",BYTERANGE="100@0"', "HLS segments are byte ranges"),
    ],
)
async def test_the_error_for_unsupported_hls_names_the_feature(
    web_server: Serve, site: Site, lead: str, message: str
) -> None:
    url = await web_server(site.handle)
    site.pages["/list.m3u8"] = media(0, ["0.ts"], end=True, lead=lead)
    site.pages["/0.ts"] = b"x" * 500
    with pytest.raises(AudioError, match=message):
        await source(f"{url}/list.m3u8").open()
    assert site.asked == ["/list.m3u8"]


async def test_a_playlist_that_does_not_change_is_asked_again_and_then_given_up(
    web_server: Serve, site: Site, segments: Any
) -> None:
    url = await web_server(site.handle)
    site.pages |= {"/0.aac": segments(1)[0]}
    site.pages["/list.m3u8"] = media(0, ["0.aac"])
    audio = await source(f"{url}/list.m3u8", stall_timeout=0.1).open()
    reached = asyncio.get_running_loop().time()
    with pytest.raises(AudioError, match=r"8 tries in a row brought no audio; .*stood still for \d"):
        await rest(audio)
    assert asyncio.get_running_loop().time() - reached < 20


async def test_after_a_reconnect_segments_continue_where_they_ended(
    web_server: Serve, site: Site, segments: Any
) -> None:
    url = await web_server(site.handle)
    site.pages |= {f"/{n}.aac": part for n, part in enumerate(segments(5))}
    pages = iter([media(0, ["0.aac", "1.aac", "2.aac"]), 503, 503, media(1, ["1.aac", "2.aac", "3.aac"], end=True)])
    site.pages["/list.m3u8"] = lambda: next(pages)
    audio = await source(f"{url}/list.m3u8").open()
    assert pitches(await rest(audio)) == [0, 1, 2, 3]
    (note,) = audio.notes
    assert note.missed == 0
    assert "answered 503" in note.text


@given(st.text(max_size=200))
def test_any_text_is_an_hls_playlist_or_raises_one_clear_error(text: str) -> None:
    for head in ("#EXTM3U\n", "#EXTM3U\n#EXT-X-TARGETDURATION:", "#EXTM3U\n#EXT-X-STREAM-INF:", "#EXTM3U\n#EXTINF:"):
        try:
            found = hls.parse(head + text, URL("http://radio.example/"), "x")
        except AudioError:
            continue
        if found.is_variant:
            try:
                hls.choose(found, "x")
            except AudioError:
                continue


@pytest.fixture(scope="module")
def fragments(tone: Callable[..., Samples]) -> tuple[bytes, list[bytes]]:
    """Fragmented MP4: what its fragments share, and the fragments."""
    import io

    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof+frag_every_frame"}) as out:
        stream: Any = out.add_stream("aac", rate=44_100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone(3.0, 44_100).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=44_100, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(part))
    data = file.getvalue()
    starts = [i - 4 for i in range(len(data)) if data[i : i + 4] == b"moof"]
    edges = [*starts[::20], len(data)]
    return data[: starts[0]], [data[a:b] for a, b in pairwise(edges)]


@pytest.fixture(scope="module")
def mp3(encoded: Callable[..., bytes], tone: Callable[..., Samples]) -> bytes:
    return encoded(tone(3.0, 44_100), 44_100, "libmp3lame", "mp3", 64_000)

"""HLS as stations serve it: what is heard, what is heard twice, and what is missing without a word."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import Awaitable, Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dgnb.audio.source import Note
from dgnb.audio.url import hls
from dgnb.exceptions import AudioError
from tests.audio.url.site import RATE, SECOND, Site, pitches, rest, seconds, source

Samples = npt.NDArray[Any]
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
def site() -> Site:
    return Site()


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


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ('#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="audio/list.m3u8"', "/x/audio/list.m3u8"),
        (
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=NO,URI="other.m3u8"\n'
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="y, z",DEFAULT=YES,URI="default.m3u8?k=1"',
            "/x/default.m3u8?k=1",
        ),
        ('#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="in the video"', "/x/video.m3u8"),
        ('#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="a",NAME="x",URI="words.m3u8"', "/x/video.m3u8"),
    ],
)
def test_the_default_track_of_an_audio_group_is_preferred(media: str, expected: str) -> None:
    text = f'#EXTM3U\n{media}\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="avc1,mp4a.40.2",AUDIO="a"\nvideo.m3u8\n'
    found = hls.variants(text, URL("http://radio.example/x/master.m3u8"))
    assert [one.path_qs for one in found] == [expected]


async def test_a_variant_that_is_gone_is_passed_over(web_server: Serve, site: Site, segments: Any) -> None:
    url = await web_server(site.handle)
    site.pages["/master.m3u8"] = b"".join(
        b"#EXT-X-STREAM-INF:BANDWIDTH=%d\n%s.m3u8\n" % (rate, name) for rate, name in ((9, b"gone"), (10, b"here"))
    )
    site.pages["/master.m3u8"] = (b"#EXTM3U\n" + site.pages["/master.m3u8"], "application/vnd.apple.mpegurl")
    site.pages |= {"/here.m3u8": media(0, ["0.aac"], end=True), "/0.aac": segments(1)[0]}
    assert pitches(await rest(await source(f"{url}/master.m3u8").open())) == [0]


async def test_variants_without_audio_are_an_error(web_server: Serve, site: Site) -> None:
    url = await web_server(site.handle)
    text = b'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="avc1"\nvideo.m3u8\n'
    site.pages["/master.m3u8"] = (text, "application/vnd.apple.mpegurl")
    with pytest.raises(AudioError, match="no variant of its HLS playlist has audio"):
        await source(f"{url}/master.m3u8").open()


@pytest.mark.parametrize(
    ("lead", "message"),
    [
        ('#EXT-X-KEY:METHOD=AES-128,URI="key"', r"HLS segments are encrypted, and a key can't be had: it answered 404"),
        ('#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://key"', r"HLS segments are encrypted \(SAMPLE-AES\)"),
        (
            '#EXT-X-KEY:METHOD=AES-128,URI="key",KEYFORMAT="com.widevine"',
            r"HLS segments are encrypted \(com.widevine\)",
        ),
        ('#EXT-X-MAP:URI="init"', "HLS segments need an init section, which can't be had: it answered 404"),
    ],
)
async def test_the_error_for_hls_that_cannot_be_read_says_why(
    web_server: Serve, site: Site, lead: str, message: str
) -> None:
    url = await web_server(site.handle)
    site.pages["/list.m3u8"] = media(0, ["0.ts"], end=True, lead=lead)
    site.pages["/0.ts"] = b"x" * 500
    with pytest.raises(AudioError, match=message):
        await source(f"{url}/list.m3u8").open()


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
def test_any_text_names_variants_without_an_error(text: str) -> None:
    for head in ("", "#EXTM3U\n#EXT-X-STREAM-INF:", '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI="x",'):
        hls.variants(f"{head}{text}\nlist.m3u8", URL("http://radio.example/"))


def mux(file: Any, form: str, sound: Samples, **options: str) -> None:
    """Write AAC into a container, as FFmpeg does it."""
    with av.open(file, "w", format=form, options=options) as out:
        stream: Any = out.add_stream("aac", rate=44_100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=44_100, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(part))


@pytest.fixture(scope="module")
def fragments(tone: Callable[..., Samples]) -> tuple[bytes, list[bytes]]:
    """Fragmented MP4: what its fragments share, and the fragments."""
    import io

    file = io.BytesIO()
    mux(file, "mp4", tone(3.0, 44_100), movflags="empty_moov+default_base_moof+frag_every_frame")
    data = file.getvalue()
    starts = [i - 4 for i in range(len(data)) if data[i : i + 4] == b"moof"]
    edges = [*starts[::20], len(data)]
    return data[: starts[0]], [data[a:b] for a, b in pairwise(edges)]


# What real stations do


class Window:
    """A station that goes on by one segment each time its playlist is asked for, and does what it is told to.

    Attributes:
        segments: One second each, the tones 0, 1, 2 …
        gone: Segments that are not there.
        once: What is answered the first time instead of a segment: a status, or so much of it.
        playlists: What is answered instead of a playlist, by its turn.
    """

    def __init__(self, segments: list[bytes], *, size: int = 4) -> None:
        self.segments = segments
        self.size = size
        self.turn = -1
        self.name = "{}.ts"
        self.gone: set[int] = set()
        self.once: dict[int, bytes | int] = {}
        self.playlists: dict[int, Callable[[], web.Response | int]] = {}

    def text(self, first: int, *, number: int | None = None, name: str | None = None, head: str = "") -> str:
        end = min(first + self.size, len(self.segments))
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:0", f"#EXT-X-MEDIA-SEQUENCE:{first if number is None else number}"]
        lines += [head] if head else []
        for n in range(first, end):
            lines += ["#EXTINF:1.0,", (name or self.name).format(n)]
        return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if end == len(self.segments) else [])]) + "\n"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(".m3u8"):
            self.turn += 1
            page = self.playlists.get(self.turn, lambda: web.Response(text=self.text(max(0, self.turn))))()
            return web.Response(status=page) if isinstance(page, int) else page
        n = int(request.path.rpartition("/")[2].partition(".")[0].rpartition("_")[2])
        if n in self.gone:
            return web.Response(status=404)
        if (page := self.once.pop(n, None)) is None:
            return web.Response(body=self.segments[n])
        if isinstance(page, int):
            return web.Response(status=page)
        response = web.StreamResponse(headers={"Content-Length": str(len(self.segments[n]))})
        await response.prepare(request)
        await response.write(page)
        assert request.transport
        request.transport.close()
        return response


async def listened(web_server: Serve, window: Window, path: str = "/live.m3u8") -> tuple[list[int], list[Note]]:
    """What was heard, and what was reported."""
    async with asyncio.timeout(30):
        audio = await source(f"{await web_server(window.handle)}{path}").open()
        heard = pitches(await rest(audio))
    return heard, list(audio.notes)


@pytest.fixture(scope="module")
def ts(segments: Any) -> list[bytes]:
    return list(segments(14, "mpegts"))


def text(body: str) -> web.Response:
    return web.Response(text=body)


async def test_a_server_that_lags_behind_is_not_heard_twice(web_server: Serve, ts: list[bytes]) -> None:
    window = Window(ts)
    window.playlists = {turn: lambda: text(window.text(max(0, window.turn - 2))) for turn in (3, 5, 6, 8)}
    heard, notes = await listened(web_server, window)
    assert heard == list(range(1, 14))
    assert not notes


async def test_an_address_that_expires_is_asked_for_again(web_server: Serve, ts: list[bytes]) -> None:
    window = Window(ts)
    sessions = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal sessions
        if request.path == "/live.m3u8":
            sessions += 1
            return web.Response(status=302, headers={"Location": f"/{sessions}/list.m3u8?sig=a%2Fb"})
        if request.path.endswith(".m3u8"):
            assert request.raw_path.endswith("sig=a%2Fb")
            if window.turn >= 3 * sessions:
                return web.Response(status=403)
        return await window.handle(request)

    audio = await source(f"{await web_server(handle)}/live.m3u8").open()
    assert pitches(await rest(audio)) == list(range(1, 14))
    assert sessions > 2
    assert all(note.missed == 0 for note in audio.notes)


@pytest.mark.parametrize("number", [0, 1000])
async def test_a_session_with_names_and_numbers_of_its_own_is_not_heard_twice(
    web_server: Serve, ts: list[bytes], number: int
) -> None:
    window = Window(ts)

    def again() -> web.Response:
        return text(window.text(window.turn - 1, number=window.turn - 1 + number, name="s2/{}.ts"))

    window.playlists = {4: lambda: 500} | dict.fromkeys(range(5, 30), again)
    heard, _ = await listened(web_server, window)
    assert heard == list(range(1, 14))


async def test_an_encoder_that_restarts_loses_nothing(web_server: Serve, ts: list[bytes]) -> None:
    window = Window(ts)
    # What was 500, 501 … is 0, 1 … from the fifth playlist on, and its first segments are new.
    window.playlists = {turn: lambda: text(window.text(window.turn, number=500 + window.turn)) for turn in range(5)}
    window.playlists |= {
        turn: lambda: text(window.text(window.turn + 3, number=window.turn - 5)) for turn in range(5, 30)
    }
    heard, notes = await listened(web_server, window)
    assert heard == list(range(1, 14))
    assert [note.text for note in notes] == ["the station began anew"]


@pytest.mark.parametrize("fault", [503, 500, 404, b"", b"half"])
async def test_a_segment_that_fails_once_is_asked_for_again(web_server: Serve, ts: list[bytes], fault: Any) -> None:
    window = Window(ts)
    window.once = {5: ts[5][: len(ts[5]) // 2] if fault == b"half" else fault, 8: fault}
    heard, notes = await listened(web_server, window)
    assert heard == list(range(1, 14))
    assert not notes


@pytest.mark.parametrize("gone", [{5}, {5, 6}, {3, 7, 8}])
async def test_a_segment_that_is_gone_costs_its_own_second(web_server: Serve, ts: list[bytes], gone: set[int]) -> None:
    window = Window(ts)
    window.gone = gone
    heard, notes = await listened(web_server, window)
    assert heard == [n for n in range(1, 14) if n not in gone]
    assert sum(note.missed for note in notes) == pytest.approx(len(gone), abs=0.1)


@pytest.mark.parametrize(
    "head",
    [
        "#EXT-X-PROGRAM-DATE-TIME:2024-13-45T00:00:00Z",
        "#EXT-X-PROGRAM-DATE-TIME:",
        "#EXT-X-DISCONTINUITY-SEQUENCE:",
        "#EXT-X-START:TIME-OFFSET=never",
        "#EXT-X-KEY:METHOD=NONE",
        "#EXT-X-CUE-OUT:DURATION=30",
        "#EXT-OATCLS-SCTE35:",
        "#EXT-X-PART-INF:PART-TARGET=0.33",
        "#EXT-X-BITRATE:x",
    ],
)
async def test_a_tag_that_makes_no_sense_is_passed_over(web_server: Serve, ts: list[bytes], head: str) -> None:
    window = Window(ts[:3])
    window.playlists = {0: lambda: text(window.text(0, head=head))}
    assert (await listened(web_server, window))[0] == [0, 1, 2]


async def test_addresses_that_are_only_a_query_lead_to_the_same_path(web_server: Serve, ts: list[bytes]) -> None:
    window = Window(ts[:3])

    async def handle(request: web.Request) -> web.StreamResponse:
        if "seg" in request.query:
            return web.Response(body=ts[int(request.query["seg"])])
        return web.Response(text=window.text(0, name="?seg={}"))

    audio = await source(f"{await web_server(handle)}/a/list.m3u8?token=%41").open()
    assert pitches(await rest(audio)) == [0, 1, 2]


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
async def test_a_playlist_may_come_compressed(web_server: Serve, ts: list[bytes], packed: str) -> None:
    window = Window(ts[:3])

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith(".m3u8"):
            return await window.handle(request)
        pack = gzip.compress if packed == "gzip" else zlib.compress
        return web.Response(body=pack(window.text(0).encode()), headers={"Content-Encoding": packed})

    assert pitches(await rest(await source(f"{await web_server(handle)}/live.m3u8").open())) == [0, 1, 2]


async def test_a_playlist_that_unpacks_to_very_much_is_refused(web_server: Serve) -> None:
    async def handle(request: web.Request) -> web.Response:
        bomb = gzip.compress(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + b"#" * 50_000_000)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    with pytest.raises(AudioError, match="unpacks to too many bytes"):
        await source(f"{await web_server(handle)}/live.m3u8").open()


@pytest.mark.parametrize("places", ["explicit", "following", "ignored by the server"])
async def test_segments_may_be_ranges_of_bytes(web_server: Serve, ts: list[bytes], places: str) -> None:
    whole, ends = b"".join(ts[:4]), [0, *accumulate(map(len, ts[:4]))]
    lines = ["#EXTM3U", "#EXT-X-VERSION:4", "#EXT-X-TARGETDURATION:1"]
    for n in range(4):
        place = "" if places == "following" and n else f"@{ends[n]}"
        lines += ["#EXTINF:1,", f"#EXT-X-BYTERANGE:{len(ts[n])}{place}", "all.ts"]

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith(".m3u8"):
            return web.Response(text="\n".join([*lines, "#EXT-X-ENDLIST"]))
        if places == "ignored by the server":
            return web.Response(body=whole)
        first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
        return web.Response(status=206, body=whole[first : last + 1])

    audio = await source(f"{await web_server(handle)}/list.m3u8").open()
    assert pitches(await rest(audio)) == [0, 1, 2, 3]


async def test_segments_that_are_encrypted_with_aes_128_are_decrypted(
    web_server: Serve, site: Site, tmp_path: Path, tone: Callable[..., Samples]
) -> None:
    (tmp_path / "key").write_bytes(bytes(range(16)))
    (tmp_path / "info").write_text(f"the key?k=1\n{tmp_path / 'key'}\n")
    sound = np.concatenate([tone(1.0, 44_100, 1, 300.0 + 100 * n).reshape(-1) for n in range(4)])
    mux(tmp_path / "a.m3u8", "hls", sound, hls_time="1", hls_list_size="0", hls_key_info_file=str(tmp_path / "info"))
    names = ["a.m3u8", *(f"a{n}.ts" for n in range(4))]
    site.pages = {f"/{name}": (tmp_path / name).read_bytes() for name in names}
    site.pages["/the key"] = bytes(range(16))
    assert b"AES-128" in site.pages["/a.m3u8"]
    audio = await source(f"{await web_server(site.handle)}/a.m3u8").open()
    assert pitches(await rest(audio)) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
async def test_faults_at_random_moments_cost_nothing_in_silence(web_server: Serve, segments: Any, seed: int) -> None:
    """Nothing is heard twice, and what is missing is in the notes, within a tenth of a second."""
    rng = random.Random(seed)
    window = Window(segments(30, rng.choice(["mpegts", "adts"])), size=rng.choice([4, 6]))
    window.gone = set(rng.sample(range(4, 30), rng.choice([0, 1, 2])))
    for n in rng.sample(range(4, 30), 4):
        window.once[n] = rng.choice([503, 500, b"", window.segments[n][:3000]])
    behind = rng.choice([1, 2])
    kinds: list[Callable[[], Any]] = [
        lambda: 503,
        lambda: 404,
        lambda: web.Response(text="<html>busy</html>"),
        lambda: text(window.text(max(0, window.turn - behind))),
        lambda: text(window.text(window.turn, name="again/{}.ts?token=2")),
        lambda: text(window.text(window.turn, head="#EXT-X-DISCONTINUITY")),
    ]
    window.playlists = {turn: rng.choice(kinds) for turn in rng.sample(range(2, 26), 6)}
    heard, notes = await listened(web_server, window)
    assert heard == sorted(set(heard))
    missing = heard[-1] - heard[0] + 1 - len(heard)
    assert sum(note.missed for note in notes) == pytest.approx(missing + 29 - heard[-1], abs=0.1)


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
async def test_every_click_is_where_a_player_has_it(web_server: Serve, site: Site, tmp_path: Path, kind: str) -> None:
    sound = np.zeros(44_100 * 8, "<i2")
    at = [0.5 + n for n in range(8)]
    for second in at:
        sound[round(second * 44_100) :][:200] = 20_000
    options = {"hls_time": "1", "hls_list_size": "0", "hls_segment_type": kind, "hls_fmp4_init_filename": "init.mp4"}
    mux(tmp_path / "a.m3u8", "hls", sound, **options)
    ending = {"mpegts": "ts", "fmp4": "m4s"}[kind]
    names = ["a.m3u8", *(["init.mp4"] if kind == "fmp4" else []), *(f"a{n}.{ending}" for n in range(8))]
    site.pages = {f"/{name}": (tmp_path / name).read_bytes() for name in names}
    audio = await source(f"{await web_server(site.handle)}/a.m3u8").open()
    heard = np.abs(np.frombuffer(await rest(audio), "<i2").astype(int))
    starts = [int(n) for n in np.flatnonzero(heard > 8000) if not (heard[max(0, n - 1000) : n] > 8000).any()]
    assert [start / RATE for start in starts] == pytest.approx(at, abs=0.025)


@pytest.mark.parametrize("gone", [{3}, {4, 5}])
async def test_what_comes_after_a_missing_segment_is_at_its_own_time(
    web_server: Serve, ts: list[bytes], gone: set[int]
) -> None:
    window = Window(ts)
    window.gone = gone
    async with asyncio.timeout(30):
        audio = await source(f"{await web_server(window.handle)}/live.m3u8").open()
        at, times = 0.0, {}
        async for chunk in audio:
            while audio.notes:
                at += audio.notes.popleft().missed
            spectrum = np.abs(np.fft.rfft(np.frombuffer(chunk, "<i2")))
            times.setdefault(round((spectrum.argmax() * RATE / (len(chunk) / 2) - 300) / 100), at)
            at += len(chunk) / SECOND
        await audio.aclose()
    for n in range(2, 14):
        if n not in gone:
            assert times[n] == pytest.approx(1.04 * (n - 1), abs=0.2), "a segment holds 1.04 s"

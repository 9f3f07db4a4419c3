"""`transcribe_file`: what it takes, what goes over the wire, what is refused before, and what is seen meanwhile."""

from __future__ import annotations

import inspect
import io
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import dgnb
from dgnb.audio import Sound
from dgnb.endpoints import Endpoint
from dgnb.session import progress
from tests.support.service import says, serving, silent, warnings

TONE = (8000 * np.sin(np.arange(32_000) / 16_000 * 2 * np.pi * 440)).astype("<i2")
"""2 s at 16 kHz."""
NOWHERE = "ws://127.0.0.1:9"
Wav = Callable[..., bytes]


def film() -> bytes:
    """A film of 2 s, with two channels of sound at 48 kHz."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video: Any = container.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound: Any = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for number in range(10):
            picture = np.full((64, 64, 3), number * 20, "u1")
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.repeat(TONE, 6)[None], format="s16", layout="stereo")
        frame.sample_rate = 48_000
        container.mux([*sound.encode(frame), *video.encode(None), *sound.encode(None)])
    return file.getvalue()


def heard(body: bytes) -> tuple[str, int, int, int]:
    """The codec of what was sent, its rate, channels and samples."""
    with av.open(io.BytesIO(body)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        codec = container.streams.audio[0].codec_context
        return codec.name, codec.sample_rate, codec.channels, samples


@pytest.mark.parametrize(
    "form", [str, Path, lambda path: path.read_bytes(), lambda path: path.open("rb"), Sound, dgnb.FileSource]
)
async def test_a_file_goes_as_it_is_in_each_form(form: Callable[[Path], Any], tmp_path: Path, wav: Wav) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(TONE))
    source = form(path)
    async with serving() as service:
        transcript = await dgnb.transcribe_file(source, endpoint=service.url, smart_format=True, keyterm=["a", "b"])
    asked = service.asked[0]
    assert asked.body == wav(TONE)
    assert (asked.path, asked.headers["Content-Type"]) == ("/v1/listen", "application/octet-stream")
    assert asked.query == [
        *(("model", "nova-3"), ("smart_format", "true"), ("keyterm", "a"), ("keyterm", "b"), ("utterances", "true")),
    ]
    assert transcript.words.word.tolist() == ["hello", "world"]
    if isinstance(source, io.IOBase):
        assert not source.closed
        source.close()
    else:
        assert len(transcript.clip(0.0, 2.0)) == len(wav(TONE))


async def test_an_array_and_raw_samples_become_flac_and_reduce_false_sends_them_as_they_are() -> None:
    raw: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}
    async with serving() as service:
        given: Any = TONE.tobytes()
        for source, how in ((TONE, {"sample_rate": 16_000}), (given, raw), (given, {**raw, "reduce": False})):
            await dgnb.transcribe_file(source, endpoint=service.url, **how)
    assert [heard(asked.body) for asked in service.asked[:2]] == [("flac", 16_000, 1, 32_000)] * 2
    assert service.asked[2].body == TONE.tobytes()
    assert {("encoding", "linear16"), ("sample_rate", "16000")} <= set(service.asked[2].query)
    assert "encoding" not in dict(service.asked[1].query)


@pytest.mark.parametrize(("multichannel", "channels"), [(False, 1), (True, 2)])
async def test_films_and_large_samples_are_reduced_to_their_sound(
    multichannel: bool, channels: int, tmp_path: Path, wav: Wav, encoded: Callable[..., bytes]
) -> None:
    stereo = np.stack([TONE, TONE // 2], axis=1)
    stereo = np.repeat(stereo, 3, axis=0)
    large, odd = wav(stereo, 48_000), encoded(stereo, 48_000, "pcm_s16be", "aiff")
    async with serving() as service:
        for name, data in (("a.mkv", film()), ("a.wav", large), ("a.aiff", odd)):
            (tmp_path / name).write_bytes(data)
            how: dict[str, Any] = {"endpoint": service.url, "multichannel": multichannel}
            transcript = await dgnb.transcribe_file(tmp_path / name, **how)
            await dgnb.transcribe_file(tmp_path / name, **how, reduce=False)
            assert service.asked.pop().body == data
            assert transcript.audio
            assert transcript.audio.path == tmp_path / name
    assert [heard(asked.body)[:3] for asked in service.asked] == [("flac", 16_000, channels)] * 3


@pytest.mark.parametrize(
    ("codec", "container"),
    [("libmp3lame", "mp3"), ("flac", "flac"), ("libopus", "ogg"), ("libopus", "webm"), ("aac", "mp4")],
)
async def test_what_is_small_already_goes_as_it_is(
    codec: str, container: str, tone: Any, encoded: Callable[..., bytes]
) -> None:
    data = encoded(tone(2.0, 48_000), 48_000, codec, container)
    async with serving() as service:
        await dgnb.transcribe_file(data, endpoint=service.url)
    assert service.asked[0].body == data


async def test_an_address_is_for_the_service_to_fetch_and_its_query_is_not_shown() -> None:
    address = "https://example.org/talk.mp3?signature=secret"
    async with serving(says(400, {"err_code": "REMOTE_CONTENT_ERROR", "err_msg": "not routable"})) as service:
        transcript = await dgnb.transcribe_file(address, endpoint=service.url)
    assert "Download it, and pass the file" in warnings(transcript)[0]
    assert "secret" not in transcript.events.to_string() + repr(transcript)
    assert json.loads(service.asked[1].body) == {"url": address}
    assert service.asked[1].headers["Content-Type"] == "application/json"
    assert transcript.audio is None


async def test_with_a_callback_the_transcript_says_where_the_result_goes() -> None:
    async with serving(says(200, {"request_id": "r-7"})) as service:
        transcript = await dgnb.transcribe_file(
            (16_000, TONE), endpoint=service.url, callback="https://example.org/in?key=secret"
        )
    assert ("callback", "https://example.org/in?key=secret") in service.asked[0].query
    row = transcript.events.iloc[-1]
    assert (row.type, row.request_id) == ("callback", "r-7")
    assert row.text == "The result goes to https://example.org/in, and not here."
    assert transcript.words.empty


def lay_out(wav: Wav) -> None:
    """Files that are no recordings, in the working folder."""
    Path("empty.wav").touch()
    Path("text.wav").write_text("What was said, as somebody typed it.")
    Path("silent.wav").write_bytes(wav(TONE[:0]))
    with Path("large.wav").open("wb") as file:
        file.write(wav(TONE))
        file.truncate(3_000_000_000)


class Station(dgnb.AudioSource):
    name = "a station"

    async def open(self, *, multichannel: bool = False) -> Any:
        raise AssertionError


@pytest.mark.parametrize(
    ("source", "how", "told"),
    [
        ("missing.wav", {}, "There is no file"),
        (".", {}, "is a folder"),
        ("empty.wav", {}, "is empty"),
        ("text.wav", {}, "is text, not audio"),
        ("silent.wav", {}, "holds no samples"),
        ("large.wav", {}, r"has 3\.0 GB, and the service takes 2\. Split it"),
        (b"", {}, "The buffer is empty"),
        (None, {}, "source"),
        (Station(), {}, "is live"),
        (iter([b"a"]), {}, "comes bit by bit"),
        ("https://example.org/live.m3u8", {}, "is live"),
        ((16_000, TONE), {"interim_results": True}, "no option 'interim_results'"),
        ((16_000, TONE), {"options": dgnb.LiveOptions()}, "options is a PrerecordedOptions"),
        ((16_000, TONE), {"options": dgnb.FluxOptions()}, "options is a PrerecordedOptions"),
        ((16_000, TONE), {"model": "flux-general-en"}, "takes live streams only"),
        ((16_000, TONE), {"timeout": 0}, "timeout is a positive number"),
        ((16_000, TONE), {"timeout": "1"}, "timeout is a positive number"),
        ((16_000, TONE), {"max_cost": -1}, "max_cost is a number of US"),
        ((16_000, TONE), {"proxy": "socks5://127.0.0.1:1"}, "SOCKS"),
        ((16_000, np.tile(TONE[:, None], 9)), {"multichannel": True}, "has 9 channels, and FLAC holds 8"),
    ],
)
async def test_what_is_wrong_is_one_error_before_anything_is_sent(
    source: Any, how: dict[str, Any], told: str, tmp_path: Path, wav: Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(wav)
    async with serving() as service:
        with pytest.raises(dgnb.DgnbError, match=told):
            await dgnb.transcribe_file(source, **{"endpoint": service.url, **how})
    assert not service.asked


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.9", "0x7f.1"])
async def test_an_address_that_the_service_can_not_reach_is_refused(host: str) -> None:
    with pytest.raises(dgnb.ConfigurationError, match=r"Deepgram can't fetch it\. Download it, and pass the file"):
        await dgnb.transcribe_file(f"http://{host}/talk.mp3", endpoint="deepgram", api_key="k" * 40)


async def test_what_it_costs_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endpoint, "local", property(lambda self: False))
    async with serving() as service:
        transcript = await dgnb.transcribe_file((16_000, TONE), endpoint=service.url, proxy=False)
    assert transcript.cost == pytest.approx(0.0077 * 2 / 60)
    assert transcript.summary().loc["cost", "value"] == 0.0003
    assert "An estimate: US$0.0003 for 2.0 s" in transcript.events.query("type == 'cost'")["text"].item()


async def test_max_cost_is_kept_before_anything_is_sent() -> None:
    how: dict[str, Any] = {"endpoint": "wss://transcribe.invalid", "api_key": "k" * 40}
    with pytest.raises(dgnb.ConfigurationError, match=r"It costs about US\$0\.\d+ for 2\.0 s .* max_cost=1e-06"):
        await dgnb.transcribe_file((16_000, TONE), max_cost=0.000001, **how)
    with pytest.raises(dgnb.ConfigurationError, match="needs the length"):
        await dgnb.transcribe_file("https://example.org/a.mp3", max_cost=1.0, **how)
    async with serving() as service:
        # On this machine it costs nothing.
        await dgnb.transcribe_file((16_000, TONE), max_cost=0, endpoint=service.url)


async def test_progress_is_shown_and_its_button_stops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    monkeypatch.setattr(progress, "_REDRAW", 0.01)
    draw = progress._Terminal.draw

    def drawn(screen: Any, seen: Any) -> None:
        draw(screen, seen)
        assert "<progress" in seen.markup()
        screen.stopped = "processing" in seen.status()

    monkeypatch.setattr(progress._Terminal, "draw", drawn)
    async with serving(silent) as service:
        with pytest.raises(dgnb.SessionStopped, match=r"was stopped while processing.*may be billed") as caught:
            await dgnb.transcribe_file((16_000, TONE), endpoint=service.url, progress=True)
        assert caught.value.transcript.words.empty
    monkeypatch.setattr(progress._Terminal, "draw", draw)
    async with serving() as service:
        await dgnb.transcribe_file((16_000, TONE), endpoint=service.url, progress=True)
    told = re.split(r"[\r\n]+", capsys.readouterr().err)
    assert any(line.startswith("processing, 0:0") for line in told)


async def test_an_hour_s_file_is_never_in_memory_as_a_whole(tmp_path: Path, wav: Wav) -> None:
    path = tmp_path / "hour.wav"
    with path.open("wb") as file:
        file.write(wav(TONE[:0]))
        file.truncate(44 + 115_200_000)
        file.seek(4)
        file.write((36 + 115_200_000).to_bytes(4, "little"))
        file.seek(40)
        file.write((115_200_000).to_bytes(4, "little"))
    async with serving() as service:
        service.keep = False
        tracemalloc.start()
        try:
            await dgnb.transcribe_file(path, endpoint=service.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert service.asked[0].size == 115_200_044
    assert peak < 20_000_000


def test_tab_shows_the_options() -> None:
    named = inspect.signature(dgnb.transcribe_file).parameters
    assert {"source", "options", "max_cost", "utterances", "paragraphs", "topics"} <= set(named)
    assert "interim_results" not in named

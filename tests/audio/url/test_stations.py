"""`URLSource` against every kind of station."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dgnb import AudioError, URLSource
from dgnb.audio.source import Note
from tests.support.stations import Station

LONG = 3.0
"""Seconds of the recording."""


@pytest.fixture
async def server(tmp_path: Path, tone: Callable[..., Any], wav: Callable[..., bytes]) -> AsyncIterator[Station]:
    """A station with a tone of 3 s, and a burst of 10 s, so that no test waits."""
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(tone(LONG)))
    async with Station(path) as server:
        with server.broadcasting(burst=10):
            yield server


@dataclass
class Heard:
    seconds: float = 0.0
    notes: list[Note] = field(default_factory=list)

    def of(self, kind: str) -> list[Note]:
        return [note for note in self.notes if note.type == kind]


async def listen(url: str, seconds: float = 6.0, **how: Any) -> Heard:
    """Take so much audio, or all there is, and the notes."""
    heard = Heard()
    async with asyncio.timeout(20):
        audio = await URLSource(url, **{"stall_timeout": 1.0, **how}).open()
        try:
            async for chunk in audio:
                heard.seconds += len(chunk) / audio.bytes_per_second
                if heard.seconds >= seconds - 1e-6:
                    break
            while audio.notes:
                heard.notes.append(audio.notes.popleft())
        finally:
            await audio.aclose()
    return heard


# Stations that work


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"icy": True},
        {"icy": True, "metadata": 777},
        {"metadata": 0},
        {"framing": "chunked"},
        {"framing": "length"},
        {"redirects": 3},
        {"format": "aac"},
        {"format": "ogg"},
        {"format": "wav"},
        {"joining": 1.234},
        {"splice": 2},
        {"burst": 30},
    ],
    ids=str,
)
async def test_a_station_is_heard(how: dict[str, Any], server: Station) -> None:
    with server.broadcasting(**how):
        heard = await listen(server.radio_url)
    assert heard.seconds == pytest.approx(6.0)
    assert not [note for note in heard.notes if note.type != "title"]
    assert len(server.listeners) == 1


async def test_a_slow_station_is_not_taken_for_an_end(server: Station) -> None:
    with server.broadcasting(burst=2, speed=0.1):
        heard = await listen(server.radio_url, 2.1)
    assert heard.seconds == pytest.approx(2.1)
    assert len(server.listeners) == 1


async def test_titles_become_notes(server: Station) -> None:
    with server.broadcasting(title="it's <b>"):
        heard = await listen(server.radio_url)
    assert [note.text for note in heard.of("title")] == ["it's <b>"]


@pytest.mark.parametrize("ending", ["m3u", "pls"])
@pytest.mark.parametrize("how", [{}, {"depth": 2}, {"count": 40}], ids=str)
async def test_a_playlist_leads_to_its_station(ending: str, how: dict[str, Any], server: Station) -> None:
    with server.listing(**how):
        heard = await listen(f"{server.radio_url}.{ending}", 1.0)
    assert heard.seconds == pytest.approx(1.0)
    assert [listener.path for listener in server.listeners] == ["/radio.mp3"]


@pytest.mark.parametrize("name", ["file.mp3", "file.wav", "hls/vod.m3u8"])
async def test_a_recording_is_heard_to_its_end(name: str, server: Station) -> None:
    heard = await listen(f"{server.radio_url}/{name}")
    assert heard.seconds == pytest.approx(LONG, abs=0.1)
    assert not heard.notes


@pytest.mark.parametrize("name", ["live", "master", "fmp4"])
async def test_a_live_window_is_followed(name: str, server: Station) -> None:
    heard = await listen(f"{server.radio_url}/hls/{name}.m3u8", 5.0)
    assert heard.seconds == pytest.approx(5.0)
    # A busy machine may be too late for a segment; then there is a note.
    assert all(note.missed for note in heard.notes)


# Faults that are survived


@pytest.mark.parametrize("ends", ["closed", "reset", "truncated", "stalled"])
async def test_a_station_that_ends_is_asked_again(ends: Any, server: Station) -> None:
    with server.broadcasting(after=2, ends=ends, times=1):
        heard = await listen(server.radio_url)
    assert heard.seconds == pytest.approx(6.0)
    (note,) = heard.of("source")
    assert note.missed >= (1.0 if ends == "stalled" else 0.0)
    assert len(server.listeners) == 2


async def test_each_short_stretch_of_audio_earns_a_new_try(server: Station) -> None:
    with server.broadcasting(after=0.5):
        heard = await listen(server.radio_url, 3.0)
    assert heard.seconds == pytest.approx(3.0)
    assert len(server.listeners) >= 6


@pytest.mark.parametrize("ends", [None, "reset", "stalled"])
async def test_a_file_that_breaks_off_is_resumed(ends: Any, server: Station) -> None:
    with server.broadcasting(after=1, ends=ends, times=1):
        heard = await listen(f"{server.radio_url}/file.mp3")
    assert heard.seconds == pytest.approx(LONG, abs=0.1)
    (note,) = heard.of("source")
    assert note.missed == 0.0


async def test_a_file_that_cannot_be_resumed_is_an_error(server: Station) -> None:
    with server.broadcasting(after=1, ranges=False), pytest.raises(AudioError, match="resume"):
        await listen(f"{server.radio_url}/file.mp3")


async def test_segments_of_another_encoding_are_heard(server: Station) -> None:
    with server.segmenting(discontinuity=2):
        heard = await listen(f"{server.radio_url}/hls/live.m3u8", 5.0)
    assert heard.seconds == pytest.approx(5.0)
    # A busy machine may be too late for a segment; then there is a note.
    assert all(note.missed for note in heard.of("source"))


async def test_a_missing_segment_is_reported_as_missed(server: Station) -> None:
    with server.segmenting(missing=[2]):
        heard = await listen(f"{server.radio_url}/hls/live.m3u8", 3.0)
    assert heard.seconds == pytest.approx(3.0)
    assert sum(note.missed for note in heard.of("source")) == pytest.approx(2.0, abs=0.1)


# Errors


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"after": 0}, "empty"),
        ({"hang_up": True}, "disconnected"),
        *(({"status": status}, str(status)) for status in (403, 404, 451, 503)),
        ({"body": "<html>Sold.</html>"}, "is a page"),
        ({"location": "/radio"}, "circle|redirect"),
        ({"redirects": 6}, "redirect"),
        ({"encoding": "gzip"}, "compressed"),
        ({"encoding": "bomb"}, "compressed"),
        ({"format": "noise"}, "can't be decoded"),
    ],
    ids=str,
)
async def test_an_answer_that_is_not_a_station_is_an_error_with_the_reason(
    how: dict[str, Any], words: str, server: Station
) -> None:
    with server.broadcasting(**how), pytest.raises(AudioError, match=f"(?s){words}"):
        await listen(server.radio_url)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"entries": ["radio.m3u"]}, "leads back to itself"),
        ({"depth": 5}, "more than three deep"),
        ({"size": 1_000_000}, "too long"),
    ],
    ids=str,
)
async def test_a_playlist_that_leads_nowhere_is_an_error(how: dict[str, Any], words: str, server: Station) -> None:
    with server.listing(**how), pytest.raises(AudioError, match=words):
        await listen(f"{server.radio_url}.m3u")
    assert not server.listeners
    assert len(server.requests) <= 5


async def test_encrypted_segments_are_an_error(server: Station) -> None:
    with server.segmenting(encrypted=True), pytest.raises(AudioError, match="encrypted"):
        await listen(f"{server.radio_url}/hls/live.m3u8")


async def test_a_station_that_falls_silent_for_good_is_given_up(
    server: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = URLSource(server.radio_url)
    monkeypatch.setattr(source, "_wait", lambda tries: 0.0)
    with server.broadcasting(after=2, times=1):
        audio = await source.open()

    async def take() -> None:
        async for _ in audio:
            pass

    try:
        with server.broadcasting(after=0), pytest.raises(AudioError, match="8 tries in a row"):
            await take()
    finally:
        await audio.aclose()
    assert [listener.bytes_sent > 0 for listener in server.listeners] == [True, *[False] * 8]

"""One sound, heard once by several."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pandas as pd
import pytest

import dgnb
from dgnb.audio import Audio, Note, Sound
from dgnb.exceptions import AudioError, ConfigurationError, HandshakeError
from tests.support.faulty import FaultyServer
from tests.support.scripts import script_of
from tests.support.speech import speech
from tests.support.spoken import spoken
from tests.support.waiting import until

SAID = [("alpha", 0.5, 0.9), ("bravo", 1.0, 1.4), ("delta", 1.5, 1.9), ("hotel", 2.0, 2.4)]
TEXT = "alpha bravo delta hotel"
NOWHERE = "ws://127.0.0.1:9"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(script_of(SAID)) as server:
        yield server


class Station(dgnb.AudioSource):
    """A live source that counts how often it is opened and closed."""

    name = "a station"

    def __init__(self, seconds: float = 4.0, error: Exception | None = None) -> None:
        self.opened = self.closed = 0
        self._seconds, self._error = seconds, error

    async def open(self, *, multichannel: bool = False) -> Audio:
        self.opened += 1

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(round(self._seconds * 10)):
                yield bytes(3200)
            audio.notes.append(Note("title", "the end"))
            if self._error:
                raise self._error

        async def close() -> None:
            self.closed += 1

        audio = Audio(chunks(), close, live=True)
        return audio


async def test_a_source_is_opened_once_for_all_runs(server: FaultyServer) -> None:
    station, heard = Station(), []

    def function(sound: Sound) -> str:
        heard.append(len(sound.samples()))
        return "alpha bravo golf hotel"

    runs = {"plain": {}, "more": dgnb.LiveOptions(interim_results=True), "own": function}
    comparison = await dgnb.compare(station, runs, TEXT, endpoint=server.url, pace=None)
    assert (station.opened, station.closed, heard) == (1, 1, [64_000])
    summary = comparison.summary
    assert summary["wer"].tolist() == [0, 0, 0.25]
    assert summary["cost"].tolist()[:2] == [0, 0]
    assert summary["error"].isna().all()
    assert list(comparison.transcripts) == ["plain", "more", "own"]
    assert "title" in set(comparison.transcripts["plain"].events["type"])
    assert len(comparison.transcripts["plain"].clip(0, 1)) == 44 + 32_000
    assert comparison.words["op"].tolist() == ["equal", "equal", "substitute", "equal"]


async def test_a_run_is_options_a_dict_an_endpoint_a_pair_a_transcript_or_a_file(
    server: FaultyServer, tmp_path
) -> None:
    saved = spoken(TEXT.split(), [0.5, 1.0, 1.5, 2.0])
    saved.save(tmp_path / "saved.jsonl")
    runs: dict[str, Any] = {
        "options": (dgnb.LiveOptions(), server.url),
        "dict": ({"smart_format": True}, server.url),
        "endpoint": server.url,
        "saved": saved,
        "file": tmp_path / "saved.jsonl",
    }
    comparison = await dgnb.compare(speech(), runs, pace=None)
    assert comparison.summary["disagreement"].tolist() == [0] * 5
    assert comparison.words["drift"].abs().max() < 0.02


async def test_flux_hears_the_same_as_v1(server: FaultyServer) -> None:
    runs = {"v1": {}, "flux": dgnb.FluxOptions(), "dict": {"model": "flux-general-en"}}
    summary = (await dgnb.compare(speech(), runs, TEXT, endpoint=server.url, pace=None)).summary
    assert summary["wer"].tolist() == [0, 0, 0]


async def test_a_recording_is_sent_as_it_is_and_a_station_as_it_was_heard(server: FaultyServer) -> None:
    runs = {"live": {}, "recorded": dgnb.PrerecordedOptions()}
    for source in (speech(), Station(4.0)):
        comparison = await dgnb.compare(source, runs, TEXT, endpoint=server.url, pace=None, timeout=30.0)
        assert comparison.summary["error"].isna().all()
        assert comparison.summary["wer"].tolist() == [0, 0]
        assert comparison.transcripts["recorded"].clip(0, 1)


async def test_functions_give_a_transcript_a_text_or_words() -> None:
    async def text(sound: Sound) -> str:
        return TEXT

    rows = [{"word": word, "start": start, "end": end} for word, start, end in SAID]
    runs = {
        "text": text,
        "table": lambda sound: pd.DataFrame(rows),
        "dicts": lambda sound: rows,
        "transcript": lambda sound: spoken(TEXT.split()),
        "nothing": lambda sound: [],
        "wrong": lambda sound: 7,
    }
    comparison = await dgnb.compare(speech(), runs, TEXT)
    assert comparison.summary["wer"].tolist()[:4] == [0, 0, 0, 0]
    assert comparison.summary.loc["wrong", "error"]
    assert comparison.transcripts["dicts"].words["start"].tolist() == [0.5, 1.0, 1.5, 2.0]


async def test_a_run_that_fails_is_a_row_and_the_others_go_on(server: FaultyServer) -> None:
    def broken(sound: Sound) -> str:
        raise RuntimeError("out of memory")

    runs = {"good": server.url, "away": ({}, NOWHERE), "broken": broken}
    comparison = await dgnb.compare(speech(), runs, TEXT, pace=None, reconnect=False)
    assert comparison.summary.loc["good", "wer"] == 0
    assert comparison.summary.loc["broken", "error"] == "out of memory"
    assert "127.0.0.1:9" in comparison.summary.loc["away", "error"]
    assert list(comparison.transcripts) == ["good"]
    reference = await dgnb.compare(speech(), runs, "away", pace=None, reconnect=False)
    assert reference.reference is None


async def test_when_all_fail_the_first_error_is_raised() -> None:
    with pytest.raises(HandshakeError):
        await dgnb.compare(speech(), {"a": NOWHERE, "b": ({}, NOWHERE)}, reconnect=False)
    station = Station(error=AudioError("The station broke off."))
    with pytest.raises(AudioError, match="broke off"):
        await dgnb.compare(station, {"a": lambda sound: "", "b": lambda sound: ""})
    assert station.closed == 1


async def test_cancelling_ends_every_run_and_the_source(server: FaultyServer) -> None:
    station = Station(60.0)
    task = asyncio.create_task(dgnb.compare(station, {"a": {}, "b": {}}, endpoint=server.url))
    await until(lambda: len([s for s in dgnb.sessions() if s.transcript.count]) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert station.closed == 1
    assert all(session.state is dgnb.State.CLOSED for session in dgnb.sessions())


async def test_duration_cuts_the_sound_for_all(server: FaultyServer) -> None:
    lengths = []
    runs = {"live": server.url, "own": lambda sound: lengths.append(len(sound.samples())) or "alpha"}
    comparison = await dgnb.compare(speech(), runs, duration=1.0, pace=None)
    assert lengths == [16_000]
    assert comparison.transcripts["live"].transcript_cursor == 1.0


async def test_stop_ends_the_sound_and_every_run_finishes(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def pressed(course: Any, progress: object, stop: Callable[[], None]) -> AsyncIterator[None]:
        assert course.status() == "0:00 heard · running: a, b"
        asyncio.get_running_loop().call_later(0.05, stop)
        yield
        assert course.outcome(2.0) == "2 runs in 2.0 s · comparison.summary"

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield bytes(3200)

    monkeypatch.setattr("dgnb.comparison.shown", pressed)
    how: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000, "endpoint": server.url, "pace": None}
    comparison = await dgnb.compare(forever(), {"a": {}, "b": {}}, **how)
    lengths = {run.transcript_cursor for run in comparison.transcripts.values()}
    assert len(lengths) == 1
    assert lengths.pop() > 0


@pytest.mark.parametrize(
    ("runs", "reference", "settings", "said"),
    [
        ({}, None, {}, "Give the runs by name"),
        ([{}], None, {}, "Give the runs by name"),
        ({"a": {}}, None, {}, "nothing to compare with"),
        ({"a": 7, "b": {}}, None, {}, "Run 'a' is options"),
        ({"a": None, "b": {}}, None, {}, "Run 'a' is options"),
        ({"a": {"smart_fromat": True}, "b": {}}, None, {}, "Run 'a': .*smart_format"),
        ({"a": "oflline", "b": {}}, None, {}, "Run 'a': .*offline"),
        ({"a": {}, "b": {}}, "", {}, "reference has no words"),
        ({"a": {}, "b": {}}, dgnb.Transcript(), {}, "reference has no words"),
        ({"a": {}, "b": {}}, "...", {}, "reference has no words"),
        ({"a": {}, "b": {}}, None, {"paec": 1}, "no argument 'paec'. Did you mean 'pace'"),
        ({"a": {}, "b": {}}, None, {"smart_format": True}, "Options go into the runs"),
        ({"a": {}, "b": {}}, "gone.txt", {}, "There is no file"),
        ({"a": {}, "b": {"multichannel": True}}, None, {}, "multichannel in all"),
        ({"a": {}, "b": {}}, None, {"journal": "x"}, "leave out journal"),
        ({"a": {}, "b": {}}, None, {"duration": 0}, "duration is a positive"),
        ({"a": {}, "b": {}}, None, {"pace": -1}, "Run 'a': "),
        ({"a": {}, "b": {}}, None, {"normalize": 3}, "normalize"),
        (
            {"a": {}, "b": spoken(["left"] * 40)},
            spoken(["right"] * 40),
            {},
            "different sound",
        ),
    ],
)
async def test_what_is_wrong_is_told_before_the_source_is_opened(runs, reference, settings, said: str) -> None:
    station = Station()
    with pytest.raises(ConfigurationError, match=said):
        await dgnb.compare(station, runs, reference, **{"endpoint": NOWHERE, **settings})
    assert station.opened == 0


async def test_a_transcript_that_is_longer_than_the_sound_is_refused() -> None:
    late = spoken(["one", "two"], [0.0, 30.0])
    with pytest.raises(ConfigurationError, match=r"lasts 6\.0 s, and a transcript has words up to 30\.4 s"):
        await dgnb.compare(speech(), {"a": late, "b": NOWHERE})


async def test_no_key_is_in_an_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        await dgnb.compare(speech(), {"a": {"nonsense": 1}, "b": {}}, api_key="secretsecretsecret", endpoint="deepgram")
    assert "secretsecret" not in "".join(map(repr, (caught.value, caught.value.__cause__)))

"""A session that has ended and goes on: `retry()`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb import LiveSession, State, Transcript
from dgnb.audio import Audio
from dgnb.exceptions import AudioError, ConfigurationError, ConnectionLost, HandshakeError
from dgnb.loopback import Script
from tests.session.test_reconnect import Station, covers, kinds
from tests.session.test_session import TEXT, Tap, sent
from tests.support.faulty import FaultyServer
from tests.support.speech import speech
from tests.support.waiting import until


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script(TEXT, repeat=True)) as server:
        yield server


@pytest.fixture
def tap() -> Tap:
    return Tap()


def once_each(transcript: Transcript) -> bool:
    """Whether no two words have the same time."""
    return bool(transcript.words["start"].is_monotonic_increasing and transcript.words["start"].is_unique)


async def failed(session: LiveSession, error: type[Exception]) -> None:
    with pytest.raises(error):
        await session


@pytest.mark.parametrize("pace", [None, 20.0])
async def test_a_file_goes_on_where_it_stood(server: FaultyServer, pace: float | None) -> None:
    session = LiveSession(speech(20), endpoint=server.url, pace=pace)
    with server.dropping(after=6.0, code=1008, times=1):
        await failed(session, ConnectionLost)
    assert len(session.transcript.gaps) == 1
    heard = session.transcript.word_count
    assert 0 < heard < 30
    assert session.retry() is session
    assert session.state is State.CONNECTING
    assert session.error is None
    assert session.transcript.gaps.empty
    transcript = await session
    assert transcript is session.transcript
    assert transcript.word_count > heard
    assert transcript.gaps.empty
    assert covers(session, 20)
    assert once_each(transcript)
    assert session.audio_cursor == 20.0
    assert kinds(session).count("retried") == 1
    assert session.report().startswith("20.0 s captured, 20.0 s acknowledged, 0.0 s pending, 0.0 s in gaps")


async def test_each_retry_that_fails_leaves_one_gap_and_the_last_one_none(server: FaultyServer) -> None:
    session = LiveSession(speech(8), endpoint=server.url, pace=None)
    with server.dropping(after=3.0, code=1008, times=1):
        await failed(session, ConnectionLost)
    for status in (401, 400):
        with server.rejecting(status):
            await failed(session.retry(), HandshakeError)
        assert len(session.transcript.gaps) == 1
    assert (await session.retry()).gaps.empty
    assert covers(session, 8)


async def test_a_first_connection_that_was_refused_can_be_tried_again(server: FaultyServer) -> None:
    session = LiveSession(speech(3), endpoint=server.url, pace=None)
    with server.rejecting(401):
        await failed(session, HandshakeError)
    await session.retry()
    assert covers(session, 3)


async def test_a_file_that_was_stopped_goes_on(server: FaultyServer) -> None:
    session = LiveSession(speech(10), endpoint=server.url).start()
    await until(lambda: session.audio_cursor > 0.5)
    await session.stop()
    cursor = session.audio_cursor
    assert cursor < 5
    session.retry()
    await until(lambda: session.audio_cursor > cursor + 0.5)
    assert (await session.stop()).gaps.empty
    assert covers(session, session.audio_cursor)
    assert once_each(session.transcript)


async def test_a_live_source_is_opened_anew_and_what_it_missed_is_a_row(server: FaultyServer) -> None:
    station = Station()
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    with server.dropping(after=3.0, code=1008, times=1):
        station.give(4)
        await until(lambda: session.state is State.CLOSED)
    assert isinstance(session.error, ConnectionLost)
    at = float(session.report().split(" s captured")[0])
    station.queue = asyncio.Queue()
    await asyncio.sleep(0.3)
    session.retry()
    station.give(3)
    station.end()
    transcript = await session
    (gap,) = transcript.gaps.itertuples()
    assert (gap.start, gap.end) == (pytest.approx(at, abs=0.05), gap.start)
    missed, _, reason = gap.reason.partition(" s ")
    assert 0.3 <= float(missed) < 5
    assert gap.missed == pytest.approx(float(missed), abs=0.051)
    assert reason == "of the live stream were missed between the end and retry()"
    assert covers(session, at + 3)
    assert once_each(transcript)


async def test_an_iterator_that_has_ended_is_sent_again_from_memory(server: FaultyServer, tap: Tap) -> None:
    tap.give(6)
    tap.end()
    session = LiveSession(tap.source(), endpoint=server.url, pace=None)
    with server.dropping(after=5.95, code=1008, times=1):
        await failed(session, ConnectionLost)
    assert session.report().startswith("6.0 s captured")
    assert (await session.retry()).gaps.empty
    assert covers(session, 6)


async def test_an_iterator_can_not_be_opened_twice_and_what_was_captured_is_sent(
    server: FaultyServer, tap: Tap
) -> None:
    tap.give(4)
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    await until(lambda: sent(session, 3.5))
    with server.dropping(after=0, code=1008, times=1):
        tap.give(1)
        await until(lambda: session.state is State.CLOSED)
    with pytest.raises(AudioError, match="can't begin anew"):
        await session.retry()
    assert session.transcript.gaps.empty
    assert covers(session, session.audio_cursor)
    assert session.audio_cursor > 3.5


async def test_another_format_is_one_clear_error(server: FaultyServer) -> None:
    class Changing(Station):
        rate = 16_000

        async def open(self, *, multichannel: bool = False) -> Audio:
            audio = await super().open()
            return Audio(audio, audio.aclose, sample_rate=self.rate, live=True)

    station = Changing()
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    station.give(1)
    await until(lambda: sent(session, 0.9))
    await session.stop()
    station.rate = 8000
    with pytest.raises(AudioError, match="another format"):
        await session.retry()


async def test_what_was_transcribed_to_its_end_has_nothing_to_retry(server: FaultyServer) -> None:
    session = LiveSession(speech(1), endpoint=server.url, pace=None)
    await session
    with pytest.raises(ConfigurationError, match="Nothing is left"):
        session.retry()
    assert session.state is State.CLOSED


async def test_a_container_that_was_passed_through_can_not_go_on(server: FaultyServer) -> None:
    session = LiveSession(dgnb.FileSource(dgnb.samples.path(), decode=False), endpoint=server.url)
    with server.dropping(after=0.5, code=1008, times=1):
        await failed(session, ConnectionLost)
    with pytest.raises(ConfigurationError, match="decode=False"):
        session.retry()


async def test_retry_of_a_session_that_has_not_ended_is_start(server: FaultyServer) -> None:
    session = LiveSession(speech(2), endpoint=server.url, pace=None).retry()
    await until(lambda: session.state is State.OPEN)
    assert session.retry() is session
    await session
    assert len(server.requests) == 1
    assert dgnb.sessions() == [session]


async def test_the_journal_holds_both_parts(server: FaultyServer, tmp_path: Path) -> None:
    session = LiveSession(speech(8), endpoint=server.url, pace=None, journal=tmp_path / "talk.jsonl")
    with server.dropping(after=3.0, code=1008, times=1):
        await failed(session, ConnectionLost)
    transcript = await session.retry()
    loaded = Transcript.load(tmp_path / "talk.jsonl")
    assert loaded.text == transcript.text
    assert loaded.gaps.empty


async def test_an_error_after_a_retry_is_reported_again(server: FaultyServer, caplog: Any) -> None:
    session = LiveSession(speech(8), endpoint=server.url, pace=None)
    with server.rejecting(401):
        await failed(session, HandshakeError)
        assert not caplog.messages
        session.retry()
        await until(lambda: session.state is State.CLOSED)
    assert "refused" in caplog.messages[0]
    await session.stop()

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

import dgnb
from dgnb import LiveSession, State, transcribe
from dgnb.audio import Audio
from dgnb.exceptions import (
    AudioError,
    AuthenticationError,
    CloseTimeout,
    ConfigurationError,
    ConnectionLost,
    DgnbError,
    HandshakeError,
)
from dgnb.loopback import Script
from dgnb.messages import Alternative, Channel, Metadata, Results, Word, encode
from tests.support.faulty import FaultyServer
from tests.support.speech import SECONDS, speech
from tests.support.waiting import until

CANARY = "canary0123456789"
TEXT = "one two three four five six seven eight nine ten"


class Tap:
    """An audio source that gives a second at a time, when the test says so."""

    def __init__(self) -> None:
        self.seconds: asyncio.Queue[int] = asyncio.Queue()
        self.closed = False

    def give(self, seconds: int) -> None:
        for _ in range(seconds):
            self.seconds.put_nowait(1)

    def end(self) -> None:
        self.seconds.put_nowait(0)

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while await self.seconds.get():
                yield bytes(32_000)
        finally:
            self.closed = True

    def source(self) -> dgnb.BufferSource:
        return dgnb.BufferSource(self.chunks(), encoding="linear16", sample_rate=16000)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script(TEXT)) as server:
        yield server


@pytest.fixture
def tap() -> Tap:
    return Tap()


async def started(server: FaultyServer) -> LiveSession:
    """The session that another task started, once the server knows it."""
    await until(lambda: server.connections)
    return dgnb.sessions()[-1]


def captured(session: LiveSession) -> float:
    """Seconds of audio that were captured, to a tenth."""
    return float(session.report().split(" s captured")[0])


def sent(session: LiveSession, seconds: float) -> bool:
    """Whether that much was sent. The decoder may still hold a tenth of a second."""
    return session.audio_cursor > seconds - 0.11


async def until_stuck(session: LiveSession) -> None:
    """Until the server's buffers are full, and nothing more can be sent."""
    sent = -1.0
    while session.state is not State.OPEN or session.audio_cursor != sent or sent == 0:
        sent = session.audio_cursor
        await asyncio.sleep(0.1)


# transcribe()


async def test_one_line_gives_the_words_with_their_times(server: FaultyServer) -> None:
    transcript = await transcribe(speech(), endpoint=server.url, pace=None)
    assert transcript.text == TEXT
    words = transcript.words
    assert list(words["word"]) == TEXT.split()
    assert words["start"].is_monotonic_increasing
    assert (words["end"] > words["start"]).all()
    assert len(transcript.gaps) == 0
    assert list(transcript.events["type"]) == ["opened", "Metadata", "closed"]


async def test_options_go_by_name_or_as_an_object(server: FaultyServer) -> None:
    await transcribe(speech(), endpoint=server.url, pace=None, smart_format=True, keyterm="dgnb")
    await transcribe(speech(), dgnb.LiveOptions(smart_format=True, keyterm=["dgnb"]), endpoint=server.url, pace=None)
    first, second = (request.query for request in server.requests)
    assert first == second
    assert ("encoding", "linear16") in first
    assert ("sample_rate", "16000") in first


async def test_a_file_is_decoded_whatever_it_is(server: FaultyServer) -> None:
    await transcribe(dgnb.samples.path(), endpoint=server.url, pace=None)
    (connection,) = server.connections
    assert connection.audio_seconds == pytest.approx(47.77, abs=0.05)


async def test_raw_audio_is_read_as_the_options_say(server: FaultyServer) -> None:
    await transcribe(bytes(8000), endpoint=server.url, pace=None, encoding="mulaw", sample_rate=8000)
    assert server.connections[0].audio_seconds == pytest.approx(1.0, abs=0.01)
    assert ("encoding", "linear16") in server.requests[0].query


async def test_how_the_input_is_read_is_no_option_of_the_request(server: FaultyServer) -> None:
    raw: dict[str, Any] = {"encoding": "mulaw", "sample_rate": 8000}
    for arguments in ({"options": dgnb.LiveOptions(**raw)}, {"options": dgnb.LiveOptions(), **raw}, raw):
        session = LiveSession(bytes(8000), endpoint=server.url, pace=None, **arguments)
        assert session.options == dgnb.LiveOptions()
        await session
        assert server.connections[-1].audio_seconds == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ConfigurationError, match="twice"):
        LiveSession(bytes(8000), dgnb.LiveOptions(**raw), endpoint=server.url, **{**raw, "sample_rate": 16_000})


async def test_options_that_name_the_same_input_format_can_be_applied(server: FaultyServer) -> None:
    raw: dict[str, Any] = {"encoding": "linear16", "sample_rate": 8000}
    async with LiveSession(bytes(960_000), endpoint=server.url, pace=4.0, **raw) as session:
        await until(lambda: session.state is State.OPEN)
        with pytest.raises(ConfigurationError, match="how the source is read"):
            await session.apply(dgnb.LiveOptions(encoding="linear16", sample_rate=16000))
        await session.apply(dgnb.LiveOptions(punctuate=True, **raw))
        assert session.options == dgnb.LiveOptions(punctuate=True)
        session.pause()
    assert session.error is None


async def test_a_container_can_be_passed_through_as_it_is(server: FaultyServer) -> None:
    source = dgnb.FileSource(dgnb.samples.path(), decode=False)
    transcript = await transcribe(source, endpoint=server.url, pace=None)
    assert transcript.text == TEXT
    assert "encoding" not in dict(server.requests[0].query)
    assert server.connections[0].bytes_received == dgnb.samples.path().stat().st_size


async def test_multichannel_keeps_the_channels(server: FaultyServer) -> None:
    source = dgnb.BufferSource(bytes(4 * 16000 * 6), encoding="linear16", sample_rate=16000, channels=2)
    transcript = await transcribe(source, endpoint=server.url, pace=None, multichannel=True)
    assert set(transcript.words["channel"]) == {0, 1}
    assert ("channels", "2") in server.requests[0].query


async def test_duration_stops_by_itself_to_the_sample(server: FaultyServer) -> None:
    transcript = await transcribe(speech(), endpoint=server.url, pace=None, duration=2.05)
    assert server.connections[0].bytes_received == round(2.05 * 16000) * 2
    metadata = [message for message in transcript.messages if isinstance(message, Metadata)]
    assert metadata[0].duration == pytest.approx(2.05)


async def test_interims_come_when_asked_for_and_add_no_words(server: FaultyServer) -> None:
    transcript = await transcribe(speech(), endpoint=server.url, pace=None, interim_results=True)
    results = transcript.results
    assert (~results["is_final"]).sum() > 1
    assert transcript.text == TEXT
    assert transcript.interim == ""
    assert results["latency"].dropna().ge(0).all()


async def test_an_option_that_the_server_can_not_do_gives_a_warning(server: FaultyServer) -> None:
    transcript = await transcribe(speech(), endpoint=server.url, pace=None, numerals=True)
    told = transcript.events.query("type == 'warning'")["text"]
    assert told.str.contains("numerals").any()


# Bad input


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"source": ""}, "The source is empty"),
        ({"source": "ftp://host/a.mp3"}, "path, or an http"),
        ({"source": 7}, "not int"),
        ({"smart_fromat": True}, "smart_format"),
        ({"options": ["nova-3"]}, "not list"),
        ({"options": dgnb.LiveOptions(), "punctuate": True}, "not both"),
        ({"duration": 0}, "duration"),
        ({"duration": "30"}, "duration"),
        ({"duration": float("inf")}, "duration"),
        ({"pace": 0}, "pace"),
        ({"duration": True}, "duration"),
        ({"close_timeout": 0}, "close_timeout"),
        ({"endpoint": "deepgram"}, "needs a key"),
        ({"endpoint": "nowhere"}, "endpoint"),
        ({"encoding": "linear16"}, "sample_rate"),
        ({"encoding": "linear16", "sample_rate": 8000, "source": speech()}, "where the source is made"),
    ],
)
async def test_a_wrong_argument_is_refused_before_any_io(arguments: dict[str, Any], told: str) -> None:
    arguments = {"source": "speech.wav", "endpoint": "offline", **arguments}
    with pytest.raises(ConfigurationError) as caught:
        LiveSession(**arguments)
    assert told in str(caught.value)


async def test_a_missing_file_fails_before_a_connection_is_opened(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="There is no file"):
        await transcribe(tmp_path / "missing.wav", endpoint=server.url)
    assert server.requests == []
    session = dgnb.sessions()[-1]
    assert session.state is State.CLOSED
    assert session.transcript.events["type"].tolist() == ["error", "closed"]
    assert len(session.transcript.gaps) == 0


async def test_a_refusal_is_raised_once_and_is_in_the_events(server: FaultyServer) -> None:
    with server.rejecting(401), pytest.raises(AuthenticationError):
        await transcribe(speech(), endpoint=server.url, api_key=CANARY)
    events = dgnb.sessions()[-1].transcript.events
    assert events["type"].tolist() == ["error", "closed"]
    assert events["request_id"][0] == server.requests[0].request_id
    assert not events["text"].str.contains(CANARY).any()


async def test_a_server_that_is_not_there_is_reported_at_once_and_raised_later(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(HandshakeError, match="nothing listens"):
        await transcribe(speech(), endpoint=f"ws://127.0.0.1:{unused_tcp_port}", reconnect=1.0)
    assert "nothing listens" in caplog.messages[0]


async def test_a_server_that_closes_at_once_is_reported(server: FaultyServer) -> None:
    with server.dropping(code=1008, reason="DATA-0000"), pytest.raises(ConnectionLost, match="could not be decoded"):
        await transcribe(speech(), endpoint=server.url)


async def test_a_line_that_goes_dead_keeps_the_words_and_shows_the_gap(server: FaultyServer) -> None:
    with server.dropping(after=5.5), pytest.raises(ConnectionLost):
        await transcribe(speech(60), endpoint=server.url, pace=None, reconnect=False)
    transcript = dgnb.sessions()[-1].transcript
    assert transcript.text == TEXT
    (gap,) = transcript.gaps.itertuples()
    assert gap.start == transcript.transcript_cursor
    assert gap.end > 5.5
    assert "ConnectionLost" in gap.reason


async def test_a_source_that_breaks_off_keeps_what_was_said(server: FaultyServer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(32_000 * 6)
        raise ValueError("unplugged")

    source = dgnb.BufferSource(chunks(), encoding="linear16", sample_rate=16000)
    with pytest.raises(AudioError, match="unplugged"):
        await transcribe(source, endpoint=server.url, pace=None)
    transcript = dgnb.sessions()[-1].transcript
    assert transcript.text == TEXT
    assert len(transcript.gaps) == 0


async def test_a_server_that_never_finishes_is_given_up_after_close_timeout(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None, close_timeout=1.0)
    with server.refusing_to_close(), pytest.raises(CloseTimeout):
        await session
    assert session.transcript.text == TEXT


@pytest.mark.parametrize(
    ("finals", "received", "gaps"),
    [
        (((0.5, 1.5), (4.0, 5.0), (7.9, 8.9)), 9.0, []),
        (((3.0, 4.0),), 9.0, []),  # Five seconds of silence at the end, which the Metadata cover.
        ((), 9.0, []),
        (((3.0, 4.0),), 7.0, [[7.0, 9.0]]),
        (((3.0, 4.0),), None, [[4.0, 9.0]]),
    ],
)
async def test_silence_that_a_server_received_and_left_out_is_no_gap(
    finals: tuple[tuple[float, float], ...], received: float | None, gaps: list[list[float]]
) -> None:
    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, str) and "CloseStream" in message:
                for start, end in finals:
                    words = (Word("word", start, end),)
                    heard = Channel((Alternative("word", words=words),))
                    await connection.send(encode(Results((0, 1), end - start, start, heard, is_final=True)))
                await connection.send(encode(Metadata(duration=received)))
                return

    async with serve(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        silence = np.zeros(9 * 16_000, "int16")
        session = LiveSession(silence, sample_rate=16_000, pace=None, endpoint=f"ws://127.0.0.1:{port}").start()
        await session
    table = session.transcript.gaps
    assert table[["start", "end"]].to_numpy().tolist() == gaps
    assert f"{sum(end - start for start, end in gaps):.1f} s in gaps" in session.report()
    assert session.transcript.word_count == len(finals)


async def test_all_audio_that_a_silent_server_got_is_a_gap(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None, close_timeout=0.05)
    with server.silent(), pytest.raises(CloseTimeout):
        await session
    assert session.transcript.gaps[["start", "end"]].to_numpy().tolist() == [[0.0, SECONDS]]


async def test_the_key_is_shown_nowhere(server: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        session = LiveSession(speech(), endpoint=server.url, api_key=CANARY, pace=None)
        await session
    shown = [repr(session), str(vars(session)), caplog.text, session.transcript.events.to_csv(), repr(server.requests)]
    assert CANARY not in "".join(shown)


# Life cycle


async def test_start_returns_at_once_and_the_transcript_grows(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None, interim_results=True)
    assert session.start() is session
    assert session.start() is session
    assert session.state is State.CONNECTING
    tap.give(2)
    await until(lambda: session.state is State.OPEN)
    await until(lambda: session.transcript.interim)
    assert " s sent" in repr(session)
    tap.give(4)
    await until(lambda: session.transcript.text == TEXT)
    assert session in dgnb.sessions()
    transcript = await session.stop()
    assert transcript is session.transcript
    assert session.state is State.CLOSED
    assert tap.closed


async def test_stop_drains_the_last_words(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(2)
    await until(lambda: sent(session, 2.0))
    transcript = await session.stop()
    assert transcript.transcript_cursor == session.audio_cursor
    assert transcript.text.startswith("one two three")
    assert len(transcript.gaps) == 0


async def test_stopping_twice_and_at_the_same_time_is_no_error(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: session.state is State.OPEN)
    await asyncio.gather(session.stop(), session.stop())
    await session.stop()
    assert len(server.connections) == 1


async def test_a_session_stopped_before_it_started_never_starts(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url)
    await session.stop()
    await session
    session.start()
    assert session.state is State.CLOSED
    assert server.requests == []


async def test_a_session_that_is_stopped_right_after_start_ends(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url).start()
    await session.stop()
    assert session.state is State.CLOSED
    assert server.requests == []


async def test_stopping_while_it_connects_ends_the_attempt(server: FaultyServer) -> None:
    with server.unresponsive():
        session = LiveSession(speech(), endpoint=server.url).start()
        await until(lambda: server.requests)
        await session.stop()
    assert session.error is None
    assert server.connections == []


async def test_stopping_while_the_source_opens_ends_the_attempt(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url).start()
    await asyncio.sleep(0)
    await session.stop()
    assert server.requests == []


async def test_stop_is_bounded_when_the_server_does_not_finish(
    server: FaultyServer, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.stop.DRAIN", 0.05)
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    with server.silent(), pytest.raises(CloseTimeout):
        await session.stop()
    with pytest.raises(CloseTimeout):
        await session


async def test_transcribe_never_returns_a_transcript_that_a_stop_cut_off(server: FaultyServer) -> None:
    task = asyncio.ensure_future(transcribe(speech(60), endpoint=server.url))
    session = await started(server)
    await until(lambda: session.audio_cursor > 1)
    cut_off = await session.stop()
    with pytest.raises(dgnb.SessionStopped, match=r"up to \d\.\d s only: it was stopped") as caught:
        await task
    assert caught.value.transcript is cut_off
    assert cut_off.text.split()[0] == TEXT.split()[0]
    assert session.error is None


@pytest.mark.parametrize("after", [0.0, 1.0])
async def test_a_session_that_is_stopped_while_it_is_awaited_gives_what_it_heard(
    server: FaultyServer, after: float
) -> None:
    session = LiveSession(speech(60), endpoint=server.url)
    task: asyncio.Future[dgnb.Transcript] = asyncio.ensure_future(session)
    await until(lambda: session in dgnb.sessions() and session.audio_cursor >= after)
    await session.stop()
    assert await task is session.transcript


async def test_a_stop_after_all_was_heard_cuts_nothing_off(server: FaultyServer) -> None:
    task = asyncio.ensure_future(transcribe(speech(), endpoint=server.url, pace=None))
    session = await started(server)
    await until(lambda: session.state is State.CLOSED)
    await session.stop()
    assert (await task).text == TEXT


async def test_async_with_stops_at_the_end_of_the_block(server: FaultyServer, tap: Tap) -> None:
    async with LiveSession(tap.source(), endpoint=server.url, pace=None) as session:
        tap.give(6)
        await until(lambda: sent(session, 6.0))
    assert session.state is State.CLOSED
    assert session.transcript.text == TEXT


async def test_an_exception_in_the_block_stops_the_session_and_goes_on(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None)

    async def use() -> None:
        async with session:
            tap.give(1)
            await until(lambda: session.state is State.OPEN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()
    assert session.state is State.CLOSED


async def test_async_for_gives_every_message_from_the_first_on(server: FaultyServer) -> None:
    async with LiveSession(speech(), endpoint=server.url, pace=None, interim_results=True) as session:
        seen = [message async for message in session]
    assert seen == session.transcript.messages
    assert isinstance(seen[-1], Metadata)
    late = [message async for message in session]
    assert late == seen


async def test_async_for_raises_the_error_after_the_last_message(server: FaultyServer) -> None:
    seen = []

    async def use() -> None:
        async for message in LiveSession(speech(60), endpoint=server.url, pace=None, reconnect=False):
            seen.append(message)

    with server.dropping(after=5.5), pytest.raises(ConnectionLost):
        await use()
    assert any(isinstance(message, Results) for message in seen)


async def test_a_paused_file_waits_and_loses_nothing(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=20).start()
    await until(lambda: session.audio_cursor > 1)
    session.pause()
    session.pause()
    assert "paused" in repr(session)
    held = session.audio_cursor
    for _ in range(50):
        await asyncio.sleep(0.002)
    assert session.audio_cursor <= held + 0.1
    session.resume()
    session.resume()
    transcript = await session
    assert transcript.text == TEXT
    assert server.connections[0].audio_seconds == SECONDS
    assert transcript.events["type"].tolist() == ["opened", "paused", "resumed", "Metadata", "closed"]


class Live(dgnb.AudioSource):
    """A tap that goes on whether or not it is read."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def close() -> None: ...

        return Audio(self.tap.chunks(), close, live=True)


@pytest.mark.parametrize("end", ["resumed", "stopped"])
async def test_a_live_source_loses_the_length_of_the_pause_and_says_so(
    server: FaultyServer, tap: Tap, end: str
) -> None:
    """Also where many seconds come at once in the pause, as from a station with segments."""
    session = LiveSession(Live(tap), endpoint=server.url, pace=None).start()
    tap.give(2)
    await until(lambda: session.audio_cursor == 2.0)
    session.pause()
    began = time.monotonic()
    await asyncio.sleep(0.3)
    tap.give(3)
    await until(tap.seconds.empty)
    least, most = 0.3, time.monotonic() - began
    if end == "resumed":
        session.resume()
        tap.give(1)
        await until(tap.seconds.empty)
    taken = captured(session)
    transcript = await session.stop()
    (gap,) = transcript.gaps.query("reason.str.contains('in a pause')").to_dict("records")
    assert gap["start"] == gap["end"] == 2.0
    skipped = (6.0 if end == "resumed" else 5.0) - taken
    assert least - 0.05 <= skipped <= most + 0.05
    assert gap["missed"] == pytest.approx(skipped, abs=0.051)
    assert gap["reason"] == f"{skipped:.1f} s of the live stream were skipped in a pause"
    events = transcript.events.set_index("type")["text"]
    assert gap["reason"] in events["resumed" if end == "resumed" else "warning"]


@pytest.mark.parametrize("at", [0.0, 1.0])
async def test_a_pause_skips_nothing_of_an_iterator(server: FaultyServer, at: float) -> None:
    async def recording() -> AsyncIterator[bytes]:
        for _ in range(60):
            yield bytes(3200)

    source = dgnb.BufferSource(recording(), encoding="linear16", sample_rate=16000)
    session = LiveSession(source, endpoint=server.url, pace=20.0).start()
    await until(lambda: session.audio_cursor >= at)
    session.pause()
    await asyncio.sleep(0.3)
    held = session.audio_cursor
    assert held < at + 3
    session.resume()
    transcript = await session
    assert session.audio_cursor == captured(session) == 6.0
    assert transcript.gaps.empty


async def test_a_pause_skips_nothing_of_a_queue_that_is_filled_meanwhile(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: session.audio_cursor > 0.5)
    session.pause()
    tap.give(4)
    await asyncio.sleep(0.2)
    tap.end()
    session.resume()
    transcript = await session
    assert session.audio_cursor == 5.0
    assert transcript.gaps.empty


async def test_stopping_while_paused_ends_it(server: FaultyServer) -> None:
    session = LiveSession(speech(60), endpoint=server.url, pace=20).start()
    await until(lambda: session.audio_cursor > 1)
    session.pause()
    transcript = await session.stop()
    assert transcript.transcript_cursor == pytest.approx(session.audio_cursor)


async def test_audio_is_sent_at_the_pace_asked_for(server: FaultyServer) -> None:
    began = time.monotonic()
    await transcribe(speech(4), endpoint=server.url, pace=10)
    assert time.monotonic() - began > 0.3


# Waiting, interrupts, other threads


async def test_cancelling_a_wait_leaves_the_session_running(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    waiting = asyncio.ensure_future(session)
    tap.give(2)
    await until(lambda: session.state is State.OPEN)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert session.state is State.OPEN
    tap.give(4)
    await until(lambda: sent(session, 6.0))
    assert (await session.stop()).text == TEXT


async def test_cancelling_transcribe_ends_it_within_half_a_second_and_keeps_the_words(
    server: FaultyServer, tap: Tap
) -> None:
    running = asyncio.ensure_future(transcribe(tap.source(), endpoint=server.url, pace=None))
    tap.give(6)
    session = await started(server)
    await until(lambda: sent(session, 6.0))
    began = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 0.5
    assert session is dgnb.sessions()[-1]
    await session
    assert session.transcript.text == TEXT


async def test_cancelling_transcribe_does_not_wait_for_a_server_that_does_not_finish(
    server: FaultyServer, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.stop.DRAIN", 0.6)
    with server.silent():
        running = asyncio.ensure_future(transcribe(tap.source(), endpoint=server.url, pace=None))
        tap.give(1)
        session = await started(server)
        await until(lambda: sent(session, 1.0))
        began = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.monotonic() - began < 0.5
        assert session.state is State.CLOSING
        with pytest.raises(CloseTimeout):
            await session


async def test_the_loop_wakes_every_tenth_of_a_second_while_a_cell_waits(server: FaultyServer, tap: Tap) -> None:
    """A kernel's interrupt is seen when the loop next wakes, also with a silent source."""
    session = LiveSession(tap.source(), endpoint=server.url).start()
    loop = asyncio.get_running_loop()
    timeouts: list[float] = []
    select = loop._selector.select  # type: ignore[attr-defined]

    def watched(timeout: float | None = None) -> Any:
        timeouts.append(10.0 if timeout is None else timeout)
        return select(timeout)

    loop._selector.select = watched  # type: ignore[attr-defined]
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.35):
                await session
    finally:
        loop._selector.select = select  # type: ignore[attr-defined]
    assert max(timeouts) <= 0.11
    await session.stop()


async def test_a_session_can_be_stopped_and_awaited_from_another_thread(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(6)
    await until(lambda: sent(session, 6.0))
    texts: list[str] = []

    def elsewhere() -> None:
        async def stop() -> None:
            texts.append((await session.stop()).text)

        asyncio.run(stop())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await until(lambda: not thread.is_alive())
    thread.join()
    assert texts == [TEXT]


def test_a_session_needs_a_loop_to_run_in() -> None:
    session = LiveSession(speech(), endpoint="offline")
    with pytest.raises(ConfigurationError, match="No event loop runs here"):
        session.start()
    assert "not started" in repr(session)


def test_a_loop_that_ends_closes_its_sessions_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> LiveSession:
        async with FaultyServer(Script(TEXT)) as server:
            session = LiveSession(speech(60), endpoint=server.url).start()
            await until(lambda: session.state is State.OPEN)
            return session

    session = asyncio.run(main())
    assert session.state is State.CLOSED
    assert isinstance(session.error, ConnectionLost)


async def test_an_error_that_nobody_awaits_is_logged_once(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.rejecting(402):
        session = LiveSession(speech(), endpoint=server.url).start()
        await until(lambda: session.state is State.CLOSED)
    assert [record.levelname for record in caplog.records if record.name == "dgnb"] == ["ERROR"]
    assert "no credit" in caplog.text
    assert await session.stop() is session.transcript
    with pytest.raises(HandshakeError):
        await session


async def test_an_error_that_somebody_awaits_is_not_logged_as_well(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.rejecting(402), pytest.raises(HandshakeError):
        await transcribe(speech(), endpoint=server.url)
    assert [record for record in caplog.records if record.name == "dgnb"] == []


async def test_an_error_that_is_not_dgnbs_is_raised_unchanged(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(dgnb.AudioSource):
        async def open(self, *, multichannel: bool = False) -> Any:
            raise KeyError("odd")

    with pytest.raises(KeyError, match="odd"):
        await transcribe(Odd(), endpoint=server.url)


async def test_two_sessions_at_a_time_do_not_mix(server: FaultyServer) -> None:
    first, second = await asyncio.gather(
        transcribe(speech(2), endpoint=server.url, pace=None), transcribe(speech(6), endpoint=server.url, pace=None)
    )
    assert first.text != TEXT
    assert second.text == TEXT


async def test_every_error_of_a_source_is_a_dgnb_error(server: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "page.wav").write_text("<html>not audio</html>")
    for source in (tmp_path, tmp_path / "page.wav", tmp_path / "none"):
        with pytest.raises(DgnbError):
            await transcribe(source, endpoint=server.url)


async def test_an_array_needs_no_encoding(server: FaultyServer) -> None:
    await transcribe(np.zeros(8_000, "float32"), sample_rate=8_000, endpoint=server.url, pace=None)
    assert server.connections[0].audio_seconds == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ConfigurationError, match="sample_rate=16000"):
        await transcribe(np.zeros(8_000, "int16"), endpoint=server.url)


async def test_a_pause_before_it_is_open_holds_the_audio_back_too(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None).start()
    session.pause()
    await until(lambda: session.state is State.OPEN)
    assert session.paused
    session.resume()
    assert (await session).text == TEXT


async def test_the_level_is_the_peak_of_the_newest_audio(server: FaultyServer) -> None:
    loud = LiveSession(dgnb.samples.path(), endpoint=server.url, pace=None, duration=2)
    assert loud.level is None
    await loud
    assert loud.level is not None
    assert -30 < loud.level < 0
    quiet = LiveSession(speech(1), endpoint=server.url, pace=None)
    await quiet
    assert quiet.level == float("-inf")


# Errors and edge cases


async def test_a_source_that_fails_is_reported_even_when_the_server_does_not_finish(server: FaultyServer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(32_000 * 2)
        raise ValueError("unplugged")

    source = dgnb.BufferSource(chunks(), encoding="linear16", sample_rate=16000)
    session = LiveSession(source, endpoint=server.url, pace=None, close_timeout=0.05)
    with server.silent(), pytest.raises(AudioError, match="unplugged"):
        await session
    assert session.transcript.events["text"].str.contains("did not finish in time").any()


async def test_an_error_is_logged_when_only_a_finalize_was_waited_for(
    server: FaultyServer, tap: Tap, caplog: pytest.LogCaptureFixture
) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None, reconnect=False).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    with server.silent(), server.dropping(after=2.0):
        finalizing = asyncio.ensure_future(session.finalize())
        await asyncio.sleep(0)
        tap.give(3)
        assert await finalizing is False
        await until(lambda: session.state is State.CLOSED)
    assert "went dead" in caplog.text


async def test_stop_does_not_raise_an_error_that_was_raised_before(server: FaultyServer) -> None:
    with server.rejecting(402):
        session = LiveSession(speech(), endpoint=server.url).start()
        for _ in range(3):
            with pytest.raises(HandshakeError) as caught:
                await session
            depth = len(traceback.extract_tb(caught.value.__traceback__))
    assert depth < 20
    assert await session.stop() is session.transcript


async def test_a_session_can_be_started_and_paused_from_another_thread(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None)
    await asyncio.to_thread(session.start)
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    await asyncio.to_thread(session.pause)
    await until(lambda: session.paused)
    await asyncio.to_thread(session.resume)
    await until(lambda: not session.paused)
    await session.stop()


async def test_a_closed_session_is_neither_paused_nor_resumed(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    session.pause()
    await session.stop()
    assert not session.paused
    session.resume()
    assert session.transcript.events["type"].iloc[-1] == "closed"


async def test_stopping_while_the_old_connection_closes_opens_no_new_one(
    server: FaultyServer, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, closing = dgnb.Connection.close, asyncio.Event()

    async def slowly(connection: dgnb.Connection) -> None:
        closing.set()
        try:
            await asyncio.sleep(0.1)
        finally:
            await close(connection)

    monkeypatch.setattr(dgnb.Connection, "close", slowly)
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    applying = asyncio.ensure_future(session.apply(dgnb.LiveOptions(punctuate=True)))
    await closing.wait()
    assert session.state is State.CONNECTING
    await session.stop()
    with pytest.raises(ConfigurationError, match="ended before"):
        await applying
    assert len(server.requests) == 1


async def test_an_observer_may_unobserve_itself_and_raise(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None)

    def observer(message: object) -> None:
        session.transcript.unobserve(observer)
        raise ValueError("odd")

    session.transcript.observe(observer)
    assert (await session).text == TEXT


async def test_stop_does_not_wait_for_a_server_that_stays_open_after_metadata(tap: Tap) -> None:
    async def handler(socket: ServerConnection) -> None:
        async for frame in socket:
            if frame == '{"type":"CloseStream"}':
                await socket.send('{"type":"Metadata","request_id":"r","duration":1.0,"channels":1}')
                await stopped.wait()

    stopped = asyncio.Event()

    async with serve(handler, "127.0.0.1", 0, close_timeout=0.1) as plain:
        port = plain.sockets[0].getsockname()[1]
        session = LiveSession(tap.source(), endpoint=f"ws://127.0.0.1:{port}", pace=None).start()
        tap.give(1)
        await until(lambda: sent(session, 1.0))
        began = time.monotonic()
        await session.stop()
        assert time.monotonic() - began < 2
        stopped.set()


async def test_stop_is_bounded_when_the_server_reads_no_more(deaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgnb.session.stop.DRAIN", 0.3)
    session = LiveSession(speech(600), endpoint=deaf, pace=None).start()
    await until_stuck(session)
    began = time.monotonic()
    with pytest.raises(CloseTimeout):
        await session.stop()
    assert time.monotonic() - began < 3


async def test_stop_ends_a_change_that_waits_for_a_server_that_reads_no_more(
    deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.stop.DRAIN", 0.3)
    session = LiveSession(speech(600), endpoint=deaf, pace=None).start()
    await until_stuck(session)
    applying = asyncio.ensure_future(session.apply(dgnb.LiveOptions(punctuate=True)))
    await asyncio.sleep(0)
    with pytest.raises(CloseTimeout):
        await session.stop()
    with pytest.raises(ConfigurationError, match="ended before"):
        await applying


async def test_stop_of_a_session_whose_loop_was_closed_returns() -> None:
    def elsewhere() -> LiveSession:
        loop = asyncio.new_event_loop()

        def never_begun(work: Any, name: str) -> Any:
            work.close()
            return loop.create_future()

        async def begin() -> LiveSession:
            loop.create_task = never_begun  # type: ignore[method-assign]
            return LiveSession(speech(), endpoint="offline").start()

        session = loop.run_until_complete(begin())
        loop.close()
        return session

    session = await asyncio.to_thread(elsewhere)
    assert session.state is State.CONNECTING
    with pytest.raises(ConnectionLost, match="event loop"):
        await session.stop()
    assert session.state is State.CLOSED

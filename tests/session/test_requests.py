"""What an open session asks its server for: to finish what it has heard, and other options."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import dgnb
from dgnb import LiveSession, State
from dgnb.exceptions import ConfigurationError, HandshakeError
from dgnb.loopback import Script
from tests.session.test_session import TEXT, Tap, sent
from tests.support.faulty import FaultyServer
from tests.support.speech import speech
from tests.support.waiting import until


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script(TEXT)) as server:
        yield server


@pytest.fixture
async def open_session(server: FaultyServer, tap: Tap) -> AsyncIterator[LiveSession]:
    """A session that has sent its first second."""
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    yield session
    await session.stop()


@pytest.fixture
def tap() -> Tap:
    return Tap()


async def test_finalize_says_whether_it_was_confirmed(
    server: FaultyServer, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    with pytest.raises(ConfigurationError, match="open session"):
        await session.finalize()
    tap.give(2)
    await until(lambda: sent(session, 2.0))
    assert await session.finalize() is True
    assert session.transcript.transcript_cursor == session.audio_cursor
    monkeypatch.setattr("dgnb.session.requests._ANSWER", 0.02)
    with server.silent():
        assert await session.finalize() is False
    await session.stop()


# Options that change while it runs


async def test_other_options_open_a_new_connection_in_the_same_transcript(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(6)
    await until(lambda: sent(session, 6.0) and session.transcript.text)
    await session.apply(dgnb.LiveOptions(smart_format=True, interim_results=True))
    assert session.options.smart_format
    tap.give(6)
    await until(lambda: sent(session, 12.0))
    transcript = await session.stop()
    first, second = server.connections
    assert first.close_code == second.close_code == 1000
    cut = transcript.results.query("connection == 0 and is_final")["end"].max()
    assert second.audio_seconds == pytest.approx(session.audio_cursor - cut)
    words = transcript.words
    assert list(words["word"]) == TEXT.split() * 2
    assert words["start"].is_monotonic_increasing
    again = words["start"][10:] - cut
    assert again.to_numpy() == pytest.approx(words["start"][:10].to_numpy(), abs=0.001)
    assert transcript.transcript_cursor == pytest.approx(session.audio_cursor)
    assert len(transcript.gaps) == 0
    assert set(transcript.results["connection"]) == {0, 1}
    assert "changed" in set(transcript.events["type"])


async def test_a_change_of_options_cuts_where_a_final_ended(server: FaultyServer) -> None:
    session = LiveSession(speech(20), endpoint=server.url, pace=20).start()
    for smart_format in (True, False, True):
        await until(lambda: session.state is State.OPEN)
        await session.apply(dgnb.LiveOptions(smart_format=smart_format))
    await session
    assert len(server.connections) == 4
    finals = session.transcript.results.query("is_final").groupby("connection")
    begins, ends = finals["start"].min(), finals["end"].max()
    assert ends.iloc[-1] == pytest.approx(20)
    for number in list(ends.index)[1:]:
        assert begins[number] == pytest.approx(ends[: number - 1].max())
    assert len(session.transcript.gaps) == 0


async def test_options_that_the_server_refuses_leave_the_stream_as_it_was(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    with server.rejecting(400, "No such model.", times=1), pytest.raises(HandshakeError, match="No such model"):
        await session.apply(dgnb.LiveOptions(model="nova-2"))
    # The refusal is told at once. The connection with the old options may take a little longer.
    await until(lambda: session.state is State.OPEN)
    assert session.options.model == "nova-3"
    tap.give(5)
    await until(lambda: sent(session, 6.0))
    transcript = await session.stop()
    assert transcript.transcript_cursor == pytest.approx(session.audio_cursor)


async def test_options_are_applied_to_an_open_session_only(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None)
    options = dgnb.LiveOptions(punctuate=True)
    with pytest.raises(ConfigurationError, match="open session"):
        await session.apply(options)
    session.start()
    tap.give(1)
    await until(lambda: session.state is State.OPEN)
    with pytest.raises(ConfigurationError, match="start a new session"):
        await session.apply(dgnb.LiveOptions(multichannel=True))
    await session.apply(session.options)
    assert len(server.connections) == 1
    await session.stop()
    with pytest.raises(ConfigurationError, match="open session"):
        await session.apply(options)


async def test_stopping_while_options_change_ends_it(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    with server.unresponsive():
        applying = asyncio.ensure_future(session.apply(dgnb.LiveOptions(punctuate=True)))
        await until(lambda: len(server.requests) == 2)
        await session.stop()
        with pytest.raises(ConfigurationError, match="ended before"):
            await applying
    assert session.transcript.transcript_cursor == pytest.approx(session.audio_cursor)


async def test_cancelling_apply_takes_the_change_back(server: FaultyServer, tap: Tap) -> None:
    session = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    tap.give(1)
    await until(lambda: sent(session, 1.0))
    with server.unresponsive(times=1):
        applying = asyncio.ensure_future(session.apply(dgnb.LiveOptions(punctuate=True)))
        await until(lambda: len(server.requests) == 2)
        applying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await applying
        await session.stop()
    assert session.error is None
    assert not session.options.punctuate


async def test_a_container_that_is_passed_through_keeps_its_options(server: FaultyServer) -> None:
    session = LiveSession(dgnb.FileSource(dgnb.samples.path(), decode=False), endpoint=server.url, pace=4.0).start()
    await until(lambda: session.audio_cursor > 6)
    with pytest.raises(ConfigurationError, match="decode=False"):
        await session.apply(dgnb.LiveOptions(punctuate=True))
    await session.stop()


async def test_one_change_at_a_time(server: FaultyServer, open_session: LiveSession) -> None:
    with server.unresponsive(times=1):
        first = asyncio.ensure_future(open_session.apply(dgnb.LiveOptions(punctuate=True)))
        await asyncio.sleep(0)
        with pytest.raises(ConfigurationError, match="Another change is under way"):
            await open_session.apply(dgnb.LiveOptions(smart_format=True))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await open_session.stop()


async def test_options_are_applied_in_the_loop_of_the_session(open_session: LiveSession) -> None:
    with pytest.raises(ConfigurationError, match="another one runs"):
        await asyncio.to_thread(asyncio.run, open_session.apply(dgnb.LiveOptions(punctuate=True)))

"""A replay gives what a saved session holds, at its times, and adds nothing to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb import ConfigurationError, DgnbError, State, Transcript
from dgnb.messages import Results, UtteranceEnd
from tests.support.sim.faults import plan
from tests.support.sim.loop import VirtualLoop
from tests.support.sim.run import run as simulated
from tests.support.waiting import until
from tests.transcript.test_journal import assert_same, written
from tests.transcript.test_transcript import everything, result, said

SECOND = 10**9


def turned(work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` gives on a loop whose clock never waits."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def talk(*moments: float) -> Transcript:
    """A transcript with one word at each moment (s), in a final that comes at once."""
    transcript = Transcript()
    transcript.note("opened", "to somewhere", at=1)
    for moment in moments:
        at = 1 + round(moment * SECOND)
        transcript.feed(result(moment, 0.5, said("well", start=moment)), at=at, audio_cursor=moment + 0.5)
    return transcript


async def arrivals(session: dgnb.LiveSession) -> list[float]:
    loop, times = asyncio.get_running_loop(), []
    began = loop.time()
    async for _ in session:
        times.append(round(loop.time() - began, 3))
    return times


# What it gives


@pytest.mark.parametrize("speed", [None, 0.5, 7])
@pytest.mark.parametrize("seed", range(12))
def test_a_replayed_session_with_faults_has_the_tables_of_the_loaded_one(
    seed: int, speed: float | None, tmp_path: Path
) -> None:
    simulated(plan(seed)).session.transcript.save(tmp_path / "talk.jsonl")
    saved = Transcript.load(tmp_path / "talk.jsonl")

    async def twice() -> list[Transcript]:
        return [await dgnb.replay(saved, speed) for _ in range(2)]

    first, second = turned(twice())
    assert_same(first, saved)
    assert_same(second, first)
    first.save(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "talk.jsonl").read_bytes()


async def test_files_and_journals_are_replayed_with_messages_of_any_kind(tmp_path: Path) -> None:
    transcript = everything()
    transcript.save(tmp_path / "talk.jsonl")
    assert_same(await dgnb.replay(tmp_path / "talk.jsonl", speed=None), transcript)
    loaded = written(tmp_path / "journal.jsonl", transcript)
    assert_same(await dgnb.replay(str(tmp_path / "journal.jsonl"), speed=1e9), loaded)
    assert_same(await dgnb.replay(Transcript(), speed=None), Transcript())


async def test_a_journal_that_breaks_off_is_replayed_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, talk(0, 1, 2))
    path.write_bytes(path.read_bytes()[:-30])
    assert (await dgnb.replay(path, speed=None)).word_count == 2


def test_notes_and_gaps_come_at_their_place() -> None:
    saved = talk(0, 1, 2, 3)
    saved.note("paused", "at 1.5 s", at=1 + int(1.2 * SECOND))
    saved.add_gap(1.0, 2.5, "because")

    async def steps() -> list[tuple[int, int]]:
        session, steps = dgnb.replay(saved), []
        async for _ in session:
            steps.append((len(session.transcript.events), len(session.transcript.gaps)))
        return steps

    assert turned(steps()) == [(1, 0), (1, 0), (2, 1), (2, 1)]


# When it gives it


@pytest.mark.parametrize(("speed", "times"), [(1, [0, 1.5, 4]), (2.0, [0, 0.75, 2]), (0.1, [0, 15, 40])])
def test_messages_come_at_the_distances_at_which_they_came(speed: float, times: list[float]) -> None:
    assert turned(arrivals(dgnb.replay(talk(0, 1.5, 4), speed))) == times


def test_a_night_without_messages_takes_ten_seconds_and_a_clock_set_back_none() -> None:
    saved = talk(0, 30_000, 30_001)
    saved.feed(UtteranceEnd((0, 1), 0.4), at=5)
    assert turned(arrivals(dgnb.replay(saved))) == [0, 10, 11, 11]


def test_a_pause_holds_it_and_takes_no_message() -> None:
    async def paused() -> tuple[list[float], dgnb.LiveSession]:
        session = dgnb.replay(talk(0, 1, 2))
        loop = asyncio.get_running_loop()
        loop.call_later(0.25, session.pause)
        loop.call_later(5.25, session.resume)
        loop.call_later(3.0, lambda: states.append((session.paused, session.audio_cursor)))
        return await arrivals(session), session

    states: list[tuple[bool, float]] = []
    times, session = turned(paused())
    assert times == pytest.approx([0, 6, 7], abs=0.11)
    assert states == [(True, 0.5)]
    assert_same(session.transcript, talk(0, 1, 2))


async def test_at_full_speed_the_loop_has_its_turns() -> None:
    saved, turns = talk(*range(3_000)), 0
    session = dgnb.replay(saved, speed=None).start()
    while session.state is not State.CLOSED:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 3_000 / 32
    assert session.transcript.word_count == 3_000


# As a session


async def test_it_looks_and_ends_as_a_session_does(tmp_path: Path) -> None:
    talk(0, 5, 10).save(tmp_path / "talk.jsonl")
    session = dgnb.replay(tmp_path / "talk.jsonl")
    assert repr(session) == "<LiveSession not started: talk.jsonl, 0.0 s sent, <Transcript: 0 words in 0.0 s>>"
    async with session:
        await until(lambda: session.transcript.word_count)
        assert session in dgnb.sessions()
        assert (session.state, session.length, session.audio_cursor) == (State.OPEN, 10.5, 0.5)
        assert not await session.wait(0.001)
        for request in (session.finalize(), session.apply(dgnb.LiveOptions(smart_format=True))):
            with pytest.raises(ConfigurationError, match="and no replay"):
                await request
    assert session.state is State.CLOSED
    assert session.transcript.word_count == 1
    assert session.error is None
    assert await session is session.transcript
    assert "no server: a replay" in str(session.endpoint)
    with pytest.raises(ConfigurationError, match=r"make another one with dgnb\.replay"):
        session.retry()


async def test_cancelling_an_await_leaves_it_running() -> None:
    session = dgnb.replay(talk(0, 9))
    waiting = asyncio.ensure_future(session)
    await until(lambda: session.transcript.word_count)
    names = {task.get_name() for task in asyncio.all_tasks()}
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert "dgnb: session a transcript" in names
    assert session.state is State.OPEN
    assert await session.stop() is session.transcript


async def test_a_file_that_breaks_off_is_the_error_of_the_replay(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    talk(0, 1, 2).save(path)
    path.write_bytes(path.read_bytes()[:-1])
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    session = dgnb.replay(path, speed=None)
    with pytest.raises(DgnbError, match="is cut short"):
        await session
    assert session.error is not None


async def test_observers_are_told_of_each_message() -> None:
    session, told = dgnb.replay(talk(0, 1), speed=None), []
    session.transcript.observe(told.append)
    await session
    assert [type(message) for message in told] == [Results, Results]

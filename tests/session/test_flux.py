"""Sessions with Flux: turns, what ends them, and what becomes of them when a connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import dgnb
from dgnb import FluxOptions, LiveSession, Transcript, transcribe
from dgnb.audio import Audio, AudioSource
from dgnb.exceptions import ConnectionLost
from dgnb.session.retry import Backoff
from tests.session.test_reconnect import AtOnce, kinds, told
from tests.support.flux import Flux, samples, talk
from tests.support.waiting import until
from tests.transcript.test_journal import TABLES

ONE, TWO = ("One two three.", 0.5, 1.4), ("Four five six.", 3.0, 3.9)
TEXT = "One two three. Four five six."


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "random", AtOnce())


@pytest.fixture
async def flux() -> AsyncIterator[Flux]:
    async with Flux(ONE, TWO).serving() as flux:
        yield flux


class Part(AudioSource):
    """The audio of `talk`, in parts that the test gives."""

    name = "parts"

    def __init__(self, seconds: float) -> None:
        self.audio, self.parts = samples(seconds), asyncio.Queue[float]()
        self.given = 0.0

    def give(self, until: float) -> None:
        """Give what comes before so many seconds."""
        self.parts.put_nowait(until)

    async def chunks(self) -> AsyncIterator[bytes]:
        while end := await self.parts.get():
            yield self.audio[round(self.given * 32_000) : round(end * 32_000)]
            self.given = end

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def close() -> None: ...

        return Audio(self.chunks(), close)


def begun(part: Part, flux: Flux, options: FluxOptions | None = None) -> LiveSession:
    return LiveSession(part, options or FluxOptions(), endpoint=flux.url, pace=None).start()


def starts(transcript: Transcript) -> list[float]:
    return [round(start, 2) for start in transcript.words["start"]]


STARTS = [0.5, 0.8, 1.1, 3.0, 3.3, 3.6]


async def test_turns_become_words_and_frames_are_80_ms_long(flux: Flux, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    transcript = await transcribe(talk(5), model="flux-general-en", endpoint=flux.url, pace=None, journal=path)
    assert (transcript.text, starts(transcript)) == (TEXT, STARTS)
    assert transcript.turns["trigger"].tolist() == ["model", "model"]
    assert transcript.gaps.empty
    assert set(flux.frames[0][:-1]) == {2560}
    assert flux.texts == [[{"type": "CloseStream"}]]
    for again in (Transcript.load(path), await dgnb.replay(path, speed=None)):
        for name in (*TABLES, "turns"):
            assert getattr(again, name).equals(getattr(transcript, name)), name


async def test_the_end_of_the_source_ends_the_turn_and_keeps_what_comes_after_it(flux: Flux) -> None:
    flux.slow = 0.02
    transcript = await transcribe(talk(3.95), FluxOptions(), endpoint=flux.url, pace=None)
    assert [text["type"] for text in flux.texts[0]] == ["ForceEndTurn", "CloseStream"]
    assert (transcript.text, starts(transcript)) == (TEXT, STARTS)
    # The last word ends between two updates: it is in none before the close.
    assert transcript.turns["trigger"].tolist() == ["model", "manual", "unfinished"]
    assert transcript.turns["transcript"].tolist() == ["One two three.", "Four five", "six."]
    assert kinds_of(transcript).count("turn_unfinished") == 1
    assert transcript.gaps.empty


def kinds_of(transcript: Transcript) -> list[str]:
    return list(transcript.events["type"])


@pytest.mark.parametrize("at", [0.9, 1.1, 2.0, 3.5])
async def test_a_lost_connection_is_replayed_from_the_last_end_of_turn(flux: Flux, at: float) -> None:
    flux.drops_at = at
    session = LiveSession(talk(5), FluxOptions(), endpoint=flux.url, pace=None)
    transcript = await session
    assert (transcript.text, starts(transcript)) == (TEXT, STARTS)
    assert transcript.turns["turn"].tolist() == [0, 1]
    assert kinds(session).count("opened") == 2
    assert "turn_unfinished" not in kinds(session)


async def test_a_turn_whose_connection_is_the_last_one_is_kept(flux: Flux) -> None:
    flux.drops_at = 3.75
    session = LiveSession(talk(5), FluxOptions(), endpoint=flux.url, pace=None, reconnect=False)
    with pytest.raises(ConnectionLost):
        await session
    transcript = session.transcript
    assert transcript.text == "One two three. Four five"
    assert transcript.turns["trigger"].tolist() == ["model", "unfinished"]
    assert "turn_unfinished" in kinds(session)
    assert transcript.gaps["start"].tolist() == pytest.approx([3.6], abs=0.02)
    # It goes on there, and nothing comes twice.
    await session.retry()
    assert starts(transcript) == STARTS


async def test_a_server_that_hears_no_more_is_left_and_the_audio_sent_again(
    flux: Flux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.link._STALLED", 1.0)
    flux.stalls_at = 3.5
    session = LiveSession(talk(8), FluxOptions(), endpoint=flux.url, pace=4.0)
    transcript = await session
    assert "the server heard no more of it" in told(session, "reconnecting")[0]
    assert (transcript.text, starts(transcript)) == (TEXT, STARTS)


async def test_silence_between_turns_needs_no_memory(flux: Flux) -> None:
    part = Part(40)
    session = begun(part, flux)
    part.give(40)
    await until(lambda: session.audio_cursor > 39.9 and session.pending < 2.5)
    part.give(0)
    transcript = await session
    assert (transcript.text, transcript.gaps.empty) == (TEXT, True)


async def test_finalize_ends_the_turn_and_says_whether_there_was_one(flux: Flux) -> None:
    part = Part(5)
    session = begun(part, flux)
    part.give(1.28)
    await until(lambda: session.transcript.interim == "One two")
    assert await session.finalize() is True
    assert session.transcript.text == "One two"
    assert await session.finalize() is False
    part.give(5)
    part.give(0)
    transcript = await session
    assert transcript.turns["trigger"].tolist() == ["manual", "model", "model"]
    assert starts(transcript) == STARTS


async def test_a_pause_ends_the_turn_and_sends_nothing_until_it_is_over(flux: Flux) -> None:
    part = Part(5)
    session = begun(part, flux)
    part.give(1.28)
    await until(lambda: session.transcript.interim == "One two")
    session.pause()
    await until(lambda: session.transcript.text == "One two")
    session.resume()
    part.give(5)
    part.give(0)
    transcript = await session
    assert [text["type"] for text in flux.texts[0]] == ["ForceEndTurn", "CloseStream"]
    assert starts(transcript) == STARTS

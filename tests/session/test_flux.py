"""Sessions with Flux: turns, what ends them, and what becomes of them when a connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment

import dgnb
from dgnb import FluxOptions, LiveSession, Transcript, transcribe
from dgnb.audio import Audio, AudioSource
from dgnb.exceptions import ConfigurationError, ConnectionLost
from dgnb.loopback import Script
from dgnb.session.retry import Backoff
from tests.session.test_reconnect import AtOnce, kinds, told
from tests.support.faulty import FaultyServer
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


# Options that change


async def test_thresholds_terms_and_hints_change_without_another_connection(flux: Flux) -> None:
    part = Part(5)
    session = begun(part, flux, FluxOptions(model="flux-general-multi", keyterm=["Oder"]))
    part.give(1.04)
    await until(lambda: session.transcript.interim)
    new = FluxOptions(model="flux-general-multi", eot_threshold=0.9, eager_eot_threshold=0.5, language_hint=["de"])
    await session.apply(new)
    assert session.options == new
    thresholds = {"eager_eot_threshold": 0.5, "eot_threshold": 0.9, "eot_timeout_ms": 5000}
    assert flux.texts == [[{"keyterms": [], "thresholds": thresholds, "language_hints": ["de"]}]]
    # Configure can't switch eager ends of turns off: another connection does, at the end of the turn.
    plain = FluxOptions(model="flux-general-multi", eot_threshold=0.9, language_hint=["de"], keyterm=["a"])
    change = asyncio.ensure_future(session.apply(plain))
    part.give(2.5)
    await change
    assert flux.queries[1] == {"model": "flux-general-multi", "eot_threshold": "0.9", "keyterm": "a"} | {
        "language_hint": "de",
        "encoding": "linear16",
        "sample_rate": "16000",
    }
    part.give(5)
    part.give(0)
    assert starts(await session) == STARTS
    assert kinds(session).count("changed") == 2


async def test_a_change_that_is_refused_leaves_the_old_options_and_quotes_the_server(flux: Flux) -> None:
    flux.refuses = "eot_threshold is too high"
    part = Part(5)
    session = begun(part, flux)
    part.give(1.04)
    await until(lambda: session.transcript.interim)
    with pytest.raises(ConfigurationError, match="INVALID: eot_threshold is too high"):
        await session.apply(FluxOptions(eot_threshold=0.9))
    assert session.options == FluxOptions()
    part.give(5)
    part.give(0)
    assert starts(await session) == STARTS
    assert "ConfigureFailure" in kinds(session)


async def test_a_change_without_an_answer_opens_another_connection_at_the_end_of_the_turn(
    flux: Flux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.requests._CONFIGURED", 0.1)
    flux.refuses = ""
    part = Part(5)
    session = begun(part, flux)
    part.give(1.04)
    await until(lambda: session.transcript.interim)
    change = asyncio.ensure_future(session.apply(FluxOptions(eot_threshold=0.9)))
    await until(lambda: flux.texts[0])
    with pytest.raises(ConfigurationError, match="Another change"):
        await session.apply(FluxOptions(eot_threshold=0.8))
    part.give(2.5)
    await change
    assert flux.queries[1]["eot_threshold"] == "0.9"
    assert session.transcript.turns["trigger"].tolist() == ["model"]
    part.give(5)
    part.give(0)
    assert starts(await session) == STARTS


async def test_a_gap_is_filled_with_the_turns_of_its_sound(flux: Flux) -> None:
    transcript = Transcript()
    transcript.audio = talk(5)
    transcript.add_gap(2.0, 5.0, "lost")
    await dgnb.fill_gaps(transcript, FluxOptions(), endpoint=flux.url, pace=None)
    assert (transcript.turns["transcript"].tolist(), transcript.gaps.empty) == (["Four five six."], True)
    assert starts(transcript) == STARTS[3:]


# What Flux does not take, and the official client


def test_audio_is_sent_no_faster_than_the_service_takes_it() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Flux takes audio at 1\.25 times real time at most: leave out pace=4"
    ):
        LiveSession(talk(1), FluxOptions(), endpoint="deepgram", api_key="k", pace=4)


@pytest.mark.parametrize(("form", "why"), [((22_050, 1), "sample_rate=22050"), ((16_000, 2), "one channel")])
async def test_raw_audio_of_another_form_is_an_error_and_a_decoded_one_is_resampled(
    flux: Flux, tmp_path: Path, form: tuple[int, int], why: str
) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(88_200))
    raw: dict[str, Any] = {"encoding": "linear16", "sample_rate": form[0], "channels": form[1]}
    with pytest.raises(ConfigurationError, match=why):
        await transcribe(dgnb.FileSource(tmp_path / "a.raw", decode=False, **raw), FluxOptions(), endpoint=flux.url)
    assert flux.queries == []
    await transcribe(dgnb.FileSource(tmp_path / "a.raw", **raw), FluxOptions(), endpoint=flux.url, pace=None)
    assert flux.queries[0]["sample_rate"] == "16000"


@pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")
async def test_the_official_client_and_dgnb_hear_the_same_turns() -> None:
    async with FaultyServer(Script("Hello world. How are you? Fine.", gap=2), token="secret") as server:
        here = DeepgramClientEnvironment(base="", production=server.url, agent=server.url, agent_rest="")
        sdk = AsyncDeepgramClient(api_key="secret", environment=here)
        raw = {"encoding": "linear16", "sample_rate": 16_000}
        async with sdk.listen.v2.connect(model="flux-general-en", **raw) as connection:  # type: ignore[arg-type]
            for _ in range(150):
                await connection.send_media(bytes(2560))
            await connection.send_close_stream()
            ends = [m async for m in connection if m.type == "TurnInfo" and m.event == "EndOfTurn"]
        settings = {"endpoint": server.url, "api_key": "secret", "pace": None}
        transcript = await transcribe(bytes(150 * 2560), FluxOptions(), **raw, **settings)
    turns = transcript.turns
    assert turns["transcript"].tolist() == [end.transcript for end in ends] == ["Hello world.", "How are you?", "Fine."]
    assert turns["trigger"].tolist() == [end.trigger for end in ends]
    assert turns["end_of_turn_confidence"].tolist() == [end.end_of_turn_confidence for end in ends]
    assert transcript.words["start"].tolist() == [word.start for end in ends for word in end.words]
    assert transcript.words["punctuated_word"].tolist() == [word.word for end in ends for word in end.words]
    assert transcript.gaps.empty
    assert not server.connections[1].violations

"""What `replay()` takes and refuses, and that `fill_gaps()` puts the words of a gap in their place."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

import dgnb
from dgnb import ConfigurationError, DgnbError, HandshakeError, Transcript
from dgnb.loopback import Script
from dgnb.messages import Alternative, Channel, Metadata, Results, Word, encode
from tests.session.test_session import CANARY, Tap
from tests.support.faulty import FaultyServer
from tests.support.sim.audio import BLOCK_SECONDS, wav
from tests.support.sim.server import served
from tests.support.tracebacks import shown
from tests.support.waiting import until
from tests.transcript.test_journal import assert_same

SAID = tuple(range(1, 51))


def spoken(*blocks: int) -> Results:
    """A final of these blocks of `SAID`; a block is a word of 0.4 s."""
    words = tuple(Word(f"w{SAID[n]}", n * BLOCK_SECONDS, (n + 1) * BLOCK_SECONDS) for n in blocks)
    heard = Channel((Alternative(" ".join(word.word for word in words), words=words),))
    return Results((0, 1), len(blocks) * BLOCK_SECONDS, blocks[0] * BLOCK_SECONDS, heard, is_final=True)


def holed(sound: Any = None) -> Transcript:
    """20 s of which two stretches are in `gaps`, in the middle of an utterance, and a pause. It has its sound."""
    transcript = Transcript()
    transcript.audio = wav(SAID) if sound is None else sound
    transcript.note("opened", "to somewhere", at=1)
    for blocks in (range(5), range(8, 20), range(25, 50)):
        transcript.feed(spoken(*blocks), at=2, audio_cursor=20.0)
    transcript.add_gap(2.0, 3.2, "its connection was lost")
    transcript.add_gap(8.0, 10.0, "the server sent nothing")
    transcript.add_gap(5.0, 5.0, "a pause", 30.0)
    return transcript


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("alpha beta", start=0.1)) as server:
        yield server


# replay()


@pytest.mark.parametrize("speed", [0, -1, "fast", math.nan, math.inf, True, [1]])
def test_a_speed_that_is_none_is_refused(speed: Any) -> None:
    with pytest.raises(ConfigurationError, match="speed is a positive number, or None for as fast as it goes, not"):
        dgnb.replay(Transcript(), speed)


@pytest.mark.parametrize("given", [None, 3, b"talk.jsonl", dgnb.Transcript])
def test_what_is_no_session_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes the path of a session file, or a Transcript, not"):
        dgnb.replay(given)


def test_a_file_that_is_missing_or_no_session_is_told_by_the_call(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    for name in ("none.jsonl", "talk.wav", ""):
        with pytest.raises(DgnbError, match="can't be read as a session file"):
            dgnb.replay(tmp_path / name)


# The sound again


@pytest.mark.parametrize("seed", range(4))
async def test_each_word_of_a_gap_comes_to_its_time_and_none_comes_twice(seed: int, tmp_path: Path) -> None:
    transcript = holed()
    async with served(seed) as far:
        assert await dgnb.fill_gaps(transcript, endpoint=far.url, pace=None) is transcript
        assert [round(core.received / 32_000, 6) for core in far.cores] == [1.2, 2.0]
        assert not far.violations
    table = transcript.words.sort_values("start")
    assert list(table["word"]) == [f"w{word}" for word in SAID]
    assert list(table["start"]) == pytest.approx([n * BLOCK_SECONDS for n in range(50)])
    assert list(transcript.words["word"][:42]) == [f"w{n + 1}" for n in (*range(5), *range(8, 20), *range(25, 50))]
    assert transcript.gaps[["start", "end", "missed"]].values.tolist() == [[5.0, 5.0, 30.0]]
    filled = transcript.events.query("type == 'filled'")
    assert filled[["start", "text"]].values.tolist() == [
        [2.0, "2.000 to 3.200 s: 3 words"],
        [8.0, "8.000 to 10.000 s: 5 words"],
    ]
    assert set(transcript.results["connection"]) == {0, 1, 2}
    first, *others = transcript.utterances[["start", "end"]].round(6).values.tolist()
    assert first == [0.0, 20.0]
    assert all(2.0 <= start < end <= 3.2 or 8.0 <= start < end <= 10.0 for start, end in others)
    transcript.save(tmp_path / "talk.jsonl")
    assert_same(Transcript.load(tmp_path / "talk.jsonl"), transcript)


async def test_the_words_of_a_gap_are_utterances_of_their_own(server: FaultyServer) -> None:
    transcript = holed()
    await dgnb.fill_gaps(transcript, endpoint=server.url, pace=None)
    table = transcript.utterances
    assert list(table["words"]) == [42, 2, 2]
    assert table["transcript"][1:].tolist() == ["alpha beta", "alpha beta"]
    assert table["start"][1:].tolist() == [2.1, 8.1]
    with pytest.raises(
        ConfigurationError, match=r"has no row of transcript\.gaps as a whole \(30\.0 s\).* never captured"
    ):
        await dgnb.fill_gaps(transcript, endpoint=server.url)
    assert len(server.connections) == 2


async def test_a_gap_is_filled_by_one_call_at_a_time(server: FaultyServer) -> None:
    transcript = holed()
    first = asyncio.ensure_future(dgnb.fill_gaps(transcript, endpoint=server.url, pace=None))
    await asyncio.sleep(0)
    with pytest.raises(ConfigurationError, match="Another fill_gaps"):
        await dgnb.fill_gaps(transcript, endpoint=server.url)
    await first
    assert len(server.connections) == 2
    with pytest.raises(ConfigurationError, match="leave out duration"):
        await dgnb.fill_gaps(holed(), endpoint=server.url, duration=1)


async def test_what_the_recording_does_not_hold_stays_a_gap(server: FaultyServer) -> None:
    transcript = holed((16_000, np.zeros(16_000 * 9, np.int16)))
    await dgnb.fill_gaps(transcript, endpoint=server.url, pace=None)
    assert transcript.gaps["start"].tolist() == [8.0, 5.0]
    assert len(server.connections) == 1


async def test_what_the_server_did_not_get_is_a_gap_again() -> None:
    async def mute(socket: ServerConnection) -> None:
        async for frame in socket:
            if isinstance(frame, str) and "CloseStream" in frame:
                await socket.send(encode(Metadata(duration=0.4)))
                return

    transcript = holed()
    async with serve(mute, "127.0.0.1", 0) as far:
        url = f"ws://127.0.0.1:{next(iter(far.sockets)).getsockname()[1]}"
        await dgnb.fill_gaps(transcript, endpoint=url, pace=None)
    rows = transcript.gaps[["start", "end", "reason"]].values.tolist()
    assert [row[:2] for row in rows] == [[5.0, 5.0], [2.4, 3.2], [8.4, 10.0]]
    assert rows[1][2] != "its connection was lost"
    assert transcript.words.equals(holed().words)


async def test_a_refusal_leaves_the_transcript_as_it_was_and_keeps_what_came_before(server: FaultyServer) -> None:
    transcript = holed()
    with server.rejecting(401), pytest.raises(HandshakeError) as caught:
        await dgnb.fill_gaps(transcript, endpoint=server.url, api_key=CANARY)
    assert CANARY not in shown(caught.value)
    assert_same(transcript, holed())
    filling = asyncio.ensure_future(dgnb.fill_gaps(transcript, endpoint=server.url, pace=None))
    await until(lambda: len(transcript.gaps) == 2)
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    assert transcript.gaps["start"].tolist() == [8.0, 5.0]
    await dgnb.fill_gaps(transcript, endpoint=server.url, pace=None)
    assert transcript.gaps["start"].tolist() == [5.0]


async def test_what_can_not_be_filled_is_refused_before_anything_is_sent(server: FaultyServer) -> None:
    mute = holed()
    mute.audio = None
    whole = holed()
    for gap in whole.gaps[:2].itertuples():
        whole.withdraw_gap(gap.start, gap.end, gap.reason)  # type: ignore[arg-type]
    given: list[tuple[Any, dict[str, Any], str]] = [
        ("talk.jsonl", {}, r"dgnb\.Transcript\.load\(path\) gives one"),
        (mute, {}, "has no sound.* transcript.audio = path"),
        (whole, {}, "What was never captured"),
        (holed(), {"smart_formatt": True}, "smart_format"),
        (holed(), {"endpoint": "nowhere"}, "endpoint"),
    ]
    for transcript, settings, message in given:
        with pytest.raises(ConfigurationError, match=message):
            await dgnb.fill_gaps(transcript, **{"endpoint": server.url, **settings})
    session = dgnb.LiveSession(Tap().source(), endpoint=server.url).start()
    session.transcript.audio = wav(SAID)
    with pytest.raises(ConfigurationError, match=r"await session\.stop\(\)"):
        await dgnb.fill_gaps(session.transcript, endpoint=server.url)
    await session.stop()


async def test_the_sound_of_a_transcript_is_a_source() -> None:
    async with served() as far:
        transcript = await dgnb.transcribe(holed().audio, endpoint=far.url, pace=None)
    assert list(transcript.words["word"]) == [f"w{word}" for word in SAID]
    assert transcript.audio is not None
    assert len(transcript.audio.samples()) == 20 * 16_000

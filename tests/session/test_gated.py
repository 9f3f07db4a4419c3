"""`gate=True`: silence is not sent, and all times stay those of the source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dgnb
from dgnb.exceptions import ConfigurationError
from dgnb.loopback.engines import SAMPLE_RATE, HeardWord
from dgnb.loopback.engines.script import Script
from tests.support.faulty import FaultyServer

RANDOM = np.random.default_rng(3)
WORDS = [(4.0, 4.4), (4.4, 5.0), (20.0, 20.5), (20.7, 21.2), (21.2, 21.6), (50.0, 50.4), (51.3, 51.9)]
"""When somebody speaks, in seconds: with pauses that are gated, and one that is not."""


class Loud(Script):
    """An engine that hears a word where the sound is loud."""

    def open(self, **given: Any) -> Any:
        return _Loud()


class _Loud:
    def __init__(self) -> None:
        self._pcm = b""
        self._edge = 0.0

    def feed(self, pcm: bytes) -> list[Any]:
        self._pcm += pcm
        return []

    def flush(self) -> list[Any]:
        from dgnb.loopback.engines import Heard

        loud = np.abs(np.frombuffer(self._pcm, "<i2").astype("i4")).reshape(-1, 160).max(axis=1) > 3000
        edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
        words = [
            HeardWord(f"w{round((end - start) / 100, 2)}", self._edge + start / 100, self._edge + end / 100, 0.9)
            for start, end in zip(edges[::2], edges[1::2], strict=True)
        ]
        begin, self._edge = self._edge, self._edge + len(self._pcm) / 2 / SAMPLE_RATE
        self._pcm = b""
        return [Heard(begin, self._edge, tuple(words), final=True, pause=bool(words))] if self._edge > begin else []


def sound(seconds: float, quiet: float = 20.0) -> np.ndarray[Any, Any]:
    samples = RANDOM.standard_normal(round(seconds * 16_000)) * quiet
    for start, end in [word for word in WORDS if word[1] <= seconds]:
        at = slice(round(start * 16_000), round((end - 0.02) * 16_000))
        samples[at] = np.resize([8000, -8000], at.stop - at.start)
    return samples.astype("<i2")


async def heard(server: FaultyServer, **settings: Any) -> Any:
    return await dgnb.transcribe(sound(60), sample_rate=16_000, endpoint=server.url, pace=None, **settings)


def received(transcript: Any) -> float:
    return sum(float(text.split()[0]) for text in transcript.events.query("type == 'Metadata'")["text"])


async def test_the_same_words_at_the_same_times_for_less_than_half_of_the_seconds() -> None:
    async with FaultyServer(Loud()) as server:
        plain, gated = await heard(server), await heard(server, gate=True)
    assert len(plain.words) == len(WORDS)
    assert gated.words["word"].tolist() == plain.words["word"].tolist()
    assert (gated.words[["start", "end"]] - plain.words[["start", "end"]]).abs().to_numpy().max() < 0.011
    assert received(plain) == 60.0
    assert received(gated) < 12
    assert gated.gaps.empty
    assert gated.transcript_cursor == pytest.approx(60.0, abs=0.4)
    told = gated.events.query("type == 'gate'")["text"].item()
    assert float(told.split()[0]) == pytest.approx(60 - received(gated), abs=0.11)


async def test_words_stay_in_place_over_lost_connections() -> None:
    async with FaultyServer(Loud()) as server:
        session = dgnb.LiveSession(sound(60), sample_rate=16_000, endpoint=server.url, pace=8, gate=True).start()
        for limit in (4.7, 30.0):
            while session.audio_cursor < limit:
                await session.wait(0.01)
            server.drop()
        transcript = await session
    assert [round(start, 1) for start in transcript.words["start"]] == [start for start, _ in WORDS]
    assert transcript.gaps.empty


async def test_a_pause_gives_up_no_words_whose_final_has_not_come() -> None:
    async with FaultyServer(Loud()) as server:
        with server.silent():
            session = dgnb.LiveSession(sound(60), sample_rate=16_000, endpoint=server.url, pace=8, gate=True).start()
            while session.audio_cursor < 14.0:
                await session.wait(0.01)
            server.drop()
        transcript = await session
    assert [round(start, 1) for start in transcript.words["start"]] == [start for start, _ in WORDS]
    assert transcript.gaps.empty


async def test_a_recording_and_the_cursor_stay_on_the_timeline(tmp_path: Any) -> None:
    async with FaultyServer(Loud()) as server:
        transcript = await heard(server, gate=True, record=tmp_path / "a.flac")
    assert transcript.audio.samples().size == 60 * 16_000


async def test_flux_is_refused_while_silence_is_left_out() -> None:
    async with FaultyServer(Loud()) as server:
        session = dgnb.LiveSession(sound(6), sample_rate=16_000, endpoint=server.url, gate=True).start()
        while session.state is not dgnb.State.OPEN:
            await session.wait(0.01)
        with pytest.raises(ConfigurationError, match="gate does not go with Flux"):
            await session.apply(dgnb.FluxOptions())
        await session.stop()


def test_flux_needs_the_silence() -> None:
    with pytest.raises(ConfigurationError, match="gate does not go with Flux"):
        dgnb.LiveSession(sound(1), dgnb.FluxOptions(), sample_rate=16_000, endpoint="ws://127.0.0.1:9", gate=True)
    with pytest.raises(ConfigurationError, match="gate is True or False"):
        dgnb.LiveSession(sound(1), sample_rate=16_000, endpoint="ws://127.0.0.1:9", gate="yes")  # type: ignore[arg-type]

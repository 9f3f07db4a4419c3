"""The sound of a transcript: where it comes from, and stretches of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dgnb
from dgnb.audio import Clip, Sound
from dgnb.transcript import Transcript

RATE = 16_000
RAMP = np.arange(3 * RATE, dtype="<i2")


@pytest.fixture
def transcript() -> Transcript:
    transcript = Transcript()
    transcript.audio = Sound((RATE, RAMP))
    return transcript


def _samples(clip: Clip) -> Any:
    return np.frombuffer(clip[44:], "<i2")


async def test_a_file_is_its_own_recording_and_a_stream_has_none() -> None:
    async with dgnb.loopback.serve(dgnb.loopback.Script("one two")) as server:
        transcript = await dgnb.transcribe(dgnb.samples.path(), endpoint=server.url, pace=None)
        session = dgnb.LiveSession("http://127.0.0.1:9/live.mp3", endpoint=server.url)
    assert transcript.audio.path == dgnb.samples.path()
    word = transcript.words.iloc[1]
    assert _samples(transcript.clip(word)).size == round(word["end"] * RATE) - round(word["start"] * RATE)
    assert session.transcript.audio is None


@pytest.mark.parametrize("kind", ["row", "table", "tuple", "dict", "times"])
def test_a_clip_is_of_a_row_or_of_two_times(transcript: Transcript, kind: str) -> None:
    import pandas as pd

    table = pd.DataFrame({"start": [0.5, 1.0], "end": [0.75, 1.5], "word": ["a", "b"]})
    given: dict[str, tuple[Any, ...]] = {
        "row": (table.iloc[1],),
        "table": (table.iloc[1:],),
        "tuple": (list(table.itertuples())[1],),
        "dict": ({"start": np.float32(1.0), "end": 1.5},),
        "times": (1, 1.5),
    }
    assert np.array_equal(_samples(transcript.clip(*given[kind])), RAMP[RATE : RATE + 8_000])
    assert np.array_equal(_samples(transcript.clip(*given[kind], pad=0.25)), RAMP[12_000:28_000])
    assert np.array_equal(_samples(transcript.clip(*given[kind], pad=9)), RAMP)


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        (lambda made: made.clip(2, 1), "2 s does not come before 1 s"),
        (lambda made: made.clip(1), "or start is a row with both"),
        (lambda made: made.clip(-1, 1), "start is a number of seconds from 0 on"),
        (lambda made: made.clip(float("nan"), 1), "start is a number"),
        (lambda made: made.clip(60, 61), "ends before 60 s.*Is it the recording of this transcript"),
        (lambda made: made.clip(made.summary().iloc[0]), "takes a row that has start and end"),
        (lambda made: made.clip(made.words), "one row, not of 0"),
        (lambda made: made.clip({"start": 1, "end": 2}, 3), "takes a row that has start and end"),
        (lambda made: made.clip(1, 2, pad=-1), "pad is a number"),
        (lambda made: Transcript().clip(1, 2), "has no sound.*record=True.*transcript.audio = path"),
    ],
)
def test_what_is_no_stretch_is_one_error(transcript: Transcript, clip: Callable[[Transcript], Any], told: str) -> None:
    with pytest.raises(dgnb.ConfigurationError, match=told):
        clip(transcript)


def test_sound_that_is_gone_is_told_when_it_is_to_be_heard(transcript: Transcript) -> None:
    transcript.audio = "gone.wav"
    with pytest.raises(dgnb.AudioError, match=r"no file 'gone\.wav'"):
        transcript.clip(1, 2)
    transcript.audio = None
    assert transcript.audio is None


async def test_a_session_file_names_its_sound_and_finds_it_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    here = tmp_path / "a" / "talk.ogg"
    here.write_bytes(dgnb.samples.path().read_bytes())
    async with dgnb.loopback.serve(dgnb.loopback.Script("one two")) as server:
        given: Any = {"endpoint": server.url, "pace": None, "journal": tmp_path / "a" / "journal.jsonl"}
        transcript = await dgnb.transcribe(here, **given)
    transcript.save(tmp_path / "a" / "talk.jsonl")
    for name in ("talk.jsonl", "journal.jsonl"):
        loaded = Transcript.load(tmp_path / "a" / name)
        assert loaded.audio is not None
        assert loaded.clip(0.5, 1.0) == transcript.clip(0.5, 1.0)
    # The folder moves as a whole.
    moved = (tmp_path / "a").rename(tmp_path / "b")
    loaded = Transcript.load(moved / "talk.jsonl")
    assert loaded.audio is not None
    assert loaded.audio.path == moved / "talk.ogg"
    (moved / "talk.ogg").unlink()
    with pytest.raises(dgnb.AudioError, match="There is no file"):
        Transcript.load(moved / "talk.jsonl").clip(0.5, 1.0)


def test_sound_that_is_no_file_or_was_taken_away_is_in_no_session_file(transcript: Transcript, tmp_path: Path) -> None:
    raw = dgnb.FileSource(tmp_path / "a.raw", encoding="linear16", sample_rate=16_000)
    for sound in ((RATE, RAMP), raw, None):
        transcript.audio = dgnb.samples.path()
        transcript.audio = sound
        transcript.save(tmp_path / "talk.jsonl")
        assert Transcript.load(tmp_path / "talk.jsonl").audio is None

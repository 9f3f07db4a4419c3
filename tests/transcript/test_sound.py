"""The sound of a transcript: where it comes from, and stretches of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import dgnb
from dgnb.audio import Clip, Sound
from dgnb.transcript import Transcript
from tests.transcript.test_transcript import result, said

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


@pytest.mark.parametrize("kind", ["row", "table", "tuple", "iterrows", "dict", "times"])
def test_a_clip_is_of_a_row_or_of_two_times(transcript: Transcript, kind: str) -> None:
    import pandas as pd

    table = pd.DataFrame({"start": [0.5, 1.0], "end": [0.75, 1.5], "word": ["a", "b"]})
    given: dict[str, tuple[Any, ...]] = {
        "row": (table.iloc[1],),
        "table": (table.iloc[1:],),
        "tuple": (list(table.itertuples())[1],),
        "iterrows": (list(table.iterrows())[1],),
        "dict": ({"start": np.float32(1.0), "end": 1.5},),
        "times": (1, 1.5),
    }
    assert np.array_equal(_samples(transcript.clip(*given[kind])), RAMP[RATE : RATE + 8_000])
    assert np.array_equal(_samples(transcript.clip(*given[kind], pad=0.25)), RAMP[12_000:28_000])
    assert np.array_equal(_samples(transcript.clip(*given[kind], pad=9)), RAMP)


def test_a_moment_is_heard_with_what_is_around_it(transcript: Transcript) -> None:
    transcript.add_gap(1.0, 1.0, "away", missed=3.0)
    assert np.array_equal(_samples(transcript.clip(transcript.gaps.iloc[0], pad=0.5)), RAMP[8_000:24_000])
    with pytest.raises(dgnb.ConfigurationError, match="give pad= seconds"):
        transcript.clip(transcript.gaps.iloc[0])


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        (lambda made: made.clip(2, 1), "2 s does not come before 1 s"),
        (lambda made: made.clip(1), "or start is a row with both"),
        (lambda made: made.clip(-1, 1), "start is a number of seconds from 0 on"),
        (lambda made: made.clip(float("nan"), 1), "start is a number"),
        (lambda made: made.clip(60, 61), "ends before 60 s.*Is it the recording of this transcript"),
        (lambda made: made.clip(made.summary().iloc[0]), "takes a row that has start and end"),
        (lambda made: made.clip(made.words), "has no rows"),
        (lambda made: made.clip(made.summary()), "one row, not of"),
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
    # Another file of that name beside the session file is not taken for it.
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "talk.ogg").touch()
    transcript.save(tmp_path / "c" / "talk.jsonl")
    assert Transcript.load(tmp_path / "c" / "talk.jsonl").audio.path == here
    # The folder moves as a whole.
    transcript.save(tmp_path / "talk.jsonl")
    moved = (tmp_path / "a").rename(tmp_path / "b")
    loaded = Transcript.load(moved / "talk.jsonl")
    assert loaded.audio is not None
    assert loaded.audio.path == moved / "talk.ogg"
    (tmp_path / "other").mkdir()
    moved.rename(tmp_path / "other" / "a")
    moved = tmp_path / "other" / "a"
    (tmp_path / "talk.jsonl").rename(tmp_path / "other" / "talk.jsonl")
    assert Transcript.load(tmp_path / "other" / "talk.jsonl").audio.path == moved / "talk.ogg"
    (moved / "talk.ogg").unlink()
    with pytest.raises(dgnb.AudioError, match="There is no file"):
        Transcript.load(moved / "talk.jsonl").clip(0.5, 1.0)


def test_sound_that_is_no_file_or_was_taken_away_is_in_no_session_file(transcript: Transcript, tmp_path: Path) -> None:
    raw = dgnb.FileSource(tmp_path / "a.raw", encoding="linear16", sample_rate=16_000)
    track = dgnb.FileSource(tmp_path / "a.mkv", track=1)
    for sound in ((RATE, RAMP), raw, track, None):
        transcript.audio = dgnb.samples.path()
        transcript.audio = sound
        transcript.save(tmp_path / "talk.jsonl")
        assert Transcript.load(tmp_path / "talk.jsonl").audio is None


@pytest.mark.parametrize("kind", ["wav", "mp3", "samples", "sound"])
def test_a_recording_of_something_else_is_refused(transcript: Transcript, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"other.{kind}"
    sound: Any = path
    if kind in ("wav", "mp3"):
        with av.open(str(path), "w") as container:
            stream = container.add_stream({"wav": "pcm_s16le", "mp3": "libmp3lame"}[kind], rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(RAMP[None], format="s16", layout="mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    else:
        sound = (RATE, RAMP) if kind == "samples" else Sound((RATE, RAMP))
    transcript.feed(result(0.0, 3.9, said("well", start=3.4, each=0.5)))
    transcript.audio = sound
    kept = transcript.audio
    transcript.feed(result(3.9, 1.0, said("then", start=4.0, each=0.5)))
    with pytest.raises(dgnb.ConfigurationError, match=r"lasts 3\.\d s, .* ends at 4\.4 s: it is another recording"):
        transcript.audio = sound
    assert transcript.audio is kept
    for wrong, told in ((tmp_path / "gone.wav", "There is no file"), (__file__, "not audio")):
        with pytest.raises(dgnb.AudioError, match=told):
            transcript.audio = wrong
    assert transcript.audio is kept

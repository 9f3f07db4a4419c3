"""The sample is what it says it is: its length, its size, its words, and times that agree with the sound."""

from __future__ import annotations

import doctest
import subprocess
import sys
from itertools import pairwise

import av
import numpy as np
import numpy.typing as npt
import pytest

from dgnb import samples

RATE = 16_000
FRAME = 0.005

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def sound() -> Array:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    parts = []
    with av.open(str(samples.path())) as container:
        for frame in [*container.decode(audio=0), None]:
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    return np.concatenate(parts) / 32768


@pytest.fixture(scope="module")
def level(sound: Array) -> Array:
    """RMS in dBFS of every 5 ms."""
    size = round(FRAME * RATE)
    frames = sound[: len(sound) // size * size].reshape(-1, size)
    return 10 * np.log10((frames**2).mean(axis=1) + 1e-12)


def between(level: Array, start: float, end: float) -> Array:
    return level[round(start / FRAME) : round(end / FRAME)]


def pauses() -> list[tuple[float, float]]:
    """The silences of 0.3 s and more between two words."""
    return [(a["end"], b["start"]) for a, b in pairwise(samples.words()) if b["start"] - a["end"] >= 0.3]


def test_the_file_is_short_small_and_decodes(sound: Array) -> None:
    assert 40 <= len(sound) / RATE <= 50
    assert samples.path().stat().st_size < 500_000


def test_the_level_is_that_of_a_good_recording(sound: Array) -> None:
    peak = 20 * np.log10(np.abs(sound).max())
    assert -7 < peak < -1
    assert abs(sound.mean()) < 1e-3


def test_words_are_in_order_and_inside_the_file(sound: Array) -> None:
    words = samples.words()
    assert len(words) > 100
    assert all(0 < word["end"] - word["start"] < 1.2 for word in words)
    assert all(before["end"] <= after["start"] for before, after in pairwise(words))
    assert words[0]["start"] > 0.3
    assert words[-1]["end"] < len(sound) / RATE - 0.3


def test_two_speakers_take_turns() -> None:
    speakers = [word["speaker"] for word in samples.words()]
    assert set(speakers) == {0, 1}
    assert sum(before != after for before, after in pairwise(speakers)) >= 4
    for before, after in pairwise(samples.words()):
        if before["speaker"] != after["speaker"]:
            assert 0.5 <= after["start"] - before["end"] <= 1.0
            assert before["punctuated_word"][-1] in ".?!"


def test_the_text_is_its_words() -> None:
    words = samples.words()
    assert samples.text() == " ".join(word["punctuated_word"] for word in words)
    assert all(word["word"] == word["punctuated_word"].strip(".,?!").lower() for word in words)
    assert all(list(word) == ["word", "punctuated_word", "start", "end", "speaker"] for word in words)


def test_every_call_returns_a_new_list() -> None:
    samples.words().clear()
    assert samples.words()


def test_there_is_sound_where_words_are(level: Array) -> None:
    for word in samples.words():
        assert between(level, word["start"], word["end"]).max() > -35, word


def test_there_is_no_sound_in_the_pauses(level: Array) -> None:
    assert len(pauses()) >= 8
    for start, end in pauses():
        assert between(level, start + 0.03, end - 0.03).max() < -60, (start, end)


def test_the_sound_begins_and_ends_with_the_words(level: Array) -> None:
    """Around each pause, the sound stops and starts at the times of the words. A shift of the times breaks that."""
    loud = np.flatnonzero(level > -60) * FRAME
    for start, end in pauses():
        assert loud[loud > (start + end) / 2][0] == pytest.approx(end, abs=0.03)
        assert loud[loud < (start + end) / 2][-1] + FRAME == pytest.approx(start, abs=0.06)


def test_the_examples_in_the_documentation_are_true() -> None:
    assert doctest.testmod(samples).failed == 0


def test_the_sample_needs_nothing_but_python() -> None:
    code = (
        "import sys, dgnb; dgnb.samples.words(); assert dgnb.samples.path().is_file();"
        "print(sorted({'av', 'numpy', 'pandas', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

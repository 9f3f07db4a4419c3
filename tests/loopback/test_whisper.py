from __future__ import annotations

import difflib
import random
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import av
import jiwer
import numpy as np
import pytest

import dgnb.samples
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.loopback.engines import SAMPLE_RATE, Engine, Event, Heard, HeardWord, SpeechStarted
from dgnb.loopback.engines.whisper import WhisperEngine, _loops

SECOND = 2 * SAMPLE_RATE


@pytest.fixture(scope="module")
def engine() -> Engine:
    return WhisperEngine()


@pytest.fixture(scope="module")
def sample() -> bytes:
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(dgnb.samples.path())) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in [*frames, *resampler.resample(None)])


def cut(pcm: bytes, begin: float, end: float) -> bytes:
    return pcm[round(begin * SAMPLE_RATE) * 2 : round(end * SAMPLE_RATE) * 2]


def listen(
    engine: Engine, pcm: bytes, size: Callable[[], int] = lambda: SECOND // 10, **options: object
) -> list[Event]:
    stream = engine.open(**options)  # type: ignore[arg-type]
    events, at = [], 0
    while at < len(pcm):
        piece = pcm[at : at + 2 * size()]
        events += stream.feed(piece)
        at += len(piece)
    return events + stream.flush()


def finals_of(events: list[Event]) -> list[Heard]:
    return [event for event in events if isinstance(event, Heard) and event.final]


def words_of(events: list[Event]) -> list[HeardWord]:
    return [word for final in finals_of(events) for word in final.words]


def plain(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def assert_tiled(events: list[Event], clock: float) -> None:
    finals = finals_of(events)
    assert finals[0].start == 0
    assert all(a.end == b.start for a, b in pairwise(finals))
    assert finals[-1].end == pytest.approx(clock)
    for final in finals:
        assert all(final.start <= word.start <= word.end <= final.end for word in final.words)


def test_the_sample_is_understood_with_interims_on_and_its_words_are_where_they_are_said(
    engine: Engine, sample: bytes
) -> None:
    events = listen(engine, sample)
    words = words_of(events)
    assert_tiled(events, len(sample) / SECOND)
    assert jiwer.wer(plain(dgnb.samples.text()), plain(" ".join(word.text for word in words))) <= 0.05
    assert any(isinstance(event, SpeechStarted) for event in events)
    assert sum(isinstance(event, Heard) and not event.final for event in events) >= 10

    truth = dgnb.samples.words()
    matched = difflib.SequenceMatcher(None, [t["word"] for t in truth], [plain(w.text) for w in words], autojunk=False)
    off = [
        abs(words[block.b + i].start - truth[block.a + i]["start"])
        for block in matched.get_matching_blocks()
        for i in range(block.size)
    ]
    assert np.median(off) <= 0.060
    assert np.percentile(off, 90) <= 0.200


def test_interims_have_valid_times_and_probabilities(engine: Engine, sample: bytes) -> None:
    interims = [e for e in listen(engine, sample[: 9 * SECOND]) if isinstance(e, Heard) and not e.final]
    assert interims
    for interim in interims:
        assert all(interim.start <= word.start <= word.end <= interim.end for word in interim.words)
        assert all(0 <= word.confidence <= 1 for word in interim.words)
        assert [word.start for word in interim.words] == sorted(word.start for word in interim.words)


def test_pieces_of_any_size_give_the_same_finals(engine: Engine, sample: bytes) -> None:
    pcm = sample[: 12 * SECOND]
    chance = random.Random(1)
    heard = [
        finals_of(listen(engine, pcm, size, interims=False))
        for size in (lambda: len(pcm), lambda: chance.randint(1, 4000))
    ]
    assert heard[0] == heard[1]


def test_silence_and_noise_give_finals_without_words(engine: Engine) -> None:
    chance = np.random.default_rng(0)
    t = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    for sound in (0 * t, 0.1 * chance.standard_normal(t.size), 0.3 * np.sin(2 * np.pi * 50 * t)):
        pcm = (sound * 32767).astype("<i2").tobytes()
        events = listen(engine, pcm)
        assert_tiled(events, 8.0)
        assert not words_of(events)
        assert len(finals_of(events)) >= 3


def test_a_flush_in_mid_word_brings_the_finals_up_to_the_clock(engine: Engine, sample: bytes) -> None:
    stream = engine.open(interims=False)
    events = stream.feed(sample[: 2 * SECOND]) + stream.flush()
    assert_tiled(events, 2.0)
    assert words_of(events)
    events += stream.feed(sample[2 * SECOND : 4 * SECOND]) + stream.flush()
    assert_tiled(events, 4.0)
    assert stream.flush() == []


def test_what_is_said_after_the_place_where_the_model_stops_is_heard_too(engine: Engine, sample: bytes) -> None:
    # In the first, tiny.en leaves out "when I have enough I press stop"; in the second it stops at "talking".
    for begin, end, missed in (
        (28.5, 41.0, "later when i have enough i press stop what"),
        (8.93, 18.93, "each word has"),
    ):
        events = listen(engine, cut(sample, begin, end), interims=False)
        assert missed in plain(" ".join(word.text for word in words_of(events)))
        assert_tiled(events, end - begin)


def test_two_streams_may_be_decoded_at_once(engine: Engine, sample: bytes) -> None:
    pcm = sample[: 9 * SECOND]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: finals_of(listen(engine, pcm, interims=False)), range(2))
    assert first == second


def test_the_engine_names_the_true_model(engine: Engine) -> None:
    assert engine.info.name == "whisper-tiny.en"
    assert engine.info.version.startswith("faster-whisper-")
    assert engine.info.arch == "whisper"
    assert engine.info == WhisperEngine().info
    assert engine.languages == ("en",)


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper.utils", None)
    with pytest.raises(DgnbError, match=r"pip install 'dgnb\[offline\]'"):
        WhisperEngine()


def test_a_folder_of_rubbish_is_refused_with_a_remedy(tmp_path: Path) -> None:
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigurationError, match=r"could not be loaded.*tiny\.en"):
        WhisperEngine(str(tmp_path))


def test_an_unknown_model_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean 'base\.en'"):
        WhisperEngine("base-en")


def test_a_refrain_counts_as_a_loop_and_an_emphasis_does_not() -> None:
    assert _loops("for a long time, for a long time, for a long time, for a long time")
    assert _loops("no " * 60)
    assert not _loops("No, no, no! I said no, and I meant it.")
    assert not _loops("")

"""`Sound`: what is heard again is what a session hears, at the same times."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import dgnb
from dgnb.audio import Sound
from dgnb.audio.source import SAMPLE_RATE


def _noise(seconds: float, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(-9000, 9000, round(seconds * SAMPLE_RATE)).astype("<i2")


def _file(path: Path, samples: Any, codec: str, *, rate: int = SAMPLE_RATE, layout: str = "mono") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


async def _heard(source: dgnb.AudioSource) -> Any:
    audio = await source.open()
    data = b"".join([chunk async for chunk in audio])
    await audio.aclose()
    return np.frombuffer(data, "<i2")


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.ogg", "libopus")],
)
async def test_a_stretch_is_what_a_session_hears_at_its_times(tmp_path: Path, name: str, codec: str) -> None:
    path = _file(tmp_path / name, _noise(5.0), codec)
    heard = await _heard(dgnb.FileSource(path))
    sound = Sound(path)
    assert np.array_equal(sound.samples(1.5, 2.25), heard[24_000:36_000])
    assert np.array_equal(sound.samples(0.5, 0.75), heard[8_000:12_000])
    assert np.array_equal(sound.samples(4.0), heard[64_000:])
    assert sound.samples(60.0, 61.0).size == 0
    assert sound.path == path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("a.wav", "pcm_s16le", 44_100, "stereo"),
        ("a.wav", "pcm_s24le", 48_000, "mono"),
        ("a.flac", "flac", 44_100, "stereo"),
        ("a.flac", "flac", 16_000, "mono"),
    ],
)
async def test_a_late_stretch_is_the_same_to_the_sample_though_nothing_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, rate: int, layout: str
) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, 140 * rate * (2 if layout == "stereo" else 1))
    path = _file(tmp_path / name, noise.astype("<i2"), codec, rate=rate, layout=layout)
    heard, sound = await _heard(dgnb.FileSource(path)), Sound(path)
    for start in (0.0, 1.99, 2.01, 60.3, 127.123, 139.9):
        first = round(start * SAMPLE_RATE)
        assert np.array_equal(sound.samples(start, start + 0.5), heard[first : round((start + 0.5) * SAMPLE_RATE)])
    both = sound.samples(127.0, 127.5, multichannel=True)
    assert both.shape == (8_000, 2 if layout == "stereo" else 1)
    assert np.abs(both.mean(axis=1) - heard[127 * SAMPLE_RATE :][:8_000]).max() < 1
    assert sound.samples(140.5).size == sound.samples(999.0, 1_000.0).size == sound.samples(1e300).size == 0
    assert np.array_equal(sound.samples(139.5, 1e300), heard[-8_000:])
    decoded = list(dgnb.FileSource(path).decoded(start=127.0))
    assert sum(len(item) for item in decoded if isinstance(item, bytes)) < 2 * SAMPLE_RATE * 60


def test_a_recording_that_was_cut_short_is_heard_up_to_there(tmp_path: Path) -> None:
    noise = _noise(100.0)
    path = _file(tmp_path / "a.flac", noise, "flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    sound = Sound(path)
    assert np.array_equal(sound.samples(70.0, 72.0), noise[70 * SAMPLE_RATE : 72 * SAMPLE_RATE])
    assert 78 * SAMPLE_RATE < sound.samples().size < 80 * SAMPLE_RATE
    for start in (90.0, 200.0):
        with pytest.raises(dgnb.ConfigurationError, match=rf"a\.flac ends before {start:g} s"):
            sound.wav(start)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt("stop"), "stop"),
        (OSError(28, "No space left on device"), r"a\.mp3 can't be kept in the temporary folder .* Make room there"),
    ],
)
def test_what_was_interrupted_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: str
) -> None:
    sound = Sound(_file(tmp_path / "a.mp3", _noise(3.0), "libmp3lame"))
    whole = Sound(sound).samples()
    decoded = dgnb.FileSource.decoded

    def interrupted(source: dgnb.FileSource, *how: Any) -> Any:
        items = decoded(source, *how)
        yield from (next(items) for _ in range(5))
        raise error

    monkeypatch.setattr(dgnb.FileSource, "decoded", interrupted)
    with pytest.raises((KeyboardInterrupt, dgnb.AudioError), match=told):
        sound.samples(1.0)
    monkeypatch.undo()
    assert np.array_equal(sound.samples(1.0), whole[SAMPLE_RATE:])


def test_a_file_that_is_gone_or_was_replaced_is_not_heard_as_another(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.wav", _noise(3.0), "pcm_s16le")
    sound = Sound(path)
    assert sound.samples(1.0, 2.0).size == SAMPLE_RATE
    path.touch()
    assert sound.samples(1.0, 2.0).size == SAMPLE_RATE
    _file(path, _noise(3.0, seed=2), "pcm_s16le")
    for _ in range(2):
        with pytest.raises(dgnb.AudioError, match=r"a\.wav holds other sound .* replaced.*transcript\.audio = path"):
            sound.samples(1.0, 2.0)
    assert Sound(path).samples(1.0, 2.0).size == SAMPLE_RATE
    path.unlink()
    with pytest.raises(dgnb.AudioError, match=r"no file .*transcript\.audio = path"):
        sound.samples(1.0, 2.0)


async def test_a_file_that_is_replaced_after_a_session_read_it_is_noticed(tmp_path: Path) -> None:
    source = dgnb.FileSource(_file(tmp_path / "a.flac", _noise(2.0), "flac"))
    await _heard(source)
    _file(tmp_path / "a.flac", _noise(2.0, seed=2), "flac")
    with pytest.raises(dgnb.AudioError, match="was replaced"):
        Sound(source).wav(0.0, 1.0)


@pytest.mark.parametrize("times", [(-1.0, 2.0), (float("nan"), 2.0), ("a", 2.0), (0.0, "b"), (0.0, -1.0)])
def test_what_is_no_time_is_one_error(times: Any) -> None:
    with pytest.raises(dgnb.ConfigurationError, match="is a number of seconds from 0 on"):
        Sound((SAMPLE_RATE, _noise(1.0))).samples(*times)


def test_bytes_arrays_and_sounds_are_heard_again(tmp_path: Path) -> None:
    samples = _noise(1.0)
    data = _file(tmp_path / "a.wav", samples, "pcm_s16le").read_bytes()
    for source in (data, (SAMPLE_RATE, samples), Sound((SAMPLE_RATE, samples)), dgnb.BufferSource(data)):
        assert np.array_equal(Sound(source).samples(0.25, 0.5), samples[4_000:8_000])


def test_what_can_not_be_read_twice_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.raw").open("w+b") as file:
        file.write(bytes(100))
        file.seek(0)
        for source in ("http://example.org/live.mp3", iter([b"a"]), dgnb.BufferSource(file)):
            with pytest.raises(dgnb.ConfigurationError, match="can't be heard again"):
                Sound(source)


def test_a_file_that_grows_is_heard_up_to_its_new_end(tmp_path: Path) -> None:
    samples, path = _noise(2.0), tmp_path / "a.raw"
    path.write_bytes(samples[:SAMPLE_RATE].tobytes())
    sound = Sound(dgnb.FileSource(path, encoding="linear16", sample_rate=SAMPLE_RATE))
    assert np.array_equal(sound.samples(), samples[:SAMPLE_RATE])
    with path.open("ab") as file:
        file.write(samples[SAMPLE_RATE:].tobytes())
    assert np.array_equal(sound.samples(0.5), samples[8_000:])


def test_a_clip_is_a_wav_file_that_shows_a_player() -> None:
    samples = _noise(1.0)
    clip = Sound((SAMPLE_RATE, samples)).wav(0.25, 0.75)
    with wave.open(io.BytesIO(clip)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        assert file.readframes(SAMPLE_RATE) == samples[4_000:12_000].tobytes()
    assert repr(clip) == "<Clip: a WAV file of 0.50 s>"
    assert clip._repr_html_().startswith('<audio controls src="data:audio/wav;base64,UklGR')


def test_a_long_clip_does_not_go_into_a_notebook() -> None:
    clip = Sound((SAMPLE_RATE, np.zeros(9 * 60 * SAMPLE_RATE, "<i2"))).wav()
    assert clip._repr_html_() is None
    assert repr(clip).endswith("of 540.00 s, too long to put into a notebook: use transcript.player()>")
    assert len(clip) == 44 + 2 * 540 * SAMPLE_RATE


@pytest.mark.parametrize("seconds", [0.03, 1.0, 12.8])
def test_what_is_embedded_has_each_sample_at_its_time(seconds: float) -> None:
    # Clicks, each at a known place, also around the seam of two parts.
    samples = np.zeros(round(seconds * SAMPLE_RATE), "<i2")
    clicks = list(range(160, samples.size - 160, 1_600))
    for at in clicks:
        samples[at : at + 16] = 20_000
    data, kind = Sound((SAMPLE_RATE, samples)).encoded()
    assert kind == "audio/mp4"
    with av.open(io.BytesIO(data)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(heard.size - samples.size) <= 1024
    for at in clicks:
        place = int(np.abs(heard[max(0, at - 800) : at + 800]).argmax()) + max(0, at - 800)
        assert abs(place - at) <= 32  # 2 ms

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


def _file(path: Path, samples: Any, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
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
    clip = Sound((SAMPLE_RATE, samples)).clip(0.25, 0.75)
    with wave.open(io.BytesIO(clip)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        assert file.readframes(SAMPLE_RATE) == samples[4_000:12_000].tobytes()
    assert repr(clip) == "<Clip: a WAV file of 0.50 s>"
    assert clip._repr_html_().startswith('<audio controls src="data:audio/wav;base64,UklGR')


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

"""What looks wrong is told, with the option to change; what is merely odd is read without a word."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dgnb.samples
from dgnb.audio import Audio, BufferSource, FileSource, Note
from dgnb.audio.doctor import suspicion
from dgnb.audio.source import Raw
from dgnb.exceptions import AudioError

Samples = npt.NDArray[Any]

RATE = 16_000
BLOCK = 1 << 16


async def read(source: FileSource | BufferSource) -> tuple[Samples, list[Note]]:
    audio: Audio = await source.open()
    try:
        data = b"".join([chunk async for chunk in audio])
    finally:
        await audio.aclose()
    return np.frombuffer(data, "<i2"), list(audio.notes)


def mulaw(samples: Samples) -> bytes:
    """As G.711 says."""
    wide = samples.astype(int)
    size = np.minimum(np.abs(wide), 32_635) + 132
    exponent = np.floor(np.log2(size)).astype(int) - 7
    return (~(((wide < 0) << 7) | (exponent << 4) | (size >> (exponent + 3)) & 15) & 0xFF).astype("u1").tobytes()


@pytest.fixture(scope="module")
def speech() -> Callable[[int], Samples]:
    def at(rate: int) -> Samples:
        parts = []
        with av.open(str(Path(dgnb.samples.__file__).parent / "dialogue.ogg")) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        return np.concatenate(parts)

    return at


# Raw samples in a wrong form


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize(
    ("declared", "wrong", "words"),
    [
        ("linear16", lambda x: x.astype(">i2").tobytes(), "bytes swapped"),
        ("linear16", lambda x: x.astype("<i2").tobytes()[1:], "Leave out the first byte"),
        ("linear16", mulaw, r"Use encoding='mulaw' \(or 'alaw'\)"),
        ("mulaw", lambda x: x.astype("<i2").tobytes(), "Use encoding='linear16'"),
        ("alaw", lambda x: x.astype("<i2").tobytes(), "Use encoding='linear16'"),
    ],
)
async def test_speech_in_another_form_than_declared_is_told_once(
    speech: Callable[[int], Samples], rate: int, declared: str, wrong: Callable[[Samples], bytes], words: str
) -> None:
    data = wrong(speech(rate)[: 8 * rate])
    _, notes = await read(BufferSource(data, encoding=declared, sample_rate=rate))
    (note,) = notes
    assert note.type == "warning"
    assert f"declared to be {declared}, but it looks like" in note.text
    assert words.replace("\\", "") in note.text
    assert note.missed == 0


def harmless(speech: Callable[[int], Samples]) -> dict[str, Samples]:
    """Sounds and noises of every kind, as they should be."""
    rng = np.random.default_rng(6)
    count = 50_000
    t = np.arange(count) / RATE
    chord = sum(a * np.sin(2 * np.pi * f * t) for f, a in [(220, 3000), (277, 2500), (880, 1500), (3520, 700)])
    sounds = {
        "silence": np.zeros(count),
        "an offset": np.full(count, 300.0) + rng.normal(0, 1, count),
        "the last bit": np.repeat(rng.integers(-1, 1, count // 100), 100),
        "music": chord * (0.3 + 0.7 * np.abs(np.sin(3 * t))),
        "cymbals": rng.normal(0, 6000, count) * np.exp(-(t % 0.5) * 8),
        "hiss": np.diff(rng.normal(0, 3000, count + 1)),
        "rumble": np.cumsum(rng.normal(0, 50, count)),
        "a square": np.sign(np.sin(np.arange(count) * 0.3)) * 9000,
        "clicks": (rng.random(count) < 0.001) * 20_000,
        "full scale": rng.integers(-32_768, 32_767, count),
        "back and forth": np.tile([8000, -8000], count // 2),
    }
    sounds |= {f"noise of {loud}": rng.normal(0, loud, count) for loud in (0.4, 1, 3, 30, 1000, 20_000)}
    sounds |= {f"speech at {rate}": speech(rate) for rate in (8000, 16_000, 44_100)}
    sounds["quiet speech"] = speech(16_000) // 200
    sounds["speech of 8 bits"] = (speech(16_000) >> 8) << 8
    sounds["speech of 8 bits, twice"] = (speech(16_000) >> 8) * 257
    sounds |= {f"{hertz} Hz": 8000 * np.sin(2 * np.pi * hertz * t[: BLOCK // 2] + 1) for hertz in range(50, 8000, 150)}
    return {name: np.clip(sound, -32_768, 32_767) for name, sound in sounds.items()}


def test_sound_and_noise_as_declared_raise_no_suspicion(speech: Callable[[int], Samples]) -> None:
    for name, sound in harmless(speech).items():
        for encoding, data in (("linear16", sound.astype("<i2").tobytes()), ("mulaw", mulaw(sound))):
            for channels in (1, 2):
                for start in range(0, len(data), BLOCK):
                    hint = suspicion(data[start : start + BLOCK], Raw(encoding, RATE, channels))
                    assert not hint, f"{name} as {encoding}, {channels} channels: {hint}"


@given(st.binary(max_size=300), st.sampled_from(["linear16", "mulaw", "alaw"]), st.integers(1, 3))
def test_few_bytes_raise_no_suspicion(data: bytes, encoding: str, channels: int) -> None:
    assert suspicion(data, Raw(encoding, RATE, channels)) == ""


async def test_samples_without_a_header_say_which_options_to_give(speech: Callable[[int], Samples]) -> None:
    sound = speech(16_000)
    for data in (sound.astype("<i2").tobytes(), mulaw(sound), (sound / 32_768).astype("<f4").tobytes()):
        for start in range(0, 200_000, 50_000):
            with pytest.raises(AudioError, match=r"such as encoding='linear16', sample_rate=16000"):
                await BufferSource(data[start : start + 100_000]).open()


# WAV files of every kind


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (len(data) % 2)


def form(tag: int = 1, bits: int = 16, channels: int = 1, rate: int = RATE, extra: bytes = b"") -> bytes:
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra)


def riff(*parts: bytes, name: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(parts)
    return name + struct.pack("<I", len(body) if size is None else size) + body


def extensible(bits: int, tag: int, channels: int = 1) -> bytes:
    guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
    return form(0xFFFE, bits, channels, extra=struct.pack("<HHI", 22, bits, (1 << channels) - 1) + guid)


SOUND = (8000 * np.sin(np.arange(RATE) * 0.1)).astype("<i2")
PCM = SOUND.tobytes()
FORMS = {
    "plain": riff(form(), chunk(b"data", PCM)),
    "extensible": riff(extensible(16, 1), chunk(b"data", PCM)),
    "extensible float": riff(extensible(32, 3), chunk(b"data", (SOUND / 32768).astype("<f4").tobytes())),
    "extensible 24 bits": riff(extensible(24, 1), chunk(b"data", (SOUND.astype("<i4") << 8).tobytes())),
    "8 bits": riff(form(bits=8), chunk(b"data", ((SOUND >> 8) + 128).astype("u1").tobytes())),
    "32 bits": riff(form(bits=32), chunk(b"data", (SOUND.astype("<i4") << 16).tobytes())),
    "float": riff(form(3, 32), chunk(b"data", (SOUND / 32768).astype("<f4").tobytes())),
    "notes before the format": riff(chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0"), form(), chunk(b"data", PCM)),
    "notes of odd length": riff(chunk(b"LIST", b"INFOx"), form(), chunk(b"data", PCM)),
    "notes after the data": riff(form(), chunk(b"data", PCM), chunk(b"LIST", b"INFO")),
    "a size of 0": riff(form(), chunk(b"data", PCM, 0), size=0),
    "no size": riff(form(), chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
    "an odd size": riff(form(), chunk(b"data", PCM + b"\1")),
    "RF64": riff(
        chunk(b"ds64", struct.pack("<QQQI", 36 + len(PCM) + 36, len(PCM), RATE, 0)),
        form(),
        chunk(b"data", PCM, 0xFFFFFFFF),
        name=b"RF64",
        size=0xFFFFFFFF,
    ),
}
# The samples of 24 bits are the upper three bytes of four.
FORMS["extensible 24 bits"] = riff(
    extensible(24, 1),
    chunk(b"data", (SOUND.astype("<i4") << 8).view("u1").reshape(-1, 4)[:, :3].tobytes()),
)


@pytest.mark.parametrize("kind", FORMS)
async def test_a_wav_of_any_kind_is_read_whole_and_without_a_warning(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(FORMS[kind])
    got, notes = await read(FileSource(path))
    assert abs(len(got) - RATE) <= 1
    assert np.abs(got[:RATE].astype(int) - SOUND[: len(got)]).max() <= (256 if kind == "8 bits" else 1)
    assert not notes


@pytest.mark.parametrize("declared", [8000, 16_000, 48_000])
async def test_a_rate_beside_a_header_is_refused_whatever_it_is(tmp_path: Path, declared: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(FORMS["plain"])
    with pytest.raises(AudioError, match=r"has a WAV header, so it is not raw linear16\. Leave out encoding"):
        await FileSource(path, encoding="linear16", sample_rate=declared).open()


# Cut short


@given(cut=st.integers(9, len(PCM) - 2000))
@settings(max_examples=40, deadline=None)
def test_a_wav_cut_anywhere_gives_its_whole_samples_and_a_warning(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    import asyncio

    path = tmp_path_factory.getbasetemp() / "cut.wav"
    path.write_bytes(FORMS["plain"][:-cut])
    got, notes = asyncio.run(read(FileSource(path)))
    assert np.array_equal(got, SOUND[: RATE - (cut + 1) // 2])
    (note,) = notes
    assert note.type == "warning"
    assert f"cut.wav is cut short: {len(got) / RATE:.1f} s of it are there" in note.text
    assert f"promises {cut} bytes more" in note.text


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [("flac", "flac", 44_100), ("aac", "matroska", 44_100), ("libopus", "webm", 48_000), ("pcm_s16be", "aiff", 44_100)],
)
async def test_a_file_that_says_how_long_it_is_and_is_not_is_told(
    tmp_path: Path, encoded: Callable[..., bytes], tone: Callable[..., Samples], codec: str, container: str, rate: int
) -> None:
    data = encoded(tone(4.0, rate), rate, codec, container)
    path = tmp_path / "a"
    path.write_bytes(data)
    _, notes = await read(FileSource(path))
    assert not notes
    path.write_bytes(data[: len(data) * 2 // 3])
    got, notes = await read(FileSource(path))
    assert 1.5 < len(got) / RATE < 3.5
    assert ["is cut short" in note.text for note in notes] == [True]


async def test_an_mp4_that_lost_its_index_says_so(
    tmp_path: Path, encoded: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encoded(tone(2.0, 44_100), 44_100, "aac", "mp4")[:-500])
    with pytest.raises(AudioError, match="the index at its end may be missing"):
        await FileSource(path).open()


async def test_a_file_that_is_deleted_meanwhile_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(form(), chunk(b"data", PCM * 60)))
    audio = await FileSource(path).open()
    os.unlink(path)
    data = b"".join([part async for part in audio])
    await audio.aclose()
    assert data == PCM * 60

"""Everything that FFmpeg reads is decoded, on time; everything that it does not read is refused with a remedy."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.audio import Audio, BufferSource, FileSource, Note
from dgnb.audio.decode import Decoder, decoded
from dgnb.exceptions import AudioError, ConfigurationError

Samples = npt.NDArray[Any]

RATE = 16_000
CHUNK = 3200


async def chunks(audio: Audio) -> list[bytes]:
    try:
        return [chunk async for chunk in audio]
    finally:
        await audio.aclose()


async def read(path: Path, *, multichannel: bool = False, **options: Any) -> Samples:
    """The whole file, samples by channels, after a look at its chunks."""
    audio = await FileSource(path, **options).open(multichannel=multichannel)
    parts = await chunks(audio)
    size = CHUNK * audio.channels
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert 0 < len(parts[-1]) <= size
    return np.frombuffer(b"".join(parts), "<i2").reshape(-1, audio.channels)


async def read_with_notes(path: Path) -> tuple[Samples, list[Note]]:
    audio = await FileSource(path).open()
    data = b"".join(await chunks(audio))
    return np.frombuffer(data, "<i2"), list(audio.notes)


def by_hand(form: int, bits: int, channels: int, rate: int, data: bytes) -> bytes:
    """A WAV file with these numbers in its header, wrong ones too."""
    fmt = struct.pack("<HHIIHH", form, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def click(rate: int, at: float, seconds: float, channels: int = 1) -> Samples:
    """A quiet tone with a loud burst that begins at `at` seconds."""
    t = np.arange(round(seconds * rate)) / rate
    sound = 300 * np.sin(2 * np.pi * 300 * t)
    burst = (t >= at) & (t < at + 0.02)
    sound[burst] = 28_000 * np.cos(2 * np.pi * 1500 * (t[burst] - at))
    return np.repeat(sound.astype(np.int16)[:, None], channels, axis=1)


# Good files


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_a_wav_of_any_rate_keeps_its_length(
    tmp_path: Path, wav: Callable[..., bytes], tone: Callable[..., Samples], rate: int, channels: int
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(tone(10, rate, channels), rate))
    assert abs(len(await read(path)) - 10 * RATE) <= 1


@pytest.mark.parametrize(
    ("codec", "container", "rate", "tolerance"),
    [
        ("pcm_s16le", "wav", 44_100, 0.002),
        ("pcm_s16be", "aiff", 44_100, 0.002),
        ("flac", "flac", 44_100, 0.002),
        ("alac", "mp4", 44_100, 0.002),
        ("libmp3lame", "mp3", 44_100, 0.03),
        ("libopus", "ogg", 48_000, 0.03),
        ("libopus", "webm", 48_000, 0.03),
        ("aac", "mp4", 44_100, 0.03),
        ("aac", "matroska", 44_100, 0.03),
        ("aac", "adts", 44_100, 0.03),
        ("aac", "mpegts", 44_100, 0.03),
        ("ac3", "ac3", 48_000, 0.03),
    ],
)
async def test_a_sound_is_decoded_at_its_time(
    tmp_path: Path, encoded: Callable[..., bytes], codec: str, container: str, rate: int, tolerance: float
) -> None:
    path = tmp_path / f"a.{container}"
    path.write_bytes(encoded(click(rate, 1.0, 3.0, 2), rate, codec, container))
    sound = (await read(path))[:, 0]
    loud = np.nonzero(np.abs(sound.astype(int)) > 12_000)[0]
    assert abs(loud[0] / RATE - 1.0) < tolerance
    assert abs(len(sound) / RATE - 3.0) < 0.05


async def test_linear16_at_16_khz_is_decoded_unchanged(
    tmp_path: Path, wav: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    path = tmp_path / "a.wav"
    sound = tone(0.55)
    path.write_bytes(wav(sound))
    assert np.array_equal(await read(path), sound)


@pytest.mark.parametrize(
    ("form", "bits", "dtype", "scale"),
    [(1, 8, "u1", 127), (1, 24, "i3", 2**23), (1, 32, "<i4", 2**31), (3, 32, "<f4", 1), (3, 64, "<f8", 1)],
)
async def test_a_wav_of_any_sample_form_is_read(
    tmp_path: Path, tone: Callable[..., Samples], form: int, bits: int, dtype: str, scale: float
) -> None:
    sound = tone(1.0)[:, 0] / 32768
    if dtype == "i3":
        data = b"".join(int(x * (scale - 1)).to_bytes(3, "little", signed=True) for x in sound)
    elif dtype == "u1":
        data = (sound * scale + 128).astype("u1").tobytes()
    else:
        data = (sound * (scale - (1 if scale > 1 else 0))).astype(dtype).tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(by_hand(form, bits, 1, RATE, data))
    got = (await read(path))[:, 0] / 32768
    assert len(got) == RATE
    assert np.abs(got - sound).max() < (0.02 if bits == 8 else 0.001)


@pytest.mark.parametrize(("codec", "container"), [("libmp3lame", "mp3"), ("flac", "flac"), ("libopus", "ogg")])
async def test_a_truncated_file_gives_its_whole_frames(
    tmp_path: Path, encoded: Callable[..., bytes], tone: Callable[..., Samples], codec: str, container: str
) -> None:
    data = encoded(tone(4.0, 48_000), 48_000, codec, container)
    path = tmp_path / "a"
    path.write_bytes(data[: len(data) // 2 + 7])
    assert 1.0 < len(await read(path)) / RATE < 3.2


async def test_the_channels_of_a_call_are_kept_apart(
    tmp_path: Path, wav: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    path = tmp_path / "a.wav"
    sound = tone(0.55, channels=2)
    path.write_bytes(wav(sound))
    assert np.array_equal(await read(path, multichannel=True), sound)
    mixed = (await read(path))[:, 0].astype(int)
    assert np.abs(mixed - sound.astype(int).mean(axis=1)).max() <= 1


@pytest.mark.parametrize("channels", [3, 6, 9])
async def test_every_channel_is_heard_in_the_mix(tmp_path: Path, wav: Callable[..., bytes], channels: int) -> None:
    path = tmp_path / "a.wav"
    for loud in range(channels):
        sound = np.zeros((RATE // 2, channels), np.int16)
        sound[:, loud] = 9000
        path.write_bytes(wav(sound))
        assert (await read(path))[4000, 0] == 9000 // channels
    assert (await read(path, multichannel=True)).shape == sound.shape


async def test_more_channels_than_the_service_takes_are_refused(tmp_path: Path, wav: Callable[..., bytes]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.ones((RATE, 21), np.int16)))
    with pytest.raises(AudioError, match="21 channels; multichannel takes 20"):
        await FileSource(path).open(multichannel=True)


# Raw samples


@pytest.mark.parametrize(
    ("encoding", "dtype", "rate", "channels"),
    [("linear16", "<i2", 8000, 1), ("linear16", "<i2", 48_000, 2), ("linear32", "<f4", 16_000, 1)],
)
async def test_raw_samples_are_read_as_they_are_described(
    tmp_path: Path, tone: Callable[..., Samples], encoding: str, dtype: str, rate: int, channels: int
) -> None:
    sound = tone(1.0, rate, channels)
    path = tmp_path / "a.raw"
    path.write_bytes((sound / 32768 if dtype == "<f4" else sound).astype(dtype).tobytes())
    heard = await read(path, encoding=encoding, sample_rate=rate, channels=channels)
    assert len(heard) == RATE
    assert np.abs(heard).max() == pytest.approx(np.abs(sound).max(), rel=0.2)


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
async def test_telephone_samples_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(range(256)) * 32)
    assert len(await read(path, encoding=encoding, sample_rate=8000)) == 2 * 8192


async def test_an_odd_byte_at_the_end_of_raw_samples_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"\1\2" * 5000 + b"\3")
    assert len(await read(path, encoding="linear16", sample_rate=RATE)) == 5000


async def test_a_header_in_raw_samples_is_refused(tmp_path: Path, wav: Callable[..., bytes]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.ones((RATE, 1), np.int16)))
    with pytest.raises(AudioError, match=r"has a WAV header, so it is not raw linear16\. Leave out encoding"):
        await FileSource(path, encoding="linear16", sample_rate=RATE).open()


async def test_the_error_for_samples_without_a_header_names_the_options_to_give(tone: Callable[..., Samples]) -> None:
    sound = tone(3.0)
    for data in (sound.astype("<i2").tobytes(), (sound >> 8).astype("u1").tobytes(), (sound / 32_768).tobytes()):
        with pytest.raises(AudioError, match=r"such as encoding='linear16', sample_rate=16000"):
            await BufferSource(data[: CHUNK * 8]).open()


# Passed through unchanged


async def test_a_container_can_be_passed_through_unchanged(
    tmp_path: Path, encoded: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    path = tmp_path / "a.mp3"
    data = encoded(tone(3.0, 44_100), 44_100, "libmp3lame", "mp3", 64_000)
    path.write_bytes(data)
    audio = await FileSource(path, decode=False).open()
    assert audio.encoding is None
    assert audio.sample_rate is None
    assert abs(audio.bytes_per_second - len(data) / 3.0) < 200
    parts = await chunks(audio)
    assert b"".join(parts) == data
    assert len(parts) == pytest.approx(30, abs=2)


async def test_raw_samples_passed_through_keep_whole_samples_in_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(11_025 * 4))
    audio = await FileSource(path, encoding="linear16", sample_rate=11_025, channels=2, decode=False).open()
    assert (audio.encoding, audio.sample_rate, audio.channels) == ("linear16", 11_025, 2)
    assert audio.bytes_per_second == 44_100
    assert all(len(part) % 4 == 0 for part in await chunks(audio))


async def test_raw_audio_without_a_fixed_rate_is_passed_through_at_a_middle_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    path.write_bytes(bytes(1000))
    audio = await FileSource(path, encoding="opus", sample_rate=48_000, decode=False).open()
    assert audio.bytes_per_second == 6000
    assert b"".join(await chunks(audio)) == bytes(1000)


async def test_a_file_that_is_not_audio_is_not_passed_through(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"words, not sound\n" * 9)
    with pytest.raises(AudioError, match=r"a\.mp3"):
        await FileSource(path, decode=False).open()


# Much sound in few bytes


def checksum(data: bytes, polynomial: int, bits: int) -> int:
    value, top = 0, 1 << (bits - 1)
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & (2 * top - 1)
    return value


def flac(rate: int, channels: int) -> bytes:
    """Three blocks of 65,535 samples, each of which is the same."""
    size = 65_535
    format_ = (rate << 44 | channels - 1 << 41 | 15 << 36).to_bytes(8, "big")
    file = b"fLaC\x80\0\0\x22" + struct.pack(">HH", size, size) + bytes(6) + format_ + bytes(16)
    for number in range(3):
        head = struct.pack(">HBBBH", 0xFFF8, 0x70, channels - 1 << 4 | 8, number, size - 1)
        block = head + bytes([checksum(head, 7, 8)]) + b"\0\x12\x34" * channels
        file += block + checksum(block, 0x8005, 16).to_bytes(2, "big")
    return file


MEASURE = """
import asyncio, resource, sys, dgnb

async def heard(data, multichannel):
    audio = await dgnb.BufferSource(data).open(multichannel=multichannel)
    size = 0
    async for chunk in audio:
        size += len(chunk)
    await audio.aclose()
    return size

few, much = map(bytes.fromhex, sys.argv[1:3])
asyncio.run(heard(few, False))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(asyncio.run(heard(much, sys.argv[3] == "True")))
except dgnb.AudioError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("rate", "channels", "multichannel", "told"),
    [
        (1, 1, False, "has 1 samples a second, not from 4000 to 384000. Is its header right?"),
        (10, 8, True, "has 10 samples a second"),
        (655_350, 1, False, "has 655350 samples a second"),
        (4000, 8, True, str(2 * 8 * 4 * 3 * 65_535)),
        (4000, 8, False, str(2 * 4 * 3 * 65_535)),
    ],
)
def test_a_few_bytes_of_flac_take_little_memory(rate: int, channels: int, multichannel: bool, told: str) -> None:
    data = flac(rate, channels)
    assert len(data) < 150
    arguments = [by_hand(1, 16, 1, RATE, bytes(9000)).hex(), data.hex(), str(multichannel)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True)
    said, megabytes = done.stdout.splitlines()
    assert told in said
    assert int(megabytes) < 60


# Bad input

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000"
    "050001a5f645400000000049454e44ae426082"
)
BAD_FILES = {
    "text": (b"These are words, not sound.\n" * 40, "is text, not audio"),
    "html": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a page or a document"),
    "playlist": (b"#EXTM3U\nhttp://127.0.0.1/a.mp3\n", "is a playlist"),
    "json": (b'{"error": "no such file"}', "is text, not audio"),
    "png": (PNG, "is a PNG picture"),
    "random": (np.random.default_rng(1).bytes(50_000), "can't be decoded|holds no audio"),
    "zeros": (bytes(50_000), "can't be decoded|holds no audio"),
    "empty": (b"", "a.wav is empty"),
    "one byte": (b"R", "can't be decoded"),
    "a header alone": (by_hand(1, 16, 1, RATE, b""), "holds no samples|can't be decoded"),
    "half a header": (by_hand(1, 16, 1, RATE, b"")[:30], "can't be decoded|holds no"),
    "a rate of zero": (by_hand(1, 16, 1, 0, bytes(1000)), "can't be decoded|holds no"),
    "no channels": (by_hand(1, 16, 0, RATE, bytes(1000)), "can't be decoded|holds no"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_a_file_that_is_not_audio_raises_one_clear_error(tmp_path: Path, kind: str) -> None:
    data, message = BAD_FILES[kind]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(AudioError, match=message) as caught:
        await FileSource(path).open()
    assert time.monotonic() - began < 2
    assert "a.wav" in str(caught.value)
    assert caught.value.__cause__ is None


@given(cut=st.integers(0, 8000), flips=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_damaged_wav_is_decoded_or_raises_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(by_hand(1, 16, 1, RATE, bytes(range(256)) * 32))
    for position, value in flips:
        data[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(data[: len(data) - cut])

    async def run() -> None:
        try:
            audio = await FileSource(path).open()
        except AudioError:
            return
        try:
            async for chunk in audio:
                assert len(chunk) % 2 == 0
        except AudioError:
            pass
        finally:
            await audio.aclose()

    asyncio.run(asyncio.wait_for(run(), 10))


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
    "no size either": riff(form(), chunk(b"data", PCM, 0x7FFFFFFF), size=0x7FFFFFFF),
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
    got, notes = await read_with_notes(path)
    assert abs(len(got) - RATE) <= 1
    assert np.abs(got[:RATE].astype(int) - SOUND[: len(got)]).max() <= (256 if kind == "8 bits" else 1)
    assert not notes


# Cut short


@given(cut=st.integers(9, len(PCM) - 2000))
@settings(max_examples=40, deadline=None)
def test_a_wav_cut_anywhere_gives_its_whole_samples_and_a_warning(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.wav"
    path.write_bytes(FORMS["plain"][:-cut])
    got, notes = asyncio.run(read_with_notes(path))
    assert np.array_equal(got, SOUND[: RATE - (cut + 1) // 2])
    (note,) = notes
    assert note.type == "warning"
    # Half of a tenth may be rounded up or down.
    rounded = [f"cut.wav is cut short: {len(got) / RATE + more:.1f} s of it are there" for more in (-1e-6, 1e-6)]
    assert any(text in note.text for text in rounded)
    assert f"promises {cut} bytes more" in note.text


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [("flac", "flac", 44_100), ("aac", "matroska", 44_100), ("libopus", "webm", 48_000), ("pcm_s16be", "aiff", 44_100)],
)
async def test_a_file_shorter_than_its_header_states_gives_a_warning(
    tmp_path: Path, encoded: Callable[..., bytes], tone: Callable[..., Samples], codec: str, container: str, rate: int
) -> None:
    data = encoded(tone(4.0, rate), rate, codec, container)
    path = tmp_path / "a"
    path.write_bytes(data)
    _, notes = await read_with_notes(path)
    assert not notes
    path.write_bytes(data[: len(data) * 2 // 3])
    got, notes = await read_with_notes(path)
    assert 1.5 < len(got) / RATE < 3.5
    assert ["is cut short" in note.text for note in notes] == [True]


async def test_the_error_for_an_mp4_without_its_index_says_so(
    tmp_path: Path, encoded: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encoded(tone(2.0, 44_100), 44_100, "aac", "mp4")[:-500])
    with pytest.raises(AudioError, match="The index at its end may be missing"):
        await FileSource(path).open()


async def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(form(), chunk(b"data", PCM * 60)))
    audio = await FileSource(path).open()
    os.unlink(path)
    data = b"".join([part async for part in audio])
    await audio.aclose()
    assert data == PCM * 60


# Times are those that a player shows


def film(
    container: str,
    codec: str,
    *,
    times: Callable[[float], float],
    seconds: float = 4.0,
    picture: str | None = "mpeg4",
    rate: int = 48_000,
) -> bytes:
    """A click every half second from 0.25 s on, in frames whose timestamps `times` changes; and a longer picture."""
    file = io.BytesIO()
    packets: list[Any] = []
    with av.open(file, "w", format=container) as output:
        video: Any = output.add_stream(picture, rate=25) if picture else None
        stream: Any = output.add_stream(codec, rate=rate)
        stream.layout = "mono"
        t = np.arange(round(seconds * rate)) / rate
        loud = ((t - 0.25) % 0.5 < 0.02) & (t >= 0.25)
        sound = np.where(loud, 28_000 * np.cos(2 * np.pi * 1500 * ((t - 0.25) % 0.5)), 0).astype(np.int16)
        context = stream.codec_context
        size = context.frame_size or 1024
        resampler = av.AudioResampler(format=context.format.name, layout="mono", rate=rate, frame_size=size)
        whole = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        whole.sample_rate, whole.pts = rate, 0
        for number, frame in enumerate([*resampler.resample(whole), *resampler.resample(None)]):
            frame.pts, frame.time_base = round(times(number * size / rate) * rate), Fraction(1, rate)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if video:
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            for number in range(round(25 * max(times(seconds), seconds))):
                image = av.VideoFrame(64, 64, "yuv420p")
                image.pts, image.time_base = number, Fraction(1, 25)
                packets += video.encode(image)
            packets += video.encode(None)
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in packets:
            output.mux(packet)
    return file.getvalue()


def click_times(sound: Samples) -> list[float]:
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 9000) / RATE
    return [at for before, at in zip([-1.0, *loud], loud, strict=False) if at - before > 0.1]


CLICKS = [0.25 + 0.5 * number for number in range(8)]
SHIFTS: dict[str, Callable[[float], float]] = {
    "at 0": lambda at: at,
    "late": lambda at: at + 2.2,
    "with a hole": lambda at: at + 3.1 * (at >= 1.0),
    "with a short and a long hole": lambda at: at + 0.15 * (at >= 1.0) + 70.0 * (at >= 2.5),
    "late and with a hole": lambda at: at + 0.7 + 1.3 * (at >= 2.0),
    "with jitter": lambda at: at + 0.008 * (round(at * 50) % 2),
}
FILMS = [
    ("mp4", "aac", "mpeg4"),
    ("mov", "alac", "mpeg4"),
    ("matroska", "pcm_s16le", "mpeg4"),
    ("matroska", "flac", "mpeg4"),
    ("webm", "libopus", "libvpx"),
    ("mpegts", "mp2", "mpeg2video"),
    ("mpegts", "aac", "mpeg4"),
]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("container", "codec", "picture"), FILMS)
async def test_each_click_is_where_a_player_has_it(container: str, codec: str, picture: str, shift: str) -> None:
    times = SHIFTS[shift]
    audio = await BufferSource(film(container, codec, times=times, picture=picture)).open()
    sound = np.frombuffer(b"".join(await chunks(audio)), "<i2")
    # A click that a hole falls into is torn, so it is not looked at.
    assert click_times(sound) == pytest.approx([times(at) for at in CLICKS], abs=0.025)
    assert not audio.notes


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp3", "libmp3lame", 44_100),
        ("mp3", "libmp3lame", 22_050),
        ("opus", "libopus", 48_000),
        ("ogg", "flac", 48_000),
    ],
)
async def test_the_delay_of_an_encoder_is_removed(container: str, codec: str, rate: int) -> None:
    data = film(container, codec, times=lambda at: at, picture=None, rate=rate)
    sound = np.frombuffer(b"".join(await chunks(await BufferSource(data).open())), "<i2")
    assert click_times(sound) == pytest.approx(CLICKS, abs=0.005)
    assert len(sound) == pytest.approx(4 * RATE, abs=2)


@pytest.mark.parametrize("container", ["opus", "matroska"])
async def test_a_container_begins_with_its_earliest_stream(container: str) -> None:
    data = film(container, "libopus", times=lambda at: at + 9.0 + (at >= 1.0), picture=None)
    sound = np.frombuffer(b"".join(await chunks(await BufferSource(data).open())), "<i2")
    assert click_times(sound) == pytest.approx([at + (at >= 1.0) for at in CLICKS], abs=0.025)


@pytest.mark.parametrize(
    ("codec", "begins"),
    [
        ("mp2", [50.0, 5.0]),  # an encoder that begins anew
        ("aac", [5.0, 0.0]),
        ("mp2", [50.0, 49.4]),
        ("mp2", [50.0, 20.0, 54.0]),  # wrong timestamps in between
        ("mp2", [50.0, 80_000.0, 54.0]),
        ("aac", [2**33 / 90_000 - 1.0]),  # 33 bits that run over
        ("mp2", [50.0, 5.0, 7.0, 1.0]),
    ],
)
@pytest.mark.parametrize("waits", [True, False])
async def test_timestamps_that_jump_back_lose_nothing_and_add_nothing(
    codec: str, begins: list[float], waits: bool
) -> None:
    parts = [
        film("mpegts", codec, times=lambda at, begin=begin: at + begin, seconds=2.0, picture=None) for begin in begins
    ]
    alone = sum(len(opened(part, waits=waits)[0]) for part in parts)
    sound, notes = opened(b"".join(parts), waits=waits)
    assert len(click_times(sound)) == 4 * len(begins)
    assert len(sound) == pytest.approx(alone, abs=0.1 * RATE)
    assert not [note for _, note in notes if note.missed]
    assert len(notes) == (80_000.0 in begins)


def opened(data: bytes, *, waits: bool) -> tuple[Samples, list[tuple[float, Note]]]:
    """What a container gives: its sound, and its notes with the seconds of sound before them."""
    decoder = Decoder("a film", None, multichannel=False)
    sound, notes = b"", []
    with av.open(io.BytesIO(data)) as container:
        for item in decoder.container(container, live=False, waits=waits):
            if isinstance(item, bytes):
                assert len(item) == CHUNK
                sound += item
            if isinstance(item, Note):
                notes.append((len(sound) / 2 / RATE, item))
    return np.frombuffer(sound + b"".join(decoder.rest()), "<i2"), notes


@pytest.mark.parametrize(("container", "codec", "picture"), FILMS)
@pytest.mark.parametrize("hole", [0.3, 3.1, 600.0])
async def test_a_hole_in_a_source_that_does_not_wait_is_told_once(
    container: str, codec: str, picture: str, hole: float
) -> None:
    data = film(container, codec, times=lambda at: at + 1.0 + hole * (at >= 2.0), picture=None)
    sound, notes = opened(data, waits=False)
    assert click_times(sound) == pytest.approx(CLICKS, abs=0.025 + 0.022)
    ((at, note),) = notes
    assert at == pytest.approx(2.0, abs=0.1)
    assert (note.type, note.missed) == ("source", pytest.approx(hole, abs=0.1))


async def test_a_timestamp_that_leads_far_away_makes_a_note_and_no_silence() -> None:
    data = film("matroska", "pcm_s16le", times=lambda at: at + 90_000 * (at >= 2.0), picture=None)
    for waits in (True, False):
        sound, notes = opened(data, waits=waits)
        assert len(sound) == 4 * RATE
        ((_, note),) = notes
        assert (note.type, note.missed) == ("warning", 0.0)
        assert "90000.0 s have no sound" in note.text


async def test_a_picture_that_lasts_longer_than_the_sound_is_no_cut(tmp_path: Path) -> None:
    for container, codec in (("mp4", "aac"), ("matroska", "aac"), ("mov", "pcm_s16le")):
        path = tmp_path / "a"
        path.write_bytes(film(container, codec, times=lambda at: at + (at >= 1.99), seconds=2.0))
        assert not (await read_with_notes(path))[1]


async def test_chunks_do_not_drift_in_an_hour(tmp_path: Path, wav: Callable[..., bytes]) -> None:
    # 11,025 Hz: no whole number of samples in a packet is a whole number at 16 kHz.
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.tile(click(11_025, 5.0, 10.0), (360, 1)), 11_025))
    sound = await read(path)
    assert len(sound) == pytest.approx(3600 * RATE, abs=1)
    last = sound[-10 * RATE :, 0]
    assert click_times(last) == pytest.approx([5.0], abs=0.001)


# Which sound is heard


def tracks(container: str, languages: list[str], *, default: int | None = None) -> bytes:
    """A file with a track for each language: a tone whose amplitude is 1000, 2000, …"""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams: list[Any] = []
        for number, language in enumerate(languages):
            streams.append(output.add_stream("pcm_s16le" if container == "matroska" else "alac", rate=RATE))
            streams[-1].layout = "mono"
            streams[-1].metadata["language"] = language
            streams[-1].disposition = Disposition.default if number == default else Disposition(0)
        for part in range(10):
            for number, stream in enumerate(streams, 1):
                sound = (1000 * number * np.sin(np.arange(1600) * 0.3)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, part * 1600, Fraction(1, RATE)
                output.mux([packet for f in converted(frame, stream) for packet in stream.encode(f)])
        for stream in streams:
            output.mux(stream.encode(None))
    return file.getvalue()


def converted(frame: Any, stream: Any) -> list[Any]:
    context = stream.codec_context
    return av.AudioResampler(format=context.format.name, layout="mono", rate=RATE).resample(frame)


@pytest.mark.parametrize(
    ("default", "track", "heard"),
    [
        (None, None, 0),
        (0, None, 0),
        (2, None, 2),
        (2, 1, 1),
        (0, np.int64(2), 2),
        (0, "ger", 1),
        (1, " ENG", 0),
    ],
)
async def test_the_track_is_the_default_one_or_the_one_that_is_asked_for(
    default: int | None, track: int | str | None, heard: int
) -> None:
    data = tracks("matroska", ["eng", "ger", "fre"], default=default)
    audio = await BufferSource(data, track=track).open()
    sound = np.frombuffer(b"".join(await chunks(audio)), "<i2")
    assert sound.max() == pytest.approx(1000 * (heard + 1), rel=0.01)
    if track is not None:
        assert not audio.notes
        return
    (note,) = audio.notes
    assert note.type == "warning"
    assert f"track {heard} (" in note.text.partition(" is heard")[0]
    named = note.text.partition("There are also")[2]
    assert [f"track {number} (" in named for number in range(3)] == [number != heard for number in range(3)]
    assert "eng" in note.text
    assert "fre" in note.text


async def test_an_mp4_of_several_tracks_is_read_by_its_default_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(tracks("mp4", ["eng", "spa"], default=1))
    got, notes = await read_with_notes(path)
    assert got.max() == pytest.approx(2000, rel=0.01)
    assert len(notes) == 1
    audio = await FileSource(path, track=" ENG").open()
    assert np.frombuffer(b"".join(await chunks(audio)), "<i2").max() == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize("track", [3, "spa", "Klingon"])
async def test_the_error_for_a_track_that_is_not_there_lists_the_tracks(track: int | str) -> None:
    with pytest.raises(AudioError, match=r"no audio track .*track 0 \(eng, .*track 1 \(ger, .*leave out track"):
        await BufferSource(tracks("matroska", ["eng", "ger"]), track=track).open()


@pytest.mark.parametrize("track", [-1, True, 1.5, "", " ", b"eng"])
def test_a_track_is_an_index_or_a_language(track: Any) -> None:
    for make in (lambda: FileSource("a.mp4", track=track), lambda: BufferSource(b"RIFF", track=track)):
        with pytest.raises(ConfigurationError, match="track is an index from 0 on or a language"):
            make()


def test_a_track_is_not_chosen_in_what_is_sent_as_it_is() -> None:
    with pytest.raises(ConfigurationError, match="Leave out one"):
        FileSource("a.mp4", decode=False, track=1)


def opposite(rate: int, seconds: float, noise: float) -> Samples:
    rng = np.random.default_rng(3)
    t = np.arange(round(seconds * rate)) / rate
    sound = 9000 * np.sin(2 * np.pi * 300 * t) * (np.sin(2 * np.pi * 1.3 * t) > -0.3)
    return np.stack([sound, -0.95 * sound], 1) + rng.normal(0, noise, (len(sound), 2))


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [
        ("pcm_s16le", "wav", 44_100),
        ("libmp3lame", "mp3", 44_100),
        ("aac", "mp4", 48_000),
        ("flac", "flac", 16_000),
        ("pcm_s24le", "wav", 48_000),
    ],
)
@pytest.mark.parametrize("begins", [0.0, 3.0])
async def test_channels_that_cancel_each_other_out_are_noticed(
    encoded: Callable[..., bytes], codec: str, container: str, rate: int, begins: float
) -> None:
    same = np.repeat(opposite(rate, begins, 60)[:, :1], 2, axis=1)
    sound = np.concatenate([same, opposite(rate, 5.0, 60)]).astype(np.int16)
    audio = await BufferSource(encoded(sound, rate, codec, container, 128_000)).open()
    notes, got, noted = [], b"", -1.0
    async for part in audio:
        if audio.notes:
            noted = len(got) / 2 / RATE
            notes.append(audio.notes.popleft())
        got += part
    await audio.aclose()
    (note,) = notes
    assert note.type == "warning"
    assert "only the left is heard" in note.text
    assert noted == pytest.approx(begins, abs=0.25)
    heard = np.frombuffer(got, "<i2").astype(float)
    loudness = [np.sqrt(np.mean(heard[at : at + 1600] ** 2)) for at in range(0, len(heard) - 1600, 1600)]
    expected = sound[:: rate // 1000, 0].astype(float)
    expected = [np.sqrt(np.mean(expected[at : at + 100] ** 2)) for at in range(0, 100 * len(loudness), 100)]
    # At most 0.1 s is lost where they begin to cancel each other out.
    off = np.abs(np.array(loudness) - expected) > 1500
    assert off.sum() <= 2
    assert len(heard) == pytest.approx(len(sound) / rate * RATE, abs=0.05 * RATE)


async def test_other_stereo_is_mixed(wav: Callable[..., bytes], tone: Callable[..., Samples]) -> None:
    left, right = tone(2.0, hertz=300), tone(2.0, hertz=470)
    silent = np.zeros_like(left)
    for sides in ((left, right), (left, silent), (silent, silent), (left, left), (left, -left // 3)):
        sound = np.concatenate(sides, axis=1)
        audio = await BufferSource(wav(sound)).open()
        got = np.frombuffer(b"".join(await chunks(audio)), "<i2").astype(int)
        assert np.abs(got - sound.astype(int).mean(axis=1)).max() <= 1
        assert not audio.notes


async def test_opposite_channels_are_kept_apart_as_they_are(wav: Callable[..., bytes]) -> None:
    sound = opposite(RATE, 1.0, 0.0).astype(np.int16)
    audio = await BufferSource(wav(sound)).open(multichannel=True)
    assert b"".join(await chunks(audio)) == sound.tobytes()
    assert not audio.notes


@pytest.mark.parametrize("promised", [2, 1000, 8000, 24_000])
async def test_samples_beyond_the_length_in_a_header_are_heard(tmp_path: Path, promised: int) -> None:
    path = tmp_path / "a.wav"
    note_before = chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0")
    path.write_bytes(riff(note_before, form(), chunk(b"data", PCM, promised), size=promised + 60))
    got, notes = await read_with_notes(path)
    assert np.array_equal(got[: len(SOUND)], SOUND)
    (note,) = notes
    assert f"holds {len(PCM) - promised} bytes more than its header promises" in note.text


@pytest.mark.parametrize(("container", "codec"), [("au", "pcm_s16be"), ("flac", "flac")])
async def test_a_header_that_promises_one_second_of_four_costs_nothing(container: str, codec: str) -> None:
    data = bytearray(film(container, codec, times=lambda at: at, picture=None, rate=RATE))
    if container == "flac":  # the lower 32 bits of the number of samples
        data[22:26] = struct.pack(">I", RATE)
    else:
        data[8:12] = struct.pack(">I", 2 * RATE)
    audio = await BufferSource(bytes(data)).open()
    sound = np.frombuffer(b"".join(await chunks(audio)), "<i2")
    assert click_times(sound) == pytest.approx(CLICKS, abs=0.001)
    (note,) = audio.notes
    assert "its header promises" in note.text
    assert "all 4.0 s are heard" in note.text


# Damage


@pytest.mark.parametrize("harm", ["noise", "zeros"])
@pytest.mark.parametrize(
    ("container", "codec", "rate", "timed"),
    [
        ("mp4", "aac", 48_000, True),
        ("mov", "alac", 48_000, True),
        ("matroska", "flac", 48_000, True),
        ("mp3", "libmp3lame", 44_100, False),
        ("adts", "aac", 48_000, False),
    ],
)
async def test_damage_in_the_middle_of_a_file_costs_only_itself(
    container: str, codec: str, rate: int, timed: bool, harm: str
) -> None:
    data = bytearray(film(container, codec, times=lambda at: at, picture=None, seconds=8.0, rate=rate))
    begin, end = int(len(data) * 0.45), int(len(data) * 0.55)
    data[begin:end] = np.random.default_rng(4).bytes(end - begin) if harm == "noise" else bytes(end - begin)
    audio = await BufferSource(bytes(data)).open()
    sound = np.frombuffer(b"".join(await chunks(audio)), "<i2")
    (note,) = audio.notes
    assert note.type == "warning"
    assert "do not decode and are left out" in note.text
    heard = click_times(sound)
    assert [at for at in heard if at < 3] == pytest.approx([0.25 + 0.5 * number for number in range(6)], abs=0.03)
    # MP3 and AAC without a container have no timestamps: what is left out takes no time there.
    late = 0.0 if timed else len(sound) / RATE - 8.0
    assert [at for at in heard if at > 6 + late] == pytest.approx(
        [6.25 + late, 6.75 + late, 7.25 + late, 7.75 + late], abs=0.05
    )
    assert len(sound) == pytest.approx((8 + late) * RATE, abs=0.05 * RATE)


def test_a_file_that_can_not_be_read_on_keeps_what_came() -> None:
    data = riff(form(), chunk(b"data", PCM * 60))

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > len(data) // 2:
                raise OSError(5, "Input/output error")
            return super().read(size)

    items = list(decoded(lambda: Failing(data), "a.wav", None))
    sound = b"".join(item for item in items if isinstance(item, bytes))
    assert len(sound) == pytest.approx(60 * RATE, abs=0.3 * RATE)
    (note,) = [item for item in items if isinstance(item, Note)]
    assert "a.wav is damaged" in note.text
    assert "Input/output error" in note.text


@pytest.mark.parametrize("rate", [1, 10, 999, 384_001, 655_350])
async def test_rates_that_are_no_rates_of_sound_are_refused(wav: Callable[..., bytes], rate: int) -> None:
    with pytest.raises(AudioError, match=f"{rate} samples a second, not from 4000 to 384000. Is its header right"):
        await BufferSource(wav(np.ones((4000, 1), np.int16), rate)).open()


async def test_raw_flac_that_is_none_is_an_error_with_all_its_channels() -> None:
    for data in (b"this is no FLAC at all", bytes(5000)):
        with pytest.raises(AudioError):
            await BufferSource(data, encoding="flac", sample_rate=8000).open(multichannel=True)


KNOWN = {
    "PNG": PNG,
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3" + bytes(300),
    "ZIP": b"PK\3\4" + bytes(range(200)),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(range(200)),
    "WAV": riff(form())[:30],
    "words": "Wörter, die kein Ton sind.\n".encode() * 9,
    "code": b"def main():\n\treturn 1\n" * 30,
}


@pytest.mark.parametrize("kind", KNOWN)
async def test_the_advice_on_raw_samples_is_not_given_where_more_is_known(kind: str) -> None:
    with pytest.raises(AudioError) as caught:
        await BufferSource(KNOWN[kind]).open()
    assert "Raw samples" not in str(caught.value)


async def test_a_container_without_a_duration_is_passed_through_at_the_rate_of_its_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for container, codec in (("webm", "libopus"), ("matroska", "aac")):
        file = io.BytesIO()
        with av.open(file, "w", format=container, options={"live": "1"}) as output:
            stream: Any = output.add_stream(codec, rate=48_000)
            stream.layout = "mono"
            with av.open(io.BytesIO(film("matroska", "pcm_s16le", times=lambda at: at, picture=None))) as source:
                for frame in source.decode(audio=0):
                    frame.pts = None
                    output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        path.write_bytes(file.getvalue())
        audio = await FileSource(path, decode=False).open()
        await audio.aclose()
        assert len(file.getvalue()) / audio.bytes_per_second == pytest.approx(4.0, abs=0.1)

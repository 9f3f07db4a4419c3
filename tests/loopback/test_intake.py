from __future__ import annotations

import io
import itertools
import math
import random
import resource
import struct
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dgnb.loopback.intake import Undecodable, container_of, decode, headed
from dgnb.options import LiveOptions

SECONDS = 2.0
CONTAINERS = {
    "wav": ("wav", "pcm_s16le", "WAV"),
    "flac": ("flac", "flac", "FLAC"),
    "ogg-opus": ("ogg", "libopus", "Ogg"),
    "webm": ("webm", "libopus", "WebM"),
    "mp3": ("mp3", "libmp3lame", "MP3"),
    "aac": ("adts", "aac", "AAC"),
    "au": ("au", "pcm_s16be", "AU"),
}


def tone(hertz: float = 440, seconds: float = SECONDS, rate: int = 48_000) -> NDArray[np.int16]:
    return (np.sin(np.arange(round(seconds * rate)) * 2 * math.pi * hertz / rate) * 16_000).astype("<i2")


def contained(form: str, codec: str, *channels: NDArray[np.int16], options: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    layout = "stereo" if len(channels) == 2 else "mono"
    with av.open(buffer, "w", format=form, options=options or {}) as file:
        stream: Any = file.add_stream(codec, rate=48_000, layout=layout)
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.stack(channels, 1).reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(
            format=stream.format, layout=layout, rate=48_000, frame_size=stream.codec_context.frame_size or None
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(piece))
    return buffer.getvalue()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def heard(data: bytes, size: int = 1000, **options: object) -> list[NDArray[np.int16]]:
    """Each channel, decoded."""
    out = list(decode(LiveOptions(**options), pieces(data, size)))  # type: ignore[arg-type]
    assert all(len(set(map(len, piece))) == 1 for piece in out)
    assert all(0 < len(piece[0]) <= 8000 for piece in out)
    return [np.frombuffer(b"".join(channel), "<i2") for channel in zip(*out, strict=True)]


def pitch(samples: NDArray[np.int16]) -> float:
    """The strongest frequency of the middle second, in hertz."""
    middle = samples[len(samples) // 2 - 8000 : len(samples) // 2 + 8000].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(middle))))


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("size", [37, 4096, 10**7])
def test_a_container_is_decoded_as_it_comes(name: str, size: int) -> None:
    form, codec, _ = CONTAINERS[name]
    (samples,) = heard(contained(form, codec, tone()), size)
    assert len(samples) / 16_000 == pytest.approx(SECONDS, abs=0.15)
    assert pitch(samples) == 440


def test_an_mp4_that_is_made_for_streaming_is_decoded() -> None:
    data = contained("mp4", "aac", tone(), options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    (samples,) = heard(data)
    assert pitch(samples) == 440


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_wav_header_without_a_length_is_accepted(length: int) -> None:
    wave = tone(rate=16_000).tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", length, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", length
    )
    (samples,) = heard(header + wave)
    assert samples.tobytes() == wave


@pytest.mark.parametrize(("name", "codec"), [("mp3", "libmp3lame"), ("adts", "aac")])
def test_audio_may_begin_in_the_middle_of_a_frame(name: str, codec: str) -> None:
    data = contained(name, codec, tone(seconds=4))
    (samples,) = heard(data[len(data) // 4 + 13 :])
    assert pitch(samples) == 440


def test_each_channel_of_a_container_is_kept_apart_if_asked() -> None:
    data = contained("wav", "pcm_s16le", tone(440), tone(880))
    left, right = heard(data, multichannel=True)
    assert (pitch(left), pitch(right)) == (440, 880)
    assert len(heard(data)) == 1


def test_a_damaged_stretch_is_skipped() -> None:
    data = bytearray(contained("mp3", "libmp3lame", tone(seconds=6)))
    data[20_000:22_000] = random.Random(1).randbytes(2000)
    (samples,) = heard(bytes(data))
    assert len(samples) / 16_000 > 5.5


def test_linear16_at_16_khz_is_taken_as_it_is() -> None:
    wave = tone(rate=16_000).tobytes()
    (samples,) = heard(wave, 333, encoding="linear16", sample_rate=16_000)
    assert samples.tobytes() == wave


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_and_keep_their_length(rate: int) -> None:
    (samples,) = heard(tone(rate=rate).tobytes(), 999, encoding="linear16", sample_rate=rate)
    assert len(samples) == pytest.approx(SECONDS * 16_000, abs=2)
    assert pitch(samples) == 440


def test_linear32_is_floating_point() -> None:
    wave = tone(rate=16_000)
    floats = (wave / 32767).astype("<f4")
    (samples,) = heard(floats.tobytes(), 333, encoding="linear32", sample_rate=16_000)
    assert np.array_equal(samples, wave)


def test_linear32_that_is_not_a_number_becomes_silence() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 5, -5], "<f4")
    (samples,) = heard(values.tobytes(), encoding="linear32", sample_rate=16_000)
    assert samples.tolist() == [0, 32767, -32767, 32767, -32767]


@pytest.mark.parametrize(("encoding", "codec"), [("mulaw", "pcm_mulaw"), ("alaw", "pcm_alaw")])
def test_companded_samples_decode_as_in_ffmpeg(encoding: str, codec: str) -> None:
    every = bytes(range(256))
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout = 16_000, "mono"
    (frame,) = context.decode(av.Packet(every))
    (samples,) = heard(every, encoding=encoding, sample_rate=16_000)
    assert samples.tolist() == frame.to_ndarray()[0].tolist()


def test_raw_channels_are_mixed_or_kept_apart() -> None:
    left, right = tone(440, rate=16_000), tone(880, rate=16_000)
    data = np.stack([left, right], 1).tobytes()
    raw = {"encoding": "linear16", "sample_rate": 16_000, "channels": 2}
    apart = heard(data, 1001, multichannel=True, **raw)
    assert [channel.tobytes() for channel in apart] == [left.tobytes(), right.tobytes()]
    (mixed,) = heard(data, 1001, **raw)
    assert np.array_equal(mixed, np.round((left.astype(float) + right) / 2).astype("<i2"))


@pytest.mark.parametrize(("encoding", "name"), [("flac", "flac"), ("ogg-opus", "ogg-opus")])
def test_an_encoding_with_a_framing_of_its_own_is_decoded(encoding: str, name: str) -> None:
    form, codec, _ = CONTAINERS[name]
    (samples,) = heard(contained(form, codec, tone()), encoding=encoding, sample_rate=48_000)
    assert pitch(samples) == 440


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "linear32", "amr-wb"])
@pytest.mark.parametrize("name", ["wav", "flac", "ogg-opus", "webm", "au"])
def test_a_container_is_refused_if_raw_audio_was_declared(encoding: str, name: str) -> None:
    form, codec, called = CONTAINERS[name]
    data = contained(form, codec, tone(seconds=0.5))
    for size in (3, 10_000):
        with pytest.raises(Undecodable, match=called):
            heard(data, size, encoding=encoding, sample_rate=16_000)


@pytest.mark.parametrize(
    "data",
    [
        tone(rate=16_000).tobytes(),
        random.Random(2).randbytes(100_000),
        b"<!DOCTYPE html><html>" + b"<p>Not found</p>" * 5000,
        b"nothing much",
        b"RIFF",
        b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(5000),
        b"OggS" + bytes(50_000),
        bytes(100_000),
        b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/segment.ts\n" * 900,
    ],
)
def test_data_that_is_not_an_audio_file_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable):
        heard(data)


def test_a_film_without_sound_is_refused() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as file:
        stream = file.add_stream("mpeg4", rate=25, width=16, height=16, pix_fmt="yuv420p")
        frame = av.VideoFrame(16, 16, "yuv420p")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    with pytest.raises(Undecodable, match="no audio"):
        heard(buffer.getvalue())


def crc(data: bytes, bits: int, polynomial: int) -> bytes:
    rest = 0
    for byte in data:
        rest ^= byte << (bits - 8)
        for _ in range(8):
            rest = (rest << 1) ^ (polynomial if rest >> (bits - 1) else 0)
            rest &= (1 << bits) - 1
    return rest.to_bytes(bits // 8, "big")


def flac(rate: int, frames: int = 2) -> bytes:
    """Frames of 65,535 equal samples, each in a dozen bytes."""
    data = struct.pack(">4sI HH 6x Q 16x", b"fLaC", 0x8000_0022, 0xFFFF, 0xFFFF, rate << 44 | 15 << 36)
    for number in range(frames):
        head = struct.pack(">HBBBH", 0xFFF8, 0x70, 0, number, 0xFFFE)
        frame = head + crc(head, 8, 0x07) + struct.pack(">BH", 0, 1000)
        data += frame + crc(frame, 16, 0x8005)
    return data


def wav(rate: int, channels: int = 1, samples: int = 2000) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, rate, 0, 2 * channels & 0xFFFF, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + b"data\xff\xff\xff\xff" + b"\1\2" * samples * channels


def au(rate: int, channels: int = 1) -> bytes:
    return struct.pack(">4s5I", b".snd", 24, 0xFFFF_FFFF, 3, rate, channels) + b"\1\2" * 2000 * channels


def matroska(rate: float) -> bytes:
    found = b"\xb5\x88" + struct.pack(">d", 48_000)
    data = contained("matroska", "pcm_s16le", tone())
    assert found in data
    return data.replace(found, b"\xb5\x88" + struct.pack(">d", rate))


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    "data",
    [
        *(flac(rate) for rate in (10, 1000, 384_001, 1_000_000)),
        *(form(rate) for form in (wav, au) for rate in (0, 1, 3999, 384_001, 2_000_000_000, 4_000_000_000)),
        *(matroska(rate) for rate in (50, 2e9)),
        *(form(16_000, channels) for form in (wav, au) for channels in (0, 21, 64, 1000)),
    ],
)
@pytest.mark.parametrize("multichannel", [False, True])
def test_a_file_that_claims_an_absurd_form_is_refused_without_much_memory(data: bytes, multichannel: bool) -> None:
    before = peak()
    with pytest.raises(Undecodable):
        heard(data, multichannel=multichannel)
    assert peak() - before < 50_000_000


def test_the_highest_rate_is_taken() -> None:
    assert len(heard(wav(384_000, samples=384_000))[0]) == pytest.approx(16_000, abs=50)


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "linear16", "sample_rate": 4000},
        {"encoding": "mulaw", "sample_rate": 4001},
        {"encoding": "linear16", "sample_rate": 383_999, "channels": 20, "multichannel": True},
        {"encoding": "linear32", "sample_rate": 384_000},
    ],
)
def test_a_large_message_is_resampled_in_pieces(options: dict[str, Any]) -> None:
    data, samples, before = bytes(4 << 20), 0, peak()
    for piece in decode(LiveOptions(**options), iter([data])):
        samples += len(piece[0]) // 2
    width = {"mulaw": 1, "linear32": 4}.get(options["encoding"], 2) * options.get("channels", 1)
    assert samples / 16_000 == pytest.approx(len(data) / width / options["sample_rate"], abs=0.01)
    assert peak() - before < 50_000_000


@pytest.mark.parametrize("count", [3, 9, 20])
def test_many_channels_are_kept_apart_in_their_order(count: int) -> None:
    values = np.repeat(np.arange(count, dtype="<i2")[None] * 100, 16_000, axis=0)
    raw = heard(values.tobytes(), encoding="linear16", sample_rate=16_000, channels=count, multichannel=True)
    filed = heard(wav(16_000, count, 0) + values.tobytes(), multichannel=True)
    for channels in (raw, filed):
        assert [set(channel.tolist()) for channel in channels] == [{n * 100} for n in range(count)]


@pytest.mark.parametrize("options", [{}, {"encoding": "linear16", "sample_rate": 8000}])
def test_no_audio_at_all_is_accepted(options: dict[str, Any]) -> None:
    assert heard(b"", **options) == []


def test_only_what_is_asked_for_is_read() -> None:
    endless = itertools.repeat(bytes(3200))
    first = next(decode(LiveOptions(encoding="linear16", sample_rate=16_000), endless))
    assert [len(channel) for channel in first] == [3200]


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_known_by_their_first_bytes(name: str) -> None:
    form, codec, called = CONTAINERS[name]
    container = container_of(contained(form, codec, tone())[:16_384])
    assert container is not None
    assert container == called


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_sniffing_survives_anything(data: bytes) -> None:
    container_of(data)
    headed(data)
    container_of(b"\xff\xfb" + data)
    container_of(b"\xff\xf1" + data)

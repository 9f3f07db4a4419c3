"""The recording in all encodings, and a playhead that may change between them."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

__all__ = ["SEGMENT_SECONDS", "Format", "Playhead", "Programme", "Recordings", "Variant", "wav_header"]

SEGMENT_SECONDS: Final = 2

Format = Literal["mp3", "aac", "ogg", "wav", "noise"]


@dataclass(frozen=True, eq=False)
class Encoding:
    """How a recording is encoded.

    Attributes:
        content_type: The HTTP content type.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the container.
        sample_rate: Samples a second.
        bit_rate: Bits a second.
        options: Options of the container.
        least: Seconds that one pass has to last; a shorter recording is repeated.
    """

    content_type: str
    codec: str
    container: str
    sample_rate: int
    bit_rate: int
    options: Mapping[str, str] = field(default_factory=dict)
    least: float = 0.0


# Without headers and tags, so that the end of one pass joins the beginning of the next.
MP3: Final = Encoding("audio/mpeg", "libmp3lame", "mp3", 44_100, 128_000, {"write_xing": "0", "id3v2_version": "0"})
# FFmpeg can't follow a chain of Ogg streams that are shorter than a page.
OGG: Final = Encoding("audio/ogg", "libopus", "ogg", 48_000, 32_000, least=10.0)


@dataclass(frozen=True, eq=False)
class Programme:
    """Bytes that a station repeats for ever.

    Attributes:
        content_type: The HTTP content type.
        body: One pass.
        seconds: How long one pass lasts.
    """

    content_type: str
    body: bytes
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return len(self.body) / self.seconds

    def part(self, begin: int, end: int) -> bytes:
        """The bytes from one position to another of the endless programme."""
        first = begin // len(self.body) * len(self.body)
        passes = self.body * -(-(end - first) // len(self.body))
        return passes[begin - first : end - first]


_ENCODINGS: Final[dict[str, Encoding]] = {
    "mp3": MP3,
    "mp3-22050": dataclasses.replace(MP3, sample_rate=22_050, bit_rate=64_000),
    "aac": Encoding("audio/aac", "aac", "adts", 44_100, 64_000),
    "ogg": OGG,
}
_VARIANTS: Final = {
    "high": ("mpegts", 44_100, 64_000),
    "low": ("mpegts", 22_050, 32_000),
    "fmp4": ("fmp4", 44_100, 64_000),
}
_WAV_RATE: Final = 16_000


@dataclass(frozen=True, eq=False)
class Variant:
    """A recording cut for HLS.

    Attributes:
        bodies: The segments of one pass.
        seconds: How long each lasts.
        init: The content of `EXT-X-MAP`; empty for MPEG-TS.
        bandwidth: Bits a second.
    """

    bodies: tuple[bytes, ...]
    seconds: tuple[float, ...]
    init: bytes
    bandwidth: int


class Recordings:
    """One recording in all formats. Each is made in a thread, when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._made: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> Programme:
        """The recording in a `Format`."""
        return cast(Programme, await self._once(name, _programme, name))

    async def variant(self, name: str) -> Variant:
        """The recording in segments for HLS: `high`, `low` or `fmp4`."""
        return cast(Variant, await self._once(f"hls {name}", _variant, *_VARIANTS[name]))

    async def _once(self, key: str, make: Callable[..., object], *how: object) -> object:
        async with self._lock:
            if key not in self._made:
                self._made[key] = await asyncio.to_thread(make, self._path, *how)
        return self._made[key]


class Playhead:
    """The position of one listener in a programme.

    Args:
        programme: What is played.
        joining: Seconds into it where the listener joins, in the middle of a packet and without a header; by default,
            its beginning.
        then: The seconds after which another programme begins, and that programme.
    """

    def __init__(
        self, programme: Programme, joining: float | None = None, then: tuple[float, Programme] | None = None
    ) -> None:
        self._then = then
        self._pending = b"" if joining else _head(programme)
        self._start(programme, 0.0, int((joining or 0.0) * programme.rate))

    def upto(self, seconds: float) -> bytes:
        """The bytes that are due by then and were not returned before."""
        due = b""
        if self._then and seconds >= self._then[0]:
            at, programme = self._then
            self._then = None
            due = self._take(at, whole=True)
            self._pending = _head(programme)
            self._start(programme, at, 0)
        return due + self._take(seconds)

    def _start(self, programme: Programme, at: float, begin: int) -> None:
        self._programme, self._at, self._begin, self._given = programme, at, begin, begin

    def _take(self, seconds: float, whole: bool = False) -> bytes:
        programme = self._programme
        due = self._begin + int((seconds - self._at) * programme.rate)
        if whole and programme.content_type == MP3.content_type:
            due = _frame_end(programme.body, due)
        taken, self._pending = self._pending, b""
        taken += programme.part(self._given, due)
        self._given = due
        return taken


def wav_header(length: int | None = None) -> bytes:
    """The header of the station's WAV file; without a length, of one that does not end."""
    file, data = (0xFFFFFFFF, 0xFFFFFFFF) if length is None else (length + 36, length)
    numbers = [(16, 4), (1, 2), (1, 2), (_WAV_RATE, 4), (2 * _WAV_RATE, 4), (2, 2), (16, 2)]
    form = b"".join(number.to_bytes(size, "little") for number, size in numbers)
    return b"RIFF" + file.to_bytes(4, "little") + b"WAVEfmt " + form + b"data" + data.to_bytes(4, "little")


def _head(programme: Programme) -> bytes:
    return wav_header() if programme.content_type == "audio/wav" else b""


def _frame_end(body: bytes, at: int) -> int:
    """The first position from `at` on where an MP3 frame of 44.1 kHz and 128 kbit/s ends."""
    passes, offset = divmod(at, len(body))
    end = 0
    while end < offset:
        end += 417 + (body[end + 2] >> 1 & 1)
    return passes * len(body) + end


def _programme(path: str, name: str) -> Programme:
    if name == "noise":
        return Programme("audio/mpeg", random.Random(0).randbytes(160_000), 10.0)
    if name == "wav":
        samples = b"".join(frame.to_ndarray().tobytes() for frame in frames(path, "s16", _WAV_RATE) if frame)
        return Programme("audio/wav", samples, len(samples) / (2 * _WAV_RATE))
    return encode(path, _ENCODINGS[name])


def _variant(path: str, kind: str, rate: int, bit_rate: int) -> Variant:
    import av

    with tempfile.TemporaryDirectory(prefix="dgnb-") as name:
        folder = Path(name)
        options = {
            "hls_time": str(SEGMENT_SECONDS),
            "hls_list_size": "0",
            "hls_segment_type": kind,
            "hls_segment_filename": str(folder / "%d.segment"),
            "hls_fmp4_init_filename": "init",
        }
        with av.open(str(folder / "list.m3u8"), "w", format="hls", options=options) as target:
            stream: Any = target.add_stream("aac", rate=rate, layout="mono")
            stream.bit_rate = bit_rate
            for frame in frames(path, stream.format, rate):
                target.mux(stream.encode(frame))
        listed = (folder / "list.m3u8").read_text(encoding="utf-8")
        seconds = tuple(float(found) for found in re.findall(r"#EXTINF:([\d.]+)", listed))
        bodies = tuple((folder / f"{number}.segment").read_bytes() for number in range(len(seconds)))
        init = (folder / "init").read_bytes() if kind == "fmp4" else b""
    bandwidth = max(round(len(body) * 8 / long) for body, long in zip(bodies, seconds, strict=True))
    return Variant(bodies, seconds, init, bandwidth)


def encode(path: str, encoding: Encoding) -> Programme:
    """Encode a file. Blocks."""
    import av

    buffer = io.BytesIO()
    packets = samples = 0
    with av.open(buffer, "w", format=encoding.container, options=dict(encoding.options)) as target:
        stream: Any = target.add_stream(encoding.codec, rate=encoding.sample_rate, layout="mono")
        stream.bit_rate = encoding.bit_rate
        for frame in frames(path, stream.format, encoding.sample_rate, encoding.least):
            samples += frame.samples if frame else 0
            for packet in stream.encode(frame):
                packets += 1
                target.mux(packet)
        if encoding.container == "mp3":
            # All MP3 frames have the same length; the encoder fills up the last one.
            samples = packets * stream.codec_context.frame_size
    return Programme(encoding.content_type, buffer.getvalue(), samples / encoding.sample_rate)


def frames(path: str, sample_format: Any, rate: int, least: float = 0.0) -> Iterator[Any]:
    """Decode and resample a file, again and again for at least `least` seconds; then yield None, which flushes."""
    import av

    resampler = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
    seconds, again = 0.0, True
    while again:
        with av.open(path) as source:
            for frame in source.decode(audio=0):
                frame.pts = None
                seconds += frame.samples / frame.sample_rate
                yield from resampler.resample(frame)
        again = 0 < seconds < least
    yield from resampler.resample(None)
    yield None

"""What the station plays: one recording, encoded for MP3, Ogg or HLS when it is first asked for."""

from __future__ import annotations

import asyncio
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

SEGMENT_SECONDS: Final = 2

_Made = TypeVar("_Made")


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


@dataclass(frozen=True, eq=False)
class Segments:
    """A recording in segments for HLS, MPEG-TS with AAC.

    Attributes:
        bodies: The segments of one pass.
        seconds: How long each lasts.
    """

    bodies: tuple[bytes, ...]
    seconds: tuple[float, ...]


class Recording:
    """A recording in every form that the station plays. Each form is made in a thread, once.

    Args:
        path: A file; by default, the sample that comes with dgnb.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path
        self._made: dict[object, Any] = {}
        self._lock = asyncio.Lock()

    async def programme(self, encoding: Encoding) -> Programme:
        """The recording for a station."""
        return await self.once(encoding, lambda path: encode(path, encoding))

    async def segments(self) -> Segments:
        """The recording for HLS."""
        return await self.once("segments", _segments)

    async def once(self, key: object, make: Callable[[str], _Made]) -> _Made:
        """What `make(path)` returns; it is called once for a key."""
        async with self._lock:
            if key not in self._made:
                self._made[key] = await asyncio.to_thread(lambda: make(self._file()))
        return cast(_Made, self._made[key])

    def _file(self) -> str:
        if self._path is None:
            from dgnb import samples

            return str(samples.path())
        return os.fspath(self._path)


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


def _segments(path: str) -> Segments:
    import av

    with tempfile.TemporaryDirectory(prefix="dgnb-") as name:
        folder = Path(name)
        options = {
            "hls_time": str(SEGMENT_SECONDS),
            "hls_list_size": "0",
            "hls_segment_filename": str(folder / "%d.ts"),
        }
        with av.open(str(folder / "list.m3u8"), "w", format="hls", options=options) as target:
            stream: Any = target.add_stream("aac", rate=44_100, layout="mono")
            stream.bit_rate = 64_000
            for frame in frames(path, stream.format, 44_100):
                target.mux(stream.encode(frame))
        listed = (folder / "list.m3u8").read_text(encoding="utf-8")
        seconds = tuple(float(found) for found in re.findall(r"#EXTINF:([\d.]+)", listed))
        return Segments(tuple((folder / f"{number}.ts").read_bytes() for number in range(len(seconds))), seconds)


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

"""What the station plays: one recording, encoded once for each format, when it is first asked for."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

__all__ = ["FORMATS", "Format", "Playhead", "Programme", "Programmes", "Segments", "wav_header"]

Format = Literal["mp3", "aac", "ogg", "wav", "noise"]

FORMATS: Final[dict[str, str]] = {
    "mp3": "audio/mpeg",
    "mp3-22050": "audio/mpeg",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "noise": "audio/mpeg",
}
"""Each format with its content type."""

SEGMENT_SECONDS: Final = 2

_ENCODERS: Final[dict[str, tuple[str, str, int, int, dict[str, str]]]] = {
    # codec, container, samples a second, bits a second, options of the container
    "mp3": ("libmp3lame", "mp3", 44_100, 128_000, {"write_xing": "0", "id3v2_version": "0"}),
    "mp3-22050": ("libmp3lame", "mp3", 22_050, 64_000, {"write_xing": "0", "id3v2_version": "0"}),
    "aac": ("aac", "adts", 44_100, 64_000, {}),
    "ogg": ("libopus", "ogg", 48_000, 32_000, {}),
}
_SEGMENTS: Final = {
    "high": ("mpegts", 44_100, 64_000),
    "low": ("mpegts", 22_050, 32_000),
    "fmp4": ("fmp4", 44_100, 64_000),
}
_WAV_RATE: Final = 16_000
_LEAST: Final = {"ogg": 10.0}
"""Seconds that a pass has to last: FFmpeg loses its way in a chain of Ogg streams of less than a page."""

_NOISE: Final = (160_000, 10.0)

_Made = TypeVar("_Made")


@dataclass(frozen=True, eq=False)
class Programme:
    """Bytes that may be repeated for ever.

    Attributes:
        content_type: What they are.
        body: One pass.
        seconds: How long one pass lasts.
        head: What comes before the first pass only.
        cuts: Where packets begin, for a change between packets.
    """

    content_type: str
    body: bytes
    seconds: float
    head: bytes = b""
    cuts: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return len(self.body) / self.seconds


@dataclass(frozen=True, eq=False)
class Segments:
    """A programme cut for HLS.

    Attributes:
        bodies: The segments of one pass.
        seconds: How long each lasts.
        init: What `EXT-X-MAP` names; empty for MPEG-TS.
        bandwidth: Bits a second.
    """

    bodies: tuple[bytes, ...]
    seconds: tuple[float, ...]
    init: bytes
    bandwidth: int


class Playhead:
    """Where one listener is in a programme.

    Args:
        programme: What is played.
        joining: Seconds into it where the listener joins, in the middle of a packet and without the head; from the
            beginning if not given.
        then: After so many seconds, another programme, from its beginning.
    """

    def __init__(
        self, programme: Programme, joining: float | None = None, then: tuple[float, Programme] | None = None
    ) -> None:
        self._then = then
        self._pending = b"" if joining else programme.head
        self._start(programme, 0.0, int((joining or 0.0) * programme.rate))

    def upto(self, seconds: float) -> bytes:
        """What is due by then and was not given before."""
        due = b""
        if self._then and seconds >= self._then[0]:
            at, programme = self._then
            self._then = None
            due = self._take(at, whole=True)
            self._pending = programme.head
            self._start(programme, at, 0)
        return due + self._take(seconds)

    def _start(self, programme: Programme, at: float, begin: int) -> None:
        self._programme, self._at, self._begin, self._given = programme, at, begin, begin

    def _take(self, seconds: float, whole: bool = False) -> bytes:
        body, cuts = self._programme.body, self._programme.cuts
        due = self._begin + int((seconds - self._at) * self._programme.rate)
        if whole and cuts:
            passes, offset = divmod(due, len(body))
            due = passes * len(body) + [*cuts, len(body)][bisect_left(cuts, offset)]
        taken, self._pending = self._pending, b""
        while self._given < due:
            offset = self._given % len(body)
            piece = body[offset : offset + due - self._given]
            taken += piece
            self._given += len(piece)
        return taken


class Programmes:
    """One recording in all formats, each made in a thread when it is first asked for, and kept."""

    def __init__(self, recording: str | os.PathLike[str] | None) -> None:
        self._recording = recording
        self._made: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> Programme:
        """The recording in a format of `FORMATS`."""
        return await self._get(name, lambda: _programme(self._path(), name))

    async def segments(self, variant: str) -> Segments:
        """The recording in segments for HLS: `high`, `low` or `fmp4`."""
        return await self._get(f"hls {variant}", lambda: _segments(self._path(), *_SEGMENTS[variant]))

    async def _get(self, key: str, make: Callable[[], _Made]) -> _Made:
        async with self._lock:
            if key not in self._made:
                self._made[key] = await asyncio.to_thread(make)
        return cast(_Made, self._made[key])

    def _path(self) -> str:
        if self._recording is None:
            from dgnb import samples

            return str(samples.path())
        return os.fspath(self._recording)


def wav_header(length: int | None = None) -> bytes:
    """The header of a WAV file as the station sends it; without a length, of one that does not end."""
    file, data = (0xFFFFFFFF, 0xFFFFFFFF) if length is None else (length + 36, length)
    numbers = [(16, 4), (1, 2), (1, 2), (_WAV_RATE, 4), (2 * _WAV_RATE, 4), (2, 2), (16, 2)]
    form = b"".join(number.to_bytes(size, "little") for number, size in numbers)
    return b"RIFF" + file.to_bytes(4, "little") + b"WAVEfmt " + form + b"data" + data.to_bytes(4, "little")


def _programme(path: str, name: str) -> Programme:
    kind = FORMATS[name]
    if name == "noise":
        return Programme(kind, random.Random(0).randbytes(_NOISE[0]), _NOISE[1])
    if name == "wav":
        samples = b"".join(frame.to_ndarray().tobytes() for frame in _frames(path, "s16", _WAV_RATE) if frame)
        return Programme(kind, samples, len(samples) / (2 * _WAV_RATE), wav_header())
    import av

    codec, container, rate, bit_rate, options = _ENCODERS[name]
    buffer = io.BytesIO()
    sizes, samples_in = [], 0
    # Without headers and tags, so that the end joins the beginning.
    with av.open(buffer, "w", format=container, options=options) as target:
        stream: Any = target.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        for frame in _frames(path, stream.format, rate, _LEAST.get(name, 0.0)):
            samples_in += frame.samples if frame else 0
            for packet in stream.encode(frame):
                sizes.append(packet.size)
                target.mux(packet)
    seconds = samples_in / rate
    if name.startswith("mp3"):
        # Its frames are all of one length, and the last one is filled up.
        seconds = len(sizes) * (1152 if rate > 32_000 else 576) / rate
        return Programme(kind, buffer.getvalue(), seconds, cuts=tuple(accumulate(sizes, initial=0))[:-1])
    return Programme(kind, buffer.getvalue(), seconds)


def _segments(path: str, kind: str, rate: int, bit_rate: int) -> Segments:
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
            for frame in _frames(path, stream.format, rate):
                target.mux(stream.encode(frame))
        listed = (folder / "list.m3u8").read_text(encoding="utf-8")
        seconds = tuple(float(found) for found in re.findall(r"#EXTINF:([\d.]+)", listed))
        bodies = tuple((folder / f"{number}.segment").read_bytes() for number in range(len(seconds)))
        init = (folder / "init").read_bytes() if kind == "fmp4" else b""
    bandwidth = max(round(len(body) * 8 / long) for body, long in zip(bodies, seconds, strict=True))
    return Segments(bodies, seconds, init, bandwidth)


def _frames(path: str, form: Any, rate: int, least: float = 0.0) -> Iterator[Any]:
    """The recording decoded and resampled, over and over for at least so many seconds, then None, which flushes."""
    import av

    resampler = av.AudioResampler(format=form, layout="mono", rate=rate)
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

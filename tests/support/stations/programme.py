"""The recording in more encodings than the public station has, and a playhead that may change between them."""

from __future__ import annotations

import dataclasses
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dgnb.loopback.radio.programme import MP3, OGG, SEGMENT_SECONDS, Encoding, Programme, Recording, encode, frames

__all__ = ["Format", "Playhead", "Recordings", "Variant", "wav_header"]

Format = Literal["mp3", "aac", "ogg", "wav", "noise"]

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


class Recordings(Recording):
    """One recording in all formats, each made when it is first asked for."""

    async def get(self, name: str) -> Programme:
        """The recording in a `Format`."""
        return await self.once(name, lambda path: _programme(path, name))

    async def variant(self, name: str) -> Variant:
        """The recording in segments for HLS: `high`, `low` or `fmp4`."""
        return await self.once(f"hls {name}", lambda path: _variant(path, *_VARIANTS[name]))


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

"""Detects the container of audio by its first bytes.

FFmpeg's own guess is not strict enough: it finds an MP3 in almost any noise, raw samples included.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple


class Container(NamedTuple):
    """A container, and FFmpeg's name for its demuxer."""

    name: str
    demuxer: str


_MAGIC: Final[tuple[tuple[int, bytes, Container], ...]] = (
    (0, b"RIFF", Container("WAV", "wav")),
    (0, b"RF64", Container("WAV", "wav")),
    (0, b"fLaC", Container("FLAC", "flac")),
    (0, b"OggS", Container("Ogg", "ogg")),
    (0, b"ID3", Container("MP3", "mp3")),
    (0, b"\x1a\x45\xdf\xa3", Container("WebM", "matroska")),
    (4, b"ftyp", Container("MP4", "mp4")),
    (4, b"moov", Container("MP4", "mp4")),
    (0, b"FORM", Container("AIFF", "aiff")),
    (0, b".snd", Container("AU", "au")),
    (0, b"caff", Container("CAF", "caf")),
    (0, b"#!AMR", Container("AMR", "amr")),
    (0, b"FLV\x01", Container("FLV", "flv")),
    (0, bytes.fromhex("3026b2758e66cf11"), Container("WMA", "asf")),
)
_FRAMES_IN_A_ROW: Final = 3


def headed(head: bytes) -> str | None:
    """The name of the container whose header the audio begins with, such as `WAV`; None without a header."""
    container = _by_magic(head)
    return container.name if container else None


def container_of(head: bytes) -> Container | None:
    """The container, or None. MP3 and AAC have no header, so they may begin in the middle of a frame."""
    if container := _by_magic(head):
        return container
    if _in_a_row(head, re.compile(rb"\xff[\xe2-\xff]"), _mpeg_frame):
        return Container("MP3", "mp3")
    if _in_a_row(head, re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), _adts_frame):
        return Container("AAC", "aac")
    packets = range(0, 188 * _FRAMES_IN_A_ROW, 188)
    if all(head[at : at + 1] == b"\x47" for at in packets):
        return Container("MPEG-TS", "mpegts")
    return None


def _by_magic(head: bytes) -> Container | None:
    return next((found for at, magic, found in _MAGIC if head[at : at + len(magic)] == magic), None)


def _in_a_row(head: bytes, sync: re.Pattern[bytes], frame: Callable[[bytes], int]) -> bool:
    """Whether several frames follow each other, each where the header of the one before says that it ends."""
    for match in sync.finditer(head):
        at = match.start()
        for _ in range(_FRAMES_IN_A_ROW):
            length = frame(head[at : at + 8])
            if not length:
                break
            at += length
        else:
            return True
    return False


_BITRATES: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = (44_100, 48_000, 32_000)


def _mpeg_frame(header: bytes) -> int:
    """The length in bytes of the MPEG audio frame with this header; 0 if it is no such header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    bitrate, rate = header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or layer == 4 or bitrate in {0, 15} or rate == 3:
        return 0
    mpeg_1 = version == 3
    bits = _BITRATES[1 if mpeg_1 else 2, layer][bitrate - 1] * 1000
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    padding = (header[2] >> 1) & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (144 if mpeg_1 or layer == 2 else 72) * bits // hertz + padding


def _adts_frame(header: bytes) -> int:
    """The length in bytes of the ADTS frame with this header; 0 if it is no such header."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or (header[2] >> 2) & 15 > 12:
        return 0
    length = ((header[3] & 3) << 11) | (header[4] << 3) | (header[5] >> 5)
    return length if length > 7 else 0

"""Detects the container of audio by its first bytes.

FFmpeg's own guess is not strict enough: it finds an MP3 in almost any noise, raw samples included.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import av


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
_IN_A_ROW: Final = 3


def headed(head: bytes) -> Container | None:
    """The container whose header the audio begins with; None without a header."""
    return next((found for at, magic, found in _MAGIC if head[at : at + len(magic)] == magic), None)


def container_of(head: bytes) -> Container | None:
    """The container, or None. MP3 and AAC have no header, so they may begin in the middle of a frame."""
    if container := headed(head):
        return container
    if _decodes("mp3", head):
        return Container("MP3", "mp3")
    if _decodes("aac", head):
        return Container("AAC", "aac")
    packets = range(0, 188 * _IN_A_ROW, 188)
    if all(head[at : at + 1] == b"\x47" for at in packets):
        return Container("MPEG-TS", "mpegts")
    return None


def _decodes(codec: str, head: bytes) -> bool:
    """Whether several frames of a codec follow each other. In noise, now and then a single one decodes."""
    context: Any = av.CodecContext.create(codec, "r")
    in_a_row = 0
    for packet in context.parse(head):
        try:
            in_a_row = in_a_row + 1 if context.decode(packet) else 0
        except av.error.FFmpegError:
            in_a_row = 0
        if in_a_row == _IN_A_ROW:
            return True
    return False

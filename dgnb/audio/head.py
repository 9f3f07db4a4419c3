"""What the first bytes of a file say about it, and the errors for a file that is not audio."""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from dgnb.audio.source import SourceFormat
from dgnb.exceptions import AudioError

_HEADERS: Final = {
    b"RIFF": "WAV",
    b"RF64": "WAV",
    b"FORM": "AIFF",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"\x1aE\xdf\xa3": "WebM",
}
_OTHERS: Final[dict[bytes | tuple[bytes, ...], str]] = {
    (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body"): "a page or a document",
    (b"#extm3u", b"[playlist]", b"ffconcat version"): "a playlist",
    b"\x89png": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%pdf": "a PDF document",
    b"pk\3\4": "a ZIP archive or an office document",
    b"\x1f\x8b\x08": "a gzip archive",
}
"""In small letters, after blanks."""
_FEW_LETTERS: Final = 4
_LEAST_SURPLUS: Final = 4096  # Bytes. Fewer are padding.
_UNKNOWN_SIZE: Final = 0x7FFF0000
"""A program that writes WAV into a pipe states this size or more, because it does not know the size."""


class Head:
    """A file that remembers its first bytes. `surplus` is what lies beyond the length that its header states."""

    def __init__(self, file: Any) -> None:
        self._file = file
        start = b""
        while len(start) < 64 and (more := file.read(64 - len(start))):
            start += more
        self.start = self._pending = start
        self.can_seek = hasattr(file, "seek")
        self.surplus = self.size = 0
        if self.can_seek:
            self.size = int(file.seek(0, os.SEEK_END))
            self.rewind()
            # PyAV seeks in what has these.
            self.seek = self._seek
            self.tell = file.tell
            order: Any = {b"RIFF": "little", b"FORM": "big"}.get(start[:4])
            promised = int.from_bytes(start[4:8], order) if order else 0
            surplus = self.size - promised - 8
            # Some writers count the eight bytes before the length too, and some pad.
            if 0 < promised < _UNKNOWN_SIZE and not -8 <= surplus < _LEAST_SURPLUS:
                self.surplus = surplus

    @property
    def error(self) -> AudioError | None:
        """What ended the file early, or None."""
        error: AudioError | None = getattr(self._file, "error", None)
        return error

    def _seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return int(self._file.seek(offset, whence))
        except (OSError, ValueError):
            # A damaged file leads to places that no file has. FFmpeg knows an error by its sign.
            return -errno.EINVAL

    def rewind(self) -> None:
        """Go back to the first byte."""
        self._pending = b""
        self._file.seek(0)

    def read(self, size: int) -> bytes:
        """As the file's own."""
        if not self._pending:
            data: bytes = self._file.read(size)
            return data
        taken, self._pending = self._pending[:size], self._pending[size:]
        return taken


def refuse(start: bytes, name: str, raw: SourceFormat | None) -> None:
    """Refuse a file by its first bytes. No error quotes them: they may be of a list of passwords."""
    if not start:
        return  # the feed may have failed: its error says more
    if raw:
        for mark, kind in _HEADERS.items():
            if start.startswith(mark) and raw.encoding not in ("flac", "ogg-opus"):
                raise AudioError(f"{name} has a {kind} header, so it is not raw {raw.encoding}. Leave out encoding.")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    other = next((kind for mark, kind in _OTHERS.items() if text.startswith(mark)), "")
    if other == "a playlist":
        raise AudioError(f"{name} is a playlist, not audio. Use the address of a stream in it.")
    # A SPHERE file begins with text. The high bytes of samples are few, and quiet samples of 8 bits are letters alone.
    if raw and not other and _is_text(start) and (b" " in start or b"\n" in start):
        other = "text" if min(len(set(start[::2])), len(set(start[1::2]))) > _FEW_LETTERS else ""
    if other:
        raise AudioError(f"{name} is {other}, not audio. Give an audio or video file.")


def reason(error: Exception) -> str:
    """What FFmpeg says."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def undecodable(error: Exception, name: str, head: Head) -> str:
    """The error's text for a file that FFmpeg does not read."""
    start = head.start
    if not start:
        return f"{name} is empty. Was it recorded, or copied, to the end?"
    fails = f"{name} can't be decoded as audio ({reason(error)})."
    if start[4:8] == b"ftyp" and not head.can_seek:
        return f"{fails} An MP4 file may keep its index at its end. Download it, and use the file."
    if start[4:8] == b"ftyp":
        return f"{fails} The index at its end may be missing. Was it copied to the end?"
    if _is_text(start):
        return f"{name} is text, not audio. Give an audio or video file."
    if start.startswith(tuple(_HEADERS)):
        return f"{fails} It may be damaged. Was it recorded, or copied, to the end?"
    return f"{fails} Raw samples need encoding and sample_rate, such as encoding='linear16', sample_rate=16000."


def _is_text(start: bytes) -> bool:
    """Whether the first bytes of a file are words. A character may be cut off at their end."""
    text = start.decode("utf-8-sig", "replace").rstrip("\ufffd")
    return len(text) > 7 and all(letter.isprintable() or letter in "\r\n\t" for letter in text) and "\ufffd" not in text

"""Metadata inside the audio, and how it is taken out: SHOUTcast's blocks of text, and ID3 tags. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_TITLE: Final = re.compile(rb"StreamTitle='(.*?)';(?=\s*\w+='|[\s\0]*$)", re.DOTALL)
_LONGEST_TITLE: Final = 200
_TAG: Final = re.compile(rb"ID3[\x02-\x04]\x00([\x00-\xf0])([\x00-\x7f]{4})", re.DOTALL)
"""The header of ID3v2 (section 3.1 of its standard)."""
_HEADER_BYTES: Final = 10


def interval(headers: Mapping[str, str]) -> int:
    """Bytes of audio between two blocks, from `icy-metaint`; 0 if there are none."""
    told = headers.get("icy-metaint", "0").strip()
    return int(told) if re.fullmatch("[0-9]{1,8}", told) else 0


class Stripper:
    """Takes the metadata out of a body, however the body is cut. New `titles` are there until the caller takes them.

    A block is one byte and a text. The byte times 16 is the length of the text.
    """

    def __init__(self, metaint: int) -> None:
        self._metaint = metaint
        self._audio_left = metaint
        self._block = bytearray()
        self._title = ""
        self.titles: list[str] = []

    def __call__(self, data: bytes) -> bytes:
        """The audio in the next part of the body."""
        if not self._metaint:
            return data
        audio = bytearray()
        left = memoryview(data)
        while left:
            if self._audio_left:
                part = left[: self._audio_left]
                audio += part
                left = left[len(part) :]
                self._audio_left -= len(part)
                continue
            # The byte of the length stands before the text.
            whole = 1 + 16 * (self._block or left)[0]
            missing = whole - len(self._block)
            self._block += left[:missing]
            left = left[missing:]
            if len(self._block) == whole:
                found = title(bytes(self._block[1:]))
                self._block.clear()
                self._audio_left = self._metaint
                if found and found != self._title:
                    self._title = found
                    self.titles.append(found)
        return bytes(audio)


class TagStripper:
    """Takes tags out of MPEG audio, however it is cut: a cover in the middle of a stream looks like audio to a decoder.

    What does not `start` as MPEG audio is let through.
    """

    def __init__(self, start: bytes) -> None:
        self._is_mpeg = start.startswith(b"ID3") or (start[:1] == b"\xff" and start[1:2] >= b"\xe0")
        self._held = b""
        self._left = 0

    def __call__(self, data: bytes) -> bytes:
        """The audio in the next part, but for its last bytes: they may begin a tag."""
        if not self._is_mpeg:
            return data
        audio = b""
        self._held += data
        while self._held:
            gone = min(self._left, len(self._held))
            self._held, self._left = self._held[gone:], self._left - gone
            tag = _TAG.search(self._held)
            if not tag:
                break
            audio += self._held[: tag.start()]
            self._held = self._held[tag.end() :]
            flags, size = tag.groups()
            self._left = sum(byte << 7 * place for place, byte in enumerate(reversed(size)))
            self._left += 10 if flags[0] & 0x10 else 0
        audio += self._held[: 1 - _HEADER_BYTES]
        self._held = self._held[1 - _HEADER_BYTES :]
        return audio

    def rest(self) -> bytes:
        """What was held back, at the end."""
        held, self._held = self._held, b""
        return held


def title(block: bytes) -> str:
    """The `StreamTitle` of a block of metadata, or ""."""
    match = _TITLE.search(block)
    if not match:
        return ""
    try:
        text = match[1].decode()
    except UnicodeDecodeError:
        text = match[1].decode("latin-1")
    return tidy(text)


def tidy(text: str) -> str:
    """A text from outside as one short printable line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_TITLE]

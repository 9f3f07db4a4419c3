"""Metadata inside the audio, and how it is taken out: SHOUTcast's blocks of text. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_TITLE: Final = re.compile(rb"StreamTitle='(.*?)';(?=\s*\w+='|[\s\0]*$)", re.DOTALL)
_LONGEST_TITLE: Final = 200


class Stripper:
    """Takes the metadata out of a body, however the body is cut. New `titles` are there until the caller takes them.

    A block is one byte and a text. The byte times 16 is the length of the text.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        told = headers.get("icy-metaint", "0").strip()
        # Bytes of audio between two blocks; 0 where there are none.
        self._metaint = self._audio_left = int(told) if re.fullmatch("[0-9]{1,8}", told) else 0
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


def title(block: bytes) -> str:
    """The `StreamTitle` of a block of metadata, as one short printable line; "" where there is none."""
    match = _TITLE.search(block)
    if not match:
        return ""
    try:
        text = match[1].decode()
    except UnicodeDecodeError:
        text = match[1].decode("latin-1")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_TITLE]

"""Playlists that name a stream: M3U and PLS. No I/O. HLS has its own module."""

from __future__ import annotations

import re
from typing import Final

LARGEST: Final = 1 << 16
"""Bytes. A longer body is not a playlist, whatever its content type says."""
MOST_ENTRIES: Final = 50

_MARKS: Final = ("#extm3u", "[playlist]")
_KINDS: Final = ("mpegurl", "scpls")
_SUFFIXES: Final = (".m3u", ".m3u8", ".pls")
_PLS: Final = re.compile(r"^[ \t]*file(\d{1,9})[ \t]*=[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)


def is_playlist(start: bytes, kind: str, path: str) -> bool:
    """Whether a body is a playlist, from its first bytes, its content type and the path of its address.

    The bytes decide: some stations send audio from an address that ends in .pls.
    """
    text = _text(start).lower()
    if text.startswith(_MARKS):
        return True
    named = any(word in kind for word in _KINDS) or path.lower().endswith(_SUFFIXES)
    return named and bool(text) and all(c.isprintable() or c in "\r\n\t" for c in text) and not text.startswith("<!")


def entries(data: bytes) -> list[str]:
    """The addresses in a playlist, as they are written and in their order; 50 at most."""
    text = _text(data)
    if text.lower().startswith("[playlist]"):
        found = [entry for _, entry in sorted(_PLS.findall(text), key=lambda pair: int(pair[0]))]
    else:
        lines = (line.strip() for line in text.splitlines())
        found = [line for line in lines if line and not line.startswith("#")]
    return list(dict.fromkeys(filter(None, map(str.strip, found))))[:MOST_ENTRIES]


def _text(data: bytes) -> str:
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip("\ufeff \t\r\n").replace("\ufffd", "?")

"""The texts of playlists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

__all__ = ["PLAYLISTS", "master", "media", "playlist"]

_TITLE: Final = "dgnb radio"


def _m3u(entries: Sequence[str]) -> str:
    return "".join(["#EXTM3U\n", *(f"#EXTINF:-1,{_TITLE}\n{entry}\n" for entry in entries)])


def _pls(entries: Sequence[str]) -> str:
    listed = (f"File{n}={entry}\nTitle{n}={_TITLE}\nLength{n}=-1\n" for n, entry in enumerate(entries, 1))
    return "".join(["[playlist]\n", *listed, f"NumberOfEntries={len(entries)}\nVersion=2\n"])


def _asx(entries: Sequence[str]) -> str:
    # Upper and lower case as found in the wild; it is XML in name only.
    listed = (
        f"  <Entry>\n    <Title>{_TITLE}</Title>\n    <Ref href={quoteattr(entry)} />\n  </Entry>\n"
        for entry in entries
    )
    return "".join(['<asx version="3.0">\n', *listed, "</asx>\n"])


def _xspf(entries: Sequence[str]) -> str:
    listed = (f"    <track><location>{escape(entry)}</location><title>{_TITLE}</title></track>\n" for entry in entries)
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/">\n  <trackList>\n'
    )
    return "".join([head, *listed, "  </trackList>\n</playlist>\n"])


PLAYLISTS: Final[dict[str, tuple[str, Callable[[Sequence[str]], str], str]]] = {
    "m3u": ("audio/x-mpegurl", _m3u, "#{}\n"),
    "pls": ("audio/x-scpls", _pls, ";{}\n"),
    "asx": ("video/x-ms-asf", _asx, "<!--{}-->\n"),
    "xspf": ("application/xspf+xml", _xspf, "<!--{}-->\n"),
}
"""By ending: the content type, the text of some entries, and the form of a comment."""


def playlist(ending: str, entries: Sequence[str], size: int | None = None) -> tuple[str, str]:
    """A playlist's text and content type.

    Args:
        ending: `m3u`, `pls`, `asx` or `xspf`.
        entries: Addresses.
        size: Bytes to reach, by a comment at its end.
    """
    kind, form, comment = PLAYLISTS[ending]
    text = form(entries)
    if size is not None and (missing := size - len(text.encode()) - len(comment.format(""))) > 0:
        text += comment.format("." * missing)
    return text, kind


def master(variants: Sequence[tuple[str, int]]) -> str:
    """An HLS playlist of playlists, each with its bits a second."""
    listed = (f'#EXT-X-STREAM-INF:BANDWIDTH={bits},CODECS="mp4a.40.2"\n{name}\n' for name, bits in variants)
    return "".join(["#EXTM3U\n#EXT-X-VERSION:3\n", *listed])


def media(
    segments: Sequence[tuple[str, float, bool]],
    *,
    first: int,
    turns: int = 0,
    init: str | None = None,
    key: str | None = None,
    target: int = 2,
    ended: bool = False,
) -> str:
    """An HLS media playlist.

    Args:
        segments: Of each its address, its seconds, and whether it does not follow from the one before.
        first: The media sequence number of the first.
        turns: How many discontinuities lie before it.
        init: What `EXT-X-MAP` names.
        key: What `EXT-X-KEY` names.
        target: The longest segment, in seconds.
        ended: There will be no more.
    """
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{7 if init else 3}", f"#EXT-X-TARGETDURATION:{target}"]
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
    if turns:
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{turns}")
    if ended:
        lines.append("#EXT-X-PLAYLIST-TYPE:VOD")
    if key:
        lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="{key}"')
    if init:
        lines.append(f'#EXT-X-MAP:URI="{init}"')
    for name, seconds, turn in segments:
        lines += [*(["#EXT-X-DISCONTINUITY"] if turn else []), f"#EXTINF:{seconds:.6f},", name]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join([*lines, ""])

"""HLS: a stream that is cut into segments, and a playlist that follows them."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from dgnb.audio.source import Note
from dgnb.audio.url.fetch import Fetcher, Trouble, shown
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["LARGEST", "Hls", "Undecodable", "choose", "parse"]

LARGEST: Final = 1 << 20
"""Bytes of a playlist: a recording of many hours names each of its segments."""

_FRACTION: Final = re.compile(r"(#EXT-X-TARGETDURATION:\d+)\.\d+")
_LIVE_EDGE: Final = 3
"""A listener begins so many segments before the end, by RFC 8216."""
_MOST_FAILURES: Final = 8
_SHORTEST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_AUDIO_CODECS: Final = ("mp4a", "opus", "ac-3", "ec-3", "flac", "fLaC", "mp3", "alac", "vorbis")


class Sink(Protocol):
    """Where the bytes go."""

    async def begin(self, *, live: bool) -> None:
        """Begin a body of its own: the decoder begins anew."""

    async def put(self, data: bytes) -> None:
        """Add bytes when there is room."""

    def note(self, note: Note) -> None:
        """Report something that concerns what comes next."""


def parse(text: str, url: URL, name: str) -> Any:
    """The playlist in a text.

    Raises:
        Trouble: It is not a playlist.
    """
    import m3u8  # type: ignore[import-untyped]

    try:
        # The standard asks for whole seconds, but some packagers write a fraction.
        return m3u8.loads(_FRACTION.sub(r"\1", text), uri=str(url))
    except Exception as error:
        raise Trouble(name, f"its HLS playlist makes no sense ({type(error).__name__})") from None


def choose(playlist: Any, name: str) -> str:
    """The address to take from a playlist of variants: the lowest bandwidth with audio, audio alone if possible.

    Raises:
        Trouble: None of them has audio.
    """
    for variant in sorted(playlist.playlists, key=lambda one: one.stream_info.bandwidth or 0):
        info = variant.stream_info
        for media in playlist.media:
            if media.type == "AUDIO" and media.group_id == info.audio and info.audio and media.uri:
                return str(media.absolute_uri)
        if not info.codecs or any(codec in info.codecs for codec in _AUDIO_CODECS):
            return str(variant.absolute_uri)
    raise Trouble(name, "no variant of its HLS playlist has audio", "Use another address.", fatal=True)


class Hls:
    """Follows one HLS playlist, and remembers across reconnects which segments were heard.

    Args:
        name: Of the source.
        sink: Where the segments go.
    """

    def __init__(self, name: str, sink: Sink) -> None:
        self._name = name
        self._sink = sink
        self._place = ""
        self._next: int | None = None
        self._init = ""
        self._fresh = True
        self._got = False
        self._failures: list[AudioError] = []

    async def play(self, fetch: Fetcher, text: str, url: URL) -> None:
        """Feed the sink until the playlist ends.

        Args:
            fetch: Asks for segments.
            text: The playlist, a master or a media playlist.
            url: Its address.

        Raises:
            Trouble: It can't go on.
        """
        from yarl import URL

        playlist = parse(text, url, self._name)
        if playlist.is_variant:
            url = URL(choose(playlist, self._name))
            playlist = await self._load(fetch, url)
            if playlist.is_variant:
                raise Trouble(self._name, "its HLS playlist of variants names another one", fatal=True)
        if (place := shown(url)) != self._place:
            self._place, self._next = place, None
        self._fresh, self._got, self._failures = True, False, []
        clock = asyncio.get_running_loop().time
        moved = clock()
        while True:
            loaded = clock()
            target = min(max(float(playlist.target_duration or 0), _SHORTEST_WAIT), _LONGEST_WAIT)
            if await self._segments(fetch, playlist):
                moved = clock()
            elif clock() - moved > max(fetch.stall_timeout, 3 * target):
                raise Trouble(self._name, f"its HLS playlist stood still for {clock() - moved:.0f} s")
            if playlist.is_endlist:
                if not self._got:
                    raise self._failures[-1] if self._failures else Trouble(self._name, "its HLS playlist is empty")
                return
            await asyncio.sleep(max(0.0, loaded + (target if moved >= loaded else target / 2) - clock()))
            playlist = await self._load(fetch, url)

    async def _load(self, fetch: Fetcher, url: URL) -> Any:
        answer = await fetch.get(url)
        text = (await fetch.whole(answer, LARGEST)).decode("utf-8", "replace")
        if not text.lstrip("\ufeff").startswith("#EXTM3U"):
            raise Trouble(self._name, f"{shown(url)} is no HLS playlist")
        return parse(text, answer.url, self._name)

    async def _segments(self, fetch: Fetcher, playlist: Any) -> bool:
        """Feed the new segments, and say whether there were any."""
        if not playlist.segments:
            return False
        first = int(playlist.media_sequence or 0)
        end = first + len(playlist.segments)
        if self._next is None or self._next > end:
            # The numbers went back: the station was restarted.
            self._next = first if playlist.is_endlist else max(first, end - _LIVE_EDGE)
            self._fresh = True
        if self._next < first:
            gone = first - self._next
            usual = sum(segment.duration or 0.0 for segment in playlist.segments) / len(playlist.segments)
            self._miss(f"{gone} segments were gone before they were fetched", gone * usual)
            self._next, self._fresh = first, True
        new = playlist.segments[self._next - first :]
        for segment in new:
            self._refuse_tricks(segment)
            init = segment.init_section.absolute_uri if segment.init_section else ""
            if self._fresh or segment.discontinuity or init != self._init:
                await self._sink.begin(live=not playlist.is_endlist)
                self._fresh, self._init = False, init
                if init:
                    await self._feed(fetch, init)
            self._next += 1
            await self._segment(fetch, segment)
        return bool(new)

    def _refuse_tricks(self, segment: Any) -> None:
        remedy = "Use another address of this station."
        if segment.key and segment.key.method not in (None, "NONE"):
            raise Trouble(self._name, f"its HLS segments are encrypted ({segment.key.method})", remedy, fatal=True)
        if segment.byterange or (segment.init_section and segment.init_section.byterange):
            raise Trouble(self._name, "its HLS segments are byte ranges, which are not read", remedy, fatal=True)

    async def _segment(self, fetch: Fetcher, segment: Any) -> None:
        if segment.gap_tag:
            self._miss("the station marks it as missing", segment.duration)
            return
        try:
            await self._feed(fetch, segment.absolute_uri)
        except Undecodable:
            raise
        except Exception as error:
            failure = fetch.explain(error)
            self._failures.append(failure)
            if len(self._failures) >= _MOST_FAILURES:
                raise failure from None
            self._miss(getattr(failure, "reason", str(failure)), segment.duration)
        else:
            self._failures, self._got = [], True

    async def _feed(self, fetch: Fetcher, address: str) -> None:
        from yarl import URL

        answer = await fetch.get(URL(address))
        try:
            while data := await answer.read():
                await self._sink.put(data)
        finally:
            answer.close()

    def _miss(self, why: str, seconds: float | None) -> None:
        self._sink.note(Note("source", f"a part of the stream was missed: {why}", float(seconds or 0.0)))


class Undecodable(AudioError):
    """The decoder gave up, and reports the error itself."""

"""HLS: FFmpeg's demuxer reads the segments, and every address that it opens is opened here.

What FFmpeg gets is a playlist of ours: an unbroken stretch of segments under names of ours. So FFmpeg learns no address
and asks no server; and what stations do to their playlists (numbers that begin anew, addresses that expire, a window
that lags behind) is settled before it. FFmpeg decrypts, puts fragments together, and tells the time.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dgnb.audio.decode import Decoder, Item
from dgnb.audio.head import reason
from dgnb.audio.source import Note
from dgnb.audio.url.fetch import Fetcher, Trouble, address, shown
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    from yarl import URL

LARGEST: Final = 1 << 20
"""Bytes of a playlist: a recording of many hours names each of its segments."""

_LARGEST_SEGMENT: Final = 1 << 28
_LONGEST_FETCH: Final = 60.0
_LIVE_EDGE: Final = 3  # A listener begins so many segments before the end, by RFC 8216
_MOST_FAILURES: Final = 8
_MOST_AHEAD: Final = 60.0
_SHORTEST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_REMEMBERED: Final = 200
_AUDIO_CODECS: Final = ("mp4a", "opus", "ac-3", "ec-3", "flac", "fLaC", "mp3", "alac", "vorbis")
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]{1,40})=("[^"]*"|[^,]*)')
_OF_ONE_SEGMENT: Final = ("#EXTINF", "#EXT-X-BYTERANGE", "#EXT-X-DISCONTINUITY")
_INIT: Final = "#EXT-X-MAP"
_LOCKED: Final = re.compile(r'#EXT-X-KEY:.*(?:METHOD=(?!NONE|AES-128)([^,]*)|KEYFORMAT="(?!identity")([^"]*))')
_USE_ANOTHER: Final = "Use another address of this station."
_STRETCH: Final = "http://stretch/list.m3u8"
_OPTIONS: Final = {
    "protocol_whitelist": "http,crypto",
    # These two would let FFmpeg use connections of its own.
    "http_persistent": "0",
    "http_multiple": "0",
    "live_start_index": "0",
    "extension_picky": "0",
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
    "probesize": "65536",
    "analyzeduration": "100000",
}


@dataclass(frozen=True, slots=True)
class _Segment:
    """One entry of a playlist: its media sequence number, where it is, and the tags that FFmpeg needs.

    `breaks`: it does not continue the one before.
    """

    number: int
    url: str
    start: int
    seconds: float
    tags: tuple[str, ...]
    breaks: bool

    @property
    def name(self) -> str:
        """What tells it from its neighbours, also when each listener gets another address."""
        return f"{urlsplit(self.url).path.rpartition('/')[2]}@{self.start}"


def variants(text: str, url: URL) -> list[URL]:
    """The addresses to try, from a playlist of variants: low bandwidth first, sound alone where there is that."""
    groups: dict[str, list[dict[str, str]]] = {}
    found: list[tuple[int, str, dict[str, str]]] = []
    named: dict[str, str] | None = None
    for line in map(str.strip, text.splitlines()):
        tag, _, rest = line.partition(":")
        if tag == "#EXT-X-MEDIA":
            media = _attributes(rest)
            if media.get("TYPE") == "AUDIO" and media.get("URI"):
                groups.setdefault(media.get("GROUP-ID", ""), []).append(media)
        elif tag == "#EXT-X-STREAM-INF":
            named = _attributes(rest)
        elif line and not line.startswith("#") and named is not None:
            found.append((int(_number(named.get("BANDWIDTH", ""))), line, named))
            named = None
    addresses: list[str] = []
    for _, own, info in sorted(found, key=lambda one: one[0]):
        tracks = sorted(groups.get(info.get("AUDIO", ""), ()), key=lambda media: media.get("DEFAULT") != "YES")
        if tracks:
            addresses.append(tracks[0]["URI"])
        elif not info.get("CODECS") or any(codec in info["CODECS"] for codec in _AUDIO_CODECS):
            addresses.append(own)
    return [address(one, url) for one in dict.fromkeys(addresses)]


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def _number(text: str) -> float:
    match = re.match(r"\s*(\d{1,15}(?:\.\d{1,9})?)", text)
    return float(match[1]) if match else 0.0


class _Playlist:
    """What one answer says. A tag that makes no sense is passed over."""

    def __init__(self, text: str, url: URL) -> None:
        self.url = url
        self.segments: list[_Segment] = []
        tags: dict[str, str] = {}
        end: tuple[str, int] = ("", 0)
        for line in map(str.strip, text.splitlines()):
            if line.startswith("#"):
                tag, _, value = line.partition(":")
                tags[tag] = value
            elif line:
                end = self._add(str(address(line, url)), tags, end)
                tags = {tag: value for tag, value in tags.items() if tag not in _OF_ONE_SEGMENT}
        self.target = min(max(_number(tags.get("#EXT-X-TARGETDURATION", "")), _SHORTEST_WAIT), _LONGEST_WAIT)
        self.seconds = sum(segment.seconds for segment in self.segments)
        self.ended = "#EXT-X-ENDLIST" in tags

    def _add(self, url: str, tags: dict[str, str], end: tuple[str, int]) -> tuple[str, int]:
        """Add a segment, and say where the next one begins if it gives no place."""
        kept = [f"{tag}:{self._absolute(tags[tag])}" for tag in ("#EXT-X-KEY", _INIT) if tag in tags]
        length, _, at = tags.get("#EXT-X-BYTERANGE", "").partition("@")
        size = int(_number(length))
        start = int(_number(at)) if at or end[0] != url else end[1]
        if size:
            kept.append(f"#EXT-X-BYTERANGE:{size}@{start}")
        inits = {tag for tag in (*kept, *(self.segments[-1].tags if self.segments else kept)) if tag.startswith(_INIT)}
        self.segments.append(
            _Segment(
                number=int(_number(tags.get("#EXT-X-MEDIA-SEQUENCE", ""))) + len(self.segments),
                url=url,
                start=start if size else 0,
                seconds=_number(tags.get("#EXTINF", "")) or _number(tags.get("#EXT-X-TARGETDURATION", "")),
                tags=tuple(kept),
                breaks="#EXT-X-DISCONTINUITY" in tags or len(inits) > 1,
            )
        )
        return url, start + size

    def _absolute(self, attributes: str) -> str:
        return re.sub('(?<=URI=")[^"]*', lambda match: str(address(match[0], self.url)), attributes)


class Hls:
    """Follows one station or recording, and remembers across reconnects which segments were heard."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._playlist = _Playlist("", fetcher.origin)
        self._next: int | None = None
        self._heard: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._pending: deque[_Segment] = deque()
        self._listed: deque[_Segment] = deque()
        self._opened: _Segment | None = None
        self._shared: dict[tuple[str, int], bytes] = {}
        self._notes: list[Note] = []
        self._failures = 0
        self._why = "it is empty"
        self._error: AudioError | None = None
        self._over = self._skipped = False
        self._moved = self._loaded = 0.0

    def play(self, text: str, url: URL, decoder: Decoder) -> Iterator[Item]:
        """The chunks, until the playlist ends. `text` is a master or a media playlist, and `url` its address."""
        import av

        self._begin(text, url)
        live, got = not self._playlist.ended, False
        while self._more():
            yield from self._notes
            self._notes.clear()
            try:
                with av.open(_STRETCH, format="hls", io_open=self._open, options=dict(_OPTIONS)) as container:
                    for item in decoder.container(container, live=live, waits=not live):
                        got = got or isinstance(item, bytes)
                        yield item
            except (AudioError, av.error.FFmpegError) as error:
                if not self._skipped and self._opened:
                    self._skip(self._opened, f"it can't be decoded ({reason(error)})")
            if self._error:
                raise self._error
        yield from self._notes
        self._notes.clear()
        if not got:
            raise Trouble(self._fetcher.name, f"there is no audio in its HLS playlist: {self._why}")

    # The playlist of the station

    def _begin(self, text: str, url: URL) -> None:
        if unheard := [*self._listed, *self._pending]:
            self._next = unheard[0].number
            self._heard = deque(list(self._heard)[: -len(unheard)], _REMEMBERED)
        self._listed.clear()
        self._pending.clear()
        self._failures = 0
        self._error = None
        self._moved = time.monotonic()
        if "#EXT-X-STREAM-INF" not in text:
            self._take(_Playlist(text, url))
            return
        failure = Trouble(self._fetcher.name, "no variant of its HLS playlist has audio", _USE_ANOTHER, fatal=True)
        for one in variants(text, url):
            try:
                self._load(one)
                return
            except Trouble as error:
                failure = error
        raise failure

    def _load(self, url: URL) -> None:
        try:
            answer = self._fetcher.get(url)
            text = answer.whole(LARGEST, self._fetcher.stall_timeout).decode("utf-8", "replace")
        except Trouble as error:
            # Its address may have expired: the one that was given leads to another.
            words = f"its HLS playlist can't be had: {error.reason}"
            raise Trouble(self._fetcher.name, words, status=error.status) from None
        if "#EXTM3U" not in text[:99] or "#EXT-X-STREAM-INF" in text:
            raise Trouble(self._fetcher.name, f"{shown(url)} is no HLS playlist of segments")
        self._take(_Playlist(text, answer.url))

    def _take(self, playlist: _Playlist) -> None:
        """Line up what is new in a playlist."""
        self._playlist, self._loaded = playlist, time.monotonic()
        segments = playlist.segments
        if not segments:
            return
        first, end = segments[0].number, segments[-1].number + 1
        if self._next is None:
            new = segments if playlist.ended else segments[-_LIVE_EDGE:]
        elif self._began_anew(segments):
            heard = self._already_heard(segments)
            new = segments[heard:]
            if not heard:
                self._notes.append(Note("source", "the station began anew"))
        else:
            if first > self._next:
                lost = (first - self._next) * playlist.seconds / len(segments)
                # Numbers may jump, but not time.
                lost = min(lost, time.monotonic() - self._moved + _MOST_AHEAD)
                self._missed(f"{first - self._next} segments were gone before they were fetched", lost)
            new = segments[max(0, self._next - first) :]
        if new:
            breaks = new[0].number != self._next
            self._pending.extend([dataclasses.replace(new[0], breaks=breaks or new[0].breaks), *new[1:]])
            self._heard.extend((segment.number, segment.name) for segment in new)
            self._next, self._moved = end, self._loaded

    def _began_anew(self, segments: list[_Segment]) -> bool:
        """Whether the numbers begin anew. One that lags behind names what was heard."""
        assert self._next is not None
        if segments[0].number > self._next:
            return self._already_heard(segments) > 0
        behind = self._next - segments[-1].number - 1
        if behind < 0:
            return False
        known = dict(self._heard)
        renamed = any(known.get(segment.number, segment.name) != segment.name for segment in segments)
        return renamed or behind > len(segments)

    def _already_heard(self, segments: list[_Segment]) -> int:
        names, heard = [segment.name for segment in segments], [name for _, name in self._heard]
        return next((size for size in range(len(names), 0, -1) if names[:size] == heard[-size:]), 0)

    def _refill(self) -> None:
        """Wait until there is a new segment, or the playlist has ended. One that stands still is an error."""
        while not self._pending and not self._playlist.ended:
            moved, target = self._moved, self._playlist.target
            pause = target if moved == self._loaded else target / 2
            self._fetcher.sleep(max(0.0, self._loaded + pause - time.monotonic()))
            self._load(self._playlist.url)
            still = time.monotonic() - self._moved
            if self._moved == moved and still > max(self._fetcher.stall_timeout, 3 * target):
                raise Trouble(self._fetcher.name, f"its HLS playlist stood still for {still:.0f} s")

    def _missed(self, why: str, seconds: float) -> None:
        self._notes.append(Note("source", f"a part of the stream was missed: {why}", seconds))

    # The stretch that FFmpeg reads

    def _more(self) -> bool:
        """Whether there is another stretch. It waits for one."""
        self._listed.clear()
        self._refill()
        self._over = self._skipped = False
        if not self._pending:
            return False
        for tag in self._pending[0].tags:
            if locked := _LOCKED.match(tag):
                words = f"its HLS segments are encrypted ({locked[1] or locked[2]})"
                raise Trouble(self._fetcher.name, words, _USE_ANOTHER, fatal=True)
        self._listed.append(self._pending.popleft())
        return True

    def _open(self, url: str, flags: int, options: dict[str, str]) -> io.BytesIO:
        """What FFmpeg wants to open. An error ends the stretch: raised here, it would cost what came before."""
        try:
            return io.BytesIO(self._list() if url == _STRETCH else self._content(url, options))
        except AudioError as error:
            self._error, self._over = error, True
            return io.BytesIO()

    def _list(self) -> bytes:
        """The playlist for FFmpeg: segments of 0 s, because it would sleep for as long before it asks again."""
        if not self._listed and not self._over:
            self._refill()
        while self._pending and not self._over and not self._pending[0].breaks:
            self._listed.append(self._pending.popleft())
        self._over = self._over or bool(self._pending) or self._playlist.ended
        first = self._listed[0].number if self._listed else self._opened.number + 1 if self._opened else 0
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:0", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for segment in self._listed:
            lines += ["#EXT-X-KEY:METHOD=NONE", *segment.tags, "#EXTINF:0,", segment.url]
        return "\n".join([*lines, "#EXT-X-ENDLIST" if self._over else ""]).encode()

    def _content(self, url: str, options: dict[str, str]) -> bytes:
        """A segment, an init section or a key."""
        plain = url.removeprefix("crypto+")
        start, end = int(options.get("offset", 0)), int(options.get("end_offset", 0))
        if self._listed and (self._listed[0].url, self._listed[0].start) == (plain, start):
            self._opened = self._listed.popleft()
            data = self._segment(self._opened, end)
            return _decrypted(data, options) if data and url != plain else data
        if self._skipped:
            return b""  # FFmpeg goes on in its list; what follows comes in the next stretch
        try:
            if (plain, start) not in self._shared:
                self._shared[plain, start] = self._whole(plain, start, end)
        except Trouble as error:
            keyed = any(tag.startswith("#EXT-X-KEY") for segment in self._listed for tag in segment.tags)
            what = "are encrypted, and a key" if keyed else "need an init section, which"
            words = f"its HLS segments {what} can't be had: {error.reason}"
            raise Trouble(self._fetcher.name, words, fatal=True) from None
        return self._shared[plain, start]

    def _segment(self, segment: _Segment, end: int) -> bytes:
        """A segment, or nothing if it can't be had. A part of one never gets into a decoder."""
        latest = time.monotonic() + min(self._playlist.seconds, self._fetcher.stall_timeout)
        tries = 0
        while True:
            try:
                data = self._whole(segment.url, segment.start, end)
            except Trouble as failure:
                tries += 1
                pause = min(1.0, self._playlist.target / 2)
                if (failure.fatal and tries > 1) or time.monotonic() + pause > latest:
                    self._skip(segment, failure.reason)
                    return b""
                self._fetcher.sleep(pause)
            else:
                self._failures = 0
                return data

    def _whole(self, url: str, start: int, end: int) -> bytes:
        ranged = {"Range": f"bytes={start}-{end - 1}"} if end else {}
        answer = self._fetcher.get(address(url), **ranged)
        data = answer.whole(_LARGEST_SEGMENT, _LONGEST_FETCH)
        return data[start:end] if end and answer.status == 200 else data

    def _skip(self, segment: _Segment, why: str) -> None:
        """Leave out a segment. A new stretch begins after it."""
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            words = f"{self._failures} segments in a row could not be had; the last one, {why}"
            raise Trouble(self._fetcher.name, words)
        self._why = why
        self._missed(why, segment.seconds)
        self._pending.extendleft(reversed(self._listed))
        self._listed.clear()
        self._over = self._skipped = True


def _decrypted(data: bytes, options: dict[str, str]) -> bytes:
    """What FFmpeg makes of an encrypted segment. Its demuxer for raw data gives the bytes that its cipher gives."""
    import av

    url = "crypto+data:application/octet-stream;base64," + base64.b64encode(data).decode()
    how = {"key": options["key"], "iv": options["iv"], "protocol_whitelist": "crypto,data"}
    try:
        with av.open(url, format="data", options=how) as container:
            return b"".join(bytes(packet) for packet in container.demux())
    except av.error.FFmpegError:
        return b""

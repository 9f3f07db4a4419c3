"""Reads one address in the decoder's thread, and asks again when a station ends or breaks off."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dgnb.audio.decode import Decoder, Item
from dgnb.audio.source import SAMPLE_RATE, Note
from dgnb.audio.url import playlist
from dgnb.audio.url.body import MOST_TRIES, Body, SeekableBody
from dgnb.audio.url.fetch import Answer, Fetcher, Stopped, Trouble, address
from dgnb.audio.url.hls import LARGEST as LARGEST_HLS
from dgnb.audio.url.hls import Hls
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    from yarl import URL

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 10.0
_USE_STREAM: Final = "Use the address of a stream."
_DEEPEST: Final = 3
_MARK_BYTES: Final = 512

Items = Generator[Item, None, None]


def backoff(tries: int, rng: random.Random) -> float:
    """Seconds to wait after so many tries without audio: full jitter, up to 0.5 s, 1 s, 2 s … 10 s."""
    return rng.uniform(0.0, min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** max(0, tries - 1)))


@dataclass(repr=False)
class Listener:
    """Gives all that is heard at the fetcher's origin as one row of chunks."""

    _fetcher: Fetcher
    _decoder: Decoder
    _reconnect: bool
    _wait: Callable[[int], float]  # seconds before the next try, after so many in a row without audio
    _endless: bool = False
    _start: bytes = b""
    _heard: float = 0.0
    _asked: int = 0
    _last: float = field(default_factory=time.monotonic)
    _away: tuple[float, str] | None = None

    def __post_init__(self) -> None:
        self._name = self._fetcher.name
        self._hls = Hls(self._fetcher)

    def decoded(self) -> Items:
        """The chunks. What was decoded comes before an error."""
        with contextlib.closing(self._fetcher):
            try:
                yield from self._listen()
            except Stopped:
                return
            except AudioError:
                yield from self._decoder.rest()
                raise
            yield from self._decoder.rest()

    def _listen(self) -> Items:
        tries, heard_ever = 0, False
        while True:
            self._heard, self._asked = 0.0, 0
            try:
                yield from self._play(self._fetcher.origin)
                return
            except Stopped:
                raise
            except AudioError as error:
                # What is no fault of the web is one of the audio, which will not be another the next time.
                failure = error
            heard_ever = heard_ever or self._heard > 0
            if not (heard_ever and self._endless and self._reconnect):
                raise failure
            # A mount point is gone for as long as its source reconnects.
            if isinstance(failure, Trouble) and failure.fatal and failure.status != 404:
                raise failure
            why = getattr(failure, "reason", str(failure))
            tries = 0 if self._heard else tries + 1
            if tries >= MOST_TRIES:
                raise Trouble(self._name, f"{tries} tries in a row brought no audio; the last time, {why}")
            if self._heard or not self._away:
                self._away = (self._last, why)
            self._fetcher.sleep(self._wait(tries))

    def _play(self, url: URL, depth: int = 0) -> Items:
        """Follow an address to audio, and give the audio to its end."""
        self._asked += 1
        if depth > _DEEPEST or self._asked > playlist.MOST_ENTRIES:
            words = "its playlist leads back to itself, to playlists more than three deep, or to too many addresses"
            raise Trouble(self._name, words, _USE_STREAM, fatal=True)
        answer = self._fetcher.get(url)
        try:
            start = answer.start(_MARK_BYTES)
            if playlist.is_playlist(start, answer.kind, answer.url.path):
                yield from self._playlist(answer, depth + 1)
            else:
                yield from self._sound(answer)
        finally:
            answer.close()

    def _playlist(self, answer: Answer, depth: int) -> Items:
        hls = b"#EXT-X-" in answer.start(_MARK_BYTES)
        data = answer.whole(LARGEST_HLS if hls else playlist.LARGEST, self._fetcher.stall_timeout)
        text = data.decode("utf-8", "replace")
        if "#EXT-X-" in text:
            self._endless = True
            yield from self._counted(self._hls.play(text, answer.url, self._decoder), None)
            return
        named = playlist.entries(data)
        failure: AudioError = Trouble(self._name, "it is a playlist that names no address", _USE_STREAM, fatal=True)
        for entry in named:
            try:
                yield from self._play(address(entry, answer.url), depth)
            except ValueError:
                failure = Trouble(self._name, "an entry of its playlist is no address")
            except (Stopped, AudioError) as error:
                if self._heard or isinstance(error, Stopped):
                    raise
                # One that may pass says more than one that never will.
                failure = error if getattr(failure, "fatal", False) else failure
            else:
                if len(named) > 1:
                    text = f"{self._name} is a playlist of {len(named)} addresses; only one of them was read"
                    yield Note("warning", text)
                return
        raise failure

    def _sound(self, answer: Answer) -> Items:
        start = answer.start(_MARK_BYTES)
        if answer.length is None and not answer.station and self._start == start:
            words = "it broke off, and begins anew instead of going on"
            raise Trouble(self._name, words, "Ask for a file with a length, or download it.", fatal=True)
        self._start, self._endless = start, self._endless or answer.station or answer.length is None
        wait = self._wait if self._reconnect and not answer.station else None
        seeks = start[4:8] == b"ftyp" and answer.length and answer.headers.get("Accept-Ranges", "").lower() == "bytes"
        body = (SeekableBody if seeks else Body)(self._fetcher, answer, wait)
        try:
            live = answer.station
            yield from self._counted(self._decoder.chunks(body, live=live, waits=not live), body)
        finally:
            body.close()
        if answer.station and self._reconnect:
            raise Trouble(self._name, "the station ended the stream")

    def _counted(self, items: Iterable[Item], body: Body | None) -> Items:
        """Count what is heard, and report that it is back. Without a body, what was missed is counted elsewhere."""
        for item in items:
            self._last = body.last if body else time.monotonic()
            if isinstance(item, bytes):
                seconds = len(item) / (2 * self._decoder.channels * SAMPLE_RATE)
                if self._away:
                    since, why = self._away
                    self._away = None
                    away = max(0.0, (body.began if body else time.monotonic()) - since)
                    yield Note("source", f"reconnected after {away:.1f} s: {why}", away if body else 0.0)
                while body and body.notes:
                    yield body.notes.popleft()
                self._heard += seconds
            yield item
            if body and isinstance(item, bytes):
                body.heard()  # now: who takes it may have waited

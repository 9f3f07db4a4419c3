"""What a radio station can do wrong, or just differently from others."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

from dgnb.values import native
from tests.support.stations.programme import Format

__all__ = ["Broadcasting", "Listing", "Segmenting", "StationFaults"]

End = Literal["closed", "reset", "truncated", "stalled"]
Framing = Literal["close", "chunked", "length"]


@dataclass(eq=False)
class Fault:
    """Something to do wrong, `times` times or without end."""

    times: int | None = None

    def __post_init__(self) -> None:
        vars(self).update({name: native(value) for name, value in vars(self).items()})

    def strike(self) -> None:
        """Count one time."""
        if self.times is not None:
            self.times -= 1


_Any = TypeVar("_Any", bound=Fault)


class InForce:
    """The faults in force, the oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    @contextmanager
    def during(self, fault: Fault) -> Iterator[None]:
        """Keep a fault in force within the context."""
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)

    def all(self, kind: type[_Any]) -> list[_Any]:
        """Every fault of a kind that has not struck as often as it may, the oldest first."""
        return [one for one in self._faults if isinstance(one, kind) and (one.times is None or one.times > 0)]


@dataclass(eq=False)
class Broadcasting(Fault):
    """How a listener is served; None for the default."""

    path: str | None = None
    after: float | None = None
    ends: End | None = None
    framing: Framing | None = None
    hang_up: bool | None = None
    status: int | None = None
    body: str | None = None
    content_type: str | None = None
    icy: bool | None = None
    metadata: int | None = None
    title: str | None = None
    redirects: int | None = None
    location: str | None = None
    encoding: Literal["gzip", "bomb"] | None = None
    format: Format | None = None
    splice: float | None = None
    then: Format | None = None
    joining: float | None = None
    burst: float | None = None
    speed: float | None = None
    ranges: bool | None = None


@dataclass(eq=False)
class Listing(Fault):
    """What a playlist names."""

    entries: Sequence[str] | None = None
    depth: int | None = None
    count: int | None = None
    size: int | None = None


@dataclass(eq=False)
class Segmenting(Fault):
    """What is wrong with HLS."""

    missing: Collection[int] | None = None
    discontinuity: int | None = None
    encrypted: bool | None = None
    frozen: bool | None = None

    @property
    def of_the_playlist(self) -> bool:
        """Whether it concerns playlists."""
        return (self.discontinuity, self.encrypted, self.frozen) != (None, None, None)


_Kind = TypeVar("_Kind", Broadcasting, Listing, Segmenting)


class StationFaults:
    """The faults in force."""

    def __init__(self) -> None:
        self._in_force = InForce()

    @contextmanager
    def broadcasting(
        self,
        *,
        path: str | None = None,
        after: float | None = None,
        ends: End | None = None,
        framing: Framing | None = None,
        hang_up: bool | None = None,
        status: int | None = None,
        body: str | None = None,
        content_type: str | None = None,
        icy: bool | None = None,
        metadata: int | None = None,
        title: str | None = None,
        redirects: int | None = None,
        location: str | None = None,
        encoding: Literal["gzip", "bomb"] | None = None,
        format: Format | None = None,
        splice: float | None = None,
        then: Format | None = None,
        joining: float | None = None,
        burst: float | None = None,
        speed: float | None = None,
        ranges: bool | None = None,
        times: int | None = None,
    ) -> Iterator[None]:
        """Serve those who begin to listen within the context in another way.

        Several add up, setting by setting; for each setting, the newest counts.

        Args:
            path: The start of the path of the requests it concerns; by default, stations and files. A playlist or an
                HLS address can refuse, redirect or hang up, too.
            after: Seconds of audio, with the burst, after which it ends; 0 ends after the headers.
            ends: How it ends: `"closed"` in good order (the default); `"reset"`; `"truncated"`, before its last chunk
                or `Content-Length`; `"stalled"`, open, without another byte. Without `after`, it ends at once.
            framing: `"close"`: the end of the connection is the end, as with most stations; `"chunked"`;
                `"length"`: a `Content-Length` that is never reached. A truncated station is chunked by default.
            hang_up: Close the connection without an answer.
            status: The status of an answer instead of audio; 200 goes with `body`.
            body: The text of an answer instead of audio, HTML by default.
            content_type: The content type of the answer.
            icy: Answer `ICY 200 OK`, as Shoutcast 1 does, instead of `HTTP/1.1 200 OK`.
            metadata: The bytes of audio between ICY metadata, even if the listener did not ask for it; 0 for none,
                even if it did.
            title: The title in the metadata, unquoted.
            redirects: How many redirects lead to the audio.
            location: The `Location` of a redirect. Its own address is a loop.
            encoding: `"gzip"` compresses the body, asked or not; `"bomb"` is a small body that unpacks to 50 MB.
            format: `"mp3"`, `"aac"` (ADTS), `"ogg"` (Opus), `"wav"`, or `"noise"`: random bytes that claim to be MP3.
            splice: Seconds after which the body goes on in another encoding, as with inserted advertisements.
            then: The `format` after the splice, from its beginning; by default, MP3 of 22.05 kHz instead of 44.1 kHz.
            joining: Seconds into the programme where a listener joins, in the middle of a frame or page, and
                without a header; by default, its beginning.
            burst: Seconds that a listener gets at once; 1 by default.
            speed: The speed of the rest: 0.1 is ten times too slow.
            ranges: False if files ignore `Range`.
            times: How many requests; by default, all until the context ends.

        Raises:
            ValueError: The settings contradict each other.

        Example:
            ```python
            with server.broadcasting(after=2, ends="reset", times=1): ...
            with server.broadcasting(icy=True, metadata=8192): ...
            with server.broadcasting(status=403, times=2), server.broadcasting(burst=30): ...
            ```
        """
        if ends == "truncated" and framing == "close":
            raise ValueError("A body that ends with the connection can't be truncated.")
        if encoding == "bomb" and after is not None:
            raise ValueError("A bomb has an end of its own.")
        if not 0 <= (redirects or 0) <= 100:
            raise ValueError("redirects is 0 to 100; for a loop use location.")
        settings = {name: value for name, value in locals().items() if name != "self"}
        with self._in_force.during(Broadcasting(**settings)):
            yield

    @contextmanager
    def listing(
        self,
        *,
        entries: Sequence[str] | None = None,
        depth: int | None = None,
        count: int | None = None,
        size: int | None = None,
        times: int | None = None,
    ) -> Iterator[None]:
        """Change what the playlists name.

        Args:
            entries: The addresses; `["radio.m3u"]` in `/radio.m3u` names itself.
            depth: How many playlists name a further playlist before one names the station.
            count: How many entries, the same station again and again.
            size: Bytes, with comments as padding.
            times: How many requests; by default, all until the context ends.

        Example:
            ```python
            with server.listing(depth=5): ...
            ```
        """
        with self._in_force.during(Listing(times, entries, depth, count, size)):
            yield

    @contextmanager
    def segmenting(
        self,
        *,
        missing: Collection[int] | None = None,
        discontinuity: int | None = None,
        encrypted: bool | None = None,
        frozen: bool | None = None,
        times: int | None = None,
    ) -> Iterator[None]:
        """Let HLS go wrong.

        Args:
            missing: Media sequence numbers of segments that are answered with 404. The first segment is 0.
            discontinuity: The number of the first segment in another encoding, with another sample rate and times
                that begin again.
            encrypted: Segments are encrypted with AES-128, and the key is answered with 403: a station for
                subscribers.
            frozen: The live window does not move.
            times: How many requests; by default, all until the context ends.

        Example:
            ```python
            with server.segmenting(missing=[2], times=1): ...
            ```
        """
        with self._in_force.during(Segmenting(times, missing, discontinuity, encrypted, frozen)):
            yield

    def broadcasting_now(self, path: str, *, audio: bool, hopped: bool) -> Broadcasting:
        """How to serve a request to this path, of audio or of something else; asking counts."""
        return _summed(
            Broadcasting(),
            (
                fault
                for fault in self._in_force.all(Broadcasting)
                if (audio if fault.path is None else path.startswith(fault.path)) and not (hopped and fault.redirects)
            ),
        )

    def listing_now(self) -> Listing:
        """What a playlist names; asking counts."""
        return _summed(Listing(), self._in_force.all(Listing))

    def segmenting_now(self) -> Segmenting:
        """What is wrong with an HLS playlist; asking counts."""
        return _summed(Segmenting(), (fault for fault in self._in_force.all(Segmenting) if fault.of_the_playlist))

    def is_missing(self, number: int) -> bool:
        """Whether a segment is missing; if so, this counts."""
        for fault in self._in_force.all(Segmenting):
            if fault.missing is not None and number in fault.missing:
                fault.strike()
                return True
        return False


def _summed(result: _Kind, faults: Iterable[_Kind]) -> _Kind:
    """All faults in one; each of them strikes."""
    for fault in faults:
        fault.strike()
        for setting in dataclasses.fields(fault):
            value = getattr(fault, setting.name)
            if value is not None and setting.name != "times":
                setattr(result, setting.name, value)
    return result

"""Requests: each redirect is checked by the policy, no large body is unpacked, and errors are put into words.

Whoever reads is the decoder's thread. It waits in a loop of its own, so that a blocked notebook costs no audio.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import zlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urljoin

from dgnb._version import __version__
from dgnb.audio.threads import no_thread
from dgnb.audio.url.policy import Policy
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

T = TypeVar("T")

_GONE: Final = frozenset({401, 403, 404, 410, 451})  # Statuses that do not change when the request is repeated
_CONNECT_TIMEOUT: Final = 10.0
_MOST_HOPS: Final = 5
_MOST_UNPACKED: Final = 1 << 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/?#\s]*@")
_QUERY: Final = re.compile(r"\?[^\s'\"…]+")
_BROWSER: Final = "Does the address open in a browser?"
_LOGIN: Final = "If it needs a login or a referrer, give headers={…}."
_ICY: Final = (0, 9)
_STATIONS: Final = ("icecast", "shoutcast", "liquidsoap", "steamcast")


class Trouble(AudioError):
    """Why a source can't be read. `fatal`: another request would fail too."""

    def __init__(self, name: str, reason: str, remedy: str = _BROWSER, *, fatal: bool = False, status: int = 0) -> None:
        super().__init__(f"{name} can't be read: {reason}. {remedy}")
        self.reason = reason
        self.fatal = fatal
        self.status = status


class Stopped(AudioError):
    """Nobody wants the audio any more."""


class Answer:
    """The head of an answer, and its body part by part. `unpack` is for a short body that came compressed."""

    def __init__(self, fetcher: Fetcher, url: URL, response: aiohttp.ClientResponse) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers  # their names in any case
        self.kind = response.content_type  # without its parameters
        self.length = response.content_length  # None if it is unknown
        self.close = response.close
        self.unpack: Any = None
        self.ahead = b""
        self._fetcher = fetcher
        self._response = response

    @property
    def station(self) -> bool:
        """Whether it says that it is a radio station, which has no end."""
        named = any(name.lower().startswith(("icy-", "ice-")) for name in self.headers)
        program = self.headers.get("Server", "").lower()
        return named or self._response.version == _ICY or any(one in program for one in _STATIONS)

    def read(self) -> bytes:
        """The next part of the body; none at its end."""
        data, self.ahead = self.ahead, b""
        return data or self._fetcher.run(self.next_part())

    async def next_part(self) -> bytes:
        """As `read`, in the loop."""
        while True:
            async with asyncio.timeout(self._fetcher.stall_timeout):
                data = packed = await self._response.content.readany()
            if self.unpack and packed:
                data = self.unpack.decompress(packed, _MOST_UNPACKED)
                if self.unpack.unconsumed_tail:
                    raise Trouble(shown(self.url), "its playlist unpacks to too many bytes", fatal=True)
            if data or not packed:
                return data

    def start(self, size: int) -> bytes:
        """The first bytes of the body. `read` gives them again."""
        data = b""
        while len(data) < size and (more := self.read()):
            data += more
        self.ahead = data
        return data[:size]

    def whole(self, most: int, within: float) -> bytes:
        """A body of at most so many bytes, within so many seconds. The connection is closed on every path."""
        data, latest = bytearray(), time.monotonic() + within
        try:
            while more := self.read():
                data += more
                if len(data) > most or time.monotonic() > latest:
                    raise Trouble(shown(self.url), "it goes on for too long")
        finally:
            self.close()
        return bytes(data)


def address(text: str, base: URL | None = None) -> URL:
    """An address, byte for byte as it was given: a server may have signed it. It raises ValueError if it is none."""
    from yarl import URL

    whole = urljoin(str(base), text) if base else text
    return URL(whole, encoded=whole.isascii() and whole.isprintable() and " " not in whole)


def shown(url: URL) -> str:
    """An address for people: without its credentials, and without its query, which may hold keys."""
    if not url.host:
        return f"{url.scheme}:…"
    clean = str(url.with_user(None).with_query(None).with_fragment(None))
    return f"{clean}?…" if url.raw_query_string else clean


@dataclass(slots=True, repr=False)
class Fetcher:
    """Sends requests, from one thread. The headers and credentials go to the server of `origin` only."""

    name: str
    origin: URL
    _headers: Mapping[str, str]
    _policy: Policy
    stall_timeout: float
    _loop: asyncio.AbstractEventLoop | None = None
    _session: aiohttp.ClientSession | None = None
    _task: asyncio.Task[Any] | None = None
    _stopped: bool = False

    def close(self) -> None:
        """Close all connections."""
        if self._loop:
            if self._session:
                self._loop.run_until_complete(self._session.close())
            self._loop.close()

    def stop(self) -> None:
        """End what is being waited for, and everything after it. From any thread."""
        self._stopped = True
        with contextlib.suppress(RuntimeError, AttributeError):  # no loop yet, or it is closed: nothing waits
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())  # type: ignore[union-attr]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for something in the loop. It raises `AudioError` only, in words that quote no credentials."""
        try:
            self._loop = self._loop or asyncio.new_event_loop()
        except OSError as error:
            work.close()
            raise no_thread(self.name, error) from None
        task: asyncio.Task[T] = self._loop.create_task(work)
        self._task = task
        if self._stopped:
            task.cancel()
        try:
            return self._loop.run_until_complete(task)
        except asyncio.CancelledError:
            raise Stopped(f"{self.name} was closed.") from None
        except AudioError:
            raise
        except Exception as error:
            raise self._explained(error) from None

    def sleep(self, seconds: float) -> None:
        """Wait; `stop` ends it."""
        self.run(asyncio.sleep(seconds))

    def get(self, url: URL, **extra: str) -> Answer:
        """The answer after at most five redirects. Its status is 200, or 206 on `Range`: any other is an error."""
        return self.run(self._get(url, extra))

    async def _get(self, url: URL, extra: Mapping[str, str]) -> Answer:
        for _ in range(_MOST_HOPS + 1):
            if objection := self._policy.objection(url):
                raise Trouble(self.name, f"{shown(url)} is refused: {objection}", "Use another address.", fatal=True)
            answer = await self._ask(url, extra)
            location = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or not location:
                try:
                    self._check(answer, bool(extra))
                    # aiohttp drops the first part when the connection breaks before it was taken.
                    answer.ahead = await answer.next_part()
                except BaseException:
                    answer.close()
                    raise
                return answer
            answer.close()
            url = self._next(url, location)
        raise Trouble(self.name, "it redirects more than five times, and may go round in a circle", fatal=True)

    def _next(self, url: URL, location: str) -> URL:
        target = address(location, url)
        if url.scheme == "https" and target.scheme == "http":
            words = f"it redirects from https to {shown(target)}, which is not encrypted"
            raise Trouble(self.name, words, "If that is all right, use that address.", fatal=True)
        if not target.user and _same_place(url, target):
            target = target.with_user(url.user).with_password(url.password) if url.user else target
        return target

    def _check(self, answer: Answer, ranged: bool) -> None:
        if answer.status != 200 and not (ranged and answer.status == 206):
            words = f"it answered {answer.status} {answer._response.reason or ''}".strip()
            remedy = f"{_BROWSER} {_LOGIN}" if answer.status in (401, 403) else _BROWSER
            raise Trouble(self.name, words, remedy, fatal=answer.status in _GONE, status=answer.status)
        packed = answer.headers.get("Content-Encoding", "identity").lower()
        if packed in ("gzip", "x-gzip", "deflate") and ("mpegurl" in answer.kind or ".m3u" in answer.url.path):
            answer.unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        elif packed not in ("identity", ""):
            words = "it sends its body compressed although it was asked not to"
            raise Trouble(self.name, words, "Download it, and use the file.", fatal=True)

    async def _ask(self, url: URL, extra: Mapping[str, str]) -> Answer:
        """One request, one answer, whatever its status."""
        import aiohttp
        from multidict import CIMultiDict

        if not self._session:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
            # A compressed body could unpack to any size.
            self._session = aiohttp.ClientSession(
                timeout=timeout, auto_decompress=False, connector=_connector(self._policy)
            )
        headers = CIMultiDict({"User-Agent": f"dgnb/{__version__}", "Accept-Encoding": "identity", "Icy-MetaData": "1"})
        if _same_place(self.origin, url):
            headers.update(self._headers)
        headers.update(extra)
        async with asyncio.timeout(_CONNECT_TIMEOUT + self.stall_timeout):
            return Answer(self, url, await self._session.get(url, headers=headers, allow_redirects=False))

    def _explained(self, error: Exception) -> AudioError:
        import aiohttp

        if isinstance(error, aiohttp.ConnectionTimeoutError):
            what = f"it can't be reached within {_CONNECT_TIMEOUT:g} s"
        elif isinstance(error, TimeoutError):
            what = f"nothing came for {self.stall_timeout:g} s"
        elif isinstance(error, aiohttp.ClientPayloadError):
            what = "the connection ended before the body was complete"
        else:
            # A library's message may quote an address, this one or the target of a redirect.
            told = str(error).replace(str(self.origin), self.name)
            what = _QUERY.sub("?…", _CREDENTIALS.sub("", told)) or type(error).__name__
        return Trouble(self.name, what)


def _same_place(one: URL, other: URL) -> bool:
    """Whether the headers for one address may go to the other: the same server, or its https port."""
    upgraded = one.scheme == "http" and other.scheme == "https" and (one.port, other.port) == (80, 443)
    return one.host == other.host and ((one.scheme, one.port) == (other.scheme, other.port) or upgraded)


def _connector(policy: Policy) -> aiohttp.TCPConnector:
    """Connections to what the policy resolves. SHOUTcast's status line `ICY 200 OK` is read as one of HTTP/0.9."""
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *arguments: Any, **named: Any) -> aiohttp.connector.Connection:
            connection = await super().connect(*arguments, **named)
            protocol: Any = connection.protocol
            received, start = type(protocol).data_received, b""

            def translate(data: bytes) -> None:
                nonlocal start
                start += data
                if len(start) >= len(b"ICY ") or not b"ICY ".startswith(start):
                    del protocol.data_received
                    received(protocol, re.sub(rb"\AICY ", b"HTTP/0.9 ", start))

            protocol.data_received = translate
            return connection

    return Connector(resolver=cast("Any", policy), use_dns_cache=False)

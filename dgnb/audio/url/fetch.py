"""Requests: each redirect is checked by the policy, no large body is unpacked, and errors are put into words.

Whoever reads is the decoder's thread. It waits in a loop of its own, so that a blocked notebook costs no audio.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urljoin

from dgnb._version import __version__
from dgnb.audio.threads import no_thread
from dgnb.audio.url.policy import Policy
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

T = TypeVar("T")

_GONE: Final = frozenset({401, 403, 404, 410, 451})
"""Statuses that do not change when the request is repeated."""
_CONNECT_TIMEOUT: Final = 10.0
_MOST_HOPS: Final = 5
_MOST_UNPACKED: Final = 1 << 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/?#\s]*@")
_QUERY: Final = re.compile(r"\?[^\s'\"…]+")
_BROWSER: Final = "Does the address open in a browser?"
_LOGIN: Final = "If it needs a login or a referrer, give headers={…}."
_STATIONS: Final = ("icecast", "shoutcast", "liquidsoap", "steamcast")


class Trouble(AudioError):
    """Why a source can't be read.

    Attributes:
        reason: The message without the name and the remedy.
        fatal: Another request would fail too.
        status: Of the answer; 0 if there was none.
        after: Seconds after which the server wants to be asked again.
    """

    def __init__(
        self,
        name: str,
        reason: str,
        remedy: str = _BROWSER,
        *,
        fatal: bool = False,
        how: str = "can't be read: ",
        status: int = 0,
        after: float = 0.0,
    ) -> None:
        super().__init__(f"{name} {how}{reason}. {remedy}")
        self.reason = reason
        self.fatal = fatal
        self.status = status
        self.after = after


class Stopped(AudioError):
    """Nobody wants the audio any more."""


@dataclass(slots=True, repr=False)
class Answer:
    """The head of an answer, and its body part by part.

    Attributes:
        url: The address after all redirects.
        headers: Their names in any case.
        close: Closes the connection.
        unpack: Unpacks a short body that came compressed; None for any other.
    """

    _fetcher: Fetcher
    url: URL
    status: int
    reason: str
    headers: Mapping[str, str]
    _part: Callable[[], Awaitable[bytes]]
    close: Callable[[], None]
    unpack: Any = None
    _ahead: bytes = b""

    @property
    def kind(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def length(self) -> int | None:
        """The length of the body, or None if it is unknown."""
        told = self.headers.get("Content-Length", "")
        return int(told) if told.isascii() and told.isdigit() and len(told) < 20 else None

    @property
    def station(self) -> bool:
        """Whether it says that it is a radio station, which has no end."""
        named = any(name.lower().startswith(("icy-", "ice-")) for name in self.headers)
        return named or any(one in self.headers.get("Server", "").lower() for one in _STATIONS)

    async def begin(self) -> None:
        """Take the first part at once: aiohttp drops it when the connection breaks before it was taken."""
        self._ahead = await self._next()

    def read(self) -> bytes:
        """The next part of the body; none at its end.

        Raises:
            AudioError: It broke off, nothing came for long, or the source was closed.
        """
        data, self._ahead = self._ahead, b""
        return data or self._fetcher.run(self._next())

    async def _next(self) -> bytes:
        while True:
            async with asyncio.timeout(self._fetcher.stall_timeout):
                data = packed = await self._part()
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
        self._ahead = data
        return data[:size]

    def whole(self, most: int, within: float) -> bytes:
        """A body that is not long. The connection is closed on every path.

        Raises:
            AudioError: It is longer than `most` bytes, took more seconds than `within`, or broke off.
        """
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
    """An address, byte for byte as it was given: a server may have signed it with its percent signs.

    Raises:
        ValueError: It is none.
    """
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
    """Sends requests, from one thread. Only `stop` may be called from another one.

    Args:
        name: Of the source.
        origin: The address that the caller gave. The headers and credentials go to its server only.
        headers: Further request headers.
        policy: What may be asked.
        stall_timeout: Seconds without a byte after which a connection is given up.
    """

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
        """Wait for something in the loop.

        Raises:
            Stopped: `stop` was called.
            AudioError: It failed; the error in words that quote no credentials.
        """
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
        """The answer to a request for an address, after at most five redirects. Its status is 200, or 206 on `Range`.

        Raises:
            AudioError: There is no answer, or its status is another.
        """
        return self.run(self._get(url, extra))

    async def _get(self, url: URL, extra: Mapping[str, str]) -> Answer:
        seen = set()
        for _ in range(_MOST_HOPS + 1):
            if objection := self._policy.objection(url):
                raise Trouble(self.name, f"{shown(url)} is refused: {objection}", "Use another address.", fatal=True)
            seen.add(url)
            answer = await self._ask(url, extra)
            location = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or not location:
                try:
                    self._check(answer, bool(extra))
                    await answer.begin()
                except BaseException:
                    answer.close()
                    raise
                return answer
            answer.close()
            url = self._next(url, location, seen)
        raise Trouble(self.name, "it redirects more than five times", fatal=True)

    def _next(self, url: URL, location: str, seen: set[URL]) -> URL:
        target = address(location, url)
        if target.scheme not in ("http", "https") or not target.host:
            raise Trouble(self.name, "it redirects to something that is no http:// or https:// address", fatal=True)
        if url.scheme == "https" and target.scheme == "http":
            raise Trouble(
                self.name,
                f"it redirects from https to {shown(target)}, which is not encrypted",
                "If that is all right, use that address.",
                fatal=True,
            )
        if not target.user and _same_place(url, target):
            target = target.with_user(url.user).with_password(url.password) if url.user else target
        if target in seen:
            raise Trouble(self.name, "its redirects go round in a circle", fatal=True)
        return target

    def _check(self, answer: Answer, ranged: bool) -> None:
        if answer.status != 200 and not (ranged and answer.status == 206):
            after = answer.headers.get("Retry-After", "")
            raise Trouble(
                self.name,
                f"answered {answer.status} {answer.reason}".strip(),
                f"{_BROWSER} {_LOGIN}" if answer.status in (401, 403) else _BROWSER,
                fatal=answer.status in _GONE,
                how="",
                status=answer.status,
                after=float(after) if after.isascii() and after.isdigit() and len(after) < 4 else 0.0,
            )
        packed = answer.headers.get("Content-Encoding", "identity").lower()
        if packed in ("gzip", "x-gzip", "deflate") and ("mpegurl" in answer.kind or ".m3u" in answer.url.path):
            answer.unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        elif packed not in ("identity", ""):
            raise Trouble(
                self.name,
                "it sends its body compressed although it was asked not to",
                "Download it, and use the file.",
                fatal=True,
            )

    async def _ask(self, url: URL, extra: Mapping[str, str]) -> Answer:
        """One request, one answer, whatever its status."""
        import aiohttp
        from multidict import CIMultiDict

        if not self._session:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
            connector = aiohttp.TCPConnector(resolver=_resolver(self._policy), use_dns_cache=False)
            # A compressed body could unpack to any size.
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, connector=connector)
        headers = CIMultiDict({"User-Agent": f"dgnb/{__version__}", "Accept-Encoding": "identity", "Icy-MetaData": "1"})
        if _same_place(self.origin, url):
            headers.update(self._headers)
        headers.update(extra)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT + self.stall_timeout):
                response = await self._session.get(url, headers=headers, allow_redirects=False)
        except aiohttp.ClientResponseError as error:
            # aiohttp does not take SHOUTcast's own status line.
            answer = await self._ask_shoutcast(url, headers)
            if answer is None:
                raise error from None
            return answer
        return Answer(
            self,
            url,
            response.status,
            response.reason or "",
            response.headers,
            response.content.readany,
            response.close,
        )

    async def _ask_shoutcast(self, url: URL, headers: Mapping[str, str]) -> Answer | None:
        """The same request by hand, for a server that answers `ICY 200 OK`; None if it does not."""
        from multidict import CIMultiDict, CIMultiDictProxy

        assert url.host
        assert url.port
        lines = [f"GET {url.raw_path_qs} HTTP/1.0", f"Host: {url.raw_authority.rpartition('@')[2]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if url.user is not None and "Authorization" not in headers:
            credentials = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
            lines.append(f"Authorization: Basic {credentials}")
        if any("\r" in line or "\n" in line for line in lines):
            return None
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            where = (await self._policy.resolve(url.host, url.port))[0]
            secure = ssl.create_default_context() if url.scheme == "https" else None
            reader, writer = await asyncio.open_connection(
                where["host"], url.port, ssl=secure, server_hostname=url.host if secure else None
            )

        def close() -> None:
            with contextlib.suppress(RuntimeError):
                writer.transport.abort()

        try:
            writer.write("\r\n".join([*lines, "", ""]).encode())
            async with asyncio.timeout(self.stall_timeout):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace").split("\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            close()
            return None
        except BaseException:
            close()
            raise
        protocol, _, status = head[0].partition(" ")
        code, _, reason = status.partition(" ")
        if protocol != "ICY" or not (code.isascii() and code.isdigit()):
            close()
            return None
        found = CIMultiDict(
            (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])
        )
        # It is a radio, even if no other header says so.
        found.setdefault("icy-name", "")
        proxy = CIMultiDictProxy(found)
        return Answer(self, url, int(code), reason, proxy, lambda: reader.read(1 << 16), close)

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


def _resolver(policy: Policy) -> aiohttp.abc.AbstractResolver:
    import aiohttp.abc

    class Resolver(aiohttp.abc.AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[aiohttp.abc.ResolveResult]:
            found: Any = await policy.resolve(host, port, family)
            return list(found)

        async def close(self) -> None:
            pass

    return Resolver()

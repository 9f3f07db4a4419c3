"""Requests: each redirect is checked by the policy, no body is unpacked, and errors are put into words."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from dgnb._version import __version__
from dgnb.audio.decode import printable
from dgnb.audio.url.policy import Policy
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

__all__ = ["FATAL", "Answer", "Fetcher", "Trouble", "shown"]

FATAL: Final = frozenset({401, 403, 404, 410, 451})
"""Statuses that do not change when the request is repeated."""

_CONNECT_TIMEOUT: Final = 10.0
_MOST_HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/?#\s]*@")
_QUERY: Final = re.compile(r"\?[^\s'\"…]+")
_BROWSER: Final = "Does the address open in a browser?"


class Trouble(AudioError):
    """Why a source can't be read.

    Attributes:
        reason: The message without the name and the remedy.
        fatal: Another request would fail too.
    """

    def __init__(
        self, name: str, reason: str, remedy: str = _BROWSER, *, fatal: bool = False, how: str = "can't be read: "
    ) -> None:
        super().__init__(f"{name} {how}{reason}. {remedy}")
        self.reason = reason
        self.fatal = fatal


@dataclass(slots=True)
class Answer:
    """The head of an answer, and its body part by part.

    Attributes:
        url: The address after all redirects.
        headers: Their names in any case.
        read: The next part of the body; none at the end.
        close: Closes the connection.
    """

    url: URL
    status: int
    reason: str
    headers: Mapping[str, str]
    read: Callable[[], Awaitable[bytes]]
    close: Callable[[], None]

    @property
    def kind(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def length(self) -> int | None:
        """The length of the body, or None if it is unknown."""
        told = self.headers.get("Content-Length", "")
        return int(told) if told.isascii() and told.isdigit() and len(told) < 20 else None

    async def start(self, size: int) -> bytes:
        """The first bytes of the body. `read` gives them again."""
        data = b""
        while len(data) < size and (more := await self.read()):
            data += more
        ahead, read = [data], self.read

        async def again() -> bytes:
            return (ahead.pop() if ahead else b"") or await read()

        self.read = again
        return data


def shown(url: URL) -> str:
    """An address for people: without its credentials, and without its query, which may hold keys."""
    if not url.host:
        return f"{url.scheme}:…"
    clean = str(url.with_user(None).with_query(None).with_fragment(None))
    return f"{clean}?…" if url.raw_query_string else clean


class Fetcher:
    """Sends requests, in the loop that it is entered in.

    Args:
        name: Of the source.
        origin: The address that the caller gave. The headers and credentials go to its server only.
        headers: Further request headers.
        policy: What may be asked.
        stall_timeout: Seconds without a byte after which a connection is given up.
    """

    def __init__(
        self, name: str, origin: URL, headers: Mapping[str, str], policy: Policy, stall_timeout: float
    ) -> None:
        self._name = name
        self._origin = origin
        self._headers = headers
        self._policy = policy
        self.stall_timeout = stall_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Fetcher:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=self.stall_timeout)
        connector = aiohttp.TCPConnector(resolver=_resolver(self._policy), use_dns_cache=False)
        # identity: a compressed body could unpack to any size.
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, url: URL, **extra: str) -> Answer:
        """The answer to a request for an address, after at most five redirects. Its status is 200, or 206 on `Range`.

        Raises:
            Trouble: There is no answer, or its status is another.
        """
        seen = set()
        for _ in range(_MOST_HOPS + 1):
            if objection := self._policy.objection(url):
                raise Trouble(self._name, f"{shown(url)} is refused: {objection}", "Use another address.", fatal=True)
            seen.add(url)
            answer = await self._ask(url, extra)
            location = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or not location:
                try:
                    self._check(answer, bool(extra))
                except BaseException:
                    answer.close()
                    raise
                return answer
            answer.close()
            url = self._next(url, location, seen)
        raise Trouble(self._name, "it redirects more than five times", fatal=True)

    def _next(self, url: URL, location: str, seen: set[URL]) -> URL:
        from yarl import URL

        target = url.join(URL(location))
        if target.scheme not in ("http", "https") or not target.host:
            raise Trouble(self._name, "it redirects to something that is no http:// or https:// address", fatal=True)
        if url.scheme == "https" and target.scheme == "http":
            raise Trouble(
                self._name,
                f"it redirects from https to {shown(target)}, which is not encrypted",
                "If that is all right, use that address.",
                fatal=True,
            )
        if not target.user and _same_place(url, target):
            target = target.with_user(url.user).with_password(url.password) if url.user else target
        if target in seen:
            raise Trouble(self._name, "its redirects go round in a circle", fatal=True)
        return target

    def _check(self, answer: Answer, ranged: bool) -> None:
        if answer.status != 200 and not (ranged and answer.status == 206):
            reason = f"{answer.status} {answer.reason}".strip()
            raise Trouble(self._name, f"answered {reason}", fatal=answer.status in FATAL, how="")
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise Trouble(
                self._name,
                "it sends its body compressed although it was asked not to",
                "Download it, and use the file.",
                fatal=True,
            )

    async def _ask(self, url: URL, extra: Mapping[str, str]) -> Answer:
        """One request, one answer, whatever its status."""
        import aiohttp
        from multidict import CIMultiDict

        assert self._session
        headers = CIMultiDict({"User-Agent": f"dgnb/{__version__}", "Accept-Encoding": "identity", "Icy-MetaData": "1"})
        if _same_place(self._origin, url):
            headers.update(self._headers)
        headers.update(extra)
        try:
            response = await self._session.get(url, headers=headers, allow_redirects=False)
        except aiohttp.ClientResponseError as error:
            # aiohttp does not take SHOUTcast's own status line.
            answer = await self._ask_shoutcast(url, headers)
            if answer is None:
                raise error from None
            return answer
        return Answer(
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

        async def read() -> bytes:
            async with asyncio.timeout(self.stall_timeout):
                return await reader.read(1 << 16)

        # It is a radio, even if no other header says so.
        found.setdefault("icy-name", "")
        return Answer(url, int(code), reason, CIMultiDictProxy(found), read, close)

    async def whole(self, answer: Answer, most: int) -> bytes:
        """A short body. The connection is closed on every path.

        Raises:
            Trouble: It is longer than `most` bytes.
        """
        data = b""
        try:
            async with asyncio.timeout(self.stall_timeout):
                while more := await answer.read():
                    data += more
                    if len(data) > most:
                        raise Trouble(self._name, f"{shown(answer.url)} is no playlist: it goes on for too long")
        finally:
            answer.close()
        return data

    async def not_audio(self, answer: Answer) -> Trouble:
        """The error for a page or a picture."""
        start = printable(await answer.start(40))
        words = f"is not audio but {answer.kind} ({answer.status} {answer.reason}); it begins with {start}"
        return Trouble(self._name, words, "Use the address of the audio itself.", how="")

    def explain(self, error: Exception) -> AudioError:
        """The error in words that quote no credentials."""
        import aiohttp

        if isinstance(error, AudioError):
            return error
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            what = f"it can't be reached within {_CONNECT_TIMEOUT:g} s"
        elif isinstance(error, TimeoutError):
            what = f"nothing came for {self.stall_timeout:g} s"
        elif isinstance(error, aiohttp.ClientPayloadError):
            what = "the connection ended before the body was complete"
        else:
            # A library's message may quote an address, this one or the target of a redirect.
            told = str(error).replace(str(self._origin), self._name)
            what = _QUERY.sub("?…", _CREDENTIALS.sub("", told)) or type(error).__name__
        return Trouble(self._name, what)


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

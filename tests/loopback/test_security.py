"""The loopback server under attack, over raw sockets. Whatever is done to it, a right client is served afterwards."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import ipaddress
import itertools
import logging
import os
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil
import pytest
from websockets.asyncio.client import connect

from dgnb.loopback import Script, handshake, listener
from dgnb.loopback import server as shell
from dgnb.messages import Metadata, parse
from tests.support.faulty import FaultyServer

TOKEN = "canary-5f2a-of-32-characters-here"
KEY = f"Authorization: Token {TOKEN}"
QUERY = "encoding=linear16&sample_rate=16000"
LISTEN = f"/v1/listen?{QUERY}"
LIMIT = 4 << 20
IDLE = 0.5
CLOSE_STREAM = b'{"type":"CloseStream"}'
TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9

Attack = Callable[[FaultyServer], Awaitable[None]]


async def works(server: FaultyServer) -> None:
    headers = {"Authorization": f"Token {TOKEN}"}
    async with connect(server.url + LISTEN, additional_headers=headers, compression=None, proxy=None) as websocket:
        await websocket.send(bytes(3200))
        await websocket.send(CLOSE_STREAM.decode())
        metadata = [parse(message) async for message in websocket][-1]
    assert isinstance(metadata, Metadata)
    assert metadata.duration == pytest.approx(0.1)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyServer]:
    """A server with a token. After each test it must still work, and must not hold more memory."""
    # None of these clients answers a close frame.
    monkeypatch.setattr(shell, "_CLOSE_TIMEOUT", 0.3)
    monkeypatch.setattr(listener, "_CLOSE_TIMEOUT", 0.3)
    asyncio.get_running_loop().set_debug(False)
    async with FaultyServer("hello", token=TOKEN, idle_timeout=IDLE, max_connections=8) as server:
        await works(server)
        before = psutil.Process().memory_info().rss
        yield server
        async with asyncio.timeout(10):
            await works(server)
        assert psutil.Process().memory_info().rss - before < 100 << 20


def request(*headers: str, target: str = LISTEN, host: str | None = "127.0.0.1", method: str = "GET") -> bytes:
    lines = [
        f"{method} {target} HTTP/1.1",
        *([] if host is None else [f"Host: {host}"]),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Line:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, server: FaultyServer) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2])))

    async def send(self, data: bytes) -> None:
        # The server may already have closed the connection.
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def head(self) -> tuple[int, bytes]:
        """The status and the head of the answer."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), head.lower()

    async def rest(self) -> bytes:
        """Everything that comes until the server closes the connection."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close_code(self) -> int:
        """The code of the server's close frame; 1006 without one."""
        data = await self.rest()
        while data:
            opcode, length = data[0] & 15, data[1]
            start = 2
            if length == 126:
                start, length = 4, struct.unpack("!H", data[2:4])[0]
            if opcode == 8:
                return int(struct.unpack("!H", data[start : start + 2])[0])
            data = data[start + length :]
        return 1006

    def abort(self) -> None:
        self.writer.transport.abort()


@pytest.fixture
async def line(server: FaultyServer) -> AsyncIterator[Callable[[], Awaitable[Line]]]:
    lines = []

    async def start() -> Line:
        lines.append(await Line.to(server))
        return lines[-1]

    yield start
    for each in lines:
        each.abort()


async def answered(server: FaultyServer, data: bytes) -> tuple[int, bytes]:
    line = await Line.to(server)
    try:
        await line.send(data)
        return await line.head()
    finally:
        line.abort()


def frame(opcode: int, data: bytes = b"", *, last: bool = True, flags: int = 0) -> bytes:
    """One frame of a client, masked with zeros."""
    first = opcode | (128 if last else 0) | flags
    if len(data) < 126:
        head = struct.pack("!BB", first, 128 | len(data))
    elif len(data) < 1 << 16:
        head = struct.pack("!BBH", first, 128 | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, 128 | 127, len(data))
    return head + bytes(4) + data


# Access


@pytest.mark.parametrize("path", [LISTEN, "/radio", "/radio/station.m3u"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "file://",
        "http://127.0.0.1.evil.example",
        "http://evil.example#127.0.0.1",
        "http://localhost:1@evil",
        "http://evil@localhost",
        "http://evil.example\\@localhost",
        "http://[::1].evil.example",
        "http://localhost/evil",
        "http://localhost.evil",
        "http://xlocalhost",
        "http://0.0.0.0:8888",
        "http://[::]:8888",
        "localhost",
        "//localhost",
        "chrome-extension://localhost",
        "http://localhost http://evil.example",
        "http://2130706433",
        "http://loc\xe4lhost",
    ],
)
async def test_a_page_from_elsewhere_is_refused(server: FaultyServer, path: str, origin: str) -> None:
    status, head = await answered(server, request(KEY, f"Origin: {origin}", target=path))
    assert status == 403
    assert b"access-control" not in head


async def test_no_route_answers_a_page_from_elsewhere(server: FaultyServer) -> None:
    assert server._runner is not None
    paths = {str(route.resource.canonical) for route in server._runner.app.router.routes() if route.resource}
    assert {"/v1/listen", "/radio"} <= paths
    for path in paths:
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            attacks = [request(KEY, "Origin: null", target=path, method=method)]
            attacks.append(request(KEY, host="evil.example", target=path, method=method))
            for attack in attacks:
                status, head = await answered(server, attack)
                assert (status, path) == (403, path)
                assert b"access-control" not in head


@pytest.mark.parametrize(
    "target",
    [
        "/radio/hls/..%2f..%2f..%2fetc%2fpasswd",
        "/radio/../../etc/passwd",
        "/radio%00.mp3",
        "/radio/hls/%2fetc%2fpasswd",
        "/radio.m3u?depth=" + "9" * 5000,
        "/radio.m3u?depth=-1&depth=%00",
        "/radio/hls/" + "9" * 5000 + ".ts",
        "/radio/hls/\xb2.ts",
    ],
)
async def test_a_made_up_address_does_no_harm(
    server: FaultyServer, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, head = await answered(server, request(target=target))
    assert status in (200, 400, 404)
    assert b"root:" not in head
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_second_origin_does_not_hide_behind_the_first(server: FaultyServer) -> None:
    for both in itertools.permutations(["Origin: http://localhost:8888", "Origin: http://evil.example"]):
        assert (await answered(server, request(KEY, *both)))[0] == 403


@pytest.mark.parametrize("path", [LISTEN, "/radio"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "evil@127.0.0.1",
        "127.0.0.1@evil",
        "0.0.0.0",
        "[::]",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "",
        "localhost:",
        "127.0.0.1, evil.example",
    ],
)
async def test_a_foreign_host_name_that_resolves_here_is_refused(server: FaultyServer, path: str, host: str) -> None:
    assert (await answered(server, request(KEY, host=host, target=path)))[0] in (400, 403)


async def test_a_missing_or_repeated_host_header_is_refused(server: FaultyServer) -> None:
    assert (await answered(server, request(KEY, host=None)))[0] == 400
    assert (await answered(server, request(KEY, "Host: evil.example")))[0] == 400
    assert (await answered(server, request(KEY, "Host: 127.0.0.1", host="evil.example")))[0] == 400
    assert (await answered(server, b"GET /radio HTTP/1.0\r\n\r\n"))[0] in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "LocalHost:8888", "localhost.", "[::1]:80", "127.8.8.8"])
async def test_every_name_of_this_machine_is_accepted(server: FaultyServer, host: str) -> None:
    origin = f"Origin: https://{host}"
    assert (await answered(server, request(KEY, origin, host=host)))[0] == 101


async def test_a_page_may_play_the_radio_and_not_read_it(server: FaultyServer) -> None:
    # An <audio> element sends no Origin. A page can't read its data without CORS headers in the answer.
    for origin in ([], ["Origin: http://localhost:8888"]):
        status, head = await answered(server, request(*origin, target="/radio"))
        assert status == 200
        assert b"access-control" not in head
    preflight = request("Origin: http://localhost:8888", "Access-Control-Request-Method: GET", method="OPTIONS")
    status, head = await answered(server, preflight)
    assert status == 405
    assert b"access-control" not in head


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Authorization: Token"],
        [f"Authorization: {TOKEN}"],
        [f"Authorization: Basic {TOKEN}"],
        ["Authorization: Token wrong"],
        [f"Authorization: Token {TOKEN[:-1]}"],
        [f"Authorization: Token {TOKEN}x"],
        [f"Authorization: Token {TOKEN.upper()}"],
        [f"Authorization: Token {TOKEN[:-1]}\xe4"],
        ["Authorization: Token wrong", f"Authorization: Token {TOKEN}"],
        [f"Authorization: Token wrong, {TOKEN}"],
        [f"Cookie: token={TOKEN}"],
        ["Sec-WebSocket-Protocol: token"],
        ["Sec-WebSocket-Protocol: token, wrong"],
        [f"Sec-WebSocket-Protocol: {TOKEN}"],
        [f"Sec-WebSocket-Protocol: {TOKEN}, token"],
        [f"Sec-WebSocket-Protocol: token, {TOKEN.upper()}"],
        [f"Sec-WebSocket-Protocol: token, {TOKEN[:-1]}"],
        [f"Sec-WebSocket-Protocol: token, wrong, {TOKEN}"],
    ],
)
async def test_any_credential_but_the_token_gets_401(server: FaultyServer, headers: list[str]) -> None:
    opened = len(server.connections)
    assert (await answered(server, request(*headers)))[0] == 401
    assert len(server.connections) == opened


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "Authorization"])
async def test_a_token_in_the_query_is_not_accepted(server: FaultyServer, name: str) -> None:
    assert (await answered(server, request(target=f"{LISTEN}&{name}={TOKEN}")))[0] == 401


async def test_tokens_are_compared_in_constant_time(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    with monkeypatch.context() as patch:
        patch.setattr(handshake.hmac, "compare_digest", compare)  # type: ignore[attr-defined]
        assert (await answered(server, request("Authorization: Token wrong")))[0] == 401
    assert handshake.hmac is hmac  # type: ignore[attr-defined]
    assert compared == [(b"wrong", TOKEN.encode())]


async def test_the_server_listens_on_this_machine_alone() -> None:
    async with FaultyServer("hello"):
        bound = [c.laddr.ip for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert bound
    assert all(ipaddress.ip_address(address).is_loopback for address in bound)


# Malformed HTTP


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET /radio HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 5_000_000, id="5 MB in one header"),
        pytest.param(b"GET /radio HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 800_000, id="5 MB of headers"),
        pytest.param(b"GET /" + b"a" * 5_000_000, id="5 MB of path"),
        pytest.param(bytes(range(256)) * 100, id="all bytes"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), id="TLS"),
        pytest.param(request(KEY, "X: a\x00b"), id="a nul"),
        pytest.param(request(KEY, "X : a"), id="a space before the colon"),
        pytest.param(request(KEY, target="*"), id="no path"),
        pytest.param(request(KEY, target="http://[/v1/listen"), id="no address"),
        pytest.param(request(KEY, "Content-Length: 4", "Content-Length: 5"), id="two lengths"),
        pytest.param(request(KEY, "Content-Length: -1"), id="a negative length"),
        pytest.param(
            b"POST /v1/listen HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /radio HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(
            b"POST /v1/listen HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
            b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            id="two encodings",
        ),
        pytest.param(request(KEY).replace(b"Version: 13", b"Version: 99"), id="another WebSocket"),
        pytest.param(request(KEY).replace(b"Sec-WebSocket-Key", b"X-Key"), id="a WebSocket without its key"),
    ],
)
async def test_a_malformed_request_is_400_and_is_neither_served_nor_logged(
    server: FaultyServer, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served = len(server.connections)
    line = await Line.to(server)
    sending = asyncio.create_task(line.send(data))
    try:
        # With much data on its way, the reset that follows the answer may overtake it.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            status, head = await line.head()
            assert status == 400
            if b"connection: close" in head:
                assert b"audio/mpeg" not in await line.rest()
    finally:
        line.abort()
        await sending
    assert len(server.connections) == served
    assert TOKEN not in caplog.text
    assert "Error handling request" not in caplog.text


async def test_an_incomplete_request_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_REQUEST_TIMEOUT", 0.2)
    async with FaultyServer("hello", token=TOKEN) as server:
        for begun in (b"", request(KEY)[:40], request(KEY)[:-2]):
            line = await Line.to(server)
            await line.send(begun)
            assert await line.rest() == b""
            line.abort()
        # The same holds after an answer, and a byte now and then does not extend the limit.
        line = await Line.to(server)
        await line.send(b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /v1")

        async def drip() -> None:
            while True:
                await line.send(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert (await line.head())[0] == 404
        await line.rest()
        dripping.cancel()
        line.abort()
        await works(server)


async def test_idle_tcp_connections_do_not_block_others(
    server: FaultyServer, line: Callable[[], Awaitable[Line]]
) -> None:
    for _ in range(300):
        await line()
    await works(server)


async def test_of_a_thousand_connections_only_the_allowed_number_is_served(server: FaultyServer) -> None:
    lines = [await Line.to(server) for _ in range(1000)]
    for each in lines:
        await each.send(request(KEY))
    statuses = [(await each.head())[0] for each in lines]
    assert statuses.count(101) == 8
    assert statuses.count(429) == 992
    for each in lines:
        each.abort()
    for connection in server.connections:
        await connection.wait_closed()


# WebSocket frames


@pytest.fixture
async def opened(server: FaultyServer, line: Callable[[], Awaitable[Line]]) -> Line:
    opened = await line()
    await opened.send(request(KEY, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
    status, head = await opened.head()
    assert status == 101
    assert b"sec-websocket-extensions" not in head, "compression is not available"
    return opened


def bomb() -> bytes:
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeezed.compress(bytes(100 << 20)) + squeezed.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(struct.pack("!BBQ", 0x82, 0xFF, 1 << 30) + bytes(4), 1009, id="a gigabyte announced"),
        pytest.param(struct.pack("!BBQ", 0x82, 0xFF, (1 << 63) - 1) + bytes(4), 1009, id="eight exabytes announced"),
        pytest.param(struct.pack("!BBQ", 0x82, 0xFF, 1 << 63) + bytes(4), 1009, id="a length with its highest bit set"),
        pytest.param(frame(BINARY, bytes(LIMIT + 1))[:1000], 1009, id="one byte too many"),
        pytest.param(
            frame(BINARY, bytes(LIMIT), last=False) + frame(CONTINUATION, bytes(1)), 1009, id="too many in pieces"
        ),
        pytest.param(frame(BINARY, bomb(), flags=0x40), 1002, id="a deflate bomb"),
        pytest.param(frame(BINARY, b"x", flags=0x20), 1002, id="a reserved bit"),
        pytest.param(frame(3, b"x"), 1002, id="a reserved opcode"),
        pytest.param(frame(PING, bytes(126)), 1002, id="a long ping"),
        pytest.param(frame(PING, b"x", last=False), 1002, id="a ping in pieces"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="the continuation of nothing"),
        pytest.param(frame(TEXT, b"x", last=False) + frame(TEXT, b"y"), 1002, id="a message in a message"),
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="text that is none"),
        pytest.param(frame(TEXT, "\ud800".encode(errors="surrogatepass")), 1007, id="half a character"),
        pytest.param(frame(8, b"\x03"), 1002, id="half a close code"),
        pytest.param(frame(8, struct.pack("!H", 1005)), 1002, id="a close code that is none"),
        pytest.param(frame(8, struct.pack("!H", 1000) + b"\xff"), 1007, id="a close reason that is no text"),
    ],
)
async def test_an_invalid_frame_ends_its_own_connection_only(
    server: FaultyServer, opened: Line, data: bytes, code: int
) -> None:
    sending = asyncio.create_task(opened.send(data))
    assert await opened.close_code() == code
    opened.abort()
    await sending
    await server.connections[-1].wait_closed()
    assert server.connections[-1].bytes_received == 0


async def test_a_message_of_exactly_the_limit_is_accepted(server: FaultyServer, opened: Line) -> None:
    await opened.send(frame(BINARY, bytes(LIMIT)) + frame(TEXT, CLOSE_STREAM))
    assert await opened.close_code() == 1000
    assert server.connections[-1].bytes_received == LIMIT


async def test_a_message_that_never_ends_is_given_up(server: FaultyServer, opened: Line) -> None:
    async def flood() -> None:
        await opened.send(frame(BINARY, last=False))
        while True:
            await opened.send(frame(CONTINUATION, last=False) * 1000)
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    assert await opened.close_code() in (1011, 1006)
    flooding.cancel()
    await server.connections[-1].wait_closed()
    assert server.connections[-1].close_code == 1011


@pytest.mark.parametrize("small", [frame(BINARY, b"\0"), frame(TEXT, b'{"type":"KeepAlive"}'), frame(PING, b"x")])
async def test_ten_thousand_tiny_messages_at_once_are_accepted(
    server: FaultyServer, opened: Line, small: bytes
) -> None:
    answers = asyncio.create_task(opened.close_code())
    await opened.send(small * 10_000 + frame(TEXT, CLOSE_STREAM))
    assert await answers == 1000
    assert len(server.connections[-1].texts) == (10_001 if b"KeepAlive" in small else 1)


async def test_endless_nonsense_is_not_kept_in_memory(server: FaultyServer, opened: Line) -> None:
    nonsense = frame(TEXT, b"x" * 60_000) * 100

    async def flood() -> None:
        # Hundreds of megabytes, and nobody reads the answers.
        while True:
            await opened.send(nonsense)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flood(), 1.0)
    opened.abort()
    await server.connections[-1].wait_closed()


async def test_a_control_message_in_a_binary_frame_controls_nothing(server: FaultyServer, opened: Line) -> None:
    await opened.send(frame(BINARY, CLOSE_STREAM))
    assert await opened.close_code() == 1011, "only the idle limit ends it"
    assert server.connections[-1].texts == []
    assert server.connections[-1].bytes_received == len(CLOSE_STREAM)


async def test_noise_of_every_kind_leaves_nothing_behind(server: FaultyServer) -> None:
    noise = os.urandom
    for seed in range(30):
        line = await Line.to(server)
        await line.send(request(KEY))
        assert (await line.head())[0] == 101
        await line.send(noise(1 + seed * 97))
        line.abort()
    for connection in server.connections:
        await connection.wait_closed()
    assert server.active == 0


async def test_a_script_engine_is_not_shared_between_attackers() -> None:
    async with FaultyServer(Script("hello"), token=TOKEN) as server:
        await asyncio.gather(*(works(server) for _ in range(8)))

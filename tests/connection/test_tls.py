"""Wrong servers: bad certificates, redirects, malformed answers and frames."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import inspect
import re
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.utils import accept_key

import dgnb
from dgnb.connection import connect
from dgnb.exceptions import AuthenticationError, ConfigurationError, ConnectionLost, GaveUp, HandshakeError
from tests.support.faulty import FaultyServer

CANARY = "canary0123456789"
RAW = dgnb.LiveOptions(encoding="linear16", sample_rate=16000)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority as a user would, with SSL_CERT_FILE."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


class Seen:
    """The requests that a TLS server received."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Headers] = []


@pytest.fixture
async def tls() -> AsyncIterator[Callable[[trustme.LeafCert], Awaitable[Seen]]]:
    """`await tls(certificate)`: a WebSocket server behind TLS."""
    servers = []

    async def start(certificate: trustme.LeafCert) -> Seen:
        seen = Seen()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)

        def note(connection: ServerConnection, request: Request) -> None:
            seen.requests.append(request.headers)

        async def nothing(socket: ServerConnection) -> None:
            async for _ in socket:
                pass

        server = await serve(nothing, "127.0.0.1", 0, ssl=context, process_request=note)
        servers.append(server)
        seen.port = server.sockets[0].getsockname()[1]
        return seen

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def refused(address: str, **options: float) -> HandshakeError:
    """The error of a handshake. It must not show the key."""
    with pytest.raises(HandshakeError) as caught:
        await connect(RAW, endpoint=address, api_key=CANARY, **options)
    assert CANARY not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return caught.value


# Certificates


@pytest.mark.usefixtures("trusted")
async def test_a_server_with_a_trusted_certificate_is_accepted(
    authority: trustme.CA, tls: Callable[[trustme.LeafCert], Awaitable[Seen]]
) -> None:
    server = await tls(authority.issue_cert("localhost"))
    async with connect(RAW, endpoint=f"wss://localhost:{server.port}", api_key=CANARY):
        pass
    assert [headers["Authorization"] for headers in server.requests] == [f"Token {CANARY}"]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", ["expired", "not yet valid", "another host", "unknown authority", "self-signed"])
async def test_a_wrong_certificate_is_refused_with_its_fault_and_a_remedy(
    authority: trustme.CA, tls: Callable[[trustme.LeafCert], Awaitable[Seen]], kind: str
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate, fault, remedy = {
        "expired": (
            authority.issue_cert("localhost", not_before=now - 2 * day, not_after=now - day),
            "certificate has expired",
            "clock",
        ),
        "not yet valid": (
            authority.issue_cert("localhost", not_before=now + day, not_after=now + 2 * day),
            "certificate is not yet valid",
            "clock",
        ),
        "another host": (authority.issue_cert("api.deepgram.com"), "Hostname mismatch", "endpoint="),
        "unknown authority": (trustme.CA().issue_cert("localhost"), "unable to get local issuer", "SSL_CERT_FILE"),
        "self-signed": (alone("localhost"), "self-signed certificate", "SSL_CERT_FILE"),
    }[kind]
    server = await tls(certificate)
    error = await refused(f"wss://localhost:{server.port}")
    assert f"The certificate of localhost:{server.port} is not trusted ({fault}" in str(error)
    assert remedy in str(error)
    assert server.requests == [], "nothing was sent, in clear or otherwise"


def alone(host: str) -> trustme.LeafCert:
    """A self-signed certificate, as `openssl req -x509` makes it."""
    itself = trustme.CA()
    return trustme.LeafCert(itself.private_key_pem.bytes(), itself.cert_pem.bytes(), [])


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_for_a_name_does_not_cover_its_address(
    authority: trustme.CA, tls: Callable[[trustme.LeafCert], Awaitable[Seen]]
) -> None:
    named = await tls(authority.issue_cert("localhost"))
    assert "IP address mismatch" in str(await refused(f"wss://127.0.0.1:{named.port}"))
    numbered = await tls(authority.issue_cert("127.0.0.1"))
    await (await connect(RAW, endpoint=f"wss://127.0.0.1:{numbered.port}")).close()


def test_no_argument_turns_certificate_checks_off() -> None:
    taken = {
        name
        for called in (connect, dgnb.LiveSession, dgnb.transcribe, dgnb.ControlPanel)
        for name in inspect.signature(called).parameters
    }
    assert not {name for name in taken if re.search(r"tls|verif|insecure|cert", name)}
    for wrong in (False, True, "", 0, ssl.CERT_NONE):
        with pytest.raises(ConfigurationError, match=r"ssl= is an ssl\.SSLContext, or the path"):
            connect(RAW, endpoint="wss://127.0.0.1:1", ssl=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["a context", "a file", "a path", "a folder"])
async def test_an_authority_is_trusted_that_ssl_names(
    tls: Callable[[trustme.LeafCert], Awaitable[Seen]], authority: trustme.CA, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    context = ssl.create_default_context(cafile=str(file))
    # OpenSSL finds an authority in a folder by the hash of its name.
    hashed = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", file], capture_output=True, check=True)  # noqa: ASYNC221
    (tmp_path / f"{hashed.stdout.decode().strip()}.0").symlink_to(file)
    given = {"a context": context, "a file": str(file), "a path": file, "a folder": tmp_path}[how]
    server = await tls(authority.issue_cert("localhost"))
    address = f"wss://localhost:{server.port}"
    assert "is not trusted" in str(await refused(address))
    await (await connect(RAW, endpoint=address, ssl=given)).close()  # type: ignore[arg-type]
    assert len(server.requests) == 1


def test_a_wrong_authority_is_refused_before_any_io(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate", encoding="utf-8")
    for wrong in (tmp_path / "missing.pem", tmp_path / "no.pem"):
        with pytest.raises(ConfigurationError, match="path of a certificate authority's PEM file"):
            dgnb.LiveSession(b"RIFF", endpoint="wss://example.org", ssl=wrong)
    with pytest.raises(ConfigurationError, match="ssl= goes with a wss:// address"):
        dgnb.LiveSession(b"RIFF", endpoint="ws://localhost:1", ssl=ssl.create_default_context())


async def test_a_server_without_tls_is_reported_and_receives_no_request() -> None:
    first: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw(plain) as port:
        assert "Is it a wss:// server, and the port right?" in str(await refused(f"wss://127.0.0.1:{port}"))
    assert first[0][0] == 0x16, "a TLS greeting, and no request"
    assert CANARY.encode() not in b"".join(first)


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "0.0.0.0", "127.0.0.1.example.org", "[2001:db8::1]"])
async def test_plain_websockets_are_allowed_to_this_machine_only(host: str) -> None:
    with pytest.raises(ConfigurationError, match="in clear"):
        connect(RAW, endpoint=f"ws://{host}:80", api_key=CANARY)


# HTTP answers


@contextlib.asynccontextmanager
async def raw(answer: Answer) -> AsyncIterator[int]:
    """A TCP server that calls `answer` for each connection; gives its port."""
    tasks: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["ws", "http", "wss"])
async def test_a_redirect_is_not_followed_and_the_key_is_not_sent_there(status: int, scheme: str) -> None:
    came: list[bytes] = []
    asked: list[bytes] = []

    async def canary(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(1000))

    async with raw(canary) as elsewhere:

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            where = f"{scheme}://localhost:{elsewhere}/v1/listen"
            writer.write(f"HTTP/1.1 {status} Go\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

        async with raw(redirect) as port:
            error = await refused(f"ws://127.0.0.1:{port}")
    assert (error.status, len(asked), came) == (status, 1, [])
    assert "does not follow redirects" in str(error)


@pytest.mark.usefixtures("trusted")
async def test_a_redirect_from_tls_to_plain_is_not_followed(authority: trustme.CA) -> None:
    async with FaultyServer("hello") as elsewhere:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)

        def redirect(connection: ServerConnection, request: Request) -> Response:
            return Response(302, "Found", Headers(Location=f"{elsewhere.url}/v1/listen"), b"")

        async def nothing(socket: ServerConnection) -> None:
            raise AssertionError("a redirect is all there is")

        async with serve(nothing, "127.0.0.1", 0, ssl=context, process_request=redirect) as server:
            port = server.sockets[0].getsockname()[1]
            assert (await refused(f"wss://localhost:{port}")).status == 302
        assert elsewhere.requests == []


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


PAGE = (
    b"<!DOCTYPE html><html><head><style>p { color: red }</style><script>alert(1)</script><title>502 Bad Gateway</title>"
    b"</head><body><h1>The gateway has had enough</h1></body></html>"
)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(http("502 Bad Gateway", PAGE), "502 Bad Gateway The gateway has had enough", id="a proxy's page"),
        pytest.param(
            http("200 OK", b"<h1>Welcome</h1>"),
            "answered with 200 'Welcome'. That is an ordinary page",
            id="200 for 101",
        ),
        pytest.param(http("204 No Content"), "answered with 204. That is an ordinary page", id="204 for 101"),
        pytest.param(b"SSH-2.0-OpenSSH_9.7\r\n", "does not answer as a WebSocket", id="SSH"),
        pytest.param(bytes(range(256)) * 40, "does not answer as a WebSocket", id="all bytes"),
        pytest.param(b"\r\n" * 5000, "does not answer as a WebSocket", id="empty lines"),
        pytest.param(b"", "does not answer as a WebSocket", id="nothing"),
        pytest.param(b"HTTP/1.1 101 Switching", "does not answer as a WebSocket", id="half a status"),
        pytest.param(b"HTTP/1.1 101 Yes\r\nUpgra", "does not answer as a WebSocket", id="half a header"),
        pytest.param(b"HTTP/1.1 101 Yes\r\nX: " + b"a" * 100_000, "does not answer as a WebSocket", id="a long header"),
        pytest.param(
            b"HTTP/1.1 101 Yes\r\n" + b"X: a\r\n" * 10_000, "does not answer as a WebSocket", id="many headers"
        ),
        pytest.param(http("401 No")[:-2], "does not answer as a WebSocket", id="half a refusal"),
        pytest.param(
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "does not answer as a WebSocket",
            id="no accept",
        ),
        pytest.param(
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + CANARY.encode()
            + b"\r\n\r\n",
            "does not answer as a WebSocket",
            id="the key for an accept",
        ),
        pytest.param(b"HTTP/1.1 502 Bad\r\nContent-Length: 99999999999\r\n\r\nx", "127.0.0.1", id="a body without end"),
    ],
)
async def test_a_malformed_answer_is_reported(answer: bytes, told: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with raw(handle) as port:
        error = await refused(f"ws://127.0.0.1:{port}")
    assert told in str(error)
    assert "alert" not in str(error)
    assert "<" not in str(error).replace("<key>", "")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 502 Bad\r\n\r\nhalf"])
async def test_a_missing_answer_ends_the_handshake_in_time(sent: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await reader.read()

    async with raw(handle) as port:
        assert "no answer came within 0.1 s" in str(await refused(f"ws://127.0.0.1:{port}", open_timeout=0.1))


async def test_an_unanswered_tls_handshake_ends_in_time() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw(handle) as port:
        assert "no answer came within 0.1 s" in str(await refused(f"wss://127.0.0.1:{port}", open_timeout=0.1))


async def test_a_connection_lost_in_the_tls_handshake_is_reported() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async with raw(handle) as port:
        assert "can't be reached" in str(await refused(f"wss://127.0.0.1:{port}"))


# Frames


def shaken_hands(request: bytes, *headers: str) -> bytes:
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request, re.IGNORECASE)
    assert key
    lines = ["HTTP/1.1 101 Yes", "Upgrade: websocket", "Connection: Upgrade", *headers]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept_key(key[1].decode())}", "", ""]).encode()


async def test_compression_that_was_not_requested_is_refused() -> None:
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(shaken_hands(asked[0], "Sec-WebSocket-Extensions: permessage-deflate"))

    async with raw(handle) as port:
        assert "does not answer as a WebSocket" in str(await refused(f"ws://127.0.0.1:{port}"))
    assert b"permessage-deflate" not in asked[0]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(struct.pack("!BBQ", 0x81, 127, 1 << 30), id="a gigabyte announced"),
        pytest.param(struct.pack("!BBQ", 0x81, 127, (4 << 20) + 1), id="one byte too many"),
        pytest.param(b"\xc1\x05abcde", id="compressed"),
        pytest.param(b"\x81\x85" + bytes(4) + b"abcde", id="masked"),
        pytest.param(b"\x83\x00", id="a reserved opcode"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" * 8, id="HTTP again"),
        pytest.param(b"\x89\x7e\x00\x80" + bytes(128), id="a long ping"),
    ],
)
async def test_a_forbidden_frame_ends_the_connection_and_is_reported(frame: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(shaken_hands(await reader.readuntil(b"\r\n\r\n")) + frame)
        await reader.read()

    async with raw(handle) as port, asyncio.timeout(5):
        address = f"ws://127.0.0.1:{port}"
        # The next frame sent closes a connection that broke the protocol.
        connection = await connect(RAW, endpoint=address, api_key=CANARY, close_timeout=0.1, keep_alive_interval=0.05)
        with pytest.raises(ConnectionLost, match=r"broke the WebSocket protocol\. Is endpoint right") as caught:
            await anext(connection)
        assert caught.value.gave_up is GaveUp.PROTOCOL
        await connection.close()


# The server's words


@pytest.mark.parametrize("variant", ["body", "dg-error", "escaped", "long", "request id"])
async def test_a_refusal_that_quotes_the_key_is_masked(variant: str) -> None:
    body = {
        "body": f"the key {CANARY} is bad",
        "escaped": '{"err_msg": "bad key \\u0063' + CANARY[1:] + '"}',
        "long": "x" * 590 + CANARY,
        "request id": '{"err_msg": "no", "request_id": "' + CANARY + '"}',
    }.get(variant, "no")
    header = [f"dg-error: bad key {CANARY}"] if variant == "dg-error" else []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http("401 Unauthorized", body.encode(), *header))

    async with raw(handle) as port:
        error = await refused(f"ws://127.0.0.1:{port}")
    assert isinstance(error, AuthenticationError)
    for shown in (str(error), error.error, error.request_id):
        assert CANARY[:8] not in shown

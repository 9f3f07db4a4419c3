"""The client behind a proxy that works, that is dead, or that is misconfigured."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request

import dgnb
from dgnb.connection import connect
from dgnb.exceptions import HandshakeError
from tests.support.faulty import FaultyServer
from tests.support.tracebacks import awaited, shown

CANARY = "canary0123456789"
PASSWORD = "hunter2-of-the-proxy"
RAW = dgnb.LiveOptions(encoding="linear16", sample_rate=16000)
NAME = "wss://speech.invalid"


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("wss", "ws", "socks", "https", "http", "all", "no"):
        for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
            monkeypatch.delenv(name, raising=False)


class Proxy:
    """A CONNECT proxy that leads to one server for each name."""

    def __init__(self, target: int, status: str = "200 OK") -> None:
        self.target = target
        self.status = status
        self.asked: list[str] = []
        self.passed = b""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Proxy:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

        self._server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if not self.status:
                await reader.read()
            writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
            if not self.status.startswith("200"):
                return
            onwards = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(self._pass(reader, onwards[1], note=True), self._pass(onwards[0], writer))
            finally:
                onwards[1].close()
        finally:
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool = False) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if note:
                    self.passed += data
                writer.write(data)
                await writer.drain()
            writer.close()


@pytest.fixture
async def speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, list[str]]]:
    """A server for `speech.invalid` behind TLS: its port, and the keys that it received."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("speech.invalid").configure_cert(context)
    keys: list[str] = []

    def note(connection: ServerConnection, request: Request) -> None:
        keys.append(request.headers["Authorization"])

    async def nothing(socket: ServerConnection) -> None:
        async for _ in socket:
            pass

    server: Server = await serve(nothing, "127.0.0.1", 0, ssl=context, process_request=note)
    yield server.sockets[0].getsockname()[1], keys
    server.close()
    await server.wait_closed()


async def refused(address: str = NAME, **options: Any) -> str:
    """The error's text. Its traceback must show neither the key nor the proxy's password."""
    with pytest.raises(HandshakeError) as caught:
        await connect(RAW, endpoint=address, api_key="".join(("canary", "0123456789")), **options)
    told = shown(caught.value)
    for secret in (CANARY, PASSWORD, PASSWORD[:7], base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        assert secret not in told
    return str(caught.value)


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "wss_proxy"])
async def test_a_proxy_is_used_and_sees_only_tls(
    speech: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    port, keys = speech
    async with Proxy(port) as proxy:
        monkeypatch.setenv(variable, f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        async with connect(RAW, endpoint=NAME, api_key=CANARY) as connection:
            await connection.send(bytes(3200))
            assert PASSWORD not in repr(connection)
    (asked,) = proxy.asked
    assert asked.startswith("CONNECT speech.invalid:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic" in asked
    assert CANARY not in asked
    assert keys == [f"Token {CANARY}"]
    assert proxy.passed[0] == 0x16, "TLS from the first byte on"
    assert CANARY.encode() not in proxy.passed


async def test_no_proxy_skips_the_proxy(speech: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    async with Proxy(speech[0]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "speech.invalid")
        assert "speech.invalid can't be reached: there is no such host" in await refused()
    assert proxy.asked == []


async def test_this_machine_is_never_reached_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultyServer("hello") as server, Proxy(1) as proxy:
        for scheme in ("wss", "ws", "socks", "https", "http", "all"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{proxy.port}")
        for host in ("127.0.0.1", "localhost"):
            await (await connect(RAW, endpoint=server.url.replace("127.0.0.1", host))).close()
    assert proxy.asked == []


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "wss_proxy", "WSS_PROXY"])
async def test_a_dead_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, unused_tcp_port: int
) -> None:
    monkeypatch.setenv(variable, f"http://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}")
    told = await refused()
    assert f"by way of the proxy 127.0.0.1:{unused_tcp_port}: nothing listens there" in told
    assert "NO_PROXY=speech.invalid" in told


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        (f"http://user:{PASSWORD}@proxy.invalid:3128", "the proxy proxy.invalid:3128: there is no"),
        (f"http://user:{PASSWORD}@127.0.0.1:99999", "is no address such as"),
        (f"http://user:{PASSWORD}/x@127.0.0.1:80", "is no address such as"),
        (f"http://user:{PASSWORD}?x@127.0.0.1:80", "is no address such as"),
        (f"http://user:{PASSWORD}#x@127.0.0.1:80", "is no address such as"),
        (f"http://{PASSWORD}@127.0.0.1:80", "is no address such as"),
        (f"user:{PASSWORD}@127.0.0.1:80", "is no address such as"),
        ("proxy.invalid:3128", "is no address such as"),
        ("http://", "is no address such as"),
        ("http://[", "is no address such as"),
        (f"ftp://user:{PASSWORD}@127.0.0.1:80", "is no address such as"),
        (f"socks5://user:{PASSWORD}@127.0.0.1:1080", "pip install 'python-socks[asyncio]'"),
        (f"socks5h://user:{PASSWORD}@127.0.0.1:1080", "pip install 'python-socks[asyncio]'"),
    ],
)
async def test_a_misconfigured_proxy_is_reported(monkeypatch: pytest.MonkeyPatch, proxy: str, told: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    said = await refused()
    assert told in said
    assert "HTTPS_PROXY" in said
    assert "NO_PROXY=speech.invalid" in said


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("407 Proxy Authentication Required", "it refused with 407 (407: it wants http://user:password@host:port)"),
        ("403 Forbidden", "refused with 403 "),
        ("502 Bad Gateway", "refused with 502 "),
        ("nonsense", "does not answer as a proxy does"),
    ],
)
async def test_a_proxy_that_refuses_is_named_instead_of_the_server(
    monkeypatch: pytest.MonkeyPatch, status: str, told: str
) -> None:
    async with Proxy(1, status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        said = await refused()
    assert told in said
    assert f"the proxy 127.0.0.1:{proxy.port}" in said


async def test_a_silent_proxy_ends_the_handshake_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Proxy(1, status="") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert f"by way of the proxy 127.0.0.1:{proxy.port}: no answer came within 0.1 s" in await refused(
            open_timeout=0.1
        )


async def test_a_proxy_that_inspects_tls_is_named(
    speech: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, keys = speech
    monkeypatch.delenv("SSL_CERT_FILE")
    async with Proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        said = await refused()
    assert f"reached through the proxy 127.0.0.1:{proxy.port}, is not trusted" in said
    assert "SSL_CERT_FILE" in said
    assert keys == []


async def test_a_proxy_that_is_given_is_used_instead_of_that_of_the_environment(
    speech: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    port, keys = speech
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("NO_PROXY", "speech.invalid")
    async with Proxy(port) as proxy:
        address = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        connecting = connect(RAW, endpoint=NAME, access_token=CANARY, proxy=address)
        session = dgnb.LiveSession(b"RIFF", endpoint=NAME, access_token=CANARY, proxy=address)
        async with connecting as connection:
            for holder in (connection, connecting, vars(connecting), session, session.endpoint, vars(session)):
                assert PASSWORD not in repr(holder)
                assert CANARY not in repr(holder)
    assert len(proxy.asked) == 1
    assert base64.b64encode(f"user:{PASSWORD}".encode()).decode() in proxy.asked[0]
    assert keys == [f"Bearer {CANARY}"]


async def test_a_proxy_that_is_given_is_used_for_this_machine_too() -> None:
    async with FaultyServer("hello") as server:
        async with Proxy(int(server.url.rpartition(":")[2])) as proxy:
            await (await connect(RAW, endpoint=server.url, proxy=f"http://127.0.0.1:{proxy.port}")).close()
        assert len(proxy.asked) == 1
        assert len(server.requests) == 1


async def test_no_proxy_is_used_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    async with Proxy(1) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert "speech.invalid can't be reached: there is no such host" in await refused(proxy=False)
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://user:{password}@127.0.0.1:{port}", "by way of the proxy 127.0.0.1:{port}: nothing listens there"),
        ("http://user:{password}@proxy.invalid:3128", "by way of the proxy proxy.invalid:3128: there is no such host"),
        ("socks5://user:{password}@127.0.0.1:1080", "pip install 'python-socks[asyncio]'"),
    ],
)
async def test_a_dead_proxy_that_was_given_is_named_without_its_password(
    address: str, told: str, unused_tcp_port: int
) -> None:
    said = await refused(proxy=address.format(password=PASSWORD, port=unused_tcp_port))
    assert told.format(port=unused_tcp_port) in said
    assert "proxy=False goes around the proxy." in said


@pytest.mark.parametrize(
    "address",
    ["ftp://u:{}@h:1", "http://u:{}@h:99999", "http://u:{}/x@h:80", "http://{}@h:80", "u:{}@h:80", "{}", "http://[{}"],
)
@pytest.mark.parametrize("use", [connect, dgnb.LiveSession, dgnb.transcribe])
async def test_a_wrong_proxy_is_refused_before_any_io_and_its_password_is_not_shown(address: str, use: Any) -> None:
    with pytest.raises(dgnb.ConfigurationError, match="proxy= is the address of a proxy") as caught:
        await awaited(use, RAW if use is connect else b"RIFF", endpoint=NAME, proxy=address.format(PASSWORD))
    assert PASSWORD not in shown(caught.value)


@pytest.mark.parametrize("wrong", [True, 8080, ""])
def test_a_proxy_of_another_kind_is_refused(wrong: Any) -> None:
    with pytest.raises(dgnb.ConfigurationError, match="or False for none"):
        connect(RAW, endpoint=NAME, proxy=wrong)

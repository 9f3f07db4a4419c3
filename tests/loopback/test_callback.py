from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from dgnb.loopback.handshake import is_called
from dgnb.messages import Metadata, Results, parse
from dgnb.options import LiveOptions
from tests.support.faulty import FaultyServer

RAW = {"model": "nova-3", "encoding": "linear16", "sample_rate": "16000", "interim_results": "true"}
CLOSE = '{"type":"CloseStream"}'


class Receiver:
    """A web server that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.method, request.path, json.loads(await request.text())))
        self.headers.append(dict(request.headers))
        await self.free.wait()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})

    @property
    def words(self) -> list[str]:
        """What was said finally."""
        results = [parse(json.dumps(message)) for _, _, message in self.got]
        return [m.transcript for m in results if isinstance(m, Results) and m.is_final and m.transcript]


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    receiver, application = Receiver(), web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer("Hello world. This goes on") as server:
        yield server


async def stream(server: FaultyServer, **query: str) -> tuple[list[Any], str]:
    """What comes over the connection, and its header of ignored options."""
    address = f"{server.url}/v1/listen?{urlencode({**RAW, **query})}"
    async with connect(address, additional_headers={"Authorization": "Token any"}, proxy=None) as websocket:
        await websocket.send(bytes(32_000 * 3))
        await websocket.send(CLOSE)
        messages = [parse(message) async for message in websocket]
    assert websocket.response is not None
    return messages, websocket.response.headers.get("dgnb-ignored", "")


async def test_a_callback_gets_every_message_in_order_and_the_connection_only_metadata(
    server: FaultyServer, receiver: tuple[Receiver, str]
) -> None:
    seen, url = receiver
    messages, ignored = await stream(server, callback=f"{url}/results?room=1", vad_events="true")
    assert [type(message) for message in messages] == [Metadata]
    assert ignored == ""
    assert {(method, path) for method, path, _ in seen.got} == {("POST", "/results")}
    kinds = [message["type"] for _, _, message in seen.got]
    assert (kinds[0], kinds[-1]) == ("SpeechStarted", "Metadata")
    assert seen.words == ["hello world", "this goes on"]
    starts = [message["start"] for _, _, message in seen.got if message.get("is_final")]
    assert starts == sorted(starts)
    assert {headers["Content-Type"] for headers in seen.headers} == {"application/json"}


@pytest.mark.parametrize("method", ["put", "PUT", "GET", "DELETE"])
async def test_the_callback_has_the_method_and_the_credentials_that_it_asks_for(
    server: FaultyServer, receiver: tuple[Receiver, str], method: str
) -> None:
    seen, url = receiver
    await stream(server, callback=url.replace("127.0.0.1", "ada:secret@127.0.0.1"), callback_method=method)
    assert {sent for sent, _, _ in seen.got} == {method.upper()}
    assert seen.headers[0]["Authorization"] == "Basic YWRhOnNlY3JldA=="


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_callback_that_fails_is_logged_and_ends_nothing(
    server: FaultyServer, receiver: tuple[Receiver, str], caplog: pytest.LogCaptureFixture, status: int
) -> None:
    seen, url = receiver
    seen.status = status
    messages, _ = await stream(server, callback=url.replace("//", "//ada:secret@"))
    assert [type(message) for message in messages] == [Metadata]
    assert seen.words == ["hello world", "this goes on"]
    assert {path for _, path, _ in seen.got} == {"/"}
    assert f"HTTP {status}" in caplog.text
    assert "secret" not in caplog.text


async def test_a_callback_that_nobody_answers_ends_nothing(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    messages, _ = await stream(server, callback="http://127.0.0.1:1024/")
    assert [type(message) for message in messages] == [Metadata]
    assert "The callback failed: ClientConnectorError" in caplog.text


async def test_a_callback_that_hangs_does_not_hold_up_the_end_of_a_connection(
    server: FaultyServer, receiver: tuple[Receiver, str]
) -> None:
    seen, url = receiver
    seen.free.clear()
    address = f"{server.url}/v1/listen?{urlencode({**RAW, 'callback': url})}"
    async with connect(address, additional_headers={"Authorization": "Token any"}, proxy=None) as websocket:
        await websocket.send(bytes(32_000 * 3))
        while not seen.got:
            await websocket.ping()
            await asyncio.sleep(0.01)
    async with asyncio.timeout(3):
        await server.connections[0].wait_closed()
    seen.free.set()


@pytest.mark.parametrize(
    "callback",
    ["https://example.org/results", "http://169.254.169.254/", "http://localhost.example.org", "ws://127.0.0.1:8080"],
)
async def test_a_callback_elsewhere_is_not_called_and_the_results_stay_on_the_connection(
    server: FaultyServer, callback: str
) -> None:
    messages, ignored = await stream(server, callback=callback, callback_method="PUT")
    assert ignored == "callback, callback_method"
    said = [message.transcript for message in messages if isinstance(message, Results) and message.is_final]
    assert "hello world" in said


@pytest.mark.parametrize(
    ("callback", "called"),
    [
        ("http://127.0.0.1/", True),
        ("https://localhost:8443/x", True),
        ("http://[::1]:9000/", True),
        ("http://127.8.9.1:8080/", True),
        ("http://10.0.0.1/", False),
        ("http://0.0.0.0/", False),
        ("http://[::]/", False),
        ("http://2130706433/", False),
        ("http://0x7f.1/", False),
        ("http://127.0.0.1.example.org/", False),
        ("http://127.0.0.1@example.org/", False),
        ("http://example.org\\@127.0.0.1/", False),
        ("http://127.0.0.1\\@example.org/", False),
        ("http://example.org#@127.0.0.1/", False),
        ("http://[::ffff:10.0.0.1]/", False),
    ],
)
def test_only_this_machine_is_called(callback: str, called: bool) -> None:
    assert is_called(LiveOptions(callback=callback)) is called


def test_no_callback_is_called_when_there_is_none() -> None:
    assert not is_called(LiveOptions())

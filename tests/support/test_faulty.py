from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import websockets

from dgnb.messages import Metadata, encode
from tests.loopback.test_radio import BYTES_A_SECOND, Recordings, recording, session
from tests.loopback.test_server import (
    CLOSE,
    RAW,
    TENTH,
    all_of,
    all_or_closed,
    listen,
    next_results,
    refused,
    send_for_ever,
)
from tests.support.ears import hear
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

__all__ = ["recording", "session"]


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer("Hello world. This goes on") as server:
        yield server


async def test_handshakes_are_rejected_the_given_number_of_times(server: FaultyServer) -> None:
    with server.rejecting(429, headers={"Retry-After": "1"}, times=2):
        for _ in range(2):
            status, headers, body = await refused(server)
            assert (status, headers["Retry-After"], body["err_code"]) == (429, "1", "TOO_MANY_REQUESTS")
        async with listen(server):
            pass
    assert [request.status for request in server.requests] == [429, 429, 101]


async def test_a_rejection_has_the_given_words_body_and_headers(server: FaultyServer) -> None:
    with server.rejecting(403, "No access.", {"category": "FORBIDDEN"}):
        status, headers, body = await refused(server)
    assert (status, body) == (403, {"category": "FORBIDDEN"})
    assert headers["dg-error"] == "No access."
    async with listen(server):
        pass


async def test_a_rejection_may_be_the_page_of_a_proxy(server: FaultyServer) -> None:
    with server.rejecting(502, body="<h1>Bad gateway</h1>"), pytest.raises(websockets.InvalidStatus) as caught:
        await listen(server)
    assert caught.value.response.body == b"<h1>Bad gateway</h1>"
    assert "dg-error" not in caught.value.response.headers


async def test_recordings_are_held_edited_cut_and_refused_in_plain_text() -> None:
    async with FaultyServer("Hello world") as server, aiohttp.ClientSession() as client:
        url = server.url.replace("ws", "http", 1) + "/v1/listen?encoding=linear16&sample_rate=16000"

        async def post() -> tuple[int, str]:
            async with client.post(url, data=bytes(64_000), headers={"Authorization": "Token any"}) as response:
                return response.status, await response.text()

        with server.holding():
            held = asyncio.create_task(post())
            await until(lambda: len(server.requests) == 1)
            assert not held.done()
        assert (await held)[0] == 200
        with server.editing(lambda answer: answer.pop("results"), times=1):
            assert list(json.loads((await post())[1])) == ["metadata"]
            assert list(json.loads((await post())[1])) == ["metadata", "results"]
        with server.cutting(after=10, times=1), pytest.raises(aiohttp.ClientError):
            await post()
        with server.rejecting(404, body="no such id", headers={"Content-Type": "text/plain"}, times=1):
            assert await post() == (404, "no such id")
        with server.rejecting(503, body={"error_code": "BUSY", "err_msg": "Later."}, times=1):
            assert await post() == (503, '{"error_code": "BUSY", "err_msg": "Later."}')
        assert (await post())[0] == 200


async def test_a_connection_is_dropped_after_so_much_audio(server: FaultyServer) -> None:
    with server.dropping(after=1.5, times=1):
        async with listen(server, {**RAW, "interim_results": "true"}) as websocket:
            with pytest.raises(websockets.ConnectionClosedError):
                await send_for_ever(websocket, TENTH)
        (connection,) = server.connections
        await connection.wait_closed()
        assert (connection.close_code, connection.dropped) == (1006, True)
        assert connection.audio_seconds == pytest.approx(1.5)
        async with listen(server) as websocket:
            await websocket.send(TENTH * 20)
            await websocket.send(CLOSE)
            assert isinstance((await all_of(websocket))[-1], Metadata)


async def test_a_connection_is_dropped_with_a_code_at_once(server: FaultyServer) -> None:
    with server.dropping(code=1008, reason="DATA-0000"):
        async with listen(server) as websocket:
            assert await all_or_closed(websocket) == []
    assert (websocket.close_code, websocket.close_reason) == (1008, "DATA-0000")


async def test_an_open_connection_is_dropped_with_its_next_audio(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(TENTH * 7)
        await websocket.send('{"type":"Finalize"}')
        await next_results(websocket)
        with server.dropping(code=1012, reason="Restart"):
            await websocket.send(TENTH)
            await all_or_closed(websocket)
    assert websocket.close_code == 1012


async def test_a_silent_server_takes_everything_and_sends_nothing() -> None:
    async with FaultyServer("hello", idle_timeout=0.05) as server, listen(server, close_timeout=0.1) as websocket:
        with server.silent():
            await websocket.send(TENTH * 50)
            await websocket.send(CLOSE)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await websocket.recv()
            assert server.connections[0].sent == {}
            assert server.connections[0].is_open


async def test_a_server_that_refuses_to_close_still_transcribes(server: FaultyServer) -> None:
    with server.refusing_to_close():
        async with listen(server, close_timeout=0.1) as websocket:
            await websocket.send(TENTH * 20)
            await websocket.send(CLOSE)
            assert (await next_results(websocket)).transcript == "hello world"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await websocket.recv()


async def test_an_unresponsive_server_leaves_the_handshake_unanswered(server: FaultyServer) -> None:
    with server.unresponsive(times=1):
        with pytest.raises(TimeoutError):
            await listen(server, open_timeout=0.2)
        async with listen(server):
            pass


async def test_faults_end_with_their_context(server: FaultyServer) -> None:
    with server.rejecting(500), server.silent(), server.dropping():
        pass
    async with listen(server) as websocket:
        await websocket.send(TENTH)
        await websocket.send(CLOSE)
        assert isinstance((await all_of(websocket))[-1], Metadata)


async def test_requests_and_connections_are_recorded(server: FaultyServer) -> None:
    query = [*RAW.items(), ("keyterm", "a"), ("keyterm", "b")]
    async with listen(server, query) as websocket:
        await websocket.send('{"type":"KeepAlive"}')
        await websocket.send(TENTH)
        await websocket.send(CLOSE)
        metadata = (await all_of(websocket))[-1]
    (request,), (connection,) = server.requests, server.connections
    await connection.wait_closed()
    assert (request.path, request.query, request.status) == ("/v1/listen", query, 101)
    assert connection.options.keyterm == ("a", "b")
    assert connection.texts == ['{"type":"KeepAlive"}', CLOSE]
    assert len(connection.frame_times) == 3
    assert (connection.bytes_received, connection.close_code) == (3200, 1000)
    assert connection.sent == {"Results": 1, "Metadata": 1}
    assert encode(metadata)


# The station


@pytest.fixture
async def station(recording: Recordings) -> AsyncIterator[FaultyServer]:
    async with FaultyServer("", radio=recording(0.5)) as server:
        yield server


async def test_a_station_ends_in_good_order(station: FaultyServer, session: aiohttp.ClientSession) -> None:
    with station.broadcasting(after=0.5, times=1):
        async with session.get(station.radio_url) as response:
            assert len(await response.read()) == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.01)
        async with session.get(station.radio_url) as response:
            assert len(await response.content.readexactly(12_000)) == 12_000


async def test_a_station_resets_the_connection(station: FaultyServer) -> None:
    with station.broadcasting(ends="reset"):
        assert (await hear(station)).ended == "reset"
        with station.broadcasting(ends="reset", after=0.5):
            assert (await hear(station)).ended == "reset"


async def test_a_station_stalls(station: FaultyServer) -> None:
    with station.broadcasting(after=0.5, ends="stalled"):
        heard = await hear(station, patience=0.4)
    assert heard.ended == "open"
    assert len(heard.body) == pytest.approx(0.5 * BYTES_A_SECOND, rel=0.02)
    await until(lambda: station.requests[0].status == 200)


async def test_a_stalled_listener_does_not_keep_the_server_from_ending(recording: Recordings) -> None:
    async with FaultyServer("", radio=recording(0.5)) as server:
        with server.broadcasting(after=0, ends="stalled"):
            listening = asyncio.create_task(hear(server))
            await until(lambda: bool(server.requests))
    assert (await listening).ended == "closed"


async def test_a_station_refuses_the_given_number_of_times(
    station: FaultyServer, session: aiohttp.ClientSession
) -> None:
    with station.broadcasting(status=503, times=2):
        statuses = []
        for _ in range(3):
            async with session.get(station.radio_url) as response:
                statuses.append(response.status)
    assert statuses == [503, 503, 200]

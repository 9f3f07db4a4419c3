from __future__ import annotations

import asyncio
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import dgnb
from dgnb.connection import Connection, connect
from dgnb.connection.errors import Again, GaveUp, may_retry
from dgnb.exceptions import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLost,
    HandshakeError,
    ProtocolError,
)
from dgnb.loopback import Script
from dgnb.messages import Metadata, Results, UnknownMessage
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

CANARY = "canary0123456789"
RAW = dgnb.LiveOptions(encoding="linear16", sample_rate=16000, interim_results=True)
SECOND = bytes(32_000)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("one two three four five"), idle_timeout=5.0) as server:
        yield server


async def drained(connection: Connection) -> list[Any]:
    return [message async for message in connection]


async def test_audio_goes_out_and_messages_come_in_until_metadata(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url) as connection:
        for _ in range(4):
            await connection.send(SECOND)
        await connection.close_stream()
        messages = await drained(connection)
    assert isinstance(messages[-1], Metadata)
    assert messages[-1].duration == 4.0
    assert "one" in " ".join(m.transcript for m in messages if isinstance(m, Results))
    assert connection.bytes_sent == 128_000
    assert connection.request_id == server.connections[0].request_id
    assert server.connections[0].violations == []


async def test_it_can_be_awaited_and_closed_by_hand(server: FaultyServer) -> None:
    connection = await connect(RAW, endpoint=server.url)
    assert "open" in repr(connection)
    await connection.close()
    await connection.close()
    await server.connections[0].wait_closed()
    assert '{"type":"CloseStream"}' in server.connections[0].texts


async def test_an_empty_chunk_never_reaches_the_wire(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url) as connection:
        await connection.send(SECOND)
        await connection.send(b"")
        await connection.send(SECOND)
        await connection.close_stream()
        assert (await drained(connection))[-1].duration == 2.0


async def test_no_audio_can_be_sent_after_close_stream(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url) as connection:
        await connection.send(SECOND)
        await connection.close_stream()
        await connection.close_stream()
        with pytest.raises(RuntimeError, match="no audio can follow"):
            await connection.send(SECOND)
        await drained(connection)
    assert server.connections[0].texts.count('{"type":"CloseStream"}') == 1


async def test_an_idle_connection_sends_keep_alive_as_text(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url, keep_alive_interval=0.02) as connection:
        await connection.send(SECOND)
        served = server.connections[0]
        await until(lambda: served.texts.count('{"type":"KeepAlive"}') >= 3)
        await connection.close_stream()
        assert (await drained(connection))[-1].duration == 1.0


async def test_finalize_is_answered(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url) as connection:
        await connection.send(SECOND)
        await connection.finalize()
        async for message in connection:
            if isinstance(message, Results) and message.from_finalize:
                break


async def test_configure_is_answered(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url) as connection:
        await connection.send(SECOND)
        await connection.configure(keyterms=["Praat"], numerals=True)
        async for message in connection:
            if message.type == "ConfigureSuccess":
                break


async def test_options_go_into_the_query_and_the_key_into_a_header(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url, api_key=CANARY) as connection:
        assert CANARY not in connection.url
    seen = server.requests[0]
    assert seen.query == [(n, v) for n, v in RAW.query()]
    assert seen.headers["authorization"].startswith("Token")
    assert "permessage-deflate" not in seen.headers.get("sec-websocket-extensions", "")


# Refusals


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (400, HandshakeError, "A parameter is wrong"),
        (401, AuthenticationError, "api_key="),
        (402, HandshakeError, "no credit"),
        (403, AuthenticationError, "no access"),
        (404, HandshakeError, "endpoint the right one"),
        (405, HandshakeError, "can't be streamed"),
        (429, HandshakeError, "as many streams open"),
        (500, HandshakeError, "the server's"),
        (503, HandshakeError, "the server's"),
    ],
)
async def test_a_refusal_quotes_the_server_and_says_what_to_do(
    server: FaultyServer, status: int, kind: type[HandshakeError], told: str
) -> None:
    with server.rejecting(status, "In the server's own words."), pytest.raises(HandshakeError) as caught:
        await connect(RAW, endpoint=server.url, api_key=CANARY)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.error) == (status, "In the server's own words")
    assert error.request_id == server.requests[0].request_id
    assert told in str(error)
    assert "In the server's own words" in str(error)
    assert error.request_id in str(error)
    assert len(server.requests) == 1


async def test_a_missing_permission_has_another_remedy_than_a_wrong_key(server: FaultyServer) -> None:
    body = {"err_code": "INSUFFICIENT_PERMISSIONS", "err_msg": "No.", "request_id": "r"}
    with server.rejecting(401, body=body), pytest.raises(AuthenticationError, match="lacks the permission"):
        await connect(RAW, endpoint=server.url, api_key=CANARY)


@pytest.mark.parametrize("body", ["<html>Bad gateway \x1b[31m</html>", "[1]", "{", "x" * 100_000, ""])
async def test_any_body_of_a_refusal_gives_a_bounded_message(server: FaultyServer, body: str) -> None:
    with server.rejecting(502, body=body), pytest.raises(HandshakeError) as caught:
        await connect(RAW, endpoint=server.url)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


async def test_a_refusal_without_a_key_says_that_none_was_sent(server: FaultyServer) -> None:
    with server.rejecting(401), pytest.raises(AuthenticationError, match=r"No key was sent\. Pass api_key="):
        await connect(RAW, endpoint=server.url)


async def test_a_redirect_is_not_followed(server: FaultyServer) -> None:
    async with FaultyServer(Script("")) as elsewhere:
        where = {"Location": f"{elsewhere.url}/v1/listen"}
        with server.rejecting(302, headers=where), pytest.raises(HandshakeError, match="does not follow redirects"):
            await connect(RAW, endpoint=server.url, api_key=CANARY)
        assert elsewhere.requests == []


async def test_a_server_with_a_token_refuses_another_key() -> None:
    async with FaultyServer(Script(""), token="right") as server:
        with pytest.raises(AuthenticationError):
            await connect(RAW, endpoint=server.url, api_key="wrong")
        await (await connect(RAW, endpoint=server.url, api_key="right")).close()


async def test_a_handshake_ends_after_the_open_timeout(server: FaultyServer) -> None:
    with server.unresponsive(), pytest.raises(HandshakeError, match=r"no answer came within 0\.1 s"):
        await connect(RAW, endpoint=server.url, open_timeout=0.1)


async def test_a_port_where_nothing_listens_is_reported(unused_tcp_port: int) -> None:
    with pytest.raises(HandshakeError, match=r"nothing listens there\. Is the server running"):
        await connect(RAW, endpoint=f"ws://127.0.0.1:{unused_tcp_port}")


async def test_a_server_that_is_not_a_websocket_is_reported() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with plain:
        port = plain.sockets[0].getsockname()[1]
        with pytest.raises(HandshakeError, match="does not answer as a WebSocket"):
            await connect(RAW, endpoint=f"ws://127.0.0.1:{port}")


async def test_a_server_on_this_machine_is_reached_without_a_proxy(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await (await connect(RAW, endpoint=server.url)).close()


async def test_options_of_another_kind_are_refused_before_any_io() -> None:
    with pytest.raises(ConfigurationError, match="a dict of options, not list"):
        connect(["nova-3"], endpoint="offline")  # type: ignore[arg-type]


async def test_cancelling_an_open_leaves_nothing_behind(server: FaultyServer) -> None:
    with server.unresponsive():
        opening = asyncio.ensure_future(connect(RAW, endpoint=server.url))
        await until(lambda: bool(server.requests))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_a_key_that_the_server_quotes_is_masked(server: FaultyServer) -> None:
    body = {"err_msg": f"Bad credential 'Token {CANARY}'", "request_id": "r\n\x1b[31m" * 1000}
    with server.rejecting(401, f"{CANARY} is wrong", body=body), pytest.raises(AuthenticationError) as caught:
        await connect(RAW, endpoint=server.url, api_key=CANARY)
    assert CANARY not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("field", ["description", "reason", "unheard_of"])
async def test_a_key_that_a_message_quotes_is_masked_before_anybody_sees_it(field: str, tmp_path: Path) -> None:
    async def echo(socket: ServerConnection) -> None:
        quoted = socket.request.headers["Authorization"] if socket.request else ""
        await socket.send(json.dumps({"type": "Error", field: f"Invalid credentials: {quoted}"}))
        await socket.close(1008, quoted)

    async with serve(echo, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = dgnb.LiveSession(
            bytes(9000), RAW, endpoint=url, api_key=CANARY, journal=tmp_path / "a.jsonl", reconnect=False
        )
        with pytest.raises(dgnb.DgnbError) as caught:
            await session.start()
    seen = f"{caught.value} {session.transcript.events.to_string()} {session.transcript.results.to_string()}"
    assert CANARY not in seen + (tmp_path / "a.jsonl").read_text()
    assert "<key>" in seen


async def test_no_frame_of_a_cancelled_or_refused_attempt_shows_the_key(server: FaultyServer) -> None:
    with server.unresponsive():
        opening = asyncio.ensure_future(connect(RAW, endpoint=server.url, api_key=CANARY))
        await until(lambda: bool(server.requests))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await opening
    shown = traceback.TracebackException.from_exception(cancelled.value, capture_locals=True)
    assert CANARY not in "".join(shown.format())
    with pytest.raises(ConfigurationError) as refused:
        connect(RAW, endpoint="nowhere", api_key="".join(["canary", "0123456789"]))
    frames = traceback.TracebackException.from_exception(refused.value, capture_locals=True).stack[1:]
    assert CANARY not in str([frame.locals for frame in frames])


async def test_closing_is_bounded_when_the_server_reads_no_more(deaf: str) -> None:
    connection = await connect(RAW, endpoint=deaf, close_timeout=0.1)

    async def flood() -> None:
        while True:
            await connection.send(SECOND * 10)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flood(), 0.5)
    async with asyncio.timeout(2):
        await connection.close()


# Endings


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1008, "DATA-0000", "could not be decoded"),
        (1011, "NET-0000", "nothing for half a minute"),
        (1011, "NET-0001", "KeepAlive"),
        (1011, "Deepgram did not receive audio. See https://dpgr.am/net0001", "KeepAlive"),
        (1000, "", "although audio was still to come"),
        (1012, "", "restarting"),
        (4999, "who knows", "'who knows'"),
        (None, "", "went dead"),
    ],
)
async def test_the_end_of_a_connection_is_explained(
    server: FaultyServer, code: int | None, reason: str, told: str
) -> None:
    with server.dropping(after=0.5, code=code, reason=reason):
        connection = await connect(RAW, endpoint=server.url)
        await connection.send(SECOND)
        with pytest.raises(ConnectionLost) as caught:
            await drained(connection)
        with pytest.raises(ConnectionLost):
            await connection.send(SECOND)
        await connection.close()
    error = caught.value
    assert isinstance(error, ConnectionError)
    assert (error.code, error.reason) == (code or 1006, reason)
    assert told in str(error)
    assert error.request_id == server.requests[0].request_id


async def test_leaving_the_context_after_a_loss_raises_no_second_error(server: FaultyServer) -> None:
    async def use() -> None:
        async with connect(RAW, endpoint=server.url) as connection:
            await connection.send(SECOND)
            await drained(connection)

    with server.dropping(after=0.5), pytest.raises(ConnectionLost):
        await use()


@pytest.mark.parametrize(
    ("why", "told", "again"),
    [(GaveUp.UNANSWERED, "answer to a ping", Again.ALWAYS), (GaveUp.SILENT, "the server heard no more", Again.ONCE)],
)
async def test_giving_up_drops_the_connection_and_says_why(
    server: FaultyServer, why: GaveUp, told: str, again: Again
) -> None:
    connection = await connect(RAW, endpoint=server.url)
    await connection.send(SECOND)
    connection.give_up(why)
    with pytest.raises(ConnectionLost, match=told) as caught:
        await drained(connection)
    with pytest.raises(ConnectionLost, match=told):
        await connection.send(SECOND)
    error = caught.value
    assert (error.code, error.reason, error.gave_up) == (1006, "", why)
    assert error.request_id == server.requests[0].request_id
    assert may_retry(error) is again
    await connection.close()


async def test_a_server_that_sends_no_byte_is_given_up(deaf: str) -> None:
    connection = await connect(RAW, endpoint=deaf, ping_timeout=0.1)
    with pytest.raises(ConnectionLost, match="nothing came for too long") as caught:
        await drained(connection)
    assert caught.value.gave_up is GaveUp.UNANSWERED
    await connection.close()


async def test_abort_sends_no_close_frame(server: FaultyServer) -> None:
    connection = await connect(RAW, endpoint=server.url)
    await connection.send(SECOND)
    connection.abort()
    await server.connections[0].wait_closed()
    assert server.connections[0].close_code == 1006
    await connection.close()


async def test_a_frame_that_is_not_a_json_object_does_not_end_the_connection() -> None:
    async def handler(socket: ServerConnection) -> None:
        for frame in ("no json", "[1]", b"\xff\xfe", '{"type": "Novelty", "x": 1}'):
            await socket.send(frame)
        async for frame in socket:
            if frame == '{"type":"CloseStream"}':
                break

    async with serve(handler, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        async with connect(RAW, endpoint=f"ws://127.0.0.1:{port}") as connection:
            for _ in range(3):
                with pytest.raises(ProtocolError):
                    await anext(connection)
            message = await anext(connection)
            assert isinstance(message, UnknownMessage)
            assert message.raw == {"type": "Novelty", "x": 1}
            await connection.close_stream()
            assert await drained(connection) == []


async def test_cancelling_a_wait_for_a_message_loses_none(server: FaultyServer) -> None:
    async with connect(RAW, endpoint=server.url) as connection:
        waiting = asyncio.ensure_future(connection.__anext__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await connection.send(SECOND * 4)
        await connection.close_stream()
        finals = [m for m in await drained(connection) if isinstance(m, Results) and m.is_final]
        assert finals[0].start == 0.0
        assert sum(m.duration for m in finals) == pytest.approx(4.0)


# The key


async def test_the_key_is_in_no_log_and_no_traceback(server: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await (await connect(RAW, endpoint=server.url, api_key=CANARY)).close()
        with server.rejecting(401):
            try:
                await connect(RAW, endpoint=server.url, api_key=CANARY)
            except AuthenticationError as error:
                shown = traceback.TracebackException.from_exception(error, capture_locals=True)
                assert CANARY not in "".join(shown.format())
    assert "Authorization" not in caplog.text, "nothing that websockets logs is heard"
    assert CANARY not in caplog.text


# Servers of other kinds


def telling(*first: str, each: str | None = None, echo: bool = False, close: tuple[int, str] | None = None) -> Any:
    """A server that says something first, and something on each frame, and closes or does not."""

    async def handle(connection: ServerConnection) -> None:
        for text in first:
            await connection.send(text)
        if close:
            await connection.close(*close)
        async for frame in connection:
            if echo or each:
                await connection.send(frame if echo else each or "")

    return handle


FOREIGN: dict[str, tuple[Any, str, int]] = {
    # The server, its own words in the error, and how many events tell of it.
    "an echo": (telling(echo=True), "binary frames", 1),
    "an echo of text alone": (telling("hello", echo=True), "hello", 1),
    "a chat": (telling("Welcome to the chat!", each="Somebody said something."), "Welcome to the chat!", 1),
    "HTML": (telling("<!doctype html><p>It works!</p>"), "It works!", 1),
    "a list": (telling("[1, 2]", each="[3]"), "[1, 2]", 1),
    "another service": (telling('{"type":"session.created"}', each='{"type":"session.x"}'), "session.created", 1),
    "one that refuses": (
        telling('{"type":"Begin"}', each='{"type":"error","error":{"message":"Audio must be base64"}}'),
        "Audio must be base64",
        1,
    ),
    "partial results": (telling(each='{"partial":""}'), '"partial":', 1),
    "one that greets": (telling('{"type":"welcome"}'), "welcome", 0),
    "one that closes": (telling('{"message":"unsupported"}', close=(4001, "not here")), "not here: ", 0),
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_server_that_does_not_speak_deepgrams_protocol_is_told_once_with_its_own_words(kind: str) -> None:
    handle, said, told = FOREIGN[kind]
    async with serve(handle, "127.0.0.1", 0) as server:
        address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = dgnb.LiveSession(
            bytes(32_000 * 4), encoding="linear16", sample_rate=16_000, endpoint=address, pace=None, close_timeout=0.3
        )
        with pytest.raises((dgnb.ConnectionLost, dgnb.CloseTimeout)) as caught:
            await session
        assert len(server.connections) <= 1
    assert said in str(caught.value)
    assert "speak Deepgram's protocol" in str(caught.value)
    assert re.search("is endpoint (the address|right)", str(caught.value), re.IGNORECASE)
    warnings = session.transcript.events.query("type == 'warning'")["text"]
    assert sum("does not seem to speak Deepgram's protocol" in text for text in warnings) == told
    assert len(warnings) == told


async def test_a_server_of_deepgrams_kind_may_say_other_things_first_and_in_between() -> None:
    result = '{"type":"Results","channel_index":[0,1],"start":0,"duration":1,"is_final":true,"channel":{}}'
    first = telling("ready?", '{"type":"Ready"}', '{"type":"Go"}', result, '{"type":"Later"}', "later", each=result)
    async with serve(first, "127.0.0.1", 0) as server:
        address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(RAW, endpoint=address, close_timeout=0.1) as connection:
            with pytest.raises(ProtocolError, match=r"not JSON.*'ready\?'.*Deepgram's protocol"):
                await anext(connection)
            assert [(await anext(connection)).type for _ in range(4)] == ["Ready", "Go", "Results", "Later"]
            with pytest.raises(ProtocolError, match=r"not JSON.*'later'$"):
                await anext(connection)
            assert connection.answers.foreign == ""


async def test_thousands_of_frames_that_are_no_messages_are_one_event() -> None:
    async with serve(telling(*["chat"] * 5000, close=(1000, "bye")), "127.0.0.1", 0) as server:
        address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = dgnb.LiveSession(
            bytes(32_000), encoding="linear16", sample_rate=16_000, endpoint=address, reconnect=False
        )
        with pytest.raises(ConnectionLost, match=r"chat'.*speak Deepgram's|speak Deepgram's.*'chat'"):
            await session
        assert session.transcript.events["type"].tolist() == ["opened", "warning", "error", "closed"]

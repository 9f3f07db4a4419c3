from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import struct
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from dgnb import samples
from dgnb.exceptions import ConfigurationError
from dgnb.loopback import LoopbackServer, Script
from dgnb.loopback.engines import EngineInfo, Event
from dgnb.messages import Error, Metadata, Results, ServerMessage, parse
from tests.support.faulty import FaultyServer

RAW = {"model": "nova-3", "encoding": "linear16", "sample_rate": "16000"}
KEY = {"Authorization": "Token any"}
TENTH = bytes(3200)
CLOSE = '{"type":"CloseStream"}'
DATA_0000 = (1008, "DATA-0000")
CANARY = "canary-5f2a"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer("Hello world. This goes on") as server:
        yield server


def listen(server: LoopbackServer, query: dict[str, str] | Sequence[tuple[str, str]] = RAW, **options: Any) -> connect:
    options.setdefault("additional_headers", KEY)
    return connect(f"{server.url}/v1/listen?{urlencode(query)}", compression=None, proxy=None, **options)


def answer(websocket: ClientConnection) -> Mapping[str, str]:
    assert websocket.response is not None
    return websocket.response.headers


async def all_of(websocket: ClientConnection) -> list[ServerMessage]:
    return [parse(message) async for message in websocket]


async def send_for_ever(websocket: ClientConnection, data: bytes) -> None:
    while True:
        await websocket.send(data)


async def send_until_held_back(websocket: ClientConnection, data: bytes, *, seconds: float) -> int:
    """Send until one message takes so long; return the number of bytes, which must be less than a gigabyte."""
    for count in range(1, 1000):
        try:
            await asyncio.wait_for(websocket.send(data), seconds)
        except TimeoutError:
            return count * len(data)
    raise AssertionError("the server takes everything")


async def next_results(websocket: ClientConnection) -> Results:
    message = parse(await websocket.recv())
    assert isinstance(message, Results)
    return message


async def refused(server: FaultyServer, query: Any = RAW, **options: Any) -> tuple[int, Any, dict[str, str]]:
    """The status, headers and body of a handshake that fails."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await listen(server, query, **options)
    response = caught.value.response
    return response.status_code, response.headers, json.loads(response.body)


# A stream, from beginning to end


async def test_a_stream_ends_with_its_last_results_metadata_and_1000(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        for _ in range(15):
            await websocket.send(TENTH)
        await websocket.send(CLOSE)
        *heard, metadata = await all_of(websocket)
    assert [message.transcript for message in heard if isinstance(message, Results)] == ["hello world", ""]
    assert isinstance(metadata, Metadata)
    assert metadata.duration == 1.5
    assert metadata.sha256 == hashlib.sha256(TENTH * 15).hexdigest()
    assert metadata.request_id == answer(websocket)["dg-request-id"]
    assert metadata.channels == 1
    assert websocket.close_code == 1000


async def test_nothing_is_sent_before_audio_comes(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(CLOSE)
        (metadata,) = await all_of(websocket)
    assert isinstance(metadata, Metadata)
    assert metadata.duration == 0
    assert metadata.sha256 == hashlib.sha256(b"").hexdigest()


async def test_an_empty_binary_frame_ends_the_stream(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(TENTH)
        await websocket.send(b"")
        assert isinstance((await all_of(websocket))[-1], Metadata)
    assert websocket.close_code == 1000
    assert server.connections[0].violations == ["an empty binary frame"]


async def test_a_container_is_decoded_and_counted_as_it_came(server: FaultyServer) -> None:
    data = samples.path().read_bytes()
    async with listen(server, {"model": "nova-3"}) as websocket:
        for at in range(0, len(data), 4000):
            await websocket.send(data[at : at + 4000])
        await websocket.send(CLOSE)
        *heard, metadata = await all_of(websocket)
    assert isinstance(metadata, Metadata)
    assert metadata.duration == pytest.approx(samples.words()[-1]["end"], abs=2)
    assert metadata.sha256 == hashlib.sha256(data).hexdigest()
    finals = [message for message in heard if isinstance(message, Results)]
    assert sum(final.duration for final in finals) == pytest.approx(metadata.duration)


async def test_each_channel_has_its_results(server: FaultyServer) -> None:
    async with listen(server, {**RAW, "channels": "2", "multichannel": "true"}) as websocket:
        await websocket.send(TENTH * 40)
        await websocket.send(CLOSE)
        *heard, metadata = await all_of(websocket)
    said = {message.channel_index: message.transcript for message in heard if message.transcript}  # type: ignore[union-attr]
    assert said == {(0, 2): "hello world", (1, 2): "hello world"}
    assert isinstance(metadata, Metadata)
    assert (metadata.channels, metadata.duration) == (2, 2)


async def test_finalize_is_answered_at_once(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(TENTH * 7)
        await websocket.send('{"type":"Finalize"}')
        results = await next_results(websocket)
        assert (results.from_finalize, results.transcript) == (True, "hello")


async def test_words_follow_the_audio_sent_and_not_the_wall_clock(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(TENTH * 5)
        await websocket.send('{"type":"KeepAlive"}')
        await websocket.send('{"type":"Finalize"}')
        assert (await next_results(websocket)).duration == 0.5
        await websocket.send(TENTH * 10)
        assert (await next_results(websocket)).words[-1].end == 1.0


async def test_audio_comes_as_fast_as_the_engine_takes_it(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(bytes(32_000 * 60))
        await websocket.send(CLOSE)
        metadata = (await all_of(websocket))[-1]
    assert isinstance(metadata, Metadata)
    assert metadata.duration == 60


async def test_frames_after_close_stream_count_as_violations(server: FaultyServer) -> None:
    with server.refusing_to_close():
        async with listen(server) as websocket:
            await websocket.send(CLOSE)
            await websocket.send(TENTH)
            await websocket.send('{"type":"KeepAlive"}')
        (connection,) = server.connections
        await connection.wait_closed()
    assert connection.violations == ["a binary frame after CloseStream", "a text frame after CloseStream"]
    assert connection.bytes_received == 0


@pytest.mark.parametrize("text", ["nonsense", '{"type":"Nope"}', "[]", '{"type":"Finalize","channel":"x"}', "{" * 9999])
async def test_text_that_does_not_parse_gets_a_schema_error_and_the_connection_goes_on(
    server: FaultyServer, text: str
) -> None:
    async with listen(server) as websocket:
        await websocket.send(text)
        error = parse(await websocket.recv())
        assert isinstance(error, Error)
        assert error.variant == "SchemaError"
        await websocket.send(CLOSE)
        assert isinstance((await all_of(websocket))[-1], Metadata)


async def test_keep_alive_in_a_binary_frame_is_audio(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(b'{"type":"KeepAlive"}')
        await websocket.send(CLOSE)
        await all_of(websocket)
    assert server.connections[0].bytes_received == 20


async def test_configure_is_refused() -> None:
    async with LoopbackServer("hello") as server, listen(server) as websocket:
        await websocket.send('{"type":"Configure","keyterms":["Praat"]}')
        assert "CONFIGURE_KEYTERMS_NOT_SUPPORTED" in str(await websocket.recv())


# The handshake


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({**RAW, "puntuate": "true"}, "Did you mean 'punctuate'?"),
        ({**RAW, "punctuate": "yes"}, "punctuate"),
        ({**RAW, "punctuate": "True"}, "punctuate"),
        ({**RAW, "keywords": "a"}, "keyterm"),
        ({**RAW, "utterance_end_ms": "1000"}, "interim_results"),
        ({**RAW, "utterance_end_ms": "10", "interim_results": "true"}, "1000"),
        ({**RAW, "language": "not a language"}, "language"),
        ({**RAW, "sample_rate": "0"}, "at least 1"),
        ({**RAW, "sample_rate": "384001"}, "4000 to 384000"),
        ({**RAW, "sample_rate": "3999"}, "4000 to 384000"),
        ({**RAW, "encoding": "opus"}, "ogg-opus"),
        ({**RAW, "sample_rate": "1e9"}, "sample_rate"),
        ({**RAW, "channels": "0"}, "at least 1"),
        ({**RAW, "channels": "21", "multichannel": "true"}, "at most 20"),
        ({**RAW, "channels": "9" * 30}, "channels"),
        ({"model": "nova-3", "encoding": "linear16"}, "sample_rate"),
        ({**RAW, "encoding": "linear61"}, "linear16"),
        ({**RAW, "endpointing": "1.5"}, "endpointing"),
        ({**RAW, "model": "flux-general-en"}, "/v2/listen"),
        ({**RAW, "model": "nova-three"}, "model"),
        ({**RAW, "model": "my-own"}, "No such model"),
        ({**RAW, "extra": "no-colon"}, "key:value"),
        ([*RAW.items(), ("model", "nova-2")], "2 times"),
    ],
)
async def test_a_wrong_query_is_refused_with_400(server: FaultyServer, query: Any, words: str) -> None:
    status, headers, body = await refused(server, query)
    assert status == 400
    assert words in headers["dg-error"]
    assert words in body["err_msg"]
    assert body["request_id"] == headers["dg-request-id"]
    assert server.requests[-1].status == 400
    assert not server.connections


async def test_whisper_cannot_be_streamed(server: FaultyServer) -> None:
    assert (await refused(server, {**RAW, "model": "whisper-large"}))[0] == 405


@pytest.mark.parametrize(
    "further",
    [
        {"filler_words": "true"},
        {"tier": "nova", "alternatives": "1", "diarize_version": "latest"},
        {"extra": "room:12"},
        {"model": "1b9a2d5e-5b8a-4ad5-9a75-1c4f6a1c9d1e"},
        {"diarize": "true"},
        {"endpointing": "false"},
        {"smart_format": "true", "no_delay": "true"},
        {"multichannel": "true", "channels": "2"},
        {"model": "general", "tier": "enhanced"},
        {"model": "phonecall", "tier": "nova"},
        {"model": "nova-2-ea", "version": "2024-01-09.29447"},
        {"model": "2-general"},
        {"model": "nova"},
        {"endpointing": "true", "vad_turnoff": "500", "numbers": "true", "numbers_spaces": "true"},
    ],
)
async def test_documented_parameters_are_accepted(server: FaultyServer, further: dict[str, str]) -> None:
    async with listen(server, {**RAW, **further}):
        pass
    assert server.requests[-1].status == 101


@pytest.mark.parametrize(
    "query",
    [{"sample_rate": "16000"}, {"channels": "2"}, {"sample_rate": "1", "channels": "0", "multichannel": "true"}],
)
async def test_what_is_only_read_with_an_encoding_is_ignored_without_one(
    server: FaultyServer, query: dict[str, str]
) -> None:
    async with listen(server, {"model": "nova-3", **query}) as websocket:
        await websocket.send(samples.path().read_bytes()[:40_000])
        await websocket.send(CLOSE)
        metadata = (await all_of(websocket))[-1]
    assert isinstance(metadata, Metadata)
    assert metadata.duration > 1
    assert server.connections[0].options.channels == 1


async def test_ignored_options_are_named_in_a_header(server: FaultyServer) -> None:
    async with listen(server, {**RAW, "numerals": "true", "diarize_model": "latest", "punctuate": "true"}) as websocket:
        assert answer(websocket)["dgnb-ignored"] == "diarize_model, numerals"
    async with listen(server) as websocket:
        assert "dgnb-ignored" not in answer(websocket)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Token"},
        {"Authorization": "Token "},
        {"Authorization": "Basic abc"},
    ],
)
async def test_without_a_key_there_is_401(server: FaultyServer, headers: dict[str, str]) -> None:
    status, answered, body = await refused(server, additional_headers=headers)
    assert status == 401
    assert body["err_code"] == "INVALID_AUTH"
    assert answered["dg-request-id"] == body["request_id"]


@pytest.mark.parametrize(
    "options",
    [
        {"additional_headers": {"Authorization": f"Token {CANARY}"}},
        {"additional_headers": {"Authorization": f"bearer {CANARY}"}},
        {"additional_headers": {}, "subprotocols": ["token", CANARY]},
    ],
)
async def test_a_key_comes_in_any_of_the_documented_ways_and_is_not_kept(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aiohttp")
    caplog.set_level(logging.DEBUG, "dgnb")
    async with FaultyServer("hello", token=CANARY) as server:
        async with listen(server, **options):
            pass
        assert server.requests[-1].status == 101
        assert CANARY not in repr(server)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("key", ["wrong", "canary-5f2", "canary-5f2aa", "cänary"])
async def test_with_a_token_no_other_key_will_do(key: str) -> None:
    async with FaultyServer("hello", token=CANARY) as server:
        status, _, _ = await refused(server, additional_headers={"Authorization": f"Token {key}"})
        assert status == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "0.0.0.0", "localhost:1:2", "@localhost"])
async def test_a_host_elsewhere_is_refused(server: FaultyServer, host: str) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/v1/listen", "/radio"):
            address = server.radio_url.replace("/radio", path)
            async with session.get(address, headers={"Host": host, **KEY}) as response:
                assert response.status == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://", "http://["]
)
async def test_a_page_from_elsewhere_is_refused(server: FaultyServer, origin: str) -> None:
    assert (await refused(server, origin=origin))[0] == 403


@pytest.mark.parametrize("origin", ["http://localhost:8888", "https://127.0.0.1", "http://[::1]:80"])
async def test_a_page_from_this_machine_may_connect(server: FaultyServer, origin: str) -> None:
    async with listen(server, origin=origin):
        pass


async def test_a_plain_get_is_told_to_upgrade(server: FaultyServer) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.radio_url.replace("/radio", "/v1/listen"), headers=KEY) as response,
    ):
        assert response.status == 426
        assert "ws://" in (await response.json())["err_msg"]


@pytest.mark.parametrize(("key", "status"), [("secret", 200), ("wrong", 401), ("", 401)])
async def test_a_client_can_check_its_key(key: str, status: int) -> None:
    async with FaultyServer("hello", token="secret") as server, aiohttp.ClientSession() as session:
        address = server.radio_url.replace("/radio", "/v1/projects")
        async with session.get(address, headers={"Authorization": f"Token {key}"}) as response:
            assert response.status == status
            body = await response.json()
    if status == 200:
        assert [project["name"] for project in body["projects"]] == ["dgnb.loopback"]
    else:
        assert body["err_code"] == "INVALID_AUTH"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v3/listen", 404), ("PUT", "/v1/listen", 405)])
async def test_other_paths_are_refused_in_json(server: FaultyServer, method: str, path: str, status: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server.radio_url.replace("/radio", path)) as response,
    ):
        assert response.status == status
        assert (await response.json())["request_id"] == response.headers["dg-request-id"]


class German(Script):
    languages = ("de", "fr-FR")


@pytest.mark.parametrize(
    ("language", "status"), [("de", 101), ("de-CH", 101), ("fr", 101), ("multi", 101), ("en", 400), ("en-GB", 400)]
)
async def test_a_language_that_the_engine_does_not_know_is_refused(language: str, status: int) -> None:
    async with FaultyServer(German("ja")) as server:
        query = {**RAW, "language": language}
        if status == 101:
            async with listen(server, query):
                pass
        else:
            assert "--model" in (await refused(server, query))[2]["err_msg"]


async def test_more_connections_than_allowed_are_refused() -> None:
    async with FaultyServer("hello", max_connections=1) as server, listen(server):
        assert server.active == 1
        assert (await refused(server))[0] == 429


async def test_a_server_is_used_once(server: FaultyServer) -> None:
    with pytest.raises(RuntimeError, match="once"):
        await server.__aenter__()


async def test_an_engine_that_cannot_be_loaded_is_503_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgnb.loopback import server as module

    def fail(model: str) -> None:
        raise ConfigurationError("There is no model 'tinny'.")

    monkeypatch.setattr(module, "WhisperEngine", fail)
    async with FaultyServer() as server:
        status, _, body = await refused(server)
    assert (status, body["err_msg"]) == (503, "There is no model 'tinny'.")


# Close codes


async def test_silence_on_the_wire_is_net_0001(caplog: pytest.LogCaptureFixture) -> None:
    async with FaultyServer("hello", idle_timeout=0.2) as server, listen(server) as websocket:
        await websocket.wait_closed()
        assert (websocket.close_code, websocket.close_reason) == (1011, "NET-0001")
        assert "no audio and no text message for 0.2 s" in caplog.text
        await server.connections[0].wait_closed()
        assert server.connections[0].close_code == 1011


async def test_keep_alive_alone_keeps_a_connection_open() -> None:
    async with FaultyServer("hello", idle_timeout=0.3) as server, listen(server) as websocket:
        for _ in range(5):
            await websocket.send('{"type":"KeepAlive"}')
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.15):
                    await websocket.wait_closed()
        await websocket.send(CLOSE)
        await all_of(websocket)
        assert websocket.close_code == 1000


async def closed_by(server: FaultyServer, query: dict[str, str], *frames: bytes | str) -> tuple[int | None, str]:
    async with listen(server, query) as websocket:
        for frame in frames:
            await websocket.send(frame)
        await all_or_closed(websocket)
    return websocket.close_code, websocket.close_reason or ""


async def all_or_closed(websocket: ClientConnection) -> list[ServerMessage]:
    messages: list[ServerMessage] = []
    try:
        async for message in websocket:
            messages.append(parse(message))
    except websockets.ConnectionClosedError:
        pass
    return messages


@pytest.mark.parametrize("head", [b"RIFF\x24\x00\x00\x00WAVEfmt ", b"OggS" + bytes(24), b"fLaC" + bytes(38)])
async def test_a_container_with_an_encoding_declared_is_data_0000(server: FaultyServer, head: bytes) -> None:
    assert await closed_by(server, RAW, head[:3], head[3:] + TENTH) == DATA_0000


async def test_raw_audio_without_an_encoding_is_data_0000(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert await closed_by(server, {"model": "nova-3"}, *[bytes(range(256)) * 13] * 6) == DATA_0000
    assert "Raw audio needs encoding and sample_rate" in caplog.text


async def test_data_too_short_to_be_audio_is_data_0000_at_its_end(server: FaultyServer) -> None:
    assert await closed_by(server, {"model": "nova-3"}, b"<html>", CLOSE) == DATA_0000


async def test_a_file_that_claims_an_absurd_rate_is_data_0000(server: FaultyServer) -> None:
    head = struct.pack(">4s5I", b".snd", 24, 0xFFFF_FFFF, 3, 2_000_000_000, 1)
    assert await closed_by(server, {"model": "nova-3"}, head + TENTH, CLOSE) == DATA_0000


async def test_a_message_beyond_the_limit_is_1009(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        with pytest.raises(websockets.ConnectionClosedError):
            await send_for_ever(websocket, bytes((4 << 20) + 1))
    assert websocket.close_code == 1009


async def test_very_many_small_messages_are_taken_in_order(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        for _ in range(5000):
            await websocket.send(b"\0\0")
        await websocket.send(CLOSE)
        metadata = (await all_of(websocket))[-1]
    assert isinstance(metadata, Metadata)
    assert metadata.duration == 0.312


class Failing:
    info = EngineInfo("failing", "1", "none", "u")
    languages = None

    def open(self, **options: Any) -> Failing:
        return self

    def feed(self, pcm: bytes) -> list[Event]:
        raise ZeroDivisionError("the engine's own fault")

    def flush(self) -> list[Event]:
        return []


class Slow(Failing):
    """Takes audio at 25 times real time."""

    def feed(self, pcm: bytes) -> list[Event]:
        time.sleep(len(pcm) / 32_000 / 25)
        return []


async def test_a_client_that_is_ahead_of_a_slow_engine_still_gets_its_pings_answered() -> None:
    async with FaultyServer(Slow()) as server, listen(server, ping_interval=None) as websocket:
        for _ in range(8):
            await websocket.send(bytes(1 << 20))
        async with asyncio.timeout(3):
            await (await websocket.ping())
        assert server.connections[0].audio_seconds < 200


async def test_an_engine_that_fails_is_1011_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with FaultyServer(Failing()) as server:
        assert (await closed_by(server, RAW, TENTH))[0] == 1011
    assert "the engine's own fault" in caplog.text


async def test_leaving_the_context_closes_connections_with_1001() -> None:
    async with FaultyServer("hello") as server:
        websocket = await listen(server)
        await websocket.send(TENTH)
    await all_or_closed(websocket)
    assert websocket.close_code == 1001
    assert server.active == 0
    await websocket.close()


async def test_a_client_that_leaves_without_a_close_frame_is_noticed(server: FaultyServer) -> None:
    websocket = await listen(server)
    await websocket.send(TENTH)
    websocket.transport.abort()
    await server.connections[0].wait_closed()
    assert server.connections[0].close_code == 1006
    await websocket.wait_closed()


async def test_no_thread_outlives_its_connection(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(TENTH)
        await websocket.send(CLOSE)
        await all_of(websocket)
    await server.connections[0].wait_closed()
    assert server.active == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dgnb-loopback")]


async def test_the_server_stops_reading_from_a_client_that_does_not_read() -> None:
    chatter = Script("a" * 1000, words_per_second=100, start=0, gap=0, cut=0.01, repeat=True)
    async with FaultyServer(chatter, idle_timeout=0.2) as server:
        # Without a buffer at the client, messages that it does not ask for stay with the server.
        async with listen(server, max_queue=1, ping_interval=None, close_timeout=0.1) as websocket:
            sent = await send_until_held_back(websocket, bytes(1 << 20), seconds=0.5)
            (connection,) = server.connections
            # The server waits longer than the idle timeout, which is not the client's fault.
            assert connection.is_open
            assert connection.audio_seconds * 32_000 < connection.bytes_received < sent
            # The close() of websockets would wait without end to send its frame.
            websocket.transport.abort()
        await connection.wait_closed()


async def test_a_client_that_does_not_read_does_not_keep_the_server_from_ending() -> None:
    chatter = Script("a" * 1000, words_per_second=100, start=0, gap=0, cut=0.01, repeat=True)
    async with asyncio.timeout(15):
        async with FaultyServer(chatter) as server:
            websocket = await listen(server, max_queue=1, ping_interval=None)
            await send_until_held_back(websocket, bytes(1 << 20), seconds=0.5)
    assert not server.connections[0].is_open
    websocket.transport.abort()
    await websocket.wait_closed()


async def test_open_connections_are_dropped_and_new_ones_served(server: FaultyServer) -> None:
    async with listen(server) as first, listen(server) as second:
        server.drop(1012, "Restart")
        assert await all_or_closed(first) == await all_or_closed(second) == []
    assert (first.close_code, first.close_reason, second.close_code) == (1012, "Restart", 1012)
    async with listen(server) as websocket:
        server.drop()
        assert await all_or_closed(websocket) == []
    assert websocket.close_code == 1006

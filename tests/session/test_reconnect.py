"""A session that loses its connection: what it opens and sends again, and what it reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

import dgnb
from dgnb import LiveSession, State, transcribe
from dgnb.audio import Audio, AudioSource, Note
from dgnb.exceptions import CloseTimeout, ConnectionLost, HandshakeError
from dgnb.loopback import Script
from dgnb.session.retry import Backoff
from tests.support.faulty import FaultyServer
from tests.support.proxy import proxied
from tests.support.speech import SECONDS, speech
from tests.support.waiting import until

TEXT = "one two three four five six seven eight nine ten"
RATE = 32_000


class AtOnce(random.Random):
    """Makes every wait before a try as short as it may be."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Short(random.Random):
    """Makes every wait before a try short, also those after many tries."""

    def uniform(self, a: float, b: float) -> float:
        return 0.02


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "random", AtOnce())


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script(TEXT, repeat=True)) as server:
        yield server


class Station(AudioSource):
    """Live audio that does not wait: the test says how much there is by now."""

    name = "a station"
    live = True

    def __init__(self) -> None:
        self.queue: asyncio.Queue[float] = asyncio.Queue()
        self.notes: deque[Note] = deque()

    def give(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.queue.put_nowait(0.1)

    def end(self) -> None:
        self.queue.put_nowait(0)

    async def chunks(self) -> AsyncIterator[bytes]:
        while seconds := await self.queue.get():
            yield bytes(round(seconds * RATE))

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def close() -> None:
            pass

        return Audio(self.chunks(), close, live=True, notes=self.notes)


@pytest.fixture
def station() -> Station:
    return Station()


def kinds(session: LiveSession) -> list[str]:
    return session.transcript.events["type"].tolist()


def told(session: LiveSession, kind: str) -> list[str]:
    return session.transcript.events.query("type == @kind")["text"].tolist()


def captured(session: LiveSession) -> float:
    """Seconds of audio that were captured, to a tenth."""
    return float(session.report().split(" s captured")[0])


def covers(session: LiveSession, seconds: float) -> bool:
    """Whether finals cover the whole timeline without a hole."""
    reached = 0.0
    for final in session.transcript.results.query("is_final").sort_values("start").itertuples():
        if final.start > reached + 0.02:
            return False
        reached = max(reached, final.end)
    return reached > seconds - 0.25


# Reconnecting


async def test_a_lost_connection_is_opened_again_where_its_last_final_ended(server: FaultyServer) -> None:
    session = LiveSession(speech(20), endpoint=server.url, pace=None)
    with server.dropping(after=7.3, times=1):
        transcript = await session
    first, second = server.connections
    finals = [r for r in transcript.results.query("is_final and connection == 0").itertuples()]
    begin = finals[-1].end
    assert 4 < begin <= 7.3
    assert second.bytes_received == round((20 - begin) * RATE)
    assert transcript.results.query("connection == 1")["start"].min() == pytest.approx(begin)
    assert transcript.gaps.empty
    assert covers(session, 20)
    assert first.audio_seconds < 20
    assert session.error is None
    assert "1 reconnect;" in session.report()
    assert kinds(session).count("opened") == 2


async def test_the_request_is_the_same_each_time(server: FaultyServer) -> None:
    options = dgnb.LiveOptions(keyterm=["dgnb"], interim_results=True, smart_format=True)
    with server.dropping(after=2.0, times=2):
        await transcribe(speech(), options, endpoint=server.url, pace=None)
    assert len(server.requests) == 3
    assert len({tuple(request.query) for request in server.requests}) == 1


async def test_interims_of_a_lost_connection_are_dropped(server: FaultyServer) -> None:
    session = LiveSession(speech(60), endpoint=server.url, pace=20.0, interim_results=True)
    seen = []
    session.transcript.observe(lambda _: seen.append(session.transcript.interim))
    session.start()
    await until(lambda: session.transcript.interim)
    with server.dropping(after=0, times=1), server.unresponsive():
        await until(lambda: session.reconnecting)
        assert session.transcript.interim == ""
        assert "reconnecting" in repr(session)
        await session.stop()


async def test_reconnecting_can_be_turned_off(server: FaultyServer) -> None:
    session = LiveSession(speech(20), endpoint=server.url, pace=None, reconnect=False)
    with server.dropping(after=3.0), pytest.raises(ConnectionLost):
        await session
    assert len(server.connections) == 1
    (gap,) = session.transcript.gaps.itertuples()
    assert gap.reason == "ConnectionLost"


@pytest.mark.parametrize("wrong", [-1, 0, "yes", float("nan"), None])
def test_reconnect_is_true_false_or_seconds(wrong: Any) -> None:
    with pytest.raises(dgnb.ConfigurationError, match="reconnect"):
        LiveSession(speech(), endpoint="offline", reconnect=wrong)


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 1014, 4001])
async def test_after_a_transient_close_code_a_new_connection_is_opened(server: FaultyServer, code: int) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None)
    with server.dropping(after=3.0, code=code, times=1):
        await session
    assert str(code) in told(session, "reconnecting")[0]
    events = session.transcript.events.groupby("type")["start"]
    assert events.first()["reconnecting"] >= 3.0
    again = told(session, "opened")[1].split()[2]
    assert events.last()[["opened", "closed"]].tolist() == [pytest.approx(float(again), abs=0.051), SECONDS]
    assert covers(session, SECONDS)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010])
async def test_a_fault_that_would_come_again_is_raised_at_once(server: FaultyServer, code: int) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None)
    with server.dropping(after=3.0, code=code), pytest.raises(ConnectionLost) as caught:
        await session
    assert caught.value.code == code
    assert len(server.connections) == 1
    assert session.transcript.gaps["reason"].tolist() == ["ConnectionLost"]
    assert f"code: {code}" in session.report()


async def test_an_unexpected_close_1000_is_tried_again_once(server: FaultyServer) -> None:
    with server.dropping(after=0.5, code=1000), pytest.raises(ConnectionLost, match="twice in a row"):
        await transcribe(speech(60), endpoint=server.url, pace=None)
    assert len(server.connections) == 2


async def test_audio_that_a_server_can_not_read_is_sent_at_most_twice(server: FaultyServer) -> None:
    with (
        server.dropping(after=0.5, code=1011, reason="NET-0000"),
        pytest.raises(ConnectionLost, match="in the format that encoding"),
    ):
        await transcribe(speech(), endpoint=server.url, pace=None)
    assert len(server.connections) == 2


async def test_a_server_that_accepts_and_closes_is_given_up_after_three_times(server: FaultyServer) -> None:
    with server.dropping(after=0, code=1011), pytest.raises(ConnectionLost, match="opened 3 times"):
        await transcribe(speech(), endpoint=server.url, pace=None)
    assert len(server.connections) == 3


async def test_a_busy_server_is_tried_again_until_it_accepts(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None)
    with server.rejecting(429, headers={"Retry-After": "0"}, times=3):
        await session
    assert len(server.requests) == 4
    assert kinds(session)[:4] == ["connecting"] * 3 + ["opened"]
    assert "as many streams open as it may" in told(session, "connecting")[0]
    assert covers(session, SECONDS)


async def test_retry_after_is_obeyed(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None)
    began = time.monotonic()
    with server.rejecting(503, headers={"Retry-After": "0.3"}, times=1):
        await session
    assert time.monotonic() - began >= 0.3
    assert "in 0.3 s" in told(session, "connecting")[0]


async def test_a_retry_after_of_an_hour_ends_the_session(server: FaultyServer) -> None:
    with server.rejecting(429, headers={"Retry-After": "3600"}), pytest.raises(HandshakeError, match="3600 s"):
        await transcribe(speech(), endpoint=server.url, pace=None)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 302])
async def test_a_refusal_is_final(server: FaultyServer, status: int) -> None:
    headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
    with server.rejecting(status, headers=headers), pytest.raises(HandshakeError) as caught:
        await transcribe(speech(), endpoint=server.url, pace=None)
    assert caught.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_server_at_fault_is_tried_as_long_as_reconnect_says(server: FaultyServer, status: int) -> None:
    """More often than the four times that were the limit once; the waits before the sixth try are 10 s."""
    with server.rejecting(status, times=4):
        assert (await transcribe(speech(), endpoint=server.url, pace=None)).text
    assert len(server.requests) == 5
    session = LiveSession(speech(), endpoint=server.url, pace=None, reconnect=5.0)
    with server.rejecting(status), pytest.raises(HandshakeError, match="Tried 5 times") as caught:
        await session
    assert caught.value.status == status


async def test_a_402_on_a_reconnect_ends_the_session_and_keeps_the_text(server: FaultyServer) -> None:
    with server.dropping(after=5.0):
        session = LiveSession(speech(20), endpoint=server.url, pace=None).start()
        await until(lambda: server.connections)
        with server.rejecting(402), pytest.raises(HandshakeError, match="no credit left"):
            await session
    assert len(server.requests) == 2
    assert session.transcript.text
    assert session.transcript.gaps["reason"].tolist() == ["HandshakeError"]


async def test_a_port_where_nothing_listens_is_tried_as_long_as_reconnect_says(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    session = LiveSession(speech(), endpoint=f"ws://127.0.0.1:{unused_tcp_port}", pace=None, reconnect=5.0).start()
    await until(lambda: "connecting" in kinds(session))
    assert "connecting still (127.0.0.1" in repr(session)
    with pytest.raises(HandshakeError, match=r"nothing listens there.*Tried 5 times"):
        await session
    assert kinds(session).count("connecting") == 4
    assert session.transcript.gaps.empty
    (logged,) = caplog.messages
    assert logged.startswith("Not connected yet, and still trying")
    assert "Is the server running, and the port right?" in logged


async def test_a_server_that_starts_after_the_session_is_found(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "random", Short())
    session = LiveSession(speech(), endpoint=f"ws://127.0.0.1:{unused_tcp_port}", pace=None).start()
    await until(lambda: kinds(session).count("connecting") >= 6)
    async with FaultyServer(Script(TEXT), port=unused_tcp_port):
        assert (await asyncio.wait_for(session, 20)).text == TEXT


BROKEN = {
    "an alert": b"\x15\x03\x03\x00\x02\x02\x50",
    "close_notify": b"\x15\x03\x03\x00\x02\x01\x00",
    "plain HTTP": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "nothing": b"",
}


@asynccontextmanager
async def tls_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, deque[bytes]]]:
    """A server behind TLS that closes after each second, and a gateway that answers with these bytes instead."""
    authority, context, answers = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), deque[bytes]()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))

    async def handler(socket: ServerConnection) -> None:
        received = 0
        async for frame in socket:
            received += len(frame) if isinstance(frame, bytes) else 0
            if received >= RATE or isinstance(frame, str):
                await socket.send(final(0, received / RATE, "word"))
                await socket.close(1012 if isinstance(frame, bytes) else 1000)
                return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answers:
            await reader.read(100)
            writer.write(answers.popleft())
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                to.write(data)
            to.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pump(reader, back), pump(there, writer))

    async with serve(handler, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as gateway:
            yield f"wss://127.0.0.1:{gateway.sockets[0].getsockname()[1]}", answers


@pytest.mark.parametrize("how", BROKEN)
async def test_tls_that_breaks_off_is_tried_again_once_the_server_was_reached(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_gateway(tmp_path, monkeypatch) as (url, answers):
        session = LiveSession(speech(4), endpoint=url, pace=None).start()
        await until(lambda: session.transcript.word_count)
        answers.extend([BROKEN[how]] * 2)
        transcript = await session
    assert not answers
    assert transcript.gaps.empty
    assert covers(session, 4)


@pytest.mark.parametrize("how", ["an alert", "plain HTTP"])
async def test_tls_that_fails_at_the_first_try_is_an_error(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_gateway(tmp_path, monkeypatch) as (url, answers):
        answers.append(BROKEN[how])
        with pytest.raises(HandshakeError, match="Is it a wss:// server, and the port right"):
            await transcribe(speech(4), endpoint=url, pace=None)


async def test_live_audio_without_any_connection_is_a_gap(unused_tcp_port: int, station: Station) -> None:
    station.give(2)
    session = LiveSession(station, endpoint=f"ws://127.0.0.1:{unused_tcp_port}", pace=None, reconnect=1.0)
    with pytest.raises(HandshakeError):
        await session
    (gap,) = session.transcript.gaps.itertuples()
    assert (gap.start, gap.reason) == (0, "HandshakeError")
    assert gap.end == pytest.approx(captured(session), abs=0.051)
    assert gap.end > 0


async def test_a_network_that_comes_back_costs_no_word(
    unused_tcp_port: int, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "random", Short())
    session = LiveSession(station, endpoint=f"ws://127.0.0.1:{unused_tcp_port}", pace=None).start()
    async with FaultyServer(Script(TEXT, repeat=True), port=unused_tcp_port):
        station.give(3)
        await until(lambda: session.audio_cursor >= 3)
    await until(lambda: session.reconnecting)
    station.give(3)
    await until(lambda: session.pending > 3)
    async with FaultyServer(Script(TEXT, repeat=True), port=unused_tcp_port):
        station.give(1)
        station.end()
        await asyncio.wait_for(session.wait(), 20)
    assert session.error is None
    assert covers(session, 7)
    assert session.transcript.gaps.empty


async def test_the_end_of_a_file_is_sent_again_when_its_connection_is_lost(server: FaultyServer) -> None:
    """All audio and CloseStream were sent. Then the server restarts instead of sending its last messages."""
    closings = 0

    async def handler(socket: ServerConnection) -> None:
        nonlocal closings
        received = 0
        async for frame in socket:
            if isinstance(frame, bytes):
                received += len(frame)
                continue
            if json.loads(frame)["type"] == "CloseStream":
                closings += 1
                if closings == 1:
                    await socket.send(final(0, 2.0, "hello"))
                    await socket.close(1012)
                else:
                    await socket.send(final(0, received / RATE, "world"))
                    await socket.send(metadata(received / RATE))
                return

    async with plain(handler) as url:
        transcript = await transcribe(speech(3), endpoint=url, pace=None)
    assert closings == 2
    assert transcript.text == "hello world"
    assert transcript.words["start"].tolist() == [0.0, 2.0]
    assert transcript.gaps.empty


async def test_a_connection_lost_after_the_last_final_ends_the_session_well() -> None:
    async def handler(socket: ServerConnection) -> None:
        received = 0
        async for frame in socket:
            received += len(frame) if isinstance(frame, bytes) else 0
            if isinstance(frame, str) and json.loads(frame)["type"] == "CloseStream":
                await socket.send(final(0, received / RATE, "hello"))
                socket.transport.abort()

    async with plain(handler) as url:
        session = LiveSession(speech(3), endpoint=url, pace=None)
        transcript = await session
    assert transcript.text == "hello"
    assert kinds(session).count("opened") == 1


async def test_a_server_that_does_not_finish_is_tried_once_more(server: FaultyServer) -> None:
    """The line may be dead: audio without a final is sent again."""
    session = LiveSession(speech(), endpoint=server.url, pace=None, close_timeout=0.3)
    with server.silent():
        session.start()
        await until(lambda: session.reconnecting)
    await session
    assert covers(session, SECONDS)
    assert len(server.connections) == 2
    assert session.transcript.gaps.empty


async def test_a_server_that_never_finishes_is_tried_twice(server: FaultyServer) -> None:
    session = LiveSession(speech(1), endpoint=server.url, pace=None, close_timeout=0.3)
    with server.refusing_to_close(), pytest.raises(CloseTimeout):
        await session
    assert len(server.connections) == 2


async def test_a_server_that_takes_audio_and_sends_no_message_is_replaced(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.link._SILENT", 2.0)
    monkeypatch.setattr("dgnb.endpoints.Endpoint.answers_silence", True)
    session = LiveSession(speech(10), endpoint=server.url, pace=2.5, interim_results=True).start()
    with server.silent():
        await until(lambda: told(session, "reconnecting"))
    assert "the server heard no more" in told(session, "reconnecting")[0]
    await session
    assert covers(session, 10)
    assert session.transcript.gaps.empty


async def test_two_silent_connections_end_the_session_with_a_question_about_the_format(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.link._SILENT", 1.0)
    monkeypatch.setattr("dgnb.endpoints.Endpoint.answers_silence", True)
    with server.silent(), pytest.raises(ConnectionLost, match="format that encoding"):
        await transcribe(speech(60), endpoint=server.url, pace=4.0)
    assert len(server.connections) == 2


VAD = {
    "that never sends an empty final": None,
    "that sends an empty final when it is asked to finalize": {"from_finalize": True},
    "that sends one on its own": {},
}


@pytest.mark.parametrize("server_", VAD)
async def test_a_server_is_given_up_in_silence_only_if_it_sends_empty_finals_there(
    server_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As WhisperLiveKit does, which detects speech first: it says nothing while nobody speaks."""
    monkeypatch.setattr("dgnb.session.link._SILENT", 1.0)
    empty, opened = VAD[server_], 0
    nothing = {"channel": {"alternatives": [{"transcript": "", "words": []}]}}

    async def handler(socket: ServerConnection) -> None:
        nonlocal opened
        opened, received, speaks = opened + 1, 0, opened == 0
        async for frame in socket:
            if isinstance(frame, bytes):
                received += len(frame)
                if speaks and received >= 2 * RATE:
                    speaks = False
                    await socket.send(final(0.5, 0.5, "hi"))
                    if empty is not None:
                        await socket.send(json.dumps(json.loads(final(1.0, 1.0, "")) | nothing | empty))
                elif opened > 1:
                    await socket.send(json.dumps(json.loads(final(0.0, received / RATE, "")) | nothing))
            elif "CloseStream" in frame:
                await socket.send(json.dumps({"type": "Metadata", "duration": received / RATE}))
                return

    async with plain(handler) as url:
        session = LiveSession(speech(12), endpoint=url, pace=5.0)
        transcript = await session
    assert transcript.text == "hi"
    assert (opened > 1) == (empty == {})
    assert told(session, "warning") == []


async def test_a_server_that_never_says_anything_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgnb.session.link._SILENT", 1.0)

    async def handler(socket: ServerConnection) -> None:
        async for frame in socket:
            if isinstance(frame, str) and "CloseStream" in frame:
                return

    async with plain(handler) as url:
        session = LiveSession(speech(10), endpoint=url, pace=5.0)
        await session
    assert kinds(session).count("opened") == 1
    (text,) = told(session, "warning")
    assert "the server has said nothing yet. If somebody speaks there: Is the audio in the format" in text


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1012, ""), (1011, "NET-0001"), (1011, "NET-0000"), (4400, "")]
)
async def test_a_server_that_closes_again_and_again_while_finals_come_is_not_given_up(code: int, reason: str) -> None:
    closings = 0

    async def handler(socket: ServerConnection) -> None:
        nonlocal closings
        received = 0
        async for frame in socket:
            received += len(frame) if isinstance(frame, bytes) else 0
            if isinstance(frame, str) and "CloseStream" in frame:
                await socket.send(final(0, received / RATE, "end"))
                return
            # Every second connection ends without a final, and every fourth one at once.
            if received >= (RATE if closings % 4 else 1) and closings < 12:
                if closings % 2:
                    await socket.send(final(0, 0.5, "word"))
                closings += 1
                await socket.close(code, reason)
                return

    async with plain(handler) as url:
        transcript = await transcribe(speech(6), endpoint=url, pace=None)
    assert transcript.text.split() == ["word"] * 6 + ["end"]
    assert transcript.words["start"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert closings == 12


REASONS = {
    "an Error with a description": {"type": "Error", "description": "This server takes channels=1 only."},
    "an Error with a message": {"type": "Error", "message": "channels=1 only", "variant": "X"},
    "an error in another spelling": {"type": "error", "error": {"message": "channels=1 only", "code": 7}},
    "an object without a type": {"error": "channels=1 only"},
    "an error that is an object": {"error": {"reason": "channels=1 only"}},
}


@pytest.mark.parametrize("end", ["4400", "1011", "a broken line", "silence"])
@pytest.mark.parametrize("said", REASONS)
async def test_a_reason_that_a_server_gives_in_a_message_stands_in_the_error(said: str, end: str) -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send(json.dumps(REASONS[said]))
        if end.isdecimal():
            await socket.close(int(end), "invalid session")
        elif end == "silence":
            await asyncio.wait_for(socket.wait_closed(), 10)
        else:
            socket.transport.abort()

    async with plain(handler) as url:
        session = LiveSession(speech(1), endpoint=url, pace=None, reconnect=False, close_timeout=0.3)
        with pytest.raises((ConnectionLost, CloseTimeout), match="channels=1 only") as caught:
            await session
    if isinstance(caught.value, ConnectionLost):
        assert "channels=1 only" in caught.value.reason
        assert "channels=1 only" in session.report()


async def test_an_error_message_before_later_results_is_no_reason() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send(
            json.dumps({"type": "Error", "description": "That text was no JSON.", "variant": "SchemaError"})
        )
        await socket.send(final(0, 0.1, "hello"))
        await socket.close(1011)

    async with plain(handler) as url:
        with pytest.raises(ConnectionLost) as caught:
            await transcribe(speech(1), endpoint=url, pace=None, reconnect=False)
    assert "JSON" not in str(caught.value)


async def test_the_key_is_masked_in_a_reason_that_comes_in_a_message() -> None:
    async def handler(socket: ServerConnection) -> None:
        told = socket.request.headers["Authorization"] if socket.request else ""
        await socket.send(json.dumps({"type": "Error", "description": f"Who is {told}?"}))
        await socket.close(1008)

    async with plain(handler) as url:
        with pytest.raises(ConnectionLost, match="Who is Token <key>") as caught:
            await transcribe(speech(1), endpoint=url, pace=None, api_key="canary" * 6)
    assert "canary" not in str(caught.value)


async def test_stopping_right_after_a_change_keeps_what_was_said_before_it(server: FaultyServer) -> None:
    session = LiveSession(speech(60), endpoint=server.url, pace=4.0, interim_results=True).start()
    await until(lambda: session.audio_cursor > 3.4)
    sent = session.audio_cursor
    await session.apply(dgnb.LiveOptions(smart_format=True, interim_results=True))
    await session.stop()
    assert session.transcript.transcript_cursor >= sent
    assert session.transcript.gaps.empty


# Custom sources


class Own(AudioSource):
    """Whatever chunks it is given, once."""

    name = "my own"

    def __init__(self, chunks: AsyncIterator[Any], close: Callable[[], Awaitable[None]] | None = None) -> None:
        self.chunks = chunks
        self.close = close

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def close() -> None:
            if self.close:
                await self.close()

        return Audio(self.chunks, close)


async def test_chunks_of_any_size_are_sent_as_whole_frames_of_a_quarter_of_a_second(server: FaultyServer) -> None:
    async def chunks() -> AsyncIterator[Any]:
        yield bytes(1)
        yield bytes(3333)
        yield bytearray(20 * RATE)  # 20 s at once
        yield bytes(2)

    session = LiveSession(Own(chunks()), endpoint=server.url, pace=None)
    await session
    (connection,) = server.connections
    assert connection.bytes_received == 20 * RATE + 3336
    assert captured(session) == round(connection.bytes_received / RATE, 1)
    assert covers(session, 20.1)


async def test_a_source_may_use_its_buffer_again() -> None:
    buffer, received = bytearray(3200), bytearray()

    async def chunks() -> AsyncIterator[Any]:
        for number in range(5):
            buffer[:] = bytes([number]) * 3200
            yield buffer

    async def handler(socket: ServerConnection) -> None:
        async for frame in socket:
            if isinstance(frame, bytes):
                received.extend(frame)
            elif json.loads(frame)["type"] == "CloseStream":
                await socket.send(final(0, 0.5, "hello"))
                await socket.send(metadata(0.5))
                return

    async with plain(handler) as url:
        await LiveSession(Own(chunks()), endpoint=url, pace=None)
    assert received == b"".join(bytes([number]) * 3200 for number in range(5))


async def test_a_source_without_audio_gives_a_warning(server: FaultyServer) -> None:
    async def chunks() -> AsyncIterator[Any]:
        return
        yield

    session = LiveSession(Own(chunks()), endpoint=server.url, pace=None)
    await session
    assert told(session, "warning") == ["my own held no audio."]


async def test_a_source_that_opens_no_audio_is_one_clear_error(server: FaultyServer) -> None:
    class Odd(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            return None  # type: ignore[return-value]

    with pytest.raises(dgnb.AudioError, match="gave NoneType"):
        await transcribe(Odd(), endpoint=server.url)


async def test_a_source_that_is_cancelled_from_inside_is_an_error(server: FaultyServer) -> None:
    async def chunks() -> AsyncIterator[Any]:
        yield bytes(32_000)
        raise asyncio.CancelledError

    with pytest.raises(dgnb.AudioError, match="cancelled from inside"):
        await transcribe(Own(chunks()), endpoint=server.url, pace=None)


async def test_a_source_that_does_not_close_does_not_hold_up_a_stop(server: FaultyServer) -> None:
    released = asyncio.Event()

    async def chunks() -> AsyncIterator[Any]:
        while True:
            yield bytes(3200)
            await asyncio.sleep(0.01)

    session = LiveSession(Own(chunks(), released.wait), endpoint=server.url, pace=None).start()  # type: ignore[arg-type]
    await until(lambda: session.audio_cursor > 1)
    began = time.monotonic()
    await session.stop()
    assert time.monotonic() - began < 2
    assert "is not waited for" in told(session, "warning")[0]
    released.set()
    await asyncio.sleep(0)


# Gaps


async def test_more_than_is_kept_is_a_gap_with_its_reason(
    server: FaultyServer, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.capture.BUFFER_SECONDS", 2.0)
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    station.give(1)
    await until(lambda: session.audio_cursor >= 1)
    with server.dropping(after=0, times=1), server.unresponsive():
        await until(lambda: session.reconnecting or not station.give(0.1))
        station.give(5)
        await until(lambda: station.queue.empty())
        await until(lambda: session.reconnecting and captured(session) >= 6 and session.pending <= 2.0)
        taken = captured(session)
        assert session.pending > 1.5
        await session.stop()
    gaps = session.transcript.gaps
    assert gaps["start"].iloc[0] < 1.2
    assert gaps["end"].iloc[-1] == pytest.approx(taken, abs=0.051)
    assert any("more audio was waiting" in reason for reason in gaps["reason"])
    assert gaps["end"].tolist()[:-1] == gaps["start"].tolist()[1:]


async def test_a_connection_too_slow_for_the_audio_is_replaced_behind_the_gap(
    deaf: str, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.capture.BUFFER_SECONDS", 20.0)
    monkeypatch.setattr("dgnb.session.stop.DRAIN", 0.2)
    session = LiveSession(station, endpoint=deaf, pace=None, close_timeout=0.2).start()
    station.give(1)
    await until(lambda: session.state is State.OPEN)
    station.give(120)
    await until(lambda: kinds(session).count("opened") == 2)
    assert session.pending <= 21
    with pytest.raises(CloseTimeout):
        await session.stop()
    gaps = session.transcript.gaps
    assert gaps["end"].iloc[-1] == pytest.approx(captured(session), abs=0.051)
    assert any("more audio was waiting" in reason for reason in gaps["reason"])


async def test_a_file_waits_for_its_connection(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgnb.session.capture.BUFFER_SECONDS", 5.0)
    session = LiveSession(speech(60), endpoint=server.url, pace=20.0).start()
    await until(lambda: session.audio_cursor > 1)
    with server.dropping(after=0, times=1), server.unresponsive(times=1):
        await until(lambda: session.reconnecting)
        taken = captured(session)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert captured(session) <= taken + 0.3
        await session.stop()


async def test_stopping_while_it_reconnects_is_immediate_and_opens_nothing(
    server: FaultyServer, station: Station
) -> None:
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    station.give(3)
    await until(lambda: session.audio_cursor >= 3)
    with server.dropping(after=0, times=1), server.rejecting(503, headers={"Retry-After": "30"}):
        station.give(0.1)
        await until(lambda: session.reconnecting and len(server.requests) == 2)
        began = time.monotonic()
        await session.stop()
        assert time.monotonic() - began < 0.5
    assert session.state is State.CLOSED
    assert session.error is None
    assert len(server.requests) == 2
    assert session.transcript.gaps["reason"].tolist() == ["the session was stopped before it was heard"]


@pytest.mark.parametrize("paused", [False, True])
async def test_a_stop_while_behind_sends_what_was_captured_at_full_speed(server: FaultyServer, paused: bool) -> None:
    """30 s wait for a pace of 1.2. A server on this machine takes them within the five seconds."""
    station = Station()
    session = LiveSession(station, endpoint=server.url).start()
    station.give(1)
    await until(lambda: session.state is State.OPEN)
    station.give(29)
    await until(lambda: session.pending > 28)
    assert session.audio_cursor < 10
    if paused:
        session.pause()
    began = time.monotonic()
    transcript = await session.stop()
    assert time.monotonic() - began < 5
    assert (session.audio_cursor, len(transcript.gaps)) == (30.0, 0)
    assert transcript.transcript_cursor == pytest.approx(30.0, abs=0.05)


async def test_notes_of_a_station_become_events_and_gaps(server: FaultyServer, station: Station) -> None:
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    station.give(1)
    await until(lambda: session.audio_cursor >= 1)
    station.notes.append(Note("title", "Artist - <b>Song</b>"))
    station.notes.append(Note("source", "the station broke off, and was asked again", missed=2.5))
    station.give(1)
    station.end()
    await session
    assert told(session, "title") == ["at 1.0 s: Artist - <b>Song</b>"]
    starts = session.transcript.events.groupby("type")["start"]
    assert starts.first()[["opened", "title", "source", "closed"]].tolist() == [0.0, 1.0, 1.0, 2.0]
    (gap,) = session.transcript.gaps.itertuples()
    assert (gap.start, gap.end) == (1.0, 1.0)
    assert "2.5 s were missed" in gap.reason
    assert gap.missed == 2.5


# Pauses


async def test_a_connection_that_is_lost_in_a_pause_is_opened_when_there_is_audio(server: FaultyServer) -> None:
    async with proxied(urlsplit(server.url).port or 0, 1) as proxy:
        session = LiveSession(speech(30), endpoint=proxy.url, pace=20.0).start()
        await until(lambda: session.audio_cursor > 1)
        session.pause()
        proxy.reset()
        await until(lambda: session.reconnecting)
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert len(server.requests) == 1
        session.resume()
        await until(lambda: session.state is State.OPEN)
        await session
    assert covers(session, 30)


# Warnings, reports and the journal


async def test_a_cell_that_blocks_is_named_as_the_cause(
    server: FaultyServer, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.stream._STARVED", 1.0)
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    station.give(1)
    await until(lambda: session.audio_cursor >= 1)
    with server.dropping(after=0, code=1011, reason="NET-0001", times=1):
        station.give(0.1)
        time.sleep(1.4)  # noqa: ASYNC251 - a cell that blocks
        await until(lambda: "reconnecting" in kinds(session))
    assert session.lag > 1
    assert "kernel was busy for" in told(session, "reconnecting")[0]
    assert "network" not in told(session, "reconnecting")[0]
    station.end()
    await session
    assert any("kernel was busy for 1." in text for text in told(session, "warning"))
    assert covers(session, 1.1)


async def test_a_stream_that_runs_for_an_hour_gives_one_warning(
    server: FaultyServer, station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dgnb.session.watch._REMIND", 1.0)
    monkeypatch.setattr("dgnb.session.watch._INTERVAL", 0.01)
    session = LiveSession(station, endpoint=server.url, pace=None).start()
    station.give(2)
    await until(lambda: told(session, "warning"))
    for _ in range(10):
        await asyncio.sleep(0.01)
    await session.stop()
    (text,) = told(session, "warning")
    assert "goes on until it is stopped" in text
    assert text in caplog.text


async def test_a_good_session_reports_one_line(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None)
    assert session.report().startswith("0.0 s captured")
    await session
    line = session.report()
    assert "\n" not in line
    assert line.startswith("6.0 s captured, 6.0 s acknowledged, 0.0 s pending, 0.0 s in gaps; 12 words; 0 reconnects; ")
    assert line in told(session, "closed")[0]


async def test_a_failed_session_reports_what_is_needed_to_help(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None, api_key="canary0123456789")
    with server.rejecting(402, error="No money"), pytest.raises(HandshakeError):
        await session
    report = session.report()
    for expected in ("HandshakeError", "status: 402", "error: No money", "request_id: ", "websockets ", "endpoint: "):
        assert expected in report
    assert "canary" not in report


async def test_a_server_that_received_less_than_was_sent_gives_a_warning() -> None:
    async def handler(socket: ServerConnection) -> None:
        async for frame in socket:
            if isinstance(frame, str) and json.loads(frame)["type"] == "CloseStream":
                await socket.send(final(0, 3.0, "hello"))
                await socket.send(metadata(2.5))
                return

    async with plain(handler) as url:
        session = LiveSession(speech(3), endpoint=url, pace=None)
        await session
    assert told(session, "warning") == ["3.00 s of audio were sent, the server says it received 2.50 s."]


async def test_a_journal_is_written_beside_the_session(server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    transcript = await transcribe(speech(), endpoint=server.url, pace=None, journal=path)
    loaded = dgnb.Transcript.load(path)
    assert loaded.text == transcript.text
    assert loaded.text.startswith(TEXT)
    assert loaded.events["type"].tolist() == transcript.events["type"].tolist()
    again = LiveSession(speech(), endpoint=server.url, pace=None, journal=path)
    await again
    assert "talk-1.jsonl" in told(again, "warning")[0]
    assert dgnb.Transcript.load(tmp_path / "talk-1.jsonl").text == transcript.text


async def test_a_journal_that_can_not_be_made_is_an_error_before_anything_is_sent(
    server: FaultyServer, tmp_path: Path
) -> None:
    with pytest.raises(dgnb.ConfigurationError, match="journal"):
        await transcribe(speech(), endpoint=server.url, journal=tmp_path / "no" / "talk.jsonl")
    assert not server.requests
    with pytest.raises(dgnb.ConfigurationError, match="journal is the path"):
        LiveSession(speech(), endpoint=server.url, journal=3)  # type: ignore[arg-type]


async def test_results_that_go_elsewhere_leave_no_gaps(server: FaultyServer) -> None:
    session = LiveSession(speech(), endpoint=server.url, pace=None, callback="https://example.org/results")
    await session
    assert session.transcript.gaps.empty
    assert session.pending == 0


# A plain server, for what the strict one never does


Handler = Callable[[ServerConnection], Awaitable[None]]


class plain:
    """`async with plain(handler) as url`."""

    def __init__(self, handler: Handler) -> None:
        self._server = serve(handler, "127.0.0.1", 0, close_timeout=0.1)

    async def __aenter__(self) -> str:
        server = await self._server.__aenter__()
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *exc: object) -> None:
        await self._server.__aexit__(*exc)


def final(start: float, duration: float, text: str) -> str:
    word = {"word": text, "start": start, "end": start + 0.5, "confidence": 1.0}
    return json.dumps(
        {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start,
            "duration": duration,
            "is_final": True,
            "channel": {"alternatives": [{"transcript": text, "confidence": 1.0, "words": [word]}]},
        }
    )


def metadata(duration: float) -> str:
    return json.dumps({"type": "Metadata", "request_id": "r", "duration": duration, "channels": 1})

"""Stations end, break off, fall silent, change their codec, and speak their own HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgnb.audio import Audio, URLSource
from dgnb.audio.url import icy
from dgnb.audio.url.reader import backoff
from dgnb.exceptions import AudioError

Samples = npt.NDArray[Any]
RATE = 16_000
SECOND = 2 * RATE
PCM: dict[str, Any] = {"encoding": "linear16", "sample_rate": RATE}


class Station:
    """A server on bare sockets. Each connection is handled by the next of its scripts, the last one for ever."""

    def __init__(self, *scripts: Callable[[Line], Awaitable[None]]) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.lines: list[Line] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer)
        self.lines.append(line)
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
            await script(line)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            line.gone.set()
            writer.close()


class Line:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.gone = asyncio.Event()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def break_off(self) -> None:
        self._writer.transport.abort()


def plays(*parts: bytes, headers: str = "", status: str = "HTTP/1.0 200 OK") -> Callable[[Line], Awaitable[None]]:
    async def script(line: Line) -> None:
        await line.send(f"{status}\r\nContent-Type: audio/mpeg\r\nicy-name: X\r\n{headers}\r\n".encode())
        for part in parts:
            await line.send(part)

    return script


def stays(script: Callable[[Line], Awaitable[None]]) -> Callable[[Line], Awaitable[None]]:
    async def longer(line: Line) -> None:
        await script(line)
        await asyncio.Event().wait()

    return longer


def answers(status: str) -> Callable[[Line], Awaitable[None]]:
    return plays(status=f"HTTP/1.1 {status}", headers="Content-Length: 0\r\n")


@pytest.fixture
async def station() -> AsyncIterator[Callable[..., Awaitable[Station]]]:
    """`await station(script, …)`: a `Station` at `.url`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts: Callable[[Line], Awaitable[None]]) -> Station:
            made = Station(*scripts)
            tasks: set[asyncio.Task[None]] = set()
            writers: list[asyncio.StreamWriter] = []

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writers.append(writer)
                tasks.add(asyncio.create_task(made.handle(reader, writer)))

            async def end() -> None:
                server.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                # A task that is cancelled before its first step closes nothing, and a close takes a turn of the loop.
                for writer in writers:
                    writer.transport.abort()
                await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            stack.push_async_callback(end)
            made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
            return made

        yield start


def source(made: Station, **options: Any) -> URLSource:
    """A source that does not wait before it asks again."""
    found = URLSource(made.url, **options)
    found._wait = lambda tries: 0.0
    return found


async def hear(audio: Audio, seconds: float) -> bytes:
    """So much of it, or all there is."""
    data = b""
    async for chunk in audio:
        data += chunk
        if len(data) >= seconds * SECOND:
            break
    return data


async def rest(audio: Audio) -> bytes:
    try:
        return await hear(audio, 10_000)
    finally:
        await audio.aclose()


async def collect(audio: Audio, chunks: list[bytes]) -> None:
    async for chunk in audio:
        chunks.append(chunk)


def kinds(audio: Audio) -> list[str]:
    return [note.type for note in audio.notes]


def ramp(seconds: float, start: int = 0) -> bytes:
    """Samples that count up, so that each shows its position."""
    return (np.arange(round(seconds * RATE)) + start).astype("<i2").tobytes()


# Reconnecting


async def test_a_station_that_ends_is_asked_again_and_the_time_goes_on(station: Any) -> None:
    made = await station(plays(ramp(1.03)), stays(plays(ramp(2.0, 7))))
    audio = await source(made, **PCM).open()
    assert audio.live
    got = await hear(audio, 3.0)
    await audio.aclose()
    assert got == (ramp(1.03) + ramp(2.0, 7))[: len(got)]
    assert len(got) % 3200 == 0
    (note,) = audio.notes
    assert note.type == "source"
    assert "the station ended the stream" in note.text
    assert 0 <= note.missed < 2
    assert len(made.requests) == 2


async def test_a_station_that_breaks_off_is_asked_again(station: Any) -> None:
    async def breaks(line: Line) -> None:
        await plays(ramp(1.0), headers="Transfer-Encoding: chunked\r\n", status="HTTP/1.1 200 OK")(line)
        line.break_off()

    async def chunked(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nicy-name: X\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = ramp(1.0)
        await line.send(f"{len(data):x}\r\n".encode() + data + b"\r\n5\r\nab")

    made = await station(chunked, stays(plays(ramp(2.0))))
    audio = await source(made, **PCM).open()
    await hear(audio, 2.0)
    await audio.aclose()
    assert "before the body was complete" in audio.notes[0].text


async def test_a_station_that_falls_silent_is_asked_again_and_the_missed_time_is_reported(station: Any) -> None:
    made = await station(stays(plays(ramp(1.0))), stays(plays(ramp(2.0))))
    audio = await source(made, stall_timeout=0.3, **PCM).open()
    await hear(audio, 2.0)
    await audio.aclose()
    (note,) = audio.notes
    assert "nothing came for 0.3 s" in note.text
    assert 0.25 < note.missed < 2


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow Down", "400 Bad", "404 File Not Found"])
async def test_a_station_that_comes_back_after_an_error_goes_on(station: Any, status: str) -> None:
    made = await station(plays(ramp(1.0)), answers(status), answers(status), stays(plays(ramp(3.0))))
    audio = await source(made, **PCM).open()
    await hear(audio, 2.0)
    await audio.aclose()
    assert len(made.requests) == 4
    assert kinds(audio) == ["source"]


@pytest.mark.parametrize("status", [401, 403, 410, 451])
async def test_a_station_that_is_gone_for_good_is_not_asked_again(station: Any, status: int) -> None:
    made = await station(plays(ramp(1.0)), answers(f"{status} No"))
    audio = await source(made, **PCM).open()
    with pytest.raises(AudioError, match=f"answered {status} No"):
        await rest(audio)
    assert len(made.requests) == 2


@pytest.mark.parametrize("status", ["500 Oops", "404 Not Found"])
async def test_an_error_at_the_start_is_raised_at_once(station: Any, status: str) -> None:
    made = await station(answers(status))
    with pytest.raises(AudioError, match=f"answered {status}"):
        await source(made).open()
    assert len(made.requests) == 1


async def test_eight_tries_in_a_row_without_audio_end_it_with_the_last_reason(station: Any) -> None:
    made = await station(plays(ramp(1.0)), plays(), answers("503 Busy"))
    asked: list[int] = []
    found = source(made, **PCM)
    found._wait = lambda tries: asked.append(tries) or 0.0  # type: ignore[func-returns-value]
    audio = await found.open()
    with pytest.raises(AudioError, match=r"8 tries in a row brought no audio; the last time, it answered 503 Busy"):
        await rest(audio)
    assert len(made.requests) == 9
    assert asked == [0, 1, 2, 3, 4, 5, 6, 7]


async def test_audio_renews_the_budget(station: Any) -> None:
    once = [plays(ramp(0.5)), *[plays()] * 7]
    made = await station(*once, *once, *once, stays(plays(ramp(3.0))))
    audio = await source(made, **PCM).open()
    await hear(audio, 3.0)
    await audio.aclose()
    assert len(made.requests) == 25


async def test_a_page_instead_of_the_station_is_one_try_and_not_the_end(station: Any, mp3: bytes) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"

    async def sorry(line: Line) -> None:
        await line.send(page)

    made = await station(plays(mp3), sorry, plays(b"no audio " * 9000), stays(plays(mp3)))
    audio = await source(made).open()
    await hear(audio, 7.0)
    await audio.aclose()
    assert kinds(audio) == ["source"]


async def test_reconnecting_can_be_turned_off(station: Any) -> None:
    made = await station(plays(ramp(1.0)))
    assert await rest(await source(made, reconnect=False, **PCM).open()) == ramp(1.0)
    made = await station(stays(plays(ramp(1.0))))
    audio = await source(made, reconnect=False, stall_timeout=0.2, **PCM).open()
    with pytest.raises(AudioError, match=r"nothing came for 0\.2 s"):
        await rest(audio)
    assert len(made.requests) == 1


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n", wait: float = 0.0) -> Callable[[Line], Awaitable[None]]:
    async def script(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            await line.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await asyncio.sleep(wait)
        await line.send(end)

    return script


async def until_closed(line: Line) -> None:
    await line.send(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + ramp(5.0))


@pytest.mark.parametrize("sent", [chunked(ramp(5.0)), until_closed, chunked(ramp(2.5), ramp(2.5, 40_000), wait=0.3)])
async def test_a_file_without_a_length_is_over_when_the_server_says_so(station: Any, sent: Any) -> None:
    made = await station(sent)
    audio = await source(made, **PCM).open()
    assert not audio.live
    assert len(await rest(audio)) == 5 * SECOND
    assert not audio.notes
    assert len(made.requests) == 1


async def test_a_file_without_a_length_that_breaks_off_and_begins_anew_is_not_heard_twice(station: Any) -> None:
    made = await station(chunked(ramp(1.0), end=b"5\r\n"), chunked(ramp(5.0)))
    parts: list[bytes] = []
    audio = await source(made, **PCM).open()
    with pytest.raises(AudioError, match="begins anew instead of going on"):
        await collect(audio, parts)
    await audio.aclose()
    assert b"".join(parts) == ramp(1.0)


async def test_a_stream_without_a_sign_of_a_station_goes_on_after_a_break(station: Any) -> None:
    made = await station(chunked(ramp(1.0), end=b"5\r\n"), chunked(ramp(1.0, 9000)))
    audio = await source(made, **PCM).open()
    assert await rest(audio) == ramp(1.0) + ramp(1.0, 9000)
    assert kinds(audio) == ["source"]


@pytest.mark.parametrize("header", ["Server: Icecast 2.4.4", "ice-audio-info: bitrate=128", "icy-br: 64"])
async def test_a_station_says_that_it_is_one(station: Any, header: str) -> None:
    async def script(line: Line) -> None:
        await line.send(f"HTTP/1.0 200 OK\r\n{header}\r\n\r\n".encode() + ramp(1.0))

    made = await station(script)
    audio = await source(made, **PCM).open()
    assert audio.live
    await hear(audio, 3.0)
    await audio.aclose()
    assert len(made.requests) >= 3


@pytest.mark.parametrize("second", ["aac", "mp3 at another rate", "ogg"])
async def test_another_codec_after_a_reconnect_is_decoded(
    station: Any, mp3: bytes, encoded: Any, tone: Any, second: str
) -> None:
    bodies = {
        "aac": encoded(tone(3.0, 44_100, 2), 44_100, "aac", "adts"),
        "mp3 at another rate": encoded(tone(3.0, 22_050), 22_050, "libmp3lame", "mp3"),
        "ogg": encoded(tone(3.0, 48_000), 48_000, "libopus", "ogg"),
    }
    made = await station(plays(mp3), plays(bodies[second]), answers("410 Gone"))
    audio = await source(made).open()
    parts: list[bytes] = []
    with pytest.raises(AudioError, match="410"):
        await collect(audio, parts)
    await audio.aclose()
    assert sum(map(len, parts)) / SECOND == pytest.approx(9.0, abs=0.15)
    assert {len(part) for part in parts[:-1]} == {3200}


@pytest.mark.parametrize("first", ["mp3", "ts"])
async def test_a_station_whose_codec_changes_in_the_middle_of_a_body_is_asked_again(
    station: Any, encoded: Any, tone: Any, first: str
) -> None:
    bodies = {
        "mp3": encoded(tone(6.0, 44_100), 44_100, "libmp3lame", "mp3", 64_000),
        "ts": encoded(tone(6.0, 44_100), 44_100, "aac", "mpegts", 64_000),
        "ogg": encoded(tone(6.0, 48_000), 48_000, "libopus", "ogg", 64_000),
    }

    async def changes(line: Line) -> None:
        await plays(bodies[first])(line)
        for _ in range(40):
            await asyncio.sleep(0.05)
            await line.send(bodies["ogg"][8192:12_288])

    made = await station(changes, plays(bodies["ogg"]), answers("410 Gone"))
    audio = await source(made, stall_timeout=0.3).open()
    parts: list[bytes] = []
    with pytest.raises(AudioError, match="410"):
        await collect(audio, parts)
    await audio.aclose()
    assert sum(map(len, parts)) / SECOND == pytest.approx(12.0, abs=0.7)
    assert any("can't be decoded" in note.text for note in audio.notes)


@pytest.mark.parametrize("codec", ["libopus", "flac"])
async def test_each_title_of_an_ogg_station_is_decoded(station: Any, encoded: Any, tone: Any, codec: str) -> None:
    title = encoded(tone(2.0, 48_000), 48_000, codec, "ogg")
    made = await station(plays(title, title, title))
    assert len(await rest(await source(made, reconnect=False).open())) / SECOND == pytest.approx(6.0, abs=0.1)


def test_waiting_grows_to_ten_seconds_with_full_jitter() -> None:
    rng = random.Random(4)
    longest = [max(backoff(tries, rng) for _ in range(500)) for tries in range(1, 9)]
    assert longest == pytest.approx([0.5, 1, 2, 4, 8, 10, 10, 10], rel=0.03)
    assert min(backoff(8, rng) for _ in range(500)) < 0.1
    assert [backoff(3, random.Random(1)) for _ in range(2)] == [backoff(3, random.Random(1))] * 2


# Bodies with a length


def file_server(data: bytes, *, cut: int, ranges: bool, etag: str = '"v1"') -> Callable[[Station], Any]:
    """Sends `cut` bytes an answer; with `ranges`, from the position that is asked for."""

    def script_of(made: Station) -> Callable[[Line], Awaitable[None]]:
        async def script(line: Line) -> None:
            request = made.requests[-1].decode()
            start = 0
            head = "HTTP/1.1 200 OK\r\n"
            if ranges and "Range: bytes=" in request:
                start = int(request.partition("Range: bytes=")[2].partition("-")[0])
                head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{len(data) - 1}/{len(data)}\r\n"
            head += f"Content-Length: {len(data) - start}\r\nETag: {etag}\r\n\r\n"
            await line.send(head.encode() + data[start : start + cut])

        return script

    return script_of


async def test_a_file_that_breaks_off_is_resumed_where_it_was(station: Any, wav: Any, tone: Any) -> None:
    sound = tone(3.0)
    data = wav(sound)
    made = await station()
    made.scripts.append(file_server(data, cut=30_000, ranges=True)(made))
    audio = await source(made).open()
    assert not audio.live
    assert await rest(audio) == sound.tobytes()
    assert len(made.requests) == 4
    assert b'If-Range: "v1"' in made.requests[1]
    assert kinds(audio) == ["source"] * 3
    assert all(note.missed == 0 for note in audio.notes)


async def test_a_file_that_breaks_off_and_cannot_be_resumed_is_an_error(station: Any, wav: Any, tone: Any) -> None:
    data = wav(tone(3.0))
    made = await station()
    made.scripts.append(file_server(data, cut=60_000, ranges=False)(made))
    audio = await source(made).open()
    got: list[bytes] = []
    with pytest.raises(AudioError, match=rf"after 60000 of {len(data)} bytes\), and it can't be resumed"):
        await collect(audio, got)
    await audio.aclose()
    assert 59_000 < sum(map(len, got)) <= 60_000
    assert len(made.requests) == 2


async def test_a_server_that_resumes_and_sends_nothing_is_given_up(station: Any, wav: Any, tone: Any) -> None:
    data = wav(tone(3.0))
    made = await station()
    made.scripts.append(file_server(data, cut=40_000, ranges=True)(made))
    made.scripts.append(file_server(data, cut=0, ranges=True)(made))
    audio = await source(made).open()
    with pytest.raises(AudioError, match="can't be resumed"):
        await rest(audio)
    assert len(made.requests) == 9


# While the kernel is busy


async def test_a_blocked_loop_loses_nothing_of_a_station(station_thread: Any) -> None:
    """The station gives up on a listener that does not read within 0.5 s; the caller's loop stands still for 1 s."""
    url, sent = station_thread
    audio = await URLSource(url, **PCM).open()
    await anext(audio)
    time.sleep(1.0)  # noqa: ASYNC251 - a blocked kernel is the point
    got = await hear(audio, 2.5)
    await audio.aclose()
    values = np.frombuffer(got, "<i2").astype(np.int64)
    assert set(np.diff(values) % 65536) == {1}
    assert not audio.notes
    assert sent["dropped"] == 0


@pytest.fixture
def station_thread() -> Any:
    """A station in a thread, in real time, with as little of a buffer as a socket may have."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    sent = {"dropped": 0}

    def serve() -> None:
        while not over.is_set():
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line, contextlib.suppress(OSError):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                line.settimeout(0.5)
                line.recv(4096)
                line.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                try:
                    for tick in range(10_000):
                        # 40 times real time: what sockets hold on the way is soon full.
                        line.sendall(ramp(0.4, tick * 6400))
                        if over.wait(0.01):
                            return
                except TimeoutError:
                    sent["dropped"] += 1

    thread = threading.Thread(target=serve, name="dgnb: test station")
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/", sent
    over.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


# Lifecycle


@pytest.mark.parametrize("stage", ["resolving", "connecting", "waiting for the answer", "stalled", "backing off"])
async def test_closing_takes_less_than_a_second_at_any_time(
    station: Any, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    reached = asyncio.Event()

    async def silent(line: Line) -> None:
        reached.set()
        await asyncio.Event().wait()

    made = await station(silent)
    found = source(made, **PCM)
    if stage == "resolving":
        loop = asyncio.get_running_loop()

        def slow(*args: Any, **kwargs: Any) -> list[Any]:
            loop.call_soon_threadsafe(reached.set)
            release.wait(10)
            return []

        found = URLSource("http://radio.invalid/live")
        found._policy.lookup = slow
    if stage == "connecting":
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        found = URLSource(f"http://127.0.0.1:{full.getsockname()[1]}/")
        reached.set()
    if stage in ("stalled", "backing off"):
        made.scripts[:] = [plays(ramp(1.0)) if stage == "backing off" else stays(plays(ramp(3.0)))]
        loop = asyncio.get_running_loop()
        found._wait = lambda tries: loop.call_soon_threadsafe(reached.set) and 60.0  # type: ignore[assignment, return-value]
        audio = await found.open()
        await hear(audio, 1.0)
        if stage == "backing off":
            await asyncio.wait_for(reached.wait(), 5)
        began = time.monotonic()
        await audio.aclose()
    else:
        task = asyncio.create_task(found.open())
        await asyncio.wait_for(reached.wait(), 5)
        await asyncio.sleep(0)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert time.monotonic() - began < 1.0
    release.set()
    if stage == "connecting":
        for sock in [*waiting, full]:
            sock.close()


async def test_a_thread_that_cannot_be_started_raises_one_clear_error(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await station(stays(plays(ramp(1.0))))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("dgnb: decode"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(AudioError, match="can't start new thread"):
        await source(made, **PCM).open()
    gc.collect()


# SHOUTcast


@pytest.mark.parametrize(
    "start", [b"ICY 200 OK\r\nicy-name: X\r\n\r\n", b"ICY 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n"]
)
@pytest.mark.parametrize("cut", [0, 1, 4, 14])
async def test_a_station_with_the_status_line_of_shoutcast_plays(
    station: Any, mp3: bytes, start: bytes, cut: int
) -> None:
    async def script(line: Line) -> None:
        for part in (start[:cut], start[cut:], mp3):
            await line.send(part)

    made = await station(stays(script))
    found = URLSource(made.url.replace("http://", "http://user:pass@") + "?x=1")
    audio = await found.open()
    assert audio.live
    await hear(audio, 5.0)
    await audio.aclose()
    (request,) = made.requests
    assert request.startswith(b"GET /live?x=1 HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic dXNlcjpwYXNz\r\n" in request


@pytest.mark.parametrize(
    "first", [b"ICY 401 No\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"", b"\x16\3\1\0\2\2P", b"ICY yes\r\n\r\n"]
)
async def test_a_server_that_does_not_speak_http_raises_one_clear_error(station: Any, first: bytes) -> None:
    async def script(line: Line) -> None:
        await line.send(first)

    made = await station(script)
    with pytest.raises(AudioError, match="Does the address open in a browser") as caught:
        await source(made, stall_timeout=1.0).open()
    assert "127.0.0.1" in str(caught.value)


def interleaved(audio: bytes, metaint: int, blocks: list[bytes]) -> bytes:
    out, blocks = b"", list(blocks)
    for start in range(0, len(audio), metaint):
        part = audio[start : start + metaint]
        out += part
        if len(part) == metaint:
            text = blocks.pop(0) if blocks else b""
            text += b"\0" * (-len(text) % 16)
            out += bytes([len(text) // 16]) + text
    return out


async def test_titles_are_reported_and_never_in_the_audio(station: Any) -> None:
    sound = ramp(2.0)
    blocks = [b"StreamTitle='One';", b"", b"StreamTitle='One';", "StreamTitle='Zwölf';StreamUrl='x';".encode("latin-1")]
    made = await station(plays(interleaved(sound, 8192, blocks), headers="icy-metaint: 8192\r\n"))
    audio = await source(made, reconnect=False, **PCM).open()
    assert await rest(audio) == sound
    assert [(note.type, note.text) for note in audio.notes] == [("title", "One"), ("title", "Zwölf")]
    assert b"\r\nIcy-MetaData: 1\r\n" in made.requests[0]


@given(
    audio=st.binary(max_size=300),
    metaint=st.integers(1, 50),
    blocks=st.lists(st.binary(max_size=80), max_size=8),
    cuts=st.lists(st.integers(0, 1500), max_size=30),
)
def test_no_byte_of_metadata_gets_into_the_audio_wherever_it_is_cut(
    audio: bytes, metaint: int, blocks: list[bytes], cuts: list[int]
) -> None:
    body = interleaved(audio, metaint, blocks)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    strip = icy.Stripper({"icy-metaint": str(metaint)})
    assert b"".join(strip(body[a:b]) for a, b in pairwise(edges)) == audio


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (b"StreamTitle='A - B';", "A - B"),
        (b"StreamTitle='Don't stop';StreamUrl='';\0\0\0", "Don't stop"),
        (b"StreamTitle='a;b';", "a;b"),
        ("StreamTitle='Ünï 😀';".encode(), "Ünï 😀"),
        (b"StreamTitle='caf\xe9';", "café"),
        (b"StreamTitle='\x1b[31mred\r\n\0 \xe2\x80\xae x';", "[31mred x"),
        (b"StreamTitle='" + b"x" * 4000 + b"';", "x" * 200),
        (b"StreamTitle='';", ""),
        (b"StreamUrl='x';", ""),
        (b"", ""),
    ],
)
def test_a_title_is_one_short_printable_line(block: bytes, words: str) -> None:
    assert icy.title(block) == words


@pytest.fixture(scope="module")
def mp3(encoded: Callable[..., bytes], tone: Callable[..., Samples]) -> bytes:
    return encoded(tone(6.0, 44_100), 44_100, "libmp3lame", "mp3", 64_000)


def id3(size: int) -> bytes:
    body = bytes((i * 7919 >> 3) & 255 for i in range(size))  # as a cover, full of what looks like the start of a frame
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + body


async def test_a_tag_in_the_middle_of_a_station_is_passed_over(station: Any, mp3: bytes) -> None:
    tag = id3(150_000)
    made = await station(stays(plays(mp3, tag, mp3, tag, mp3)))
    audio = await source(made).open()
    got = await asyncio.wait_for(hear(audio, 8.8), 10)
    await audio.aclose()
    assert len(got) / SECOND >= 8.8
    assert not audio.notes

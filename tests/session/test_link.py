"""One connection, from its first audio to its last message, against the loopback server."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection

import dgnb
from dgnb import LiveOptions, Transcript
from dgnb.audio import AudioSource
from dgnb.exceptions import CloseTimeout, ConnectionLost
from dgnb.loopback import Script
from dgnb.session.budget import Budget
from dgnb.session.capture import Capture
from dgnb.session.link import Link
from dgnb.session.stop import Stop
from tests.session.test_reconnect import final, metadata, plain
from tests.session.test_session import TEXT, Tap
from tests.support.faulty import FaultyServer
from tests.support.speech import speech
from tests.support.waiting import until

RAW = LiveOptions(encoding="linear16", sample_rate=16000)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script(TEXT)) as server:
        yield server


def nothing() -> None: ...


@asynccontextmanager
async def linked(
    url: str,
    source: AudioSource,
    *,
    elsewhere: bool = False,
    drain_timeout: float = 10.0,
    progress: Callable[[], None] = nothing,
    draining: Callable[[], None] = nothing,
) -> AsyncIterator[Link]:
    transcript = Transcript()
    capture = Capture(source, transcript, None, None)
    await capture.open(multichannel=False)
    try:
        async with dgnb.connect(RAW, endpoint=url) as connection:
            yield Link(
                connection,
                0,
                capture,
                transcript,
                Stop(),
                Budget(transcript, math.inf),
                drain_timeout,
                elsewhere=elsewhere,
                watched=False,
                answers_silence=False,
                notify=nothing,
                progress=progress,
                draining=draining,
            )
    finally:
        await capture.close()


async def test_all_audio_is_sent_and_heard_and_then_it_is_the_last(server: FaultyServer) -> None:
    told: list[str] = []
    async with linked(
        server.url, speech(6), progress=lambda: told.append("progress"), draining=lambda: told.append("draining")
    ) as link:
        assert await link.run() is True
        assert link.transcript.text == TEXT
        assert (link.capture.audio_cursor, link.capture.pending) == (6.0, 0.0)
    assert told.count("draining") == 1
    assert told[-1] == "progress"


async def test_other_options_end_it_before_the_source_has(server: FaultyServer) -> None:
    tap = Tap()
    tap.give(2)
    async with linked(server.url, tap.source()) as link:
        running = asyncio.ensure_future(link.run())
        await until(lambda: link.capture.audio_cursor > 1.8)
        link.change_options(True)
        assert await running is False
        # A cut where a final ended: what has no final is for the next connection, and nothing is lost.
        assert link.capture.ledger.gaps == []
        assert link.capture.pending == pytest.approx(2.0, abs=0.11)


async def test_a_change_that_was_taken_back_ends_nothing(server: FaultyServer) -> None:
    tap = Tap()
    tap.give(1)
    async with linked(server.url, tap.source()) as link:
        running = asyncio.ensure_future(link.run())
        await until(lambda: link.capture.audio_cursor > 0.8)
        link.change_options(True)
        link.change_options(False)
        tap.give(5)
        tap.end()
        assert await running is True
        assert link.transcript.text == TEXT


async def test_a_stop_ends_it_with_the_words_of_what_was_sent(server: FaultyServer) -> None:
    tap = Tap()
    tap.give(2)
    async with linked(server.url, tap.source()) as link:
        running = asyncio.ensure_future(link.run())
        await until(lambda: link.capture.audio_cursor > 1.8)
        link.stop.ask(asyncio.get_running_loop().time())
        link.wake()
        assert await running is True
        assert link.transcript.text.startswith("one two three")
        assert link.capture.ledger.acknowledged == link.capture.ledger.sent


async def test_results_that_go_elsewhere_count_all_that_was_sent_as_heard(server: FaultyServer) -> None:
    with server.silent():
        async with linked(server.url, speech(6), elsewhere=True, drain_timeout=0.05) as link:
            with pytest.raises(CloseTimeout):
                await link.run()
            assert (link.capture.audio_cursor, link.capture.pending) == (6.0, 0.0)


@pytest.mark.parametrize("heard", [5.8, 5.6])
async def test_a_server_that_does_not_finish_is_no_error_where_all_was_heard(heard: float) -> None:
    async def handler(socket: ServerConnection) -> None:
        async for message in socket:
            if isinstance(message, str):
                await socket.send(final(0, heard, "hello"))

    async with plain(handler) as url, linked(url, speech(6), drain_timeout=0.2) as link:
        if heard == 5.6:
            with pytest.raises(CloseTimeout):
                await link.run()
            return
        assert await link.run() is True
        (text,) = link.transcript.events.query("type == 'warning'")["text"]
        assert text == "All was heard, but the server did not say that it had finished."
        assert link.capture.pending == 0.0


async def test_a_server_that_does_not_finish_for_other_options_is_lost(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Audio that is no longer kept can't be sent again, so its finals are awaited.
    monkeypatch.setattr("dgnb.session.capture.BUFFER_SECONDS", 0.5)
    tap = Tap()
    tap.give(2)
    with server.silent():
        async with linked(server.url, tap.source(), drain_timeout=0.05) as link:
            running = asyncio.ensure_future(link.run())
            await until(lambda: link.capture.audio_cursor > 1.8)
            link.change_options(True)
            tap.end()
            with pytest.raises(ConnectionLost, match="close_timeout"):
                await running


@pytest.mark.parametrize("text", ["", "Hello there."])
async def test_empty_finals_for_silence_are_noticed(text: str) -> None:
    async with FaultyServer(Script(text)) as server:
        tap = Tap()
        tap.give(2)
        async with linked(server.url, tap.source()) as link:
            running = asyncio.ensure_future(link.run())
            await until(lambda: link.capture.audio_cursor > 1.8)
            assert link.answers_silence is False
            tap.give(8)
            await until(lambda: link.answers_silence)
            tap.end()
            await running


async def test_cancelling_leaves_the_connection_open_and_no_task(server: FaultyServer) -> None:
    tap = Tap()
    tap.give(1)
    async with linked(server.url, tap.source()) as link:
        running = asyncio.ensure_future(link.run())
        await until(lambda: link.capture.audio_cursor > 0.8)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert [task for task in asyncio.all_tasks() if task.get_name() in ("dgnb: send", "dgnb: receive")] == []
        await link.connection.keep_alive()


async def test_finals_out_of_order_cover_only_what_has_no_hole() -> None:
    """The final of 2 to 4 s comes last. Where the connection is lost before that, the next one begins at 2 s."""
    begins: list[float] = []

    async def handler(socket: ServerConnection) -> None:
        received = 0
        begins.append(0.0)
        async for frame in socket:
            received += len(frame) if isinstance(frame, bytes) else 0
            if len(begins) == 1 and received > 5.7 * 32_000:
                await socket.send(final(0, 2, "one"))
                await socket.send(final(4, 2, "three"))
                await socket.close(1011)
                return
            if frame == '{"type":"CloseStream"}':
                begins[-1] = 6 - received / 32_000
                await socket.send(final(2, 2, "three"))
                await socket.send(final(0, 2, "two"))
                await socket.send(metadata(received / 32_000))
                return

    tap = Tap()
    tap.give(6)
    async with plain(handler) as url:
        session = dgnb.LiveSession(tap.source(), endpoint=url, pace=None).start()
        await until(lambda: len(begins) == 2)
        tap.end()
        transcript = await session
    assert begins == [0.0, 2.0]
    words = transcript.words.sort_values("start")
    assert words[["word", "start"]].to_numpy().tolist() == [["one", 0.0], ["two", 2.0], ["three", 4.0]]
    assert transcript.gaps.empty


FROZEN = """
import asyncio, sys, dgnb
from dgnb.session import stream
stream.PING_TIMEOUT = 1.5

async def main():
    finalized = asyncio.Event()

    async def audio():
        yield bytes(32_000)
        await finalized.wait()  # however slow this machine is
        yield bytes(32_000)

    source = dgnb.BufferSource(audio(), encoding="linear16", sample_rate=16000)
    session = dgnb.LiveSession(source, endpoint=sys.argv[1], reconnect=False, close_timeout=0.5).start()
    if sys.argv[2] == "Finalize":
        while session.audio_cursor < 0.8 and not await session.wait(0.05):
            pass
        print(await session.finalize())
    finalized.set()
    print((await session).text, len(session.transcript.gaps))

asyncio.run(main())
"""


async def test_what_came_while_the_process_was_frozen_is_read_before_anything_is_late() -> None:
    """The child is stopped with SIGSTOP, and the answers wait in its socket for longer than it waits for any."""
    # All at once: they wait for real time, not for each other.
    whens = ("audio", "Finalize", "CloseStream")
    printed = await asyncio.gather(*map(frozen_child, whens))
    assert printed == [["one two 0"], ["True", "one two 0"], ["one two 0"]]


async def frozen_child(when: str) -> list[str]:
    """What a session prints in a process that was frozen when such a frame came."""
    received, frozen = 0, False

    async def handler(socket: ServerConnection) -> None:
        nonlocal received, frozen
        async for frame in socket:
            kind = json.loads(frame)["type"] if isinstance(frame, str) else "audio"
            received += len(frame) if kind == "audio" else 0
            freeze = kind == when and not frozen and received > 16_000
            if freeze:
                frozen = True
                child.send_signal(signal.SIGSTOP)
            if kind == "Finalize" or (freeze and kind == "audio"):
                answer = json.loads(final(0, received / 32_000, "one")) | {"from_finalize": kind == "Finalize"}
                await socket.send(json.dumps(answer))
            if kind == "CloseStream":
                begin = 0 if when == "CloseStream" else 1
                for text in ["one", "two"][begin:]:
                    await socket.send(final(0.5 * (text == "two"), received / 32_000, text))
                await socket.send(metadata(received / 32_000))
            if freeze:
                await asyncio.sleep(2.5)
                child.send_signal(signal.SIGCONT)

    async with plain(handler) as url:
        how = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", FROZEN, url, when, **how)
        try:
            told, _ = await asyncio.wait_for(child.communicate(), 30)
        finally:
            if child.returncode is None:
                child.kill()
    assert frozen
    return told.decode().splitlines()

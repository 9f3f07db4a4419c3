"""Which sessions `sessions()` lists, and what becomes of them at the end of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

import dgnb
from dgnb import LiveSession, transcribe
from dgnb.loopback import Script
from tests.session.test_session import Tap
from tests.support.faulty import FaultyServer
from tests.support.speech import speech
from tests.support.waiting import until


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("one two three four five six seven eight nine ten")) as server:
        yield server


async def test_sessions_lists_what_runs_and_what_ended_last(server: FaultyServer) -> None:
    tap = Tap()
    await transcribe(speech(1), endpoint=server.url, pace=None)
    running = LiveSession(tap.source(), endpoint=server.url, pace=None).start()
    await transcribe(speech(2), endpoint=server.url, pace=None)
    listed = dgnb.sessions()
    assert listed[0] is running
    assert [session.audio_cursor for session in listed] == [0.0, 2.0]
    await running.stop()


async def test_a_session_is_listed_from_its_start_on(server: FaultyServer) -> None:
    await transcribe(speech(1), endpoint=server.url, pace=None)
    before = dgnb.sessions()
    session = LiveSession(speech(1), endpoint=server.url, pace=None)
    assert dgnb.sessions() == before
    session.start()
    assert dgnb.sessions() == [*before, session]
    await session
    assert dgnb.sessions() == [session]


EXITING = """
import asyncio, sys
import dgnb

async def silence():
    while True:
        yield bytes(3200)
        await asyncio.sleep(0.01)

async def begin(url):
    source = dgnb.BufferSource(silence(), encoding="linear16", sample_rate=16000)
    session = dgnb.LiveSession(source, endpoint=url, pace=None).start()
    while session.audio_cursor < 0.3:
        await asyncio.sleep(0.01)

loops = [asyncio.new_event_loop() for _ in range(2)]
for loop in loops:
    loop.run_until_complete(begin(sys.argv[1]))
# As some kernels end: the loops only stop.
"""


async def test_sessions_of_each_loop_that_only_stopped_are_closed_when_the_process_exits(
    server: FaultyServer,
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EXITING, server.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0, err.decode()
    await until(lambda: [connection.close_code for connection in server.connections] == [1000, 1000])
    for connection in server.connections:
        assert connection.texts[-1] == '{"type":"CloseStream"}'

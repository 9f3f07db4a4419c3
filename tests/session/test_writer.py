"""The journal of a session: on disk, and never in the way."""

from __future__ import annotations

import asyncio
import errno
import io
import itertools
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dgnb import LiveSession, Transcript
from dgnb.loopback import Script
from tests.session.test_session import speech, until
from tests.support.faulty import FaultyServer

TEXT = "one two three four five six seven eight nine ten"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script(TEXT, repeat=True)) as server:
        yield server


Disk = Callable[[Callable[[int], None]], None]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """`disk(before)`: calls `before(number)` in the thread that writes, before each write to a journal's file."""

    def made(before: Callable[[int], None]) -> None:
        class File(io.FileIO):
            writes = 0

            def write(self, data: Any) -> int:
                before(self.writes)
                self.writes += 1
                return super().write(data)

        def opened(path: Path, mode: str, buffering: int, opener: Any) -> File:
            return File(path, mode.replace("b", ""), opener=opener)

        monkeypatch.setattr("dgnb.transcript.journal.open", opened, raising=False)

    return made


def figure(session: LiveSession, name: str) -> float:
    found = re.search(rf"{name} (\d+\.\d) s", session.report())
    assert found
    return float(found[1])


def warnings(session: LiveSession) -> list[str]:
    return session.transcript.events.query("type == 'warning'")["text"].tolist()


async def test_a_disk_that_takes_two_seconds_a_write_delays_no_frame(
    server: FaultyServer, tmp_path: Path, disk: Disk
) -> None:
    disk(lambda number: time.sleep(2.0))
    session = LiveSession(speech(4), endpoint=server.url, journal=tmp_path / "talk.jsonl")
    transcript = await session
    (connection,) = server.connections
    assert max(b - a for a, b in itertools.pairwise(connection.frame_times)) < 0.8
    assert figure(session, "longest time the kernel was busy") < 0.8
    assert figure(session, "longest time the kernel was busy") < 0.8
    assert warnings(session) == []
    loaded = Transcript.load(tmp_path / "talk.jsonl")
    assert loaded.events["type"].tolist() == transcript.events["type"].tolist()
    assert loaded.text == transcript.text


async def test_a_disk_that_hangs_does_not_hold_up_a_stop_and_gets_the_rest_later(
    server: FaultyServer, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.stop.TOTAL", 0.5)
    works = threading.Event()
    disk(lambda number: number == 0 or works.wait(30))
    path = tmp_path / "talk.jsonl"
    session = LiveSession(speech(), endpoint=server.url, pace=None, journal=path).start()
    try:
        await until(lambda: session.audio_cursor > 1)
        began = time.monotonic()
        transcript = await session.stop()
        assert time.monotonic() - began < 2
    finally:
        works.set()
    assert "disk is slow" in warnings(session)[-1]
    # The rest is written in the background.
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "dgnb: close the journal"])
    assert "closed" in Transcript.load(path).events["type"].tolist()
    assert Transcript.load(path).text == transcript.text


async def test_a_stop_while_the_disk_makes_the_file_leaves_a_whole_journal(
    server: FaultyServer, tmp_path: Path, disk: Disk
) -> None:
    makes, goes_on = threading.Event(), threading.Event()

    def held(number: int) -> None:
        if number == 0:
            makes.set()
            goes_on.wait(30)

    disk(held)
    path = tmp_path / "talk.jsonl"
    session = LiveSession(speech(), endpoint=server.url, journal=path).start()
    await until(makes.is_set)
    stopping = asyncio.ensure_future(session.stop())
    await asyncio.sleep(0)
    goes_on.set()
    await stopping
    assert Transcript.load(path).events["type"].tolist() == ["closed"]
    assert server.requests == []


async def test_a_full_disk_is_reported_once_and_the_stream_goes_on(
    server: FaultyServer, tmp_path: Path, disk: Disk
) -> None:
    def full(number: int) -> None:
        if number:
            raise OSError(errno.ENOSPC, "No space left on device")

    disk(full)
    session = LiveSession(speech(), endpoint=server.url, pace=4.0, journal=tmp_path / "talk.jsonl")
    transcript = await session
    assert session.error is None
    assert transcript.text.startswith(TEXT)
    (warning,) = warnings(session)
    assert "can't be written" in warning


async def test_a_disk_that_is_full_for_a_while_is_told_and_the_journal_is_whole_again(
    server: FaultyServer, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.watch._WRITE", 0.0)
    full = False

    def writes(number: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    disk(writes)
    path = tmp_path / "talk.jsonl"
    session = LiveSession(speech(), endpoint=server.url, pace=4.0, journal=path).start()
    await until(lambda: session.transcript.word_count)
    full = True
    await until(lambda: warnings(session))
    full = False
    await until(lambda: len(warnings(session)) > 1)
    transcript = await session
    first, second = warnings(session)
    assert "Make room there" in first
    assert "is written again" in second
    assert Transcript.load(path).messages == transcript.messages
    assert Transcript.load(path).events["text"].tolist() == transcript.events["text"].tolist()


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "emptied"])
async def test_a_journal_whose_file_is_taken_away_is_told_once_and_written_anew(
    server: FaultyServer, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.watch._WRITE", 0.0)
    path = tmp_path / "talk.jsonl"
    session = LiveSession(speech(), endpoint=server.url, pace=4.0, journal=path).start()
    await until(lambda: session.transcript.word_count)
    if how == "emptied":
        path.write_bytes(b"")
    else:
        path.rename(tmp_path / "elsewhere.jsonl")
    if how == "removed":
        (tmp_path / "elsewhere.jsonl").unlink()
    elif how == "replaced":
        path.write_text("another file")
    await until(lambda: warnings(session))
    transcript = await session
    (warning,) = warnings(session)
    assert warning.startswith(f"The journal '{path}' was ")
    loaded = Transcript.load(tmp_path / "elsewhere.jsonl" if how == "replaced" else path)
    assert loaded.messages == transcript.messages
    assert loaded.events["text"].tolist() == transcript.events["text"].tolist()
    if how == "replaced":
        assert path.read_text() == "another file"


async def test_a_journal_that_is_removed_at_the_end_is_written_anew_before_it_is_closed(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.session.watch._WRITE", 1e9)
    path = tmp_path / "talk.jsonl"
    session = LiveSession(speech(), endpoint=server.url, pace=4.0, journal=path).start()
    await until(lambda: session.transcript.word_count)
    path.unlink()
    transcript = await session
    assert Transcript.load(path).messages == transcript.messages


EXITING = """
import asyncio, sys
import dgnb

async def begin(url, path):
    source = dgnb.BufferSource(bytes(32_000 * 60), encoding="linear16", sample_rate=16_000)
    session = dgnb.LiveSession(source, endpoint=url, pace=4.0, journal=path).start()
    while session.audio_cursor < 1:
        await asyncio.sleep(0.01)

loop = asyncio.new_event_loop()
loop.run_until_complete(begin(*sys.argv[1:]))
"""


async def test_a_process_that_exits_with_a_stopped_loop_leaves_a_whole_journal(
    server: FaultyServer, tmp_path: Path
) -> None:
    path = tmp_path / "talk.jsonl"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EXITING, server.url, str(path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0, err.decode()
    loaded = Transcript.load(path)
    assert loaded.events["type"].tolist()[-1] == "closed"
    assert loaded.transcript_cursor >= 1

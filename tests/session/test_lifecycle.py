"""Sessions from start to end: anything may be done to them, and any part may fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dgnb
from dgnb import LiveSession, State
from dgnb.audio import Audio
from dgnb.exceptions import AudioError, DgnbError
from dgnb.loopback import Script
from dgnb.session.watch import Watch
from tests.support.faulty import FaultyServer
from tests.support.sim import cycles
from tests.support.speech import speech
from tests.support.waiting import until

MOMENT = 10.0


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    script = Script("one two three", repeat=True, words_per_second=6, start=0.1, gap=0.3)
    async with FaultyServer(script) as server:
        yield server


@pytest.fixture(autouse=True)
async def nothing_is_told_to_the_loop_alone() -> AsyncIterator[None]:
    """An exception that only the loop's exception handler sees fails the test."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(f"{context['message']}: {context.get('exception')!r}"))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert not told


# Many sessions


async def test_sessions_stopped_at_any_moment_leave_nothing_behind() -> None:
    leaks, _ = await cycles.run(25, seed=1, warm_up=len(cycles.MOMENTS), parts=1)
    assert leaks == []


async def test_sources_that_hang_or_hold_no_audio_leave_nothing_behind_and_stop_in_time(tmp_path: Path) -> None:
    leaks, stops = await cycles.run_sources(2, 1, tmp_path)
    assert leaks == []
    assert [kind for kind, seconds in stops.items() if seconds > cycles.LONGEST_STOP] == []


@pytest.mark.parametrize("seed", range(12))
async def test_a_session_ends_well_whatever_is_done_to_it(server: FaultyServer, seed: int) -> None:
    dice = random.Random(seed)
    session = LiveSession(speech(60), endpoint=server.url, pace=None if seed % 2 else 20.0, interim_results=True)
    beside: set[asyncio.Task[Any]] = set()

    def begin(work: Awaitable[Any]) -> None:
        beside.add(asyncio.ensure_future(work))

    with contextlib.ExitStack() as faults:
        acts: list[Callable[[], Any]] = [
            session.start,
            session.start,
            session.pause,
            session.resume,
            lambda: begin(session.finalize()),
            lambda: begin(session.apply(dgnb.LiveOptions(smart_format=dice.random() < 0.5))),
            lambda: begin(session.apply(dgnb.LiveOptions(keyterm=[str(dice.random())]))),
            lambda: begin(session.wait(0.01)),
            lambda: faults.enter_context(server.dropping(after=dice.uniform(0, 2), times=1)),
            lambda: faults.enter_context(server.rejecting(503, times=1)),
            lambda: faults.enter_context(server.refusing_to_close()) if dice.random() < 0.1 else None,
            lambda: faults.enter_context(server.unresponsive(times=1)) if dice.random() < 0.2 else None,
            lambda: beside and dice.choice(sorted(beside, key=id)).cancel(),
        ]
        for _ in range(dice.randrange(25)):
            dice.choice(acts)()
            if dice.random() < 0.7:
                await asyncio.sleep(dice.choice([0, 0, 0.005, 0.05]))
        if dice.random() < 0.5:
            begin(session.stop())
        began = time.monotonic()
        with contextlib.suppress(DgnbError):
            await session.stop()
        assert time.monotonic() - began < 5.0
    assert session.state is State.CLOSED
    requests = len(server.requests)
    session.start()
    session.pause()
    session.resume()
    began = time.monotonic()
    await session.stop()
    assert time.monotonic() - began < 0.1
    outcomes = await asyncio.gather(*beside, return_exceptions=True)
    assert [o for o in outcomes if isinstance(o, BaseException) and not isinstance(o, _EXPECTED)] == []
    await asyncio.sleep(0.05)
    assert len(server.requests) == requests
    assert session.state is State.CLOSED
    assert not session.reconnecting


_EXPECTED = (DgnbError, asyncio.CancelledError)


# Sessions without a reference


async def test_a_session_without_a_reference_goes_on_and_is_listed(server: FaultyServer) -> None:
    held = weakref.ref(LiveSession(speech(60), endpoint=server.url, pace=1.0).start())
    gc.collect()
    found = dgnb.sessions()[-1]
    assert found is held()
    sent = found.audio_cursor
    await until(lambda: found.audio_cursor > sent)
    await found.stop()


async def test_a_session_that_was_never_started_is_collected_silently(server: FaultyServer) -> None:
    session = LiveSession(speech(60), endpoint=server.url)
    held = weakref.ref(session)
    del session
    gc.collect()
    assert held() is None
    assert not [s for s in dgnb.sessions() if s.state is not State.CLOSED]


# Forks

FORKING = """
import asyncio, atexit, gc, multiprocessing, os, sys
import dgnb

async def silence():
    while True:
        yield bytes(3200)
        await asyncio.sleep(0.1)

def job():
    print("job", len(dgnb.sessions()), flush=True)

async def main(url, how):
    source = dgnb.BufferSource(silence(), encoding="linear16", sample_rate=16000)
    session = dgnb.LiveSession(source, endpoint=url).start()
    while session.audio_cursor < 0.3:
        await asyncio.sleep(0.01)
    sent = session.audio_cursor
    if how == "multiprocessing":
        child = multiprocessing.get_context("fork").Process(target=job)
        child.start()
        await asyncio.to_thread(child.join, 10)
        assert child.exitcode == 0, child.exitcode
    else:
        pid = os.fork()
        if not pid:
            assert dgnb.sessions() == []
            del session, source
            gc.collect()
            if how == "hooks":
                atexit._run_exitfuncs()
            if how == "transcribe":
                speech = dgnb.BufferSource(bytes(32000), encoding="linear16", sample_rate=16000)
                transcript = asyncio.run(dgnb.transcribe(speech, endpoint=url))
                assert transcript.text.startswith("one two"), transcript
            os._exit(0)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert status == 0, status
    while session.audio_cursor < sent + 0.4:
        await asyncio.sleep(0.01)
    await session.stop()
    assert session.error is None, session.error
    print("parent", session.transcript.events["type"].tolist().count("opened"), session.transcript.gaps.empty)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("how", ["exit", "hooks", "transcribe", "multiprocessing"])
async def test_a_forked_child_leaves_the_connection_to_its_parent(server: FaultyServer, how: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKING, server.url, how, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0, err.decode()
    assert err == b""
    assert out.decode().splitlines()[-1] == "parent 1 True"
    assert len(server.connections) == 1 + (how == "transcribe")
    connection = server.connections[0]
    assert [text for text in connection.texts if "KeepAlive" not in text] == ['{"type":"CloseStream"}']
    assert (connection.close_code, connection.violations) == (1000, [])


# Injected faults


class Injected(Exception):
    pass


async def fail(*args: Any, **kwargs: Any) -> Any:
    await asyncio.sleep(0.01)
    raise Injected


def fail_at_once(*args: Any, **kwargs: Any) -> Any:
    raise Injected


WHERE = [
    "link.Link._send",
    "link.Link._receive",
    "link.Link._drain",
    "stream.Stream._open",
    "stream.Stream._back_off",
    "stream.connect",
    "capture.Capture.something_to_send",
    "ledger.Ledger.capture",
    "ledger.Ledger.advance",
    "ledger.Ledger.acknowledge",
    "ledger.Ledger.rewind",
    "retry.Retry.delay",
]


@pytest.mark.parametrize("where", WHERE)
async def test_a_fault_in_any_part_is_reported_once_as_the_sessions_error(
    server: FaultyServer, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(f"dgnb.session.{where}", fail_at_once if where.startswith(("ledger", "retry")) else fail)
    session = LiveSession(speech(2), endpoint=server.url, pace=5.0).start()
    dropped = where.rpartition(".")[2] in ("something_to_send", "_back_off", "rewind", "delay")
    with server.dropping(times=1) if dropped else contextlib.nullcontext():
        await until(lambda: session.state is State.CLOSED)
    assert isinstance(session.error, Injected)
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert told[0].exc_info
    assert session.transcript.events["type"].tolist().count("error") == 1
    await session.stop()
    with pytest.raises(Injected):
        await session


async def test_a_watch_that_fails_is_reported_once_and_the_stream_goes_on(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Watch, "run", fail)
    transcript = await LiveSession(speech(2), endpoint=server.url, pace=10)
    assert transcript.transcript_cursor == 2.0
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert told[0].exc_info
    assert transcript.events["text"].str.contains("Injected").sum() == 1


@pytest.mark.parametrize("where", ["open", "chunks", "close"])
async def test_a_custom_source_that_fails_ends_the_session_with_its_error(server: FaultyServer, where: str) -> None:
    class Source(dgnb.AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            if where == "open":
                raise Injected

            async def chunks() -> AsyncIterator[bytes]:
                yield bytes(3200)
                if where == "chunks":
                    raise Injected

            async def close() -> None:
                if where == "close":
                    raise Injected

            return Audio(chunks(), close)

    with pytest.raises(Injected):
        await LiveSession(Source(), endpoint=server.url, pace=None)


async def test_an_error_in_feed_ends_the_session_with_that_error(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise Injected

    session = LiveSession(speech(60), endpoint=server.url, pace=None)
    monkeypatch.setattr(session.transcript, "feed", broken)
    with pytest.raises(Injected):
        await asyncio.wait_for(session, MOMENT)


@pytest.mark.parametrize("where", ["ledger.Ledger.close", "stop.Stop.journal_deadline", "stream.figures"])
async def test_a_fault_while_the_session_closes_still_closes_it(
    server: FaultyServer, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise Injected

    monkeypatch.setattr(f"dgnb.session.{where}", broken)
    session = LiveSession(speech(1), endpoint=server.url, pace=None)
    with pytest.raises(Injected):
        await asyncio.wait_for(session, 3)
    assert session.state is State.CLOSED


# No threads, no file descriptors


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("dgnb: "):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


@pytest.mark.usefixtures("no_threads")
async def test_a_source_without_a_thread_says_so(server: FaultyServer) -> None:
    for source in (speech(60), dgnb.samples.path(), f"{server.radio_url}"):
        with pytest.raises(AudioError, match=r"can't start new thread.*Too much runs here"):
            await LiveSession(source, endpoint=server.url)
    await until(lambda: not [connection for connection in server.connections if connection.is_open])
    assert not [s for s in dgnb.sessions() if s.state is not State.CLOSED]


@pytest.mark.usefixtures("no_threads")
async def test_run_without_a_thread_says_so_and_leaves_no_loop_open() -> None:
    work = asyncio.sleep(0)
    with pytest.raises(DgnbError, match=r"can't start new thread.*Too much runs here"):
        await asyncio.to_thread(dgnb.run, work)


STARVING = """
import asyncio, gc, os, resource, sys
import dgnb

async def main(url, station, sample):
    # Everything is imported and has run once.
    await dgnb.transcribe(sample, endpoint=url, duration=0.2, pace=None)
    await dgnb.transcribe(station, endpoint=url, duration=0.2, pace=None)
    before = len(os.listdir("/proc/self/fd"))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for spare in range(4):
        for source in (sample, station, bytes(320000)):
            raw = {"encoding": "linear16", "sample_rate": 16000} if isinstance(source, bytes) else {}
            try:
                await dgnb.transcribe(source, endpoint=url, duration=0.2, pace=None, reconnect=False, **raw)
                print("well")
            except dgnb.DgnbError as error:
                print(type(error).__name__, error)
        os.close(held.pop())
    for descriptor in held:
        os.close(descriptor)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before, os.listdir("/proc/self/fd")
    assert [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []
    print((await dgnb.transcribe(sample, endpoint=url, duration=0.2, pace=None)).transcript_cursor)

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
asyncio.run(main(*sys.argv[1:]))
"""


async def test_too_few_file_descriptors_are_one_clear_error_and_the_next_session_works(
    server: FaultyServer,
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-W", "error", "-c", STARVING, server.url, server.radio_url, str(dgnb.samples.path())),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0, out.decode() + err.decode()
    lines = out.decode().splitlines()
    assert lines[-1] == "0.2"
    assert any("Too many open files" in line for line in lines[:-1]), lines
    assert [line for line in lines[:-1] if line != "well" and "Too many open files" not in line] == []
    assert "never" not in err.decode()


# Isolation


async def test_changing_a_table_changes_only_that_table(server: FaultyServer) -> None:
    session = LiveSession(speech(8), endpoint=server.url, pace=20.0, interim_results=True).start()
    names = ("words", "utterances", "results", "events", "gaps")
    while session.state is not State.CLOSED:
        for name in names:
            table: pd.DataFrame = getattr(session.transcript, name)
            for column in table.columns:
                table[column] = None
            table.columns = [f"mine {column}" for column in table.columns]
        await asyncio.sleep(0.01)
    transcript = session.transcript
    assert transcript.words["word"].tolist()[:4] == ["one", "two", "three", "one"]
    assert transcript.words["end"].max() == pytest.approx(8, abs=0.5)
    for name in names:
        assert not [column for column in getattr(transcript, name).columns if column.startswith("mine")]
    assert session.error is None


async def test_a_session_that_fails_does_not_affect_another_one(server: FaultyServer) -> None:
    well = LiveSession(speech(4), endpoint=server.url, pace=4.0).start()

    async def broken() -> AsyncIterator[bytes]:
        yield bytes(32_000)
        raise Injected

    ill = LiveSession(dgnb.BufferSource(broken(), encoding="linear16", sample_rate=16_000), endpoint=server.url)
    with pytest.raises(AudioError):
        await ill
    assert well.state is State.OPEN
    ill.transcript.observe(lambda _: None)
    await well
    assert well.transcript.gaps.empty
    assert well.transcript.transcript_cursor == pytest.approx(4, abs=0.25)
    assert "error" not in well.transcript.events["type"].tolist()


async def test_rebinding_a_name_leaves_both_sessions_running(server: FaultyServer) -> None:
    session = LiveSession(speech(60), endpoint=server.url).start()
    first = weakref.ref(session)
    session = LiveSession(speech(60), endpoint=server.url).start()
    gc.collect()
    running = [s for s in dgnb.sessions() if s.state is not State.CLOSED]
    assert running == [first(), session]
    for one in running:
        await one.stop()

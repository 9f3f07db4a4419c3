"""`run()`, for code that can't await: its results, its errors, interrupts, and the life of its thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import dgnb
from dgnb import blocking
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer


@pytest.fixture(autouse=True)
def helper_ends_with_the_test(no_thread_or_process_is_left: None) -> Iterator[None]:
    yield
    blocking.stop()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server on the helper's loop, because the test's own loop waits."""
    server = FaultyServer(Script("one two three", repeat=True))
    dgnb.run(server.__aenter__())
    yield server
    dgnb.run(server.__aexit__(None, None, None))


async def chunks(seconds: float = 1.0) -> AsyncIterator[bytes]:
    for _ in range(round(seconds * 10)):
        yield bytes(3200)


def source(seconds: float = 1.0) -> dgnb.BufferSource:
    return dgnb.BufferSource(chunks(seconds), encoding="linear16", sample_rate=16000)


async def answer() -> int:
    return 42


async def interrupted(ended: list[str], *, deaf: asyncio.Event | None = None) -> None:
    """Interrupt the waiting caller, and record how the coroutine ended."""
    try:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("cancelled")
        if deaf is not None:
            await deaf.wait()
        raise


# Running


def test_it_returns_the_result() -> None:
    assert dgnb.run(answer()) == 42


def test_it_raises_what_the_coroutine_raises() -> None:
    error = KeyError("mine")

    async def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        dgnb.run(fail())
    assert caught.value is error


@pytest.mark.parametrize("kind", [TimeoutError, asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_errors_that_loops_treat_specially_reach_the_caller_and_the_next_call_works(
    kind: type[BaseException],
) -> None:
    async def fail() -> None:
        raise kind

    with pytest.raises(kind):
        dgnb.run(fail())
    assert dgnb.run(answer()) == 42


def test_all_calls_share_one_loop_in_one_daemon_thread() -> None:
    async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        return asyncio.get_running_loop(), threading.current_thread()

    first, second = dgnb.run(where()), dgnb.run(where())
    assert first == second
    assert first[1].daemon
    assert first[1] is not threading.current_thread()


def test_it_works_where_a_loop_runs() -> None:
    async def cell() -> int:
        return dgnb.run(answer())

    assert asyncio.run(cell()) == 42


async def test_threads_may_call_it_at_the_same_time() -> None:
    barrier = asyncio.Barrier(4)

    async def meet(number: int) -> int:
        await barrier.wait()
        return number

    found = await asyncio.gather(*(asyncio.to_thread(lambda n=n: dgnb.run(meet(n))) for n in range(4)))
    assert found == [0, 1, 2, 3]


def test_context_variables_of_the_caller_are_seen_by_the_coroutine() -> None:
    variable = contextvars.ContextVar("variable", default="nothing")

    async def look() -> str:
        return await asyncio.create_task(look_again())

    async def look_again() -> str:
        return variable.get()

    variable.set("the cell's")
    assert dgnb.run(look()) == "the cell's"


def test_an_error_is_freed_when_nobody_holds_it() -> None:
    class Mine(Exception):
        pass

    async def fail() -> None:
        raise Mine

    def caught() -> weakref.ref[Mine]:
        try:
            dgnb.run(fail())
        except Mine as error:
            return weakref.ref(error)
        raise AssertionError

    gc.collect()
    gc.disable()
    try:
        gone = caught()
        dgnb.run(answer())  # by then the helper thread has let go of it too
        assert gone() is None
    finally:
        gc.enable()


# Sessions


def test_transcribe_gives_words(server: FaultyServer) -> None:
    transcript = dgnb.run(dgnb.transcribe(source(2), endpoint=server.url, pace=None))
    assert transcript.text.startswith("one two")
    assert transcript.transcript_cursor == pytest.approx(2.0)


def test_a_session_made_where_no_loop_runs_can_be_passed(server: FaultyServer) -> None:
    transcript = dgnb.run(dgnb.LiveSession(source(2), endpoint=server.url, pace=None))
    assert transcript.text.startswith("one two")


def test_a_session_that_was_started_inside_goes_on_until_it_is_stopped(server: FaultyServer) -> None:
    async def begin() -> dgnb.LiveSession:
        session = dgnb.LiveSession(source(600), endpoint=server.url, interim_results=True).start()
        async for _ in session:
            return session
        raise AssertionError

    async def another(session: dgnb.LiveSession) -> None:
        heard = len(session.transcript.messages)
        async for _ in session:  # from the first on
            if len(session.transcript.messages) > heard:
                return

    session = dgnb.run(begin())
    assert session.state is dgnb.State.OPEN
    dgnb.run(another(session))
    assert dgnb.run(session.stop()) is session.transcript
    assert session.state is dgnb.State.CLOSED
    assert session.error is None


@pytest.mark.parametrize("what", ["session", "session.start()", "session.stop()", "session.wait()"])
async def test_a_session_of_the_loop_that_waits_is_an_error(what: str) -> None:
    async with FaultyServer("one") as server:
        session = dgnb.LiveSession(source(600), endpoint=server.url)
        with pytest.raises(dgnb.ConfigurationError, match="make it inside the coroutine"):
            dgnb.run(eval(what, {"session": session}))
        await session.stop()


async def test_a_session_that_has_ended_is_accepted() -> None:
    async with FaultyServer("one") as server:
        session = dgnb.LiveSession(source(), endpoint=server.url, pace=None)
        await session
        assert dgnb.run(session) is session.transcript
        assert dgnb.run(session.stop()) is session.transcript


def test_a_session_of_a_loop_that_has_ended_is_an_error() -> None:
    async def make() -> dgnb.LiveSession:
        return dgnb.LiveSession(source(), endpoint="offline")

    session = asyncio.run(make())
    with pytest.raises(dgnb.ConfigurationError, match="make it inside the coroutine"):
        dgnb.run(session)


async def test_a_session_of_a_loop_that_runs_elsewhere_is_an_error() -> None:
    async with FaultyServer("one") as server:
        session = dgnb.LiveSession(source(), endpoint=server.url, pace=None)
        with pytest.raises(dgnb.ConfigurationError, match="Await it there"):
            await asyncio.to_thread(dgnb.run, session)
        assert await session is session.transcript


# Wrong use


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (answer, "not function. Call an async function, and pass what it returns"),
        (chunks(), "not async_generator"),
        ("speech.wav", r"as in dgnb\.run\(dgnb\.transcribe\(…\)\), not str"),
        (None, "not NoneType"),
    ],
)
def test_an_argument_that_is_not_awaitable_is_an_error_that_says_what_to_pass(thing: object, says: str) -> None:
    with pytest.raises(dgnb.ConfigurationError, match=says):
        dgnb.run(thing)  # type: ignore[arg-type]


def test_calling_it_inside_itself_is_an_error_and_not_a_deadlock() -> None:
    async def outer() -> int:
        return dgnb.run(answer())

    with pytest.raises(dgnb.ConfigurationError, match="use await"):
        dgnb.run(outer())
    gc.collect()  # a coroutine that was never awaited would warn here


async def test_a_task_of_another_loop_is_an_error() -> None:
    task = asyncio.create_task(answer())
    with pytest.raises(dgnb.ConfigurationError, match="belongs to another loop"):
        dgnb.run(task)
    assert await task == 42


# Interrupting


def test_interrupting_cancels_the_coroutine_and_waits_for_its_clean_up() -> None:
    ended: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        dgnb.run(interrupted(ended))
    assert ended == ["cancelled"]
    assert dgnb.run(answer()) == 42


def test_interrupting_works_where_asyncio_run_handles_the_signal() -> None:
    ended: list[str] = []

    async def main() -> None:
        dgnb.run(interrupted(ended))

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert ended == ["cancelled"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_handler_of_the_user_stays_in_place() -> None:
    heard = threading.Event()

    async def interrupt() -> str:
        signal.raise_signal(signal.SIGINT)
        await asyncio.to_thread(heard.wait)
        return "done"

    before = signal.signal(signal.SIGINT, lambda *_: heard.set())
    try:
        assert dgnb.run(interrupt()) == "done"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_long_clean_up_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    deaf = asyncio.Event()
    with pytest.raises(KeyboardInterrupt):
        dgnb.run(interrupted(ended, deaf=deaf))
    assert ended == ["cancelled"]
    assert "still cleans up" in caplog.text

    async def release() -> None:
        deaf.set()

    dgnb.run(release())


def test_an_error_of_the_clean_up_is_noted_on_the_interrupt() -> None:
    async def clumsy() -> None:
        try:
            await interrupted([])
        finally:
            raise OSError("the disk is full")

    with pytest.raises(KeyboardInterrupt) as caught:
        dgnb.run(clumsy())
    assert caught.value.__notes__ == ["While it was cancelled, it failed with OSError: the disk is full"]


def test_interrupting_transcribe_keeps_the_words(server: FaultyServer) -> None:
    async def transcribe() -> None:
        async def watch() -> None:
            async for _ in dgnb.sessions()[-1]:
                signal.raise_signal(signal.SIGINT)
                return

        # It runs once transcribe() has started its session and waits.
        watcher = asyncio.create_task(watch())
        await dgnb.transcribe(source(600), endpoint=server.url, interim_results=True)
        await watcher

    with pytest.raises(KeyboardInterrupt):
        dgnb.run(transcribe())
    session = dgnb.sessions()[-1]
    assert session.transcript.messages
    dgnb.run(session.stop())


# The thread's life


def test_a_thread_that_has_ended_is_replaced() -> None:
    assert dgnb.run(answer()) == 42
    blocking.stop()
    assert dgnb.run(answer()) == 42


def test_ending_the_thread_under_a_call_ends_the_call() -> None:
    ended: list[str] = []

    async def wait() -> None:
        threading.Thread(target=blocking.stop).start()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    with pytest.raises(asyncio.CancelledError):
        dgnb.run(wait())
    assert ended == ["cleaned up"]


def python(code: str, *paths: Path, **environment: str) -> str:
    """Run a program in its own process and return its output; it must end soon, with 0, and without warnings."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **environment},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def test_nothing_hangs_at_exit_and_servers_see_a_close(server: FaultyServer) -> None:
    said = python(
        f"""
        import asyncio, dgnb

        async def silence():
            while True:
                yield bytes(3200)
                await asyncio.sleep(0.1)

        async def begin():
            source = dgnb.BufferSource(silence(), encoding="linear16", sample_rate=16000)
            session = dgnb.LiveSession(source, endpoint={server.url!r}, interim_results=True).start()
            async for message in session:
                return session

        print(dgnb.run(begin()).state.value)
        dgnb.run(asyncio.sleep(0))
        """
    )
    assert said == "open"
    (connection,) = server.connections
    assert any("CloseStream" in text for text in connection.texts)
    assert connection.close_code == 1000


def test_it_ends_before_the_exit_hooks_that_were_registered_meanwhile() -> None:
    said = python(
        """
        import asyncio, atexit, dgnb

        async def begin():
            atexit.register(print, "the engine ends")
            async def wait():
                try:
                    await asyncio.Event().wait()
                finally:
                    print("the helper ends")
            global task
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)

        dgnb.run(begin())
        """
    )
    assert said.split("\n") == ["the helper ends", "the engine ends"]


def test_a_forgotten_task_does_not_delay_the_exit() -> None:
    python(
        """
        import asyncio, dgnb

        async def begin():
            global task
            task = asyncio.create_task(asyncio.Event().wait())

        dgnb.run(begin())
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_gets_a_loop_of_its_own() -> None:
    said = python(
        """
        import asyncio, os, warnings, dgnb
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and newer warn about forks beside threads

        async def pid():
            await asyncio.sleep(0)
            return os.getpid()

        assert dgnb.run(pid()) == os.getpid()
        child = os.fork()
        assert dgnb.run(pid()) == os.getpid()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("both")
        """
    )
    assert said == "both"

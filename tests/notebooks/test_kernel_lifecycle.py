"""What becomes of a session when its kernel is blocked, interrupted, restarted, shut down or killed.

The server and the station stand outside the kernel, as they do in life, and say what they saw of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import random
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import nbclient
import nbformat
import pytest

import dgnb
from dgnb.loopback import Script
from tests.notebooks.test_kernel import Kernel
from tests.support.faulty import FaultyServer, ServedConnection

T = TypeVar("T")
TEXT = "one two three"
IDLE = 2.0
"""Seconds after which this server gives a silent client up, where Deepgram waits for ten."""

OLDER = Path(sys.prefix) / "kernels"
"""Where `make test` puts the older ipykernels, each in a folder of its own."""

KERNELS = {"6": OLDER / "ipykernel-6", "7.3": OLDER / "ipykernel-7.3", "newest": None}
SETUP = """
import asyncio, itertools, os, time, warnings, dgnb

warnings.filterwarnings("ignore", "Output cache limit")  # a test asks more questions than a person

async def silence(seconds=600):
    for _ in range(round(seconds * 10)):
        yield bytes(3200)
        await asyncio.sleep(0.1)

def source(*args):
    return dgnb.BufferSource(silence(*args), encoding="linear16", sample_rate=16000)

def captured(session):
    return float(session.report().split()[0])

def connections(session):
    return len(told(session, "opened"))

def ask_to_stop(session):
    return asyncio.ensure_future(session.stop())

def hole(session):
    '''What finals leave uncovered, but for the quarter of a second that a server may leave at the end.'''
    finals = session.transcript.results.query("is_final").sort_values("start")
    ends = [0.0, *finals["end"].cummax()]
    spans = [span for span in zip(ends, [*finals["start"], captured(session)]) if span[1] - span[0] > 0.25]
    return spans + session.transcript.gaps.to_dict("records")

def told(session, *kinds):
    return session.transcript.events.query("type in @kinds")["text"].tolist()
"""


class Elsewhere:
    """A server in a thread of its own, so that neither a kernel nor a test that waits holds it up."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="a server elsewhere")
        self._thread.start()
        self.server: FaultyServer = self.call(self._serve)

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            self._stop = asyncio.Event()
            runner.run(self._stop.wait())

    async def _serve(self) -> FaultyServer:
        server = FaultyServer(Script(TEXT, repeat=True, words_per_second=6, start=0.1, gap=0.3), idle_timeout=IDLE)
        return await server.__aenter__()

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            return await function()

        return asyncio.run_coroutine_threadsafe(main(), self.loop).result(30)

    def close(self) -> None:
        self.call(lambda: self.server.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class Chosen(Kernel):
    """A kernel of one of the versions."""

    def __init__(self, version: str = "newest") -> None:
        super().__init__(KERNELS[version])

    def ready(self, url: str = "") -> Chosen:
        self.client.wait_for_ready(timeout=60)
        self.run(f"{SETUP}\nurl = {url!r}")
        return self

    def end_it(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.folder.cleanup()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


@pytest.fixture
def server(elsewhere: Elsewhere) -> FaultyServer:
    return elsewhere.server


@pytest.fixture(scope="module")
def kernels(elsewhere: Elsewhere) -> Iterator[dict[str, Chosen]]:
    """One of each version, for the tests that do them no harm."""
    started = {version: Chosen(version) for version in KERNELS}
    try:
        for kernel in started.values():
            kernel.ready(elsewhere.server.url)
        yield started
    finally:
        for kernel in started.values():
            kernel.end_it()


@pytest.fixture
def kernel(kernels: dict[str, Chosen]) -> Iterator[Chosen]:
    yield kernels["newest"]
    end_sessions(kernels["newest"])


@pytest.fixture
def fresh(elsewhere: Elsewhere) -> Iterator[Callable[[str], Chosen]]:
    """`fresh("6")`: a kernel for one test, which ends it."""
    started = []

    def start(version: str = "newest") -> Chosen:
        started.append(Chosen(version))
        return started[-1].ready(elsewhere.server.url)

    yield start
    for kernel in started:
        kernel.end_it()


def end_sessions(kernel: Chosen) -> None:
    kernel.run("for s in dgnb.sessions():\n    ask_to_stop(s)\n    assert await s.wait(5)")


def until(true: Callable[[], Any], seconds: float = 10) -> float:
    """Wait until it holds, and say for how long."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.002)
    return time.monotonic() - began


def closing(connection: ServedConnection) -> bool:
    return any("CloseStream" in text for text in connection.texts)


# Blocked


@pytest.mark.parametrize(
    "block",
    ["time.sleep(5.5)", "while time.monotonic() - began < 5.5: sum(itertools.repeat(1, 20_000_000))"],
    ids=["a cell that sleeps", "a cell that keeps the interpreter's lock"],
)
def test_a_cell_that_blocks_costs_a_connection_and_no_word(
    kernel: Chosen, server: FaultyServer, block: str, tmp_path: Path, wav: Any, tone: Any
) -> None:
    speech = tmp_path / "speech.wav"
    speech.write_bytes(wav(tone(60)))
    kernel.run(
        f"file = dgnb.LiveSession({str(speech)!r}, endpoint=url).start()\n"
        f"radio = dgnb.LiveSession({server.radio_url!r}, endpoint=url, pace=None).start()\n"
        "buffer = dgnb.LiveSession(source(), endpoint=url).start()\n"
        "three = file, radio, buffer"
    )
    kernel.wait_for("all(session.audio_cursor > 1 for session in three)")
    kernel.run("before = time.monotonic(), captured(radio), [s.transcript.transcript_cursor for s in three]")
    kernel.run(f"began = time.monotonic()\n{block}")
    kernel.wait_for("all(session.transcript.transcript_cursor > 3 for session in three) and radio.pending < 2")
    # What the station sent meanwhile was waiting in the sockets.
    missed = "time.monotonic() - before[0] - (captured(radio) - before[1])"
    assert float(kernel.run(missed)) < 1.0
    kernel.run("for session in three: await session.stop()")
    for name in ("file", "radio", "buffer"):
        assert kernel.run(f"hole({name})") == "[]", name
        assert int(kernel.run(f"connections({name})")) <= 2, name
        assert kernel.run(f"{name}.error is None") == "True", name
        said = kernel.run(f"told({name}, 'warning', 'reconnecting')")
        assert "The kernel was busy for 5" in said or "The kernel was busy for 6" in said, said
        again = kernel.run(f"told({name}, 'reconnecting')")
        assert again.count(" kept: ") == again.count(" kept: The kernel was busy for "), again


# Interrupted

WAITS = {
    "await session": "await session",
    "session.wait()": "await session.wait()",
    "async for": "async for message in session: pass",
    "session.stop()": "await session.stop()",
}


@contextlib.contextmanager
def state(name: str, kernel: Chosen, server: FaultyServer) -> Iterator[None]:
    """A session `session` in that state."""
    start = "session = dgnb.LiveSession(source(), endpoint=url).start()"
    seen = len(server.requests)
    with contextlib.ExitStack() as faults:
        if name == "connecting":
            faults.enter_context(server.unresponsive())
            kernel.run(start)
            until(lambda: len(server.requests) > seen)
        elif name == "backing off":
            faults.enter_context(server.rejecting(503, headers={"Retry-After": "30"}))
            kernel.run(start)
            until(lambda: len(server.requests) > seen and server.requests[-1].status == 503)
        elif name == "replaying":
            with server.silent():
                kernel.run(start)
                kernel.wait_for("session.audio_cursor > 1.8")
                with server.dropping(times=1):
                    kernel.wait_for("connections(session) == 2")
            assert float(kernel.run("session.pending")) > 0.5
        else:
            if name == "closing":
                faults.enter_context(server.refusing_to_close())
            kernel.run(start)
            kernel.wait_for("session.audio_cursor > 0.3")
            if name == "closing":
                kernel.run("asyncio.ensure_future(session.wait()); ask_to_stop(session)")
                kernel.wait_for("session.state.value == 'closing'")
        yield


def interrupted(kernel: Chosen, code: str, when: Callable[[], Any]) -> tuple[str, float]:
    """What a cell prints that is interrupted, and how long it takes to end after that."""
    cell = kernel.begin(code)
    until(when)
    time.sleep(0.15)  # a person's, who watches the cell for a while
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    reply = kernel.end(cell)
    took = time.monotonic() - began
    assert reply["status"] == "error", reply
    assert reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    return " ".join((reply["printed"], *reply["shown"])), took


def busy(kernel: Chosen) -> Callable[[], bool]:
    """Whether the cell that was just begun runs."""

    def begun() -> bool:
        message = kernel.client.get_iopub_msg(timeout=10)
        return bool(message["msg_type"] == "execute_input")

    return begun


@pytest.mark.parametrize(
    ("version", "name"),
    [("6", "open"), ("7.3", "open")]
    + [("newest", name) for name in ("open", "connecting", "backing off", "replaying", "closing")],
)
def test_interrupting_a_wait_ends_the_cell_at_once_and_leaves_the_session_as_it_was(
    kernels: dict[str, Chosen], server: FaultyServer, version: str, name: str
) -> None:
    kernel = kernels[version]
    with state(name, kernel, server):
        before = kernel.run("session.state.value")
        for code in ("await session", "await session.wait()", "async for message in session: pass"):
            took = [interrupted(kernel, code, busy(kernel))[1]]
            while min(took) >= 0.5 and len(took) < 3:  # a machine that is busy elsewhere is slow once
                took.append(interrupted(kernel, code, busy(kernel))[1])
            assert min(took) < 0.5, (code, took)
        assert kernel.run("session.state.value") == before
        printed, took_to_stop = (
            interrupted(kernel, "await session.stop()", busy(kernel)) if name == "closing" else ("", 0)
        )
        assert took_to_stop < 0.5
        assert "goes on" not in printed
        kernel.run("began = time.monotonic()\nask_to_stop(session)\nassert await session.wait(5.5)")
        assert kernel.run("time.monotonic() - began <= 5") == "True"
        assert kernel.run("session.state.value") == "'closed'"
        requests = len(server.requests)
        kernel.run("await asyncio.sleep(0.2)")
    assert len(server.requests) == requests
    end_sessions(kernel)


@pytest.mark.parametrize("name", ["connecting", "backing off", "closing"])
def test_interrupting_transcribe_ends_the_cell_at_once_and_the_stream_soon(
    kernel: Chosen, server: FaultyServer, name: str
) -> None:
    faults = {
        "connecting": lambda: server.unresponsive(),
        "backing off": lambda: server.rejecting(503, headers={"Retry-After": "30"}),
        "closing": lambda: server.refusing_to_close(),
    }
    seen = 0, 0

    def there() -> bool:
        if name == "closing":
            return len(server.connections) > seen[1] and closing(server.connections[-1])
        return len(server.requests) > seen[0]

    took: list[float] = []
    with faults[name]():
        while not took or (min(took) >= 0.5 and len(took) < 3):  # a machine that is busy elsewhere is slow once
            seen = len(server.requests), len(server.connections)
            printed, seconds = interrupted(kernel, "await dgnb.transcribe(source(0.5), endpoint=url)", there)
            took.append(seconds)
        assert min(took) < 0.5
        assert "the transcript so far is dgnb.sessions()[" in printed
        assert kernel.run("await dgnb.sessions()[-1].wait(5)") == "True"
        requests = len(server.requests)
        kernel.run("await asyncio.sleep(0.2)")
    assert len(server.requests) == requests


@pytest.mark.parametrize("version", KERNELS)
def test_interrupts_at_any_moment_leave_legal_sessions_and_whole_files(
    kernels: dict[str, Chosen], server: FaultyServer, version: str, tmp_path: Path
) -> None:
    kernel = kernels[version]
    file = tmp_path / "talk.jsonl"
    kernel.run(
        "old, new = dgnb.Transcript(), dgnb.Transcript()\n"
        "for n in range(2000): old.note('warning', f'old {n}')\n"
        "for n in range(3000): new.note('warning', f'new {n}')\n"
        f"old.save({str(file)!r}); whole = [open({str(file)!r}).read()]\n"
        f"new.save({str(file)!r}); whole.append(open({str(file)!r}).read())\n"
        "made = []"
    )
    dice = random.Random(4)
    for moment in range(20):
        # Every other one without an await, where the interrupt is raised wherever the code is at.
        awaits = "await session.stop()" if moment % 2 else "ask_to_stop(session)"
        cell = kernel.begin(
            "while True:\n"
            "    session = dgnb.LiveSession(source(), endpoint=url)\n"
            "    made.append(session)\n"
            "    session.start()\n"
            f"    old.save({str(file)!r})\n"
            f"    new.save({str(file)!r})\n"
            f"    {awaits}\n"
        )
        until(busy(kernel))
        time.sleep(dice.uniform(0, 0.1))
        kernel.manager.interrupt_kernel()
        while True:
            try:
                reply = kernel.end(cell, timeout=1)
            except queue.Empty:
                # Where it struck a callback of the garbage collector, which ipykernel 6 has one of, Python drops it.
                kernel.manager.interrupt_kernel()
            else:
                break
        assert reply["status"] == "error"
        assert kernel.run(f"open({str(file)!r}).read() in whole") == "True"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    end_sessions(kernel)
    assert kernel.run("[s for s in dgnb.sessions() if s.state.value != 'closed']") == "[]"
    assert kernel.run("{repr(s.error) for s in made} - {'None'} or None") == ""
    assert kernel.run("[t for t in asyncio.all_tasks() if t.get_name().startswith('dgnb')]") == "[]"
    until(lambda: server.active == 0)


# Ended


@pytest.mark.parametrize("how", ["restart", "shutdown"])
@pytest.mark.parametrize("version", KERNELS)
def test_a_kernel_that_ends_says_so_to_the_server_and_completes_the_journal(
    fresh: Callable[[str], Chosen], server: FaultyServer, version: str, how: str, tmp_path: Path
) -> None:
    kernel = fresh(version)
    journal = tmp_path / "talk.jsonl"
    kernel.run(f"session = dgnb.LiveSession({server.radio_url!r}, endpoint=url, journal={str(journal)!r}).start()")
    kernel.wait_for("session.audio_cursor > 1.5")
    if how == "restart":
        kernel.begin("await session")  # as in a notebook whose last cell still runs
        until(busy(kernel))
    connection = server.connections[-1]
    began = time.monotonic()
    if how == "restart":
        kernel.manager.restart_kernel()
    else:
        kernel.manager.shutdown_kernel()
    until(lambda: not connection.is_open)
    assert closing(connection)
    assert connection.frame_times[-1] - began < 2
    assert (connection.close_code, connection.violations) == (1000, [])
    transcript = dgnb.Transcript.load(journal)
    assert transcript.events["type"].tolist()[-1] == "closed"
    finals = transcript.results.query("is_final")
    assert finals["end"].max() == pytest.approx(connection.bytes_received / 32_000, abs=0.01)
    assert transcript.text.startswith("one two three")


@pytest.mark.parametrize("name", ["connecting", "closing"])
def test_a_kernel_ends_soon_when_the_server_does_not_answer(
    fresh: Callable[[str], Chosen], server: FaultyServer, name: str
) -> None:
    kernel = fresh("newest")
    with state(name, kernel, server):
        began = time.monotonic()
        kernel.manager.shutdown_kernel()
        assert time.monotonic() - began < 3
    until(lambda: server.active == 0)


def test_a_killed_kernel_leaves_a_journal_with_every_final_older_than_a_second(
    fresh: Callable[[str], Chosen], server: FaultyServer, tmp_path: Path
) -> None:
    kernel = fresh("newest")
    kernel.run(
        "sessions = [dgnb.LiveSession(source(), endpoint=url, interim_results=True,\n"
        f"                             journal={str(tmp_path)!r} + f'/{{n}}.jsonl') for n in range(4)]"
    )
    # One after the other, so that the moment of their death is not the same for each.
    kernel.run("for s in sessions:\n    s.start()\n    await asyncio.sleep(0.27)")
    kernel.wait_for("sessions[-1].audio_cursor > 3.2")
    finals = eval(
        kernel.run(
            "died = time.time()\n"
            "[[(r.start, r.end, died - r.received_at.timestamp()) for r in s.transcript.results.itertuples()"
            " if r.is_final] for s in sessions]"
        )
    )
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    for number, said in enumerate(finals):
        transcript = dgnb.Transcript.load(tmp_path / f"{number}.jsonl")
        kept = [(r.start, r.end) for r in transcript.results.itertuples() if r.is_final]
        assert {(start, end) for start, end, age in said if age > 1.0} <= set(kept)
        assert len(kept) == len(set(kept))
    assert any(age > 1.0 for said in finals for _, _, age in said)


def test_a_notebook_without_a_reader_ends_and_its_stream_with_it(server: FaultyServer) -> None:
    """As papermill runs it: nobody is there to stop what the last cell has begun."""
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(f"{SETUP}\nurl = {server.url!r}"),
            nbformat.v4.new_code_cell(
                f"(await dgnb.transcribe({server.radio_url!r}, endpoint=url, duration=1)).transcript_cursor"
            ),
            nbformat.v4.new_code_cell("session = dgnb.LiveSession(source(), endpoint=url).start()"),
            nbformat.v4.new_code_cell("while not session.audio_cursor: await asyncio.sleep(0.01)"),
        ]
    )
    began = time.monotonic()
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=30).execute(
        env={**os.environ, "PYTHONPATH": str(Path(dgnb.__file__).parents[1])}
    )
    assert notebook.cells[1].outputs[-1].data["text/plain"] == "1.0"
    assert time.monotonic() - began < 20
    until(lambda: server.active == 0)
    assert closing(server.connections[-1])
    assert server.connections[-1].close_code == 1000


# Run again, and beside others


def test_a_start_cell_that_is_run_again_and_again_has_one_session(kernel: Chosen, server: FaultyServer) -> None:
    seen, most = len(server.connections), 0
    for turn in range(20):
        kernel.run("session = dgnb.LiveSession(source(), endpoint=url, interim_results=True).start()", cell="start")
        if turn % 4 == 3:
            kernel.wait_for("session.audio_cursor > 0.2")
        most = max(most, server.active)
    kernel.wait_for("session.transcript.transcript_cursor > 1")
    assert most == server.active == 1
    assert kernel.run("[s for s in dgnb.sessions() if s.state.value != 'closed'] == [session]") == "True"
    assert kernel.run("session.transcript.words['start'].is_unique") == "True"
    kernel.run("await session.stop();")
    assert len(server.connections) - seen <= 20


def test_a_cell_may_start_several_sessions_and_others_leave_them_alone(kernel: Chosen, server: FaultyServer) -> None:
    kernel.run("two = [dgnb.LiveSession(source(), endpoint=url).start() for _ in range(2)]", cell="two")
    kernel.run("third = dgnb.LiveSession(source(), endpoint=url).start()", cell="third")
    kernel.wait_for("all(s.audio_cursor > 0.2 for s in [*two, third])")
    kernel.run("two = [dgnb.LiveSession(source(), endpoint=url).start() for _ in range(2)]", cell="two")
    kernel.wait_for("all(s.audio_cursor > 0.2 for s in [*two, third])")
    until(lambda: server.active == 3)
    kernel.run("[await s.stop() for s in [*two, third]];")


OPEN = "sum(s.state.value == 'open' for s in all_)"
START = "all_.append(dgnb.LiveSession(source(), endpoint=url).start())"
AFTERWARDS = {
    "a task": f"""
        async def later():
            await go.wait()
            {START}
        task = asyncio.create_task(later())""",
    "a thread": f"""
        async def start(): {START}
        def later():
            while not go.is_set(): time.sleep(0.01)
            dgnb.run(start())
        threading.Thread(target=later).start()""",
    "a thread of asyncio": f"""
        async def start(): {START}
        def later():
            while not go.is_set(): time.sleep(0.01)
            dgnb.run(start())
        task = asyncio.create_task(asyncio.to_thread(later))""",
    "a timer": """
        def later():
            if go.is_set(): all_.append(dgnb.LiveSession(source(), endpoint=url).start())
            else: asyncio.get_running_loop().call_later(0.01, later)
        later()""",
}


@pytest.fixture
def any_kernel(request: pytest.FixtureRequest, kernels: dict[str, Chosen]) -> Iterator[Chosen]:
    """A kernel of the version that the test is parametrized with."""
    kernel = kernels[request.param]
    kernel.run("import threading; all_ = []")
    yield kernel
    end_sessions(kernel)


@pytest.mark.parametrize("any_kernel", KERNELS, indirect=True)
@pytest.mark.parametrize("how", AFTERWARDS)
def test_what_a_cell_does_after_other_cells_ran_ends_no_session_until_the_cell_is_run_again(
    any_kernel: Chosen, how: str
) -> None:
    cell = f"go = asyncio.Event()\n{START}\n{textwrap.dedent(AFTERWARDS[how])}"
    any_kernel.run(cell, cell="batch")
    any_kernel.run("go.set()", cell="look")
    for _ in range(2):
        any_kernel.wait_for(f"{OPEN} == 2")
        any_kernel.run("await asyncio.sleep(0.1)", cell="look")
    any_kernel.run(START, cell="batch")
    # Nobody can tell which cell a bare thread belongs to.
    states = ["closed", "open" if how == "a thread" else "closed", "open"]
    any_kernel.wait_for(f"[s.state.value for s in all_] == {states}")


@pytest.mark.parametrize("any_kernel", KERNELS, indirect=True)
def test_two_cells_with_the_same_text_have_a_session_each(any_kernel: Chosen) -> None:
    for cell in ("one", "another", "one"):
        any_kernel.run(START, cell=cell)
    any_kernel.wait_for(f"{OPEN} == 2")
    assert any_kernel.run("[bool(told(s, 'replaced')) for s in all_]") == "[True, False, False]"


@pytest.mark.parametrize("any_kernel", KERNELS, indirect=True)
def test_a_front_end_that_does_not_name_its_cells_keeps_both_sessions_and_says_so(any_kernel: Chosen) -> None:
    any_kernel.run(START)
    any_kernel.run(START)
    any_kernel.wait_for(f"{OPEN} == 2")
    assert any_kernel.run("told(all_[0], 'warning')") == "[]"
    assert "2 sessions are running" in any_kernel.run("told(all_[1], 'warning')")


def test_a_transcript_that_its_cell_cut_off_is_not_returned_as_a_whole_one(kernel: Chosen) -> None:
    cell = "task = asyncio.create_task(dgnb.transcribe(source(), endpoint=url)); await asyncio.sleep(0.5)"
    kernel.run(f"former = None\n{cell}", cell="batch")
    kernel.run(f"former = task\n{cell}", cell="batch")
    kernel.run("await asyncio.wait([former]);")
    assert "SessionStopped" in kernel.run("former.exception()")
    assert "was run again" in kernel.run("former.exception()")
    events = "former.exception().transcript.events"
    assert "replaced" in kernel.run(f"{events}['type'].tolist()")
    assert kernel.run("task.done()") == "False"


def test_a_panel_that_is_clicked_again_and_made_again_has_one_session(kernel: Chosen, server: FaultyServer) -> None:
    seen = len(server.connections)
    cell = (
        "panel = dgnb.ControlPanel(source(), endpoint=url)\n"
        "for _ in range(3): panel.click('start')\n"
        "while not panel.running or not panel.session.audio_cursor: await asyncio.sleep(0.005)"
    )
    for _ in range(10):
        kernel.run(cell, cell="panel")
    until(lambda: server.active == 1)
    assert kernel.run("[s for s in dgnb.sessions() if s.state.value != 'closed'] == [panel.session]") == "True"
    assert len(server.connections) - seen == 10
    kernel.run("panel.close(); await panel.session.wait();")
    until(lambda: server.active == 0)


NEST_1 = """
import importlib.metadata
_version = importlib.metadata.version
def version(name):
    if name == "nest-asyncio2":
        raise importlib.metadata.PackageNotFoundError(name)
    return _version(name)
importlib.metadata.version = version
import warnings; warnings.simplefilter("ignore")
"""


@pytest.mark.parametrize(("version", "library"), [("6", "nest-asyncio"), ("newest", "nest-asyncio2")])
def test_a_session_does_not_mind_nested_loops(
    fresh: Callable[[str], Chosen], version: str, library: str, server: FaultyServer
) -> None:
    kernel = fresh(version)
    start = "dgnb.LiveSession(source(), endpoint=url).start()"
    kernel.run(f"before = {start}")
    kernel.wait_for("before.audio_cursor > 0.2")
    if library == "nest-asyncio":
        kernel.run(NEST_1)
    kernel.run("applied = dgnb.allow_nested()")
    assert library in kernel.run("applied.split()[0]")
    kernel.run(f"after = {start}")
    with server.dropping(after=1.5):
        kernel.wait_for("min(connections(before), connections(after)) > 1")
    kernel.wait_for("min(before.transcript.transcript_cursor, after.transcript.transcript_cursor) > 1")
    kernel.run("asyncio.get_event_loop().run_until_complete(after.stop());")
    kernel.run("await before.stop();")
    assert kernel.run("before.error, after.error, hole(before), hole(after)") == "(None, None, [], [])"

"""`run()` and `allow_nested()` on a real kernel: output while it runs, ■, and what nest-asyncio does there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.notebooks.test_kernel import Kernel

SETUP = """
import asyncio, dgnb
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer

# On the helper's loop: the kernel's is held up.
server = FaultyServer(Script("one two three", repeat=True))
dgnb.run(server.__aenter__())

cleaned = []

async def speak_and_wait():
    print("it speaks", flush=True)
    await asyncio.create_task(speak_again())
    try:
        await asyncio.Event().wait()
    finally:
        cleaned.append(True)  # not printed: what a thread prints may come behind the cell's end

async def speak_again():
    print("and again", flush=True)

async def silence(seconds):
    for _ in range(seconds * 10):
        yield bytes(3200)

def source(seconds):
    return dgnb.BufferSource(silence(seconds), encoding="linear16", sample_rate=16000)
"""

NEST_1 = """
import asyncio, importlib.metadata
import dgnb
_version = importlib.metadata.version
def version(name):
    if name == "nest-asyncio2":
        raise importlib.metadata.PackageNotFoundError(name)
    return _version(name)
importlib.metadata.version = version

async def answer():
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
    return 42
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    kernel.client.wait_for_ready(timeout=60)
    try:
        kernel.run(SETUP)
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def fresh() -> Iterator[Kernel]:
    """A kernel for one test, which patches it."""
    kernel = Kernel()
    kernel.client.wait_for_ready(timeout=60)
    try:
        yield kernel
    finally:
        kernel.close()


def hear(kernel: Kernel, cell: str, what: str) -> None:
    """Wait until a cell that still runs has printed this."""
    heard = ""
    while what not in heard:
        message = kernel.client.get_iopub_msg(timeout=10)
        if message["parent_header"].get("msg_id") == cell:
            assert message["msg_type"] != "error", message["content"]
            if message["msg_type"] == "stream":
                heard += message["content"]["text"]


def interrupt(kernel: Kernel, code: str, when: str) -> float:
    """Seconds from ■ to the cell's end: the best of three, as a busy machine delays kernels now and then.

    What the cell does is checked each time.
    """
    took = []
    for _ in range(3):
        cell = kernel.begin(code)
        hear(kernel, cell, when)
        began = time.monotonic()
        kernel.manager.interrupt_kernel()
        reply = kernel.end(cell)
        took.append(time.monotonic() - began)
        assert reply["ename"] == "KeyboardInterrupt"
        assert kernel.run("dgnb.run(asyncio.sleep(0, 42))") == "42"
    return min(took)


@pytest.mark.parametrize("before", ["", "await asyncio.sleep(0)\n"], ids=["plain cell", "cell with await"])
def test_output_appears_under_the_cell_while_it_runs_and_an_interrupt_cancels_it(kernel: Kernel, before: str) -> None:
    code = f"{before}dgnb.run(speak_and_wait())"
    kernel.run("cleaned.clear()")
    assert interrupt(kernel, code, "it speaks\nand again\n") < 0.6
    assert kernel.run("len(cleaned) > 0 and all(cleaned)") == "True"


@pytest.mark.parametrize("time_", ["the first time", "the second time"])
def test_transcribe_gives_words_in_code_that_can_not_await(kernel: Kernel, time_: str) -> None:
    said = kernel.run(
        "def words_of(source):\n"
        "    return dgnb.run(dgnb.transcribe(source, endpoint=server.url, pace=None)).words\n"
        "list(map(len, map(words_of, [source(2), source(2)])))"
    )
    assert eval(said)[0] > 2
    assert eval(said)[0] == eval(said)[1]


def test_interrupting_transcribe_keeps_the_words(kernel: Kernel) -> None:
    code = (
        "async def watched():\n"
        "    session = dgnb.LiveSession(source(600), endpoint=server.url, interim_results=True)\n"
        "    async with session:\n"
        "        async for message in session:\n"
        "            print('heard', flush=True)\n"
        "dgnb.run(watched())"
    )
    assert interrupt(kernel, code, "heard") < 0.6
    assert kernel.run("len(dgnb.sessions()[-1].transcript.messages) > 0") == "True"


def test_a_session_of_the_kernels_own_loop_is_refused_and_said_why(kernel: Kernel) -> None:
    kernel.run("session = dgnb.LiveSession(source(2), endpoint=server.url)")
    reply = kernel.end(kernel.begin("dgnb.run(session)"))
    assert reply["ename"] == "ConfigurationError"
    assert "make it inside the coroutine" in reply["evalue"]


def test_a_session_begun_inside_goes_on_while_a_cell_computes(kernel: Kernel) -> None:
    kernel.run(
        "async def begin():\n"
        "    return dgnb.LiveSession(source(600), endpoint=server.url).start()\n"
        "session = dgnb.run(begin())"
    )
    # A cell that holds the kernel's loop up, until the stream has got on.
    assert kernel.run("while session.audio_cursor < 0.5: pass\nsession.state.value") == "'open'"
    kernel.run("dgnb.run(session.stop());")
    assert kernel.run("session.state.value, session.error") == "('closed', None)"


def test_a_kernel_with_a_session_in_the_helper_thread_shuts_down_soon(fresh: Kernel) -> None:
    fresh.run(SETUP)
    fresh.run("async def begin(): return dgnb.LiveSession(source(600), endpoint=server.url).start()")
    fresh.run("session = dgnb.run(begin());")
    fresh.wait_for("session.state.value == 'open'")
    began = time.monotonic()
    fresh.manager.shutdown_kernel()
    assert time.monotonic() - began < 3


def test_nest_asyncio_warns_where_it_loses_messages_and_nested_runs_work(fresh: Kernel) -> None:
    fresh.run(NEST_1)
    seven = fresh.run("__import__('ipykernel').version_info[0] >= 7") == "True"
    said = fresh.run("dgnb.allow_nested()")
    assert ("loses messages on ipykernel 7" in said) == seven
    assert "'nest-asyncio 1." in said
    assert "loses messages" not in fresh.run("dgnb.allow_nested()")  # said once
    assert fresh.run("asyncio.run(answer())") == "42"
    assert fresh.run("asyncio.get_event_loop().run_until_complete(answer())") == "42"
    assert fresh.run("await answer()") == "42"
    assert fresh.run("dgnb.run(answer())") == "42"

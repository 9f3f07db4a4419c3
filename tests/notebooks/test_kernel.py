"""What only a real kernel shows: interrupts reach a waiting cell, and a stream outlives the cell that began it."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

import dgnb

SETUP = """
import asyncio, time, dgnb
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer
server = await FaultyServer(Script("one two three four five six seven eight nine ten", repeat=True)).__aenter__()

async def silence():
    while True:
        yield bytes(3200)
        await asyncio.sleep(0.1)

async def nothing():
    yield bytes(6400)
    await asyncio.Event().wait()

def source(chunks):
    return dgnb.BufferSource(chunks, encoding="linear16", sample_rate=16000)
"""


class Kernel:
    """A kernel of one's own that imports the dgnb that is tested here, and what its cells say.

    `older` is a folder with another ipykernel.
    """

    def __init__(self, older: Path | None = None) -> None:
        # IPC, not TCP: no port that others could use, and no warning that says so.
        # In a folder of its own, or kernels that start at the same time choose the same names.
        self.folder = tempfile.TemporaryDirectory(prefix="dgnb-")
        self.manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{self.folder.name}/kernel")
        path = [*([str(older)] if older else []), str(Path(dgnb.__file__).parents[1])]
        self.manager.start_kernel(env={**os.environ, "PYTHONPATH": os.pathsep.join(path)})
        self.shown: defaultdict[str | None, list[str]] = defaultdict(list)
        self.client = self.manager.client()
        self.client.start_channels()

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.folder.cleanup()

    def begin(self, code: str, cell: str | None = None) -> str:
        """Run a cell; `cell` is its id, which JupyterLab sends and others do not."""
        if cell is None:
            return self.client.execute(code)
        message = self.client.session.msg("execute_request", {"code": code}, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def end(self, message_id: str, timeout: float = 30) -> dict[str, Any]:
        """The reply to a cell, all that it printed, and what its outputs showed, one after another, as text."""
        printed = ""
        while True:
            message = self.client.get_iopub_msg(timeout=timeout)
            parent = message["parent_header"].get("msg_id")
            if message["msg_type"] in ("display_data", "update_display_data"):
                self.shown[parent].append(message["content"]["data"]["text/plain"])
            if parent != message_id:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "execute_result":
                printed += message["content"]["data"]["text/plain"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while (reply := self.client.get_shell_msg(timeout=timeout))["parent_header"].get("msg_id") != message_id:
            pass
        return {**reply["content"], "printed": printed, "shown": self.shown[message_id]}

    def run(self, code: str, cell: str | None = None) -> str:
        reply = self.end(self.begin(code, cell))
        assert reply["status"] == "ok", reply
        return str(reply["printed"])

    def wait_for(self, code: str) -> None:
        """Run a cell until it says True."""
        deadline = time.monotonic() + 20
        while self.run(code) != "True":
            assert time.monotonic() < deadline, code


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    kernel.client.wait_for_ready(timeout=60)
    try:
        kernel.run(SETUP)
        yield kernel
    finally:
        kernel.close()


def interrupted(kernel: Kernel, code: str, after: float) -> tuple[dict[str, Any], float]:
    """The reply to a cell that is interrupted after so many seconds, and how long it then took to end."""
    cell = kernel.begin(code)
    time.sleep(after)  # a person's, who watches the cell for a while
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    reply = kernel.end(cell)
    assert reply["status"] == "error"
    return reply, time.monotonic() - began


@pytest.mark.parametrize("chunks", ["silence()", "nothing()"])
def test_interrupting_transcribe_ends_the_cell_and_keeps_the_words(kernel: Kernel, chunks: str) -> None:
    code = f"await dgnb.transcribe(source({chunks}), endpoint=server.url, interim_results=True)"
    least = 60.0
    for _ in range(3):  # a machine that is busy elsewhere is slow once, not three times
        reply, took = interrupted(kernel, code, 1.0)
        assert "the transcript so far is dgnb.sessions()[" in " ".join(reply["shown"])
        assert not reply["printed"]
        assert len(reply["traceback"]) <= 10, reply["traceback"]
        kernel.wait_for("dgnb.sessions()[-1].state.value == 'closed'")
        assert kernel.run("round(dgnb.sessions()[-1].transcript.transcript_cursor, 1) > 0") == "True"
        least = min(least, took)
        if least < 0.5:
            break
    assert least < 0.5


def test_interrupting_a_wait_leaves_the_session_running(kernel: Kernel) -> None:
    kernel.run("session = dgnb.LiveSession(source(silence()), endpoint=server.url).start()")
    kernel.wait_for("session.state.value == 'open'")
    least = 60.0
    for _ in range(3):
        reply, took = interrupted(kernel, "await session", 0.3)
        assert "The session goes on" in " ".join(reply["shown"])
        least = min(least, took)
        if least < 0.5:
            break
    assert least < 0.5
    before = float(kernel.run("session.audio_cursor"))
    kernel.wait_for(f"session.audio_cursor > {before} + 0.3")
    kernel.run("await session.stop();")
    assert kernel.run("session.state.value, session.error") == "('closed', None)"


def test_a_cell_that_waits_shows_a_button_and_in_the_end_one_line(kernel: Kernel) -> None:
    code = "transcript = await dgnb.transcribe(source(silence()), duration=2.0, endpoint=server.url)"
    reply = kernel.end(kernel.begin(code))
    assert reply["shown"][0].startswith("HBox(children=(Button(description='Stop'")
    assert re.fullmatch(r"\d words in \d\.\d s · ws://127\.0\.0\.1:\d+ · transcript\.words", reply["shown"][-1])
    assert reply["printed"] == ""
    assert kernel.end(kernel.begin(code.replace("duration=2.0", "duration=0.2")))["shown"] == []
    assert kernel.end(kernel.begin(code.replace("duration=2.0", "duration=2.0, progress=False")))["shown"] == []


def test_a_session_as_the_value_of_a_cell_lives_until_it_ends(kernel: Kernel) -> None:
    code = "session = dgnb.LiveSession(source(silence()), endpoint=server.url)"
    (shown,) = kernel.end(kernel.begin(f"{code}\nsession"))["shown"]
    assert shown.startswith("<LiveSession not started")
    begun = kernel.begin(f"{code}.start()\nsession")
    assert kernel.end(begun)["shown"][0].startswith("<LiveSession connecting")
    # nbclient takes an update only from the cell that runs. So it comes from there, and before that cell ends.
    later = kernel.end(kernel.begin("await asyncio.sleep(1.2); await session.stop();"))["shown"]
    assert any(text.startswith("<LiveSession open") for text in later)
    assert later[-1].startswith("<LiveSession closed")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "dgnb.LiveSession('no.wav', endpoint='offline').start()",
            "The offline engine on this machine transcribes, as asked for by endpoint=.",
        ),
        ("dgnb.LiveSession('no.wav').start()", "transcribes, because there is no key in api_key= or DEEPGRAM_API_KEY."),
        ("dgnb.LiveSession(source(silence()), endpoint='ws://127.0.0.1:9').start()", "Not connected yet, and still"),
    ],
)
def test_what_is_no_fault_is_told_by_a_quiet_line_and_not_in_red(kernel: Kernel, code: str, told: str) -> None:
    begun = kernel.end(kernel.begin(f"session = {code}\nawait asyncio.sleep(0.5)"))
    kernel.run("await session.stop();")
    (line,) = begun["shown"]
    assert told in line
    assert told not in begun["printed"]


def test_a_stream_goes_on_in_the_next_cells(kernel: Kernel) -> None:
    kernel.run("session = dgnb.LiveSession(source(silence()), endpoint=server.url, duration=2).start()")
    assert kernel.run("1 + 1") == "2"
    kernel.run("await session;")
    assert kernel.run("session.transcript.transcript_cursor") == "2.0"
    assert kernel.run("len(session.transcript.words) > 3") == "True"


def test_a_stream_that_fails_in_the_background_says_so_under_the_cell_that_started_it(kernel: Kernel) -> None:
    reply = kernel.run(
        "with server.rejecting(402):\n"
        "    session = dgnb.LiveSession(source(silence()), endpoint=server.url).start()\n"
        "    while session.state.value != 'closed': await asyncio.sleep(0.01)"
    )
    assert "no credit" in reply

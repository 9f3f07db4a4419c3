"""The tree of errors and their attributes."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dgnb import exceptions
from dgnb.exceptions import (
    AudioError,
    AuthenticationError,
    CloseTimeout,
    ConfigurationError,
    ConnectionLost,
    DgnbError,
    GaveUp,
    HandshakeError,
    ProtocolError,
    nearest,
)

ALL = [getattr(exceptions, name) for name in exceptions.__all__]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_caught_by_the_base(error: type[Exception]) -> None:
    assert issubclass(error, DgnbError)
    assert error.__doc__


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (ConfigurationError, ValueError),
        (ConnectionLost, ConnectionError),
        (CloseTimeout, TimeoutError),
        (AuthenticationError, HandshakeError),
    ],
)
def test_an_error_is_also_a_builtin_error(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, base)


@pytest.mark.parametrize("error", ALL)
def test_the_tree_in_the_docstring_names_every_error(error: type[Exception]) -> None:
    assert exceptions.__doc__ is not None
    assert error.__name__ in exceptions.__doc__


def test_an_error_holds_the_server_s_own_words() -> None:
    refused = AuthenticationError("no", status=401, error="Invalid credentials.", request_id="r")
    assert (str(refused), refused.status, refused.error, refused.request_id) == ("no", 401, "Invalid credentials.", "r")
    lost = ConnectionLost("gone", code=1011, reason="NET-0001", request_id="r")
    assert (str(lost), lost.code, lost.reason, lost.request_id) == ("gone", 1011, "NET-0001", "r")


def test_attributes_are_empty_when_the_server_said_nothing() -> None:
    assert (HandshakeError("x").status, HandshakeError("x").error, HandshakeError("x").request_id) == (None, "", "")
    assert (ConnectionLost("x").code, ConnectionLost("x").reason, ConnectionLost("x").request_id) == (1006, "", "")


@pytest.mark.parametrize(
    "error",
    [
        HandshakeError("no", status=400, error="bad", request_id="r"),
        ConnectionLost("gone", code=1011, reason="x", request_id="r", gave_up=GaveUp.SILENT),
        AudioError("x"),
        ProtocolError("x"),
    ],
)
def test_an_error_survives_a_copy(error: DgnbError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_the_nearest_name_is_offered_when_one_is_near() -> None:
    assert nearest("diarise", ["diarize", "dictation"]) == " Did you mean 'diarize'?"
    assert nearest("xyz", ["diarize"]) == ""
    assert nearest("x", []) == ""


# In IPython

CELL = """import dgnb
def ask():
    return dgnb.LiveOptions(smart_fromat=True)

{0}"""


def shown(*cells: str) -> str:
    """What the last of these cells shows in an IPython of its own."""
    script = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(colors='NoColor')\n"
        "for cell in sys.argv[1:]:\n"
        "    print('<cell>'); shell.run_cell(cell)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *cells], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split("<cell>\n")[-1].strip()


@pytest.mark.parametrize(
    ("line", "lines", "message"),
    [
        ("dgnb.LiveOptions(smart_fromat=True)", [5], "ConfigurationError: There is no option 'smart_fromat'"),
        ("ask()", [5, 3], "ConfigurationError: There is no option 'smart_fromat'"),
        ("dgnb.LiveOptions(language=3)", [5], "ConfigurationError: language is text, not 3."),
        ("await dgnb.transcribe('no.wav', endpoint='offline')", [5], "AudioError: There is no file 'no.wav'"),
        ("await dgnb.transcribe('no.wav', endpoint='deepgram')", [5], "ConfigurationError: Deepgram needs a key"),
    ],
)
def test_ipython_shows_the_own_lines_and_the_message(
    line: str, lines: list[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    told = shown(CELL.format(line)).splitlines()
    assert [text for text in told if text.startswith("Cell")] == [f"Cell In[1], line {number}" for number in lines]
    assert told[1].strip() == line
    assert told[-2].startswith(message)
    assert told[-1] == "The whole traceback: %tb Verbose"
    assert len(told) <= 10
    assert str(exceptions.__file__).replace("exceptions.py", "") not in "".join(told)


def test_the_whole_traceback_is_shown_on_request() -> None:
    cell = CELL.format("ask()")
    for cells in ((cell, "%tb Verbose"), ("%xmode Plain", cell)):
        told = shown(*cells)
        assert "options.py" in told
        assert "There is no option 'smart_fromat'" in told


def test_an_interrupt_of_run_is_short() -> None:
    cell = (
        "import asyncio, dgnb, signal\n"
        "async def wait():\n"
        "    try:\n"
        "        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)\n"
        "        await asyncio.sleep(30)\n"
        "    finally:\n"
        "        raise OSError('the disk is full')\n"
        "dgnb.run(wait())"
    )
    told = shown(cell).splitlines()
    assert told == [
        "Cell In[1], line 8",
        "    dgnb.run(wait())",
        "KeyboardInterrupt: The cell was interrupted.",
        "While it was cancelled, it failed with OSError: the disk is full",
        "The whole traceback: %tb Verbose",
    ]
    assert "blocking.py" in shown(cell, "%tb Verbose")


# In plain Python

SCRIPT = """import asyncio, dgnb, signal
async def awaited(source, use=dgnb.transcribe, **named):
    return await use(source, **named)
async def interrupted():
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
    await asyncio.sleep(30)
async def grouped():
    return await asyncio.gather(asyncio.create_task(dgnb.transcribe("no.wav", endpoint="offline")))
"""


def printed(line: str, whole: str) -> list[str]:
    """What Python prints when a script fails at this line: the functions of the frames, and the last line."""
    environment = {**os.environ, "DGNB_FULL_TRACEBACK": whole}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + line], capture_output=True, text=True, timeout=60, env=environment
    )
    files = re.findall(r'File "(.*)", line', done.stderr)
    return [*(file for file in files if "asyncio" not in file), done.stderr.splitlines()[-1]]


@pytest.mark.parametrize(
    ("line", "own", "most", "message"),
    [
        ("asyncio.run(awaited('no.wav', endpoint='offline'))", 2, 0, "There is no file 'no.wav'"),
        ("asyncio.run(awaited('no.wav', dgnb.LiveSession, endpoint='offline'))", 2, 0, "There is no file 'no.wav'"),
        ("asyncio.run(grouped())", 2, 0, "There is no file 'no.wav'"),
        ("asyncio.run(awaited('no.wav', smart_fromat=True))", 2, 0, "Did you mean 'smart_format'?"),
        ("asyncio.run(awaited('no.wav', endpoint='deepgram'))", 2, 0, "Deepgram needs a key"),
        ("dgnb.LiveSession('no.wav', endpoint='nosuch')", 1, 0, "endpoint must be"),
        ("dgnb.LiveSession(3)", 1, 0, "A source is a path"),
        ("dgnb.LiveOptions(language=3)", 1, 0, "language is text, not 3."),
        ("dgnb.LiveOptions(model='flux')", 1, 0, "Use 'nova-3'."),
        ("dgnb.run(dgnb.transcribe('no.wav', endpoint='offline'))", 1, 3, "There is no file 'no.wav'"),
        ("dgnb.run(interrupted())", 1, 1, "KeyboardInterrupt"),
    ],
)
def test_plain_python_shows_the_own_lines_and_few_of_dgnb(line: str, own: int, most: int, message: str) -> None:
    *files, last = printed(line, "")
    package = str(Path(exceptions.__file__).parent)
    assert sum(file == "<string>" for file in files) - ("LiveOptions(" in line) == own
    assert sum(file.startswith(package) for file in files) <= most
    assert message in last
    *files, last = printed(line, "1")
    assert sum(file.startswith(package) for file in files) > most
    assert message in last

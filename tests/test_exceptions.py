"""The tree of errors and their attributes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

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
        assert "base.py" in told
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

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

import dgnb
from dgnb import offline
from dgnb.exceptions import AuthenticationError, DgnbError


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    offline.stop()


def child_of(pid: int) -> psutil.Process:
    """The process of the engine that another process has started."""
    (child,) = (child for child in psutil.Process(pid).children() if "dgnb.loopback" in child.cmdline())
    return child


@pytest.mark.usefixtures("engine")
async def test_offline_transcribes_the_sample_on_this_machine() -> None:
    transcript = await dgnb.transcribe(dgnb.samples.path(), endpoint="offline", smart_format=True, pace=None)
    said = {word["word"] for word in dgnb.samples.words()}
    assert len(said & set(transcript.words["word"])) / len(said) > 0.95
    results = [message for message in transcript.messages if isinstance(message, dgnb.messages.Results)]
    info = results[0].metadata and results[0].metadata.model_info
    assert info
    assert info.name == "whisper-tiny.en"
    assert transcript.events["text"].str.contains("offline engine").any()
    assert len(transcript.gaps) == 0


@pytest.mark.usefixtures("engine")
async def test_there_is_one_child_and_it_requires_its_token() -> None:
    (first, token), (second, _) = await asyncio.gather(
        asyncio.to_thread(offline.ensure), asyncio.to_thread(offline.ensure)
    )
    assert first == second
    assert len(token) >= 32
    options = dgnb.LiveOptions(encoding="linear16", sample_rate=16000)
    with pytest.raises(AuthenticationError):
        await dgnb.connect(options, endpoint=first, api_key="another")
    # A busy machine loads the model for long.
    await (await dgnb.connect(options, endpoint="offline", open_timeout=60)).close()


@pytest.mark.usefixtures("engine")
def test_a_child_that_died_is_started_again() -> None:
    first, _ = offline.ensure()
    child = child_of(os.getpid())
    child.kill()
    psutil.wait_procs([child], timeout=10)
    second, _ = offline.ensure()
    assert second != first
    assert child_of(os.getpid()).pid != child.pid


def test_stopping_twice_or_without_a_child_is_no_error() -> None:
    offline.stop()
    offline.stop()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_child_ends_with_its_parent_however_that_ends(end: signal.Signals | None) -> None:
    program = "import sys, dgnb.offline as c; c.ensure(); print('started', flush=True); sys.stdin.readline()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin
    assert parent.stdout
    assert parent.stdout.readline()
    engine = child_of(parent.pid)
    if end is None:
        parent.stdin.close()
    else:
        parent.send_signal(end)
    parent.wait(10)
    psutil.wait_procs([engine], timeout=10)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
    for pipe in (parent.stdin, parent.stdout):
        pipe.close()


@pytest.mark.parametrize(
    ("model", "words"), [("/no/such/model", "/no/such/model is not a folder"), ("tiny.eng", "Did you")]
)
async def test_the_error_of_a_missing_model_has_the_childs_own_words(
    model: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGNB_OFFLINE_MODEL", model)
    with pytest.raises(DgnbError, match=f"offline engine did not start: .*{words}"):
        await dgnb.transcribe(dgnb.samples.path(), endpoint="offline")


def test_a_child_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DgnbError, match="did not start: it said nothing"):
        offline.ensure()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DgnbError, match=r"pip install 'dgnb\[offline\]'"):
        offline.ensure()

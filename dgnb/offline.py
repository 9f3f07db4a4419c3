"""The loopback server as a child process, one for each kernel: the engine behind `endpoint="offline"`.

In a process of its own, a busy cell does not slow down the engine, and the engine does not slow down the kernel. The
child ends when its standard input closes; the system closes it even when the kernel is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any, Final

from dgnb.exceptions import DgnbError

MODEL_VARIABLE: Final = "DGNB_OFFLINE_MODEL"
_START_TIMEOUT: Final = 600.0  # Seconds: a model other than `tiny.en` may have to be fetched

_lock = threading.Lock()
_running: _Child | None = None


class _Child:
    """A running child process, with its addresses and its token."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        command = [sys.executable, "-m", "dgnb.loopback", "--port", "0", "--json", "--exit-with-stdin"]
        self.model = os.environ.get(MODEL_VARIABLE)
        if self.model:
            command += ["--model", self.model]
        environment = {**os.environ, "DGNB_LOOPBACK_TOKEN": self.token}
        # The child has no use for the key.
        environment.pop("DEEPGRAM_API_KEY", None)
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Outside the kernel's process group, which gets the signal of an interrupted cell.
            start_new_session=True,
        )
        self.addresses = self._await_addresses()

    @property
    def serves(self) -> bool:
        """Whether it runs, with the model that the environment names now."""
        return self.process.poll() is None and self.model == os.environ.get(MODEL_VARIABLE)

    def _await_addresses(self) -> dict[str, Any]:
        late = threading.Timer(_START_TIMEOUT, self.process.kill)
        late.start()
        try:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
        finally:
            late.cancel()
        with contextlib.suppress(ValueError):
            addresses = json.loads(line)
            if isinstance(addresses, dict) and "url" in addresses:
                return addresses
        self.process.kill()
        self.process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        told = (lines[-1] if lines else "it said nothing").rstrip(".")
        self.stop()
        raise DgnbError(
            f"The offline engine did not start: {told}. Run `python -m dgnb.loopback` in a terminal to see more."
        )

    def stop(self) -> None:
        """End the process and wait for it; after two seconds, kill it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def ensure() -> tuple[str, str]:
    """Start the child if none runs, which may block for seconds. Returns its `ws://` address and its token."""
    child = _ensure()
    return str(child.addresses["url"]), child.token


def radio_url() -> str:
    """The address of the child's radio station, which repeats the sample. Starts the child, as `ensure()` does.

    Example:
        ```python
        session = dgnb.LiveSession(dgnb.loopback.radio_url(), endpoint="offline", duration=15).start()
        ```
    """
    return str(_ensure().addresses["radio_url"])


def stop() -> None:
    """End the child, if one runs. It also ends with the kernel."""
    global _running
    with _lock:
        if _running:
            _running.stop()
        _running = None


def _ensure() -> _Child:
    global _running
    with _lock:
        if _running is None or not _running.serves:
            if importlib.util.find_spec("faster_whisper") is None:
                raise DgnbError(
                    "The offline engine is not installed: pip install 'dgnb[offline]'. Or set DEEPGRAM_API_KEY to "
                    "transcribe at Deepgram."
                )
            if _running:
                _running.stop()
            _running = _Child()
        return _running


atexit.register(stop)


def _forget() -> None:
    """In a forked worker, close the pipe, so that the engine does not live as long as the worker. It starts its own."""
    global _running
    if _running and _running.process.stdin:
        with contextlib.suppress(OSError):
            os.close(_running.process.stdin.fileno())
    _running = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

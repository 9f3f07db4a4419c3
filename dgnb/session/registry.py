"""Which sessions there are: `sessions()`, the cell that is run again, the end of the process, and a fork."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
from typing import TYPE_CHECKING

from dgnb.cells import Cells
from dgnb.session.stop import AT_EXIT

if TYPE_CHECKING:
    from dgnb.session.live import LiveSession
    from dgnb.session.runner import Runner

__all__ = ["sessions"]

_runners: list[Runner] = []
_started: Cells[Runner] = Cells()


def sessions() -> list[LiveSession]:
    """The sessions of this process that are not closed, and the one that closed last; in the order of their start.

    Example:
        ```python
        for session in dgnb.sessions():
            await session.stop()
        ```
        `stop()` raises the error of a session that failed, unless it was raised or logged before.
    """
    return [runner.session for runner in _runners]


def add(runner: Runner) -> list[Runner]:
    """Register a session that starts. Returns those that an earlier run of the same cell started and that still run."""
    _runners[:] = [*(other for other in _runners if other is not runner), runner]
    formers, unclear = (
        [other for other in dict.fromkeys(others) if other is not runner and not other.closed]
        for others in _started.replace(runner)
    )
    if unclear and runner.stream.endpoint.kind != "replay":  # A replay costs nothing, and adds nothing to its file.
        runner.session.transcript.note(
            "warning",
            f"{len(unclear) + 1} sessions are running, as nobody can tell here whether this one is to replace another: "
            "dgnb.sessions() lists them, and `await session.stop()` ends one.",
        )
    return formers


def ended(runner: Runner) -> None:
    """Forget the sessions that closed before this one."""
    _runners[:] = [other for other in _runners if other is runner or not other.closed]


def _at_exit() -> None:
    """Stop the sessions of a kernel that shuts down or restarts, and keep what their servers still send.

    Some kernels only stop their loop, so that none of its tasks is ever cancelled.
    """
    for loop in {runner.loop for runner in _runners}:
        if loop and not loop.is_closed() and not loop.is_running():
            with contextlib.suppress(Exception):
                task = loop.create_task(_stop([runner for runner in _runners if runner.loop is loop]))
                # A kernel that was interrupted before it exits has asked its loop to stop more than once.
                for _ in range(10):
                    with contextlib.suppress(RuntimeError):
                        loop.run_until_complete(task)
                        break


async def _stop(runners: list[Runner]) -> None:
    for runner in runners:
        runner.request_stop()
    await asyncio.gather(*(runner.wait(AT_EXIT) for runner in runners))


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    # A forked child has copies of the sockets. It must not send on them.
    os.register_at_fork(after_in_child=_runners.clear)

"""`Cells`: what the cells of a notebook made, so that a cell that is run again replaces what it made before."""

from __future__ import annotations

import contextlib
import threading
import weakref
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

from dgnb.exceptions import shell

T = TypeVar("T")


class Run(NamedTuple):
    """One execution of a cell. `cell` is its id, or None where the front end sends none, as IPython's terminal."""

    cell: str | None


class Cells(Generic[T]):
    """A register by cell. Outside IPython it stays empty."""

    def __init__(self) -> None:
        self._made: dict[str | None, list[tuple[Run, weakref.ref[T]]]] = {}

    def replace(self, thing: T) -> tuple[list[T], list[T]]:
        """Register what a cell made. Returns what earlier runs of it made, and what unknown cells made."""
        if (run := _running.get()) is None:
            return [], []
        made = self._made.get(run.cell, [])
        others = [old for by, reference in made if by is not run and (old := reference()) is not None]
        # A task that goes on after other cells ran is no new run of its cell.
        replaces = run is _newest and run.cell is not None
        kept = [(by, reference) for by, reference in made if reference() and (by is run or not replaces)]
        self._made[run.cell] = [*kept, (run, weakref.ref(thing))]
        return (others, []) if replaces else ([], others if run.cell is None else [])


_running: ContextVar[Run | None] = ContextVar("_running", default=None)
"""The cell whose code runs. Its tasks copy it. A thread that it starts has none, and nor has a click on a widget."""
_newest: Run | None = None


def _begin(info: Any) -> None:
    global _newest
    outer = _running.get()
    if info.cell_id is not None or outer is None or outer.cell is None:  # Else a cell runs code, as %run does.
        _newest = Run(info.cell_id)
        _running.set(_newest)


def _end(result: Any) -> None:
    run = _running.get()
    if run is not None and run.cell == result.info.cell_id:
        _running.set(None)  # Some kernels handle the next message in the same context.


def _watch(shell: Any) -> None:
    """Learn of each cell from now on, and of the one that imports this module."""
    shell.events.register("pre_run_cell", _begin)
    shell.events.register("post_run_cell", _end)
    message: dict[str, Any] = {}
    with contextlib.suppress(Exception):
        message = shell.kernel.get_parent("shell")
    kind = (message.get("header") or {}).get("msg_type", "execute_request")
    if kind == "execute_request" and threading.current_thread() is threading.main_thread():
        _begin(SimpleNamespace(cell_id=(message.get("metadata") or {}).get("cellId")))


if running := shell():
    _watch(running)

"""`Cells`: what the cells of a notebook made, so that a cell that is run again replaces what it made before."""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import Generic, TypeVar

__all__ = ["Cells"]

T = TypeVar("T")


class Cells(Generic[T]):
    """A register by cell. Outside IPython it stays empty."""

    def __init__(self) -> None:
        self._made: dict[object, tuple[int, list[weakref.ref[T]]]] = {}

    def replace(self, thing: T) -> list[T]:
        """Register what the running cell made. Returns what an earlier run of the same cell made."""
        cell = _current()
        if cell is None:
            return []
        name, run = cell
        made_by, made = self._made.get(name, (run, []))
        former = [] if made_by == run else [old for reference in made if (old := reference()) is not None]
        self._made[name] = (run, [*(made if made_by == run else []), weakref.ref(thing)])
        return former


def _current() -> tuple[object, int] | None:
    """The running cell and its execution count, or None outside a cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return None
    parent = getattr(shell, "parent_header", None) or {}
    with contextlib.suppress(Exception):
        parent = shell.kernel.get_parent("shell") or parent
    if (parent.get("header") or {}).get("msg_type", "execute_request") != "execute_request":
        return None  # A click on a widget.
    # JupyterLab sends the cell's id. Other front ends send none, so the cell's text identifies it.
    name = (parent.get("metadata") or {}).get("cellId") or shell.user_ns.get("In", [""])[-1]
    return name, int(shell.execution_count)

"""Which cell made what, in an IPython of its own, whose cells have ids as JupyterLab's have."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHELL = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()

def cell(code, cell_id=None):
    shell.run_cell(code, cell_id=cell_id).raise_error()

cell('''
import asyncio, threading
from dgnb.cells import Cells

class Thing: pass

made = Cells()
things = []

def in_thread(work):
    told = []
    thread = threading.Thread(target=lambda: told.append(work()))
    thread.start(), thread.join()
    return told[0]

def make():
    things.append(Thing())
    former, unclear = made.replace(things[-1])
    return [things.index(thing) for thing in former], [things.index(thing) for thing in unclear]
''', "setup")
"""

NOTHING: tuple[list[int], list[int]] = ([], [])
CASES = {
    "a cell that is run again replaces what it made": (
        ["a: make()", "a: make()", "a: make()"],
        [NOTHING, ([0], []), ([1], [])],
    ),
    "a cell may make several": (
        ["a: make(), make()", "a: make()", "a: make()"],
        [(NOTHING, NOTHING), ([0, 1], []), ([2], [])],
    ),
    "other cells with the same text replace nothing": (
        ["a: make()", "b: make()", "a: make()", "b: make()"],
        [NOTHING, NOTHING, ([0], []), ([1], [])],
    ),
    "what a former run of a cell makes late replaces nothing and is replaced by the next run": (
        [
            "a: (make(), exec('import contextvars; then = contextvars.copy_context()', globals()))[0]",
            "b: then.run(make)",
            "a: make()",
            "b: then.run(make)",
            "a: make()",
        ],
        [NOTHING, NOTHING, ([0, 1], []), NOTHING, ([2, 3], [])],
    ),
    "a thread belongs to no cell": (
        ["a: make(), in_thread(make)", "b: in_thread(make)", "a: in_thread(make), make()"],
        [(NOTHING, NOTHING), NOTHING, (NOTHING, ([0], []))],
    ),
    "a cell that runs code as a cell is still the same cell": (
        ["a: make()", "a: (get_ipython().run_cell('1'), make())[1]", "a: make()"],
        [NOTHING, ([0], []), ([1], [])],
    ),
    "without ids nothing is replaced and it is said what may have been": (
        [": make(), make()", ": make()"],
        [(NOTHING, NOTHING), ([], [0, 1])],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_which_things_a_cell_replaces(case: str) -> None:
    cells, expected = CASES[case]
    runs = []
    for text in cells:
        name, _, code = text.partition(": ")
        runs.append(f"cell({f'got.append(({code}))'!r}, {name or None!r})")
    script = "\n".join([SHELL, "cell('got = []', 'list')", *runs, "print('told:', shell.user_ns['got'])"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    told = done.stdout.split("told: ")[-1].strip()
    assert told == repr(expected)


def test_outside_ipython_nothing_is_replaced() -> None:
    code = (
        "import sys; from dgnb.cells import Cells\n"
        "class Thing: pass\n"
        "cells, things = Cells(), [Thing(), Thing()]\n"
        "print([cells.replace(thing) for thing in things], 'IPython' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[([], []), ([], [])] False"

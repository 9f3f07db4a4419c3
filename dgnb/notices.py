"""How dgnb speaks to a person: quiet lines in a notebook or on a terminal, with text from outside made harmless."""

from __future__ import annotations

import html
import logging
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal

from dgnb.exceptions import shell

logger = logging.getLogger("dgnb")

FAINT: Final = "opacity:.75"
_JOINERS: Final = frozenset("\u200c\u200d\u200e\u200f")
"""Invisible characters that some scripts need. Others, such as U+202E, could make text look different."""


def host() -> Literal["notebook", "terminal", ""]:
    """Where output of this process is read: in a notebook, on a terminal, or nowhere in particular."""
    if getattr(shell(), "kernel", None) is not None:
        return "notebook"
    return "terminal" if sys.stderr is not None and sys.stderr.isatty() else ""


def say(text: str) -> None:
    """Tell what is worth knowing and no fault: a quiet line under the cell; elsewhere, a warning in the log."""
    if host() == "notebook":
        logger.info("%s", text)
        show(bundle(quiet(escaped(text)), text), raw=True)
    else:
        logger.warning("%s", text)


def show(thing: object, **how: Any) -> Any:
    """Show something under the cell: IPython's `display`, which `import dgnb` does not load."""
    from IPython import display as front_end

    display: Any = front_end.display
    return display(thing, **how)


def bundle(markup: str, text: str) -> dict[str, str]:
    """HTML, and the same as plain text for where HTML is not shown."""
    return {"text/html": markup, "text/plain": text}


def quiet(markup: str) -> str:
    """HTML that stays in the background of a notebook."""
    return f'<div style="font-size:90%;line-height:1.5" role="status">{markup}</div>'


def grid(rows: Iterable[tuple[str, str, str]]) -> str:
    """HTML in three columns, in the colours of the page."""
    cells = "".join(f'<span style="{FAINT}">{a}</span><span>{b}</span><span>{c}</span>' for a, b, c in rows)
    style = "display:grid;grid-template-columns:max-content fit-content(24em) 1fr;column-gap:1em;margin:.3em 0"
    return f'<div style="{style};overflow-wrap:anywhere">{cells}</div>'


def escaped(text: object) -> str:
    """Escape text from outside: no markup, and no control or direction-changing characters."""
    return html.escape(printable(text))


def printable(text: object) -> str:
    """Text from outside without control and direction-changing characters, for where markup is not read."""
    said = str(text)
    return said if said.isprintable() else "".join(c if c.isprintable() or c in _JOINERS else " " for c in said)


def clock(seconds: float) -> str:
    """A time as people write it: 2:14, or 1:02:14."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

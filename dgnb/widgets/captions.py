"""`LiveCaptions`: the newest words of a session, the interim in italics."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from typing import Final

import ipywidgets as widgets

from dgnb.exceptions import ConfigurationError
from dgnb.notices import clock, escaped
from dgnb.session import LiveSession
from dgnb.transcript import Transcript

__all__ = ["LiveCaptions", "watch"]

REDRAW: Final = 0.2
"""Seconds between two redraws. Readers do not notice more than five a second."""
_WORDS: Final = 300
"""About two minutes of speech. The transcript has all of it."""
_INTERIM: Final = 1_000
"""How many of an interim's last characters are shown."""


class LiveCaptions(widgets.HTML):  # type: ignore[misc]
    """The captions of a session, to show beside your own code.

    They show the last two minutes and redraw at most five times a second. Markup in the text is shown and not run.

    Args:
        session: The session to follow. It is started if it does not run yet. None shows nothing.
        height: CSS height of the box.

    Example:
        ```python
        session = dgnb.LiveSession("talk.wav", interim_results=True).start()
        dgnb.LiveCaptions(session)
        ```
    """

    def __init__(self, session: LiveSession | None = None, *, height: str = "12em") -> None:
        if not isinstance(session, LiveSession | None):
            raise ConfigurationError(f"LiveCaptions follow a LiveSession, not {type(session).__name__}.")
        if not isinstance(height, str):
            raise ConfigurationError(f"height is a CSS height such as '12em', not {height!r}.")
        super().__init__()
        self.add_class("dgnb-captions")
        self.session = session
        self._height = height
        self._drawn: tuple[object, ...] = ()
        self._watching: asyncio.Task[None] | None = None
        self.draw()
        if session is not None:
            session.start()
            self._watching = asyncio.get_running_loop().create_task(watch(session, self.draw), name="dgnb: captions")

    def __repr__(self) -> str:
        return f"<LiveCaptions of {self.session!r}>"

    def draw(self) -> None:
        """Show what has arrived so far. If nothing is new, nothing is sent to the browser."""
        transcript = self.session.transcript if self.session else Transcript()
        state = (id(transcript), transcript.word_count, transcript.lines(1), transcript.interim)
        if state != self._drawn:
            self._drawn = state
            self.value = _page(transcript, self._height)


async def watch(session: LiveSession, draw: Callable[[], object]) -> None:
    """Draw five times a second until the session has closed, and once after that. Its error is not raised."""
    while not await session.wait(REDRAW):
        draw()
    draw()


def _page(transcript: Transcript, height: str) -> str:
    lines = []
    for line in transcript.lines(_WORDS):
        speaker = "" if line.speaker is None else f" speaker {line.speaker}"
        lines.append(
            f'<div dir="auto"><span style="opacity:.6;font-size:85%">{clock(line.start)}{speaker}</span> '
            f"{escaped(line.text)}</div>"
        )
    if interim := transcript.interim:
        lines.append(f'<div dir="auto" style="opacity:.6;font-style:italic">{escaped(interim[-_INTERIM:])}</div>')
    # A reversed column keeps the newest line in view without a script.
    return (
        f'<div style="height:{html.escape(height)};overflow-y:auto;display:flex;flex-direction:column-reverse;'
        "line-height:1.5;overflow-wrap:anywhere;border:1px solid rgba(128,128,128,.35);border-radius:4px;"
        'padding:4px 8px" aria-live="polite" role="log">'
        f"<div>{''.join(lines)}</div></div>"
    )

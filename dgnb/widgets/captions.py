"""`LiveCaptions`: the newest words on the screen, the interim in grey."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from typing import Any, Final

import ipywidgets as widgets

from dgnb.session import LiveSession
from dgnb.transcript import Transcript

__all__ = ["LiveCaptions", "escaped", "watch"]

REDRAW: Final = 0.2
"""Seconds between two redraws. A reader can't tell more than five a second apart."""
_WORDS: Final = 300
"""About two minutes of speech; everything is in the transcript."""
_INTERIM: Final = 1_000
"""Characters of an interim that are shown: its end."""
_JOINERS: Final = frozenset("\u200c\u200d\u200e\u200f")
"""Invisible characters that scripts need; others, such as U+202E, could show text as what it is not."""


class LiveCaptions(widgets.HTML):  # type: ignore[misc]
    """The captions of a session, to put beside one's own code.

    They follow the session from when they are made, at most five redraws a second whatever comes in, and show the last
    two minutes. Text is shown as text: whatever markup was spoken stays visible and does nothing.

    Args:
        session: The session to follow; it may be running or not. None shows nothing yet.
        height: CSS height of the box.

    Example:
        ```python
        session = dgnb.LiveSession("talk.wav", interim_results=True).start()
        dgnb.LiveCaptions(session)
        ```
    """

    def __init__(self, session: LiveSession | None = None, *, height: str = "12em") -> None:
        super().__init__()
        self.add_class("dgnb-captions")
        self.session = session
        self._height = height
        self._drawn: tuple[int, int, str] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.draw()
        if session is not None:
            session.start()
            self._watching = asyncio.get_running_loop().create_task(watch(session, self.draw), name="dgnb: captions")

    def __repr__(self) -> str:
        return f"<LiveCaptions of {self.session!r}>"

    def draw(self) -> None:
        """Show what has come so far; where nothing has come, nothing is sent to the browser."""
        transcript = self.session.transcript if self.session else Transcript()
        state = (id(transcript), transcript.word_count, transcript.interim)
        if state != self._drawn:
            self._drawn = state
            self.value = _page(transcript, self._height)


async def watch(session: LiveSession, draw: Callable[[], object]) -> None:
    """Draw five times a second until the session has closed, and once more then. Its error is not raised."""
    while not await session.wait(REDRAW):
        draw()
    draw()


def escaped(text: object) -> str:
    """Text from outside as text: no markup, no control or direction-changing characters."""
    return html.escape("".join(c if c.isprintable() or c in _JOINERS else " " for c in str(text)))


def _page(transcript: Transcript, height: str) -> str:
    lines = [
        f'<div dir="auto"><span style="opacity:.6;font-size:85%">{_clock(line.start)}{_speaker(line)}</span> '
        f"{escaped(line.text)}</div>"
        for line in transcript.lines(_WORDS)
    ]
    if interim := transcript.interim:
        lines.append(f'<div dir="auto" style="opacity:.6;font-style:italic">{escaped(interim[-_INTERIM:])}</div>')
    # Reversed columns keep the newest line in sight without a script.
    return (
        f'<div style="height:{html.escape(height)};overflow-y:auto;display:flex;flex-direction:column-reverse;'
        "line-height:1.5;overflow-wrap:anywhere;border:1px solid rgba(128,128,128,.35);border-radius:4px;"
        'padding:4px 8px" aria-live="polite" role="log">'
        f"<div>{''.join(lines)}</div></div>"
    )


def _speaker(line: Any) -> str:
    return "" if line.speaker is None else f" speaker {line.speaker}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

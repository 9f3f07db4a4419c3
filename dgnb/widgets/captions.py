"""`LiveCaptions`: the newest words of a session, the interim in italics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import traitlets
from anywidget import AnyWidget

from dgnb.exceptions import ConfigurationError
from dgnb.notices import clock, printable
from dgnb.session import LiveSession
from dgnb.writing import shown

__all__ = ["LiveCaptions", "watch"]

REDRAW: Final = 0.2
"""Seconds between two redraws. Readers do not notice more than five a second."""
_WORDS: Final = 300  # About two minutes of speech. The transcript has all of it.
_INTERIM: Final = 1_000  # How many of an interim's last characters are shown

SCRIPT: Final = Path(__file__).with_name("captions.js").read_text(encoding="utf-8")
STYLE: Final = Path(__file__).with_name("panel.css").read_text(encoding="utf-8")


class LiveCaptions(AnyWidget):
    """The captions of a session, to show beside your own code.

    They fill from the top and follow the newest line, unless you scroll up. A page that is opened later shows the last
    two minutes. They redraw at most five times a second. Markup in the text is shown and not run.

    Args:
        session: The session to follow, or a `dgnb.replay(…)`. It is started if it does not run yet. None shows nothing.
        height: CSS height of the box.

    Example:
        ```python
        session = dgnb.LiveSession("talk.wav", interim_results=True).start()
        dgnb.LiveCaptions(session)
        ```
    """

    _esm = SCRIPT + "\nexport default { render: ({ model, el }) => follow(model, el) };\n"
    _css = STYLE
    captions = traitlets.Dict().tag(sync=True)
    height = traitlets.Unicode().tag(sync=True)

    def __init__(self, session: LiveSession | None = None, *, height: str = "12em") -> None:
        if not isinstance(session, LiveSession | None):
            raise ConfigurationError(f"LiveCaptions follow a LiveSession, not {type(session).__name__}.")
        if not isinstance(height, str):
            raise ConfigurationError(f"height is a CSS height such as '12em', not {height!r}.")
        super().__init__(captions=newest(session), height=height)
        self.session = session
        self._watching: asyncio.Task[None] | None = None
        if session is not None:
            session.start()
            self._watching = asyncio.get_running_loop().create_task(watch(session, self.draw), name="dgnb: captions")

    def __repr__(self) -> str:
        return f"<LiveCaptions of {self.session!r}>"

    def draw(self) -> None:
        """Show what has arrived so far. If nothing is new, nothing is sent to the browser."""
        self.captions = newest(self.session)


def newest(session: LiveSession | None) -> dict[str, Any]:
    """The last two minutes for the front end: lines of finals, whose words keep their position, and the interim."""
    if session is None:
        return {"run": 0, "lines": [], "interim": ""}
    transcript = session.transcript
    lines = [
        {
            "utterance": line.utterance,
            "at": clock(line.first.start),
            "speaker": printable(transcript.voice(line.first.speaker, "speaker")),
            "words": [[position, printable(shown(word))] for position, word in line.words.items()],
        }
        for line in transcript.lines(_WORDS)
    ]
    # A person may change lines that the page has already: it draws all anew.
    run = f"{id(transcript)} {transcript.revision}"
    return {"run": run, "lines": lines, "interim": printable(transcript.interim[-_INTERIM:])}


async def watch(session: LiveSession, draw: Callable[[], object]) -> None:
    """Draw five times a second until the session has closed, and once after that. Its error is not raised."""
    while not await session.wait(REDRAW):
        draw()
    draw()

"""`PanelView`: the traits that `panel.js` draws, and how a session looks in them."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import traitlets
from anywidget import AnyWidget

from dgnb.endpoints import Endpoint
from dgnb.notices import clock, printable
from dgnb.options import FluxOptions, LiveOptions
from dgnb.session import LiveSession, State
from dgnb.widgets import form
from dgnb.widgets.captions import SCRIPT, STYLE, newest
from dgnb.widgets.microphone import PART
from dgnb.widgets.source import MICROPHONE, TYPED, UPLOAD, SourceChoice

OWN_SERVER: Final = "custom"
"""The kind of an endpoint whose address is typed."""
_BADGES: Final = {"deepgram": "Deepgram", "offline": "Offline engine", OWN_SERVER: "Own server"}
_ROWS: Final = 20
_ROWS_AFTER: Final = 200  # Words and events in their tables while a session runs, and after it
_TIMELINE: Final = 30.0
_MOST: Final = 150  # Seconds that the timeline shows, and words in them at most: nobody says five a second for long
_SILENCE: Final = -60.0  # dB below full scale at which the level meter is empty


class PanelView(AnyWidget):
    """The panel on the page. What no saved notebook may hold, such as a key or a file, is a message and no trait."""

    _esm = SCRIPT + "\n" + PART + "\n" + Path(__file__).with_name("panel.js").read_text(encoding="utf-8")
    _css = STYLE
    fields = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    problems = traitlets.Dict().tag(sync=True)
    hints = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    error = traitlets.Dict().tag(sync=True)
    captions = traitlets.Dict().tag(sync=True)
    tab = traitlets.Unicode("captions").tag(sync=True)
    table = traitlets.Dict().tag(sync=True)
    compared = traitlets.Dict().tag(sync=True)
    _asker = ""

    def __init__(self, source: SourceChoice, options: dict[str, Any], endpoint: Endpoint, *, shared: bool) -> None:
        endpoints = dict(_BADGES)
        if shared and endpoint.kind != OWN_SERVER:
            del endpoints[OWN_SERVER]
        address = (endpoint.url or "") if endpoint.kind == OWN_SERVER else ""
        own = {"endpoint": endpoint.kind, "address": address, "duration": ""}
        # The other form has the defaults of the panel.
        others = form.shown(FluxOptions()) | form.shown(LiveOptions(interim_results=True))
        self._held = {**source.values, **own, **others, **options}
        fixed = ["address", "callback", "callback_method"] if shared else []
        only = {name: [self._held[name]] for name in fixed}
        self._choices = {"source": source.kinds, "endpoint": list(endpoints), **only}
        super().__init__(
            values=self._held,
            fields={
                "forms": form.described(),
                "presets": form.presets(),
                "models": [],
                "sources": source.kinds,
                "microphone": MICROPHONE,
                "typed": TYPED,
                "upload": UPLOAD,
                "endpoints": endpoints,
                "fixed": fixed,
            },
        )

    @traitlets.validate("values")
    def _fitting(self, proposal: dict[str, Any]) -> dict[str, Any]:
        """The values that the fields can hold. A front end can send anything, and change a disabled field."""
        held = {n: value for n, value in proposal["value"].items() if n in self._held and not self._objection(n, value)}
        self._held = {**self._held, **held}
        return self._held

    def _objection(self, name: str, value: Any) -> str:
        """Why a field can't hold a value, or ""."""
        if not isinstance(value, kind := type(self._held[name])):
            return f"{name} takes {'True or False' if kind is bool else 'a text'}, not {value!r}."
        choices = self._choices.get(name, [value])
        return "" if value in choices else f"{name} is one of {choices}, not {value!r}."

    def _show_session(self, session: LiveSession | None, badge: str, key: str, changes: list[str], effect: str) -> None:
        """Bring what is seen of a session up to date. What did not change is not sent to the browser."""
        running = session is not None and session.state is not State.CLOSED
        is_open = session is not None and session.state is State.OPEN
        self.captions = newest(session)
        self.table = _table(session, self.tab, _ROWS if running else _ROWS_AFTER)
        self.state = {
            "says": printable(_says(session)),
            "running": running,
            "paused": session is not None and session.paused,
            "can_pause": session is not None and (is_open or session.reconnecting),
            "open": is_open,
            "badge": printable(badge),
            "key": key,
            "turns": session is not None and isinstance(session.options, FluxOptions),
            "changes": changes,
            "effect": effect,
            **(_figures(session) if session else {}),
        }

    def _answer(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Send it to the view that asked, of those of this panel on the page; to all if it was code that asked."""
        self.send({**message, "view": self._asker}, buffers)

    def _focus(self, field: str) -> None:
        self._answer({"do": "focus", "field": field})


def _says(session: LiveSession | None) -> str:
    """The state in words. It holds no figures, because screen readers read it whenever it changes."""
    if session is None:
        return "Ready"
    if session.reconnecting:
        return "Reconnecting: the audio is kept"
    if session.state is State.CLOSED:
        return "Failed" if session.error else "Stopped"
    if session.paused:
        return "Paused"
    connecting = f"Connecting to {session.endpoint.name}"
    return {State.CONNECTING: connecting, State.OPEN: "Listening"}.get(session.state, "Waiting for the last words")


def _figures(session: LiveSession) -> dict[str, Any]:
    """Position, length, words, latency and loudness, as the front end shows them."""
    length, transcript = session.length, session.transcript
    figures = [f"{transcript.word_count} words"]
    if (latency := transcript.latency) is not None:
        figures.append(f"latency {latency:.1f} s")
    if transcript.cost is not None:
        figures.append(f"≈ US${transcript.cost:.4f}")
    if session.reconnecting:
        figures.append(f"{session.pending:.1f} s of audio kept")
    if (lag := session.lag) >= 1:
        figures.append(f"kernel was busy for {lag:.0f} s")
    shown: dict[str, Any] = {"at": clock(session.audio_cursor), "figures": " · ".join(figures), "part": None}
    if length:
        part = round(min(1.0, session.audio_cursor / length), 3)
        shown |= {"at": f"{clock(session.audio_cursor)} of {clock(length)}", "part": part}
    if session.state is State.CLOSED and session.audio_cursor:
        shown["result"] = f"{transcript.word_count} words in {session.audio_cursor:.1f} s"
    shown["sound"] = transcript.audio is not None and session.audio_cursor > 0
    level = session.level
    resting = session.paused or session.state is State.CLOSED or level is None
    shown["level"] = 0 if resting or level is None else round(100 * max(0.0, 1 - level / _SILENCE))
    shown["loudness"] = "" if resting else "silence" if level == -math.inf else f"{level:.0f} dB"
    return shown


def _table(session: LiveSession | None, tab: str, rows: int) -> dict[str, Any]:
    """What the open tab shows, beside the captions."""
    if session is None or tab == "captions":
        return {}
    words, events = session.transcript.latest(_MOST if tab == "timeline" else rows)
    if tab == "events":
        told = [[f"{datetime.fromtimestamp(e.at / 1e9):%H:%M:%S}", e.type, printable(e.text)] for e in events]
        return {"tab": tab, "rows": told, "of": len(told)}
    end = max(session.audio_cursor, _TIMELINE)
    if tab == "timeline":
        words = [word for word in words if word.end > end - _TIMELINE]
    shown = [
        [
            printable(word.punctuated_word or word.word),
            round(word.start, 3),
            round(word.end, 3),
            word.confidence,
            session.transcript.speakers.get(word.speaker, word.speaker) if tab == "words" else word.speaker,
        ]
        for word in words
    ]
    return {"tab": tab, "rows": shown, "of": session.transcript.word_count, "end": round(end, 1)}

"""`PanelView`: the controls of the panel, and how a session, an error and a hint look on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import ipywidgets as widgets
import traitlets

from dgnb.endpoints import Endpoint
from dgnb.notices import escaped
from dgnb.options import LiveOptions
from dgnb.session import LiveSession, State
from dgnb.widgets.captions import LiveCaptions
from dgnb.widgets.form import OptionsForm
from dgnb.widgets.source import SourceChoice, row, sized

OWN_SERVER: Final = "custom"
"""The kind of an endpoint whose address is typed."""
_BADGES: Final = {
    "deepgram": ("DEEPGRAM", "#1668c4"),
    "offline": ("OFFLINE ENGINE", "#1a7f4b"),
    OWN_SERVER: ("OWN SERVER", "#8a5a00"),
}


class KeyBox(widgets.Password):  # type: ignore[misc]
    """The box for a key. The kernel does not send what is typed to the other front ends of the notebook."""

    value = traitlets.Unicode("").tag(sync=True, echo_update=False)


class PanelView(widgets.VBox):  # type: ignore[misc]
    """The controls and their layout. It starts nothing: what a click does is the panel's business.

    The arguments are those of `ControlPanel`; `changed` is called when somebody changed a control.
    """

    def __init__(
        self, source: Any, options: LiveOptions, endpoint: Endpoint, changed: Callable[[], object], *, shared: bool
    ) -> None:
        self.badge = _html("dgnb-badge")
        self.status = _html("dgnb-status")
        self.hint = _html("dgnb-hint")
        self.error = _html("dgnb-error")
        self.captions = LiveCaptions()
        self.source = SourceChoice(source, changed, shared=shared)
        self.form = OptionsForm(options, changed)
        choices = [("Deepgram", "deepgram"), ("Offline engine", "offline")]
        if not shared or endpoint.kind == OWN_SERVER:
            choices.append(("Own server", OWN_SERVER))
        self.endpoint = widgets.Dropdown(
            options=choices, value=endpoint.kind, description="Endpoint", layout=sized("22em")
        )
        self.address = _text("Address", "wss://api.eu.deepgram.com", "26em")
        self.address.value = (endpoint.url or "") if endpoint.kind == OWN_SERVER else ""
        self.key = _text("Key", "DEEPGRAM_API_KEY, or type", "26em", KeyBox)
        self.key.add_class("dgnb-key")
        self.duration = _text("Seconds", "no limit", "14em")
        self.duration.tooltip = "Seconds of audio after which it stops by itself"
        self.start_button = _button("Start", "Start to transcribe", "success")
        self.stop_button = _button("Stop", "End the audio and keep the last words", "danger")
        self.pause_button = _button("Pause", "Hold the audio back, or let it go on")
        self.finalize_button = _button("Finalize", "Ask for finals of what was said so far")
        self.apply_button = _button("Apply", "Go on with the changed options")
        self.code_button = _button("Copy as code", "Write the cell that does the same")
        self.text = widgets.Textarea(rows=10, layout=widgets.Layout(width="calc(100% - 4px)", display="none"))
        self.text.add_class("dgnb-code")
        for control in (self.endpoint, self.address, self.duration):
            control.observe(lambda _: changed(), "value")
        super().__init__(self._laid_out())
        self.add_class("dgnb-panel")

    def _laid_out(self) -> list[Any]:
        buttons = [self.start_button, self.stop_button, self.pause_button]
        buttons += [self.finalize_button, self.apply_button, self.code_button]
        folded = widgets.Accordion([self.form], selected_index=None)
        folded.set_title(0, "Options")
        return [
            widgets.Box([self.badge, self.status], layout=row()),
            self.source,
            widgets.Box([self.endpoint, self.address, self.key, self.duration], layout=row()),
            folded,
            self.hint,
            widgets.Box(buttons, layout=row()),
            self.error,
            self.text,
            self.captions,
        ]

    def _show_session(self, session: LiveSession | None, *, differs: bool, fixed_address: bool) -> None:
        """Bring buttons, status and captions up to date. What did not change is not sent to the browser."""
        running = session is not None and session.state is not State.CLOSED
        is_open = session is not None and session.state is State.OPEN
        self.start_button.disabled = running
        self.stop_button.disabled = not running
        self.pause_button.disabled = session is None or not (is_open or session.reconnecting)
        self.pause_button.description = "Resume" if session is not None and session.paused else "Pause"
        self.finalize_button.disabled = not is_open
        self.apply_button.disabled = not (is_open and differs)
        self.source.enable(not running)
        for control in (self.endpoint, self.key, self.duration):
            control.disabled = running
        self.address.disabled = running or fixed_address
        self.captions.draw()
        self.status.value = "not started" if session is None else escaped(_status(session))

    def _show_badge(self, kind: str, where: str) -> None:
        name, colour = _BADGES[kind]
        self.badge.value = (
            f'<span style="background:{colour};color:white;padding:2px 8px;'
            f'border-radius:4px;font-weight:600;margin-right:8px">{name}</span>'
            f'<span style="margin-right:12px">{escaped(where)}</span>'
        )

    def _show_hints(self, lines: Iterable[str]) -> None:
        self.hint.value = "".join(f'<div role="status">⚠ {escaped(line)}</div>' for line in lines)

    def _show_fitting(self) -> None:
        """Show the address and the key where the chosen endpoint takes them."""
        self.address.layout.display = None if self.endpoint.value == OWN_SERVER else "none"
        self.key.layout.display = "none" if self.endpoint.value == "offline" else None

    def _show_error(self, error: BaseException, report: str = "") -> None:
        name = type(error).__name__
        more = f"<details><summary>Report</summary><pre>{escaped(report)}</pre></details>" if report else ""
        self.error.value = (
            '<div role="alert" style="border-left:4px solid #d33;padding:6px 10px;margin:4px 0;line-height:1.5;'
            f'white-space:normal;overflow-wrap:anywhere"><b>{escaped(name)}</b><br>{escaped(error)}{more}</div>'
        )


def _text(name: str, placeholder: str, width: str, kind: Any = widgets.Text) -> Any:
    return kind(placeholder=placeholder, description=name, continuous_update=False, layout=sized(width))


def _button(name: str, help: str, style: str = "") -> Any:
    return widgets.Button(description=name, tooltip=help, button_style=style, layout=widgets.Layout(width="auto"))


def _html(css_class: str) -> Any:
    made = widgets.HTML()
    made.add_class(css_class)
    return made


def _status(session: LiveSession) -> str:
    """State, audio, words, latency and level of a session, on one line."""
    running = session.state is not State.CLOSED
    if session.reconnecting:
        parts = [f"reconnecting, {session.pending:.0f} s of audio kept"]
    else:
        parts = ["paused" if session.paused else session.state.value]
    parts += [f"{session.audio_cursor:.1f} s of audio", f"{session.transcript.word_count} words"]
    if (latency := session.transcript.latency) is not None:
        parts.append(f"latency {latency:.1f} s")
    if running and (lag := session.lag) >= 1:
        parts.append(f"kernel was busy for {lag:.0f} s")
    if running and (level := session.level) is not None:
        filled = 0 if level == -math.inf else max(0, min(10, round((level + 60) / 6)))  # from -60 dB to full scale
        shown = "silence" if level == -math.inf else f"{level:.0f} dB"
        parts.append(f"level {shown} {'█' * filled}{'░' * (10 - filled)}")
    return " · ".join(parts)

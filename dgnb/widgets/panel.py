"""`ControlPanel`: everything that a `LiveSession` can do, to click."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import ipywidgets as widgets

from dgnb.cells import Cells
from dgnb.endpoints import Endpoint, Secret, choose
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.options import LiveOptions
from dgnb.session import LiveSession, State
from dgnb.transcript import Transcript
from dgnb.widgets.captions import LiveCaptions, escaped, watch
from dgnb.widgets.form import OptionsForm
from dgnb.widgets.source import SourceChoice

__all__ = ["ControlPanel"]

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_OWN: Final = "custom"
_BADGES: Final = {
    "deepgram": ("DEEPGRAM", "#1668c4"),
    "offline": ("OFFLINE ENGINE", "#1a7f4b"),
    "custom": ("OWN SERVER", "#8a5a00"),
}


class ControlPanel(widgets.VBox):  # type: ignore[misc]
    """A panel over a `LiveSession`: source, endpoint, options, Start, Stop, Pause, captions, status, errors.

    `panel.session` and `panel.transcript` are there for other cells at any time, also while it runs. Running the cell
    again ends the session of the panel that the cell made before.

    Args:
        source: What `LiveSession` takes; None for the sample recording.
        options: What the form shows at first; or options by name as further arguments.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` address; unset, as in `LiveSession`.
        api_key: Deepgram's key; `DEEPGRAM_API_KEY`, or typed into the panel, which keeps it in no widget.
        duration: Seconds of audio after which a session stops by itself.
        pace: As in `LiveSession`.
        reconnect: As in `LiveSession`.
        journal: As in `LiveSession`; each start moves the file of the one before aside.
        shared: The panel is in an app that others use: addresses they type must lead to the public network, paths to
            files below the working directory, servers other than Deepgram, the offline engine and `endpoint` are not
            to be had, and `duration` is the most that they can ask for.
        **wire: Options by name.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        ```python
        panel = dgnb.ControlPanel(interim_results=True, smart_format=True)
        panel
        ```
        and in a later cell `panel.transcript.words`.
    """

    # What a panel whose making failed still has when it is taken away.
    session: LiveSession | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self,
        source: Any = None,
        options: LiveOptions | None = None,
        endpoint: str | None = None,
        *,
        api_key: str | Secret | None = None,
        duration: float | None = None,
        pace: float | None = 1.0,
        reconnect: bool | float = True,
        journal: str | os.PathLike[str] | None = None,
        shared: bool = False,
        **wire: Any,
    ) -> None:
        api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        if options is not None and wire:
            raise ConfigurationError(f"Give options as LiveOptions or by name ({', '.join(wire)}), not both.")
        self._key = api_key
        self._pace = pace
        self._reconnect = reconnect
        self._journal = journal
        self._shared = shared
        self._most_seconds = duration if shared else None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opened_at: float | None = None
        self._latencies: deque[float] = deque(maxlen=24)
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()
        first = choose(endpoint, api_key)
        self._build(first, source, LiveOptions(**{"interim_results": True, **wire}) if options is None else options)
        self.duration.value = "" if duration is None else f"{duration:g}"
        self.add_class("dgnb-panel")
        self._draw()
        self._changed()
        for predecessor in _panels.replace(self):
            predecessor._hand_over(predecessor._stop)

    # What other cells use

    @property
    def transcript(self) -> Transcript:
        """Of the newest session; an empty one before the first."""
        return self.session.transcript if self.session else Transcript()

    @property
    def running(self) -> bool:
        """Whether a session is under way."""
        return self.session is not None and self.session.state is not State.CLOSED

    def __repr__(self) -> str:
        if self.session is None:
            return "<ControlPanel, not started>"
        session = self.session
        return (
            f"<ControlPanel {'paused' if session.paused else session.state.value}: {session.source.name} to "
            f"{session.endpoint.kind}, {session.audio_cursor:.1f} s, {session.transcript.word_count} words>"
        )

    def options(self) -> LiveOptions:
        """What the form says.

        Raises:
            ConfigurationError: It is not valid.
        """
        return self.form.options()

    def code(self) -> str:
        """The cell that does the same without the panel. A key that was typed is asked for anew, never written.

        Raises:
            ConfigurationError: The form is not valid.
        """
        options = self.options()
        arguments = [self.source.code()]
        if changed := options.changed():
            arguments.append(f"dgnb.LiveOptions({', '.join(f'{name}={value!r}' for name, value in changed.items())})")
        arguments.append(f"endpoint={self._wanted_endpoint()!r}")
        head = ["import dgnb"]
        if self._key is not None:
            head.insert(0, "from getpass import getpass\n")
            arguments.append('api_key=getpass("Deepgram key: ")')
        if (duration := self._duration()) is not None:
            arguments.append(f"duration={duration!r}")
        if self._pace != 1.0:
            arguments.append(f"pace={self._pace!r}")
        if self._reconnect is not True:
            arguments.append(f"reconnect={self._reconnect!r}")
        if self._journal is not None:
            arguments.append(f"journal={os.fspath(self._journal)!r}")
        call = "".join(f"    {argument},\n" for argument in arguments)
        remark = [self.source.remark()] if self.source.remark() else []
        return "\n".join([*head, "", *remark, f"session = dgnb.LiveSession(\n{call}).start()", "await session", ""])

    def close(self) -> None:
        """Take the panel off the page and end its session."""
        if self.running:
            self._hand_over(self._stop)
        super().close()

    # How it looks

    def _build(self, first: Endpoint, source: Any, options: LiveOptions) -> None:
        self.badge = _html("dgnb-badge")
        self.hint = _html("dgnb-hint")
        self.status = _html("dgnb-status")
        self.error = _html("dgnb-error")
        self.captions = LiveCaptions()
        self.source = SourceChoice(source, self._changed, shared=self._shared)
        self._own_address = first.url if first.kind == _OWN and first.url else ""
        own = [] if self._shared and first.kind != _OWN else [("Own server", _OWN)]
        self.endpoint = widgets.Dropdown(
            options=[("Deepgram", "deepgram"), ("Offline engine", "offline"), *own],
            value=first.kind,
            description="Endpoint",
            layout=_layout("22em"),
        )
        self.address = widgets.Text(
            value=self._own_address,
            placeholder="wss://api.eu.deepgram.com",
            description="Address",
            continuous_update=False,
            layout=_layout("26em"),
        )
        self.key = widgets.Password(
            placeholder="DEEPGRAM_API_KEY, or type",
            description="Key",
            continuous_update=False,
            layout=_layout("26em"),
        )
        self.key.add_class("dgnb-key")
        self.duration = widgets.Text(
            placeholder="no limit", description="Seconds", continuous_update=False, layout=_layout("14em")
        )
        self.duration.tooltip = "Seconds of audio after which it stops by itself"
        self.start_button = self._button("Start", "Begin to transcribe", self._start, "success")
        self.stop_button = self._button("Stop", "End the audio; the last words are kept", self._stop, "danger")
        self.pause_button = self._button("Pause", "Hold the audio back, or let it flow again", self._pause)
        self.finalize_button = self._button("Finalize", "Ask for finals of what was said so far", self._finalize)
        self.apply_button = self._button("Apply", "Go on with the options as they are now", self._apply)
        self.code_button = self._button("Copy as code", "Write the cell that does the same", self._write_code)
        self.text = widgets.Textarea(rows=10, layout=_layout("calc(100% - 4px)"))
        self.text.add_class("dgnb-code")
        self.text.layout.display = "none"
        self.form = OptionsForm(options, self._changed)
        folded = widgets.Accordion([self.form], selected_index=None)
        folded.set_title(0, "Options")
        self.endpoint.observe(lambda _: self._changed(), "value")
        self.address.observe(lambda _: self._changed(), "value")
        self.key.observe(lambda change: self._take_key(change["new"]), "value")
        self.duration.observe(lambda _: self._changed(), "value")
        super().__init__(
            [
                widgets.Box([self.badge, self.status], layout=_row()),
                self.source,
                widgets.Box([self.endpoint, self.address, self.key, self.duration], layout=_row()),
                folded,
                self.hint,
                widgets.Box(
                    [
                        self.start_button,
                        self.stop_button,
                        self.pause_button,
                        self.finalize_button,
                        self.apply_button,
                        self.code_button,
                    ],
                    layout=_row(),
                ),
                self.error,
                self.text,
                self.captions,
            ]
        )

    def _button(self, name: str, help: str, act: Callable[[], object], style: str = "") -> Any:
        made = widgets.Button(description=name, tooltip=help, button_style=style, layout=widgets.Layout(width="auto"))
        made.on_click(lambda _: self._hand_over(act))
        return made

    def _draw(self) -> None:
        """Bring buttons, status and captions up to date; what did not change is not sent."""
        session, running = self.session, self.running
        is_open = session is not None and session.state is State.OPEN
        waits = session is not None and (is_open or session.reconnecting)
        self.start_button.disabled = running
        self.stop_button.disabled = not running
        self.pause_button.disabled = not waits
        self.finalize_button.disabled = not is_open
        self.apply_button.disabled = not is_open or not self._differs()
        self.pause_button.description = "Resume" if session and session.paused else "Pause"
        self.source.enable(not running)
        for control in (self.endpoint, self.key, self.duration):
            control.disabled = running
        self.address.disabled = running or self._shared
        self.captions.draw()
        self.status.value = self._status()
        self._draw_badge()

    def _differs(self) -> bool:
        """Whether the form says something else than what the session runs with; a mistake in it counts."""
        try:
            return self.session is not None and _without_raw(self.options()) != self.session.options
        except ConfigurationError:
            return True

    def _status(self) -> str:
        session = self.session
        if session is None:
            return "not started"
        if session.state is State.OPEN and self._opened_at is None:
            self._opened_at = time.monotonic()
        if session.reconnecting:
            parts = [f"reconnecting, {session.pending:.0f} s of audio kept"]
        else:
            parts = ["paused" if session.paused else session.state.value]
        if self._opened_at is not None and self.running:
            parts.append(f"connected {time.monotonic() - self._opened_at:.0f} s")
        parts.append(f"{session.audio_cursor:.1f} s of audio")
        parts.append(f"{session.transcript.word_count} words")
        if (latency := session.transcript.latency) is not None:
            if self.running and latency not in list(self._latencies)[-1:]:
                self._latencies.append(latency)
            parts.append(f"latency {latency:.1f} s {_sparkline(self._latencies)}")
        if self.running and (lag := session.lag) >= 1:
            parts.append(f"kernel was busy for {lag:.0f} s")
        if self.running and (level := session.level) is not None:
            parts.append(f"level {'silence' if level == -math.inf else f'{level:.0f} dB'} {_meter(level)}")
        return " · ".join(map(escaped, parts))

    def _draw_badge(self) -> None:
        try:
            endpoint = self.session.endpoint if self.running and self.session else self._endpoint()
        except ConfigurationError:
            kind, where = (
                self.endpoint.value,
                "needs a key" if self.endpoint.value == "deepgram" else "needs an address",
            )
        else:
            kind = endpoint.kind
            where = "on this machine" if kind == "offline" else (endpoint.url or "").partition("://")[2]
        name, colour = _BADGES[kind]
        verb = "running on" if self.running else "would run on"
        self.badge.value = (
            f'<span title="{verb} {escaped(where)}" style="background:{colour};color:white;padding:2px 8px;'
            f'border-radius:4px;font-weight:600;margin-right:8px">{name}</span>'
            f'<span style="margin-right:12px">{escaped(where)}</span>'
        )

    def _changed(self) -> None:
        """Something was chosen: say at once what would go wrong with it."""
        own = self.endpoint.value == _OWN
        self.address.layout.display = None if own else "none"
        self.key.layout.display = "none" if self.endpoint.value == "offline" else None
        told: list[str] = []
        try:
            options = self.options()
            self._duration()
            told += _doubts(options, self.endpoint.value)
        except ConfigurationError as error:
            told.append(str(error))
        self.hint.value = "".join(f'<div role="status">⚠ {escaped(line)}</div>' for line in told)
        self._draw_badge()

    def _show_error(self, error: BaseException, report: str = "") -> None:
        name = type(error).__name__
        more = f"<details><summary>Report</summary><pre>{escaped(report)}</pre></details>" if report else ""
        self.error.value = (
            '<div role="alert" style="border-left:4px solid #d33;padding:6px 10px;margin:4px 0;line-height:1.5;'
            f'white-space:normal;overflow-wrap:anywhere"><b>{escaped(name)}</b><br>{escaped(error)}{more}</div>'
        )

    # What a click does, on the panel's loop

    def _hand_over(self, act: Callable[[], object]) -> None:
        """Do it on the loop that the panel was made on, whatever thread and loop the click came in."""
        if self._loop is None:
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            self._guarded(act)
        else:
            self._loop.call_soon_threadsafe(self._guarded, act)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:
            self._show_error(error)

    def _in_background(self, work: Callable[[], Coroutine[Any, Any, object]], name: str) -> None:
        loop = asyncio.get_running_loop()

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:
                self._show_error(error)
            self._guarded(self._draw)

        task = loop.create_task(guarded(), name=f"dgnb: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start(self) -> None:
        if self.running:
            return
        self.error.value = ""
        options = self.options()
        session = LiveSession(
            self.source.source(**_raw(options)),
            _without_raw(options),
            endpoint=self._endpoint(),
            duration=self._duration(),
            pace=self._pace,
            reconnect=self._reconnect,
            journal=self._journal,
        )
        session.start()
        self.session = self.captions.session = session
        self._opened_at = None
        self._latencies.clear()
        self._in_background(lambda: self._follow(session), "panel")
        self._draw()

    async def _follow(self, session: LiveSession) -> None:
        await watch(session, self._draw)
        if session.error is not None and session is self.session:
            self._show_error(session.error, session.report())

    def _stop(self) -> None:
        if self.session is not None and self.running:
            session = self.session
            # The error, if there is one, is shown by who follows the session.
            self._in_background(lambda: _quietly(session.stop()), "stop")
            self.stop_button.disabled = True

    def _pause(self) -> None:
        if self.session is not None:
            if self.session.paused:
                self.session.resume()
            else:
                self.session.pause()
            self._draw()

    def _finalize(self) -> None:
        if self.session is not None and self.session.state is State.OPEN:
            self._in_background(self.session.finalize, "finalize")

    def _apply(self) -> None:
        if self.session is not None and self.session.state is State.OPEN:
            self.error.value = ""
            session, options = self.session, _without_raw(self.options())
            self._in_background(lambda: session.apply(options), "apply")
            self.apply_button.disabled = True

    def _write_code(self) -> None:
        self.error.value = ""
        self.text.value = self.code()
        self.text.layout.display = None

    def _take_key(self, typed: str) -> None:
        """Keep the key where nothing saves it, and take it out of the widget."""
        if not typed:
            return
        self.key.value = ""
        try:
            choose("deepgram", typed)
            self._key = Secret(typed.strip())
        except ConfigurationError as error:
            self._hand_over(lambda error=error: self._show_error(error))  # type: ignore[misc]
        else:
            self.key.placeholder = "a key was typed; it is in no file"
        self._changed()

    def _wanted_endpoint(self) -> str:
        if self.endpoint.value != _OWN:
            return str(self.endpoint.value)
        # A front end can change a disabled widget.
        return self._own_address if self._shared else self.address.value.strip()

    def _endpoint(self) -> Endpoint:
        return choose(self._wanted_endpoint(), self._key)

    def _duration(self) -> float | None:
        text = self.duration.value.strip()
        if not text:
            return self._most_seconds
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ConfigurationError(f"Seconds is a positive number, or empty for no limit, not {text!r}.")
        return seconds if self._most_seconds is None else min(seconds, self._most_seconds)


def _doubts(options: LiveOptions, kind: str) -> list[str]:
    """What is allowed and still likely to go wrong."""
    told = []
    english = options.language.lower().partition("-")[0] == "en"
    if kind == "offline" and not english:
        told.append("The offline engine knows English only, unless DGNB_OFFLINE_MODEL names another model.")
    if kind == "deepgram" and not english and _english_only(options.model):
        told.append(f"{options.model} is documented for English only; for {options.language} use nova-3 or nova-2.")
    if kind == "offline" and (options.diarize or options.diarize_model):
        told.append("The offline engine does not tell speakers apart.")
    if options.diarize:
        told.append("diarize is deprecated by Deepgram: diarize_model asks for the same.")
    return told


def _english_only(model: str) -> bool:
    """Models made for one field are; general ones know more."""
    name = model.removeprefix("nova-3").removeprefix("nova-2").removeprefix("nova")
    return name not in ("", "-general") and model.startswith("nova")


def _raw(options: LiveOptions) -> dict[str, Any]:
    if options.encoding is None:
        return {}
    return {"encoding": options.encoding, "sample_rate": options.sample_rate, "channels": options.channels}


def _without_raw(options: LiveOptions) -> LiveOptions:
    """The same options for audio that the source decodes."""
    return options.for_audio(None, None, 1)


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    with contextlib.suppress(DgnbError):
        await work


def _html(css_class: str) -> Any:
    made = widgets.HTML()
    made.add_class(css_class)
    return made


def _layout(width: str) -> Any:
    return widgets.Layout(width=width, max_width="100%")


def _row() -> Any:
    return widgets.Layout(flex_flow="row wrap", width="100%", align_items="center")


def _sparkline(values: deque[float]) -> str:
    """Each value as a bar, of the largest."""
    most = max(max(values, default=0.0), 0.1)
    return "".join(_SPARKS[min(len(_SPARKS) - 1, int(max(0.0, value) / most * (len(_SPARKS) - 1)))] for value in values)


def _meter(level: float) -> str:
    """A bar of ten, from -60 dB to full scale."""
    filled = 0 if level == -math.inf else max(0, min(10, round((level + 60) / 6)))
    return "█" * filled + "░" * (10 - filled)


_panels: Cells[ControlPanel] = Cells()

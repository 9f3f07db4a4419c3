"""`ControlPanel`: what a click does."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from dgnb.audio.source import SourceFormat
from dgnb.cells import Cells
from dgnb.endpoints import Endpoint, Secret, choose, hidden
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.options import LiveOptions, as_options, takes_options
from dgnb.session import LiveSession, State
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, native, number
from dgnb.widgets.captions import watch
from dgnb.widgets.form import FORMAT
from dgnb.widgets.view import OWN_SERVER, PanelView

__all__ = ["ControlPanel"]


class ControlPanel(PanelView):
    """A panel over a `LiveSession`: source, endpoint, options, Start, Stop, Pause, captions, status, errors.

    Other cells can use `panel.session` and `panel.transcript` at any time, also while it runs. Running the cell again
    ends the session of the panel that the cell made before.

    Args:
        source: What `LiveSession` takes; None for the sample recording.
        options: What the form shows at first; or options by name as further arguments. `encoding`, `sample_rate` and
            `channels` say how a raw source is read.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` address; unset, as in `LiveSession`.
        api_key: Deepgram's key; unset, `DEEPGRAM_API_KEY`, or what is typed into the panel. No widget keeps it.
        duration: Seconds of audio after which a session stops by itself.
        pace: As in `LiveSession`.
        reconnect: As in `LiveSession`.
        journal: As in `LiveSession`; each start moves the file of the start before aside.
        shared: For an app that others use. The addresses they type must be on the public network, and paths must be
            below the working folder. They can choose Deepgram, the offline engine and `endpoint`, but no other server,
            and `duration` is the longest that they can ask for.
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

    # On the class, because ipywidgets closes a panel even if its construction failed.
    session: LiveSession | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    @takes_options
    def __init__(
        self,
        source: Any = None,
        options: LiveOptions | Mapping[str, Any] | None = None,
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
        endpoint, api_key = hidden(endpoint, api_key)
        source = native(source)
        options = _form_options(source, options, wire)
        if duration is not None:
            duration = number("duration is a positive number of seconds", duration, ABOVE_0)
        self._key = api_key
        self._pace = native(pace)
        self._reconnect = native(reconnect)
        self._journal = None if journal is None else os.fsdecode(native(journal))
        self._shared = shared
        self._most_seconds = duration if shared else None
        self._tasks: set[asyncio.Task[Any]] = set()
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()
        super().__init__(source, options, choose(endpoint, api_key), self._changed, shared=shared)
        self._own_address = self.address.value
        self.duration.value = "" if duration is None else f"{duration:g}"
        self.key.observe(lambda change: self._take_key(change["new"]), "value")
        for button, act in (
            (self.start_button, self._start),
            (self.stop_button, self._stop),
            (self.pause_button, self._pause),
            (self.finalize_button, self._finalize),
            (self.apply_button, self._apply),
            (self.code_button, self._write_code),
        ):
            button.on_click(lambda _, act=act: self._hand_over(act))
        self._draw()
        self._changed()
        for predecessor in _panels.replace(self)[0]:
            predecessor.stop_button.click()

    # What other cells use

    @property
    def transcript(self) -> Transcript:
        """The transcript of the newest session; an empty one before the first."""
        return self.session.transcript if self.session else Transcript()

    @property
    def running(self) -> bool:
        """Whether a session is under way."""
        return self.session is not None and self.session.state is not State.CLOSED

    def __repr__(self) -> str:
        return f"<ControlPanel of {self.session!r}>" if self.session else "<ControlPanel, not started>"

    def options(self) -> LiveOptions:
        """The options that the form shows. How a raw source is read is not among them.

        Raises:
            ConfigurationError: They are not valid.
        """
        return self.form.options()

    def code(self) -> str:
        """The cell that does the same without the panel. It asks for a key that was typed, and never contains it.

        Raises:
            ConfigurationError: The form is not valid.
        """
        source, comment = self.source.code()
        arguments = [source]
        if self.options().changed():
            arguments.append(f"dgnb.{self.options()!r}")
        named = {
            "endpoint": self._wanted_endpoint(),
            **(self.form.source_format() if self.source.takes_format else {}),
            "duration": self._duration(),
            "pace": self._pace,
            "reconnect": self._reconnect,
            "journal": self._journal,
        }
        defaults = {"channels": "1", "pace": "1.0", "reconnect": "True"}
        arguments += [f"{name}={value!r}" for name, value in named.items() if repr(value) != defaults.get(name, "None")]
        lines = ["import dgnb", ""]
        if self._key:
            arguments.append('api_key=getpass("Deepgram key: ")')
            lines.insert(0, "from getpass import getpass\n")
        if comment:
            lines.append(comment)
        call = "".join(f"    {argument},\n" for argument in arguments)
        return "\n".join([*lines, f"session = dgnb.LiveSession(\n{call}).start()", "await session", ""])

    def close(self) -> None:
        """Take the panel off the page and end its session."""
        if self.running:
            self._hand_over(self._stop)
        super().close()

    # What the panel shows

    def _draw(self) -> None:
        self._show_session(self.session, differs=self._differs(), fixed_address=self._shared)
        self._draw_badge()

    def _differs(self) -> bool:
        """Whether the form says something else than what the session runs with; invalid options do."""
        try:
            return self.session is not None and self.options() != self.session.options
        except ConfigurationError:
            return True

    def _draw_badge(self) -> None:
        try:
            endpoint = self.session.endpoint if self.running and self.session else self._endpoint()
        except ConfigurationError:
            kind = self.endpoint.value
            where = "needs a key" if kind == "deepgram" else "needs an address"
        else:
            kind = endpoint.kind
            where = "on this machine" if kind == "offline" else (endpoint.url or "").partition("://")[2]
        self._show_badge(kind, where)

    def _changed(self) -> None:
        """A control was changed: show at once what would go wrong."""
        self._show_fitting()
        try:
            self.form.source_format()
            self._duration()
            hints = _doubts(self.options(), self.endpoint.value)
        except ConfigurationError as error:
            hints = [str(error)]
        self._show_hints(hints)
        self._draw_badge()

    # What a click does, on the panel's loop

    def _hand_over(self, act: Callable[[], object]) -> None:
        """Run it on the loop that the panel was made on. On some kernels clicks come in other threads and loops."""
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
        async def guarded() -> None:
            try:
                await work()
            except Exception as error:
                self._show_error(error)
            self._guarded(self._draw)

        task = asyncio.get_running_loop().create_task(guarded(), name=f"dgnb: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start(self) -> None:
        if self.running:
            return
        self.error.value = ""
        session = LiveSession(
            self.source.source(**self.form.source_format()),
            self.options(),
            endpoint=self._endpoint(),
            duration=self._duration(),
            pace=self._pace,
            reconnect=self._reconnect,
            journal=self._journal,
        )
        session.start()
        self.session = self.captions.session = session
        self._in_background(lambda: self._follow(session), "panel")
        self._draw()

    async def _follow(self, session: LiveSession) -> None:
        await watch(session, self._draw)
        if session.error is not None and session is self.session:
            self._show_error(session.error, session.report())

    def _stop(self) -> None:
        if self.session is not None and self.running:
            session = self.session

            async def stop() -> None:
                with contextlib.suppress(DgnbError):  # _follow() shows it
                    await session.stop()

            self._in_background(stop, "stop")
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
            session, options = self.session, self.options()
            self._in_background(lambda: session.apply(options), "apply")
            self.apply_button.disabled = True

    def _write_code(self) -> None:
        self.error.value = ""
        self.text.value = self.code()
        self.text.layout.display = None

    # What the controls say

    def _take_key(self, typed: str) -> None:
        """Keep the key where nothing saves it, and take it out of the widget."""
        if not typed:
            return
        self.key.value = ""
        try:
            self._key = choose("deepgram", typed).key
        except ConfigurationError as error:
            self._hand_over(lambda error=error: self._show_error(error))  # type: ignore[misc]
        else:
            self.key.placeholder = "a key was typed; it is in no file"
        self._changed()

    def _wanted_endpoint(self) -> str:
        if self.endpoint.value != OWN_SERVER:
            return str(self.endpoint.value)
        # A front end can change a disabled widget.
        return self._own_address if self._shared else str(self.address.value).strip()

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


def _form_options(source: Any, options: LiveOptions | Mapping[str, Any] | None, wire: dict[str, Any]) -> LiveOptions:
    """What the form shows at first, with the format of a raw source."""
    raw = {name: wire.pop(name) for name in FORMAT if name in wire}
    options = as_options(options, {"interim_results": True, **wire} if options is None else wire)
    if raw:
        # An array is linear16.
        found = SourceFormat.of(**{"encoding": "linear16" if hasattr(source, "dtype") else None, **raw})
        options = options.for_audio(**dataclasses.asdict(found)) if found else options
    return options


def _doubts(options: LiveOptions, kind: str) -> list[str]:
    """Warnings about what is valid but likely to disappoint."""
    hints = []
    if kind == "offline" and options.language.lower().partition("-")[0] != "en":
        hints.append("The offline engine knows English only, unless DGNB_OFFLINE_MODEL names another model.")
    if kind == "offline" and (options.diarize or options.diarize_model):
        hints.append("The offline engine does not tell speakers apart.")
    if options.diarize:
        hints.append("diarize is deprecated by Deepgram: diarize_model asks for the same.")
    return hints


_panels: Cells[ControlPanel] = Cells()

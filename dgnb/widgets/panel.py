"""`ControlPanel`: what a click does."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.source import SourceFormat
from dgnb.cells import Cells
from dgnb.endpoints import Secret, choose, hidden
from dgnb.exceptions import AudioError, AuthenticationError, ConfigurationError, DgnbError, nearest
from dgnb.notices import printable
from dgnb.options import FluxOptions, StreamOptions, as_options, takes_options
from dgnb.session import LiveSession, State
from dgnb.session.requests import LIVE
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, native, number
from dgnb.widgets import form
from dgnb.widgets.captions import watch
from dgnb.widgets.compare import Runs
from dgnb.widgets.loop import OwnLoop
from dgnb.widgets.setup import Setup, doubts
from dgnb.widgets.source import TYPED, UPLOAD, SourceChoice
from dgnb.widgets.view import PanelView

if TYPE_CHECKING:
    from dgnb.comparison import Comparison

__all__ = ["ControlPanel"]


class ControlPanel(PanelView):
    """A panel over a `LiveSession`: source, endpoint, options, Start, Stop, Pause, captions, status, errors.

    Other cells can use `panel.session` and `panel.transcript` at any time, also while it runs. Running the cell again
    ends the session of the panel that the cell made before. "Keep and compare" lets the same sound be heard with the
    options that were changed: then `panel.comparison` is a `Comparison` of the runs.

    Args:
        source: What `LiveSession` takes, or a `dgnb.replay(…)`; None for the sample recording.
        options: What the form shows at first; or options by name as further arguments. `encoding`, `sample_rate` and
            `channels` say how a raw source is read. A model `flux-…` shows the fields of `FluxOptions`.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` address; unset, as in `LiveSession`.
        api_key: Deepgram's key; unset, `DEEPGRAM_API_KEY`, or what is typed into the panel. No widget keeps it.
        duration: Seconds of audio after which a session stops by itself.
        max_cost: As in `LiveSession`.
        pace: As in `LiveSession`.
        reconnect: As in `LiveSession`.
        journal: As in `LiveSession`; each start moves the file of the start before aside.
        record: As in `LiveSession`. None keeps the sound of a stream as long as the kernel lives, unless `shared`.
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
    comparison: Comparison | None = None

    @takes_options
    def __init__(
        self,
        source: Any = None,
        options: StreamOptions | Mapping[str, Any] | None = None,
        endpoint: str | None = None,
        *,
        api_key: str | Secret | None = None,
        duration: float | None = None,
        max_cost: float | None = None,
        pace: float | None = 1.0,
        reconnect: bool | float = True,
        journal: str | os.PathLike[str] | None = None,
        record: str | os.PathLike[str] | bool | None = None,
        shared: bool = False,
        **wire: Any,
    ) -> None:
        endpoint, api_key = hidden(endpoint, api_key)
        source = native(source)
        shown, raw = _form_options(source, options, wire)
        if duration is not None:
            duration = number("duration is a positive number of seconds", duration, ABOVE_0)
        try:
            chosen = choose(endpoint, api_key)
        except ConfigurationError:
            if api_key is not None:
                raise
            # A key that is missing can be typed into the panel; what else is wrong is told again.
            chosen = choose(endpoint, "typed-later")
        kept = {"journal": journal, "record": not shared if record is None else record}
        if max_cost is not None:
            max_cost = number("max_cost is a number of US$ from 0 on", max_cost, 0.0)
        settings = {"pace": native(pace), "reconnect": native(reconnect), "max_cost": max_cost}
        # The code that people copy shows a path as text.
        settings |= {name: str(one) if isinstance(one, os.PathLike) else native(one) for name, one in kept.items()}
        choice = SourceChoice(source, raw, shared=shared)
        self._setup = Setup(choice, api_key, settings, most_seconds=duration, shared=shared)
        self._failed: dict[str, str] = {}
        self._runs = Runs()
        self._applying = asyncio.Lock()
        self._own = OwnLoop(self._show_error, self._draw)
        super().__init__(choice, shown, chosen, shared=shared)
        choice.microphone.send = self.send
        if duration is not None:
            self.values = {**self.values, "duration": repr(duration).removesuffix(".0")}
        self.observe(lambda change: self._own.hand_over(lambda: self._changed(change)), "values")
        self.observe(lambda _: self._own.hand_over(self._draw), "tab")
        self.on_msg(lambda _, message, buffers: self._own.hand_over(lambda: self._take(message, buffers)))
        self._check()
        for predecessor in _panels.replace(self)[0]:
            predecessor.click("stop")

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

    def options(self) -> StreamOptions:
        """The options that the form shows. How a raw source is read is not among them.

        Raises:
            ConfigurationError: They are not valid.
        """
        return form.options_of(self._held)

    def set(self, **values: Any) -> None:
        """Fill in fields of the form: options by name, `source`, `path`, `endpoint`, `address` and `duration`.

        A value is what the field holds: True, False or a text.

        Raises:
            ConfigurationError: There is no such field, or it can't hold the value.
        """
        for name, value in values.items():
            if name not in self.values:
                raise ConfigurationError(f"The panel has no field {name!r}.{nearest(name, self.values)}")
            if objection := self._objection(name, value):
                raise ConfigurationError(objection)
        self.values = {**self.values, **values}

    def click(self, button: str) -> None:
        """Do what a click does: `start`, `stop`, `pause` (also to resume), `finalize`, `apply`, `keep` (and compare),
        `undo` or `code`.

        It returns at once. What goes wrong is shown in the panel.

        Raises:
            ConfigurationError: There is no such button.
        """
        if button not in _ACTIONS:
            raise ConfigurationError(f"The panel has no button {button!r}. It has: {', '.join(_ACTIONS)}.")
        self._asker = ""
        self._own.hand_over(lambda: _ACTIONS[button](self))

    def code(self) -> str:
        """The cell that does the same without the panel. It asks for a key that was typed, and never contains it.

        Raises:
            ConfigurationError: The form is not valid.
        """
        return self._setup.code(self._held)

    def close(self) -> None:
        """Take the panel off the page and end its session."""
        if self.running:
            self.click("stop")
        super().close()

    # What the front end says

    def _take(self, message: Any, buffers: Any) -> None:
        """A message of `panel.js`: a click, a typed key, a part of a file, a download. Others are ignored."""
        self._asker = str(message.get("view", "")) if isinstance(message, dict) else ""
        match message, buffers:
            case {"do": "key", "key": str(key)}, _:
                self._failed["key"] = self._setup.take_key(key)
                self._check()
            case {"do": "upload", "name": str(name), "offset": int(at), "size": int(size)}, [memoryview() as part]:
                self._failed.pop("upload", None)
                text = self._setup.source.take(name, at, size, bytes(part))
                self.send({"do": "uploaded", "text": printable(text)})
                self._check()
            case {"do": "models"}, _:

                async def suggest() -> None:
                    self.fields = {**self.fields, "models": await self._setup.models(self._held)}

                self._own.in_background(suggest, "models")
            case {"do": "microphone"}, _:
                self._setup.source.microphone.take(message, buffers)
            case {"do": "srt" | "csv" as kind}, _:
                content = self.transcript.to_srt() if kind == "srt" else self.transcript.to_csv()
                self._answer({"do": "save", "name": f"transcript.{kind}"}, [str(content).encode()])
            case {"do": str(button)}, _ if button in _ACTIONS:
                _ACTIONS[button](self)

    # What the panel shows

    def _changed(self, change: Mapping[str, Any]) -> None:
        """Fields were changed: what was told of their values before is stale."""
        before, values = change["old"] or {}, change["new"]
        changed = {name for name, value in values.items() if before.get(name) != value}
        stale = {"source": ("path", "upload"), "endpoint": ("address", "key"), "address": ("key",)}
        for name in changed.union(*(stale.get(name, ()) for name in changed)):
            self._failed.pop(name, None)
        if self.running:
            # The session goes on: what is told is that these values could not be applied.
            self.error = {}
        self._check()

    def _check(self) -> None:
        """Say at each field what is wrong with it, or likely to disappoint."""
        failed = {name: text for name, text in self._failed.items() if text}
        problems = {**failed, **self._setup.problems(self._held)}
        self.problems = {name: printable(text) for name, text in problems.items()}
        self.hints = doubts(self._held)
        self._draw()

    def _draw(self) -> None:
        session, changes, effect = self.session, [], ""
        if session is not None and (session.state is State.OPEN or (not self.running and session.transcript.audio)):
            with contextlib.suppress(ConfigurationError):  # The mistake stands at its field.
                tuned = self._tune(session) if self.running else session.options
                wanted, used = vars(self.options()), vars(tuned)
                changes = sorted(name for name in wanted if wanted[name] != used.get(name, wanted[name]))
                new_start = "multichannel" in changes
                effect = "multichannel needs a new start" if new_start else "reconnects without a gap"
                if isinstance(tuned, FluxOptions) and LIVE.issuperset(changes):
                    effect = "takes effect at once"
                effect = effect if self.running else "the same sound can be heard again"
        key = ""
        try:
            endpoint = session.endpoint if self.running and session else self._setup.endpoint(self._held)
        except ConfigurationError:
            badge = "needs a key" if self._held["endpoint"] == "deepgram" else "needs an address"
        else:
            where = "on this machine" if endpoint.kind == "offline" else (endpoint.url or "").split("://")[-1]
            badge, key = where, endpoint.key_origin
        self._show_session(session, badge, "typed here; it is in no file" if self._setup.key else key, changes, effect)

    def _show_error(self, error: BaseException, report: str = "") -> None:
        """Show an error at the field that it is about, or above all of them."""
        source = {TYPED: "path", UPLOAD: "upload"}.get(self._held["source"], "")
        field = "key" if isinstance(error, AuthenticationError) else source if isinstance(error, AudioError) else ""
        if field:
            self._failed[field] = str(error)
            self._check()
            self._focus(field)
        else:
            lines = "\n".join(map(printable, report.splitlines()))
            self.error = {"name": type(error).__name__, "text": printable(error), "report": lines}

    # What a click does, on the panel's loop

    def _start(self, before: LiveSession | None = None) -> None:
        if self.running:
            return
        self.error = {}
        # What failed before may work now.
        self._failed = self._setup.missing(self._held)
        self._check()
        if self.problems:
            self._focus(next(iter(self.problems)))
            return
        session = self._setup.session(self._held, before)
        session.start()
        if before is None:
            self._runs, self.comparison, self.compared = Runs(), None, {}
        else:
            self._runs.keep(before)
        self.session = session
        self._own.in_background(lambda: self._follow(session), "panel")
        self._draw()

    async def _follow(self, session: LiveSession) -> None:
        await watch(session, self._draw)
        if session.error is not None and session is self.session:
            self._show_error(session.error, session.report())
        elif self._runs and session is self.session:
            self._runs.keep(session)
            self.comparison, self.compared = await asyncio.to_thread(self._runs.compared)

    def _stop(self) -> None:
        if self.session is not None and self.running:
            session = self.session

            async def stop() -> None:
                with contextlib.suppress(DgnbError):  # _follow() shows it
                    await session.stop()

            self._own.in_background(stop, "stop")

    def _pause(self) -> None:
        if self.session is not None:
            if self.session.paused:
                self.session.resume()
            else:
                self.session.pause()
            self._draw()

    def _finalize(self) -> None:
        if self.session is not None and self.session.state is State.OPEN:
            self._own.in_background(self.session.finalize, "finalize")

    def _apply(self) -> None:
        if self.session is not None and self.session.state is State.OPEN:
            self.error = {}
            session, options = self.session, self.options()
            self._own.in_background(lambda: self._apply_to(session, options), "apply")

    async def _apply_to(self, session: LiveSession, options: StreamOptions) -> None:
        async with self._applying:  # A session takes one change at a time.
            await session.apply(options)

    def _tune(self, session: LiveSession) -> StreamOptions:
        """Give moved sliders to a session that is open, and tell a refusal at them. Gives its options with them."""
        tuned = form.tuned(session.options, self._held)

        async def tune() -> None:
            try:
                await self._apply_to(session, tuned)
            except DgnbError as error:
                # A slider that has moved on meanwhile is tried next.
                if session.state is State.OPEN and form.tuned(session.options, self._held) == tuned:
                    moved = [name for name in form.THRESHOLDS if vars(tuned)[name] != vars(session.options)[name]]
                    self._failed |= dict.fromkeys(moved, str(error))
                    self._check()

        refused = self._failed.keys() & set(form.THRESHOLDS)
        if tuned != session.options and not refused and not self._applying.locked():
            self._own.in_background(tune, "tune")
        return tuned

    def _keep(self) -> None:
        """Keep what was heard, and let the same sound be heard with the options of the form, to compare the two."""
        session = self.session
        if session is None or self.problems or session.transcript.audio is None or not session.audio_cursor:
            return

        async def again() -> None:
            with contextlib.suppress(DgnbError):
                await session.stop()
            if self.session is session:
                self._start(session)

        self._own.in_background(again, "compare")

    def _undo(self) -> None:
        """Show the options that the session runs with."""
        if self.session is not None:
            given = {name: value for name, value in form.shown(self.session.options).items() if name not in form.FORMAT}
            self.values = {**self.values, **given}

    def _give_code(self) -> None:
        if wrong := [name for name in self.problems if name not in self._failed and name != "path"]:
            self._focus(wrong[0])
        else:
            self._answer({"do": "code", "text": self.code()})


_ACTIONS: Final[dict[str, Callable[[ControlPanel], None]]] = {
    "start": ControlPanel._start,
    "stop": ControlPanel._stop,
    "pause": ControlPanel._pause,
    "finalize": ControlPanel._finalize,
    "apply": ControlPanel._apply,
    "keep": ControlPanel._keep,
    "undo": ControlPanel._undo,
    "code": ControlPanel._give_code,
}


def _form_options(
    source: Any, options: StreamOptions | Mapping[str, Any] | None, wire: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the form shows at first, and the format of raw audio that code gave. That of a path can be changed there."""
    raw: dict[str, Any] = {name: native(wire.pop(name)) for name in form.FORMAT if name in wire}
    live = options is None and not str(native(wire.get("model", ""))).startswith("flux-")
    asked = as_options(options, {"interim_results": True, **wire} if live else wire)
    if source is None or isinstance(source, str):
        found = SourceFormat.of(**{"encoding": None, **raw}) if raw else None
        return form.shown(asked) | ({name: str(getattr(found, name)) for name in form.FORMAT} if found else {}), {}
    if asked.encoding is not None:
        raw.update((name, getattr(asked, name)) for name in form.FORMAT)
    return form.shown(asked.for_audio(None, None, 1)), raw


_panels: Cells[ControlPanel] = Cells()

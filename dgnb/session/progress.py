"""What is seen of a session while it runs: a line under the cell, or one on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from dgnb.notices import bundle, clock, escaped, host, quiet, show
from dgnb.session.registry import sessions
from dgnb.session.stream import State, Stream

if TYPE_CHECKING:
    from dgnb.session.runner import Runner

_FIRST: Final = 1.0  # Seconds until the first sign. What takes no longer needs none.
_REDRAW: Final = 0.5
_CAPTION: Final = 100  # Characters of the newest words that are shown, and words to take them from
_QUIETEST: Final = -60.0


class Course:
    """How far a stream is, in words. Its speed is counted from when this was made, in the stream's loop."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._began = asyncio.get_running_loop().time()
        self._from = stream.capture.audio_cursor

    def status(self) -> str:
        """As "2:14 of 10:00 · 21.0 × · 0:24 left", or seconds and words where the source states no length."""
        stream, capture = self.stream, self.stream.capture
        words, cursor, length = f"{stream.transcript.word_count} words", capture.audio_cursor, capture.length
        if stream.state is State.CLOSED:
            return f"{words} in {clock(cursor)} · {stream.endpoint.name} · {stream.error or 'session.transcript.words'}"
        if stream.state is State.CLOSING:
            return f"{clock(cursor)} sent, waiting for the last words · {words}"
        if stream.state is State.CONNECTING and stream.connections:
            return f"reconnecting, {capture.pending:.1f} s kept · {words}"
        if stream.state is State.CONNECTING:
            return f"connecting to {stream.endpoint.name}"
        if capture.paused:
            return f"paused at {clock(cursor)} · {words}"
        if length is None:
            return f"{clock(cursor)} · {words}"
        speed = (cursor - self._from) / max(asyncio.get_running_loop().time() - self._began, _REDRAW)
        left = f" · {speed:.1f} × · {clock((length - cursor) / speed)} left" if speed else ""
        return f"{clock(cursor)} of {clock(length)}{left}"

    def outcome(self, took: float) -> str:
        """What came of it, in so many seconds."""
        stream = self.stream
        return f"{stream.transcript.word_count} words in {took:.1f} s · {stream.endpoint.name} · transcript.words"

    def markup(self) -> str:
        """The same as HTML, with a bar, the loudness and the newest words."""
        capture, transcript = self.stream.capture, self.stream.transcript
        if self.stream.state is State.CLOSED:
            return quiet(escaped(self.status()))
        bar = meter = ""
        if capture.length:
            bar = f'<progress value="{capture.audio_cursor / capture.length:.3f}" style="width:10em"></progress> '
        if (level := capture.level) is not None and not capture.paused:
            sizes = f'min="{_QUIETEST}" max="0" value="{max(_QUIETEST, level):.0f}" style="width:4em"'
            meter = f'<meter {sizes} title="level: {level:.0f} dB"></meter> '
        lines = transcript.lines(_CAPTION)
        text = " ".join(filter(None, (lines[-1].text if lines else "", transcript.interim)))
        caption = text if len(text) <= _CAPTION else f"…{text[-_CAPTION:]}"
        return quiet(f"{bar}{meter}{escaped(self.status())}<br><i>{escaped(caption)}</i>")


class Shown:
    """A session as the value of a cell: a line that lives while the session runs, and stays when it has ended."""

    _stream: Stream
    _runner: Runner

    @property
    def length(self) -> float | None:
        """Seconds of audio that there will be: the length of a file, or `duration`; None where nobody knows."""
        return self._stream.capture.length

    def _ipython_display_(self) -> None:
        if host() != "notebook":
            print(repr(self))
            return
        course = Course(self._stream)
        handle = show(bundle(course.markup(), repr(self)), raw=True, display_id=True)
        if self._stream.state is not State.CLOSED and self in sessions():
            # With no cell as its own: nbclient drops what a cell sends after its end.
            task = asyncio.get_running_loop().create_task(
                self._live(course, handle), name="dgnb: a session's line", context=contextvars.Context()
            )
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _live(self, course: Course, handle: Any) -> None:
        state = None
        while state is not State.CLOSED:
            await self._runner.wait_until(lambda: self._runner.closed, _REDRAW)
            state = self._stream.state
            handle.update(bundle(course.markup(), repr(self)), raw=True)


_tasks: set[asyncio.Task[None]] = set()
"""The loop itself keeps weak references only."""


@contextlib.asynccontextmanager
async def shown(course: Any, progress: bool | None, stop: Callable[[], object]) -> AsyncIterator[Screen | None]:
    """Show how far something is while the block runs, from one second on, and at its end what came of it.

    `course` has the methods of a `Course`. `stop` is called when a person asks for it there. Nothing is shown where
    nobody asked for `progress`, and with None where neither notebook nor terminal is.
    """
    where = host()
    if progress is False or (progress is None and not where):
        yield None
        return
    screen = _Cell() if where == "notebook" else _Terminal()

    async def draw() -> None:
        await asyncio.sleep(_FIRST)
        while True:
            screen.draw(course)
            if screen.stopped:
                stop()
            await asyncio.sleep(_REDRAW)

    began, text = asyncio.get_running_loop().time(), ""
    task = asyncio.create_task(draw(), name="dgnb: progress")
    try:
        yield screen
        took = asyncio.get_running_loop().time() - began
        text = course.outcome(took)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        screen.end(text)


class _Cell:
    """The output of the cell: a button that stops the stream, a bar, a line and the newest words."""

    stopped = False
    _handle: Any = None
    _box: Any = None

    def draw(self, course: Any) -> None:
        if self._handle is None:
            import ipywidgets as widgets

            button = widgets.Button(description="Stop", layout=widgets.Layout(width="6em"))
            # Older kernels handle a click only after the cell; ■ reaches each of them.
            button.tooltip = "Stop, and keep the words so far. If nothing happens, interrupt the cell."
            button.on_click(self._stop)
            self._box = widgets.HBox([button, widgets.HTML()])
            self._handle = show(self._box, display_id=True)
        self._box.children[1].value = course.markup()

    def end(self, text: str) -> None:
        if self._handle is not None:
            self._box.close()
            self._handle.update(bundle(quiet(escaped(text)) if text else "", text), raw=True)

    def _stop(self, button: Any) -> None:
        self.stopped, button.disabled = True, True


class _Terminal:
    """One line on stderr that is written again and again."""

    stopped = False
    _width = 0

    def draw(self, course: Any) -> None:
        self._write(course.status(), "")

    def end(self, text: str) -> None:
        if self._width:
            self._write(text, "\n" if text else "\r")

    def _write(self, text: str, end: str) -> None:
        sys.stderr.write(f"\r{text.ljust(self._width)}{end}")
        sys.stderr.flush()
        self._width = len(text)


Screen = _Cell | _Terminal
"""Where progress is shown. `stopped` says whether a person asked for a stop there."""

"""`Runner`: runs a stream as a task in one loop. Others wait for it, from any loop, and learn of its error once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

from dgnb.exceptions import ConfigurationError, DgnbError, SessionStopped, shorten
from dgnb.notices import say
from dgnb.options import StreamOptions
from dgnb.session import registry
from dgnb.session.playback import Playback, Saved
from dgnb.session.progress import Course, shown
from dgnb.session.stop import INTERRUPTED
from dgnb.session.stream import Settings, State, Stream
from dgnb.transcript import Transcript

if TYPE_CHECKING:
    from dgnb.session.live import LiveSession

logger = logging.getLogger("dgnb")

_TICK: Final = 0.1  # s. A kernel's interrupt reaches a waiting cell only when the loop next wakes (ipykernel#881).


class Runner:
    """The background task of a session, in the loop where that was made or, failing that, started."""

    def __init__(self, session: LiveSession, options: StreamOptions, settings: Settings, progress: bool | None) -> None:
        self.session = session
        made = Playback if isinstance(session.source, Saved) else Stream
        self.stream = made(session.source, options, session.endpoint, session.transcript, settings, notify=self._tell)
        self.loop = running_loop()
        self.replaced = False  # by the same cell, which was run again
        if not isinstance(progress, bool | None):
            raise ConfigurationError(f"progress is True, False or None, not {progress!r}.")
        self._progress = progress
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._listeners = 0
        self._over = False
        self._reported = False
        self._traceback: TracebackType | None = None

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self.stream.state is State.CLOSED

    def start(self) -> None:
        """Begin, unless it has begun or ended. `ConfigurationError` where no loop runs."""
        if self._task is None and (self.loop is None or self.loop.is_closed()):
            self.loop = running_loop()
        if self.loop is None:
            raise ConfigurationError(
                "No event loop runs here. In a notebook call this in a cell; in a script, inside the coroutine that "
                "asyncio.run() runs."
            )
        self.on_loop(self._begin)

    def retry(self) -> None:
        """Begin again after an end; as `start` otherwise."""
        if self.closed:
            self.stream.renew()
            self._task = self._traceback = None
            self._over = self._reported = self.replaced = False
        self.start()

    def on_loop(self, act: Callable[[], None]) -> None:
        """Call `act` now where this is the session's loop; from another thread, have that loop call it."""
        if self.loop is None or self.loop is running_loop():
            act()
        else:
            with contextlib.suppress(RuntimeError):  # The loop is closed, and the task with it.
                self.loop.call_soon_threadsafe(act)

    def request_stop(self) -> None:
        """Ask for a stop, in any state and from any thread."""
        if self._task is None:
            self.stream.request_stop(0.0)
        if self._task is None or self.loop is None or self.loop.is_closed():
            self._end()
        else:
            self.on_loop(self._stop)

    def _begin(self) -> None:
        if self._task is None and not self.closed:
            assert self.loop is not None
            # Two would cost twice, and hear everything twice.
            formers = registry.add(self)
            name = f"dgnb: session {self.session.source.name}"
            self._task = self.loop.create_task(self._run(formers), name=name)
            # A task that is cancelled before its first step never enters _run().
            self._task.add_done_callback(lambda task: self._end() if task is self._task else None)
            for former in formers:
                former.session.transcript.note("replaced", "The cell that started it was run again.")
                former.replaced = True
                former.request_stop()

    def _stop(self) -> None:
        assert self._task is not None
        assert self.loop is not None
        if not self.stream.stop.asked:
            self.stream.request_stop(self.loop.time())
            if self.stream.state is State.CONNECTING:
                self._task.cancel()

    async def _run(self, formers: list[Runner]) -> None:
        for former in formers:
            await former.wait()
        try:
            await self.stream.run()
        finally:
            # In the step that closes the stream: nobody who waits for its error has gone away yet.
            self._end()

    def _end(self) -> None:
        """The session is over: log its error where nobody waits to have it raised."""
        if self._over:
            return
        self._over = True
        self.stream.abandon()
        registry.ended(self)
        if error := self.stream.error:
            self._traceback = error.__traceback__
            if not self._listeners:
                self._reported = True
                expected = isinstance(error, DgnbError)
                logger.error("%s failed: %s", self.session, error, exc_info=None if expected else error)

    async def wait_until(self, true: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until `true()`, at most `timeout` seconds; look at each message and each change of state."""
        loop = asyncio.get_running_loop()
        deadline = math.inf if timeout is None else loop.time() + timeout
        while not true() and loop.time() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await (self._news.wait() if loop is self.loop else asyncio.sleep(_TICK))

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session is closed, at most `timeout` seconds, and say whether it is."""
        with self.listening():
            await self.wait_until(lambda: self.closed, timeout)
        return self.closed

    async def result(self) -> Transcript:
        """As `whole`, with a stop as a usual end; whoever cancels this wait is told that the session goes on."""
        try:
            return await self.whole(stops=True)
        except asyncio.CancelledError as error:
            shorten(error)
            if not self.stream.stop.asked:
                say("The session goes on: `await session.stop()` ends it (dgnb.sessions() finds it).")
            raise

    async def whole(self, *, stops: bool = False) -> Transcript:
        """Wait until the session is closed. It raises its error, or that it was replaced or (not `stops`) stopped."""
        async with shown(Course(self.stream), self._progress, self.request_stop) as screen:
            await self.wait()
            self.raise_error()
        if self.stream.cut_off and (self.replaced or not (stops or (screen and screen.stopped))):
            why = "the cell that started it was run again" if self.replaced else "it was stopped"
            raise SessionStopped(
                f"{self.session.source.name} was transcribed up to {self.session.audio_cursor:.1f} s only: {why}. This "
                "error's `transcript` has the words up to there; transcribe it again for all of them.",
                transcript=self.session.transcript,
            )
        return self.session.transcript

    async def stop(self) -> None:
        """Stop, wait until the session is closed, and raise its error unless that was reported before."""
        reported = self._reported
        with self.listening():
            self.request_stop()
            await self.wait()
            if not reported:
                self.raise_error()

    async def interrupt(self, error: asyncio.CancelledError) -> None:
        """Stop, wait for what arrives at once, and say where it is. The rest arrives in the background."""
        shorten(error)
        self.request_stop()
        with contextlib.suppress(asyncio.CancelledError):
            await self.wait_until(lambda: self.closed, timeout=INTERRUPTED)
        for index, session in enumerate(registry.sessions()):
            if session is self.session:
                say(f"Interrupted: the transcript so far is dgnb.sessions()[{index}].transcript.")

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Somebody waits who will learn of an error, so that it need not be logged."""
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    def raise_error(self) -> None:
        """Raise the session's error, if there is one."""
        if error := self.stream.error:
            self._reported = True
            # With the traceback as it was: raising an exception again adds to it each time.
            raise error.with_traceback(self._traceback)

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

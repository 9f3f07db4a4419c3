"""`run()`: run a coroutine from code that can't await, in the loop of a helper thread.

Each process has one helper thread, which starts on first use. It is a daemon thread, so it never delays the exit.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import inspect
import os
import signal
import threading
import types
from collections.abc import Awaitable, Iterator
from typing import Any, Final, TypeVar

from dgnb.exceptions import ConfigurationError, DgnbError, shorten
from dgnb.notices import say
from dgnb.session import LiveSession, State, sessions
from dgnb.session.runner import running_loop

__all__ = ["run"]

T = TypeVar("T")

_EXIT: Final = 1.0  # Seconds that running coroutines have to stop and clean up when the process ends


def run(coro: Awaitable[T]) -> T:
    """Run a coroutine to its end from code that can't await, and return its result.

    Use it in plain functions, callbacks, and libraries that call your code; in a cell, use `await`. The coroutine runs
    in the loop of a helper thread. Nothing is patched, output appears under the calling cell meanwhile, and it works on
    every kernel and in scripts. The calling thread and its loop wait: in a notebook, so do the panels and the sessions
    that cells have started.

    What the coroutine leaves running, such as a `LiveSession`, goes on in the helper thread, even while the kernel is
    busy; `dgnb.run(session.stop())` ends it. At the end of the process it is stopped or cancelled within a second.

    Interrupting (■, Ctrl-C) cancels the coroutine, gives it 0.4 s to clean up, and raises `KeyboardInterrupt`. Python
    interrupts the main thread only: a widget's callback that runs in another thread (on some kernels) waits to the end.

    Args:
        coro: A coroutine, or another awaitable, such as a `LiveSession` that was made where no loop runs.

    Returns:
        What the coroutine returns.

    Raises:
        ConfigurationError: The argument can't be awaited, or belongs to another loop; or this call is already inside
            `dgnb.run()`.
        DgnbError: The helper thread ended meanwhile.
        BaseException: What the coroutine raises, unchanged.

    Example:
        ```python
        def words_of(path):  # a plain function, for apply() or a callback
            return dgnb.run(dgnb.transcribe(path)).words


        async def first_minute(url):
            return await dgnb.LiveSession(url, duration=60)  # made here, so it runs here
        ```
    """
    try:
        outcome: T = _outcome(coro, _helper_for(coro))
    finally:
        if isinstance(coro, types.CoroutineType) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
            coro.close()  # It did not start, and Python would warn that it was never awaited.
        # Register again, so that stop() runs before the exit hooks of what was imported meanwhile (the offline engine).
        atexit.unregister(stop)
        atexit.register(stop)
    return outcome


def stop() -> None:
    """End the helper thread and what runs in it. Called at the end of the process, so that servers see a close."""
    with _lock:
        helper = _helpers.pop(os.getpid(), None)
    if helper is not None:
        helper.stop(_EXIT)


class _Helper:
    """A daemon thread, and the loop that runs in it until `stop()`."""

    def __init__(self) -> None:
        # Made here, so that `loop` exists at once. With a factory, the runner leaves this thread's own loop alone.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name="dgnb: run", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._runner.close()
            raise DgnbError(
                f"dgnb.run() can't work: {error}. Too much runs here at once; end some of it, or restart the kernel."
            ) from None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self.loop.is_closed()

    def stop(self, timeout: float) -> None:
        """Stop the sessions, cancel everything else, and wait until the thread has ended, `timeout` seconds at most."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout)

    def _main(self) -> None:
        with self._runner:  # at its end the runner cancels all tasks, waits for them and closes the loop
            self._runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        # A session that is stopped sends CloseStream; one that is cancelled counts as failed.
        own = [asyncio.ensure_future(session.stop()) for session in sessions() if session.loop is self.loop]
        if own:
            await asyncio.wait(own, timeout=_EXIT / 2)


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A child could never release a lock that another thread of its parent holds.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_helpers: dict[int, _Helper] = {}
"""By process. A forked child keeps its parent's, because dropping its loop would touch the parent's selector."""


def _helper_for(awaitable: object) -> _Helper:
    """The helper that runs; an error where awaiting this in it is not possible, or would never end."""
    if not inspect.isawaitable(awaitable):
        raise ConfigurationError(
            f"dgnb.run() wants a coroutine, as in dgnb.run(dgnb.transcribe(…)), not {type(awaitable).__name__}. Call "
            "an async function, and pass what it returns."
        )
    with _lock:
        helper = _helpers.get(os.getpid())
        if helper is None or not helper.alive:
            helper = _helpers[os.getpid()] = _Helper()
    if running_loop() is helper.loop:
        raise ConfigurationError("This runs inside dgnb.run() already, which would wait for itself: use await.")
    if _owner(awaitable) not in (None, helper.loop):
        raise ConfigurationError(
            "This belongs to another loop, such as that of the cell, which waits while dgnb.run() runs. Await it "
            "there; or make it inside the coroutine that you pass: async def main(): return await dgnb.LiveSession(…)."
        )
    return helper


def _owner(awaitable: object) -> asyncio.AbstractEventLoop | None:
    """The loop of a future, or of the session that an awaitable is or whose method it is; None for any other."""
    if isinstance(awaitable, asyncio.Future):
        return awaitable.get_loop()
    if isinstance(awaitable, types.CoroutineType) and awaitable.cr_frame is not None:
        awaitable = awaitable.cr_frame.f_locals.get("self")
    return awaitable.loop if isinstance(awaitable, LiveSession) and awaitable.state is not State.CLOSED else None


def _outcome(awaitable: Awaitable[Any], helper: _Helper) -> Any:
    """Have the helper await it. Returns or raises its outcome; an interrupt cancels it."""
    outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()
    begun: list[asyncio.Task[None]] = []
    try:
        # First the handler: an interrupt that comes while the thread begins would reach nobody, and end nothing.
        with _interruptible():
            # The task inherits this thread's context, in which kernels keep the cell that a print belongs to.
            helper.loop.call_soon_threadsafe(_begin, awaitable, outcome, begun)
            # On some platforms a signal does not wake a waiting lock.
            while not _done(outcome, 0.1):
                if not (helper.alive or _done(outcome, 0)):
                    raise DgnbError("The thread behind dgnb.run() has ended. Call it again for a new one.")
    except BaseException as interrupt:
        if isinstance(interrupt, KeyboardInterrupt):
            shorten(interrupt)
        with contextlib.suppress(RuntimeError):  # The loop is closed, and the task has ended with it.
            helper.loop.call_soon_threadsafe(lambda: [task.cancel() for task in begun])
        if helper.alive and not _done(outcome, 0.4):
            say("Interrupted: what dgnb.run() ran still cleans up, in the background.")
        elif outcome.done() and not isinstance(error := outcome.exception(), asyncio.CancelledError | None):
            interrupt.add_note(f"While it was cancelled, it failed with {type(error).__name__}: {error}")
        raise
    error = outcome.exception()
    try:
        if error is not None:
            raise error  # `outcome.result()` would add its own frames.
        return outcome.result()
    finally:
        del outcome, error  # breaks the cycle: the exception's traceback holds this frame, which holds both


def _begin(awaitable: Awaitable[Any], outcome: concurrent.futures.Future[Any], begun: list[asyncio.Task[None]]) -> None:
    begun.append(asyncio.get_running_loop().create_task(_carry(awaitable, outcome)))


async def _carry(awaitable: Awaitable[Any], outcome: concurrent.futures.Future[Any]) -> None:
    try:
        outcome.set_result(await awaitable)
    except BaseException as error:  # SystemExit too belongs to the caller; here it would end the loop
        outcome.set_exception(error)
    finally:
        del outcome  # as in _outcome()


def _done(outcome: concurrent.futures.Future[Any], timeout: float) -> bool:
    return bool(concurrent.futures.wait([outcome], timeout).done)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have an interrupt raise here: ipykernel handles the signal in its loop, which waits. Other handlers stay."""
    before = signal.getsignal(signal.SIGINT)
    home = getattr(getattr(before, "func", before), "__module__", None) or ""
    theirs = callable(before) and (home.partition(".")[0] == "ipykernel" or home == "asyncio.runners")
    if not theirs or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""For code that cannot await: `run()`, a loop in a helper thread; and `allow_nested()`, the place of nest-asyncio.

The helper thread is one for each process, started on first use. It is a daemon, so that nothing waits for it at exit.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import importlib.metadata
import inspect
import logging
import os
import re
import signal
import sys
import threading
import types
import warnings
from collections.abc import Awaitable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.session import LiveSession, State, sessions

__all__ = ["allow_nested", "run"]

logger = logging.getLogger("dgnb")

T = TypeVar("T")

_TICK: Final = 0.1
"""Seconds. Where a signal does not wake a waiting lock, an interrupt is noticed after this long."""
_CLEAN_UP: Final = 0.4
"""Seconds that an interrupted coroutine has to clean up before the caller goes on without it."""
_FAREWELL: Final = 1.0
"""Seconds that what still runs at the process's end has to stop and clean up."""


# run()


class _Helper:
    """A daemon thread and the loop that runs in it until `stop()`."""

    def __init__(self) -> None:
        # Made here, so that it is there as soon as anyone asks. With a factory, the runner leaves this thread's own
        # loop alone.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name="dgnb: run", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._runner.close()
            raise DgnbError(
                f"dgnb.run() can't start its thread: {error}. Too much runs here at once: end some of it, or restart "
                "the kernel."
            ) from None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self.loop.is_closed()

    def _main(self) -> None:
        # Leaving the block cancels whatever still runs, waits for it and closes the loop.
        with self._runner:
            self._runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        # Stopped, a server sees CloseStream and a close; cancelled, a session counts as failed.
        own = [asyncio.ensure_future(session.stop()) for session in sessions() if session.loop is self.loop]
        if own:
            await asyncio.wait(own, timeout=_FAREWELL / 2)

    def stop(self, timeout: float) -> None:
        """Stop its sessions, cancel what else runs, and wait for that as long as it takes or `timeout` allows."""
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout)


_lock = threading.Lock()
_helper: _Helper | None = None
_parents: list[_Helper] = []
"""After a fork: the parent's helper, whose thread is not here. Kept, as closing its loop would meddle with the parent's
selector, and dropping it would warn of a loop that was not closed."""


def _running_helper() -> _Helper:
    global _helper
    with _lock:
        if _helper is None or not _helper.alive:
            _helper = _Helper()
        return _helper


def _after_fork() -> None:
    global _helper, _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    if _helper is not None:
        _parents.append(_helper)
        _helper = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _stop() -> None:
    """End the helper thread: at the process's end, so that servers see a close; and in tests."""
    global _helper
    with _lock:
        helper, _helper = _helper, None
    if helper is not None:
        helper.stop(_FAREWELL)


def _stop_before_others() -> None:
    """Have `_stop()` come first at exit, before the hooks of what was imported meanwhile, as the offline engine's."""
    atexit.unregister(_stop)
    atexit.register(_stop)


def run(coro: Awaitable[T]) -> T:
    """Run a coroutine to its end from code that cannot await, and give its result.

    For plain functions, callbacks, and libraries that call yours. In a cell, `await` does the same with less. The
    coroutine runs in the loop of a helper thread, so that nothing is patched: output appears while it runs, under the
    cell that called, and it works on every kernel, in callbacks, and in scripts. The calling thread waits meanwhile,
    and so does what belongs to its loop: in a notebook, sessions that cells have started, and the panels.

    What the coroutine leaves running (a `LiveSession` that it started) goes on in the helper thread, whatever the
    kernel does; `dgnb.run(session.stop())` ends it. At the end of the process what is left is stopped or cancelled,
    within a second.

    Interrupting (■, Ctrl-C) while it runs cancels the coroutine, gives it 0.4 s to clean up, and raises
    `KeyboardInterrupt`. As ever in Python, an interrupt reaches the main thread only: a widget's callback that runs in
    another one (on some kernels) waits to the end.

    Args:
        coro: A coroutine, or anything else that can be awaited, such as a `LiveSession` that was made in code without
            a running loop, or inside an earlier `dgnb.run()`.

    Returns:
        What the coroutine returns.

    Raises:
        ConfigurationError: It is nothing to await; or it never could end, because it belongs to the loop that is
            held up here, or because this is called inside what `dgnb.run()` runs already.
        DgnbError: The helper thread has ended under it.
        BaseException: What the coroutine raises, as it is.

    Example:
        ```python
        def words_of(path):  # a plain function, as apply(), a callback or a library wants it
            return dgnb.run(dgnb.transcribe(path)).words


        async def first_minute(url):
            session = dgnb.LiveSession(url, duration=60)  # made in here, so that it runs here
            async for message in session:
                print(message)
            return session.transcript


        transcript = dgnb.run(first_minute("https://example.org/radio.mp3"))
        ```
    """
    try:
        caller = _running_loop()
        if not inspect.isawaitable(coro):
            raise ConfigurationError(f"dgnb.run() wants a coroutine, {_instead_of(coro)}")
        helper = _running_helper()
        if caller is helper.loop:
            raise ConfigurationError("This runs inside dgnb.run() already, which would wait for itself: use await.")
        if why := _hopeless(coro, caller, helper.loop):
            raise ConfigurationError(why)
    except BaseException:
        _close(coro)
        raise
    try:
        outcome: T = _Job(coro, helper).result()
    finally:
        _stop_before_others()
    return outcome


class _Job:
    """One awaitable on the helper's loop, and the caller who waits for it in another thread."""

    def __init__(self, awaitable: Awaitable[Any], helper: _Helper) -> None:
        self._awaitable = awaitable
        self._helper = helper
        self._outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._task: asyncio.Task[None] | None = None
        # With it goes what tells a kernel to which cell a print belongs.
        self._context = contextvars.copy_context()

    def result(self) -> Any:
        try:
            with _interruptible():
                self._helper.loop.call_soon_threadsafe(self._begin)
                while not self._done(_TICK):
                    if not (self._helper.alive or self._done(0)):
                        raise DgnbError("The thread behind dgnb.run() has ended. Call it again for a new one.")
        except BaseException as interrupt:
            self._abandon(interrupt)
            raise
        try:
            return self._outcome.result()
        finally:
            del self  # an exception's traceback holds this frame, and this holds the exception

    def _done(self, timeout: float) -> bool:
        done, _ = concurrent.futures.wait([self._outcome], timeout)
        return bool(done)

    # In the helper thread

    def _begin(self) -> None:
        self._task = self._helper.loop.create_task(self._carry(), name="dgnb: run", context=self._context)
        self._task.add_done_callback(self._ended)

    async def _carry(self) -> None:
        try:
            self._outcome.set_result(await self._awaitable)
        except BaseException as error:  # a SystemExit, too, is the caller's: it would end this loop
            self._outcome.set_exception(error)
        finally:
            del self  # as in result()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._outcome.done():  # cancelled before its first step
            _close(self._awaitable)
            self._outcome.set_exception(asyncio.CancelledError())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._outcome.done():  # interrupted before it was handed over
            _close(self._awaitable)
            self._outcome.set_exception(asyncio.CancelledError())

    # In the caller's

    def _abandon(self, interrupt: BaseException) -> None:
        try:
            self._helper.loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop is closed
            if self._task is None:
                _close(self._awaitable)
            return
        if not self._done(_CLEAN_UP):
            logger.warning("Interrupted: what dgnb.run() ran still cleans up, in the background.")
            return
        error = self._outcome.exception()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            interrupt.add_note(f"While it was cancelled, it failed with {type(error).__name__}: {error}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have an interrupt raise `KeyboardInterrupt` here.

    While a cell with a top-level `await` runs, ipykernel handles the signal in the loop, and `asyncio.run()` does so,
    too: but that loop is held up. Handlers of others' making stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    home = getattr(getattr(before, "func", before), "__module__", None) or ""
    if not callable(before) or (home.partition(".")[0] != "ipykernel" and home != "asyncio.runners"):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _close(awaitable: object) -> None:
    """Have a coroutine that is not going to be started not warn that it never was."""
    if isinstance(awaitable, Coroutine):
        awaitable.close()


def _instead_of(thing: object) -> str:
    name = getattr(thing, "__name__", type(thing).__name__)
    if inspect.iscoroutinefunction(thing):
        return f"and {name} is a function that makes one: dgnb.run({name}(…))."
    if inspect.isasyncgen(thing) or inspect.isasyncgenfunction(thing):
        return f"not {name}, an async generator: iterate over it in an `async def`, and pass what that makes."
    return f"as in dgnb.run(dgnb.transcribe(…)), not {type(thing).__name__}."


def _hopeless(
    awaitable: Awaitable[Any], caller: asyncio.AbstractEventLoop | None, helper: asyncio.AbstractEventLoop
) -> str:
    """Why awaiting this in the helper's loop would never end, or ""."""
    if isinstance(awaitable, asyncio.Future):
        if awaitable.get_loop() is helper:
            return ""
        return f"This {type(awaitable).__name__} belongs to another loop. Pass the coroutine that it was made of."
    session = _session_of(awaitable)
    if session is None or session.state is State.CLOSED or session.loop in (None, helper):
        return ""
    if session.loop is caller:
        return (
            "This session belongs to the loop of this cell, which dgnb.run() would hold up. Await it in the cell; or "
            "make it inside the coroutine that you pass: async def main(): return await dgnb.LiveSession(…)."
        )
    if session.loop.is_closed() or not session.loop.is_running():
        return "This session belongs to a loop that does not run (any more). Make a new one inside the coroutine."
    if session not in sessions():
        return "This session was made in another loop: start() it there first, or make it inside the coroutine."
    return ""


def _session_of(awaitable: object) -> LiveSession | None:
    """The session that an awaitable is, or whose method it is."""
    if isinstance(awaitable, types.CoroutineType) and awaitable.cr_frame is not None:
        awaitable = awaitable.cr_frame.f_locals.get("self")
    return awaitable if isinstance(awaitable, LiveSession) else None


# allow_nested()

_FIRST_RIGHT: Final = (1, 7, 3)
"""nest-asyncio2's first version that is right on ipykernel 7."""
_applied = ""


def allow_nested() -> str:
    """Patch asyncio so that `asyncio.run()` and `run_until_complete()` work in a cell: nest-asyncio, with its dangers.

    For code that you can't change and that calls them; for your own, `dgnb.run()` needs no patch. It patches the whole
    process and can't be undone but by a restart of the kernel. dgnb never does so by itself, and needs it nowhere.
    Where nest-asyncio2 is installed (1.7.3 or newer) that is applied, else nest-asyncio 1.x, its archived forerunner.
    In a script call it before the loop is made, or in it.

    What was measured, on ipykernel 6.29 to 7.4 (Python 3.11 to 3.14):

    - nest-asyncio 1.6 on ipykernel 7 or newer **loses messages**: of those that arrived during a nested run, 5 of 5;
      after Run All the later cells stay `[*]` for ever, and a click on a Stop button is lost. Hence a warning.
    - nest-asyncio 1.6 on Python 3.14 breaks `asyncio.current_task()` and `asyncio.timeout()`, which dgnb uses.
      Hence a warning.
    - nest-asyncio2 1.7.1 and 1.7.2 are wrong on ipykernel 7, too. They are refused.
    - Tasks become 30 to 50 % slower, everywhere in the process.
    - While a nested run goes on, messages wait: a click is handled after the cell, whatever is applied.
    - uvloop can't be patched.

    Calling it again does nothing. There is nothing to wait for, so interrupting does nothing either.

    Returns:
        What was applied, as `"nest-asyncio2 1.7.4"`.

    Raises:
        DgnbError: The loop can't be patched (uvloop), the nest-asyncio2 that is installed is too old, or none of the
            two is installed. Nothing was patched.

    Warns:
        RuntimeWarning: Where what is applied loses messages or breaks timeouts.

    Example:
        ```python
        dgnb.allow_nested()
        asyncio.run(main())  # in a cell, in code that you can't change
        ```
    """
    global _applied
    name, version = _nest_asyncio()
    loop = _running_loop()
    probe = None if loop else asyncio.new_event_loop()
    try:
        # Before anything is patched: the libraries find out only half-way.
        target = loop or probe
        if not isinstance(target, asyncio.BaseEventLoop):
            kind = f"{type(target).__module__}.{type(target).__name__}"
            raise DgnbError(
                f"The loop here is a {kind}, which can't be patched. dgnb.run(…) needs no patch; or start "
                "without it, on asyncio's own loop."
            )
        if name == "nest-asyncio2":
            import nest_asyncio2 as nest
        else:
            import nest_asyncio as nest
        # The class is what is patched: a loop that is made later will do as well, and none is left behind.
        nest.apply(target)
    finally:
        if probe is not None:
            probe.close()
    applied = f"{name} {version}"
    if applied != _applied:
        _applied = applied
        for danger in _dangers(name, version, sys.version_info[:2], _kernel()):
            warnings.warn(danger, RuntimeWarning, stacklevel=2)
    return applied


def _nest_asyncio() -> tuple[str, str]:
    """The library to apply, and its version: where one was applied already, that one."""
    versions = {}
    for name in ("nest-asyncio2", "nest-asyncio"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    name = next(iter(versions), "")
    if hasattr(asyncio, "_nest_patched") and "nest-asyncio" in versions:
        name = "nest-asyncio2" if hasattr(asyncio, "_nest_asyncio2") else "nest-asyncio"
    if name not in versions:
        raise DgnbError("Neither nest-asyncio2 nor nest-asyncio is installed: pip install 'nest-asyncio2>=1.7.3'.")
    if name == "nest-asyncio2" and _numbers(versions[name]) < _FIRST_RIGHT:
        raise DgnbError(
            f"nest-asyncio2 {versions[name]} is too old: it goes wrong on ipykernel 7. Update it and restart the "
            "kernel: pip install 'nest-asyncio2>=1.7.3'. Or use dgnb.run(…), which needs none."
        )
    return name, versions[name]


def _dangers(name: str, version: str, python: tuple[int, int], kernel: str) -> list[str]:
    """What goes wrong with this library on this Python and this ipykernel ("" where there is none), each a warning."""
    if name == "nest-asyncio2":
        return []
    found = []
    remedy = "Use dgnb.run(…), or pip install 'nest-asyncio2>=1.7.3' and restart the kernel."
    if kernel and _numbers(kernel) >= (7,):
        found.append(
            f"nest-asyncio {version} loses messages on ipykernel {kernel}: cells that wait and clicks that come during "
            f"a nested run are never handled. {remedy}"
        )
    if python >= (3, 14):
        found.append(
            f"nest-asyncio {version} breaks asyncio.current_task() and asyncio.timeout() on Python "
            f"{python[0]}.{python[1]}, and sessions with them. {remedy}"
        )
    return found


def _kernel() -> str:
    """The version of ipykernel, where this process is a kernel; else ""."""
    app = getattr(sys.modules.get("ipykernel.kernelapp"), "IPKernelApp", None)
    return importlib.metadata.version("ipykernel") if app is not None and app.initialized() else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])

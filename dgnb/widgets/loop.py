"""`OwnLoop`: the event loop that a panel was made on, where all that it does is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any


class OwnLoop:
    """Runs what a front end asks for, on one loop. `show_error` shows what goes wrong; `draw` follows each task."""

    def __init__(self, show_error: Callable[[BaseException], object], draw: Callable[[], object]) -> None:
        self._show_error = show_error
        self._draw = draw
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    def hand_over(self, act: Callable[[], object]) -> None:
        """Run it on this loop. On some kernels clicks come in other threads and loops."""
        here = None
        with contextlib.suppress(RuntimeError):
            here = asyncio.get_running_loop()
        self._loop = self._loop or here
        if self._loop is None or self._loop is here or self._loop.is_closed():
            self._guarded(act)
        else:
            self._loop.call_soon_threadsafe(self._guarded, act)

    def in_background(self, work: Callable[[], Coroutine[Any, Any, object]], name: str) -> None:
        """Run it as a task of this loop, which runs."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:
                self._show_error(error)
            self._guarded(self._draw)

        task = asyncio.get_running_loop().create_task(guarded(), name=f"dgnb: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:
            self._show_error(error)

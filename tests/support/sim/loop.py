"""An event loop with a virtual clock: it never waits, and each run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

__all__ = ["Stuck", "VirtualLoop"]

_TURNS = 200_000
"""Turns of the loop at one moment after which the run counts as stuck."""


class Stuck(Exception):
    """Nothing is left to happen, or the same thing happens for ever."""


class _Selector(selectors.BaseSelector):
    """Has no files. Where a selector would wait, it sets the clock to the next timer."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        loop = self._loop
        if timeout is None:
            raise Stuck("nothing is ready, and no timer runs")
        if timeout > 0:
            self._turns = 0
            # The timer's own time: a sum of floats may differ slightly.
            loop.now = max(loop.now, loop._scheduled[0]._when)  # type: ignore[attr-defined]
        else:
            self._turns += 1
            # A real clock goes on while code runs. A very short sleep would never end on one that stands still.
            if self._turns % 64 == 0:
                loop.now += 1e-6
            if self._turns > _TURNS:
                raise Stuck(f"{_TURNS} turns at one moment")
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:
        raise RuntimeError("a simulation has no files and no sockets")

    unregister = modify = register

    def get_map(self) -> Mapping[Any, Any]:
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time.

    Attributes:
        now: Seconds; what `time()` says.
        asleep: Seconds that the machine slept, in which this clock stood still, as Linux's does.
        blocked: The stretches (from, to) in which a cell held the loop up.
        problems: What would have been printed: exceptions that nobody retrieved, callbacks that raised.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.asleep = 0.0
        self.blocked: list[tuple[float, float]] = []
        self.problems: list[str] = []
        super().__init__(_Selector(self))
        self.set_exception_handler(lambda _, context: self.problems.append(_told(context)))

    def time(self) -> float:
        return self.now

    def block(self, seconds: float) -> None:
        """Hold the loop up, as a cell that computes does: the clock goes on, and nothing runs."""
        self.blocked.append((self.now, self.now + seconds))
        self.now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run it now, in this thread: real threads would use another clock."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _make_self_pipe(self) -> None: ...

    def _close_self_pipe(self) -> None: ...

    def _write_to_self(self) -> None: ...


def _told(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"

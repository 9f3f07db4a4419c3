"""`Lag`: how long the event loop was held up, by a cell that blocks the kernel or by a machine that slept. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

_RECENT: Final = 30.0
_ASLEEP: Final = 10.0
"""Seconds. Where the clock is the wall clock and gains less, somebody may have set it."""


class Lag:
    """Measures the delay between the scheduled and the actual tick.

    Args:
        interval: Seconds between two ticks.
        now: Seconds, monotonic.
        wall: Seconds of a clock that goes on while the machine is asleep; the monotonic one stands still.

    Attributes:
        worst: The longest delay so far, in seconds.
    """

    def __init__(self, interval: float, now: float, wall: float) -> None:
        self._interval = interval
        self._ticked = now
        self._wall = wall
        self._delays: deque[tuple[float, float]] = deque(maxlen=200)
        self.worst = 0.0

    def tick(self, now: float, wall: float) -> tuple[float, float]:
        """Record a tick. Returns the seconds by which it was late, and the seconds that the machine was asleep."""
        delay = self._delay(now)
        asleep = (wall - self._wall) - (now - self._ticked)
        self._ticked, self._wall = now, wall
        self.worst = max(self.worst, delay)
        self._delays.append((now, delay))
        return delay, asleep if asleep > _ASLEEP else 0.0

    def recent(self, now: float) -> float:
        """The longest delay in the last half minute, one that still lasts included."""
        return self.since(now - _RECENT, now)

    def since(self, then: float, now: float) -> float:
        """The longest delay between `then` and `now`, among the last 200 ticks."""
        return max([self._delay(now), *(delay for at, delay in self._delays if at > then)])

    def _delay(self, now: float) -> float:
        return max(0.0, now - self._ticked - self._interval)

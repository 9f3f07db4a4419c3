"""`Lag`: how long the event loop was held up, by a cell that blocks the kernel or by a machine that slept. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Lag"]

_RECENT: Final = 30.0
_ASLEEP: Final = 10.0
"""Seconds that the wall clock must run ahead of the other: less may be a clock that is being set."""


class Lag:
    """Told every `interval` seconds, it knows by how much it was told too late.

    Args:
        interval: Seconds between two ticks.
        now: Seconds, monotonic.
        wall: Seconds since 1970; unlike the other clock it goes on while the machine is asleep.

    Attributes:
        worst: The longest that the loop was held up, in seconds.
    """

    def __init__(self, interval: float, now: float, wall: float) -> None:
        self._interval = interval
        self._ticked = now
        self._wall = wall
        self._late: deque[tuple[float, float]] = deque(maxlen=200)
        self.worst = 0.0

    def tick(self, now: float, wall: float) -> tuple[float, float]:
        """Another interval has passed; gives by how many seconds it was late, and how many the machine was asleep."""
        late = self._lateness(now)
        asleep = (wall - self._wall) - (now - self._ticked)
        self._ticked, self._wall = now, wall
        self.worst = max(self.worst, late)
        self._late.append((now, late))
        return late, asleep if asleep > _ASLEEP else 0.0

    def recent(self, now: float) -> float:
        """The longest that it was held up in the last half minute, now included."""
        return self.since(now - _RECENT, now)

    def since(self, then: float, now: float) -> float:
        """The longest that it was held up between `then` and `now`, of what is still remembered."""
        return max([self._lateness(now), *(late for at, late in self._late if at > then)])

    def _lateness(self, now: float) -> float:
        return max(0.0, now - self._ticked - self._interval)

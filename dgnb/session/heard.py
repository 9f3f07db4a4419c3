"""`Heard`: what the finals of one connection cover, in whatever order they come. Pure: no clock, no loop, no I/O."""

from __future__ import annotations

import dataclasses
from bisect import insort
from typing import Final

from dgnb.messages import Results

UNHEARD: Final = 0.25
"""Seconds that a server may leave without a final before they count as a hole or, at the end, as a gap."""

_HOLE: Final = 20.0  # s by which finals pass a hole that then counts as silence that the server leaves out.


@dataclasses.dataclass
class _Channel:
    """Covered up to `end` without a hole, as far as `reached` with holes. `later` is what lies behind the first one."""

    end: float = 0.0
    reached: float = 0.0
    later: list[tuple[float, float]] = dataclasses.field(default_factory=list)


class Heard:
    """Takes finals. Times are seconds of the connection.

    Attributes:
        begin: Where on the source's timeline the connection began, in bytes.
        leaves_out: Whether the server is known to leave silence out, so that no final will fill a hole.
    """

    def __init__(self, *, leaves_out: bool = False) -> None:
        self.begin = 0
        self.leaves_out = leaves_out
        self._channels: dict[int, _Channel] = {}
        self._count = 1

    @property
    def end(self) -> float:
        """Up to where finals cover every channel, without a hole."""
        channels = self._channels.values()
        return min(channel.end for channel in channels) if len(channels) >= self._count else 0.0

    def take(self, final: Results) -> bool:
        """Note what a final covers. Returns whether none reached so far before."""
        number, self._count = final.channel_index if len(final.channel_index) == 2 else (0, 1)
        channel, end = self._channels.setdefault(number, _Channel()), final.start + final.duration
        further = end > channel.reached
        channel.reached = max(channel.reached, end)
        insort(channel.later, (final.start, end))
        while channel.later and channel.later[0][0] <= channel.end + UNHEARD:
            channel.end = max(channel.end, channel.later.pop(0)[1])
        self.leaves_out = self.leaves_out or channel.reached - channel.end > _HOLE
        if self.leaves_out:
            self.close_holes()
        return further

    def close_holes(self) -> None:
        """No final will fill a hole any more."""
        for channel in self._channels.values():
            channel.end = channel.reached

"""`Heard`: what the finals of one connection cover, in whatever order they come. Pure: no clock, no loop, no I/O."""

from __future__ import annotations

from bisect import insort
from typing import Final

from dgnb.messages import Results

UNHEARD: Final = 0.25
"""Seconds that a server may leave without a final before they count as a hole or, at the end, as a gap."""


class Heard:
    """Takes finals. Times are seconds of the connection."""

    def __init__(self, *, leaves_out: bool = False) -> None:
        self.begin = 0  # of the connection on the source's timeline, in bytes
        self.leaves_out = leaves_out  # the server is known to leave silence out: no final will fill a hole
        # Of each channel; the first span ends where the first hole begins.
        self._spans: dict[int, list[tuple[float, float]]] = {}
        self._channels = 1

    @property
    def end(self) -> float:
        """Up to where finals cover every channel, without a hole."""
        ends = [spans[0][1] for spans in self._spans.values()]
        return min(ends) if len(ends) >= self._channels else 0.0

    def take(self, final: Results) -> bool:
        """Note what a final covers. Returns whether none reached so far before."""
        channel, self._channels = final.channel_index if len(final.channel_index) == 2 else (0, 1)
        spans, end = self._spans.setdefault(channel, [(0.0, 0.0)]), final.start + final.duration
        before = max(end for _, end in spans)
        insort(spans, (max(0.0, final.start), end))
        while len(spans) > 1 and spans[1][0] <= spans[0][1] + UNHEARD:
            spans[0] = 0.0, max(spans[0][1], spans.pop(1)[1])
        # A hole that finals have passed by 20 s counts as silence that the server leaves out.
        self.leaves_out = self.leaves_out or max(end, before) - spans[0][1] > 20
        if self.leaves_out:
            self.close_holes()
        return end > before

    def close_holes(self) -> None:
        """No final will fill a hole any more."""
        for spans in self._spans.values():
            spans[:] = [(0.0, max(end for _, end in spans))]

"""`Heard`: what the finals or turns of one connection cover, in any order. Pure: no clock, no loop, no I/O."""

from __future__ import annotations

from bisect import insort
from typing import Final

from dgnb.messages import Results, TurnInfo
from dgnb.session.cuts import Cuts

UNHEARD: Final = 0.25
"""Seconds that a server may leave without a final before they count as a hole or, at the end, as a gap."""
_BEGINS: Final = 2.0  # Seconds of silence in which a turn may have begun that the server does not tell yet.


class Heard:
    """Takes results and turns. Times are seconds of the connection."""

    def __init__(self, *, leaves_out: bool = False) -> None:
        self.cuts = Cuts()  # where silence was left out
        self.begin = 0  # of the connection on the source's timeline, in bytes
        self.window = 0.0  # how far anything that was told reaches
        self.turn: TurnInfo | None = None  # the newest message of the turn that is open
        self.leaves_out = leaves_out  # the server is known to leave silence out: no final will fill a hole
        # Of each channel; the first span ends where the first hole begins.
        self._spans: dict[int, list[tuple[float, float]]] = {}
        self._channels = 1

    @property
    def end(self) -> float:
        """Up to where finals cover every channel, without a hole."""
        ends = [spans[0][1] for spans in self._spans.values()]
        return min(ends) if len(ends) >= self._channels else 0.0

    def take(self, message: Results | TurnInfo) -> bool:
        """Note what a message covers. Returns whether none reached so far before."""
        if isinstance(message, TurnInfo):
            return self._take_turn(message)
        self.window = max(self.window, message.start + message.duration)
        return bool(message.is_final) and self._take_final(message)

    def _take_turn(self, turn: TurnInfo) -> bool:
        self.window = max(self.window, turn.audio_window_end)
        if turn.event == "EndOfTurn":
            self.turn = None
            return self.reach(turn.audio_window_end)
        self.turn = turn if turn.transcript else None
        return not self.turn and self.reach(turn.audio_window_end - _BEGINS)

    def reach(self, end: float) -> bool:
        """All up to `end` is covered. Returns whether it was not before."""
        before = self.end
        self._spans[0] = [(0.0, max(before, end))]
        return end > before

    def _take_final(self, final: Results) -> bool:
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

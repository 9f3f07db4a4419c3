"""`Cuts`: where on the timeline a moment of a connection lies that silence was left out of. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from msgspec import structs

from dgnb.messages import Results, ServerMessage, SpeechStarted, UtteranceEnd


class Cuts:
    """Where audio was left out on one connection, in its seconds."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._left_out: list[float] = []  # up to and with each cut

    def __len__(self) -> int:
        return len(self._at)

    def skip(self, at: float, seconds: float) -> bool:
        """So much was left out after `at` seconds of the connection. Returns whether that is a new cut."""
        new = not self._at or at > self._at[-1]
        if new:
            self._at.append(at)
            self._left_out.append(self._left_out[-1] if self._left_out else 0.0)
        self._left_out[-1] += seconds
        return new

    def before(self, at: float) -> float:
        """What was left out before a moment of the connection, in seconds; a cut at that moment does not count."""
        index = bisect_left(self._at, at - 1e-6)
        return self._left_out[index - 1] if index else 0.0

    def until(self, at: float) -> float:
        """The same with a cut at that moment."""
        index = bisect_left(self._at, at + 1e-6)
        return self._left_out[index - 1] if index else 0.0

    def placed(self, message: ServerMessage) -> tuple[ServerMessage, float]:
        """The message, and what was left out before it, in seconds. A `Results` across a cut is stretched over it."""
        if isinstance(message, Results):
            start, end = message.start, message.start + message.duration
            shift = self.until(start)
            if self.before(end) > shift:
                return _stretched(message, shift, self.until, self.before), shift
            return message, shift
        if isinstance(message, SpeechStarted):
            return message, self.until(message.timestamp)
        return message, self.before(message.last_word_end) if isinstance(message, UtteranceEnd) else 0.0


def _stretched(
    results: Results, shift: float, until: Callable[[float], float], before: Callable[[float], float]
) -> Results:
    def moved(span: Any) -> Any:
        if span.start is None or span.end is None:
            return span
        start, end = span.start + until(span.start) - shift, span.end + before(span.end) - shift
        return structs.replace(span, start=start, end=end)

    heard = structs.replace(
        results.channel,
        alternatives=tuple(
            structs.replace(one, words=tuple(map(moved, one.words))) for one in results.channel.alternatives
        ),
        search=results.channel.search
        and tuple(structs.replace(one, hits=tuple(map(moved, one.hits))) for one in results.channel.search),
    )
    end = results.start + results.duration
    return structs.replace(results, duration=end + before(end) - shift - results.start, channel=heard)

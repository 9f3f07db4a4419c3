"""`Coverage`: which stretches of each channel are final, so that no word counts twice and no second is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dgnb.messages import Results, Word
from dgnb.transcript.records import shown

__all__ = ["Coverage"]

_SLACK: Final = 0.02
"""Seconds that neighbouring finals of a channel may overlap or lie apart: the server rounds times."""

_Span = tuple[float, float]


class Coverage:
    """The stretches that finals cover, by channel: seconds on the source's timeline."""

    def __init__(self) -> None:
        self._spans: dict[int, list[_Span]] = {}

    @property
    def cursor(self) -> float:
        """How far the channel that is furthest behind is covered."""
        return min((spans[-1][1] for spans in self._spans.values()), default=0.0)

    @property
    def end(self) -> float:
        """How far the channel that is furthest ahead is covered."""
        return max((spans[-1][1] for spans in self._spans.values()), default=0.0)

    def add(self, final: Results, channel: int) -> tuple[str, Sequence[Word], str]:
        """Cover the stretch of a final.

        Returns:
            The text and the words of it that no earlier final had, and a warning, or "", about what is left out.
        """
        spans = self._spans.setdefault(channel, [])
        start, end = final.start, final.start + final.duration
        if not _follows(final, end, spans):
            return _unsaid(final, spans)
        if spans and start <= spans[-1][1] + _SLACK:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
        return final.transcript, final.words, ""

    def missing(self, until: float, told: Sequence[_Span]) -> list[_Span]:
        """The stretches up to `until` that some channel has no final for and that are not in `told`, in order."""
        missing: list[_Span] = []
        for spans in self._spans.values() or [[]]:
            at = 0.0
            for start, end in sorted([*spans, *told, (until, until)]):
                if min(start, until) > at + _SLACK:
                    missing.append((at, min(start, until)))
                at = max(at, end)
        return _joined(missing)


def _follows(final: Results, end: float, spans: list[_Span]) -> bool:
    """Whether a final begins where the finals before it end, or later, and holds all its words: nearly all do."""
    start = final.start
    if end < start or (spans and start < spans[-1][1] - _SLACK):
        return False
    for word in final.words:  # noqa: SIM110 - a generator costs three times as much, at each final
        if word.start < start or word.end > end:
            return False
    return True


def _unsaid(final: Results, spans: list[_Span]) -> tuple[str, Sequence[Word], str]:
    """Cover any final, and find what is new in it: see `Coverage.add`."""
    text, words, warning = final.transcript, final.words, ""
    start, end = _extent(final)
    again = sum(max(0.0, min(end, b) - max(start, a)) for a, b in spans)
    if again > _SLACK:
        # Finals never change, so only what no earlier one said counts.
        words = tuple(word for word in words if not _holds(spans, (word.start + word.end) / 2))
        if len(words) < len(final.words):
            text = shown(words)
        elif not words and again > (end - start) / 2:
            text = ""
        if text != final.transcript:
            what = f"A final from {start:.3f} to {end:.3f} s says again what an earlier one said"
            warning = f"{what}; {again:.3f} s of it are left out."
    spans[:] = _joined([*spans, (start, end)])
    return text, words, warning


def _extent(final: Results) -> _Span:
    """What a final covers: its own stretch, and the middle of each of its words."""
    middles = [(word.start + word.end) / 2 for word in final.words]
    return min([final.start, *middles]), max([final.start, final.start + final.duration, *middles])


def _holds(spans: Iterable[_Span], seconds: float) -> bool:
    return any(start <= seconds <= end for start, end in spans)


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """The same stretches in order, with neighbours joined."""
    joined: list[_Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + _SLACK:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined

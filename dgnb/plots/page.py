"""Words written out like a page: rows of 6 seconds, each word a bar with its text."""

from __future__ import annotations

import itertools
import math
from typing import Any, Final, NamedTuple

import pandas as pd
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from dgnb.plots.axis import Box, boxes, clock, gap_boxes, legend, size, text_width
from dgnb.plots.style import colour, dress, hatch, say, style, writable
from dgnb.plots.voices import Voices

_ROW: Final = 6.0
"""Seconds a row."""
_SIZES: Final = (8.0, 7.0, 6.0)
"""Font sizes of words in points: the first that fits is used."""


class _Piece(NamedTuple):
    """A word, or the part of it that lies in one row; times in seconds from the start of the row."""

    start: float
    end: float
    look: int
    confidence: float
    text: str


def rows(start: float, end: float) -> int:
    """How many rows a page has."""
    return max(1, math.ceil((end - start) / _ROW))


def page(words: pd.DataFrame, who: Voices, gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """Draw the page; the text of a word is left out where its bar is too narrow."""
    dress(ax, "words")
    count = rows(start, end)
    channels = sorted(words["channel"].unique())
    height = 0.76 / max(1, len(channels))
    ax.set_xlim(0, _ROW)
    ax.set_ylim(count - 0.45, -0.55)
    begins = [start + row * _ROW for row in range(count)]
    ax.set_yticks(range(count), [f"{begin:g} s" if end < 120 else clock(begin, end) for begin in begins])
    ax.tick_params(axis="y", length=0)
    known = bool(words["confidence"].notna().any())
    ax.set_xlabel("seconds after the start of the row" + ("; paler: less confident" if known else ""))
    speakers = [
        Patch(facecolor=_fill(ax, look), edgecolor=style(ax).edge, hatch=hatch(look), lw=0, label=name)
        for look, name in zip(who.looks, who.names, strict=True)
        if len(who.names) > 1
    ]
    legend(ax, [*speakers, *_gaps(ax, gaps, start, end, count)])
    if words.empty:
        say(ax, "no words")
    wide, tall = size(ax)
    sizes = [points for points in _SIZES if points * 1.3 <= tall / (count + 0.1) * height]
    for (row, channel), pieces in _in_rows(words, who, start, count).items():
        middle = row - 0.38 + height * (channels.index(channel) + 0.5)
        _bars(ax, pieces, middle - height / 2, middle + height / 2)
        _labels(ax, pieces, middle, wide / _ROW, sizes)


def _in_rows(words: pd.DataFrame, who: Voices, start: float, count: int) -> dict[tuple[int, int], list[_Piece]]:
    """The pieces in each row of each channel, from left to right."""
    placed: dict[tuple[int, int], list[_Piece]] = {}
    columns = ("start", "end", "confidence", "punctuated_word", "channel")
    table = zip(who.of.tolist(), *(words[name].tolist() for name in columns), strict=True)
    for voice, begin, end, confidence, text, channel in table:
        spans = _spans(begin - start, end - start, count)
        longest = max(spans, key=lambda row: spans[row][1] - spans[row][0])
        for row, span in spans.items():
            piece = _Piece(*span, who.looks[voice], confidence, text if row == longest else "")
            placed.setdefault((row, channel), []).append(piece)
    for line in placed.values():
        line.sort(key=lambda piece: piece.start)
    return placed


def _spans(begin: float, end: float, count: int) -> dict[int, tuple[float, float]]:
    """The parts of a time span on a page of `count` rows: for each row that it touches, from and to in the row."""
    left = max(0.0, begin)
    right = max(left, min(end, count * _ROW))
    first = min(int(left // _ROW), count - 1)
    rows = range(first, max(first + 1, math.ceil(right / _ROW)))
    return {row: (max(left - row * _ROW, 0.0), min(right - row * _ROW, _ROW)) for row in rows}


def _fill(ax: Axes, look: int, confidence: float = 1.0) -> Any:
    """The colour of a word's bar: pale enough for text on it, paler with less confidence, in between without one."""
    sure = 0.6 if math.isnan(confidence) else min(1.0, max(0.0, confidence))
    mixed = zip(colors.to_rgb(style(ax).edge), colors.to_rgb(colour(look)), strict=True)
    return tuple(pale + (full - pale) * (0.12 + 0.43 * sure) for pale, full in mixed)


def _bars(ax: Axes, pieces: list[_Piece], low: float, high: float) -> None:
    for look in sorted({piece.look for piece in pieces}):
        mine = [piece for piece in pieces if piece.look == look]
        boxes(
            ax,
            [Box(piece.start, piece.end, low, high) for piece in mine],
            facecolors=[_fill(ax, look, piece.confidence) for piece in mine],
            edgecolor=style(ax).edge,
            hatch=hatch(look),
            linewidth=0.8,
        )


def _labels(ax: Axes, pieces: list[_Piece], middle: float, points_a_second: float, sizes: list[float]) -> None:
    """Write each word on its bar, up to where the next word begins."""
    for piece, after in itertools.zip_longest(pieces, pieces[1:]):
        end = min(piece.end, after.start) if after else piece.end
        text, room = writable(piece.text), (end - piece.start) * points_a_second
        points = next((points for points in sizes if text.strip() and text_width(text, points) <= room), None)
        if points is not None:
            label = ax.text(
                (piece.start + end) / 2,
                middle,
                text,
                ha="center",
                va="center_baseline",
                fontsize=points,
                color=style(ax).ink,
                parse_math=False,
                clip_on=True,
            )
            label.set_in_layout(False)


def _gaps(ax: Axes, gaps: pd.DataFrame, start: float, end: float, count: int) -> list[Any]:
    """Draw each gap in every row that it touches; the entries for the legend."""
    bars = []
    for begin, finish, reason in zip(gaps["start"], gaps["end"], gaps["reason"], strict=True):
        if finish < start or begin > end:
            continue
        for row, (left, right) in _spans(begin - start, finish - start, count).items():
            bars.append((reason, Box(left, max(right, left + 0.01), row - 0.45, row + 0.45)))
    return gap_boxes(ax, bars)

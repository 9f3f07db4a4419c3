"""What changes along time: confidence, latency, churn, speaking rate."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dgnb import tables
from dgnb.plots.axis import Box, boxes, round_up
from dgnb.plots.style import ALARM, PALETTE, colour, dress, say, style
from dgnb.plots.voices import voices

_Floats = npt.NDArray[np.float64]

_POINTS: Final = 600
"""Points of a line of means: about every other pixel."""
_MANY: Final = 3000
"""More marks than this are small and pale, and pixels in a vector file."""
_MOST_LINES: Final = 6
_LINE_STYLES: Final = ("-", "--", "-.", ":")


def default_window(start: float, end: float) -> float:
    """A round length of time in seconds, 5 or more, about a sixtieth of the whole."""
    return max(5.0, round_up((end - start) / 60))


def confidence(words: pd.DataFrame, low: float, window: float | None, start: float, end: float, ax: Axes) -> list[Any]:
    """Draw words as dots, those below `low` marked, and their mean as a line; the entries for the legend."""
    dress(ax, "confidence of words")
    middle = (words["start"].to_numpy() + words["end"].to_numpy()) / 2
    at, sure = _finite(middle, words["confidence"].to_numpy())
    ax.set_ylim(-0.04, 1.06)
    if not at.size:
        say(ax, "no word has a confidence" if len(words) else "no words")
        return []
    # A value outside 0 to 1 is drawn at the edge.
    sure = np.clip(sure, 0.0, 1.0)
    doubtful = sure < low
    dots = [
        _dots(ax, at[~doubtful], sure[~doubtful], PALETTE[4], "o", "word"),
        _dots(ax, at[doubtful], sure[doubtful], ALARM, "v", f"below {low:g}: {np.count_nonzero(doubtful)}"),
    ]
    ax.axhline(low, color="#808080", linewidth=0.8, linestyle=":", zorder=1)
    return [*dots, _mean(ax, at, sure, window, start, end)]


def latency(results: pd.DataFrame, window: float | None, start: float, end: float, ax: Axes) -> list[Any]:
    """Draw interims as dots at their end, and their mean as a line; the entries for the legend."""
    dress(ax, "latency of interims, seconds")
    at, behind = _finite(results["end"].to_numpy(), results["latency"].to_numpy())
    if not at.size:
        ax.set_ylim(0, 1)
        interims = bool((~results["is_final"]).any())
        say(ax, "the audio cursor is unknown" if interims else "no interims")
        return []
    late = float(np.quantile(behind, 0.95))
    _scale(ax, behind)
    return [
        _dots(ax, at, behind, PALETTE[4], "o", f"interim: min {behind.min():.2f} s, avg {behind.mean():.2f} s"),
        ax.axhline(late, color=ALARM, linewidth=1.2, linestyle="--", label=f"p95 {late:.2f} s"),
        _mean(ax, at, behind, window, start, end),
    ]


def churn(results: pd.DataFrame, start: float, end: float, ax: Axes) -> list[Any]:
    """Draw each final as a bar over its time, as high as its words were rewritten; the entry for the legend."""
    dress(ax, "churn, rewrites per word")
    finals = results[np.isfinite(results["churn"])]
    begins, ends, rewritten = (finals[name].to_numpy() for name in ("start", "end", "churn"))
    if finals.empty:
        ax.set_ylim(0, 1)
        say(ax, "no final had interims before it")
        return []
    _scale(ax, rewritten)
    # A final without churn, or without length, is still visible.
    heights = np.maximum(rewritten, ax.get_ylim()[1] / 100)
    finishes = np.maximum(ends, begins + (end - start) / 1500)
    bars = zip(begins.tolist(), finishes.tolist(), heights.tolist(), strict=True)
    boxes(
        ax,
        [Box(begin, finish, 0.0, height) for begin, finish, height in bars],
        facecolor=PALETTE[0],
        linewidth=0,
        rasterized=rewritten.size > _MANY,
    )
    untouched = np.count_nonzero(rewritten == 0) / rewritten.size
    label = f"final: avg {rewritten.mean():.2f}, max {rewritten.max():.2f}, {untouched:.0%} never rewritten"
    return [Patch(facecolor=PALETTE[0], label=label)]


def speaking_rate(words: pd.DataFrame, window: float | None, start: float, end: float, ax: Axes) -> list[Any]:
    """Draw a line for each speaker, in steps of `window`; the entries for the legend."""
    dress(ax, "words per minute")
    window = window or default_window(start, end)
    who = voices(words, _MOST_LINES)
    handles, highest = [], 0.0
    for voice, (look, name) in enumerate(zip(who.looks, who.names, strict=True)):
        rates = tables.speaking_rate(words[who.of == voice], window)
        begins = rates["start"].to_numpy()
        # The table ends with this speaker's last word, the picture with the last word of all.
        finishes = np.minimum(begins + window, end)
        per_minute = rates["words"].to_numpy() * 60 / np.maximum(finishes - begins, window / 2)
        highest = max(highest, float(per_minute.max()))
        handles += ax.plot(
            np.append(begins, finishes[-1]),
            np.append(per_minute, per_minute[-1]),
            drawstyle="steps-post",
            color=colour(look),
            linestyle=_LINE_STYLES[look % len(_LINE_STYLES)],
            linewidth=1.8,
            label=name or f"in windows of {window:g} s",
        )
    ax.set_ylim(0, highest * 1.1 or 1.0)
    if words.empty:
        say(ax, "no words")
    return handles


def _finite(at: _Floats, values: _Floats) -> tuple[_Floats, _Floats]:
    known = np.isfinite(values)
    return at[known], values[known]


def _dots(ax: Axes, x: _Floats, y: _Floats, color: str, marker: str, label: str) -> Any:
    many = x.size > _MANY
    look: Any = {"linestyle": "none", "marker": marker, "color": color, "markeredgewidth": 0}
    ax.plot(x, y, markersize=2 if many else 4, alpha=0.35 if many else 0.8, rasterized=many, **look)
    # The marker in the legend is always large and opaque.
    return Line2D([], [], markersize=5, label=label, **look)


def _mean(ax: Axes, at: _Floats, values: _Floats, window: float | None, start: float, end: float) -> Any:
    """The mean of the values within half a window of each moment; the line breaks where there are none."""
    window = window or default_window(start, end)
    order = np.argsort(at, kind="stable")
    at, sums = at[order], np.concatenate([[0.0], np.cumsum(values[order])])
    moments = np.linspace(start, end, _POINTS)
    low, high = np.searchsorted(at, moments - window / 2, "left"), np.searchsorted(at, moments + window / 2, "right")
    with np.errstate(invalid="ignore"):
        mean = np.where(high > low, (sums[high] - sums[low]) / (high - low), np.nan)
    (line,) = ax.plot(moments, mean, color=style(ax).ink, linewidth=1.5, label=f"mean of {window:g} s")
    return line


def _scale(ax: Axes, values: _Floats) -> None:
    """Show all values and 0, with some room above."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    ax.set_ylim(low * 1.1, high * 1.1 if high > low else 1.0)

"""What changes along time: confidence, latency, churn, speaking rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from dgnb import tables
from dgnb.plots import paper
from dgnb.plots.lanes import voices

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["churn", "confidence", "default_window", "latency", "speaking_rate"]

_POINTS: Final = 600
"""Where along the axis a mean is taken: about every other pixel."""
_MANY: Final = 3000
"""From so many dots on they are small and pale, and pixels in a file of vectors."""
_MOST_LINES: Final = 6
_STYLES: Final = ("-", "--", "-.", ":")


def default_window(start: float, end: float) -> float:
    """A round length of time that goes about 60 times into the whole, in seconds."""
    least = (end - start) / 60
    for window in (5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0):
        if window >= least:
            return window
    return math.ceil(least / 3600) * 3600.0


def confidence(words: pd.DataFrame, low: float, window: float | None, start: float, end: float, ax: Axes) -> list[Any]:
    """Words as dots, their mean as a line, the low ones marked."""
    import numpy as np

    paper.dress(ax, "confidence of words")

    at = (words["start"].to_numpy() + words["end"].to_numpy()) / 2
    sure = words["confidence"].to_numpy()
    known = np.isfinite(sure)
    at, sure = at[known], sure[known]
    ax.set_ylim(-0.04, 1.06)
    if not at.size:
        paper.say(ax, "no word has a confidence" if len(words) else "no words")
        return []
    # A server that leaves 0 to 1 is seen at the edge.
    sure = np.clip(sure, 0.0, 1.0)
    doubted = sure < low
    handles = [
        _dots(ax, at[~doubted], sure[~doubted], paper.PALETTE[4], "o", "word"),
        _dots(ax, at[doubted], sure[doubted], paper.ALARM, "v", f"below {low:g}: {np.count_nonzero(doubted)}"),
    ]
    ax.axhline(low, color=paper.grey(ax, 0.4), linewidth=0.8, linestyle=":", zorder=1)
    return [*handles, _mean(ax, at, sure, window, start, end)]


def latency(results: pd.DataFrame, window: float | None, start: float, end: float, ax: Axes) -> list[Any]:
    """Interims as dots at the end of what they cover, their mean as a line."""
    import numpy as np

    paper.dress(ax, "latency of interims, seconds")

    at, behind = results["end"].to_numpy(), results["latency"].to_numpy()
    known = np.isfinite(behind)
    at, behind = at[known], behind[known]
    if not at.size:
        ax.set_ylim(0, 1)
        interims = bool((~results["is_final"]).any())
        paper.say(ax, "it was not told how far the audio had been sent" if interims else "no interims")
        return []
    late = float(np.quantile(behind, 0.95))
    label = f"interim: min {behind.min():.2f} s, avg {behind.mean():.2f} s"
    _room(ax, behind)
    dots = _dots(ax, at, behind, paper.PALETTE[4], "o", label)
    line = ax.axhline(late, color=paper.ALARM, linewidth=1.2, linestyle="--", label=f"p95 {late:.2f} s")
    return [dots, line, _mean(ax, at, behind, window, start, end)]


def churn(results: pd.DataFrame, start: float, end: float, ax: Axes) -> list[Any]:
    """Finals as bars over what they cover: as high as their words were rewritten before."""
    import numpy as np
    from matplotlib.patches import Patch

    paper.dress(ax, "churn, rewritings a word")
    rewritten = results["churn"].to_numpy()
    known = np.isfinite(rewritten)
    begins, ends, rewritten = (column[known] for column in (results["start"], results["end"], rewritten))
    if not rewritten.size:
        ax.set_ylim(0, 1)
        paper.say(ax, "no final had interims before it")
        return []
    _room(ax, rewritten)
    # A final that was not rewritten is seen as a foot.
    foot = ax.get_ylim()[1] / 100
    least = (end - start) / 1500
    finishes = np.maximum(ends, begins + least)
    spans = zip(begins.tolist(), finishes.tolist(), np.maximum(rewritten, foot).tolist(), strict=True)
    paper.boxes(
        ax,
        [paper.Box(begin, finish, 0.0, high) for begin, finish, high in spans],
        facecolor=paper.PALETTE[0],
        linewidth=0,
        rasterized=rewritten.size > _MANY,
    )
    untouched = np.count_nonzero(rewritten == 0) / rewritten.size
    label = f"final: avg {rewritten.mean():.2f}, max {rewritten.max():.2f}, {untouched:.0%} never rewritten"
    return [Patch(facecolor=paper.PALETTE[0], label=label)]


def speaking_rate(words: pd.DataFrame, window: float | None, start: float, end: float, ax: Axes) -> list[Any]:
    """A line a speaker, in steps of `window`."""
    import numpy as np

    paper.dress(ax, "words per minute")
    window = window or default_window(start, end)
    who = voices(words, _MOST_LINES)
    handles, highest = [], 0.0
    for voice, (look, name) in enumerate(zip(who.looks, who.names, strict=True)):
        rates = tables.speaking_rate(words[who.of == voice], window)
        begins = rates["start"].to_numpy()
        # The table ends with the speaker's last word, the picture with the last word of all.
        finishes = np.minimum(begins + window, end)
        per_minute = rates["words"].to_numpy() * 60 / np.maximum(finishes - begins, window / 2)
        highest = max(highest, float(per_minute.max()))
        edges = np.append(begins, finishes[-1])
        handles += ax.plot(
            edges,
            np.append(per_minute, per_minute[-1]),
            drawstyle="steps-post",
            color=paper.colour(ax, look),
            linestyle=_STYLES[look % len(_STYLES)],
            linewidth=1.8,
            label=name if len(who.names) > 1 else f"in windows of {window:g} s",
        )
    ax.set_ylim(0, highest * 1.1 or 1.0)
    if not who.names:
        paper.say(ax, "no words")
    return handles


def _dots(ax: Axes, x: paper.Floats, y: paper.Floats, colour: str, marker: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    many = x.size > _MANY
    ax.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        color=colour,
        markersize=2 if many else 4,
        alpha=0.35 if many else 0.8,
        markeredgewidth=0,
        rasterized=many,
    )
    # In the legend they are large enough to be told apart.
    return Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=5, markeredgewidth=0, label=label)


def _mean(ax: Axes, at: paper.Floats, values: paper.Floats, window: float | None, start: float, end: float) -> Any:
    """The mean of what lies within half a window of each moment; a break where nothing does."""
    import numpy as np

    window = window or default_window(start, end)
    order = np.argsort(at, kind="stable")
    at, sums = at[order], np.concatenate([[0.0], np.cumsum(values[order])])
    moments = np.linspace(start, end, _POINTS)
    low, high = np.searchsorted(at, moments - window / 2, "left"), np.searchsorted(at, moments + window / 2, "right")
    with np.errstate(invalid="ignore"):
        mean = np.where(high > low, (sums[high] - sums[low]) / (high - low), np.nan)
    (line,) = ax.plot(moments, mean, color=paper.ink(ax), linewidth=1.5, label=f"mean of {window:g} s")
    return line


def _room(ax: Axes, values: paper.Floats) -> None:
    """From 0, or the least where that is below, to a little above the most."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    ax.set_ylim(low * 1.1, high * 1.1 if high > low else 1.0)

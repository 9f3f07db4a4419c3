"""Words written out like a page: rows of 6 seconds, each word a bar with its text."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colors, rcParams
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from dgnb.frames import NAME
from dgnb.plots.style import clock, colour, draw_gaps, dress, legend, say, writable

ROW: Final = 6.0
"""Seconds a row."""
_SURE: Final = 0.55  # How opaque a word's bar is at most: the text on it must be readable


def page(words: pd.DataFrame, names: list[str], gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """Draw the page; `words` and `names` are those of `voices()`."""
    dress(ax, "words")
    begins = np.arange(start, end, ROW)
    ax.set(xlim=(0, ROW), ylim=(len(begins) - 0.45, -0.55))
    ax.set_xlabel("seconds after the start of the row; paler: less confident")
    ax.set_yticks(range(len(begins)), [f"{begin:g} s" if end < 120 else clock(begin) for begin in begins])
    ax.tick_params(axis="y", length=0)
    handles: list[Any] = [Patch(color=colour(voice), alpha=_SURE, label=name) for voice, name in enumerate(names)]
    grey = [draw_gaps(ax, gaps, begin, row - 0.45, row + 0.45) for row, begin in enumerate(begins)]
    legend(ax, [*(handles if len(names) > 1 or NAME in words else ()), *(grey[:1] if len(gaps) else ())])
    if words.empty:
        say(ax, "no words")
        return
    placed = _placed(words).merge(pd.DataFrame({"row": range(len(begins)), "begin": begins}), how="cross")
    placed = placed[(placed["end"] > placed["begin"]) & (placed["start"] < placed["begin"] + ROW)]
    left, right = (placed["start"] - placed["begin"]).clip(0), (placed["end"] - placed["begin"]).clip(upper=ROW)
    bars = ax.barh(
        placed["row"] - 0.38 + placed["height"] * placed["line"],
        right - left,
        placed["height"],
        left,
        color=list(map(colors.to_rgba, placed["voice"].map(colour), placed["alpha"])),
        edgecolor=rcParams["axes.facecolor"],
        linewidth=0.8,
    )
    # A word across two rows is written in one of them.
    middle = (placed["start"] + placed["end"]) / 2
    here = (middle >= placed["begin"]) & (middle < placed["begin"] + ROW)
    texts = placed["punctuated_word"].where(here, "").map(writable)
    _fit(ax, list(zip(ax.bar_label(bars, texts, label_type="center", parse_math=False), bars, strict=True)))


def _placed(words: pd.DataFrame) -> pd.DataFrame:
    """The words in order of time, each up to where its channel's next one begins."""
    words = words.sort_values("start", kind="stable")
    after = words.groupby("channel")["start"].shift(-1)
    sure = words["confidence"].clip(0, 1).fillna(0.6)
    line = words["channel"].rank(method="dense") - 1
    return words.assign(
        end=words["end"].clip(upper=after.fillna(np.inf)),
        alpha=_SURE * (0.2 + 0.8 * sure),
        height=0.76 / (line.max() + 1),
        line=line + 0.5,
    )


def _fit(ax: Axes, labels: list[tuple[Any, Any]]) -> None:
    """Make each text as small as its bar, or leave it out."""
    # Only after the layout is it known what fits.
    ax.figure.figure.draw_without_rendering()
    for label, bar in labels:
        for size in (8, 7, 6):
            label.set_fontsize(size)
            if (label.get_window_extent().size <= bar.get_window_extent().size).all():
                break
        else:
            label.remove()

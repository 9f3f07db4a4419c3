"""Who spoke when: a line a speaker, with utterances as blocks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from dgnb.plots.axis import Box, boxes, gap_bands, legend, time_axis
from dgnb.plots.style import colour, dress, hatch, say, style
from dgnb.plots.voices import Voices


def lanes(words: pd.DataFrame, who: Voices, gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """Draw a line for each speaker of `words`."""
    dress(ax, who.title)
    # A short utterance is still visible.
    least = (end - start) / 1500
    for row, look in enumerate(who.looks):
        utterances = words[who.of == row].groupby("utterance")
        blocks = zip(utterances["start"].min().tolist(), utterances["end"].max().tolist(), strict=True)
        boxes(
            ax,
            [Box(begin, max(finish, begin + least), row - 0.36, row + 0.36) for begin, finish in blocks],
            facecolor=colour(look),
            edgecolor=style(ax).edge,
            hatch=hatch(look),
            linewidth=0,
        )
    ax.set_ylim(max(1, len(who.names)) - 0.45, -0.55)
    ax.set_yticks(range(len(who.names)), who.names)
    ax.tick_params(axis="y", length=0)
    if words.empty:
        say(ax, "no words")
    time_axis(ax, start, end)
    legend(ax, gap_bands(ax, gaps, start, end))

"""Who spoke when: a line a speaker, with utterances as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dgnb.plots.axis import Box, boxes, gap_bands, legend, time_axis
from dgnb.plots.style import colour, dress, hatch, say, style
from dgnb.plots.voices import Voices

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["lanes"]

_PIXELS: Final = 4000
"""Blocks that are closer than this part of the picture are drawn as one."""


def lanes(words: pd.DataFrame, who: Voices, gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """Draw a line for each speaker of `words`."""
    dress(ax, who.title)
    for row, look in enumerate(who.looks):
        utterances = words[who.of == row].groupby("utterance")
        blocks = _joined(utterances["start"].min(), utterances["end"].max(), (end - start) / _PIXELS)
        boxes(
            ax,
            [Box(begin, finish, row - 0.36, row + 0.36) for begin, finish in blocks],
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


def _joined(starts: pd.Series[float], ends: pd.Series[float], near: float) -> list[tuple[float, float]]:
    """The blocks in order. Neighbours that nearly touch are one block, and no block is too narrow to be seen."""
    import numpy as np

    if starts.empty:
        return []
    order = np.argsort(starts.to_numpy(), kind="stable")
    first, reach = starts.to_numpy()[order], np.maximum.accumulate(ends.to_numpy()[order])
    new = np.flatnonzero(np.concatenate([[True], first[1:] > reach[:-1] + near]))
    finish = reach[np.concatenate([new[1:] - 1, [first.size - 1]])]
    return list(zip(first[new].tolist(), np.maximum(finish, first[new] + near).tolist(), strict=True))

"""Who speaks: the names of speakers and channels, which word belongs to whom, and a line for each of them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from dgnb.plots.axis import Box, boxes, gap_bands, legend, time_axis
from dgnb.plots.style import colour, dress, hatch, say, style

_MOST: Final = 24


class Voices(NamedTuple):
    """The speakers of a words table. Speakers of different channels are different."""

    of: npt.NDArray[np.int64]
    """For each word, the position of its speaker in `names` and `looks`."""
    names: list[str]
    """"" where there is neither a speaker nor a second channel."""
    looks: list[int]
    """Decides colour and hatching, the same in every picture; -1 for speakers that are drawn together."""
    title: str
    """What the words are grouped by."""


def voices(words: pd.DataFrame, most: int = _MOST) -> Voices:
    """The speakers of a words table, in order. Beyond `most`, those who say least become one."""
    groups = words.groupby(["channel", "speaker"], dropna=False)
    of, sizes = groups.ngroup().to_numpy(), groups.size()
    channels, speakers = words["channel"].nunique() > 1, bool(words["speaker"].notna().any())
    names = []
    for channel, speaker in sizes.index:
        parts = [f"channel {channel}"] if channels else []
        if speakers:
            parts.append("no speaker" if pd.isna(speaker) else f"speaker {speaker}")
        names.append(" · ".join(parts))
    title = "words by speaker" if speakers else "words by channel" if channels else "words"
    looks = list(range(len(names)))
    if len(names) > most:
        kept = np.sort(np.argsort(-sizes.to_numpy(), kind="stable")[: most - 1])
        position = np.full(len(names), most - 1)
        position[kept] = np.arange(most - 1)
        names = [*(names[voice] for voice in kept), f"{len(names) - most + 1} others"]
        of, looks = position[of], [*kept.tolist(), -1]
    return Voices(of.astype(np.int64), names, looks, title)


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

"""What the pictures share: new figures, colours, the names of speakers, the time axis, gaps, the legend and text."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pandas as pd
from matplotlib import pyplot, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MultipleLocator

from dgnb.frames import NAME
from dgnb.writing import one_line

PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colours for colour-blind readers, without yellow and black. They suit light and dark backgrounds."""
ALARM: Final = "#D55E00"

_GAP: Final[Any] = {"color": "0.5", "alpha": 0.3, "linewidth": 1, "zorder": 0.5, "label": "not transcribed"}
_ROUND: Final = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
"""Lengths of time that people count in, in seconds."""


def figure(height: float) -> Figure:
    """A new figure, `height` inches tall. The caller does not have to close it."""
    settings: Any = {"figsize": (11, height), "layout": ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)}
    backend = pyplot.get_backend().lower()
    if backend == "agg":
        # Without a display, pyplot would keep the figure for ever.
        made = Figure(**settings)
        FigureCanvasAgg(made)
        return made
    made = pyplot.figure(**settings)
    if "inline" in backend:
        made._ipython_display_ = functools.partial(_shown_as_value, made)  # type: ignore[attr-defined]
    return made


def _shown_as_value(made: Figure) -> None:
    # Otherwise the end of the cell shows the figure a second time.
    pyplot.close(made)
    raise NotImplementedError("IPython shows it like any other figure.")


def dress(ax: Axes, title: str) -> None:
    """Set the title, the ticks and the frame."""
    ax.set_title(title, loc="left", fontsize=9, fontweight="bold")
    ax.tick_params(labelsize=8)
    ax.xaxis.label.set_fontsize(8)
    ax.spines[["left", "top", "right"]].set_visible(False)


def colour(voice: int) -> str:
    """A speaker's colour."""
    return PALETTE[voice % len(PALETTE)]


def voices(words: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The words with a column `voice`, and the name of each voice.

    Speakers of different channels are different voices. The name is "" where there is neither a speaker nor a second
    channel.
    """
    groups = words.groupby(["channel", "speaker"], dropna=False)
    channels, speakers = words["channel"].nunique() > 1, bool(words["speaker"].notna().any())
    own = dict(words[["speaker", NAME]].dropna().itertuples(index=False, name=None)) if NAME in words else {}
    names = []
    for channel, speaker in groups.size().index:
        parts = [f"channel {channel}"] if channels else []
        if speakers:
            parts.append("no speaker" if pd.isna(speaker) else own.get(speaker, f"speaker {speaker}"))
        # Dollars enclose mathematics, and legends leave out what begins with "_".
        names.append(re.sub("^_", " _", writable(" · ".join(parts)).replace("$", r"\$")))
    return words.assign(voice=groups.ngroup()), names


def round_up(seconds: float) -> float:
    """The next round length of time, of 5 s or more; beyond 12 hours whole days."""
    return next((length for length in _ROUND if length >= seconds), math.ceil(seconds / 86400) * 86400)


def clock(seconds: float) -> str:
    """A time as h:mm:ss."""
    return ("-" if seconds < 0 else "") + str(timedelta(seconds=round(abs(seconds))))


def time_axis(ax: Axes, start: float, end: float) -> None:
    """Show `start` to `end`, in seconds up to two minutes."""
    ax.set_xlim(start, end)
    ax.set_xlabel("seconds")
    if max(abs(start), abs(end)) > 120:
        ax.xaxis.set_major_locator(MultipleLocator(round_up((end - start) / 10)))
        ax.xaxis.set_major_formatter(lambda seconds, _: clock(seconds))
        ax.set_xlabel("hours:minutes:seconds")


def draw_gaps(
    ax: Axes, gaps: pd.DataFrame, begin: float = 0.0, low: float = 0.0, high: float = 1.0, **where: Any
) -> Any:
    """Draw in grey what was not transcribed, from `low` to `high`, for an axis that begins at `begin` seconds."""
    spans = zip(gaps["start"] - begin, gaps["end"] - gaps["start"], strict=True)
    return ax.broken_barh(list(spans), (low, high - low), **_GAP, **where)


def legend(ax: Axes, handles: Sequence[Any]) -> None:
    """The legend above the axes at the right."""
    if handles:
        ax.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=5,
            frameon=False,
            fontsize=8,
            borderaxespad=0.1,
        )


def writable(text: str) -> str:
    """The text on one line, with a box for each character that the font lacks: matplotlib would warn of each."""
    glyphs = _glyphs(tuple(rcParams["font.family"]), tuple(rcParams["font.sans-serif"]))
    return "".join(character if ord(character) in glyphs else "□" for character in one_line(text))


@functools.lru_cache(8)
def _glyphs(families: tuple[str, ...], sans: tuple[str, ...]) -> frozenset[int]:
    """The characters that the fonts have; `sans` is what the family "sans-serif" stands for."""
    fonts = [findfont(FontProperties(family=[family])) for family in families]
    return frozenset(character for font in fonts for character in get_font(font).get_charmap())


def say(ax: Axes, text: str) -> None:
    """Write in an empty picture why there is no data."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=9)

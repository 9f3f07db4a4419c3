"""What the pictures share: the time axis, bars, gaps and the legend."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MultipleLocator

from dgnb.plots.style import HATCHES, style, writable

_ROUND: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)
"""Lengths of time that people count in, in seconds."""
_MOST_REASONS: Final = 3
_LONGEST_REASON: Final = 48


class Box(NamedTuple):
    """A bar: from `start` to `end` along the time axis, from `low` to `high` across it."""

    start: float
    end: float
    low: float
    high: float


def round_up(seconds: float) -> float:
    """The next round length of time: 1, 2 or 5 s, 1 min, 1 h, whole days."""
    return next((length for length in _ROUND if length >= seconds), math.ceil(seconds / 86400) * 86400.0)


def time_axis(ax: Axes, start: float, end: float) -> None:
    """Show `start` to `end` seconds: as seconds up to two minutes, then as m:ss or h:mm:ss."""
    step = round_up((end - start) / 10)
    furthest = max(abs(start), abs(end))
    ax.set_xlim(start, end)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds, furthest, step)))
    ax.set_xlabel("seconds" if furthest < 120 else "minutes:seconds" if furthest < 3600 else "hours:minutes:seconds")


def clock(seconds: float, furthest: float, step: float = 1.0) -> str:
    """A time as an axis shows it that reaches to `furthest` and has a tick each `step` seconds."""
    decimals = -math.floor(math.log10(step)) if step < 1 else 0
    if furthest < 120:
        return f"{seconds:.{decimals}f}"
    rounded = round(abs(seconds), decimals)
    sign = "-" if seconds < 0 and rounded else ""
    minutes, rest = int(rounded // 60), rounded % 60
    after = f"{rest:0{decimals + 3 if decimals else 2}.{decimals}f}"
    if furthest < 3600:
        return f"{sign}{minutes}:{after}"
    return f"{sign}{minutes // 60}:{minutes % 60:02d}:{after}"


def boxes(ax: Axes, bars: Iterable[Box], **look: Any) -> None:
    """Draw bars as one artist."""
    corners = [[(a, low), (a, high), (b, high), (b, low)] for a, b, low, high in bars]
    if corners:
        ax.add_collection(PolyCollection(corners, **look), autolim=False)


def gap_boxes(ax: Axes, gaps: Iterable[tuple[str, Box]], **where: Any) -> list[Any]:
    """Draw in grey what was not transcribed, given as (reason, bar); the entries for the legend, longest first."""
    by_reason: dict[str, list[Box]] = {}
    for reason, box in gaps:
        by_reason.setdefault(reason, []).append(box)
    ordered = sorted(by_reason, key=lambda reason: sum(box.start - box.end for box in by_reason[reason]))
    named = [(reason, by_reason[reason]) for reason in ordered[:_MOST_REASONS]]
    if rest := ordered[_MOST_REASONS:]:
        named.append((f"{len(rest)} other reasons", [box for reason in rest for box in by_reason[reason]]))
    handles = []
    for (reason, bars), hatch in zip(named, HATCHES, strict=False):
        look: Any = {"facecolor": style(ax).gap, "edgecolor": style(ax).gap_hatch, "hatch": hatch, "linewidth": 0}
        boxes(ax, bars, zorder=0.5, **look, **where)
        shortened = textwrap.shorten(writable(reason), _LONGEST_REASON, placeholder=" …")
        handles.append(Patch(label=f"gap: {shortened}", **look))
    return handles


def gap_bands(ax: Axes, gaps: pd.DataFrame, start: float, end: float) -> list[Any]:
    """Draw gaps over the whole height of a time axis; the entries for the legend."""
    # A gap without length is drawn as a thin line.
    least = (end - start) / 800
    table = zip(gaps["start"].tolist(), gaps["end"].tolist(), gaps["reason"].tolist(), strict=True)
    bands = [
        (reason, Box(begin, max(finish, begin + least), 0.0, 1.0))
        for begin, finish, reason in table
        if finish >= start and begin <= end
    ]
    return gap_boxes(ax, bands, transform=ax.get_xaxis_transform())


def legend(ax: Axes, handles: Sequence[Any]) -> None:
    """The legend above the axes at the right, in as many columns as fit beside the title."""
    if not handles:
        return
    widths = [text_width(handle.get_label(), 8) + 30 for handle in handles]
    room = size(ax)[0] - text_width(ax.get_title(loc="left"), 10) - 12
    lines = 1
    while lines < len(widths) and sum(max(widths[at : at + lines]) for at in range(0, len(widths), lines)) > room:
        lines += 1
    made = ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=math.ceil(len(handles) / lines),
        frameon=False,
        fontsize=8,
        labelcolor=style(ax).ink,
        borderaxespad=0.1,
        borderpad=0.2,
        handlelength=1.3,
        columnspacing=1.2,
    )
    for text in made.get_texts():
        text.set_parse_math(False)


def text_width(text: str, size: float) -> float:
    """How wide the text is, in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)
    # Rendered glyphs stand on whole pixels, a little further apart.
    return float(width) * 1.06 + 1.0


def size(ax: Axes) -> tuple[float, float]:
    """Width and height of the axes after layout, in points."""
    whole: Any = ax.figure.figure
    if whole.get_layout_engine() is not None:
        whole.draw_without_rendering()
    box = ax.get_window_extent()
    return box.width * 72 / whole.dpi, box.height * 72 / whole.dpi

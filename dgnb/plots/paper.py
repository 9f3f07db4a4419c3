"""What every picture shares: the figure and its paper, colours, text, the time axis, gaps, and the legend."""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    Floats = npt.NDArray[np.float64]

__all__ = [
    "ALARM",
    "PALETTE",
    "Box",
    "boxes",
    "clock",
    "colour",
    "contrast",
    "dress",
    "figure",
    "gap_bands",
    "gap_boxes",
    "grey",
    "ink",
    "legend",
    "paper",
    "pattern",
    "points_wide",
    "say",
    "shade",
    "text_width",
    "time_axis",
    "typeface",
    "writable",
]

RGB = tuple[float, float, float]

PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colours, which the colour-blind can tell apart, without yellow (lost on white) and black (text)."""
ALARM: Final = "#D55E00"
"""What wants to be looked at; it has a shape of its own as well."""

_HATCHES: Final = ("", "////", "....", "\\\\\\\\", "xxxx", "----")
_DARK_INK: Final = "#1a1a1a"
_LIGHT_INK: Final = "#f2f2f2"
_READABLE: Final = 4.5
"""The least contrast of text, as WCAG 2 has it."""
_REASONS: Final = 3
"""How many reasons for gaps the legend names."""
_LONGEST: Final = 48
"""Characters of a reason."""

# Families that systems bring along for scripts that matplotlib's own font lacks; those that are there are used.
_FALLBACKS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Sans",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Thai",
    "Nirmala UI",
    "Leelawadee UI",
    "Kohinoor Devanagari",
    "Thonburi",
    "Arial Unicode MS",
    "FreeSans",
    "Unifont",
)
_UNSEEN: Final = ("Cc", "Cf", "Mn")
"""Unicode's categories of what is left out where no font has it: control signs, and marks on the sign before."""
_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
_HOURS: Final = (3600, 7200, 14400, 21600, 43200, 86400)


# The figure


def figure(height: float) -> Figure:
    """A new figure, `height` inches tall, on opaque paper; nobody has to close it.

    A notebook shows it once: as the value of a cell, or at its end.
    """
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    look: Any = {"figsize": (11, height), "layout": ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)}
    backend = pyplot.get_backend().lower()
    if backend == "agg":
        # It has no screen: pyplot would neither show the figure nor ever close it.
        made = Figure(**look)
        FigureCanvasAgg(made)
    else:
        made = pyplot.figure(**look)
        if "inline" in backend:
            made._ipython_display_ = functools.partial(_shown_as_value, made)  # type: ignore[attr-defined]
    # No colour of text is readable on a white page and on a dark one (4.35:1 is the best there is), so a picture brings
    # its own paper. It is that of the style which the user has chosen, made opaque.
    made.set_facecolor(_opaque(made.get_facecolor()) or "white")
    return made


def _shown_as_value(made: Figure) -> None:
    from matplotlib import pyplot

    # The end of the cell shows what pyplot still knows: it would be the second time.
    pyplot.close(made)
    raise NotImplementedError("Shown as any other figure.")


def paper(ax: Axes) -> RGB | None:
    """The colour under the axes; None where the page shines through."""
    own = _opaque(ax.get_facecolor()) if ax.patch.get_visible() else None
    return own or _opaque(ax.figure.get_facecolor())


def ink(ax: Axes) -> RGB:
    """The colour of text on it: dark or light."""
    from matplotlib import colors, rcParams

    on = paper(ax)
    dark, light = colors.to_rgb(_DARK_INK), colors.to_rgb(_LIGHT_INK)
    if on is None:
        # Only the user knows the page, and has chosen the colour of text for it.
        on = (1.0, 1.0, 1.0) if _luminance(colors.to_rgb(rcParams["text.color"])) < 0.2 else (0.0, 0.0, 0.0)
    return dark if contrast(dark, on) >= contrast(light, on) else light


def dress(ax: Axes, title: str) -> None:
    """Title, ticks and frame, in ink."""
    text = ink(ax)
    if (under := paper(ax)) is not None:
        ax.set_facecolor(under)
    ax.set_title(title, loc="left", fontsize=9, fontweight="bold", color=text)
    ax.tick_params(colors=text, labelsize=8)
    ax.xaxis.label.set(color=text, fontsize=8)
    for side, spine in ax.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(text)


# Colours


def _opaque(given: Any) -> RGB | None:
    from matplotlib import colors

    red, green, blue, alpha = colors.to_rgba(given)
    return (red, green, blue) if alpha == 1 else None


def _luminance(colour: RGB) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: RGB, other: RGB) -> float:
    """From 1, the same, to 21, black on white; text wants 4.5."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _mixed(one: RGB, other: RGB, part: float) -> RGB:
    red, green, blue = (a + (b - a) * part for a, b in zip(one, other, strict=True))
    return red, green, blue


def colour(ax: Axes, look: int) -> RGB:
    """A speaker's colour; grey for those who are drawn together, whose `look` is -1."""
    from matplotlib import colors

    return grey(ax, 0.5) if look < 0 else colors.to_rgb(PALETTE[look % len(PALETTE)])


def shade(ax: Axes, look: int, strength: float = 1.0) -> RGB:
    """A speaker's colour as a ground that text can be read on; fainter with less `strength`, 0 to 1."""
    text = ink(ax)
    under = paper(ax) or ((1.0, 1.0, 1.0) if _luminance(text) < 0.2 else (0.0, 0.0, 0.0))
    return _shaded(under, text, colour(ax, look), round(strength, 2))


@functools.lru_cache(4096)
def _shaded(under: RGB, text: RGB, over: RGB, strength: float) -> RGB:
    full = 0.85
    while full > 0.1 and contrast(text, _mixed(under, over, full)) < _READABLE:
        full -= 0.05
    return _mixed(under, over, full * (0.25 + 0.75 * strength))


def pattern(look: int) -> str:
    """The hatching that tells apart speakers who have to share a colour."""
    return _HATCHES[look // len(PALETTE) % len(_HATCHES)] if look >= 0 else ""


def grey(ax: Axes, part: float) -> RGB:
    """Between the paper (0) and the ink (1)."""
    return _mixed(paper(ax) or (0.5, 0.5, 0.5), ink(ax), part)


# Text


def writable(text: str) -> str:
    """The text as it can be drawn: one line, a box for each sign that no font here has."""
    if text.isascii() and text.isprintable():
        return text
    from matplotlib import rcParams

    known = _known_signs(tuple(_families()), tuple(rcParams["font.sans-serif"]))
    return "".join(
        character if ord(character) in known else "" if unicodedata.category(character) in _UNSEEN else "□"
        for character in " ".join(text.split())
    )


def typeface(text: str, size: float) -> FontProperties:
    """The font for it: the user's, and behind it those of this machine that know other scripts."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=None if text.isascii() else _families(), size=size)


def _families() -> list[str]:
    from matplotlib import rcParams

    return [*rcParams["font.family"], *_installed()]


@functools.cache
def _installed() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return tuple(name for name in _FALLBACKS if name in there)


@functools.lru_cache(8)
def _known_signs(families: tuple[str, ...], sans: tuple[str, ...]) -> frozenset[int]:
    """What can be drawn; `sans` is what the family of that name stands for."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known: set[int] = set()
    for family in families:
        known.update(get_font(findfont(FontProperties(family=[family]))).get_charmap())
    return frozenset(known.difference(range(32)))


def text_width(text: str, size: float) -> float:
    """How wide it will be, in points."""
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, typeface(text, size), False)
    # Drawn glyphs stand on whole pixels, and a little further apart.
    return float(width) * 1.06 + 1.0


def points_wide(ax: Axes) -> tuple[float, float]:
    """Width and height of the axes in points, as they will be."""
    whole: Any = ax.figure.figure
    if whole.get_layout_engine() is not None:
        whole.draw_without_rendering()
    box = ax.get_window_extent()
    return box.width * 72 / whole.dpi, box.height * 72 / whole.dpi


# Axes


def time_axis(ax: Axes, start: float, end: float) -> None:
    """Show `start` to `end` seconds, written as seconds up to two minutes, and as m:ss or h:mm:ss beyond."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    step = _step((end - start) / 10)
    furthest = max(abs(start), abs(end))
    ax.set_xlim(start, end)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds, furthest, step)))
    ax.set_xlabel("seconds" if furthest < 120 else "minutes:seconds" if furthest < 3600 else "hours:minutes:seconds")


def _step(least: float) -> float:
    for step in (*_STEPS, *_HOURS):
        if step >= least:
            return step
    return math.ceil(least / 86400) * 86400.0


def clock(seconds: float, furthest: float, step: float = 1.0) -> str:
    """A time as it is written on an axis that reaches so far and is divided in such steps."""
    decimals = max(0, -math.floor(math.log10(step))) if step < 1 else 0
    if furthest < 120:
        return f"{seconds:.{decimals}f}" if decimals else f"{seconds:g}"
    units = round(abs(seconds) * 10**decimals)
    whole, part = divmod(units, 10**decimals)
    minutes, rest = divmod(whole, 60)
    sign = "-" if seconds < 0 and units else ""
    after = f"{rest:02d}" + (f".{part:0{decimals}d}" if decimals else "")
    if furthest < 3600:
        return f"{sign}{minutes}:{after}"
    return f"{sign}{minutes // 60}:{minutes % 60:02d}:{after}"


class Box(NamedTuple):
    """From one time to another, between two heights."""

    start: float
    end: float
    low: float
    high: float


def boxes(ax: Axes, those: Iterable[Box], **look: Any) -> None:
    """Bars, all as one artist."""
    from matplotlib.collections import PolyCollection

    corners = [[(a, low), (a, high), (b, high), (b, low)] for a, b, low, high in those]
    if corners:
        ax.add_collection(PolyCollection(corners, **look), autolim=False)


def gap_boxes(ax: Axes, gaps: Iterable[tuple[str, Box]], **where: Any) -> list[Any]:
    """Grey for what was not transcribed, each stretch with its reason; what to say of it in the legend."""
    from matplotlib.patches import Patch

    those: dict[str, list[Box]] = {}
    for reason, box in gaps:
        those.setdefault(reason, []).append(box)
    ordered = sorted(those, key=lambda reason: sum(box.start - box.end for box in those[reason]))
    named = [(reason, those[reason]) for reason in ordered[:_REASONS]]
    if rest := ordered[_REASONS:]:
        named.append((f"{len(rest)} other reasons", [box for reason in rest for box in those[reason]]))
    handles = []
    for number, (reason, boxed) in enumerate(named):
        look: dict[str, Any] = {
            "facecolor": grey(ax, 0.18),
            "edgecolor": grey(ax, 0.45),
            "hatch": _HATCHES[number],
            "linewidth": 0,
        }
        boxes(ax, boxed, zorder=0.5, **look, **where)
        handles.append(Patch(label=f"gap: {_cut(reason)}", **look))
    return handles


def gap_bands(ax: Axes, gaps: pd.DataFrame, start: float, end: float) -> list[Any]:
    """Gaps over the whole height of a time axis."""
    # A moment is no stretch, and should be seen all the same.
    least = (end - start) / 800
    table = zip(gaps["start"].tolist(), gaps["end"].tolist(), gaps["reason"].tolist(), strict=True)
    bands = [
        (reason, Box(begin, max(finish, begin + least), 0.0, 1.0))
        for begin, finish, reason in table
        if finish >= start and begin <= end
    ]
    return gap_boxes(ax, bands, transform=ax.get_xaxis_transform())


def _cut(text: str) -> str:
    text = writable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def legend(ax: Axes, handles: Sequence[Any]) -> None:
    """The legend, above the axes at the right, in as many columns as there is room for beside the title."""
    if not handles:
        return
    labels = [handle.get_label() for handle in handles]
    widths = [text_width(label, 8) + 30 for label in labels]
    room = points_wide(ax)[0] - text_width(ax.get_title(loc="left"), 10) - 12
    lines = 1
    while lines < len(widths) and sum(max(widths[at : at + lines]) for at in range(0, len(widths), lines)) > room:
        lines += 1
    made = ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=math.ceil(len(handles) / lines),
        frameon=False,
        prop=typeface("".join(labels), 8),
        labelcolor=ink(ax),
        borderaxespad=0.1,
        borderpad=0.2,
        handlelength=1.3,
        columnspacing=1.2,
    )
    for text in made.get_texts():
        text.set_parse_math(False)


def say(ax: Axes, text: str) -> None:
    """In place of data: why there is none."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=9, color=ink(ax))

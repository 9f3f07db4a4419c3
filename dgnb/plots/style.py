"""How the pictures look: a light and a dark style, the colours of speakers, new figures, and text."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, Final, NamedTuple

from matplotlib import colors, pyplot, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine


class Style(NamedTuple):
    """Colours that depend on the background."""

    ink: str
    """Text, ticks and lines of means."""
    edge: str
    """Between neighbouring bars: the background."""
    gap: str
    gap_hatch: str


LIGHT: Final = Style(ink="#1a1a1a", edge="#ffffff", gap="#d9d9d9", gap_hatch="#a0a0a0")
DARK: Final = Style(ink="#f2f2f2", edge="#111111", gap="#3a3a3a", gap_hatch="#707070")

PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colours for colour-blind readers, without yellow and black. They work in both styles."""
ALARM: Final = "#D55E00"
HATCHES: Final = ("", "////", "....", "\\\\\\\\", "xxxx", "----")

_OTHERS: Final = "#808080"
_INVISIBLE: Final = ("Cc", "Cf", "Mn")
"""Unicode categories that are left out where the font has no glyph: controls, formats, combining marks."""


def figure(height: float) -> Figure:
    """A new figure, `height` inches tall, with an opaque background. The caller does not have to close it."""
    settings: Any = {"figsize": (11, height), "layout": ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)}
    backend = pyplot.get_backend().lower()
    if backend == "agg":
        # Without a display, pyplot would keep the figure for ever.
        made = Figure(**settings)
        FigureCanvasAgg(made)
    else:
        made = pyplot.figure(**settings)
        if "inline" in backend:
            made._ipython_display_ = functools.partial(_shown_as_value, made)  # type: ignore[attr-defined]
    if colors.to_rgba(made.get_facecolor())[3] < 1:
        # A transparent picture is unreadable on either a light or a dark page.
        made.set_facecolor("white")
    return made


def _shown_as_value(made: Figure) -> None:
    # Otherwise the end of the cell shows the figure a second time.
    pyplot.close(made)
    raise NotImplementedError("IPython shows it like any other figure.")


def style(ax: Axes) -> Style:
    """The style that suits the background of the axes."""
    for background in (ax.get_facecolor(), ax.figure.get_facecolor()):
        red, green, blue, alpha = colors.to_rgba(background)
        if alpha > 0.5:
            return LIGHT if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else DARK
    # Both are transparent: the user's text colour suits the page.
    return LIGHT if sum(colors.to_rgb(rcParams["text.color"])) < 1.5 else DARK


def dress(ax: Axes, title: str) -> None:
    """Set the title, the ticks and the frame."""
    ink = style(ax).ink
    ax.set_title(title, loc="left", fontsize=9, fontweight="bold", color=ink)
    ax.tick_params(colors=ink, labelsize=8)
    ax.xaxis.label.set(color=ink, fontsize=8)
    for side, spine in ax.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(ink)


def colour(look: int) -> str:
    """A speaker's colour; grey for speakers that are drawn together, whose `look` is -1."""
    return PALETTE[look % len(PALETTE)] if look >= 0 else _OTHERS


def hatch(look: int) -> str:
    """The hatching that distinguishes speakers of the same colour."""
    return HATCHES[look // len(PALETTE) % len(HATCHES)] if look >= 0 else ""


def writable(text: str) -> str:
    """The text on one line, with a box for each character that the user's font does not have."""
    if text.isascii() and text.isprintable():
        return text
    glyphs = _glyphs(tuple(rcParams["font.family"]), tuple(rcParams["font.sans-serif"]))
    return "".join(
        character if ord(character) in glyphs else "" if unicodedata.category(character) in _INVISIBLE else "□"
        for character in " ".join(text.split())
    )


@functools.lru_cache(8)
def _glyphs(families: tuple[str, ...], sans: tuple[str, ...]) -> frozenset[int]:
    """The characters that the fonts have; `sans` is what the family "sans-serif" stands for."""
    fonts = [findfont(FontProperties(family=[family])) for family in families]
    return frozenset(character for font in fonts for character in get_font(font).get_charmap() if character >= 32)


def say(ax: Axes, text: str) -> None:
    """Write in an empty picture why there is no data."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=9, color=style(ax).ink)

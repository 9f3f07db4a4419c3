"""How much of each run of a comparison differs, as bars."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.axes import Axes

from dgnb.comparison import Comparison
from dgnb.exceptions import ConfigurationError
from dgnb.plots import style

_KINDS: Final = ("substitutions", "deletions", "insertions")


def rates(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """See `Comparison.plot`."""
    if ax is not None and not isinstance(ax, Axes):
        raise ConfigurationError(f"ax must be a matplotlib Axes, or None for a new one, not {type(ax).__name__}.")
    column = "disagreement" if comparison.reference is None else "wer"
    table = comparison.summary.dropna(subset=[column])
    ax = ax or style.figure(0.9 + 0.4 * max(1, len(table))).add_subplot()
    style.dress(ax, "disagreement, % of the words" if column == "disagreement" else "word error rate, %")
    wide, left, places = table[column] * 100, table[column] * 0, range(len(table))
    parts: list[Any] = []
    for kind, colour in zip(_KINDS, style.PALETTE, strict=False) if column == "wer" else ():
        share = wide * (table[kind] / table[list(_KINDS)].sum(axis=1).clip(lower=1)).astype(float)
        parts.append(ax.barh(places, share, 0.6, left, color=colour, label=kind))
        left += share
    if parts:
        ax.errorbar(
            wide, places, xerr=[wide - table["wer_low"] * 100, table["wer_high"] * 100 - wide], fmt="none", ecolor="0.5"
        )
    else:
        ax.barh(places, wide, 0.6, color=style.PALETTE[0])
    ax.set_yticks(places, [style.writable(name).replace("$", r"\$") for name in table.index])
    ax.set(ylim=(max(1, len(table)) - 0.5, -0.5), xlim=(0, None))
    style.legend(ax, parts)
    return ax

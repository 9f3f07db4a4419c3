"""Pictures of a transcript, with matplotlib (`pip install 'dgnb[plots]'`).

Each function draws on the `ax` that it is given, or on a new one, and returns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.transcript import Transcript

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["timeline"]

_SECONDS_A_ROW: Final = 6.0
_WRITTEN_OUT: Final = 90.0
"""Seconds up to which words are written out."""
_COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#bab0ac")
_UNKNOWN: Final = _COLOURS[0]


def timeline(transcript: Transcript, *, start: float = 0.0, end: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw when each word was spoken: one colour a speaker, paler where the recogniser was less sure.

    Up to 90 seconds are written out like a page, in rows of 6 seconds; a longer stretch is one line a speaker.

    Args:
        transcript: What to draw.
        start: From here on, in seconds.
        end: Up to here; the last word's end when None.
        ax: Where to draw; a new figure when None.

    Raises:
        DgnbError: matplotlib is not installed.
        ConfigurationError: `end` is not after `start`.

    Example:
        ```python
        dgnb.plots.timeline(transcript, end=30);
        ```
    """
    words = transcript.words
    if end is None:
        end = max(float(words["end"].max()) if len(words) else 0.0, start + 1.0)
    if not end > start:
        raise ConfigurationError(f"end is after start, which {end!r} is not.")
    words = words[(words["end"] > start) & (words["start"] < end)]
    draw = _written_out if end - start <= _WRITTEN_OUT else _lanes
    return draw(words, start, end, ax)


def _written_out(words: Any, start: float, end: float, ax: Axes | None) -> Axes:
    rows = max(1, -int(-(end - start) // _SECONDS_A_ROW))
    ax = ax or _new_axes(height=0.5 * rows + 0.7)
    for word in words.itertuples(index=False):
        row, x = divmod(max(word.start, start) - start, _SECONDS_A_ROW)
        colour, opacity = _look(word)
        width = min(word.end - word.start, _SECONDS_A_ROW - x)
        ax.barh(row, width, left=x, height=0.72, color=colour, alpha=opacity, edgecolor="white", linewidth=0.8)
        # A dollar sign would start a formula.
        label = str(word.punctuated_word).replace("$", r"\$")
        ax.text(x + width / 2, row, label, ha="center", va="center", fontsize=8, clip_on=True)
    ax.set_xlim(0, _SECONDS_A_ROW)
    ax.set_ylim(rows - 0.4, -0.6)
    ax.set_yticks(range(rows), [f"{start + row * _SECONDS_A_ROW:g} s" for row in range(rows)])
    ax.set_xlabel("seconds after the start of the row")
    return _bare(ax)


def _lanes(words: Any, start: float, end: float, ax: Axes | None) -> Axes:
    lanes = sorted(words["speaker"].dropna().unique())
    if words["speaker"].isna().any() or not lanes:
        lanes.append(None)
    ax = ax or _new_axes(height=0.5 * len(lanes) + 0.9)
    for row, speaker in enumerate(lanes):
        spoken = words[words["speaker"].isna() if speaker is None else (words["speaker"] == speaker).fillna(False)]
        spans = list(zip(spoken["start"], spoken["end"] - spoken["start"], strict=True))
        colour = _UNKNOWN if speaker is None else _COLOURS[int(speaker) % len(_COLOURS)]
        ax.broken_barh(spans, (row - 0.36, 0.72), facecolors=colour)
    ax.set_xlim(start, end)
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.set_yticks(range(len(lanes)), ["words" if lane is None else f"speaker {lane}" for lane in lanes])
    ax.set_xlabel("seconds")
    return _bare(ax)


def _look(word: Any) -> tuple[str, float]:
    """A word's colour and opacity; a missing speaker or confidence is drawn as such, not guessed."""
    speaker, confidence = word.speaker, word.confidence
    colour = _UNKNOWN if _is_na(speaker) else _COLOURS[int(speaker) % len(_COLOURS)]
    return colour, 0.55 if confidence != confidence else 0.15 + 0.55 * min(1.0, max(0.0, confidence))


def _is_na(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _new_axes(height: float) -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise DgnbError("Plots need matplotlib: pip install 'dgnb[plots]'.") from None
    _, ax = pyplot.subplots(figsize=(11, height), layout="constrained")
    return ax


def _bare(ax: Axes) -> Axes:
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax

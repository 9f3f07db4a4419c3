"""Pictures of a transcript, with matplotlib (`pip install 'dgnb[plots]'`).

Each function draws on the `ax` that you pass, or on a new figure, and returns the `Axes`; `overview` returns a
`Figure`. You do not need to close a new figure: `ax.figure.savefig("words.png")`. A notebook shows each picture once.
Each raises `ConfigurationError` for an argument of the wrong type or out of range. Without matplotlib, the import of
this module raises `DgnbError`.

The pictures have matplotlib's colours: `matplotlib.style.use("dark_background")` makes them dark. Each speaker has a
colour, the same in every picture; there are six colours. Grey marks what was not transcribed; `transcript.gaps` has the
reasons. Characters that the font lacks are drawn as boxes: for Chinese, for example, set
`matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK SC"]`.

Example:
    ```python
    dgnb.plots.overview(transcript)
    dgnb.plots.timeline(transcript, end=30);
    ```
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnb.exceptions import ConfigurationError, DgnbError

try:
    from matplotlib import rcParams
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ModuleNotFoundError:
    raise DgnbError("Plots need matplotlib: pip install 'dgnb[plots]'.") from None

from dgnb import tables
from dgnb.plots import style
from dgnb.plots.page import ROW, page
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, number

__all__ = ["confidence", "latency", "overview", "speaking_rate", "timeline"]
__dir__ = __all__.copy

_Floats = npt.NDArray[np.float64]


def timeline(transcript: Transcript, *, start: float = 0.0, end: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw when each word was spoken: one colour a speaker, paler where the recogniser was less sure.

    Up to 90 seconds are written out like a page, in rows of 6 seconds; a bar that is too narrow for its word has no
    text. A longer stretch is one line a speaker, with utterances as blocks.

    `start` and `end` are seconds on the source's timeline; when `end` is None, it is the end of the last word or gap.
    """
    _check("timeline", transcript, ax)
    start = number("start must be a number", start)
    gaps = transcript.gaps
    words, names = style.voices(transcript.words)
    if end is None:
        end = max([start + 1.0, *(table["end"].max() for table in (words, gaps) if len(table))])
    if not (end := number("end must be a number", end)) > start:
        raise ConfigurationError(f"end must be after start; {end!r} is not.")
    words = words[(words["end"] > start) & (words["start"] < end)]
    short = end - start <= 90
    if ax is None:
        channels = max(1, words["channel"].nunique())
        height = (end - start) / ROW * (0.15 + 0.27 * channels) if short else _lanes_height(names)
        ax = style.figure(height + 1.2).add_subplot()
    draw = page if short else _lanes
    draw(words, names, gaps, start, end, ax)
    return ax


def confidence(transcript: Transcript, ax: Axes | None = None, *, low: float = 0.5) -> Axes:
    """Draw the recogniser's confidence along time: words as dots, the doubtful ones marked, and a rolling mean.

    Words without a confidence are left out, and those below `low` (0 to 1) are marked. The mean is taken over a round
    length of time that suits the whole.
    """
    ax, window = _begin("confidence", transcript, ax, "confidence of words")
    low = number("low must be a number", low)
    words = transcript.words[np.isfinite(transcript.words["confidence"])]
    at, sure = (words["start"] + words["end"]).to_numpy() / 2, words["confidence"].clip(0, 1).to_numpy()
    doubtful = sure < low
    handles = [
        *_dots(ax, at[~doubtful], sure[~doubtful], "word"),
        *_dots(ax, at[doubtful], sure[doubtful], f"below {low:g}: {doubtful.sum()}", color=style.ALARM, marker="v"),
        *_mean(ax, at, sure, window),
    ]
    ax.axhline(low, color="0.5", linewidth=0.8, linestyle=":", zorder=1)
    ax.set_ylim(-0.04, 1.06)
    return _end(ax, transcript.gaps, handles, "no word has a confidence" if len(transcript.words) else "no words")


def latency(transcript: Transcript, ax: Axes | None = None) -> Axes:
    """Draw how many seconds each interim was behind the audio, with the mean and the 95th percentile.

    Latency is the audio cursor minus the end of the interim, as Deepgram's "Measuring Streaming Latency" defines it.
    Finals are held back on purpose and have none. The dashed line is the 95th percentile.
    """
    ax, window = _begin("latency", transcript, ax, "latency of interims, seconds")
    results = transcript.results
    known = results[np.isfinite(results["latency"])]
    at, behind = known["end"].to_numpy(), known["latency"].to_numpy()
    handles = _dots(ax, at, behind, "interim") + _mean(ax, at, behind, window)
    if handles:
        late = float(np.quantile(behind, 0.95))
        handles.append(ax.axhline(late, color=style.ALARM, linewidth=1.2, linestyle="--", label=f"p95 {late:.2f} s"))
    ax.set_ylim(behind.min(initial=0.0) * 1.1, behind.max(initial=0.0) * 1.1 or 1.0)
    interims = bool((~results["is_final"]).any())
    return _end(ax, transcript.gaps, handles, "the audio cursor is unknown" if interims else "no interims")


def speaking_rate(transcript: Transcript, ax: Axes | None = None, *, window: float | None = None) -> Axes:
    """Draw words per minute along time, in steps, with a line for each of the six speakers who say most.

    `window` is the seconds a step; when None, a round length that suits the whole.
    """
    ax, suits = _begin("speaking_rate", transcript, ax, "words per minute")
    window = suits if window is None else number("window must be a number above 0", window, ABOVE_0)
    words, names = style.voices(transcript.words)
    handles = []
    for voice in sorted(words["voice"].value_counts().index[:6]):
        rates = tables.speaking_rate(words[words["voice"] == voice], window)
        begins = rates["start"].to_numpy()
        # The table ends with this speaker's last word, the picture with the last word of all.
        finishes = np.minimum(begins + window, ax.get_xlim()[1])
        per_minute = rates["words"].to_numpy() * 60 / np.maximum(finishes - begins, window / 2)
        # Dashes tell speakers of the same colour apart.
        dashes = ("-", "--", ":")[voice // len(style.PALETTE) % 3]
        look: Any = {"color": style.colour(voice), "linestyle": dashes}
        label = names[voice] or f"in windows of {window:g} s"
        edges = [*begins, finishes[-1]]
        handles.append(ax.stairs(per_minute, edges, baseline=None, linewidth=1.8, label=label, **look))
    ax.set_ylim(bottom=0)
    return _end(ax, transcript.gaps, handles, "no words")


def overview(transcript: Transcript) -> Figure:
    """Draw who spoke when, confidence, latency and words per minute, one above the other on one time axis."""
    _check("overview", transcript, None)
    words, names = style.voices(transcript.words)
    heights = [_lanes_height(names), 1.4, 1.4, 1.4]
    figure = style.figure(sum(heights) + 1.7)
    first, *others = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    _lanes(words, names, transcript.gaps, *_extent(transcript), first)
    for draw, ax in zip((confidence, latency, speaking_rate), others, strict=True):
        draw(transcript, ax)
        ax.label_outer()
    first.label_outer()
    return figure


def _lanes_height(names: list[str]) -> float:
    return 0.4 + 0.3 * min(max(1, len(names)), 24)


def _lanes(words: pd.DataFrame, names: list[str], gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """Draw a line for each voice, with its utterances as blocks."""
    style.dress(ax, "words")
    for voice in range(len(names)):
        spans = words[words["voice"] == voice].groupby("utterance").agg({"start": "min", "end": "max"})
        blocks = list(zip(spans["start"], spans["end"] - spans["start"], strict=True))
        # The edge keeps a short utterance visible.
        ax.broken_barh(blocks, (voice - 0.36, 0.72), color=style.colour(voice), linewidth=0.5)
    ax.set_ylim(max(1, len(names)) - 0.45, -0.55)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    style.time_axis(ax, start, end)
    _end(ax, gaps, [], "no words" if words.empty else "")


def _begin(function: str, transcript: Transcript, ax: Axes | None, title: str) -> tuple[Axes, float]:
    """The axes of a picture along time, and a length of time in seconds that suits a step or a mean."""
    _check(function, transcript, ax)
    start, end = _extent(transcript)
    ax = ax or style.figure(2.4).add_subplot()
    style.dress(ax, title)
    style.time_axis(ax, start, end)
    return ax, style.round_up((end - start) / 60)


def _end(ax: Axes, gaps: pd.DataFrame, handles: list[Any], empty: str) -> Axes:
    """Draw the gaps and the legend; `empty` says why there is nothing to draw."""
    if not handles:
        style.say(ax, empty)
    grey = style.draw_gaps(ax, gaps, transform=ax.get_xaxis_transform())
    style.legend(ax, [*handles, grey] if len(gaps) else handles)
    return ax


def _dots(ax: Axes, x: _Floats, y: _Floats, label: str, color: str = style.PALETTE[4], marker: str = "o") -> list[Any]:
    # Small and pale, and pixels in a vector file.
    many = x.size > 3000
    look: Any = {"color": color, "marker": marker, "linestyle": "none", "markeredgewidth": 0}
    ax.plot(x, y, markersize=2 if many else 4, alpha=0.35 if many else 0.8, rasterized=many, **look)
    # The marker in the legend is always large and opaque.
    return [Line2D([], [], markersize=5, label=label, **look)] if x.size else []


def _mean(ax: Axes, at: _Floats, values: _Floats, window: float) -> list[Any]:
    """Draw the mean of the values within half a window of each; the line breaks where there are none for a window."""
    length = pd.Timedelta(seconds=window)
    means = pd.Series(values, pd.to_timedelta(at, unit="s")).sort_index().rolling(length, center=True).mean()
    means[means.index.to_series().diff() > length] = np.nan
    look: Any = {"color": rcParams["text.color"], "linewidth": 1.5, "label": f"mean of {window:g} s"}
    return ax.plot(np.sort(at), means, **look) if at.size else []


def _extent(transcript: Transcript) -> tuple[float, float]:
    """The start and end of all that is known, 0 s included: the same for every picture."""
    tables = [table for table in (transcript.words, transcript.results, transcript.gaps) if len(table)]
    start = min([0.0, *(float(table["start"].min()) for table in tables)])
    return start, max([start + 1.0, *(float(table["end"].max()) for table in tables)])


def _check(function: str, transcript: object, ax: object) -> None:
    if not isinstance(transcript, Transcript):
        inner = isinstance(getattr(transcript, "transcript", None), Transcript)
        hint = " Pass its .transcript." if inner else ""
        raise ConfigurationError(f"{function}() draws a Transcript, not {type(transcript).__name__}.{hint}")
    if ax is not None and not isinstance(ax, Axes):
        raise ConfigurationError(f"ax must be a matplotlib Axes, or None for a new one, not {type(ax).__name__}.")

"""Pictures of a transcript, with matplotlib (`pip install 'dgnb[plots]'`).

Each function draws on the `ax` that you pass, or on a new figure, and returns the `Axes`; `overview` returns a
`Figure`. You do not need to close a new figure: `ax.figure.savefig("words.png")`. A notebook shows each picture once.
Each raises `ConfigurationError` for an argument of the wrong type or out of range. Without matplotlib, the import of
this module raises `DgnbError`.

The pictures are light, or dark where the background is dark: `matplotlib.style.use("dark_background")`, or axes of
your own. Each speaker has a colour, the same in every picture. Grey marks what was not transcribed; the legend gives
the reason. Characters that the font lacks are drawn as boxes: for Chinese, for example, set
`matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK SC"]`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from dgnb.exceptions import ConfigurationError, DgnbError

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError:
    raise DgnbError("Plots need matplotlib: pip install 'dgnb[plots]'.") from None

from dgnb.plots import curves, style
from dgnb.plots.axis import gap_bands, legend, time_axis
from dgnb.plots.page import page, rows
from dgnb.plots.voices import lanes, voices
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, number

__all__ = ["churn", "confidence", "latency", "overview", "speaking_rate", "timeline"]

_WRITTEN_OUT: Final = 90.0
"""Seconds up to which words are written out."""
_HEIGHT: Final = 2.4
"""Inches of a picture along time."""


def __dir__() -> list[str]:
    return __all__


def timeline(transcript: Transcript, *, start: float = 0.0, end: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw when each word was spoken: one colour a speaker, paler where the recogniser was less sure.

    Up to 90 seconds are written out like a page, in rows of 6 seconds; a bar that is too narrow for its word has no
    text. A longer stretch is one line a speaker, with utterances as blocks.

    `start` and `end` are seconds on the source's timeline; when `end` is None, it is the end of the last word or gap.

    Example:
        ```python
        dgnb.plots.timeline(transcript, end=30);
        ```
    """
    _check("timeline", transcript, ax)
    start = number("start must be a number", start)
    words, gaps = transcript.words, transcript.gaps
    if end is None:
        end = max([start + 1.0, *(table["end"].max() for table in (words, gaps) if len(table))])
    if not (end := number("end must be a number", end)) > start:
        raise ConfigurationError(f"end must be after start; {end!r} is not.")
    who = voices(words)
    inside = ((words["end"] > start) & (words["start"] < end)).to_numpy()
    short = end - start <= _WRITTEN_OUT
    if ax is None:
        channels = max(1, words["channel"].nunique())
        height = rows(start, end) * (0.15 + 0.27 * channels) if short else 0.42 * max(1, len(who.names))
        ax = style.figure(height + 0.9).add_subplot()
    draw = page if short else lanes
    draw(words[inside], who._replace(of=who.of[inside]), gaps, start, end, ax)
    return ax


def confidence(
    transcript: Transcript, ax: Axes | None = None, *, low: float = 0.5, window: float | None = None
) -> Axes:
    """Draw the recogniser's confidence along time: words as dots, the doubtful ones marked, and a rolling mean.

    Words without a confidence are left out, and those below `low` (0 to 1) are marked. `window` is the seconds that the
    mean is taken over; when None, a round length that suits the whole.

    Example:
        ```python
        dgnb.plots.confidence(transcript, low=0.7);
        ```
    """
    _check("confidence", transcript, ax)
    draw = partial(curves.confidence, transcript.words, number("low must be a number", low), _window(window))
    return _along_time(transcript, draw, ax)


def latency(transcript: Transcript, ax: Axes | None = None, *, window: float | None = None) -> Axes:
    """Draw how many seconds each interim was behind the audio, with the minimum, the mean and the 95th percentile.

    Latency is the audio cursor minus the end of the interim, as Deepgram's "Measuring Streaming Latency" defines it.
    Finals are held back on purpose and have none. The dashed line is the 95th percentile. `window` is the seconds that
    the mean is taken over; when None, a round length that suits the whole.

    Example:
        ```python
        dgnb.plots.latency(transcript);
        ```
    """
    _check("latency", transcript, ax)
    return _along_time(transcript, partial(curves.latency, transcript.results, _window(window)), ax)


def churn(transcript: Transcript, ax: Axes | None = None) -> Axes:
    """Draw how often the interims before each final were rewritten, per word; see `Transcript.results`.

    A final is a bar over its time; a final whose interims were right at once is a thin line.

    Example:
        ```python
        dgnb.plots.churn(transcript);
        ```
    """
    _check("churn", transcript, ax)
    return _along_time(transcript, partial(curves.churn, transcript.results), ax)


def speaking_rate(transcript: Transcript, ax: Axes | None = None, *, window: float | None = None) -> Axes:
    """Draw words per minute along time, in steps, with a line for each speaker.

    Where more than six people speak, those who say least share a line. `window` is the seconds a step; when None, a
    round length that suits the whole.

    Example:
        ```python
        dgnb.plots.speaking_rate(transcript, window=10);
        ```
    """
    _check("speaking_rate", transcript, ax)
    return _along_time(transcript, partial(curves.speaking_rate, transcript.words, _window(window)), ax)


def overview(transcript: Transcript) -> Figure:
    """Draw who spoke when, confidence, latency and words per minute, one above the other on one time axis.

    Example:
        ```python
        dgnb.plots.overview(transcript)
        ```
    """
    _check("overview", transcript, None)
    words, results = transcript.words, transcript.results
    who = voices(words)
    heights = [0.4 + 0.3 * max(1, len(who.names)), 1.4, 1.4, 1.4]
    figure = style.figure(sum(heights) + 1.7)
    first, *others = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    lanes(words, who, transcript.gaps, *_extent(transcript), first)
    draws = (
        partial(curves.confidence, words, 0.5, None),
        partial(curves.latency, results, None),
        partial(curves.speaking_rate, words, None),
    )
    for draw, ax in zip(draws, others, strict=True):
        _along_time(transcript, draw, ax, name_gaps=False)
    for ax in (first, *others[:-1]):
        ax.set_xlabel("")
    return figure


def _along_time(
    transcript: Transcript,
    draw: Callable[[float, float, Axes], list[Any]],
    ax: Axes | None,
    name_gaps: bool = True,
) -> Axes:
    ax = ax or style.figure(_HEIGHT).add_subplot()
    start, end = _extent(transcript)
    handles = draw(start, end, ax)
    time_axis(ax, start, end)
    gaps = gap_bands(ax, transcript.gaps, start, end)
    legend(ax, [*handles, *gaps] if name_gaps else handles)
    return ax


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


def _window(window: object) -> float | None:
    return None if window is None else number("window must be a number above 0", window, ABOVE_0)

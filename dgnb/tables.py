"""Pauses, speaking rate, phrases, doubtful stretches and a summary, computed from the tables of a transcript.

The columns of those tables stand in `frames`.

`Transcript` has these functions as methods of the same names. They accept any rows of a table, in any order and with
any index, so you can filter a table first:

    tables.pauses(words.query("speaker == 0"), longer=2)

The result has the same columns and dtypes with and without rows. Each channel is treated separately, because people
on two channels speak at the same time. `first` and `last` are positions: `words.iloc[first]`.

Each raises `ConfigurationError` where a table lacks a column that it needs, and where an argument is out of range.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnb import frames
from dgnb.exceptions import ConfigurationError, nearest
from dgnb.values import ABOVE_0, native, number
from dgnb.writing import parts, spaced

__all__ = ["doubtful", "find", "pauses", "resample", "speaking_rate", "summary"]
__dir__ = __all__.copy

_PAUSE: Final = 0.5  # Shorter silences, in seconds, count as speech
_CONTEXT: Final = 5  # Words of context on each side of a phrase
_MOST_WINDOWS: Final = 1_000_000
_UNDIARIZED: Final = "unknown: diarize=True tells them apart"

_Floats = npt.NDArray[np.float64]
_Positions = npt.NDArray[np.intp]


def pauses(words: pd.DataFrame, longer: float = _PAUSE) -> pd.DataFrame:
    """The silences of more than `longer` seconds between the words of a channel, in order of time.

    Where words overlap, a pause begins when the last of them ends. The time before the first word and after the last
    word is not a pause. Columns: `start`, `end`, `seconds` (its length), `after`, `before` (the words around it, as
    displayed), `channel`.

    Example:
        ```python
        transcript.pauses(longer=2).nlargest(5, "seconds")
        ```
    """
    longer = number("longer must be a number of at least 0", longer, 0.0)
    start, end, channel = _times("pauses", words)
    shown = _texts("pauses", words, "punctuated_word")
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        reached = np.maximum.accumulate(end[rows])
        # The word that ended last so far: a word may lie within another one.
        last = rows[np.maximum.accumulate(np.where(end[rows] == reached, np.arange(rows.size), 0))]
        silence = start[rows][1:] - reached[:-1]
        for at in np.flatnonzero(silence > longer):
            a, b = last[at], rows[at + 1]
            found.append((end[a], start[b], silence[at], shown[a], shown[b], channel[b]))
    return frames.rows(frames.PAUSES, sorted(found, key=lambda row: (row[0], row[5])))


def speaking_rate(words: pd.DataFrame, window: Any = 60.0) -> pd.DataFrame:
    """Words per minute along time, in consecutive windows, in seconds or as "1min".

    Windows begin at multiples of `window`, so you can compare two speakers. The first window contains the first word,
    the last one ends with the last word. A word counts in the window in which it begins. Channels are added up.
    Columns: `start`, `end` (s), `words` (how many), `words_per_minute` (NaN where the last window has no length). A
    window in which nobody spoke has a row, too.

    Example:
        ```python
        transcript.speaking_rate(10).plot(x="start", y="words_per_minute")
        ```
    """
    window, (start, end, _) = _seconds(window), _times("speaking_rate", words)
    if not start.size:
        return frames.rows(frames.RATES, [])
    of, edges = _windows(window, start)
    begins, ends = edges[:-1], edges[1:]
    count = np.bincount(of, minlength=begins.size)
    ends[-1] = min(ends[-1], max(float(end.max()), begins[-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(ends > begins, count * 60.0 / (ends - begins), np.nan)
    return frames.table(frames.RATES, {"start": begins, "end": ends, "words": count, "words_per_minute": rate})


def resample(
    words: pd.DataFrame, window: Any = 60.0, by: str | None = None, *, gaps: Any = None, until: float = 0.0
) -> pd.DataFrame:
    """How much was said, and how surely, in consecutive windows from 0 s on: by all, or by each speaker.

    Args:
        words: `transcript.words`, or rows of it.
        window: How long a window is: seconds, or a time such as "1min". A word counts where it begins.
        by: A column of the words, such as `speaker` or `channel`. Words without a value in it are "unknown".
        gaps: `transcript.gaps`: what they cover was not transcribed.
        until: Seconds of audio that were transcribed, as silence may follow the last word.

    Returns:
        One row a window; the index is its `start` (s). Columns: `words` (how many), `words_per_minute` (of the time
        covered, or NaN where nothing was), `seconds` (of the words), `confidence` (the mean) and `covered` (s that were
        transcribed). With `by`, each column but `covered` is a table with a column for each speaker.

    Example:
        ```python
        transcript.resample("1min", by="speaker")["words_per_minute"].plot()
        ```
    """
    window, (start, end, _) = _seconds(window), _times("resample", words)
    lost = words.iloc[:0] if gaps is None else gaps
    lost = _spans(_floats("resample", lost, "start", "gaps"), _floats("resample", lost, "end", "gaps"))
    until = float(np.concatenate([[until], end, lost[1]]).max())
    of, edges = _windows(window, start, 0.0, np.nextafter(until, 0.0))
    edges = np.minimum(edges, until)[: None if start.size or until else 0]
    begins = edges[:-1]
    codes, names = pd.factorize(_column("resample", words, by) if by else start * 0, sort=True)
    # The code of a missing value is -1.
    names = np.array([*names, "unknown"], dtype="object")
    spoken = pd.DataFrame({"seconds": end - start, "confidence": _floats("resample", words, "confidence")})
    groups, index = spoken.groupby([begins[of], names[codes]]), pd.Index(begins, name="start")
    names = pd.unique(names if not codes.size or codes.min() < 0 else names[:-1])
    count, seconds, mean = (
        figures.unstack().reindex(index, columns=names)
        for figures in (groups.size(), groups["seconds"].sum(), groups["confidence"].mean())
    )
    count = count.fillna(0).astype("int64")
    # What gaps cover before each of their edges, and so before each edge of a window.
    passed = np.repeat(np.append(0.0, np.cumsum(lost[1] - lost[0])), 2)[:-1]
    before = np.interp(edges, np.append(-math.inf, np.column_stack(lost).ravel()), passed)
    covered = pd.Series(np.diff(edges) - np.diff(before), index, name="")
    rate = count.div(covered.where(covered > 0) / 60, axis="index")
    figures = {"words": count, "words_per_minute": rate, "seconds": seconds.fillna(0.0), "confidence": mean}
    table = pd.concat({**figures, "covered": covered}, axis="columns", names=[None, by])
    return table if by else table.droplevel(1, axis="columns")


def find(words: pd.DataFrame, phrase: str) -> pd.DataFrame:
    """Every occurrence of a phrase of one word or several, in order of time.

    Only whole words match. Case, punctuation, the encoding of accents and the ends of utterances are ignored. A hyphen
    separates two words: "well-known" and "well known" match. Apostrophes are ignored. Chinese, Japanese, Korean, Thai,
    Lao, Khmer and Burmese are compared by the character: a phrase may begin and end within a word.

    Columns: `start` of its first word and `end` of its last (s), `text` (as displayed), `context` (with five words on
    each side), `channel`, `first`, `last` (positions of its words in the table).

    Example:
        ```python
        transcript.find("good morning")[["start", "context"]]
        ```
    """
    phrase = native(phrase)
    wanted = parts(phrase) if isinstance(phrase, str) else []
    if not wanted:
        raise ConfigurationError(f"find() looks for letters or digits, as in 'good morning', not {phrase!r}.")
    start, end, channel = _times("find", words)
    shown = _texts("find", words, "punctuated_word")
    spaces, spoken = _spaces(words, shown), _texts("find", words, "word")
    place = {part: index for index, part in enumerate(dict.fromkeys(wanted))}
    pattern = [place[part] for part in wanted]
    # Most words occur many times and are split once.
    known = {word: [place.get(part, -1) for part in parts(word)] for word in set(spoken)}
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        spans = _occurrences(pattern, [known[spoken[row]] for row in rows])
        for a, b in spans:
            text = _joined(shown, spaces, rows[a : b + 1])
            around = _joined(shown, spaces, rows[max(0, a - _CONTEXT) : b + 1 + _CONTEXT])
            first, last = int(rows[a]), int(rows[b])
            times = (float(start[first]), float(end[last]))
            found.append((*times, text, around, int(channel[first]), first, last))
    return frames.rows(frames.FOUND, sorted(found, key=lambda row: (row[0], row[4])))


def _occurrences(pattern: list[int], parts: list[list[int]]) -> list[tuple[int, int]]:
    """First and last word of each place where the parts of the words, one after the other, are the pattern."""
    stream = np.fromiter((part for word in parts for part in word), "int64")
    many = stream.size - len(pattern) + 1
    if many < 1:
        return []
    # A word may have several parts; a word of punctuation only has none.
    word_of = np.repeat(np.arange(len(parts)), [len(word) for word in parts])
    hit = np.ones(many, dtype=bool)
    for ahead, part in enumerate(pattern):
        hit &= stream[ahead : ahead + many] == part
    begins = np.flatnonzero(hit)
    return list(dict.fromkeys(zip(word_of[begins].tolist(), word_of[begins + len(pattern) - 1].tolist(), strict=True)))


def doubtful(words: pd.DataFrame, below: float = 0.5, join: float = 1.0) -> pd.DataFrame:
    """Stretches of words with a confidence below `below` (0 to 1), to listen to again, in order of time.

    Doubtful words stand in one stretch, with the words between them, if there are at most `join` seconds from the end
    of one to the start of the next. A word without a confidence is not doubtful. Columns: `start`, `end` (s), `text`
    (as displayed), `words` (how many), `confidence` (the lowest), `channel`, `first`, `last` (positions of its words).

    Example:
        ```python
        transcript.doubtful(below=0.6).nsmallest(10, "confidence")
        ```
    """
    below = number("below must be a number from 0 to 1", below, 0.0, 1.0)
    join = number("join must be a number of at least 0", join, 0.0)
    start, end, channel = _times("doubtful", words)
    confidence = _floats("doubtful", words, "confidence")
    shown = _texts("doubtful", words, "punctuated_word")
    spaces = _spaces(words, shown)
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        # A comparison with NaN is false.
        low = np.flatnonzero(confidence[rows] < below)
        for first, last in zip(*_runs(start[rows[low]], end[rows[low]], join), strict=True):
            span = rows[low[first] : low[last] + 1]
            text = _joined(shown, spaces, span)
            lowest = np.nanmin(confidence[span])
            times = (start[span[0]], end[span].max())
            found.append((*times, text, span.size, lowest, channel[span[0]], span[0], span[-1]))
    return frames.rows(frames.DOUBTFUL, sorted(found, key=lambda row: (row[0], row[5])))


def summary(words: pd.DataFrame, results: pd.DataFrame, events: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """The figures of a transcript, one row each, with `value` and `unit`.

    `value` is an integer, a number rounded to three decimals, or NaN where there is no data.

    - duration: seconds up to the end of the last final, word or gap.
    - speech: seconds of words, with pauses of up to half a second. Channels are added up.
    - words per minute: of the duration, and of the speech.
    - speakers: how many there are; for each, by name or number, the share of the words and of their time.
      `speaker unknown` is words without a speaker, where other words have one. Without `diarize=True` no word has a
      speaker: there are 0, the unit says why, and `words.groupby("speaker")` has no groups.
    - confidence: the mean and the lowest decile of the words.
    - latency: of the interims, see `Transcript.results`; `p95` is the 95th percentile.
    - finals, interims, reconnects: how many there are.
    - gaps: seconds that were not transcribed, overlaps counted once.
    - missed: seconds of a live source that were never captured, as in a pause. They take no time on the timeline.

    Example:
        ```python
        transcript.summary().loc["words per minute", "value"]
        ```
    """
    start, end, channel = _times("summary", words)
    confidence = pd.Series(_floats("summary", words, "confidence"))
    latency = pd.Series(_floats("summary", results, "latency", "results"))
    final = _floats("summary", results, "is_final", "results") == 1
    opened = int((_column("summary", events, "type", "events") == "opened").sum()) - 1
    missing = _floats("summary", gaps, "start", "gaps"), _floats("summary", gaps, "end", "gaps")
    finals = _floats("summary", results, "end", "results")[final]
    duration = float(np.concatenate([[0.0], finals, end, missing[1]]).max())
    speech = math.fsum(_covered(start[rows], end[rows], _PAUSE) for rows in _by_channel(start, channel))
    return _frame(
        ("duration", duration, "s"),
        ("speech", speech, "s"),
        ("words", start.size, ""),
        ("words per minute", _ratio(start.size * 60.0, duration), ""),
        ("words per minute of speech", _ratio(start.size * 60.0, speech), ""),
        *_shares(words, end - start),
        ("confidence mean", float(confidence.mean()), "0 to 1"),
        ("confidence lowest decile", float(confidence.quantile(0.1)), "0 to 1"),
        ("latency min", float(latency.min()), "s"),
        ("latency avg", float(latency.mean()), "s"),
        ("latency p95", float(latency.quantile(0.95)), "s"),
        ("latency max", float(latency.max()), "s"),
        ("finals", int(final.sum()), ""),
        ("interims", int((~final).sum()), ""),
        ("reconnects", max(0, opened, int(_floats("summary", results, "connection", "results").max(initial=0))), ""),
        ("gaps", _covered(*missing), "s"),
        ("missed", float(gaps.loc[missing[0] == missing[1], "missed"].sum()) if "missed" in gaps else math.nan, "s"),
    )


def _frame(*figures: tuple[str, float, str]) -> pd.DataFrame:
    rows = [(name, round(value, 3), unit) for name, value, unit in figures]
    # A column of objects shows counts without a decimal point.
    table = pd.DataFrame(rows, columns=["measure", "value", "unit"], dtype="object")
    return table.astype({"unit": "string"}).set_index("measure")


def _shares(words: pd.DataFrame, seconds: _Floats) -> list[tuple[str, float, str]]:
    speaker = pd.Series(_floats("summary", words, "speaker"))
    many = speaker.nunique()
    rows: list[tuple[str, float, str]] = [("speakers", many, "" if many or words.empty else _UNDIARIZED)]
    names = dict(zip(speaker, _texts("summary", words, frames.NAME), strict=True)) if frames.NAME in words else {}
    shares = pd.Series(seconds).groupby(speaker, dropna=False).agg(["sum", "size"])
    for one, time, count in shares.itertuples(name=None) if many else ():
        name = "unknown" if one != one else names.get(one) or int(one)
        rows.append((f"speaker {name}: share of words", count / len(words), ""))
        rows.append((f"speaker {name}: share of time", _ratio(time, float(seconds.sum())), ""))
    return rows


def _seconds(window: Any) -> float:
    """The length of a window in seconds; text of digits is no time, as pandas would take it for nanoseconds."""
    given = native(window)
    if not isinstance(given, int | float) and not str(given).isdecimal():
        with contextlib.suppress(ValueError, TypeError):
            given = pd.Timedelta(given).total_seconds()
    return number("window must be a number above 0, in seconds, or a time such as '1min'", given, ABOVE_0)


def _windows(window: float, start: _Floats, *reached: float) -> tuple[npt.NDArray[np.int64], _Floats]:
    """The window in which each word begins, and the edges of the windows; they also contain the moments `reached`."""
    moments = np.append(start, reached)
    # 3 * 0.1 is above 0.3, and 0.3 / 0.1 below 3, but 3 * 1 / 10 is 0.3.
    ratio = Fraction(window).limit_denominator()
    top, bottom = map(float, ratio.as_integer_ratio() if float(ratio) == window else (window, 1))
    with np.errstate(over="ignore"):
        at = np.floor(moments / window)
        at += (at + 1) * top / bottom <= moments
        at -= at * top / bottom > moments
        many = float(at.max()) - float(at.min()) + 1
    # A very short window makes it infinite or NaN.
    if not many <= _MOST_WINDOWS:
        raise ConfigurationError(
            f"Windows of {window:g} s are too short for {moments.min():.1f} to {moments.max():.1f} s: there would be "
            f"more than {_MOST_WINDOWS:,} windows. Use longer windows or fewer words."
        )
    return (at[: start.size] - at.min()).astype("int64"), (at.min() + np.arange(many + 1)) * top / bottom


def _runs(start: _Floats, end: _Floats, longest: float) -> tuple[_Positions, _Positions]:
    """The first and the last of stretches, in order of start, with pauses of at most the `longest` between them."""
    cut = np.flatnonzero(start[1:] - np.maximum.accumulate(end)[:-1] > longest)
    return np.append(0, cut + 1)[: start.size], np.append(cut, start.size - 1)[: start.size]


def _spans(start: _Floats, end: _Floats, longest: float = 0.0) -> tuple[_Floats, _Floats]:
    """Where stretches that overlap, or have pauses of at most the `longest` between them, begin and end together."""
    order = np.argsort(start, kind="stable")
    first, last = _runs(start[order], end[order], longest)
    return start[order][first], np.maximum.accumulate(end[order])[last]


def _covered(start: _Floats, end: _Floats, longest: float = 0.0) -> float:
    begins, ends = _spans(start, end, longest)
    return float((ends - begins).sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _spaces(words: pd.DataFrame, shown: list[str]) -> list[bool]:
    """Whether a space stands before each word. A table of an older version or of your own may lack the column."""
    if "spaced" in words.columns:
        return [value is not False for value in words["spaced"].tolist()]
    return [True, *itertools.starmap(spaced, itertools.pairwise(shown))]


def _joined(shown: list[str], spaces: list[bool], rows: _Positions) -> str:
    return "".join(" " * spaces[row] + shown[row] for row in rows).removeprefix(" " * spaces[rows[0]])


def _by_channel(start: _Floats, channel: npt.NDArray[np.int64]) -> Iterator[_Positions]:
    """The positions of each channel's rows, by start; rows with the same start keep their order."""
    order = np.lexsort((start, channel))
    yield from np.split(order, np.flatnonzero(np.diff(channel[order])) + 1)


def _times(function: str, words: pd.DataFrame) -> tuple[_Floats, _Floats, npt.NDArray[np.int64]]:
    start, end, channel = (_floats(function, words, name) for name in ("start", "end", "channel"))
    for name, values in (("start", start), ("end", end), ("channel", channel)):
        if not np.isfinite(values).all():
            raise ConfigurationError(
                f"{function}() needs a number in each row of {name!r}. "
                f"Leave out the other rows: words.dropna(subset=[{name!r}])."
            )
    # A word that ends before it begins has no length.
    return start, np.maximum(start, end), channel.astype("int64")


def _floats(function: str, table: pd.DataFrame, name: str, kind: str = "words") -> _Floats:
    column = _column(function, table, name, kind)
    try:
        return column.to_numpy("float64", na_value=np.nan)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{function}() needs numbers in {name!r}; its dtype is {column.dtype}. {_remedy(kind)}"
        ) from None


def _texts(function: str, table: pd.DataFrame, name: str) -> list[str]:
    return [text if isinstance(text, str) else "" for text in _column(function, table, name).tolist()]


def _column(function: str, table: pd.DataFrame, name: str, kind: str = "words") -> pd.Series[Any]:
    if not isinstance(table, pd.DataFrame):
        raise ConfigurationError(f"{function}() takes a DataFrame, not {type(table).__name__}. {_remedy(kind)}")
    if name not in table.columns:
        hint = nearest(name, [str(column) for column in table.columns])
        raise ConfigurationError(f"{function}() needs the column {name!r}.{hint} {_remedy(kind)}")
    column = table[name]
    if not isinstance(column, pd.Series):
        raise ConfigurationError(f"{function}() needs one column {name!r}; this table has several. {_remedy(kind)}")
    return column


def _remedy(kind: str) -> str:
    return f"Pass transcript.{kind}, or rows of it with all columns."

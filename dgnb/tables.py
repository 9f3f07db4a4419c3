"""What the tables tell: pauses, pace, where a phrase was said, what was not heard well, and the figures of it all.

Pure functions of the tables, which `Transcript` has as methods of the same names. They take any rows of a table, in any
order and with any index, so that a table may be filtered first:

    tables.pauses(words.query("speaker == 0"), longer=2)

What they give has the same columns and dtypes with rows and without. Channels are looked at one by one, as people on
two channels speak at the same time. `first` and `last` are positions: `words.iloc[first]`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnb import frames
from dgnb.exceptions import ConfigurationError, nearest

__all__ = ["doubtful", "find", "pauses", "speaking_rate", "summary"]

_PAUSE: Final = 0.5
"""Seconds of silence that a speaker may leave and still be speaking."""
_CONTEXT: Final = 5
"""Words on each side of what was found."""
_MOST_WINDOWS: Final = 1_000_000
_APOSTROPHES: Final = "'’ʼ"

_Floats = npt.NDArray[np.float64]
_Positions = npt.NDArray[np.intp]


def pauses(words: pd.DataFrame, longer: float = _PAUSE) -> pd.DataFrame:
    """Where nobody spoke on a channel, between two of its words, in order of time.

    Where words overlap, a pause begins when the last one of them has ended. What lies before the first word and after
    the last one is no pause.

    Args:
        words: `transcript.words`, or rows of it.
        longer: Only pauses longer than so many seconds; 0 for every one.

    Returns:
        One row a pause: `start`, `end`, `seconds` (how long), `after`, `before` (the words around it, as displayed),
        `channel`.

    Raises:
        ConfigurationError: The table lacks a column, or `longer` is no length of time.

    Example:
        ```python
        transcript.pauses(longer=2).nlargest(5, "seconds")
        ```
    """
    longer = _number("longer", longer, least=0.0)
    start, end, channel = _times("pauses", words)
    shown = _texts("pauses", words, "punctuated_word")
    before: list[_Positions] = []
    after: list[_Positions] = []
    for rows in _by_channel(start, channel):
        # The last one to have ended so far: a word may lie within another one.
        ends = end[rows]
        last = np.maximum.accumulate(np.where(ends == np.maximum.accumulate(ends), np.arange(rows.size), 0))
        silent = np.flatnonzero(start[rows[1:]] - ends[last[:-1]] > longer)
        before.append(rows[last[silent]])
        after.append(rows[silent + 1])
    if not before:
        return frames.rows(frames.PAUSES, [])
    spoke, speaks = np.concatenate(before), np.concatenate(after)
    order = np.lexsort((channel[spoke], end[spoke]))
    spoke, speaks = spoke[order], speaks[order]
    columns = {
        "start": end[spoke],
        "end": start[speaks],
        "seconds": start[speaks] - end[spoke],
        "after": [shown[row] for row in spoke.tolist()],
        "before": [shown[row] for row in speaks.tolist()],
        "channel": channel[spoke],
    }
    return frames.table(frames.PAUSES, columns)


def speaking_rate(words: pd.DataFrame, window: float = 60.0) -> pd.DataFrame:
    """Words per minute along time, in windows that follow one another.

    Windows begin at multiples of `window`, so that those of two speakers can be laid side by side; the first one holds
    the first word, the last one ends with the last word. A word counts where it begins. Channels are added up.

    Args:
        words: `transcript.words`, or rows of it.
        window: Seconds a window.

    Returns:
        One row a window, also where nobody spoke: `start`, `end` (s), `words` (how many), `words_per_minute` (NaN where
        the last window has no length).

    Raises:
        ConfigurationError: The table lacks a column, or `window` is no length of time, or one so short that there
            would be more than a million windows.

    Example:
        ```python
        transcript.speaking_rate(10).plot(x="start", y="words_per_minute")
        ```
    """
    window = _number("window", window, above=0.0)
    start, end, _ = _times("speaking_rate", words)
    if not start.size:
        return frames.rows(frames.RATES, [])
    with np.errstate(over="ignore"):
        of = np.floor(start / window)
    first = float(of.min())
    many = float(of.max()) - first + 1
    # Too short a window makes it infinite, or no number at all.
    if not many <= _MOST_WINDOWS:
        raise ConfigurationError(
            f"Windows of {window:g} s are too short for words from {start.min():.1f} to {start.max():.1f} s: those are "
            f"more than {_MOST_WINDOWS:,} windows. Take longer ones, or fewer words."
        )
    count = np.bincount((of - first).astype("int64"), minlength=int(many))
    begins = (first + np.arange(count.size)) * window
    ends = begins + window
    ends[-1] = min(ends[-1], max(float(end.max()), begins[-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(ends > begins, count * 60.0 / (ends - begins), np.nan)
    return frames.table(frames.RATES, {"start": begins, "end": ends, "words": count, "words_per_minute": rate})


def find(words: pd.DataFrame, phrase: str) -> pd.DataFrame:
    """Every place where a phrase was said, in order of time.

    Capitals, punctuation and how an accent is encoded do not matter, nor where an utterance ends; whole words do. A
    hyphen stands between two words: "well-known" and "well known" find each other. Apostrophes are passed over.

    Args:
        words: `transcript.words`, or rows of it.
        phrase: One word or several.

    Returns:
        One row an occurrence: `start` of its first word and `end` of its last (s), `text` (as displayed), `context`
        (the same with five words on each side), `channel`, `first`, `last` (positions of its words in the table).

    Raises:
        ConfigurationError: The table lacks a column, or the phrase has no letter or digit.

    Example:
        ```python
        transcript.find("good morning")[["start", "context"]]
        ```
    """
    if not isinstance(phrase, str):
        raise ConfigurationError(f"find() looks for text, such as 'good morning', not for {phrase!r}.")
    wanted = _parts(phrase)
    if not wanted:
        raise ConfigurationError(f"find() needs a word to look for; {phrase!r} has no letter or digit.")
    start, end, channel = _times("find", words)
    shown = _texts("find", words, "punctuated_word")
    spoken = _texts("find", words, "word")
    number = {part: index for index, part in enumerate(dict.fromkeys(wanted))}
    pattern = [number[part] for part in wanted]
    # Most words are said many times, and are taken apart once.
    known = {word: [number.get(part, -1) for part in _parts(word)] for word in set(spoken)}
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        parts = [known[spoken[row]] for row in rows]
        stream = np.fromiter((part for of in parts for part in of), "int64")
        # A word may have several parts, and one that is all punctuation has none.
        place = np.repeat(np.arange(rows.size), [len(of) for of in parts])
        many = stream.size - len(pattern) + 1
        if many < 1:
            continue
        hit = np.ones(many, dtype=bool)
        for ahead, part in enumerate(pattern):
            hit &= stream[ahead : ahead + many] == part
        begins = np.flatnonzero(hit)
        spans = dict.fromkeys(zip(place[begins].tolist(), place[begins + len(pattern) - 1].tolist(), strict=True))
        text = [shown[row] for row in rows] if spans else []
        for a, b in spans:
            around = " ".join(text[max(0, a - _CONTEXT) : b + 1 + _CONTEXT])
            first, last = int(rows[a]), int(rows[b])
            times = (float(start[first]), float(end[last]))
            found.append((*times, " ".join(text[a : b + 1]), around, int(channel[first]), first, last))
    return frames.rows(frames.FOUND, sorted(found, key=lambda row: (row[0], row[4])))


def doubtful(words: pd.DataFrame, below: float = 0.5, join: float = 1.0) -> pd.DataFrame:
    """Stretches that the recogniser was not sure of, to listen to again, in order of time.

    A stretch goes from one doubtful word to the last one that follows within `join` seconds of the one before; the sure
    words between them belong to it. A word without confidence is not doubtful.

    Args:
        words: `transcript.words`, or rows of it.
        below: A word is doubtful whose confidence is below this (0 to 1).
        join: Seconds from the end of a doubtful word to the next one, up to which they are one stretch.

    Returns:
        One row a stretch: `start`, `end` (s), `text` (as displayed), `words` (how many), `confidence` (the lowest),
        `channel`, `first`, `last` (positions of its words in the table).

    Raises:
        ConfigurationError: The table lacks a column, or an argument is out of range.

    Example:
        ```python
        transcript.doubtful(below=0.6).nsmallest(10, "confidence")
        ```
    """
    below = _number("below", below, least=0.0, most=1.0)
    join = _number("join", join, least=0.0)
    start, end, channel = _times("doubtful", words)
    confidence = _floats("doubtful", words, "confidence")
    shown = _texts("doubtful", words, "punctuated_word")
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        # A comparison with NaN is false.
        low = np.flatnonzero(confidence[rows] < below)
        if not low.size:
            continue
        reached = np.maximum.accumulate(end[rows[low]])
        apart = np.flatnonzero(start[rows[low[1:]]] - reached[:-1] > join)
        begins, ends = low[np.r_[0, apart + 1]], low[np.r_[apart, low.size - 1]]
        lowest = np.minimum.reduceat(confidence[rows[low]], np.r_[0, apart + 1])
        for a, b, least in zip(begins.tolist(), ends.tolist(), lowest.tolist(), strict=True):
            span = rows[a : b + 1].tolist()
            times = (float(start[span[0]]), float(end[span].max()))
            text = " ".join(shown[row] for row in span)
            found.append((*times, text, len(span), least, int(channel[span[0]]), span[0], span[-1]))
    return frames.rows(frames.DOUBTFUL, sorted(found, key=lambda row: (row[0], row[5])))


def summary(words: pd.DataFrame, results: pd.DataFrame, events: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """The figures of a transcript, one row each: what it is, its `value`, its `unit`.

    `value` holds plain numbers, whole or rounded to three digits, and NaN where there is nothing to reckon with.

    - duration: up to where the last final, word or gap ends; speech: the time that words take, pauses of up to half a
      second within a channel included. Channels that speak at once add up.
    - words per minute: of the whole duration, and of the speech alone.
    - speakers: how many were told apart; for each one its share of the words, and of the time that words take.
      `speaker unknown` are words without one, where others have one.
    - confidence: the mean of the words', and what the lowest tenth of them stays below.
    - latency: of the interims (see `Transcript.results`), the 95th of a hundred as `p95`.
    - finals, interims: how many; reconnects: how often a connection followed another one.
    - gaps: seconds that were not transcribed, each counted once.

    Raises:
        ConfigurationError: A table lacks a column.

    Example:
        ```python
        transcript.summary()
        transcript.summary().loc["words per minute", "value"]
        ```
    """
    start, end, channel = _times("summary", words)
    confidence = _known("summary", words, "confidence")
    latency = _known("summary", results, "latency", "results")
    final = _floats("summary", results, "is_final", "results") == 1
    opened = int((_column("summary", events, "type", "events") == "opened").sum())
    connections = int(_known("summary", results, "connection", "results").max(initial=-1.0)) + 1
    missing = _floats("summary", gaps, "start", "gaps"), _floats("summary", gaps, "end", "gaps")
    ends = np.concatenate([[0.0], _floats("summary", results, "end", "results")[final], end, missing[1]])
    duration = float(ends.max())
    speech = math.fsum(_spoken(start[rows], end[rows]) for rows in _by_channel(start, channel))
    rows: list[tuple[str, float, str]] = [
        ("duration", duration, "s"),
        ("speech", speech, "s"),
        ("words", start.size, ""),
        ("words per minute", _ratio(start.size * 60.0, duration), ""),
        ("words per minute of speech", _ratio(start.size * 60.0, speech), ""),
    ]
    rows += _shares(words, end - start)
    rows += [
        ("confidence mean", float(confidence.mean()) if confidence.size else math.nan, "0 to 1"),
        ("confidence lowest decile", _quantile(confidence, 0.1), "0 to 1"),
        ("latency min", float(latency.min()) if latency.size else math.nan, "s"),
        ("latency avg", float(latency.mean()) if latency.size else math.nan, "s"),
        ("latency p95", _quantile(latency, 0.95), "s"),
        ("latency max", float(latency.max()) if latency.size else math.nan, "s"),
        ("finals", int(final.sum()), ""),
        ("interims", int((~final).sum()), ""),
        ("reconnects", max(1, opened, connections) - 1, ""),
        ("gaps", _covered(*missing), "s"),
    ]
    # Counts stay whole, so that they read as such: a column of floats would show all of them with a point.
    values = [round(value, 3) if isinstance(value, float) else value for _, value, _ in rows]
    return pd.DataFrame(
        {"value": pd.Series(values, dtype="object"), "unit": pd.Series([unit for *_, unit in rows], dtype="string")}
    ).set_axis(pd.Index([name for name, *_ in rows], dtype="object", name="measure"))


def _shares(words: pd.DataFrame, seconds: _Floats) -> list[tuple[str, float, str]]:
    """How many speakers there are, and what each one's part is."""
    speaker = _floats("summary", words, "speaker")
    present = np.unique(speaker[~np.isnan(speaker)])
    rows: list[tuple[str, float, str]] = [("speakers", present.size, "")]
    groups = [(f"speaker {int(one)}", speaker == one) for one in present]
    if groups and np.isnan(speaker).any():
        groups.append(("speaker unknown", np.isnan(speaker)))
    for name, of in groups:
        rows.append((f"{name}: share of words", float(of.mean()), ""))
        rows.append((f"{name}: share of time", _ratio(float(seconds[of].sum()), float(seconds.sum())), ""))
    return rows


def _spoken(start: _Floats, end: _Floats) -> float:
    """Seconds from the first word of a channel to its last, without the pauses."""
    reached = np.maximum.accumulate(end)
    silence = start[1:] - reached[:-1]
    return float(reached[-1] - start[0] - silence[silence > _PAUSE].sum())


def _covered(start: _Floats, end: _Floats) -> float:
    """Seconds that stretches cover which may overlap."""
    if not start.size:
        return 0.0
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    before = np.r_[start[0], np.maximum.accumulate(end)[:-1]]
    return float(np.maximum(0.0, end - np.maximum(start, before)).sum())


def _quantile(values: _Floats, part: float) -> float:
    return float(np.quantile(values, part)) if values.size else math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _parts(text: str) -> list[str]:
    """A text as the words to compare."""
    if text.isascii() and text.isalnum():
        return [text.lower()]
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(map(_compared, text)).split()


def _compared(character: str) -> str:
    """What a character is when texts are compared: itself, nothing, or an end of the word."""
    kind = unicodedata.category(character)
    if character in _APOSTROPHES or kind == "Cf":
        return ""
    return character if kind[0] in "LMNS" else " "


def _by_channel(start: _Floats, channel: npt.NDArray[np.int64]) -> Iterator[_Positions]:
    """The rows of each channel that has any, in order of time; at the same time in their own order."""
    if not start.size:
        return
    order = np.lexsort((start, channel))
    yield from np.split(order, np.flatnonzero(np.diff(channel[order])) + 1)


def _times(function: str, words: pd.DataFrame) -> tuple[_Floats, _Floats, npt.NDArray[np.int64]]:
    start, end, channel = (_floats(function, words, name) for name in ("start", "end", "channel"))
    for name, values in (("start", start), ("end", end), ("channel", channel)):
        if not np.isfinite(values).all():
            raise ConfigurationError(
                f"{function}() needs a number in each row of {name!r}, which this table does not have. "
                f"Leave those rows out: words.dropna(subset=[{name!r}])."
            )
    # A word that ends before it begins takes no time.
    return start, np.maximum(start, end), channel.astype("int64")


def _floats(function: str, table: pd.DataFrame, name: str, kind: str = "words") -> _Floats:
    column = _column(function, table, name, kind)
    try:
        return column.to_numpy("float64", na_value=np.nan)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{function}() needs numbers in {name!r}, which is of dtype {column.dtype} here. {_remedy(kind)}"
        ) from None


def _known(function: str, table: pd.DataFrame, name: str, kind: str = "words") -> _Floats:
    values = _floats(function, table, name, kind)
    return values[~np.isnan(values)]


def _texts(function: str, table: pd.DataFrame, name: str) -> list[str]:
    return [text if isinstance(text, str) else "" for text in _column(function, table, name).tolist()]


def _column(function: str, table: pd.DataFrame, name: str, kind: str = "words") -> pd.Series[Any]:
    if not isinstance(table, pd.DataFrame):
        raise ConfigurationError(f"{function}() takes a DataFrame, not {type(table).__name__}. {_remedy(kind)}")
    if name not in table.columns:
        hint = nearest(name, [str(column) for column in table.columns])
        raise ConfigurationError(
            f"{function}() needs the column {name!r}, which this table lacks.{hint} {_remedy(kind)}"
        )
    column = table[name]
    if not isinstance(column, pd.Series):
        raise ConfigurationError(f"{function}() needs one column {name!r}; this table has several. {_remedy(kind)}")
    return column


def _remedy(kind: str) -> str:
    return f"Give it transcript.{kind}, or rows of that with all its columns."


def _number(
    name: str, value: float, *, least: float | None = None, above: float | None = None, most: float | None = None
) -> float:
    """An argument as a finite number within its bounds."""
    fits = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    fits = fits and math.isfinite(value)
    fits = fits and (least is None or value >= least) and (above is None or value > above)
    if not fits or (most is not None and value > most):
        bound = f"of at least {least:g}" if least is not None else f"above {above:g}"
        bound += f" and at most {most:g}" if most is not None else ""
        raise ConfigurationError(f"{name} is a number {bound}, which {value!r} is not.")
    return float(value)

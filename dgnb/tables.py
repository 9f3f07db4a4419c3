"""Pauses, speaking rate, phrases, doubtful stretches and a summary, computed from the tables of a transcript.

The columns of those tables stand in `frames`.

`Transcript` has these functions as methods of the same names. They accept any rows of a table, in any order and with
any index, so you can filter a table first:

    tables.pauses(words.query("speaker == 0"), longer=2)

The result has the same columns and dtypes with and without rows. Each channel is treated separately, because people
on two channels speak at the same time. `first` and `last` are positions: `words.iloc[first]`.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnb import frames
from dgnb.exceptions import ConfigurationError, nearest
from dgnb.values import ABOVE_0, native, number
from dgnb.writing import UNSPACED, spaced

__all__ = ["doubtful", "find", "pauses", "speaking_rate", "summary"]

_PAUSE: Final = 0.5
"""Shorter silences, in seconds, count as speech."""
_CONTEXT: Final = 5
"""Words of context on each side of a phrase."""
_MOST_WINDOWS: Final = 1_000_000
_APOSTROPHES: Final = "'’ʼ"
_CHARACTERS: Final = re.compile(f"[{UNSPACED}\uac00-\ud7a3]")
"""Characters that are compared one by one, whatever the words are. Korean has spaces, but not before its particles."""

_Floats = npt.NDArray[np.float64]
_Positions = npt.NDArray[np.intp]


def __dir__() -> list[str]:
    return __all__


def pauses(words: pd.DataFrame, longer: float = _PAUSE) -> pd.DataFrame:
    """The silences between the words of a channel, in order of time.

    Where words overlap, a pause begins when the last of them ends. The time before the first word and after the last
    word is not a pause.

    Args:
        words: `transcript.words`, or rows of it.
        longer: Seconds; only longer pauses are returned.

    Returns:
        One row a pause: `start`, `end`, `seconds` (its length), `after`, `before` (the words around it, as displayed),
        `channel`.

    Raises:
        ConfigurationError: The table lacks a column, or `longer` is not a number of seconds.

    Example:
        ```python
        transcript.pauses(longer=2).nlargest(5, "seconds")
        ```
    """
    longer = number("longer must be a number of at least 0", longer, 0.0)
    start, end, channel = _times("pauses", words)
    shown = _texts("pauses", words, "punctuated_word")
    starts, ends, channels = start.tolist(), end.tolist(), channel.tolist()
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        # The word that ended last so far: a word may lie within another one.
        last = rows[0]
        for row in rows.tolist():
            if (silence := starts[row] - ends[last]) > longer:
                found.append((ends[last], starts[row], silence, shown[last], shown[row], channels[row]))
            if ends[row] >= ends[last]:
                last = row
    return frames.rows(frames.PAUSES, sorted(found, key=lambda row: (row[0], row[5])))


def speaking_rate(words: pd.DataFrame, window: float = 60.0) -> pd.DataFrame:
    """Words per minute along time, in consecutive windows.

    Windows begin at multiples of `window`, so you can compare two speakers. The first window contains the first word,
    the last one ends with the last word. A word counts in the window in which it begins. Channels are added up.

    Args:
        words: `transcript.words`, or rows of it.
        window: Seconds a window.

    Returns:
        One row a window, also where nobody spoke: `start`, `end` (s), `words` (how many), `words_per_minute` (NaN where
        the last window has no length).

    Raises:
        ConfigurationError: The table lacks a column, `window` is not a number of seconds, or there would be more than
            a million windows.

    Example:
        ```python
        transcript.speaking_rate(10).plot(x="start", y="words_per_minute")
        ```
    """
    window = number("window must be a number above 0", window, ABOVE_0)
    start, end, _ = _times("speaking_rate", words)
    if not start.size:
        return frames.rows(frames.RATES, [])
    with np.errstate(over="ignore"):
        of = np.floor(start / window)
    first = float(of.min())
    many = float(of.max()) - first + 1
    # A very short window makes it infinite or NaN.
    if not many <= _MOST_WINDOWS:
        raise ConfigurationError(
            f"Windows of {window:g} s are too short for words from {start.min():.1f} to {start.max():.1f} s: there "
            f"would be more than {_MOST_WINDOWS:,} windows. Use longer windows or fewer words."
        )
    count = np.bincount((of - first).astype("int64"), minlength=int(many))
    begins = (first + np.arange(count.size)) * window
    ends = begins + window
    ends[-1] = min(ends[-1], max(float(end.max()), begins[-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(ends > begins, count * 60.0 / (ends - begins), np.nan)
    return frames.table(frames.RATES, {"start": begins, "end": ends, "words": count, "words_per_minute": rate})


def find(words: pd.DataFrame, phrase: str) -> pd.DataFrame:
    """Every occurrence of a phrase, in order of time.

    Only whole words match. Case, punctuation, the encoding of accents and the ends of utterances are ignored. A hyphen
    separates two words: "well-known" and "well known" match. Apostrophes are ignored. Chinese, Japanese, Korean, Thai,
    Lao, Khmer and Burmese are compared by the character: a phrase may begin and end within a word.

    Args:
        words: `transcript.words`, or rows of it.
        phrase: One word or several.

    Returns:
        One row an occurrence: `start` of its first word and `end` of its last (s), `text` (as displayed), `context`
        (with five words on each side), `channel`, `first`, `last` (positions of its words in the table).

    Raises:
        ConfigurationError: The table lacks a column, or the phrase has no letter or digit.

    Example:
        ```python
        transcript.find("good morning")[["start", "context"]]
        ```
    """
    phrase = native(phrase)
    if not isinstance(phrase, str):
        raise ConfigurationError(f"find() looks for text such as 'good morning', not {phrase!r}.")
    wanted = _parts(phrase)
    if not wanted:
        raise ConfigurationError(f"find() needs a word; {phrase!r} has no letter or digit.")
    start, end, channel = _times("find", words)
    shown = _texts("find", words, "punctuated_word")
    spaces, spoken = _spaces(words, shown), _texts("find", words, "word")
    place = {part: index for index, part in enumerate(dict.fromkeys(wanted))}
    pattern = [place[part] for part in wanted]
    # Most words occur many times and are split once.
    known = {word: [place.get(part, -1) for part in _parts(word)] for word in set(spoken)}
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
    # A word may have several parts; a word of punctuation only has none.
    word_of = np.repeat(np.arange(len(parts)), [len(word) for word in parts])
    many = stream.size - len(pattern) + 1
    if many < 1:
        return []
    hit = np.ones(many, dtype=bool)
    for ahead, part in enumerate(pattern):
        hit &= stream[ahead : ahead + many] == part
    begins = np.flatnonzero(hit)
    return list(dict.fromkeys(zip(word_of[begins].tolist(), word_of[begins + len(pattern) - 1].tolist(), strict=True)))


def doubtful(words: pd.DataFrame, below: float = 0.5, join: float = 1.0) -> pd.DataFrame:
    """Stretches with low confidence, to listen to again, in order of time.

    Doubtful words that are at most `join` seconds apart form one stretch, with the other words between them. A word
    without a confidence is not doubtful.

    Args:
        words: `transcript.words`, or rows of it.
        below: A word with a lower confidence is doubtful (0 to 1).
        join: Seconds from the end of a doubtful word to the start of the next one.

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
    below = number("below must be a number from 0 to 1", below, 0.0, 1.0)
    join = number("join must be a number of at least 0", join, 0.0)
    start, end, channel = _times("doubtful", words)
    confidence = _floats("doubtful", words, "confidence")
    shown = _texts("doubtful", words, "punctuated_word")
    spaces = _spaces(words, shown)
    found: list[tuple[Any, ...]] = []
    for rows in _by_channel(start, channel):
        # First and last index of each stretch. A comparison with NaN is false.
        stretches: list[list[int]] = []
        reached = -math.inf
        for index in np.flatnonzero(confidence[rows] < below).tolist():
            if start[rows[index]] - reached > join:
                stretches.append([index, index])
            stretches[-1][1] = index
            reached = max(reached, end[rows[index]])
        for first, last in stretches:
            span = rows[first : last + 1]
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
    - speakers: how many there are; for each, the share of the words and of their time. `speaker unknown` is words
      without a speaker, where other words have one.
    - confidence: the mean and the lowest decile of the words.
    - latency: of the interims, see `Transcript.results`; `p95` is the 95th percentile.
    - finals, interims, reconnects: how many there are.
    - gaps: seconds that were not transcribed, overlaps counted once.

    Raises:
        ConfigurationError: A table lacks a column.

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
    )


def _frame(*figures: tuple[str, float, str]) -> pd.DataFrame:
    rows = [(name, round(value, 3), unit) for name, value, unit in figures]
    # A column of objects shows counts without a decimal point.
    table = pd.DataFrame(rows, columns=["measure", "value", "unit"], dtype="object")
    return table.astype({"unit": "string"}).set_index("measure")


def _shares(words: pd.DataFrame, seconds: _Floats) -> list[tuple[str, float, str]]:
    """The number of speakers, and the shares of each."""
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


def _covered(start: _Floats, end: _Floats, longest: float = 0.0) -> float:
    """Seconds that stretches cover, with the pauses between them up to the `longest`; overlaps count once."""
    if not start.size:
        return 0.0
    order = np.argsort(start, kind="stable")
    start, reached = start[order], np.maximum.accumulate(end[order])
    pauses = start[1:] - reached[:-1]
    return float(reached[-1] - start[0] - pauses[pauses > longest].sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _parts(text: str) -> list[str]:
    """The words of a text in the form in which they are compared."""
    if text.isascii() and text.isalnum():
        return [text.lower()]
    text = unicodedata.normalize("NFKC", text).casefold()
    return _CHARACTERS.sub(r" \g<0> ", "".join(map(_compared, text))).split()


def _compared(character: str) -> str:
    """The character itself, "" if it is ignored, or a space if it separates words."""
    kind = unicodedata.category(character)
    if character in _APOSTROPHES or kind == "Cf":
        return ""
    return character if kind[0] in "LMNS" else " "


def _spaces(words: pd.DataFrame, shown: list[str]) -> list[bool]:
    """Whether a space stands before each word. A table of an older version or of your own may lack the column."""
    if "spaced" in words.columns:
        return [value is not False for value in words["spaced"].tolist()]
    return [True, *itertools.starmap(spaced, itertools.pairwise(shown))]


def _joined(shown: list[str], spaces: list[bool], rows: _Positions) -> str:
    """The words at these positions as one text."""
    return "".join(" " * spaces[row] + shown[row] for row in rows).removeprefix(" " * spaces[rows[0]])


def _by_channel(start: _Floats, channel: npt.NDArray[np.int64]) -> Iterator[_Positions]:
    """The positions of each channel's rows, by start; rows with the same start keep their order."""
    if not start.size:
        return
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

"""Pauses, speaking rate, phrases, doubtful stretches and the summary, with and without rows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgnb import frames, tables
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.messages import Alternative, Channel, Metadata, Results, Word
from dgnb.transcript import Transcript

HELPERS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], Mapping[str, str]]] = {
    "pauses": (tables.pauses, frames.PAUSES),
    "speaking_rate": (tables.speaking_rate, frames.RATES),
    "find": (lambda words: tables.find(words, "one"), frames.FOUND),
    "doubtful": (tables.doubtful, frames.DOUBTFUL),
}


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A words table of rows that name the columns that matter; the others are usual."""
    usual = {"speaker": None, "speaker_name": None, "channel": 0, "language": None, "utterance": 0}
    usual |= {"spaced": True, "estimated": False, "corrected": False, "received_at": 0, "speaker_confidence": None}
    whole = [{**usual, "punctuated_word": row["word"], **row, "word": row["word"].lower()} for row in rows]
    return frames.table(frames.WORDS, {name: [row[name] for row in whole] for name in frames.WORDS})


def spoken(
    *words: tuple[str, float, float],
    channel: int = 0,
    speaker: int | None = None,
    confidence: float | None = 0.9,
) -> pd.DataFrame:
    """A words table of (text, start, end)."""
    same = {"channel": channel, "speaker": speaker, "confidence": confidence}
    return table_of([{"word": text, "start": a, "end": b, **same} for text, a, b in words])


# Times are eighths of a second, so that sums are exact.
EIGHTHS = st.integers(0, 400).map(lambda eighths: eighths / 8)
SPOKEN = st.tuples(
    st.sampled_from(["one", "two", "Three.", "four,"]),
    EIGHTHS,
    st.integers(0, 12).map(lambda eighths: eighths / 8),
    st.none() | st.integers(0, 10).map(lambda tenths: tenths / 10),
    st.integers(0, 2),
)


@st.composite
def some_words(draw: st.DrawFn, *, unique: bool = False) -> pd.DataFrame:
    """Words in any order, overlapping, on several channels, some without a confidence."""
    by = (lambda word: (word[1], word[4])) if unique else None
    rows = draw(st.lists(SPOKEN, max_size=30, unique_by=by))
    return table_of(
        [
            {"word": text, "start": a, "end": a + long, "confidence": sure, "channel": channel}
            for text, a, long, sure, channel in rows
        ]
    )


def dtypes(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


# Every function


@pytest.mark.parametrize("name", HELPERS)
def test_a_table_without_words_gives_the_same_columns_without_rows(name: str) -> None:
    helper, schema = HELPERS[name]
    for words in (spoken(), Transcript().words, spoken(("one", 0, 1)).iloc[:0]):
        got = helper(words)
        assert len(got) == 0
        assert dtypes(got) == dict(schema)


@pytest.mark.parametrize("name", HELPERS)
@given(words=some_words())
@settings(max_examples=40, deadline=None)
def test_any_words_give_the_same_dtypes_and_a_new_index(name: str, words: pd.DataFrame) -> None:
    helper, schema = HELPERS[name]
    got = helper(words)
    assert dtypes(got) == dict(schema)
    assert list(got.index) == list(range(len(got)))
    assert got["start"].is_monotonic_increasing
    assert (got["end"] >= got["start"]).all()


@pytest.mark.parametrize("name", HELPERS)
@given(words=some_words(unique=True), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_rows_and_their_index_do_not_matter(
    name: str, words: pd.DataFrame, data: st.DataObject
) -> None:
    helper, _ = HELPERS[name]
    order = data.draw(st.permutations(range(len(words))))
    mixed = words.iloc[order].set_index(pd.Index(["same"] * len(words), dtype="object"))
    want = helper(words)
    got = helper(mixed)
    columns = [column for column in want if column not in ("first", "last")]
    pd.testing.assert_frame_equal(got[columns], want[columns])
    for column in {"first", "last"} & set(want):
        assert mixed.iloc[got[column]].equals(words.iloc[want[column]].set_index(mixed.index[: len(want)]))


@pytest.mark.parametrize("name", HELPERS)
def test_a_function_does_not_change_its_table(name: str) -> None:
    words = spoken(("one", 0, 1), ("two", 3, 4), confidence=0.1)
    before = words.copy(deep=True)
    HELPERS[name][0](words)
    pd.testing.assert_frame_equal(words, before)


@pytest.mark.parametrize("name", HELPERS)
def test_a_missing_column_is_a_clear_error(name: str) -> None:
    helper, _ = HELPERS[name]
    words = spoken(("one", 0, 1), ("two", 3, 4))
    needed, said = [], []
    for column in words:
        try:
            helper(words.drop(columns=column))
        except ConfigurationError as error:
            needed.append(column)
            said.append(str(error))
    for column, error in zip(needed, said, strict=True):
        assert error.startswith(f"{name}() needs the column {column!r}.")
        assert error.endswith("Pass transcript.words, or rows of it with all columns.")
    assert {"start", "end", "channel"} <= set(needed)
    with pytest.raises(ConfigurationError, match=r"'start'\. Did you mean 'starts'\?"):
        helper(words.rename(columns={"start": "starts"}))


@pytest.mark.parametrize("name", HELPERS)
@pytest.mark.parametrize("wrong", [None, 5, [("one", 0, 1)], {"word": ["one"]}], ids=str)
def test_anything_but_a_table_is_a_clear_error(name: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}\(\) takes a DataFrame, not {type(wrong).__name__}\."):
        HELPERS[name][0](wrong)


@pytest.mark.parametrize("name", HELPERS)
def test_columns_without_times_are_a_clear_error(name: str) -> None:
    helper, _ = HELPERS[name]
    words = spoken(("one", 0, 1), ("two", 3, 4))
    with pytest.raises(ConfigurationError, match=r"needs numbers in 'end'; its dtype is"):
        helper(words.assign(end="soon"))
    with pytest.raises(ConfigurationError, match=r"needs a number in each row of 'start'.*dropna"):
        helper(words.assign(start=[0.0, math.nan]))
    with pytest.raises(ConfigurationError, match=r"each row of 'channel'"):
        helper(words.assign(channel=pd.array([0, None], dtype="Int64")))
    with pytest.raises(ConfigurationError, match="needs one column 'start'; this table has several"):
        helper(pd.concat([words, words], axis=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda words: tables.pauses(words, -1), "longer must be a number of at least 0, not -1"),
        (lambda words: tables.pauses(words, True), "longer must be a number"),
        (lambda words: tables.pauses(words, "1"), "longer must be a number"),
        (lambda words: tables.pauses(words, math.nan), "longer must be a number"),
        (lambda words: tables.pauses(words, None), "longer must be a number"),
        (lambda words: tables.speaking_rate(words, 0), "window must be a number above 0, .* not 0"),
        (lambda words: tables.speaking_rate(words, math.inf), "window must be a number above 0"),
        (lambda words: tables.resample(words, "-1min"), "window must be a number above 0"),
        (lambda words: tables.resample(words, "soon"), "a time such as '1min', not 'soon'"),
        (lambda words: tables.resample(words, "300"), "a time such as '1min', not '300'"),
        (lambda words: tables.resample(words, None), "window must be a number above 0"),
        (lambda words: tables.resample(words, True), "window must be a number above 0"),
        (lambda words: tables.resample(words, "1ns"), "more than 1,000,000 windows. Use longer windows"),
        (lambda words: tables.resample(words.iloc[:0], 1e-7, until=60.0), "too short for 0.0 to 60.0 s"),
        (lambda words: tables.resample(words, by="speakers"), "needs the column 'speakers'. Did you mean 'speaker'"),
        (lambda words: tables.resample(words.drop(columns="speaker"), by="speaker"), "needs the column 'speaker'"),
        (lambda words: tables.resample(words, gaps=words.drop(columns="end")), "needs the column 'end'"),
        (lambda words: tables.speaking_rate(words.iloc[:0], "nonsense"), "a time such as '1min', not 'nonsense'"),
        (lambda words: tables.speaking_rate(words, 1e-7), "more than 1,000,000 windows. Use longer windows"),
        (lambda words: tables.speaking_rate(words, 5e-324), "more than 1,000,000 windows"),
        (lambda words: tables.doubtful(words, 1.5), "below must be a number from 0 to 1, not 1.5"),
        (lambda words: tables.doubtful(words, join=-0.1), "join must be a number of at least 0"),
        (lambda words: tables.find(words, ""), "looks for letters or digits, as in 'good morning', not ''"),
        (lambda words: tables.find(words, "?!"), "looks for letters or digits, as in 'good morning', not '\\?!'"),
        (lambda words: tables.find(words, None), "looks for letters or digits, as in 'good morning', not None"),
    ],
)
def test_a_wrong_argument_is_a_clear_error(call: Callable[[pd.DataFrame], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        call(spoken(("one", 0, 1), ("two", 3, 4)))
    assert isinstance(caught.value, DgnbError)


@pytest.mark.parametrize("helper", ["pauses", "speaking_rate", "resample", "find", "doubtful", "summary"])
def test_a_transcript_has_each_function_as_a_method(helper: str) -> None:
    transcript = Transcript()
    heard = Alternative("one two", 0.9, (Word("one", 0.0, 1.0, 0.2), Word("two", 3.0, 4.0, 0.9)))
    transcript.feed(Results((0, 1), 5.0, 0.0, Channel((heard,)), is_final=True), offset=10.0)
    arguments = ["ONE"] if helper == "find" else []
    given_ = ["words", "results", "events", "gaps"] if helper == "summary" else ["words"]
    more = {"until": 15.0} if helper == "resample" else {}
    want = getattr(tables, helper)(*(getattr(transcript, table) for table in given_), *arguments, **more)
    got = getattr(transcript, helper)(*arguments)
    assert len(got) > 0
    pd.testing.assert_frame_equal(got, want)


@pytest.mark.parametrize("name", tables.__all__)
def test_the_examples_run(name: str) -> None:
    from matplotlib import pyplot

    found = re.search(r"```python\n(.*?)```", getattr(tables, name).__doc__, re.DOTALL)
    assert found
    transcript = Transcript()
    heard = Alternative("Good morning.", 0.9, (Word("good", 0.0, 1.0, 0.2), Word("morning", 4.0, 5.0, 0.9)))
    transcript.feed(Results((0, 1), 5.0, 0.0, Channel((heard,)), is_final=True))
    try:
        exec(re.sub(r"^ +", "", found[1], flags=re.MULTILINE), {"transcript": transcript, "words": transcript.words})
    finally:
        pyplot.close("all")


# Pauses


def test_a_pause_lies_between_two_words() -> None:
    got = tables.pauses(spoken(("Well,", 0, 1), ("yes.", 3.5, 4), ("Quite", 4.25, 5)))
    assert got.to_dict("records") == [
        {"start": 1.0, "end": 3.5, "seconds": 2.5, "after": "Well,", "before": "yes.", "channel": 0}
    ]


def test_a_pause_is_longer_than_the_limit() -> None:
    words = spoken(("a", 0, 1), ("b", 1.5, 2), ("c", 2.625, 3))
    assert tables.pauses(words)["start"].tolist() == [2.0]
    assert tables.pauses(words, 0)["seconds"].tolist() == [0.5, 0.625]
    assert len(tables.pauses(words, longer=1)) == 0


def test_one_word_has_no_pause_around_it() -> None:
    assert len(tables.pauses(spoken(("a", 5, 6)), 0)) == 0


def test_a_word_within_another_one_does_not_begin_a_pause() -> None:
    got = tables.pauses(spoken(("long", 0, 4), ("short", 1, 2), ("later", 5, 6)))
    assert got[["start", "end", "after", "before"]].values.tolist() == [[4.0, 5.0, "long", "later"]]


def test_a_pause_on_one_channel_counts_while_another_channel_speaks() -> None:
    left = spoken(("a", 0, 1), ("b", 4, 5))
    right = spoken(("x", 0.5, 4.5), channel=1)
    got = tables.pauses(pd.concat([left, right]))
    assert got[["start", "end", "channel"]].values.tolist() == [[1.0, 4.0, 0]]


@given(words=some_words())
@settings(max_examples=150, deadline=None)
def test_words_and_pauses_cover_the_time_of_a_channel(words: pd.DataFrame) -> None:
    got = tables.pauses(words, 0)
    for channel, spoken_ in words.groupby("channel"):
        silent = got[got["channel"] == channel]
        # Each eighth of a second is speech or silence, never both.
        cells = np.zeros(1000, dtype=int)
        for word in spoken_.itertuples():
            cells[int(word.start * 8) : int(word.end * 8)] |= 1
        for pause in silent.itertuples():
            cells[int(pause.start * 8) : int(pause.end * 8)] += 2
            assert pause.seconds == pause.end - pause.start > 0
            assert pause.after in set(spoken_.loc[spoken_["end"] == pause.start, "punctuated_word"])
            assert pause.before in set(spoken_.loc[spoken_["start"] == pause.end, "punctuated_word"])
        assert set(cells[int(spoken_["start"].min() * 8) : int(spoken_["end"].max() * 8)]) <= {1, 2}
    for longer in (0.5, 1.0):
        want = got[got["seconds"] > longer].reset_index(drop=True)
        pd.testing.assert_frame_equal(tables.pauses(words, longer), want)


def test_a_word_that_ends_before_it_begins_has_no_length() -> None:
    words = spoken(("a", 0, 1), ("b", 5, 3), ("c", 6, 7))
    assert tables.pauses(words)[["start", "end"]].values.tolist() == [[1, 5], [5, 6]]
    assert tables.doubtful(words.assign(confidence=[0.9, 0.1, 0.9]))["end"].tolist() == [5]


# Speaking rate


def test_a_word_counts_in_the_window_in_which_it_begins() -> None:
    got = tables.speaking_rate(spoken(("a", 59.5, 60.5), ("b", 60, 61), ("c", 185, 195)))
    assert got["start"].tolist() == [0, 60, 120, 180]
    assert got["end"].tolist() == [60, 120, 180, 195]
    assert got["words"].tolist() == [1, 1, 0, 1]
    assert got["words_per_minute"].tolist() == [1, 1, 0, 4]


def test_the_first_window_contains_the_first_word() -> None:
    assert tables.speaking_rate(spoken(("a", 130, 131)), 60)["start"].tolist() == [120]
    assert tables.speaking_rate(spoken(("a", -1, 1)), 60)["start"].tolist() == [-60]


def test_a_window_without_length_has_no_rate() -> None:
    got = tables.speaking_rate(spoken(("a", 60, 60)))
    assert got["words"].tolist() == [1]
    assert got["words_per_minute"].isna().all()


@given(words=some_words(), eighths=st.integers(1, 200))
@settings(max_examples=150, deadline=None)
def test_windows_are_consecutive_and_contain_every_word_once(words: pd.DataFrame, eighths: int) -> None:
    window = eighths / 8
    got = tables.speaking_rate(words, window)
    assert got["words"].sum() == len(words)
    assert (got["start"].to_numpy()[1:] == got["end"].to_numpy()[:-1]).all()
    for row in got.itertuples():
        assert row.start % window == 0
        assert row.words == ((words["start"] >= row.start) & (words["start"] < row.start + window)).sum()
        assert row.end == row.start + window or row.end == words["end"].max()
        if row.end > row.start:
            assert row.words_per_minute == pytest.approx(row.words * 60 / (row.end - row.start))


# Windows for all and for each speaker


def test_words_are_counted_in_windows_and_a_gap_is_no_silence() -> None:
    words = spoken(("a", 0, 1), ("b", 1.5, 2), ("c", 25, 26), confidence=0.5)
    gaps = frames.rows(frames.GAPS, [(8.0, 15.0, 7.0, "lost"), (12.0, 20.0, 8.0, "lost"), (26.0, 26.0, 9.0, "a pause")])
    got = tables.resample(words, 10, gaps=gaps, until=35.0)
    rest = dict.fromkeys(["words_per_minute", "seconds", "confidence", "covered"], "float64")
    assert dtypes(got) == {"words": "int64", **rest}
    assert got.index.name == "start"
    nothing = pytest.approx(math.nan, nan_ok=True)
    assert got.reset_index().to_numpy().tolist() == [
        [0.0, 2, 15.0, 1.5, 0.5, 8.0],
        [10.0, 0, nothing, 0.0, nothing, 0.0],
        [20.0, 1, 6.0, 1.0, 0.5, 10.0],
        [30.0, 0, 0.0, 0.0, nothing, 5.0],
    ]


@pytest.mark.parametrize("by", ["speaker", "channel"])
def test_each_speaker_has_a_column_and_a_word_without_a_speaker_is_unknown(by: str) -> None:
    words = pd.concat(
        [
            spoken(("a", 0, 1), ("b", 61, 62), confidence=0.5, **{by: 10}),
            spoken(("c", 1, 3), confidence=1.0, **{by: 2}),
        ]
    )
    if by == "speaker":
        words = pd.concat([words, spoken(("d", 70, 72))])
    got = tables.resample(words, "1min", by=by)
    assert got.columns.names == [None, by]
    people = [2, 10, *["unknown"] * (by == "speaker")]
    assert got["words"].columns.tolist() == people
    assert got["words"].to_numpy().tolist() == [[1, 1, 0][: len(people)], [0, 1, 1][: len(people)]]
    assert got["words_per_minute"][2].tolist() == [1.0, 0.0]
    assert got["seconds"][2].tolist() == [2.0, 0.0]
    assert got["confidence"][10].tolist() == [0.5, 0.5]
    assert got["covered"].tolist() == [60.0, 12.0 if by == "speaker" else 2.0]


@pytest.mark.parametrize(
    "minute", ["1min", "60s", "00:01:00", np.int64(60), pd.Timedelta(60, "s"), np.timedelta64(1, "m")]
)
def test_a_window_is_seconds_or_whatever_pandas_takes_for_a_time(minute: Any) -> None:
    words = spoken(("a", 0, 1), ("b", 61, 62))
    assert tables.resample(words, minute).index.tolist() == [0.0, 60.0]
    assert tables.speaking_rate(words, minute)["start"].tolist() == [0.0, 60.0]


def test_windows_without_words_have_the_same_columns() -> None:
    assert tables.resample(spoken()).columns.tolist() == tables.resample(spoken(("a", 0, 1))).columns.tolist()
    nobody, undiarized = tables.resample(spoken(), by="speaker"), tables.resample(spoken(("a", 0, 1)), by="speaker")
    assert len(nobody) == 0
    assert nobody.columns.tolist() == undiarized.columns.tolist()
    assert undiarized["words", "unknown"].tolist() == [1]


@given(words=some_words(), eighths=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_windows_have_each_word_once_for_all_and_for_the_channels(words: pd.DataFrame, eighths: int) -> None:
    alone, each = tables.resample(words, eighths / 8), tables.resample(words, eighths / 8, by="channel")
    assert alone["words"].sum() == len(words)
    assert alone["seconds"].sum() == (words["end"] - words["start"]).sum()
    assert alone["covered"].sum() == words["end"].max() if len(words) else len(alone) == 0
    if len(words):
        for measure in ("words", "seconds", "words_per_minute"):
            total = each[measure].sum(axis="columns", skipna=False)
            pd.testing.assert_series_equal(total, alone[measure], check_names=False)


@pytest.mark.parametrize("window", ["0.1", "0.3", "0.7", "1.1", "0.05", "0.025", "60"])
def test_a_word_at_the_begin_of_a_window_counts_there(window: str) -> None:
    # Decimals, as a multiple of 0.1 is not the float that a service sends.
    begins = [float(Decimal(window) * i) for i in range(1, 200)]
    words = spoken(*(("a", begin, begin) for begin in begins))
    got, rate = tables.resample(words, float(window)), tables.speaking_rate(words, float(window))
    assert (got.index.tolist(), got["words"].tolist()) == ([0.0, *begins], [0] + [1] * 199)
    assert (rate["start"].tolist(), rate["words"].tolist()) == (begins, [1] * 199)
    assert rate["end"].tolist()[:-1] == begins[1:]
    just_before = words.assign(start=np.nextafter(words["start"], 0.0))
    assert tables.resample(just_before, float(window))["words"].tolist() == [1] * 199


@pytest.mark.parametrize("window", [1 / 3, math.pi, 0.1 + 0.2, 1e-10, 1e-300, 1e308])
def test_a_word_begins_within_its_window_whatever_its_length(window: float) -> None:
    got = tables.speaking_rate(spoken(("a", window * 2 if window < 1e300 else 1.0, window)), window)
    assert got["words"].tolist() == [1]
    assert got["start"].tolist() == [pytest.approx(window * 2 if window < 1e300 else 0.0, abs=0)]


@pytest.mark.parametrize("by", ["start", "end", "confidence", "seconds", "covered", "words", "level_0"])
def test_words_are_grouped_by_a_column_of_any_name(by: str) -> None:
    words = spoken(("a", 0, 1), ("b", 1, 3), ("c", 1, 3), ("d", 9, 10), confidence=0.5)
    words = words if by in words else words.assign(**{by: [0, 1, 1, 2]})
    got = tables.resample(words, 5, by=by)
    assert got["words"].values.tolist() == ([[3], [1]] if by == "confidence" else [[1, 2, 0], [0, 0, 1]])
    assert got["seconds"].sum(axis="columns").tolist() == [5.0, 1.0]
    assert got["words"].columns.tolist() == sorted(set(words[by]))


def test_words_without_a_confidence_are_kept_where_it_is_what_groups_them() -> None:
    words = spoken(("a", 0, 1), ("b", 1, 2), ("c", 2, 3)).assign(confidence=[0.5, math.nan, 0.75])
    got = tables.resample(words, by="confidence")
    assert got["words"].to_dict("list") == {0.5: [1], 0.75: [1], "unknown": [1]}
    assert got["confidence"].fillna(0.0).to_dict("list") == {0.5: [0.5], 0.75: [0.75], "unknown": [0.0]}


def test_a_speaker_named_unknown_shares_the_column_of_words_without_a_speaker() -> None:
    words = spoken(("a", 0, 1), ("b", 1, 2), ("c", 2, 3)).assign(role=["unknown", None, "agent"])
    assert tables.resample(words, by="role")["words"].to_dict("list") == {"agent": [1], "unknown": [2]}


def test_a_transcript_resamples_its_words_with_its_gaps_and_the_silence_at_its_end() -> None:
    transcript = Transcript()
    heard = Alternative("one", 0.9, (Word("one", 0.0, 1.0, 0.5),))
    transcript.feed(Results((0, 1), 90.0, 0.0, Channel((heard,)), is_final=True))
    transcript.add_gap(90.0, 150.0, "lost")
    got = transcript.resample("1min")
    assert got["covered"].tolist() == [60.0, 30.0, 0.0]
    assert got["words_per_minute"].isna().tolist() == [False, False, True]


def test_without_diarization_the_summary_says_why_there_are_no_speakers() -> None:
    empty = Transcript()
    for speaker, value, unit in ((None, 0, "unknown: diarize=True tells them apart"), (3, 1, "")):
        words = spoken(("a", 0, 1), speaker=speaker)
        row = tables.summary(words, empty.results, empty.events, empty.gaps).loc["speakers"]
        assert (row["value"], row["unit"]) == (value, unit)
    assert empty.summary().loc["speakers", "unit"] == ""


def test_a_phrase_is_found_with_its_times_and_context() -> None:
    said = ["It", "was", "a", "very", "good", "Morning,", "good", "morning", "to", "all", "of", "you", "here"]
    words = spoken(*((text, i, i + 0.5) for i, text in enumerate(said)))
    words["utterance"] = [0] * 5 + [1] * 8
    got = tables.find(words, "good MORNING!")
    assert got["text"].tolist() == ["good Morning,", "good morning"]
    assert got[["start", "end", "first", "last"]].values.tolist() == [[4, 5.5, 4, 5], [6, 7.5, 6, 7]]
    assert got["context"].tolist() == [" ".join(said[0:11]), " ".join(said[1:13])]


@pytest.mark.parametrize(
    ("said", "phrase", "times"),
    [
        ("a a a", "a a", 2),
        ("well-known facts", "well known", 1),
        ("well known facts", "well-known facts", 1),
        ("well-known facts", "known facts", 1),
        ("ha-ha", "ha", 1),
        ("don’t", "dont", 1),
        ("don't", "don’t", 1),
        ("Stra\u00dfe", "STRASSE", 1),
        ("cafe\u0301", "caf\u00e9", 1),
        ("3.5 percent", "3.5", 1),
        ("35 percent", "3.5", 0),
        ("हिन्दी में", "हिन्दी", 1),
        ("می‌خواهم", "میخواهم", 1),
        ("\u4f60\u597d\u3002", "\u4f60\u597d", 1),
        ("$5 each", "$5", 1),
        ("one — two", "one two", 1),
        ("another", "other", 0),
        ("one", "one two", 0),
    ],
)
def test_case_punctuation_and_accents_do_not_matter(said: str, phrase: str, times: int) -> None:
    words = spoken(*((text, i, i + 0.5) for i, text in enumerate(said.split())))
    assert len(tables.find(words, phrase)) == times


@pytest.mark.parametrize(
    ("text", "phrase", "count"),
    [
        ("今天 天气 很 好", "天天", 1),
        ("今天 天气", "今 天", 1),
        ("사람들이 왔다", "사람", 1),
        ("อากาศ ดี", "อากาศดี", 1),
        ("今 day", "ay", 0),
    ],
)
def test_scripts_without_fixed_words_are_compared_by_the_character(text: str, phrase: str, count: int) -> None:
    assert len(tables.find(spoken(*((word, i, i + 1.0) for i, word in enumerate(text.split()))), phrase)) == count


def test_a_table_without_the_column_of_spaces_is_joined_by_its_script() -> None:
    words = spoken(("我们", 0, 1), ("出去", 1, 2), ("hello", 2, 3), ("there", 3, 4), confidence=0.1).drop(
        columns="spaced"
    )
    assert tables.find(words, "出去")["context"].tolist() == ["我们出去 hello there"]
    assert tables.doubtful(words)["text"].tolist() == ["我们出去 hello there"]


def test_a_phrase_does_not_span_two_channels() -> None:
    left, right = spoken(("good", 0, 1)), spoken(("morning", 1, 2), channel=1)
    assert len(tables.find(pd.concat([left, right]), "good morning")) == 0


def test_a_missing_word_is_ignored() -> None:
    words = spoken(("good", 0, 1), ("x", 1, 2), ("morning", 2, 3))
    words.loc[1, ["word", "punctuated_word"]] = pd.NA
    assert tables.find(words, "good morning")[["first", "last"]].values.tolist() == [[0, 2]]


@given(
    pieces=st.lists(st.sampled_from(["filler", "phrase", "piece"]), max_size=30),
    phrase=st.lists(st.sampled_from(["good", "morning", "all"]), min_size=1, max_size=3, unique=True),
    dress=st.lists(
        st.sampled_from([str.upper, str.title, lambda text: f"“{text},”", lambda text: f"{text}?", str]), min_size=1
    ),
)
@example(pieces=["phrase"], phrase=["good"], dress=[str])
@settings(max_examples=150, deadline=None)
def test_exactly_the_planted_phrases_are_found(
    pieces: list[str], phrase: list[str], dress: list[Callable[[str], str]]
) -> None:
    said: list[str] = []
    planted = []
    for piece in pieces:
        if piece == "phrase":
            planted.append((len(said), len(said) + len(phrase) - 1))
            said += phrase
        else:
            # A part of the phrase, and a word that separates it from the next one.
            said += ["filler"] if piece == "filler" else [*phrase[:-1], "filler"]
    shown = [dress[i % len(dress)](text) for i, text in enumerate(said)]
    words = spoken(*((text, i / 2, i / 2 + 0.25) for i, text in enumerate(shown)))
    got = tables.find(words, " ".join(phrase).title() + "!")
    assert list(zip(got["first"], got["last"], strict=True)) == planted
    assert got["start"].tolist() == [first / 2 for first, _ in planted]
    assert got["end"].tolist() == [last / 2 + 0.25 for _, last in planted]


# Doubtful stretches


def unsure(*confidences: float | None, apart: float = 1.0) -> pd.DataFrame:
    words = spoken(*((f"W{i}.", i * apart, i * apart + 0.5) for i in range(len(confidences))))
    return words.assign(confidence=np.array(confidences, dtype="float64"))


def test_doubtful_words_that_are_close_form_one_stretch() -> None:
    got = tables.doubtful(unsure(0.9, 0.4, 0.3, 0.9, 0.9, 0.2))
    assert got["text"].tolist() == ["W1. W2.", "W5."]
    assert got["confidence"].tolist() == [0.3, 0.2]
    assert got[["start", "end", "words", "first", "last"]].values.tolist() == [[1, 2.5, 2, 1, 2], [5, 5.5, 1, 5, 5]]
    assert tables.doubtful(unsure(0.4, 0.9, 0.3), join=1.5)["text"].tolist() == ["W0. W1. W2."]


def test_a_stretch_ends_with_its_last_end() -> None:
    words = spoken(("long", 0, 9), ("short", 1, 2), ("later", 9.5, 10), ("last", 12, 13), confidence=0.1)
    got = tables.doubtful(words)
    assert got[["start", "end", "words"]].values.tolist() == [[0, 10, 3], [12, 13, 1]]
    words.loc[[1, 2], "confidence"] = [0.2, 0.9]
    assert tables.doubtful(words)["end"].tolist() == [9, 13]


def test_a_word_without_confidence_is_not_doubtful() -> None:
    assert len(tables.doubtful(unsure(None, None))) == 0
    assert tables.doubtful(unsure(None, 0.1, None), join=5)["words"].tolist() == [1]


def test_a_word_at_the_limit_is_not_doubtful() -> None:
    assert tables.doubtful(unsure(0.5, 0.49), 0.5)["first"].tolist() == [1]
    assert len(tables.doubtful(unsure(0.0, 0.9), 0)) == 0
    assert len(tables.doubtful(unsure(1.0, 0.9), 1, join=0)) == 1


@given(words=some_words(), below=st.sampled_from([0.3, 0.5, 1.0]), join=st.sampled_from([0.0, 0.5, 2.0]))
@settings(max_examples=150, deadline=None)
def test_every_doubtful_word_is_in_one_stretch_with_its_neighbours(
    words: pd.DataFrame, below: float, join: float
) -> None:
    got = tables.doubtful(words, below, join)
    for channel, spoken_ in words.groupby("channel"):
        low = spoken_[spoken_["confidence"] < below].sort_values("start", kind="stable")
        want: list[list[float]] = []
        for word in low.itertuples():
            if want and word.start - want[-1][1] <= join:
                want[-1][1] = max(want[-1][1], word.end)
                want[-1][2] = min(want[-1][2], word.confidence)
            else:
                want.append([word.start, word.end, word.confidence])
        mine = got[got["channel"] == channel].sort_values("start", kind="stable")
        assert mine[["start", "confidence"]].values.tolist() == [[start, least] for start, _, least in want]
        # A confident word in between may end later than the doubtful words around it.
        assert all(end >= reached for end, (_, reached, _) in zip(mine["end"], want, strict=True))


# Summary


def values(transcript: Transcript) -> dict[str, Any]:
    table = transcript.summary()
    assert dtypes(table) == {"value": "object", "unit": "string"}
    assert table.index.is_unique
    return dict(table["value"])


def heard(*words: Word, start: float = 0.0, duration: float = 10.0, final: bool = True, channel: int = 0) -> Results:
    text = " ".join(word.word for word in words)
    return Results((channel, 2), duration, start, Channel((Alternative(text, None, words),)), is_final=final)


def test_an_empty_transcript_has_figures_of_zero_or_nan() -> None:
    got = values(Transcript())
    unknown = [name for name, value in got.items() if isinstance(value, float) and math.isnan(value)]
    assert unknown == [
        *("words per minute", "words per minute of speech", "confidence mean", "confidence lowest decile"),
        *("latency min", "latency avg", "latency p95", "latency max"),
    ]
    assert {value for name, value in got.items() if name not in unknown} == {0}


def test_the_summary_agrees_with_the_tables() -> None:
    transcript = Transcript()
    transcript.note("opened", "first")
    transcript.feed(heard(duration=1.0, final=False), audio_cursor=1.25)
    transcript.feed(heard(duration=2.0, final=False), audio_cursor=2.75)
    transcript.feed(
        heard(
            Word("a", 0.0, 1.0, 0.5, speaker=0), Word("b", 1.25, 2.25, 0.7, speaker=0), Word("c", 4, 6, 0.9, speaker=1)
        ),
        audio_cursor=11.0,
    )
    transcript.note("opened", "second")
    transcript.feed(heard(Word("d", 0.0, 1.0, 0.3, speaker=1)), offset=10.0, audio_cursor=21.0, connection=1)
    transcript.add_gap(30.0, 32.0, "lost")
    transcript.add_gap(31.0, 34.0, "lost")
    transcript.add_gap(30.5, 31.0, "lost")
    transcript.add_gap(3.0, 3.0, "never captured", 2.5)
    transcript.add_gap(4.0, 4.0, "never captured", 3.0)
    assert values(transcript) == {
        "duration": 34.0,
        "speech": 5.25,
        "words": 4,
        "words per minute": pytest.approx(240 / 34, abs=1e-3),
        "words per minute of speech": pytest.approx(240 / 5.25, abs=1e-3),
        "speakers": 2,
        "speaker 0: share of words": 0.5,
        "speaker 0: share of time": 0.4,
        "speaker 1: share of words": 0.5,
        "speaker 1: share of time": 0.6,
        "confidence mean": 0.6,
        "confidence lowest decile": 0.36,
        "latency min": 0.25,
        "latency avg": 0.5,
        "latency p95": 0.725,
        "latency max": 0.75,
        "finals": 2,
        "interims": 2,
        "reconnects": 1,
        "gaps": 4.0,
        "missed": 5.5,
    }


def test_one_word_without_confidence_and_speaker_has_a_summary() -> None:
    transcript = Transcript()
    transcript.feed(heard(Word("a", 1.0, 1.5), duration=2.0))
    got = values(transcript)
    assert (got["words"], got["duration"], got["speech"]) == (1, 2.0, 0.5)
    assert (got["words per minute"], got["words per minute of speech"]) == (30.0, 120.0)
    assert got["speakers"] == 0
    assert not any(name.startswith("speaker ") for name in got)
    assert math.isnan(got["confidence mean"])


def test_a_confidence_of_nan_is_left_out() -> None:
    transcript = Transcript()
    transcript.feed(heard(Word("a", 0, 1, math.nan), Word("b", 1, 2, 0.8), Word("c", 2, 3)))
    assert values(transcript)["confidence mean"] == 0.8
    assert transcript.utterances["confidence"].tolist() == [0.8]


def test_words_without_a_speaker_have_a_share_if_other_words_have_a_speaker() -> None:
    transcript = Transcript()
    transcript.feed(heard(Word("a", 0, 1, speaker=3), Word("b", 1, 4)))
    got = values(transcript)
    assert got["speakers"] == 1
    assert (got["speaker 3: share of time"], got["speaker unknown: share of time"]) == (0.25, 0.75)


def test_speech_on_several_channels_adds_up() -> None:
    transcript = Transcript()
    transcript.feed(heard(Word("a", 0, 1), Word("b", 3, 4), channel=0))
    transcript.feed(heard(Word("x", 0.5, 3.5), channel=1))
    got = values(transcript)
    assert got["speech"] == 5.0
    assert got["words per minute of speech"] == 36.0
    assert got["words per minute"] == 18.0


def test_words_without_length_have_no_rate_and_no_share_of_time() -> None:
    transcript = Transcript()
    transcript.feed(heard(Word("a", 1, 1, speaker=0), duration=0.0, start=1.0))
    got = values(transcript)
    assert math.isnan(got["words per minute of speech"])
    assert math.isnan(got["speaker 0: share of time"])


def test_reconnects_are_known_without_notes_and_without_messages() -> None:
    transcript = Transcript()
    transcript.feed(heard(), connection=2)
    assert values(transcript)["reconnects"] == 2
    for _ in range(4):
        transcript.note("opened", "")
    assert values(transcript)["reconnects"] == 3


def test_the_summary_is_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.note("opened", "")
    transcript.feed(heard(Word("a", 0, 1, 0.5, speaker=1), final=False), audio_cursor=11.0)
    transcript.feed(heard(Word("a", 0, 1, 0.5, speaker=1)), audio_cursor=12.0)
    transcript.feed(Metadata(duration=10.0))
    transcript.add_gap(10.0, 11.0, "lost")
    transcript.save(tmp_path / "talk.jsonl")
    pd.testing.assert_frame_equal(Transcript.load(tmp_path / "talk.jsonl").summary(), transcript.summary())


@given(words=some_words())
@settings(max_examples=60, deadline=None)
def test_the_shares_of_the_speakers_add_up(words: pd.DataFrame) -> None:
    words["speaker"] = pd.array([i % 3 or None for i in range(len(words))], dtype="Int64")
    empty = Transcript()
    got = tables.summary(words, empty.results, empty.events, empty.gaps)["value"]
    for kind in ("words", "time"):
        shares = got[[name for name in got.index if name.endswith(f"share of {kind}")]]
        if got["speakers"] and not shares.isna().any():
            assert sum(shares) == pytest.approx(1, abs=0.01)
    assert got["speech"] <= got["duration"] * max(1, words["channel"].nunique())


def test_a_wrong_table_for_the_summary_is_a_clear_error() -> None:
    one = Transcript()
    with pytest.raises(ConfigurationError, match=r"summary\(\) needs the column 'latency'.*transcript\.results"):
        tables.summary(one.words, one.words, one.events, one.gaps)
    with pytest.raises(ConfigurationError, match=r"summary\(\) takes a DataFrame, not NoneType"):
        tables.summary(one.words, one.results, one.events, None)  # type: ignore[arg-type]


def test_the_summary_shows_counts_without_decimals() -> None:
    transcript = Transcript()
    transcript.feed(heard(Word("a", 0, 1, 1 / 3), duration=12.3456))
    text = transcript.summary().to_string()
    assert re.search(r"^duration +12\.346 +s$", text, re.MULTILINE)
    assert re.search(r"^words +1 *$", text, re.MULTILINE)
    assert "<table" in transcript.summary()._repr_html_()  # type: ignore[operator]

"""A table that grows while someone reads it is the table that is built at once from the same messages."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dgnb
from dgnb.messages import ServerMessage, UtteranceEnd
from dgnb.transcript import Transcript
from tests.transcript.test_transcript import fed, result, said

TABLES = ("words", "utterances", "results", "events", "gaps")
LOOK = "look"


@st.composite
def histories(draw: st.DrawFn) -> list[ServerMessage | str]:
    """Finals and interims of two channels and two speakers, ends of utterances, and looks at the tables in between."""
    history: list[ServerMessage | str] = []
    starts = [0.0, 0.0]
    for _ in range(draw(st.integers(1, 60))):
        what = draw(st.sampled_from(["final", "final", "interim", "end", LOOK]))
        channel = draw(st.integers(0, 1))
        if what == LOOK:
            history.append(LOOK)
        elif what == "end":
            history.append(UtteranceEnd((channel, 2), starts[channel]))
        else:
            words = draw(st.lists(st.sampled_from(["One", "two,", "three."]), max_size=4))
            spoken = said(*words, start=starts[channel], speaker=draw(st.sampled_from([None, 0, 1])))
            final = what == "final"
            history.append(
                result(starts[channel], 2.0, spoken, final=final, channel=channel, speech_final=draw(st.booleans()))
            )
            starts[channel] += 2.0 * final
    return history


@settings(max_examples=150, deadline=None, derandomize=True)
@given(histories(), st.sampled_from([0.0, 7.5]))
def test_tables_that_were_read_in_between_equal_those_that_are_built_at_once(
    history: list[ServerMessage | str], offset: float
) -> None:
    grown, at_once = Transcript(), Transcript()
    for at, message in enumerate(history):
        if isinstance(message, str):
            for name in TABLES:
                getattr(grown, name)
        else:
            for transcript in (grown, at_once):
                transcript.feed(message, at=at, offset=offset)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(grown, name), getattr(at_once, name))


def long(messages: int) -> Transcript:
    """Each final after an interim with the same words; a look at each hundredth."""
    transcript = Transcript()
    for number in range(messages):
        words = said("one", "two", start=2.0 * (number // 2))
        transcript.feed(result(2.0 * (number // 2), 2.0, words, final=bool(number % 2)), at=number)
        if not number % 100:
            for name in TABLES:
                getattr(transcript, name)
    return transcript


def test_tables_of_thousands_of_rows_are_whole() -> None:
    transcript = long(12_000)
    assert len(transcript.words) == 12_000
    assert transcript.words["start"].is_monotonic_increasing
    assert len(transcript.results) == 12_000
    assert transcript.results["start"].tolist() == [2.0 * (number // 2) for number in range(12_000)]
    assert transcript.utterances["words"].tolist() == [12_000]


def test_old_interims_are_given_back_as_they_came() -> None:
    transcript = long(12_000)
    expected = [
        result(2.0 * (number // 2), 2.0, said("one", "two", start=2.0 * (number // 2)), final=bool(number % 2))
        for number in range(12_000)
    ]
    assert transcript.messages == expected
    assert transcript.since(11_990) == expected[11_990:]


@pytest.mark.parametrize("name", ["words", "utterances", "results"])
def test_changing_a_table_changes_neither_the_transcript_nor_the_next_table(name: str) -> None:
    transcript = fed(result(0, 2, said("one", "two"), speech_final=True), result(2, 2, said("three", start=2.0)))
    before = getattr(transcript, name)
    spoilt = getattr(transcript, name)
    spoilt.loc[:, "start"] = 99.0
    del spoilt["end"]
    pd.testing.assert_frame_equal(getattr(transcript, name), before)
    transcript.feed(result(4, 2, said("four", start=4.0)))
    pd.testing.assert_frame_equal(getattr(transcript, name).iloc[:1], before.iloc[:1])


def test_dir_shows_what_users_need_and_nothing_else() -> None:
    shown = dir(dgnb.Transcript())
    assert not [name for name in shown if name.startswith("_")]
    assert {"words", "utterances", "text", "observe", "save", "to_srt", "find"} <= set(shown)
    assert not {"feed", "note", "add_gap", "drop_interims", "since", "count", "saved"} & set(shown)

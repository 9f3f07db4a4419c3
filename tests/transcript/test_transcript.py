"""The reducer: finals tile and never change, an interim is replaced, nothing is said twice."""

from __future__ import annotations

import itertools
import json
import math
import os
import pickle
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.exceptions import DgnbError
from dgnb.messages import (
    Alternative,
    Channel,
    ConfigureFailure,
    ConfigureSuccess,
    Error,
    Metadata,
    Results,
    ServerMessage,
    SpeechStarted,
    UnknownMessage,
    UtteranceEnd,
    Warning,
    Word,
    parse,
)
from dgnb.transcript import Transcript


def said(*words: str, start: float = 0.0, each: float = 0.5, speaker: int | None = None) -> tuple[Word, ...]:
    """Words one after the other, `each` seconds apart, with the punctuation only in `punctuated_word`."""
    return tuple(
        Word(word.strip(".,?").lower(), start + each * i, start + each * i + each * 0.8, 0.9, word, speaker)
        for i, word in enumerate(words)
    )


def result(
    start: float,
    duration: float,
    words: Sequence[Word] = (),
    *,
    final: bool | None = True,
    channel: int = 0,
    speech_final: bool = False,
    text: str | None = None,
) -> Results:
    shown = " ".join(word.punctuated_word or word.word for word in words) if text is None else text
    heard = Channel((Alternative(shown, 0.9, tuple(words)),))
    return Results((channel, 1), float(duration), float(start), heard, is_final=final, speech_final=speech_final)


def fed(*messages: ServerMessage, **circumstances: Any) -> Transcript:
    transcript = Transcript()
    for message in messages:
        transcript.feed(message, **circumstances)
    return transcript


# Finals and interims


def test_an_interim_is_shown_and_is_no_row() -> None:
    transcript = fed(result(0, 1, said("hel"), final=False))
    assert transcript.interim == "hel"
    assert transcript.text == ""
    assert len(transcript.words) == 0


def test_an_interim_replaces_the_interim_before_it() -> None:
    transcript = fed(result(0, 1, said("hel"), final=False), result(0, 2, said("hello"), final=None))
    assert transcript.interim == "hello"


def test_a_final_replaces_the_interim() -> None:
    transcript = fed(result(0, 1, said("hel"), final=False), result(0, 1, said("Hello.")))
    assert transcript.interim == ""
    assert transcript.text == "Hello."
    assert transcript.words["word"].tolist() == ["hello"]


def test_a_final_may_cover_less_than_the_interim_before_it() -> None:
    transcript = fed(
        result(0, 4.3, said("one", "two", "three"), final=False),
        result(0, 3.26, said("one", "two")),
        result(3.26, 2.0, said("three", start=3.3), final=False),
        result(3.26, 2.0, said("three", start=3.3)),
    )
    assert transcript.text == "one two three"
    assert transcript.transcript_cursor == pytest.approx(5.26)


def test_channels_have_an_interim_each() -> None:
    transcript = fed(
        result(0, 1, said("right"), final=False, channel=1), result(0, 1, said("left"), final=False, channel=0)
    )
    assert transcript.interim == "left right"
    transcript.feed(result(0, 1, said("Left."), channel=0))
    assert transcript.interim == "right"
    transcript.drop_interims()
    assert transcript.interim == ""


def test_a_final_without_words_covers_its_stretch() -> None:
    transcript = fed(result(0, 3))
    assert transcript.transcript_cursor == 3
    assert len(transcript.words) == 0
    assert transcript.text == ""


def test_a_server_without_alternatives_or_channels_is_survived() -> None:
    transcript = fed(Results((), 1.0, 0.0, Channel(), is_final=True), Results((), 1.0, 1.0, Channel()))
    assert transcript.transcript_cursor == 1
    assert transcript.interim == ""


# Said twice


def test_a_final_that_comes_twice_counts_once() -> None:
    final = result(0, 3, said("one", "two"))
    transcript = fed(final, final)
    assert transcript.text == "one two"
    assert len(transcript.words) == 2
    assert "says again" in transcript.events["text"].iloc[-1]
    assert len(transcript.results) == 2


def test_only_what_is_new_in_an_overlapping_final_counts() -> None:
    transcript = fed(
        result(0, 2, said("one", "two", each=1.0)), result(1, 3, said("Two,", "three", "four.", start=1.0, each=1.0))
    )
    assert transcript.text == "one two three four."
    assert transcript.words["word"].tolist() == ["one", "two", "three", "four"]
    assert "1 of its words are left out" in transcript.events["text"].iloc[-1]


def test_a_final_that_comes_late_is_taken() -> None:
    transcript = fed(result(2, 2, said("later", start=2.5)), result(0, 2, said("earlier", start=0.5)))
    assert sorted(transcript.words["start"]) == [0.5, 2.5]
    assert len(transcript.events) == 0


def test_text_without_words_counts_once_too() -> None:
    transcript = fed(result(0, 2, text="one"), result(0, 2, text="one"), result(1.5, 2, text="two"))
    assert transcript.text == "one two"


def test_times_that_are_rounded_are_no_overlap() -> None:
    transcript = fed(result(0, 2.01, said("one", each=2.0)), result(2.0, 2, said("two", start=2.0)))
    assert transcript.text == "one two"
    assert len(transcript.events) == 0


def test_an_empty_answer_to_finalize_changes_nothing() -> None:
    transcript = fed(result(0, 2, said("one")), result(2, 0), result(2, 0), result(2, 1, said("two", start=2.1)))
    assert transcript.text == "one two"
    assert len(transcript.events) == 0


def timed(*words: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*word) for word in words)


def test_a_word_astride_the_border_of_two_finals_is_kept_wherever_it_stands() -> None:
    one = result(0.0, 2.3, timed(("one", 0.2, 0.6), ("two", 1.0, 1.4)))
    two = result(2.3, 2.3, timed(("three", 2.0, 2.4), ("four", 3.0, 3.4)))
    assert fed(one, two).words["word"].tolist() == ["one", "two", "three", "four"]
    assert len(fed(one, two).events) == 0
    # Both finals have it: once.
    both = result(0.0, 2.3, timed(("one", 0.2, 0.6), ("three", 2.0, 2.4)))
    transcript = fed(both, two)
    assert transcript.words["word"].tolist() == ["one", "three", "four"]
    assert transcript.text == "one three four"
    assert "1 of its words are left out" in transcript.events["text"].iloc[-1]


def test_another_word_at_the_same_time_is_kept_and_so_is_the_same_word_at_another_time() -> None:
    one = result(0, 2, timed(("no", 0.0, 0.2), ("no", 0.25, 0.45), ("way", 1.0, 1.4)))
    again = result(0, 3, timed(("No,", 0.02, 0.2), ("no", 0.27, 0.45), ("no", 0.5, 0.7), ("weigh", 1.0, 1.4)))
    transcript = fed(one, again)
    assert transcript.words["word"].tolist() == ["no", "no", "way", "no", "weigh"]
    assert transcript.words["start"].tolist() == [0.0, 0.25, 1.0, 0.5, 1.0]


def test_a_word_that_is_said_twice_across_a_border_is_no_repetition() -> None:
    one = result(0, 1, timed(("so", 0.5, 0.8), ("very", 0.8, 1.0)))
    # The server rounds: the last word ends after its final.
    two = result(1, 0.5, timed(("very", 0.99, 1.2), ("much", 1.2, 1.501)))
    transcript = fed(one, two)
    assert transcript.words["word"].tolist() == ["so", "very", "very", "much"]
    assert len(transcript.events) == 0


def test_a_word_that_is_heard_again_a_little_later_counts_once() -> None:
    again = result(0, 2, timed(("one", 0.3, 0.55), ("two", 1.0, 1.2)))
    assert (
        fed(
            result(
                0,
                1,
                timed(
                    ("one", 0.2, 0.5),
                ),
            ),
            again,
        ).text
        == "one two"
    )


def test_a_repeated_final_with_times_out_of_all_bounds_costs_no_time() -> None:
    far = result(-1e9, 2e9, timed(("one", -1e9, 1e9), ("two", 1e9, 1e9)))
    assert fed(far, far).words["word"].tolist() == ["one", "two"]


# Text without words


def test_text_without_words_becomes_words_that_share_its_time() -> None:
    transcript = fed(
        result(1, 2, text="hello there", speech_final=True),
        result(3, 1, text="you"),
        result(4, 1, said("all", start=4)),
    )
    table = transcript.words
    assert table["word"].tolist() == ["hello", "there", "you", "all"]
    assert table["start"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table["end"].tolist()[:3] == [2.0, 3.0, 4.0]
    assert table["estimated"].tolist() == [True, True, True, False]
    assert table["confidence"].isna().tolist() == [True, True, True, False]
    assert transcript.text == "hello there you all"
    assert transcript.utterances["transcript"].tolist() == ["hello there", "you all"]
    assert [text for text in transcript.events["text"] if "words without times" in text] == transcript.events[
        "text"
    ].tolist()
    assert len(transcript.events) == 1


def test_text_without_words_has_its_times_on_the_source_and_counts_once() -> None:
    transcript = fed(result(0, 2, text="今天。"), result(0, 2, text="今天。"), offset=10.0)
    assert transcript.text == "今天。"
    assert transcript.words["start"].tolist() == pytest.approx([10.0, 10.0 + 2 / 3])
    assert transcript.to_srt() == "1\n00:00:10,000 --> 00:00:12,000\n今天。\n"


@pytest.mark.parametrize("mark", [".", "?!", "…", "。", "»"])
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("with_word", [False, True])
def test_punctuation_that_comes_late_joins_the_word_before(mark: str, ended: bool, with_word: bool) -> None:
    late = result(1, 0, timed((mark, 1.0, 1.0)) if with_word else (), text=mark, speech_final=True)
    transcript = fed(result(0, 1, said("one", "two"), speech_final=ended))
    before = transcript.words, transcript.utterances
    for _ in range(2):
        transcript.feed(late)
    transcript.feed(result(1, 1, said("three", start=1.0)))
    assert transcript.text == f"one two{mark} three"
    assert transcript.words["punctuated_word"].tolist() == ["one", f"two{mark}", "three"]
    assert transcript.words["word"].tolist() == ["one", "two", "three"]
    assert transcript.utterances["transcript"].tolist() == [f"one two{mark}", "three"]
    assert f"two{mark}" in str(transcript.to_srt())
    assert before[0]["punctuated_word"].tolist() == ["one", "two"]
    assert "estimated" not in transcript.words


def test_late_punctuation_joins_a_word_of_its_own_channel_and_needs_one() -> None:
    transcript = fed(result(0, 1, said("left")), result(0, 1, said("right"), channel=1), result(1, 0, text="."))
    assert transcript.words["punctuated_word"].tolist() == ["left.", "right"]
    assert fed(result(0, 1, text=".")).text == "."


# Scripts without spaces


@pytest.mark.parametrize(
    ("texts", "phrase", "found"),
    [
        ([("今天天气很好。", "今天 天气 很 好"), ("我们出去吧。", "我们 出去 吧")], "天气很好我们", "天气很好。我们"),
        ([("今日は、天気がいいですね", "今日 は 天気 が いい です ね")], "天気が", "天気が"),
        ([("วันนี้อากาศดีมาก", "วันนี้ อากาศ ดี มาก"), ("ครับ", "ครับ")], "อากาศดี", "อากาศดี"),
        ([("오늘 날씨가 좋네요.", "오늘 날씨 가 좋 네요"), ("네.", "네")], "날씨가 좋네요", "날씨가 좋네요."),
        ([("我用 iPhone 拍照", "我 用 iphone 拍照")], "用iphone拍照", "用 iPhone 拍照"),
        ([("我用iPhone拍照", "我 用 iPhone 拍照")], "iPhone", "iPhone"),
    ],
)
def test_text_is_joined_as_the_server_joins_it(texts: list[tuple[str, str]], phrase: str, found: str) -> None:
    transcript, expected, at = Transcript(), "", 0.0
    for text, words in texts:
        spoken = timed(*((word, at + 0.25 * i, at + 0.25 * i + 0.25) for i, word in enumerate(words.split())))
        transcript.feed(result(at, 0.25 * len(spoken), spoken, text=text))
        at += 0.25 * len(spoken)
        # Korean has a space between sentences.
        expected += (" " if expected and "네" in text else "") + text
    assert transcript.text == expected
    assert transcript.utterances["transcript"].tolist() == [expected]
    assert "".join(line.text for line in transcript.lines()) == expected
    assert str(transcript.to_srt(max_duration=60, max_chars=80)).split("\n")[2] == expected
    assert str(transcript.to_webvtt(max_duration=60, max_chars=80)).split("\n")[3] == expected
    heard = json.loads(str(transcript.to_deepgram_json()))["results"]
    assert heard["utterances"][0]["transcript"] == expected
    assert not {"spaced", "estimated"} & {name for word in heard["utterances"][0]["words"] for name in word}
    assert f'"{expected}"' in str(transcript.to_textgrid())
    table = transcript.words
    pieces = zip(table["spaced"], table["punctuated_word"], strict=True)
    assert "".join(" " * space + word for space, word in pieces).strip() == expected
    assert transcript.find(phrase)["text"].tolist() == [found]
    assert found in transcript.find(phrase)["context"].iloc[0]
    assert transcript.doubtful(0.5)["text"].tolist() == []


# Utterances


def test_an_utterance_ends_at_speech_final() -> None:
    transcript = fed(
        result(0, 1, said("one")),
        result(1, 1, said("two", start=1.0), speech_final=True),
        result(2, 1, said("three", start=2.0)),
    )
    assert transcript.utterances["transcript"].tolist() == ["one two", "three"]
    assert transcript.words["utterance"].tolist() == [0, 0, 1]


def test_an_utterance_ends_at_an_utterance_end_that_speaks_of_it() -> None:
    ends = UtteranceEnd((0, 1), 0.4)
    assert fed(result(0, 1, said("one")), ends, result(1, 1, said("two", start=1.0))).utterances.shape[0] == 2
    late = fed(result(0, 1, said("one")), result(1, 1, said("two", start=1.0)), ends)
    late.feed(result(2, 1, said("three", start=2.0)))
    assert late.utterances.shape[0] == 1
    assert len(fed(UtteranceEnd((), 1.0)).utterances) == 0


def test_an_utterance_ends_where_the_speaker_changes() -> None:
    words = (*said("one", speaker=0), *said("two", "three", start=1.0, speaker=1), *said("four", start=3.0, speaker=0))
    table = fed(result(0, 4, words)).utterances
    assert table["transcript"].tolist() == ["one", "two three", "four"]
    assert table["speaker"].tolist() == [0, 1, 0]
    assert table["words"].tolist() == [1, 2, 1]
    assert table["confidence"].tolist() == pytest.approx([0.9] * 3)


def test_an_utterance_without_confidences_has_none() -> None:
    assert fed(result(0, 1, [Word("one", 0.0, 0.5)])).utterances["confidence"].isna().all()


# Properties

spans = st.lists(st.floats(0.05, 10), min_size=1, max_size=12)


@given(spans=spans, data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_word_of_finals_that_tile_comes_out_once_however_often_they_come(
    spans: list[float], data: st.DataObject
) -> None:
    channels = data.draw(st.integers(1, 3))
    finals, expected, time = [], {}, 0.0
    for number, span in enumerate(spans):
        for channel in range(channels):
            count = data.draw(st.integers(0, 3))
            words = [
                Word(f"w{number}.{channel}.{i}", time + span * i / count, time + span * (i + 0.9) / count)
                for i in range(count)
            ]
            finals.append(result(time, span, words, channel=channel))
            expected.update({word.word: (channel, word.start) for word in words})
        time += span
    again = data.draw(st.lists(st.sampled_from(finals), max_size=6))
    order = data.draw(st.permutations(finals)) if data.draw(st.booleans()) else finals
    transcript = fed(*order, *again)
    table = transcript.words
    got = dict(zip(table["word"], zip(table["channel"], table["start"], strict=True), strict=True))
    assert len(table) == len(expected)
    assert got == expected
    assert sorted(transcript.text.split()) == sorted(expected)
    assert transcript.transcript_cursor == pytest.approx(time, abs=0.1)


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 5), st.booleans(), st.integers(0, 1), st.integers(0, 2)), max_size=20
    )
)
@settings(max_examples=100, deadline=None)
def test_what_is_final_never_changes_whatever_comes(steps: list[tuple[float, float, bool, int, int]]) -> None:
    transcript = Transcript()
    before = transcript.words
    for number, (start, duration, final, channel, count) in enumerate(steps):
        words = said(*(f"w{number}.{i}" for i in range(count)), start=start, each=duration / max(count, 1))
        transcript.feed(result(start, duration, words, final=final, channel=channel))
        after = transcript.words
        pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
        if not final:
            assert len(after) == len(before)
        before = after
    assert len(transcript.results) == len(steps)
    assert transcript.utterances["words"].sum() == len(before)
    assert sorted(" ".join(transcript.utterances["transcript"]).split()) == sorted(transcript.text.split())


@given(offset=st.floats(0, 1e5), starts=st.lists(st.floats(0, 100), max_size=5))
@settings(deadline=None)
def test_an_offset_moves_every_time_and_nothing_else(offset: float, starts: list[float]) -> None:
    messages = [result(s * 10, 10, said("a", start=s * 10 + 1)) for s in range(len(starts))]
    plain, moved = fed(*messages), fed(*messages, offset=offset)
    for table in ("words", "utterances", "results"):
        a, b = getattr(plain, table), getattr(moved, table)
        for column in ("start", "end"):
            assert (b[column] - a[column] - offset).abs().max() < 1e-6 if len(a) else True
    assert moved.text == plain.text
    if starts:
        assert moved.transcript_cursor == pytest.approx(plain.transcript_cursor + offset)


def test_a_second_connection_goes_on_where_the_first_one_ended() -> None:
    transcript = Transcript()
    transcript.feed(result(0, 3, said("one")), connection=0)
    transcript.feed(result(0, 2, said("two")), offset=3.0, connection=1)
    transcript.feed(UtteranceEnd((0, 1), 0.4), offset=3.0, connection=1)
    transcript.feed(SpeechStarted((0, 1), 1.5), offset=3.0, connection=1)
    assert transcript.words["start"].tolist() == [0.0, 3.0]
    assert transcript.results["connection"].tolist() == [0, 1]
    assert "at 4.500 s" in transcript.events["text"].tolist()


# Gaps


@pytest.mark.parametrize(("start", "end"), [(2.0, 1.0), (float("nan"), 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_a_gap_goes_from_a_time_to_the_same_or_a_later_one(start: float, end: float) -> None:
    transcript = Transcript()
    with pytest.raises(ValueError, match="A gap goes from a time"):
        transcript.add_gap(start, end, "no")
    transcript.add_gap(1.0, 1.0, "the station was away for 30 s")
    assert transcript.gaps[["start", "end"]].to_numpy().tolist() == [[1.0, 1.0]]


def test_a_gap_says_how_many_seconds_are_missing_also_after_saving_and_loading(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.add_gap(1.0, 3.5, "the line went dead")
    transcript.add_gap(4.0, 4.0, "the station was away", 30.0)
    transcript.add_gap(4.0, 4.0, "the machine slept")
    transcript.save(tmp_path / "talk.jsonl")
    for gaps in (transcript.gaps, Transcript.load(tmp_path / "talk.jsonl").gaps):
        assert gaps["missed"].tolist() == [2.5, 30.0, pytest.approx(math.nan, nan_ok=True)]


def test_a_gap_of_a_session_file_of_an_earlier_version_has_its_length_where_it_has_one(tmp_path: Path) -> None:
    lines = ['{"gap":{"start":1.0,"end":3.0,"reason":"a"}}', '{"gap":{"start":4.0,"end":4.0,"reason":"b"}}']
    (tmp_path / "talk.jsonl").write_text("\n".join(['{"dgnb":1,"lines":2}', *lines, ""]))
    gaps = Transcript.load(tmp_path / "talk.jsonl").gaps
    assert gaps["missed"].tolist() == [2.0, pytest.approx(math.nan, nan_ok=True)]


# Tables


def test_tables_have_their_columns_without_rows() -> None:
    transcript = Transcript()
    full = fed(result(0, 1, said("one")), Metadata(request_id="r"))
    full.add_gap(1.0, 2.0, "the line went dead")
    for name in ("words", "utterances", "results", "events", "gaps"):
        empty, some = getattr(transcript, name), getattr(full, name)
        assert len(empty) == 0
        assert len(some) == 1
        assert empty.dtypes.to_dict() == some.dtypes.to_dict()


def test_a_word_without_extras_has_missing_values() -> None:
    row = fed(result(0, 1, [Word("one", 0.0, 0.5)]), at=1_700_000_000_123_456_789).words.iloc[0]
    assert row["punctuated_word"] == "one"
    assert pd.isna(row["confidence"])
    assert row["speaker"] is pd.NA
    assert row["language"] is pd.NA
    assert row["received_at"] == pd.Timestamp(1_700_000_000_123, unit="ms", tz="UTC")


def test_what_people_read_most_stands_first_and_columns_are_there_with_and_without_values() -> None:
    plain, full = said("one"), [Word("one", 0.0, 0.5, 0.9, "One", 1, "en")]
    for words in (plain, full):
        columns = fed(result(0, 1, words)).words.columns.tolist()
        assert columns[:5] == ["word", "start", "end", "confidence", "speaker"]
        assert columns[5:] == ["punctuated_word", "channel", "language", "utterance", "received_at"]
    shown = fed(result(0, 1, plain)).words.dropna(axis="columns", how="all")
    assert not {"speaker", "language"} & set(shown)


@pytest.mark.parametrize("at", [1_700_000_000_123_456_789, -1_500_001])
def test_moments_are_whole_milliseconds_in_every_table_and_sort_as_they_came(at: int) -> None:
    transcript = fed(result(0, 1, said("one")), Metadata(request_id="r"), at=at)
    want = pd.Timestamp(at // 1_000_000, unit="ms", tz="UTC")
    for table, column in (("words", "received_at"), ("results", "received_at"), ("events", "at")):
        moments = getattr(transcript, table)[column]
        assert str(moments.dtype) == "datetime64[ns, UTC]"
        assert moments.tolist() == [want]


def test_a_table_is_a_snapshot() -> None:
    transcript = fed(result(0, 1, said("one")))
    table = transcript.words
    table.loc[0, "start"] = 99.0
    table["extra"] = 1
    transcript.feed(result(1, 1, said("two", start=1.0)))
    assert transcript.words["start"].tolist() == [0.0, 1.0]
    assert "extra" not in transcript.words
    assert len(table) == 1


def test_latency_is_told_for_interims_only() -> None:
    transcript = Transcript()
    assert transcript.latency is None
    transcript.feed(result(0, 1.0, said("one"), final=False), audio_cursor=1.4)
    assert transcript.latency == pytest.approx(0.4)
    transcript.feed(result(0, 1.0, said("one")), audio_cursor=2.0)
    transcript.feed(result(1, 1.0, final=False))
    assert transcript.latency is None
    table = transcript.results
    assert table["latency"].iloc[0] == pytest.approx(0.4)
    assert table["latency"].iloc[1:].isna().all()
    assert table["audio_cursor"].iloc[1] == 2.0


def test_a_final_tells_how_long_after_its_end_it_came() -> None:
    transcript = Transcript()
    transcript.feed(result(0, 1.0, said("one"), final=False), audio_cursor=11.4, offset=10.0)
    transcript.feed(result(0, 1.0, said("one")), audio_cursor=12.0, offset=10.0)
    transcript.feed(result(1, 1.0, said("two", start=1)), offset=10.0)
    table = transcript.results
    assert table["finalization_delay"].iloc[1] == pytest.approx(1.0)
    assert table["finalization_delay"].isna().tolist() == [True, False, True]


def churn(*messages: Results, **circumstances: Any) -> list[float | None]:
    """The churn of each final; None where it is not known. Interims never have one."""
    table = fed(*messages, **circumstances).results
    assert table.loc[~table["is_final"], "churn"].isna().all()
    return [None if value != value else value for value in table.loc[table["is_final"], "churn"]]


def test_what_stays_as_it_was_shown_first_has_no_churn() -> None:
    hearings = [result(0, 2, said(*words), final=False) for words in ([], ["one"], ["one", "two"], ["one"])]
    # The last interim withdraws a word that the final has again; capitals and punctuation do not count.
    assert churn(*hearings[:3], result(0, 2, said("One,", "two."))) == [0.0]
    assert churn(*hearings, result(0, 2, said("One,", "two."))) == [0.5]


def test_each_rewriting_of_a_place_counts() -> None:
    hearings = (["won"], ["one", "too"], ["one", "to", "free"], ["one", "too", "three"])
    interims = [result(0, 4, said(*words), final=False) for words in hearings]
    # won-one, too-to, to-too, free-three; and at last too-two.
    assert churn(*interims, result(0, 4, said("one", "two", "three", "four"))) == [1.25]
    assert churn(*interims, result(0, 4, said("one", "too", "three", "four")), offset=7.5) == [1.0]


def test_churn_is_not_known_without_interims_and_without_words() -> None:
    assert churn(result(0, 2, said("one"))) == [None]
    assert churn(result(0, 2, said("uh"), final=False), result(0, 2)) == [None]
    assert churn(result(0, 1, said("a"), final=False), result(0, 1, said("a")), result(1, 1, said("b", start=1))) == [
        *(0.0, None)
    ]


def test_what_an_interim_says_beyond_the_final_is_counted_to_the_next_one() -> None:
    first = [
        result(0, 2, said("one", "too", "free"), final=False),
        result(0, 2, said("one", "too", "three"), final=False),
        result(0, 1, said("one", "two")),
    ]
    rest = result(1, 1, said("tree", start=1), final=False)
    assert churn(*first, rest, result(1, 1, said("tree", start=1))) == [0.5, 2.0]
    # What was heard beyond an interim that covers less is not withdrawn.
    assert churn(first[0], result(0, 1, said("one", "too"), final=False), result(0, 2, said("one", "too", "free"))) == [
        0.0
    ]


def test_a_word_that_the_final_takes_in_is_not_left_to_the_next_one() -> None:
    late = Word("too", 0.9, 1.5)
    assert churn(
        result(0, 2, [*said("one"), late], final=False),
        result(0, 1, [*said("one"), Word("two", 0.9, 1.0)]),
        result(1, 1, said("three", start=1.5), final=False),
        result(1, 1, said("three", start=1.5)),
    ) == [0.0, 0.0]


def test_channels_and_connections_have_their_own_churn() -> None:
    transcript = Transcript()
    transcript.feed(result(0, 1, said("a"), final=False, channel=0))
    transcript.feed(result(0, 1, said("b"), final=False, channel=1))
    transcript.feed(result(0, 1, said("c"), final=False, channel=1), connection=1)
    transcript.feed(result(0, 1, said("c"), channel=1), connection=1)
    transcript.feed(result(0, 1, said("a"), channel=0))
    assert transcript.results["churn"].tolist()[3:] == [0.0, 0.0]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_churn_is_the_rewritings_by_the_word(hearings: list[list[str]]) -> None:
    *before, last = hearings
    rewritten = sum(
        place >= len(later) or later[place] != word
        for earlier, later in itertools.pairwise(hearings)
        for place, word in enumerate(earlier)
    )
    messages = [*(result(0, 9, said(*words), final=False) for words in before), result(0, 9, said(*last))]
    assert churn(*messages) == [rewritten / len(last) if before and last else None]


def test_times_after_a_reconnect_are_those_of_the_source_in_every_table() -> None:
    transcript = Transcript()
    transcript.feed(result(0, 1, said("one")))
    transcript.feed(result(0, 1, said("two")), offset=1.0, connection=1)
    assert transcript.words["start"].tolist() == [0.0, 1.0]
    assert transcript.words["end"].tolist() == [0.4, 1.4]
    assert transcript.utterances[["start", "end"]].values.tolist() == [[0.0, 1.4]]
    assert [(line.first.start, line.text) for line in transcript.lines()] == [(0.0, "one two")]
    assert "00:00:01,400" in (transcript.to_srt() or "")
    assert transcript.results["end"].tolist() == [1.0, 2.0]


def test_an_utterance_after_a_reconnect_ends_at_an_utterance_end_that_speaks_of_it() -> None:
    for last_word_end, utterances in ((0.4, 1), (0.9, 2)):
        transcript = Transcript()
        transcript.feed(result(0, 1, said("one", "two")), offset=10.0)
        transcript.feed(UtteranceEnd((0, 1), last_word_end), offset=10.0)
        transcript.feed(result(1, 1, said("three", start=1)), offset=10.0)
        assert len(transcript.utterances) == utterances


def test_events_are_in_order_of_time_whoever_told_them() -> None:
    transcript = Transcript()
    transcript.note("closed", "the end", at=9)
    transcript.note("opened", "hello", at=1, request_id="r1")
    transcript.feed(Error(description="bad", request_id="r2"), at=5)
    transcript.feed(Warning(code="W"), at=6)
    transcript.feed(Metadata(duration=2.0, request_id="r3"), at=7)
    transcript.feed(Metadata(), at=7)
    transcript.feed(ConfigureSuccess(request_id="r4"), at=8)
    transcript.feed(ConfigureFailure(description="no"), at=8)
    transcript.feed(UnknownMessage(type="New", raw={"type": "New"}, problem="unknown"), at=8)
    transcript.feed(UnknownMessage(type="", raw={}), at=8)
    table = transcript.events
    assert table["type"].tolist() == [
        *("opened", "Error", "Warning", "Metadata", "Metadata"),
        *("ConfigureSuccess", "ConfigureFailure", "New", "unknown", "closed"),
    ]
    assert table["text"].tolist()[:4] == ["hello", "bad", "W", "2.0 s of audio received"]
    assert table["text"].tolist()[6] == "no"
    assert table["request_id"].tolist()[:4] == ["r1", "r2", pd.NA, "r3"]
    assert transcript.unknown == {"New": 1, "": 1}


def eventful() -> Transcript:
    transcript = Transcript()
    transcript.note("opened", "", at=1)
    transcript.feed(result(0, 2, said("one", "two", start=0.0)), at=2, audio_cursor=2.5)
    transcript.note("warning", "", at=3)
    transcript.note("title", "", at=4, start=2.75)
    transcript.cursor = 3.0
    transcript.note("reconnecting", "", at=5)
    transcript.feed(SpeechStarted((0, 1), 0.5), at=6, offset=3.0, audio_cursor=4.0)
    transcript.feed(UtteranceEnd((0, 1), 1.5), at=7, offset=3.0, audio_cursor=5.0)
    transcript.feed(Metadata(), at=8, offset=3.0, audio_cursor=6.0)
    transcript.feed(UnknownMessage(type="New", raw={"type": "New"}), at=9)
    transcript.note("closed", "", at=10)
    return transcript


def test_an_event_has_its_place_on_the_timeline_also_after_saving_and_loading(tmp_path: Path) -> None:
    transcript = eventful()
    transcript.save(tmp_path / "talk.jsonl")
    for events in (transcript.events, Transcript.load(tmp_path / "talk.jsonl").events):
        assert dict(zip(events["type"], events["start"].fillna(-1), strict=True)) == {
            **{"opened": 0.0, "warning": 2.5, "title": 2.75, "reconnecting": 3.0},
            **{"SpeechStarted": 3.5, "UtteranceEnd": 4.5, "Metadata": 6.0, "New": -1, "closed": 6.0},
        }


def test_pandas_joins_words_with_the_event_before_them() -> None:
    events = fed(result(0, 2, [Word("a", 0.5, 1.0), Word("b", 3.5, 4.0)]))
    events.note("title", "first", start=0.0)
    events.note("title", "second", start=3.0)
    joined = pd.merge_asof(events.words, events.events, on="start")
    assert joined[["word", "text"]].to_numpy().tolist() == [["a", "first"], ["b", "second"]]


def test_an_event_of_a_session_file_of_an_earlier_version_has_no_place(tmp_path: Path) -> None:
    (tmp_path / "talk.jsonl").write_text('{"dgnb":1,"lines":1}\n{"event":{"at":9,"type":"closed","text":"new"}}\n')
    (event,) = Transcript.load(tmp_path / "talk.jsonl").events.to_dict("records")
    assert (event["type"], math.isnan(event["start"])) == ("closed", True)


def test_the_repr_says_how_much_there_is() -> None:
    assert repr(Transcript()) == "<Transcript: 0 words in 0.0 s>"
    assert repr(fed(result(0, 3, said("one", "two")))) == "<Transcript: 2 words in 3.0 s>"


def test_messages_are_kept_in_order() -> None:
    messages = [result(0, 1, final=False), Metadata(), result(0, 1)]
    transcript = fed(*messages)
    assert transcript.messages == messages
    assert transcript.since(1) == messages[1:]


# Observers


def test_an_observer_is_told_after_the_transcript_knows() -> None:
    transcript, seen = Transcript(), []

    def observer(message: ServerMessage) -> None:
        seen.append((message, transcript.text))

    transcript.observe(observer)
    message = result(0, 1, said("one"))
    transcript.feed(message)
    transcript.unobserve(observer)
    transcript.unobserve(observer)
    transcript.feed(result(1, 1, said("two", start=1.0)))
    assert seen == [(message, "one")]


def test_an_observer_that_raises_is_told_once_and_taken_off(caplog: pytest.LogCaptureFixture) -> None:
    transcript, seen = Transcript(), []

    def bad(message: ServerMessage) -> None:
        raise RuntimeError("boom")

    transcript.observe(bad)
    transcript.observe(seen.append)
    for _ in range(3):
        transcript.feed(Metadata())
    assert len(seen) == 3
    assert transcript.events["type"].tolist().count("warning") == 1
    assert "raised RuntimeError" in " ".join(transcript.events["text"])
    assert len(caplog.records) == 1
    assert "boom" in caplog.text


# Captions and files


def test_captions_are_returned_or_written(tmp_path: Path) -> None:
    transcript = fed(result(0, 2, said("Hello", "there.")))
    srt = transcript.to_srt()
    assert srt == "1\n00:00:00,000 --> 00:00:00,900\nHello there.\n"
    assert transcript.to_srt(tmp_path / "a.srt") is None
    assert (tmp_path / "a.srt").read_text(encoding="utf-8") == srt
    assert transcript.to_webvtt(max_chars=5).count("-->") == 1
    assert Transcript().to_srt() == ""
    assert Transcript().to_webvtt() == "WEBVTT\n"


def everything() -> Transcript:
    transcript = Transcript()
    transcript.note("opened", "to somewhere", at=1, request_id="r")
    transcript.feed(result(0, 1, said("one"), final=False), at=2, audio_cursor=1.5)
    transcript.feed(result(0, 1, said("Öne 😀", speaker=2)), at=3, offset=10.0, audio_cursor=1.7, connection=1)
    transcript.feed(result(0, 1, said("Öne 😀", speaker=2)), at=4, offset=10.0, connection=1)
    transcript.feed(UtteranceEnd((0, 1), 0.4), at=5, offset=10.0)
    transcript.feed(parse('{"type": "Fancy", "big": 1e999, "n": 123456789012345678901234567890, "s": "\\ud800"}'), at=6)
    transcript.feed(parse('{"type":\n' + '{"a":' * 100_000 + "1" + "}" * 100_001), at=7)
    transcript.feed(Metadata(duration=1.0, request_id="r"), at=8)
    transcript.add_gap(3.0, 4.0, "because")
    return transcript


def test_a_saved_transcript_is_loaded_as_it_was(tmp_path: Path) -> None:
    transcript = everything()
    transcript.save(tmp_path / "talk.jsonl")
    loaded = Transcript.load(tmp_path / "talk.jsonl")
    for name in ("words", "utterances", "results", "events", "gaps"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(transcript, name))
    assert loaded.messages == transcript.messages
    assert loaded.text == transcript.text
    assert loaded.unknown == transcript.unknown
    loaded.save(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "talk.jsonl").read_bytes()


def test_a_saved_file_is_a_json_object_a_line(tmp_path: Path) -> None:
    everything().save(tmp_path / "talk.jsonl")
    lines = (tmp_path / "talk.jsonl").read_text(encoding="utf-8").split("\n")
    assert json.loads(lines[0]) == {"dgnb": 1, "lines": len(lines) - 2}
    assert lines[-1] == ""
    assert all(isinstance(json.loads(line), dict) for line in lines[:-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read as a session file"),
        ("hello\n", "can't be read as a session file"),
        ("[]\n", "can't be read as a session file"),
        ('{"dgnb": 2}\n', "saved by a newer dgnb"),
        ('{"dgnb": 1}\nnot json\n', "can't be read as a session file"),
        ('{"dgnb": 1}\n{"message": {}}\n', "can't be read as a session file"),
        ('{"dgnb": 1}\n{"at": "x", "message": {"type": "Metadata"}}\n', "can't be read as a session file"),
        ('{"dgnb": 1}\n{"at": 1, "message": 7}\n', "JSON that is not an object"),
        ('{"dgnb": 1}\n{"event": 7}\n', "can't be read as a session file"),
        ('{"dgnb": 1}\n{"gap": {"start": 1}}\n', "can't be read as a session file"),
    ],
)
def test_what_is_no_session_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DgnbError, match=message):
        Transcript.load(path)


class Malicious:
    """Whoever unpickles it deletes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.unlink, (str(self.path),)


def test_what_is_no_session_file_at_all_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "canary").touch()
    (tmp_path / "pickle").write_bytes(pickle.dumps(Malicious(tmp_path / "canary")))
    (tmp_path / "garbage").write_bytes(random.Random(7).randbytes(100_000))
    (tmp_path / "other").write_text('{"name": "somebody else\'s"}\n', encoding="utf-8")
    (tmp_path / "deep").write_text('{"dgnb":' + '{"a":' * 100_000, encoding="utf-8")
    paths: list[Any] = [*(tmp_path / name for name in ("pickle", "garbage", "other", "deep", "gone", "a\0b")), tmp_path]
    for path in [*paths, None, 0, 1.5, [], str]:
        with pytest.raises(DgnbError, match=r"can't be read as a session file: .* Is it one that save\(\)"):
            Transcript.load(path)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n", b"  \n"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_file_that_an_editor_saved_again_is_loaded(tmp_path: Path, start: bytes, end: bytes, line_end: bytes) -> None:
    transcript = fed(result(0, 1, said("one")), result(1, 1, said("two", start=1.0)))
    transcript.save(tmp_path / "talk.jsonl")
    saved = (tmp_path / "talk.jsonl").read_bytes()
    for content in (saved, saved.replace(saved.split(b"\n")[0], b'{"dgnb":1,"journal":true}')):
        (tmp_path / "again.jsonl").write_bytes(start + content.replace(b"\n", line_end) + end)
        assert Transcript.load(tmp_path / "again.jsonl").text == "one two"


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    everything().save(path)
    lines = path.read_bytes().splitlines(keepends=True)
    for broken in (b"{}}", b"\0\0\0", b'{"at":1,"message":[]}', b'{"at":1e99,"message":{}}'):
        path.write_bytes(b"".join([*lines[:4], broken + b"\n", *lines[5:]]))
        with pytest.raises(DgnbError, match="line 5: "):
            Transcript.load(path)


def test_a_gap_that_ends_before_it_starts_is_refused_in_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"dgnb": 1}\n{"gap": {"start": 2, "end": 1, "reason": ""}}\n', encoding="utf-8")
    with pytest.raises(DgnbError, match=r"not from 2\.0 to 1\.0 s"):
        Transcript.load(path)


def test_lines_of_a_later_kind_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"dgnb": 1}\n{"note": "later"}\n', encoding="utf-8")
    assert len(Transcript.load(path).messages) == 0


def test_a_path_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    transcript = Transcript()
    for write in (transcript.to_srt, transcript.to_webvtt, transcript.save):
        with pytest.raises(DgnbError, match=r"can't be written: .* Name a file in it\."):
            write(tmp_path)
    with pytest.raises(DgnbError, match=r"None can't be written: that is no path\."):
        transcript.save(None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_is_no_text_can_be_saved(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.note("error", "no file 'a\ud800'")
    transcript.add_gap(0.0, 1.0, "no file 'b\ud800'")
    transcript.feed(parse('{"c\ud800":' * 100_000 + "1" + "}" * 100_000))
    transcript.save(tmp_path / "a.jsonl")
    loaded = Transcript.load(tmp_path / "a.jsonl")
    assert loaded.events["text"][0] == "no file 'a?'"
    assert loaded.gaps["reason"][0] == "no file 'b?'"
    assert loaded.unknown == transcript.unknown == {"": 1}


def test_a_saved_file_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    transcript = fed(result(0, 1, said("Öne")), at=5)
    transcript.note("closed", "there")
    path = tmp_path / "a.jsonl"
    transcript.save(path)
    whole = path.read_bytes()
    for end in range(len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DgnbError):
            Transcript.load(path)


def test_a_file_that_was_cut_between_two_lines_is_refused(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.note("opened", "here")
    transcript.note("closed", "there")
    path = tmp_path / "a.jsonl"
    transcript.save(path)
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(DgnbError, match="cut short: it has 1 of its 2 lines"):
        Transcript.load(path)


# The cost of a final


def moment(number: int) -> float:
    """A time within the first second, another one for each number."""
    return number * 0.618 % 1


PATTERNS: dict[str, Callable[[int], Results]] = {
    "tiling": lambda n: result(n, 1, said(*(f"w{i}" for i in range(5)), start=n, each=0.2)),
    "in pairs that are swapped": lambda n: result(n ^ 1, 1, said("a", "b", start=n ^ 1, each=0.5)),
    "backwards": lambda n: result(9999 - n, 1, said("a", "b", start=9999 - n, each=0.5)),
    "all at the same time": lambda n: result(0, 1, said(f"a{n}", f"b{n}", start=0, each=0.5)),
    "the same again": lambda n: result(0, 1, said("a", "b", start=0, each=0.5)),
    "the same word at other times": lambda n: result(0, 1, said("a", start=moment(n), each=0.01)),
    "words without length": lambda n: result(0, 1, said("a", start=moment(n), each=0.0)),
    "that overlap": lambda n: result(n * 0.5, 1, said("a", "b", start=n * 0.5, each=0.5)),
    "with holes": lambda n: result(n * 2, 1, said("a", "b", start=n * 2, each=0.5)),
    "a channel each": lambda n: result(0, 1, said("a", start=0, each=1.0), channel=n),
    "of a thousand channels": lambda n: result(n // 1000, 1, said("a", start=n // 1000), channel=n % 1000),
    "corrections": lambda n: result(n // 50, 1, said(f"w{n}", start=n // 50)),
    "punctuation alone": lambda n: result(n, 1, said("a", start=n)) if n == 0 else result(n, 0, (), text=".!?"[n % 3]),
    "punctuation on another channel": lambda n: (
        result(n, 1, said("a", start=n), channel=1) if n % 2 else result(n, 0, (), text="a" if n == 0 else ".!?"[n % 3])
    ),
    "text without words": lambda n: result(n, 1, (), text="hello there"),
    "tiny ones": lambda n: result(n * 0.01, 0.01, said("a", start=n * 0.01, each=0.005)),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_final_costs_as_much_at_the_end_of_a_long_session_as_before(pattern: str) -> None:
    transcript, calls, length = Transcript(), 0, 2000

    def counted(frame: object, event: str, _: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    costs = []
    for number in range(length):
        message = PATTERNS[pattern](number)
        sys.setprofile(counted)
        try:
            transcript.feed(message, at=number, audio_cursor=float(number))
            transcript.lines(20)
        finally:
            sys.setprofile(None)
        costs.append(calls)
        calls = 0
    early, late = sum(costs[500:800]), sum(costs[-300:])
    assert late < 1.2 * early + 300
    # What others did is not told thousands of times, and no word grows.
    assert len(transcript.events) < 30
    assert transcript.words["punctuated_word"].str.len().max() < 12
    assert transcript._words.punctuated < 10

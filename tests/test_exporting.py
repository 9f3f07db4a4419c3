"""An independent reader of each format finds the same words at the same times."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
import pandas as pd
import pytest
from deepgram.types.listen_v1response import ListenV1Response
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from praatio import textgrid

from dgnb import exports, files
from dgnb.captions import plain
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.messages import (
    Alternative,
    Channel,
    Metadata,
    ModelInfo,
    Results,
    ResultsMetadata,
    ServerMessage,
    SpeechStarted,
    Word,
)
from dgnb.transcript import Transcript

MODEL = ModelInfo("general", "2026-01-01.0", "nova-3")


def final(words: Sequence[Word], *, channel: int = 0, channels: int = 1, start: float = 0.0) -> Results:
    shown = " ".join(word.punctuated_word or word.word for word in words)
    end = max([start, *(word.end for word in words if math.isfinite(word.end))])
    heard = Channel((Alternative(shown, 0.9, tuple(words)),))
    about = ResultsMetadata("r-1", "m-1", MODEL)
    return Results((channel, channels), end - start, start, heard, is_final=True, speech_final=True, metadata=about)


def fed(*messages: ServerMessage) -> Transcript:
    transcript = Transcript()
    for at, message in enumerate(messages, 1):
        transcript.feed(message, at=at * 1_000_000_007)
    return transcript


def two_people() -> Transcript:
    return fed(
        final([Word("hello", 0.5, 0.9, 0.9, "Hello,", 0, "en"), Word("you", 1.0, 1.3, 0.7, "you.", 0, "en")]),
        final([Word("hi", 2.0004, 2.4, 0.8, '"Hi!"', 1)], start=1.5),
        Metadata("r-1", 5.0, 1, "2026-11-01T12:00:00.000Z", "ab" * 32, None, ("m-1",), {"m-1": MODEL}),
    )


def odd() -> dict[str, Transcript]:
    """Transcripts with unusual content."""
    return {
        "empty": Transcript(),
        "without words": fed(SpeechStarted((0,), 1.0), final([])),
        "one word": fed(final([Word("a", 1.0, 2.0)])),
        "no speaker": fed(
            final([Word("a", 1.0, 2.0, 0.5, None, 0), Word("b", 2.0, 3.0), Word("c", 3.0, 4.0, speaker=1)])
        ),
        "two at once": fed(
            final([Word("a", 1.0, 5.0)], channels=2), final([Word("b", 2.0, 3.0)], channel=1, channels=2)
        ),
        "no length": fed(final([Word("a", 1.0, 1.0), Word("b", 1.0, 1.0), Word("c", 1.0, 1.0)])),
        "no text": fed(final([Word("", 1.0, 2.0), Word("\n", 2.0, 3.0)])),
        "backwards": fed(final([Word("a", 2.0, 1.0), Word("b", 1.0, 1.5)])),
    }


ODD = pytest.mark.parametrize("transcript", odd().values(), ids=odd())

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10) | st.sampled_from(
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "'",
        "''=1",
        "NA",
        "nan",
        "",
        "1",
        'say "a"',
        "a,b",
        "a\r\nb",
        "＝1",
    ]
)


@st.composite
def talks(draw: st.DrawFn) -> Transcript:
    """Transcripts that a recogniser may produce: consecutive words on each channel."""
    transcript = Transcript()
    channels = draw(st.integers(1, 2))
    at = [draw(st.floats(0, 400_000)) for _ in range(channels)]
    for _ in range(draw(st.integers(0, 6))):
        channel = draw(st.integers(0, channels - 1))
        start, words = at[channel], []
        for _ in range(draw(st.integers(0, 5))):
            length = draw(st.floats(0.002, 3))
            words.append(
                Word(
                    draw(texts),
                    at[channel],
                    at[channel] + length,
                    draw(st.none() | st.floats(0, 1)),
                    draw(st.none() | texts),
                    draw(st.none() | st.integers(0, 2)),
                    draw(st.none() | st.sampled_from(["en", "de"])),
                )
            )
            at[channel] += length + draw(st.floats(0, 3))
        message = final(words, channel=channel, channels=channels, start=start)
        transcript.feed(message, at=draw(st.integers(0, 2**61)), audio_cursor=draw(st.none() | st.floats(0, 1e6)))
    return transcript


def spoken(transcript: Transcript) -> list[tuple[float, float, str]]:
    """Start, end and text of each word that has text, as exports show it."""
    table = transcript.words
    texts = (plain(Word(text, 0.0, 0.0)) for text in table["punctuated_word"])
    return [word for word in zip(table["start"], table["end"], texts, strict=True) if word[2]]


# CSV


@given(transcript=talks())
@settings(max_examples=12, deadline=None)
def test_csv_has_every_row_of_every_table_for_an_independent_reader(transcript: Transcript) -> None:
    transcript.note("warning", "=1\r\n2", at=5)
    transcript.add_gap(1.0, 1 / 3 + 1, "-gone")
    for table in exports.TABLES:
        frame = getattr(transcript, table)
        rows = list(csv.DictReader(io.StringIO(str(transcript.to_csv(table=table, safe=False)), newline="")))
        assert [row["start"] for row in rows] == ["" if math.isnan(at) else repr(at) for at in frame["start"].tolist()]
        for name in frame.select_dtypes("string"):
            assert [row[name] for row in rows] == frame[name].fillna("").str.replace("\0", " ").tolist()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_text_in_a_csv_is_never_a_formula_and_numbers_stay_numbers(text: str) -> None:
    transcript = fed(final([Word(text, -0.5, -0.25, 0.5)], start=-1.0))
    (row,) = csv.DictReader(io.StringIO(transcript.to_csv(), newline=""))
    assert row["word"] == row["punctuated_word"] == "'" + text
    assert [row["start"], row["end"], row["confidence"]] == ["-0.5", "-0.25", "0.5"]
    (row,) = csv.DictReader(io.StringIO(transcript.to_csv(safe=False), newline=""))
    assert row["word"] == text


def test_a_csv_has_no_nul() -> None:
    for safe in (True, False):
        (row,) = csv.DictReader(io.StringIO(fed(final([Word("\0=1\0", 0.0, 1.0)])).to_csv(safe=safe), newline=""))
        assert row["word"] == row["punctuated_word"] == " =1 "


def test_a_header_of_a_csv_is_never_a_formula() -> None:
    frame = pd.DataFrame({"=a": pd.array(["x"], dtype="string"), "b": [-1]})
    assert exports.to_csv(frame) == "'=a,b\r\nx,-1\r\n"
    assert exports.to_csv(frame, safe=False) == "=a,b\r\nx,-1\r\n"
    assert frame.columns.tolist() == ["=a", "b"]


def test_a_safe_csv_has_a_byte_order_mark_that_pandas_accepts(tmp_path: Path) -> None:
    transcript = fed(final([Word("schön", 0.0, 1.0)]))
    assert transcript.to_csv(tmp_path / "a.csv") is None
    assert (tmp_path / "a.csv").read_bytes() == b"\xef\xbb\xbf" + str(transcript.to_csv()).encode()
    assert pd.read_csv(tmp_path / "a.csv")["word"].tolist() == ["schön"]
    transcript.to_csv(tmp_path / "a.csv", safe=False)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"word,")


def test_pandas_reads_every_word_of_a_csv_with_the_option_that_the_docs_name(tmp_path: Path) -> None:
    words = tuple(Word(word, float(i), i + 0.5) for i, word in enumerate(["null", "NA", "nan", "none"]))
    transcript = Transcript()
    heard = Channel((Alternative("null NA nan none", words=words),))
    transcript.feed(Results((0, 1), 4.0, 0.0, heard, is_final=True))
    transcript.to_csv(tmp_path / "words.csv")
    assert "keep_default_na=False" in str(Transcript.to_csv.__doc__)
    read = pd.read_csv(tmp_path / "words.csv", keep_default_na=False)
    assert read["word"].tolist() == ["null", "NA", "nan", "none"]


def sheets(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The cells of an Excel file, as another program reads them."""
    book = openpyxl.load_workbook(path)
    return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}


def test_every_table_is_a_sheet_of_an_excel_file_with_its_moments_in_utc(tmp_path: Path) -> None:
    transcript = Transcript()
    word = Word("=1+1", 0.5, 1.0, None, "=1+1\x01")
    heard = Channel((Alternative("=1+1\x01", words=(word,)),))
    transcript.feed(Results((0, 1), 2.0, 0.0, heard, is_final=True), at=1_700_000_000_000_000_000)
    transcript.note("opened", "-", at=1_700_000_000_000_000_000)
    transcript.add_gap(1.0, 2.0, "why")
    transcript.to_excel(tmp_path / "talk.xlsx")
    made = sheets(tmp_path / "talk.xlsx")
    assert list(made) == list(exports.TABLES)
    header, row = made["words"]
    assert list(header) == transcript.words.columns.tolist()
    cells = dict(zip(header, row, strict=True))
    assert cells["punctuated_word"] == "'=1+1 "
    assert cells["start"] == 0.5
    assert cells["received_at"] == datetime(2023, 11, 14, 22, 13, 20)
    event = dict(zip(*made["events"], strict=True))
    assert (event["at"], event["type"], event["text"]) == (datetime(2023, 11, 14, 22, 13, 20), "opened", "'-")
    assert [len(rows) for rows in made.values()] == [2, 2, 1, 2, 2, 2]
    Transcript().to_excel(tmp_path / "none.xlsx", "gaps")
    assert sheets(tmp_path / "none.xlsx") == {"gaps": [("start", "end", "missed", "reason")]}
    with pytest.raises(ConfigurationError, match="no table 'word'"):
        transcript.to_excel(tmp_path / "no.xlsx", "word")


def test_a_table_that_is_longer_than_a_sheet_is_an_error_that_names_another_export() -> None:
    with pytest.raises(DgnbError, match=r"does not fit .* Use to_csv"):
        exports.to_excel({"words": pd.DataFrame({"a": range(1_048_576)})})


def test_excel_without_openpyxl_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "openpyxl"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DgnbError, match="pip install openpyxl"):
        Transcript().to_excel(tmp_path / "talk.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_table_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    for export in (two_people().to_csv, two_people().to_parquet):
        with pytest.raises(ConfigurationError, match=r"no table 'word': words, .* Did you mean 'words'\?"):
            export(tmp_path / "a", "word")
    with pytest.raises(ConfigurationError, match="no table 'save'"):
        two_people().to_csv(tmp_path / "a", "save")
    assert list(tmp_path.iterdir()) == []


# Parquet


@given(transcript=talks())
@settings(max_examples=12, deadline=None)
def test_parquet_restores_every_table_with_its_dtypes(transcript: Transcript, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "a.parquet"
    transcript.note("error", "''", at=6, request_id="r")
    for table in exports.TABLES:
        transcript.to_parquet(path, table)
        assert_frame_equal(pd.read_parquet(path), getattr(transcript, table), check_exact=True)


@ODD
def test_parquet_restores_the_tables_of_odd_transcripts(transcript: Transcript, tmp_path: Path) -> None:
    for table in exports.TABLES:
        transcript.to_parquet(tmp_path / "a.parquet", table)
        assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), getattr(transcript, table))


def test_parquet_without_pyarrow_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = two_people()
    _ = words.words
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DgnbError, match=r"^Parquet needs pyarrow\. Install it: pip install 'dgnb\[export\]'$"):
        words.to_parquet(tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


# Praat


def read_textgrid(text: str | None, path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """The labelled intervals of each tier; all intervals together cover the time."""
    assert text is not None
    path.write_text(text, encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    found = {}
    for tier in grid.tiers:
        at = grid.minTimestamp
        assert at == 0
        for start, end, _ in tier.entries:
            assert start == at
            assert end > start
            at = end
        assert at == grid.maxTimestamp
        found[tier.name] = [(start, end, label) for start, end, label in tier.entries if label]
    return found


def test_a_textgrid_has_a_tier_of_words_and_one_of_utterances_for_each_speaker(tmp_path: Path) -> None:
    assert read_textgrid(two_people().to_textgrid(), tmp_path / "a") == {
        "Speaker 0: words": [(0.5, 0.9, "Hello,"), (1.0, 1.3, "you.")],
        "Speaker 0: utterances": [(0.5, 1.3, "Hello, you.")],
        "Speaker 1: words": [(2.0, 2.4, '"Hi!"')],
        "Speaker 1: utterances": [(2.0, 2.4, '"Hi!"')],
    }
    assert 'text = """Hi!"""' in str(two_people().to_textgrid())
    assert "xmax = 5.0" in str(two_people().to_textgrid())


def test_a_textgrid_of_one_speaker_has_no_names(tmp_path: Path) -> None:
    assert read_textgrid(odd()["one word"].to_textgrid(), tmp_path / "a") == {
        "words": [(1.0, 2.0, "a")],
        "utterances": [(1.0, 2.0, "a")],
    }


@ODD
def test_a_textgrid_of_an_odd_transcript_is_valid(transcript: Transcript, tmp_path: Path) -> None:
    tiers = read_textgrid(transcript.to_textgrid(), tmp_path / "a")
    shown = sorted(label for name, tier in tiers.items() if name.endswith("words") for *_, label in tier)
    assert shown == sorted(text for *_, text in spoken(transcript))


def test_a_textgrid_has_separate_tiers_for_channels(tmp_path: Path) -> None:
    assert read_textgrid(odd()["two at once"].to_textgrid(), tmp_path / "a") == {
        "Channel 0: words": [(1.0, 5.0, "a")],
        "Channel 0: utterances": [(1.0, 5.0, "a")],
        "Channel 1: words": [(2.0, 3.0, "b")],
        "Channel 1: utterances": [(2.0, 3.0, "b")],
    }


def test_overlaps_within_a_tier_end_where_the_next_interval_begins(tmp_path: Path) -> None:
    transcript = fed(final([Word("a", 1.0, 3.0), Word("b", 2.0, 4.0), Word("c", 2.0, 2.0), Word("d", 2.0, 5.0)]))
    assert read_textgrid(transcript.to_textgrid(), tmp_path / "a")["words"] == [
        (1.0, 2.0, "a"),
        (2.0, 2.001, "b"),
        (2.001, 2.002, "c"),
        (2.002, 5.0, "d"),
    ]


@given(transcript=talks())
@settings(max_examples=60, deadline=None)
def test_a_textgrid_has_the_times_of_its_words(transcript: Transcript, tmp_path_factory: Any) -> None:
    tiers = read_textgrid(str(transcript.to_textgrid()), tmp_path_factory.getbasetemp() / "a.TextGrid")
    read = sorted(
        (start, end, label) for name, tier in tiers.items() if name.endswith("words") for start, end, label in tier
    )
    said = sorted((round(start, 3), round(end, 3), text) for start, end, text in spoken(transcript))
    assert sorted(label for *_, label in read) == sorted(label for *_, label in said)
    by_start = {(round(start * 1000), label): end for start, end, label in read}
    for start, end, label in said:
        near = [by_start[key] for shift in (-1, 0, 1) if (key := (round(start * 1000) + shift, label)) in by_start]
        assert any(abs(found - end) <= 0.0011 for found in near)


# RTTM


class Turn(NamedTuple):
    channel: int
    start: float
    duration: float
    name: str


def read_rttm(text: str | None, file_id: str = "audio") -> list[Turn]:
    assert text is not None
    turns = []
    for line in text.splitlines():
        kind, file, channel, start, duration, *empty, name, confidence, lookahead = line.split(" ")
        assert (kind, file, empty, confidence, lookahead) == ("SPEAKER", file_id, ["<NA>", "<NA>"], "<NA>", "<NA>")
        turns.append(Turn(int(channel), float(start), float(duration), name))
        assert turns[-1].duration > 0
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    return turns


def test_rttm_has_a_line_for_each_turn() -> None:
    assert read_rttm(two_people().to_rttm(file_id="talk"), "talk") == [
        Turn(1, 0.5, 0.8, "speaker_0"),
        Turn(1, 2.0, 0.4, "speaker_1"),
    ]
    assert Transcript().to_rttm() == ""


def test_rttm_names_channels_where_there_are_several() -> None:
    assert [turn.name for turn in read_rttm(odd()["two at once"].to_rttm())] == ["channel_0", "channel_1"]
    assert [turn.channel for turn in read_rttm(odd()["two at once"].to_rttm())] == [1, 2]
    assert [turn.name for turn in read_rttm(odd()["no speaker"].to_rttm())] == ["speaker_0", "unknown", "speaker_1"]
    both = fed(final([Word("a", 1.0, 2.0, speaker=0)], channels=2), final([Word("b", 1.0, 2.0, speaker=0)], channel=1))
    assert [turn.name for turn in read_rttm(both.to_rttm())] == ["channel_0_speaker_0", "channel_1_speaker_0"]


@pytest.mark.parametrize("file_id", ["", "a b", "a\n", " a", None])
def test_rttm_needs_a_name_without_spaces(file_id: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^file_id must be a name without spaces, not .*\.$"):
        two_people().to_rttm(file_id=file_id)


@ODD
def test_rttm_of_an_odd_transcript_is_valid(transcript: Transcript) -> None:
    assert len(read_rttm(transcript.to_rttm())) == len(transcript.utterances)


@given(transcript=talks())
@settings(max_examples=60, deadline=None)
def test_rttm_has_the_times_of_the_utterances(transcript: Transcript) -> None:
    read = read_rttm(transcript.to_rttm())
    table = transcript.utterances
    said = sorted(zip(table["start"], table["channel"], table["end"], strict=True))
    # Two turns that start within a millisecond may be in either order.
    for turn in read:
        assert any(
            abs(turn.start - start) < 0.00101
            and abs(turn.start + turn.duration - end) < 0.00151
            and turn.channel == channel + 1
            for start, channel, end in said
        )
    assert len(read) == len(said)


# Deepgram's pre-recorded JSON


def read_answer(text: str | None) -> ListenV1Response:
    """The response as the official SDK reads it, but validated: the SDK accepts anything."""
    assert text is not None
    return ListenV1Response.model_validate(json.loads(text, parse_constant=lambda name: pytest.fail(name)))


def test_the_response_has_metadata_channels_and_utterances() -> None:
    answer = json.loads(str(two_people().to_deepgram_json()))
    said = [
        {
            "word": "hello",
            "start": 0.5,
            "end": 0.9,
            "confidence": 0.9,
            "punctuated_word": "Hello,",
            "speaker": 0,
            "language": "en",
        },
        {
            "word": "you",
            "start": 1.0,
            "end": 1.3,
            "confidence": 0.7,
            "punctuated_word": "you.",
            "speaker": 0,
            "language": "en",
        },
        {"word": "hi", "start": 2.0004, "end": 2.4, "confidence": 0.8, "punctuated_word": '"Hi!"', "speaker": 1},
    ]
    assert answer["metadata"] == {
        "transaction_key": "deprecated",
        "request_id": "r-1",
        "sha256": "ab" * 32,
        "created": "2026-11-01T12:00:00.000Z",
        "duration": 5.0,
        "channels": 1,
        "models": ["m-1"],
        "model_info": {"m-1": {"name": "general", "version": "2026-01-01.0", "arch": "nova-3"}},
    }
    alternative = answer["results"]["channels"][0]["alternatives"][0]
    assert alternative == {"transcript": 'Hello, you. "Hi!"', "confidence": pytest.approx(0.8), "words": said}
    first, second = answer["results"]["utterances"]
    assert first.pop("id") != second.pop("id")
    assert first == {
        "start": 0.5,
        "end": 1.3,
        "confidence": pytest.approx(0.8),
        "channel": 0,
        "transcript": "Hello, you.",
        "words": said[:2],
        "speaker": 0,
    }
    assert (second["speaker"], second["words"]) == (1, said[2:])


@ODD
def test_the_sdk_reads_the_response_of_an_odd_transcript(transcript: Transcript) -> None:
    answer = read_answer(transcript.to_deepgram_json())
    assert answer.results.utterances is not None
    assert len(answer.results.utterances) == len(transcript.utterances)
    assert answer.metadata.channels == len(answer.results.channels) >= 1


def test_a_stream_without_metadata_has_the_time_of_its_first_message() -> None:
    metadata = read_answer(odd()["two at once"].to_deepgram_json()).metadata
    assert (metadata.request_id, metadata.sha256, metadata.duration) == ("", "", 5.0)
    assert metadata.created.isoformat() == "1970-01-01T00:00:01+00:00"


def test_a_silent_channel_is_in_the_response() -> None:
    transcript = fed(final([Word("a", 1.0, 2.0)], channels=2), Metadata(channels=2))
    answer = json.loads(str(transcript.to_deepgram_json()))
    assert [heard["alternatives"][0]["transcript"] for heard in answer["results"]["channels"]] == ["a", ""]
    assert answer["metadata"]["channels"] == 2


def test_a_missing_confidence_is_left_out() -> None:
    answer = json.loads(str(fed(final([Word("a", 1.0, 2.0), Word("b", 2.0, 3.0, 0.5)])).to_deepgram_json()))
    alternative = answer["results"]["channels"][0]["alternatives"][0]
    assert ["confidence" in word for word in alternative["words"]] == [False, True]
    assert alternative["confidence"] == 0.5
    answer = json.loads(str(odd()["one word"].to_deepgram_json()))
    assert "confidence" not in answer["results"]["channels"][0]["alternatives"][0]


@pytest.mark.parametrize("channel", [-1, 2**53])
def test_an_impossible_channel_costs_no_words(channel: int) -> None:
    transcript = fed(final([Word("a", 1.0, 2.0)], channel=channel, channels=2**53), Metadata(channels=2**53))
    results = json.loads(str(transcript.to_deepgram_json()))["results"]
    assert results["utterances"][0]["channel"] == channel
    assert [heard["alternatives"][0]["transcript"] for heard in results["channels"]].count("a") == 1


@given(transcript=talks())
@settings(max_examples=60, deadline=None)
def test_the_sdk_reads_every_word_with_its_times(transcript: Transcript) -> None:
    answer = read_answer(transcript.to_deepgram_json())
    table = transcript.words
    said = sorted(zip(table["channel"], table["start"], table["end"], table["word"], strict=True))
    read = [
        (channel, word.start, word.end, word.word)
        for channel, heard in enumerate(answer.results.channels)
        for word in (heard.alternatives or [])[0].words or []
    ]
    assert sorted(read) == said
    assert answer.results.utterances is not None
    by_utterance = [
        (turn.channel, word.start, word.end, word.word)
        for turn in answer.results.utterances
        for word in turn.words or []
    ]
    assert sorted(by_utterance) == said


# Writing

WRITERS: dict[str, Callable[[Transcript], Callable[[Any], object]]] = {
    "srt": lambda transcript: transcript.to_srt,
    "webvtt": lambda transcript: transcript.to_webvtt,
    "csv": lambda transcript: transcript.to_csv,
    "parquet": lambda transcript: transcript.to_parquet,
    "textgrid": lambda transcript: transcript.to_textgrid,
    "rttm": lambda transcript: transcript.to_rttm,
    "deepgram json": lambda transcript: transcript.to_deepgram_json,
}
WRITER = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


@WRITER
def test_a_file_is_written_completely_or_stays_as_it_was(
    writer: Callable[[Transcript], Callable[[Any], object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "a", writer(two_people())
    assert write(path) is None
    before = path.read_bytes()
    assert before

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DgnbError, match=r"can't be written: No space left on device\. Make room there"):
        writer(Transcript())(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@WRITER
@pytest.mark.parametrize("path", ["a\0b", 3.5, "missing/folder/a", "."])
def test_a_path_that_cannot_be_written_is_a_clear_error(
    writer: Callable[[Transcript], Callable[[Any], object]], path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DgnbError, match=r"can't be written: "):
        writer(two_people())(path)
    assert list(tmp_path.iterdir()) == []


@WRITER
def test_an_export_does_not_change_the_transcript(
    writer: Callable[[Transcript], Callable[[Any], object]], tmp_path: Path
) -> None:
    transcript = two_people()
    before = transcript.words
    writer(transcript)(tmp_path / "a")
    first = (tmp_path / "a").read_bytes()
    writer(transcript)(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == first
    assert_frame_equal(transcript.words, before)

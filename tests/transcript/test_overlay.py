"""What a person changes of a transcript is in every table, picture and export, and in session files."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dgnb
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.messages import Word
from dgnb.plots import style
from dgnb.transcript import Transcript
from dgnb.transcript.journal import Journal
from tests.transcript.test_transcript import fed, result, said


def talk() -> Transcript:
    """Speaker 0, then 1, then nobody known, in finals of their own."""
    first, second = said("Good", "morning.", speaker=0), said("Hello", "you.", start=2.0, speaker=1)
    return fed(result(0, 2, first), result(2, 2, second), result(4, 2, said("Well.", start=4.0)))


def named() -> Transcript:
    transcript = talk()
    transcript.speakers = {0: "Ada", 1: "Grace Hopper"}
    return transcript


def test_names_are_a_column_of_words_and_utterances_while_there_are_names() -> None:
    transcript = talk()
    assert transcript.speakers == {}
    before = transcript.words, transcript.utterances
    assert "speaker_name" not in before[0]
    assert "speaker_name" not in before[1]
    transcript.speakers = {0: "Ada"}
    transcript.speakers[1] = "Grace"
    transcript.speakers[7] = "Nobody yet"
    words = transcript.words
    assert words["speaker_name"].tolist() == ["Ada", "Ada", "Grace", "Grace", pd.NA]
    assert words.columns.get_loc("speaker_name") == words.columns.get_loc("speaker") + 1
    assert transcript.utterances["speaker_name"].tolist() == ["Ada", "Grace", pd.NA]
    assert transcript.resample(by="speaker_name")["words"].loc[0.0].to_dict() == {"Ada": 2, "Grace": 2, "unknown": 1}
    transcript.speakers[1] = "Rear Admiral Hopper"
    assert transcript.words["speaker_name"][2] == "Rear Admiral Hopper"
    assert transcript.speakers == {0: "Ada", 1: "Rear Admiral Hopper", 7: "Nobody yet"}
    assert repr(transcript.speakers) == "{0: 'Ada', 1: 'Rear Admiral Hopper', 7: 'Nobody yet'}"
    del transcript.speakers[1], transcript.speakers[7]
    assert transcript.words["speaker_name"].isna().sum() == 3
    transcript.speakers = {}
    pd.testing.assert_frame_equal(transcript.words, before[0])
    pd.testing.assert_frame_equal(transcript.utterances, before[1])
    with pytest.raises(KeyError):
        del transcript.speakers[0]


def test_a_name_that_was_given_before_somebody_spoke_is_on_the_words_that_come() -> None:
    transcript = Transcript()
    transcript.speakers = {1: "Grace"}
    assert transcript.words["speaker_name"].tolist() == []
    transcript.feed(result(0, 2, said("Hello", speaker=1)))
    assert transcript.words["speaker_name"].tolist() == ["Grace"]


def test_names_are_in_every_export_and_on_the_card() -> None:
    transcript = named()
    assert "Ada: Good morning." in str(transcript.to_srt())
    assert "<v Grace Hopper>Hello you." in str(transcript.to_webvtt())
    assert "Ada" not in str(transcript.to_srt(speakers=False))
    voices = [line.split()[7] for line in str(transcript.to_rttm()).splitlines()]
    assert voices == ["Ada", "Grace_Hopper", "unknown"]
    assert 'name = "Grace Hopper: words"' in str(transcript.to_textgrid())
    assert "speaker Ada: share of words" in transcript.summary().index
    assert ">Ada<" in transcript._repr_html_()
    assert style.voices(transcript.words)[1] == ["Ada", "Grace Hopper", "no speaker"]
    utterances = json.loads(str(transcript.to_deepgram_json()))["results"]["utterances"]
    assert [said.get("speaker") for said in utterances] == [0, 1, None]


def test_a_name_is_told_where_there_is_one_speaker_only() -> None:
    transcript = fed(result(0, 2, said("Good", "morning.", speaker=0)))
    assert "Speaker" not in str(transcript.to_srt())
    transcript.speakers = {0: "Ada"}
    assert "Ada: Good morning." in str(transcript.to_srt())


def test_names_are_kept_in_session_files_and_journals_and_the_newest_wins(tmp_path: Path) -> None:
    transcript = talk()
    journal = Journal(tmp_path / "journal.jsonl", transcript)
    journal.write(journal.take())
    for names in ({0: "Eve", 1: "Grace"}, {0: "Ada"}):
        transcript.speakers = names
        journal.write(journal.take())
    journal.write(journal.take(), last=True)
    transcript.save(tmp_path / "saved.jsonl")
    for name in ("journal.jsonl", "saved.jsonl"):
        loaded = Transcript.load(tmp_path / name)
        assert loaded.speakers == {0: "Ada"}
        pd.testing.assert_frame_equal(loaded.words, transcript.words)
        loaded.save(tmp_path / "again.jsonl")
        assert Transcript.load(tmp_path / "again.jsonl").speakers == {0: "Ada"}


@pytest.mark.parametrize("name", ["", "  ", "\n", None, 7, b"Ada", ["Ada"], "a" * 101])
def test_what_is_no_name_is_an_error_and_changes_nothing(name: Any) -> None:
    transcript = named()
    with pytest.raises(ConfigurationError, match="text of 1 to 100 characters"):
        transcript.speakers = {0: "Eve", 1: name}
    with pytest.raises(ConfigurationError, match="text of 1 to 100 characters"):
        transcript.speakers[1] = name
    assert transcript.speakers == {0: "Ada", 1: "Grace Hopper"}


@pytest.mark.parametrize("speaker", [-1, 0.5, "Ada", None, True, math.nan])
def test_what_is_no_speaker_is_an_error_and_changes_nothing(speaker: Any) -> None:
    transcript = named()
    with pytest.raises(ConfigurationError, match="A speaker is a whole number"):
        transcript.speakers = {0: "Eve", speaker: "Mallory"}
    with pytest.raises(ConfigurationError, match="A speaker is a whole number"):
        transcript.speakers[speaker] = "Mallory"
    assert transcript.speakers == {0: "Ada", 1: "Grace Hopper"}


@pytest.mark.parametrize("names", [None, "Ada", ["Ada"], 3])
def test_what_are_no_names_is_an_error_that_shows_some(names: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"such as \{0: 'Ada'\}"):
        talk().speakers = names


def test_numbers_of_a_table_are_speakers() -> None:
    transcript = talk()
    for speaker in transcript.words["speaker"].dropna().unique():
        transcript.speakers[speaker] = f"Person {speaker}"
    assert transcript.speakers == {0: "Person 0", 1: "Person 1"}


HOSTILE = [
    "<script>alert(1)</script>",
    "a --> b",
    "{\\an8}",
    '"]',
    "=cmd()",
    "$\\frac{",
    "_x",
    "a\nb\r\u2028c\x00",
    "李 " * 30,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_wherever_it_goes(name: str, tmp_path: Path) -> None:
    transcript = named()
    transcript.speakers[0] = name
    assert len(transcript.speakers[0].splitlines()) == 1
    srt = str(transcript.to_srt())
    assert srt.count("-->") == len(srt.split("\n\n")) == 3
    assert "{\\an8}" not in srt
    assert "<script>" not in srt + str(transcript.to_webvtt()) + transcript._repr_html_()
    assert all(len(line.split()) == 10 for line in str(transcript.to_rttm()).splitlines())
    assert f'"{transcript.speakers[0].replace(chr(34), chr(34) * 2)}: words"' in str(transcript.to_textgrid())
    transcript.to_csv(tmp_path / "words.csv")
    assert ",=cmd" not in (tmp_path / "words.csv").read_text(encoding="utf-8")
    dgnb.plots.overview(transcript).draw_without_rendering()
    dgnb.plots.timeline(transcript).figure.draw_without_rendering()
    transcript.save(tmp_path / "talk.jsonl")
    assert Transcript.load(tmp_path / "talk.jsonl").speakers == transcript.speakers


@pytest.mark.parametrize(
    "edit", ['{"speaker":0,"name":""}', '{"speaker":-1,"name":"Ada"}', '{"speaker":0,"name":[]}', "1"]
)
def test_a_session_file_with_a_wrong_name_is_a_clear_error(edit: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(f'{{"dgnb":1,"lines":1}}\n{{"edit":{edit}}}\n')
    with pytest.raises(DgnbError, match="can't be read as a session file"):
        Transcript.load(path)


def test_what_a_person_changed_is_among_the_items_that_make_an_equal_transcript() -> None:
    transcript, again = named(), Transcript()
    for item in transcript.items():
        again.restore(item)
    assert again.speakers == transcript.speakers
    pd.testing.assert_frame_equal(again.words, transcript.words)


# Speakers that are one


def test_a_speaker_is_merged_into_another_one_everywhere_and_taken_back(tmp_path: Path) -> None:
    transcript = named()
    before = transcript.words, transcript.utterances, transcript.to_rttm()
    messages = transcript.messages
    for _ in range(2):
        transcript.merge_speakers(1, into=0)
        assert transcript.words["speaker"].tolist() == [0, 0, 0, 0, pd.NA]
        assert transcript.words["speaker_name"].tolist() == ["Ada"] * 4 + [pd.NA]
        assert transcript.utterances["speaker"].tolist() == [0, 0, pd.NA]
        assert "Grace" not in f"{transcript.to_rttm()}{transcript.to_srt()}{transcript.to_textgrid()}"
        assert transcript.summary().loc["speakers", "value"] == 1
        assert "<b>1</b> speaker<" in transcript._repr_html_()
        assert '"speaker":1' not in str(transcript.to_deepgram_json())
        assert [line.first.speaker for line in transcript.lines()] == [0, 0, None]
    assert transcript.messages == messages
    transcript.save(tmp_path / "talk.jsonl")
    pd.testing.assert_frame_equal(Transcript.load(tmp_path / "talk.jsonl").words, transcript.words)
    transcript.merge_speakers(1, into=1)
    pd.testing.assert_frame_equal(transcript.words, before[0])
    pd.testing.assert_frame_equal(transcript.utterances, before[1])
    assert transcript.to_rttm() == before[2]


def test_merges_follow_each_other_and_never_go_in_a_circle() -> None:
    transcript = talk()
    transcript.merge_speakers(0, into=1)
    transcript.merge_speakers(1, into=2)
    assert transcript.words["speaker"].dropna().unique().tolist() == [2]
    for speaker, into in ((2, 0), (1, 0), (2, 1)):
        with pytest.raises(ConfigurationError, match="is merged into"):
            transcript.merge_speakers(speaker, into=into)
    transcript.merge_speakers(1, into=1)
    assert transcript.words["speaker"].dropna().unique().tolist() == [1]


@pytest.mark.parametrize("numbers", [(-1, 0), (0, -1), ("Ada", 0), (0, None), (0.5, 1)])
def test_a_merge_of_what_is_no_speaker_is_an_error(numbers: Any) -> None:
    with pytest.raises(ConfigurationError, match="A speaker is a whole number"):
        talk().merge_speakers(numbers[0], into=numbers[1])


# Corrections


def shown(transcript: Transcript) -> list[tuple[int, str, float, float]]:
    words = transcript.words
    times = (words[name].round(3) for name in ("start", "end"))
    return list(zip(words.index, words["punctuated_word"], *times, strict=True))


def test_a_corrected_word_keeps_its_time_and_has_no_confidence() -> None:
    transcript = named()
    plain = transcript.words
    transcript.correct(1, "evening!")
    words = transcript.words
    assert words.loc[1, ["word", "punctuated_word"]].tolist() == ["evening", "evening!"]
    kept = ["start", "end", "speaker", "speaker_name", "channel", "utterance", "received_at"]
    pd.testing.assert_frame_equal(words[kept], plain[kept])
    assert words["corrected"].tolist() == [False, True, False, False, False]
    assert words["confidence"].isna().tolist() == [False, True, False, False, False]
    assert "estimated" not in words
    assert transcript.text == "Good evening! Hello you. Well."
    assert transcript.utterances["transcript"].tolist() == ["Good evening!", "Hello you.", "Well."]
    for export in (transcript.to_srt, transcript.to_webvtt, transcript.to_textgrid, transcript.to_deepgram_json):
        assert "evening!" in str(export())
        assert "morning" not in str(export())
    assert "Good evening!" in transcript._repr_html_()
    assert transcript.doubtful(below=1.0)["text"].tolist() == ["Good", "Hello you.", "Well."]
    assert transcript.find("good evening")["first"].tolist() == [0]
    transcript.correct(1, None)
    pd.testing.assert_frame_equal(transcript.words, plain)
    assert transcript.text == "Good morning. Hello you. Well."


def test_several_words_or_one_or_none_share_the_time_of_a_stretch() -> None:
    transcript = fed(result(0, 4, said("a", "b", "c", "d", speaker=1)))
    transcript.correct(1, "bb cc")
    assert shown(transcript) == [
        (0, "a", 0, 0.4),
        (1, "bb", 0.5, 0.7),
        (1, "cc", 0.7, 0.9),
        (2, "c", 1, 1.4),
        (3, "d", 1.5, 1.9),
    ]
    assert transcript.words["estimated"].tolist() == [False, True, True, False, False]
    transcript.correct((1, 2), "x")
    assert shown(transcript) == [(0, "a", 0, 0.4), (1, "x", 0.5, 1.4), (3, "d", 1.5, 1.9)]
    transcript.correct((2, 3), "")
    # What is corrected already is one place.
    assert shown(transcript) == [(0, "a", 0, 0.4)]
    assert transcript.words["speaker"].tolist() == [1]
    transcript.correct(2, None)
    assert [word for _, word, _, _ in shown(transcript)] == ["a", "b", "c", "d"]
    transcript.correct((1, 3), "B C D")
    transcript.correct(2, "Z")
    assert shown(transcript) == [(0, "a", 0, 0.4), (1, "B", 0.5, 0.9), (2, "Z", 1, 1.4), (3, "D", 1.5, 1.9)]


def test_an_utterance_without_words_keeps_its_row() -> None:
    transcript = talk()
    transcript.correct((2, 3), "")
    assert transcript.utterances["words"].tolist() == [2, 0, 1]
    assert transcript.words["utterance"].tolist() == [0, 0, 2]
    assert transcript.utterances["transcript"].tolist() == ["Good morning.", "", "Well."]
    for export in (transcript.to_srt, transcript.to_rttm, transcript.to_textgrid, transcript.to_deepgram_json):
        assert export()
    transcript.correct((0, 4), "")
    assert transcript.text == ""
    assert transcript.words.empty
    assert transcript.to_srt() == ""
    assert transcript.summary().loc["words", "value"] == 0


def test_rows_of_any_table_name_their_words_also_after_corrections_that_change_how_many_there_are() -> None:
    transcript = fed(result(0, 8, said("the", "quick", "brwn", "fox", "jumps", "over", "teh", "dog")))
    brown, the = transcript.find("brwn").iloc[0], transcript.find("teh dog").iloc[0]
    row = transcript.words.iloc[1]
    transcript.correct(0, "all of the")
    transcript.correct(brown, "brown")
    transcript.correct(the, "the lazy dog")
    transcript.correct(row, "quickest")
    assert transcript.text == "all of the quickest brown fox jumps over the lazy dog"
    transcript.correct(transcript.find("lazy").iloc[0], "the dog")
    *_, first = transcript.words.query("punctuated_word == 'fox'").itertuples()
    transcript.correct(first, "cat")
    assert transcript.text == "all of the quickest brown cat jumps over the dog"
    transcript.correct(transcript.utterances.iloc[0], "Gone.")
    assert transcript.text == "Gone."
    transcript.correct(transcript.words.iloc[[0]], None)
    assert transcript.text == "the quick brwn fox jumps over teh dog"


def test_a_stretch_is_of_one_channel() -> None:
    left, right = said("good", "mornin", "all"), said("hello", "hello", "hello")
    transcript = fed(result(0, 1, left[:2]), result(0, 2, right, channel=1), result(1, 1, left[2:]))
    transcript.correct(transcript.find("good mornin all").iloc[0], "Good morning")
    transcript.correct((2, 4), "Hi")
    assert transcript.utterances["transcript"].tolist() == ["Good morning", "Hi"]


def test_words_of_a_stretch_that_crosses_utterances_are_in_the_first() -> None:
    transcript = talk()
    transcript.correct((1, 2), "evening")
    assert transcript.utterances["transcript"].tolist() == ["Good evening", "you.", "Well."]
    assert transcript.words.loc[1, "end"] == talk().words.loc[2, "end"]


@pytest.mark.parametrize(
    "row", [5, -1, "x", None, 1.5, (0, 9), (3, 1), (1, 2, 3), [0, 1], {}, {"start": 9.0, "end": 9.5}, math.nan]
)
def test_words_that_do_not_exist_are_one_clear_error(row: Any) -> None:
    transcript = talk()
    with pytest.raises(ConfigurationError, match=r"There are no such words here: .*a label of words"):
        transcript.correct(row, "x")
    assert "corrected" not in transcript.words
    assert transcript.revision == 0


@pytest.mark.parametrize("row", ["pauses", "words"])
def test_a_row_without_words_and_several_rows_are_errors(row: str) -> None:
    transcript = talk()
    wrong = transcript.words if row == "words" else transcript.pauses(0.05).iloc[0]
    with pytest.raises(ConfigurationError, match="There are no such words here"):
        transcript.correct(wrong, "x")


@pytest.mark.parametrize("text", [3, b"x", ["x"], math.nan])
def test_what_is_no_text_is_an_error(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="text is what was said"):
        talk().correct(0, text)


def test_corrected_text_is_text_wherever_it_goes(tmp_path: Path) -> None:
    transcript = named()
    transcript.correct(0, "<script>\n\n=1 --> \x00\ud800 {\\an8}")
    srt = str(transcript.to_srt())
    assert srt.count("-->") == len(srt.split("\n\n"))
    assert "<script>" not in srt + str(transcript.to_webvtt()) + transcript._repr_html_()
    assert "\n=1" not in str(transcript.to_csv())
    dgnb.plots.timeline(transcript).figure.draw_without_rendering()
    transcript.save(tmp_path / "talk.jsonl")
    assert Transcript.load(tmp_path / "talk.jsonl").text == transcript.text


@pytest.mark.parametrize("seed", range(20))
def test_tables_that_are_read_and_corrected_while_they_grow_equal_those_of_the_file(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    transcript = Transcript()
    journal = Journal(tmp_path / "journal.jsonl", transcript)
    recognised: list[tuple[str, float]] = []
    for at in range(40):
        channel = chance.randrange(2)
        words = said(
            *chance.choices(["One", "two,", "three."], k=chance.randrange(5)),
            start=4.0 * at,
            speaker=chance.randrange(3),
        )
        transcript.feed(result(4.0 * at, 3, words, channel=channel, speech_final=chance.random() < 0.5), at=at)
        recognised += [(word.word, word.start) for word in words]
        if words and chance.random() < 0.3:
            transcript.feed(result(4.0 * at + 3, 0, text=".", channel=channel), at=at)
        if chance.random() < 0.5 and recognised:
            first = chance.randrange(len(recognised))
            last = min(len(recognised) - 1, first + chance.randrange(3))
            transcript.correct((first, last), chance.choice(["", "new", "two new", "as many as", None]))
        if chance.random() < 0.2:
            transcript.merge_speakers(2, into=chance.choice([0, 2]))
        if chance.random() < 0.3:
            table, places = transcript.words, transcript.words.index
            assert places.is_monotonic_increasing
            assert len(table) == transcript.utterances["words"].sum()
            same = ~table["corrected"] if "corrected" in table else table["start"] >= 0
            assert [recognised[place] for place in places[same]] == list(
                zip(table["word"][same], table["start"][same], strict=True)
            )
        if chance.random() < 0.3:
            journal.write(journal.take())
    journal.write(journal.take(), last=True)
    transcript.save(tmp_path / "saved.jsonl")
    for name in ("journal.jsonl", "saved.jsonl"):
        loaded = Transcript.load(tmp_path / name)
        assert loaded.text == transcript.text
        pd.testing.assert_frame_equal(loaded.words, transcript.words)
        pd.testing.assert_frame_equal(loaded.utterances, transcript.utterances)
        assert loaded.to_deepgram_json() == transcript.to_deepgram_json()


def test_a_correction_of_words_that_a_torn_journal_lacks_is_ignored(tmp_path: Path) -> None:
    transcript = talk()
    transcript.correct((3, 4), "x")
    transcript.save(tmp_path / "talk.jsonl")
    lines = (tmp_path / "talk.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "torn.jsonl").write_text('{"dgnb":1,"journal":true}\n' + "".join(lines[1:-1]))
    assert Transcript.load(tmp_path / "torn.jsonl").text == "Good morning. Hello you."


def test_lines_have_corrected_words_in_the_order_of_their_places() -> None:
    transcript = talk()
    transcript.correct(0, "A very good")
    transcript.correct(2, "")
    lines = transcript.lines()
    assert [line.text for line in lines] == ["A very good morning.", "you.", "Well."]
    places = [place for line in lines for place in line.words]
    assert places == sorted(places)
    assert [int(place) for place in places] == [0, 0, 0, 1, 3, 4]
    assert [word.word for word in transcript.latest(2)[0]] == ["you", "well"]


def test_a_word_without_length_is_named_by_its_row() -> None:
    words = (Word("one", 1.0, 1.0), Word("two", 1.0, 1.0), Word("three", 1.0, 2.0))
    transcript = fed(result(0, 2, words))
    transcript.correct(transcript.words.iloc[1], "zwei")
    transcript.correct(next(transcript.words.itertuples()), "eins")
    transcript.correct(transcript.words.iloc[[2]], "drei")
    assert transcript.text == "eins zwei drei"


def test_a_long_stretch_is_corrected_as_quickly_as_it_is_long() -> None:
    transcript = fed(result(0, 20_000, said(*["word"] * 20_000)))
    for _ in range(2):
        transcript.correct((0, 19_999), "all")
    assert transcript.text == "all"
    assert transcript.words.iloc[0][["start", "end"]].tolist() == [0.0, transcript.messages[-1].words[-1].end]

"""What a person changes of a transcript is in every table, picture and export, and in session files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dgnb
from dgnb.exceptions import ConfigurationError, DgnbError
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


@pytest.mark.parametrize("speaker", [-1, 0.5, "Ada", None, True, float("nan")])
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
    read = dgnb.exports.read_csv(tmp_path / "words.csv")
    pd.testing.assert_frame_equal(read, transcript.words)
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

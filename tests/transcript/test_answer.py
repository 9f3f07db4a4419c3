from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dgnb import Transcript
from dgnb.exceptions import DgnbError
from dgnb.messages import Results, parse

MODEL = "30089e05-99d1-4376-b32e-c263170674af"


def word(text: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {
        "word": text.lower().strip(".,?"),
        "start": start,
        "end": end,
        "confidence": 0.79999995,
        "punctuated_word": text,
    } | more


ADA = [
    word("Hello", 0.5, 0.9, speaker=0, speaker_confidence=0.61),
    word("there.", 1.0, 1.4, speaker=0, speaker_confidence=0.7),
    word("Berlin", 3.0, 3.5, speaker=0, speaker_confidence=0.9),
    word("calls.", 3.5, 4.0, speaker=0, speaker_confidence=0.9),
]
BOB = [word("Guten", 2.0, 2.4), word("Tag.", 2.4, 2.8)]


def said(words: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    text = " ".join(one["punctuated_word"] for one in words)
    return {"transcript": text, "confidence": 0.9, "words": words, **more}


def answer() -> dict[str, Any]:
    paragraph = {
        "sentences": [
            {"text": "Hello there.", "start": 0.5, "end": 1.4},
            {"text": "Berlin calls.", "start": 3.0, "end": 4.0},
        ],
        "speaker": 0,
        "num_words": 4,
        "start": 0.5,
        "end": 4.0,
    }
    entity = {"label": "CITY", "value": "Berlin", "confidence": 0.98, "start_word": 2, "end_word": 3}
    topic = {"text": "Berlin calls.", "start_word": 2, "end_word": 3}
    utterances = [
        {"channel": channel, "start": words[0]["start"], "end": words[-1]["end"], **said(words), "id": "x"}
        for channel, words in ((0, ADA[:2]), (0, ADA[2:]), (1, BOB))
    ]
    return {
        "metadata": {
            "request_id": "r",
            "sha256": "0f",
            "created": "2026-11-28T10:00:00.000Z",
            "duration": 5.25,
            "channels": 2,
            "models": [MODEL],
            "model_info": {MODEL: {"name": "general-nova-3", "version": "2026", "arch": "nova-3"}},
            "warnings": [{"parameter": "topics", "type": "unsupported_language", "message": "English only."}],
        },
        "results": {
            "channels": [
                {
                    "alternatives": [
                        said(ADA, paragraphs={"transcript": "x", "paragraphs": [paragraph]}, entities=[entity])
                    ]
                },
                {"alternatives": [said(BOB)], "detected_language": "de", "language_confidence": 0.97},
            ],
            "utterances": utterances,
            "summary": {"result": "success", "short": "Two people greet."},
            "topics": {"segments": [{**topic, "topics": [{"topic": "Cities", "confidence_score": 0.8}]}]},
            "intents": {
                "results": {
                    "intents": {"segments": [{**topic, "intents": [{"intent": "Call", "confidence_score": 0.7}]}]}
                }
            },
            "sentiments": {"segments": [{**topic, "sentiment": "positive", "sentiment_score": 0.5}], "average": {}},
        },
    }


def test_words_and_utterances_are_those_of_the_answer_in_order_of_time() -> None:
    transcript = Transcript.from_deepgram_json(answer())
    words = transcript.words
    given = [*((0, one) for one in ADA[:2]), *((1, one) for one in BOB), *((0, one) for one in ADA[2:])]
    assert list(
        zip(words["channel"], words["word"], words["start"], words["end"], words["confidence"], strict=True)
    ) == [(channel, one["word"], one["start"], one["end"], one["confidence"]) for channel, one in given]
    assert words["language"].tolist()[2:4] == ["de", "de"]
    assert words["speaker_confidence"].dropna().tolist() == [0.61, 0.7, 0.9, 0.9]
    assert transcript.utterances["transcript"].tolist() == ["Hello there.", "Guten Tag.", "Berlin calls."]
    assert transcript.text == "Hello there. Guten Tag. Berlin calls."
    assert transcript.metadata["duration"] == 5.25
    assert "general-nova-3" in transcript._repr_html_()


def test_what_else_it_holds_is_tables_and_text() -> None:
    transcript = Transcript.from_deepgram_json(answer())
    assert transcript.summary_text == "Two people greet."
    assert transcript.paragraphs.iloc[0].tolist() == [0.5, 4.0, "Hello there. Berlin calls.", 2, 4, 0, 0]
    assert transcript.entities.iloc[0][["start", "end", "label", "value", "channel"]].tolist() == [
        3.0,
        3.5,
        "CITY",
        "Berlin",
        0,
    ]
    for table, label, score in (
        (transcript.topics, "Cities", 0.8),
        (transcript.intents, "Call", 0.7),
        (transcript.sentiments, "positive", 0.5),
    ):
        assert table.iloc[0].tolist() == [3.0, 4.0, "Berlin calls.", label, score]
    assert transcript.events.query("type == 'Warning'")["text"].tolist() == ["topics: English only."]


def test_a_session_file_keeps_all_of_it(tmp_path: Path) -> None:
    transcript = Transcript.from_deepgram_json(answer())
    transcript.speakers = {0: "Ada"}
    transcript.save(tmp_path / "a.jsonl")
    again = Transcript.load(tmp_path / "a.jsonl")
    for name in (
        "words",
        "utterances",
        "results",
        "events",
        "paragraphs",
        "entities",
        "topics",
        "intents",
        "sentiments",
    ):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(transcript, name))
    assert (again.metadata, again.summary_text) == (transcript.metadata, transcript.summary_text)


def test_it_is_written_back_as_it_came(tmp_path: Path) -> None:
    given = answer()
    text = Transcript.from_deepgram_json(given).to_deepgram_json()
    assert text is not None
    written = json.loads(text)
    assert written["metadata"] == {**given["metadata"], "transaction_key": "deprecated"}
    for key in ("summary", "topics", "intents", "sentiments"):
        assert written["results"][key] == given["results"][key]
    assert written["results"]["channels"][0] == given["results"]["channels"][0]
    assert written["results"]["channels"][1]["detected_language"] == "de"
    (tmp_path / "b.json").write_text(text)
    for source in (tmp_path / "b.json", str(tmp_path / "b.json"), text, text.encode(), written):
        pd.testing.assert_frame_equal(
            Transcript.from_deepgram_json(source).words.drop(columns="received_at"),
            Transcript.from_deepgram_json(given).words.drop(columns="received_at"),
        )


def test_what_a_person_corrects_is_written_beside_what_the_service_said() -> None:
    transcript = Transcript.from_deepgram_json(answer())
    transcript.correct(0, "Hallo")
    transcript.merge_speakers(0, into=7)
    again = Transcript.from_deepgram_json(transcript.to_deepgram_json())
    assert again.text == "Hallo there. Guten Tag. Berlin calls."
    assert again.words["speaker"].dropna().unique().tolist() == [7]
    assert again.summary_text == "Two people greet."


def test_a_stream_that_is_written_and_read_has_the_same_words() -> None:
    live = Transcript()
    for start, words in ((0.0, ADA[:2]), (2.0, ADA[2:])):
        message = {"type": "Results", "channel_index": [0, 1], "start": start, "duration": 2.0, "is_final": True}
        alternative = said([{**one, "speaker_confidence": None} for one in words])
        final = parse(json.dumps({**message, "speech_final": True, "channel": {"alternatives": [alternative]}}))
        assert isinstance(final, Results)
        live.feed(final)
    again = Transcript.from_deepgram_json(live.to_deepgram_json())
    pd.testing.assert_frame_equal(again.words.drop(columns="received_at"), live.words.drop(columns="received_at"))


def test_without_utterances_each_sentence_is_one_final() -> None:
    given = answer()
    del given["results"]["utterances"]
    assert Transcript.from_deepgram_json(given).utterances["transcript"].tolist() == [
        "Hello there.",
        "Guten Tag.",
        "Berlin calls.",
    ]


def test_keys_that_are_missing_cost_nothing_but_themselves() -> None:
    given = answer()
    del given["metadata"]
    given["results"] = {"channels": [{"alternatives": [{"words": ADA}]}, {"alternatives": []}, {}, None]}
    transcript = Transcript.from_deepgram_json(given)
    assert transcript.text == "Hello there. Berlin calls."
    assert (len(transcript.paragraphs), len(transcript.topics), transcript.summary_text) == (0, 0, None)
    only = Transcript.from_deepgram_json(
        {"metadata": {"duration": 4.0}, "results": {"channels": [{"alternatives": [{"transcript": "Two words."}]}]}}
    )
    assert only.words["punctuated_word"].tolist() == ["Two", "words."]
    assert only.words["estimated"].all()


def test_the_same_word_of_two_people_at_the_same_time_counts_twice() -> None:
    yes = [word("yes", 1.0, 1.5, speaker=0), word("yes", 1.1, 1.6, speaker=1)]
    utterances = [{"channel": 0, "start": one["start"], "end": one["end"], **said([one])} for one in yes]
    given = {"results": {"channels": [{"alternatives": [said(yes)]}], "utterances": utterances}}
    transcript = Transcript.from_deepgram_json(given)
    assert transcript.words["speaker"].tolist() == [0, 1]
    assert "warning" not in transcript.events["type"].tolist()


def test_utterances_alone_give_their_words_or_their_text_at_their_times() -> None:
    utterances = [
        {"channel": 1, "start": 2.0, "end": 2.8, **said(BOB), "confidence": 0.7},
        {"channel": 0, "start": 0.5, "end": 1.5, "transcript": "Hello there."},
    ]
    transcript = Transcript.from_deepgram_json({"results": {"utterances": utterances}})
    assert transcript.utterances[["start", "end", "transcript", "channel"]].values.tolist() == [
        [0.5, 1.5, "Hello there.", 0],
        [2.0, 2.8, "Guten Tag.", 1],
    ]
    assert transcript.results["confidence"].tolist()[1] == 0.7
    assert transcript.words["estimated"].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("value", "first", "last", "times"),
    [
        ("Hello there.", 0, 2, [0.5, 1.4]),
        ("Hello there.", 0, 1, [0.5, 1.4]),
        ("Berlin", 2, 2, [3.0, 3.5]),
        ("Berlin calls.", 2, 4, [3.0, 4.0]),
        ("24", 0, 2, [0.5, 1.4]),
        ("Berlin", -1, -1, None),
        ("Berlin", 9, 10, None),
        ("Berlin", None, "2", None),
    ],
)
def test_an_entity_has_the_times_of_its_words(value: str, first: Any, last: Any, times: list[float] | None) -> None:
    entity = {"label": "X", "value": value, "start_word": first, "end_word": last}
    given = {"results": {"channels": [{"alternatives": [said(ADA, entities=[entity])]}]}}
    found = Transcript.from_deepgram_json(given).entities.iloc[0][["start", "end"]]
    assert found.isna().all() if times is None else found.tolist() == times


def test_a_recording_lasts_as_long_as_its_sound_and_has_no_latency() -> None:
    transcript = Transcript.from_deepgram_json(answer())
    assert "5.2 s" in repr(transcript)
    assert not any("latency" in measure for measure in transcript.summary().index)
    assert transcript.summary().loc["words", "value"] == 6


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_a_windows_shell_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(json.dumps(answer()).encode(encoding))
    assert len(Transcript.from_deepgram_json(tmp_path / "c.json").words) == 6


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"request_id": "r"}, "goes to the callback"),
        ({"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}, "Invalid credentials"),
        ("[]", "no answer of Deepgram"),
        ("{", "can't be read"),
        ({}, "no answer of Deepgram"),
        ({"results": {}}, "no results.channels"),
        ({"results": 5}, "no answer of Deepgram"),
        ({"results": {"channels": [{"alternatives": [{"words": [{"word": "a", "start": "x"}]}]}]}}, None),
        (b"these are words", "can't be read"),
        ("missing.json", "No such file"),
        (5, "can't be read|no answer"),
        (None, "can't be read|no answer"),
        ({"results": {"channels": [{"alternatives": [{"words": [word("a", 0, float("nan"))]}]}]}}, None),
    ],
)
def test_what_is_no_answer_is_one_clear_error(given: Any, told: str | None) -> None:
    if told is None:
        assert isinstance(Transcript.from_deepgram_json(given), Transcript)
        return
    with pytest.raises(DgnbError, match=told):
        Transcript.from_deepgram_json(given)

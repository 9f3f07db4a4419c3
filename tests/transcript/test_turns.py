"""Flux's turns as results, words, utterances and the table `turns`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb.messages import Connected, Results, TurnInfo, TurnWord, UtteranceEnd, encode
from dgnb.transcript import Transcript
from dgnb.transcript.turns import heard_in
from tests.transcript.test_journal import TABLES

SECOND = 1_000_000_000


def said(text: str, start: float = 0.4, step: float = 0.3, *, timed: bool = True) -> tuple[TurnWord, ...]:
    """The words of a text, each of them `step` seconds long."""
    words = []
    for index, word in enumerate(text.split()):
        times = {"start": start + index * step, "end": start + (index + 1) * step} if timed else {}
        words.append(TurnWord(word, 0.9 - index / 10, **times))
    return tuple(words)


def turn(event: str, text: str = "", index: int = 0, at: tuple[float, float] = (0.0, 2.0), **more: Any) -> TurnInfo:
    words = more.pop("words", said(text, at[0] + 0.4))
    ended = {"trigger": "model", "end_of_turn_confidence": 0.83} if event == "EndOfTurn" else {}
    return TurnInfo(event, index, *at, text, words, **(ended | more))


def test_an_end_of_turn_is_a_final_and_its_confidence_is_that_of_its_words() -> None:
    heard = heard_in(turn("EndOfTurn", "So, we begin.", languages=("en",), trigger="manual"))
    assert heard
    assert (heard.is_final, heard.speech_final, heard.from_finalize) == (True, True, True)
    assert (heard.start, heard.start + heard.duration) == (0.4, 2.0)
    assert heard.alternative.confidence == pytest.approx(0.8)
    assert [word.word for word in heard.words] == ["so", "we", "begin"]
    assert [word.punctuated_word for word in heard.words] == ["So,", "we", "begin."]
    assert {word.language for word in heard.words} == {"en"}
    update = heard_in(turn("Update", "Ja, we", languages=("en", "de")))
    assert update
    assert (update.is_final, {word.language for word in update.words}) == (False, {None})
    silence = heard_in(turn("Update", at=(2.0, 3.5)))
    assert silence
    assert (silence.transcript, silence.start, silence.alternative.confidence) == ("", 2.0, None)
    assert heard_in(UtteranceEnd((0, 1), 2.0)) is None
    results = Results((0, 1), 1.0, 0.0, silence.channel)
    assert heard_in(results) is results


def test_updates_replace_the_interim_and_turns_become_words_and_utterances() -> None:
    transcript = Transcript()
    for message in (turn("StartOfTurn", "So"), turn("Update", "So we"), turn("EagerEndOfTurn", "So we begin")):
        transcript.feed(message, audio_cursor=2.25)
        assert (transcript.interim, transcript.text) == (message.transcript, "")
    assert transcript.latency == 0.25
    transcript.feed(turn("EndOfTurn", "So we begin."))
    transcript.feed(turn("Update", index=1, at=(2.0, 2.5)))
    transcript.feed(turn("EndOfTurn", "Good.", 1, (3.0, 5.0)))
    assert (transcript.interim, transcript.text) == ("", "So we begin. Good.")
    assert transcript.utterances["transcript"].tolist() == ["So we begin.", "Good."]
    assert transcript.results["is_final"].tolist() == [False, False, False, True, False, True]
    assert transcript.words["start"].tolist() == pytest.approx([0.4, 0.7, 1.0, 3.4])
    told = transcript.events.query("type != 'warning'")
    assert told["type"].tolist() == ["StartOfTurn", "EagerEndOfTurn", "EndOfTurn", "EndOfTurn"]
    assert told["text"].tolist() == ["So", "So we begin", "model: So we begin.", "model: Good."]
    assert told["start"].tolist() == [2.0, 2.0, 2.0, 5.0]


@pytest.mark.parametrize("some", [False, True], ids=["no times", "one time is missing"])
def test_words_without_times_share_the_turn_by_their_length_and_one_event_says_so(some: bool) -> None:
    transcript = Transcript()
    words = said("Yes indeed.", 1.1, timed=False)
    words = (TurnWord("Yes", 0.9, 1.0, 1.4), words[1]) if some else words
    transcript.feed(turn("EndOfTurn", "Yes indeed.", at=(1.0, 2.1), words=words), offset=10.0)
    transcript.feed(turn("EndOfTurn", "No.", 1, (3.0, 4.0), words=said("No.", timed=False)), offset=10.0)
    table = transcript.words
    assert table["word"].tolist() == ["yes", "indeed", "no"]
    assert table["start"].tolist() == pytest.approx([11.0, 11.33, 13.0])
    assert table["end"].tolist() == pytest.approx([11.33, 12.1, 14.0])
    assert table["confidence"].tolist() == [0.9, 0.8, 0.9]
    assert table["estimated"].tolist() == [True, True, True]
    assert transcript.events["type"].tolist().count("warning") == 1
    assert transcript.text == "Yes indeed. No."


def test_a_text_without_words_and_text_without_spaces_keep_what_was_said() -> None:
    transcript = Transcript()
    transcript.feed(turn("EndOfTurn", "Good day", words=()))
    transcript.feed(turn("EndOfTurn", "今日は。", 1, (2.0, 4.0), words=said("今日 は。", timed=False)))
    assert transcript.text == "Good day 今日は。"
    assert transcript.words["word"].tolist() == ["good", "day", "今日", "は"]
    assert transcript.words["estimated"].all()


def conversation() -> Transcript:
    """Two turns, a lost connection, and a third turn that begins without StartOfTurn."""
    transcript = Transcript()
    steps: list[tuple[float, float, Any]] = [
        (0.0, 0.0, Connected("r", 0)),
        (1.0, 1.0, turn("StartOfTurn", "So")),
        (2.0, 2.0, turn("EagerEndOfTurn", "So we begin", at=(0.0, 1.9))),
        (2.3, 2.2, turn("TurnResumed", "So we begin", at=(0.0, 2.2))),
        (3.0, 3.0, turn("EagerEndOfTurn", "So we begin.", at=(0.0, 2.9))),
        (3.5, 3.4, turn("EndOfTurn", "So we begin.", at=(0.0, 3.3))),
        (5.0, 5.0, turn("EndOfTurn", "Good.", 1, (3.5, 5.0), trigger="timeout", end_of_turn_confidence=0.2)),
        (6.0, 6.0, turn("Update", "lost", 2, (5.0, 6.0))),
    ]
    for at, sent, message in steps:
        transcript.feed(message, at=round(at * SECOND), audio_cursor=sent)
    for at, sent, message in [
        (8.0, 5.0, Connected("s", 0)),
        (9.0, 6.2, turn("Update", "Lost and", at=(0.2, 1.2))),
        (10.0, 7.4, turn("EndOfTurn", "Lost and found.", at=(0.2, 2.0))),
    ]:
        transcript.feed(message, at=round(at * SECOND), offset=5.0, audio_cursor=sent, connection=1)
    return transcript


def test_turns_are_numbered_over_connections_and_tell_when_they_ended_and_how_late() -> None:
    table = conversation().turns
    assert table["turn"].tolist() == [0, 1, 2]
    assert table["transcript"].tolist() == ["So we begin.", "Good.", "Lost and found."]
    assert table["words"].tolist() == [3, 1, 3]
    assert table["start"].tolist() == pytest.approx([0.4, 3.9, 5.6])
    assert table["end"].tolist() == pytest.approx([3.3, 5.0, 7.0])
    assert table["trigger"].tolist() == ["model", "timeout", "model"]
    assert table["end_of_turn_confidence"].tolist() == [0.83, 0.2, 0.83]
    assert table["eager_at"].fillna(-1).tolist() == [2.9, -1, -1]
    assert table["resumed"].tolist() == [1, 0, 0]
    # The last words end at 1.3, 4.2 and 6.5 s, which were sent 1.3, 4.25 and 9.25 s after the start.
    assert table["end_of_turn_delay"].tolist() == pytest.approx([3.5 - 1.3, 5.0 - 4.25, 10.0 - 9.25])


async def test_turns_are_saved_loaded_and_replayed(tmp_path: Path) -> None:
    transcript = conversation()
    transcript.save(tmp_path / "a.jsonl")
    assert encode(transcript.messages[1]) in (tmp_path / "a.jsonl").read_text()
    for again in (Transcript.load(tmp_path / "a.jsonl"), await dgnb.replay(tmp_path / "a.jsonl", speed=None)):
        for name in (*TABLES, "turns"):
            assert getattr(again, name).equals(getattr(transcript, name)), name
    assert (transcript.to_csv(table="turns") or "").count("\n") == 4


def test_a_transcript_of_another_model_has_no_turns() -> None:
    assert Transcript().turns.dtypes.equals(conversation().turns.dtypes)
    assert Transcript().turns.empty

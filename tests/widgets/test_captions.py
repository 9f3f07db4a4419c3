"""The captions that a front end draws: what they hold, and when they are sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb import LiveCaptions, LiveSession
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Alternative, Channel, Results, Word
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

EVIL = "<script>alert(1)</script> \x1b[31m\u202e"


def final(n: int, text: str, *, speech_final: bool = True) -> Results:
    words = tuple(Word(word, n + i / 20, n + (i + 1) / 20, 0.9) for i, word in enumerate(text.split()))
    heard = Channel((Alternative(text, 0.9, words),))
    return Results((0, 1), 1.0, float(n), heard, is_final=True, speech_final=speech_final)


def unstarted() -> LiveCaptions:
    captions = LiveCaptions()
    captions.session = LiveSession(b"x", endpoint="offline")
    return captions


def texts(captions: LiveCaptions) -> list[str]:
    return ["".join(text for _, text in line["words"]).strip() for line in captions.captions["lines"]]


async def test_captions_show_finals_and_the_interim_apart(server: FaultyServer) -> None:
    source = dgnb.BufferSource(bytes(32_000 * 60), encoding="linear16", sample_rate=16000)
    session = LiveSession(source, endpoint=server.url, pace=5.0, interim_results=True)
    captions = LiveCaptions(session)
    await until(lambda: session.transcript.interim and captions.captions["interim"])
    await session.stop()
    await until(lambda: not captions.captions["interim"])
    assert texts(captions)[0].startswith("one two three")
    assert captions.captions["lines"][0]["at"] == "0:00"
    assert "LiveCaptions of" in repr(captions)


async def test_captions_follow_a_replay(tmp_path: Path) -> None:
    saved = unstarted().session
    assert saved
    for n in range(3):
        saved.transcript.feed(final(n, f"number {n}"))
    saved.transcript.save(tmp_path / "talk.jsonl")
    captions = LiveCaptions(dgnb.replay(tmp_path / "talk.jsonl", speed=None))
    await until(lambda: len(captions.captions["lines"]) == 3)
    assert texts(captions) == ["number 0", "number 1", "number 2"]


def test_captions_without_a_session_are_empty_and_never_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = LiveCaptions()
    sent: list[object] = []
    monkeypatch.setattr(captions, "send_state", lambda key=None: sent.append(key))
    captions.draw()
    assert captions.captions["lines"] == []
    assert sent == []


@pytest.mark.parametrize("arguments", [{"session": "talk.wav"}, {"height": 12}])
def test_a_wrong_argument_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        LiveCaptions(**arguments)


def test_a_full_stop_that_comes_late_changes_its_word_in_place() -> None:
    captions = unstarted()
    assert captions.session
    captions.session.transcript.feed(final(0, "well hello"))
    captions.draw()
    before = captions.captions["lines"][0]["words"]
    captions.session.transcript.feed(Results((0, 1), 0.0, 1.0, Channel((Alternative("."),)), is_final=True))
    captions.draw()
    assert captions.captions["lines"][0]["words"] == [before[0], [before[1][0], " hello."]]


def test_captions_do_not_grow_with_the_transcript() -> None:
    captions = unstarted()
    assert captions.session
    sizes = []
    for n in range(3_000):
        captions.session.transcript.feed(final(n, "ten words that are said over and over, each second"))
        if n >= 200 and n % 100 == 0:
            captions.draw()
            sizes.append(len(str(captions.captions)))
    assert max(sizes) < 12_000
    assert max(sizes) - min(sizes) < 600


def test_words_of_a_speech_without_end_keep_their_place_when_its_beginning_leaves() -> None:
    captions = unstarted()
    assert captions.session
    seen: dict[int, str] = {}
    for n in range(100):
        captions.session.transcript.feed(final(n, "one two three four five six", speech_final=False))
        captions.draw()
        (line,) = captions.captions["lines"]
        assert line["utterance"] == 0
        assert len(line["words"]) <= 300
        for position, text in line["words"]:
            assert seen.setdefault(position, text) == text
    assert len(seen) == 600
    assert (
        "".join(seen[position] for position in sorted(seen)).split()
        == ["one", "two", "three", "four", "five", "six"] * 100
    )


def test_text_from_outside_has_no_control_characters() -> None:
    captions = unstarted()
    assert captions.session
    captions.session.transcript.feed(final(0, EVIL))
    captions.draw()
    assert texts(captions) == ["<script>alert(1)</script>  [31m"]


def test_a_name_that_is_given_later_is_on_the_lines_that_are_shown_already() -> None:
    captions = unstarted()
    assert captions.session
    transcript = captions.session.transcript
    words = (Word("hello", 0.0, 0.5, speaker=0), Word("there", 0.5, 1.0, speaker=0))
    transcript.feed(Results((0, 1), 1.0, 0.0, Channel((Alternative("hello there", words=words),)), is_final=True))
    captions.draw()
    before = captions.captions
    assert before["lines"][0]["speaker"] == "speaker 0"
    transcript.speakers = {0: "Ada \u202e"}
    captions.draw()
    assert captions.captions["lines"][0]["speaker"].strip() == "Ada"
    # The page draws all anew for another run.
    assert captions.captions["run"] != before["run"]

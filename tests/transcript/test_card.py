from __future__ import annotations

import re
from pathlib import Path

import pytest

import dgnb
from dgnb.loopback import Script
from dgnb.messages import Word
from dgnb.transcript import Transcript
from tests.plots.talks import heard, sample, spoken, talk
from tests.support.faulty import FaultyServer
from tests.support.speech import speech

CANARY = "canary0123456789"


def html(transcript: Transcript) -> str:
    return transcript._repr_html_()


def text(transcript: Transcript) -> str:
    """The card without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html(transcript))).strip()


async def test_it_says_how_much_was_heard_who_answered_and_what_to_do_next(tmp_path: Path) -> None:
    async with FaultyServer(Script("one two three four")) as server:
        transcript = await dgnb.transcribe(speech(), endpoint=server.url, pace=None, api_key=CANARY)
    told = text(transcript)
    assert told.startswith("4 words")
    assert "of audio" in told
    assert f"{server.url} · " in told
    assert "one two three four" in told
    assert "next: .words · .find() · .to_srt()" in told
    assert CANARY not in html(transcript)
    assert repr(transcript).startswith("<Transcript: 4 words in ")
    transcript.save(tmp_path / "talk.jsonl")
    assert html(Transcript.load(tmp_path / "talk.jsonl")) == html(transcript)


def test_the_first_and_the_last_lines_are_shown() -> None:
    told = text(sample())
    assert "130 words" in told
    assert "2 speakers" in told
    assert "0:00 Speaker 0 good morning, and welcome to the show." in told
    assert "0:43 Speaker 0 Great. thank you for coming" in told
    assert "⋮" in told


@pytest.mark.parametrize("count", [1, 8, 24, 120, 121, 136, 1000])
def test_a_line_is_shown_once(count: int) -> None:
    transcript = Transcript()
    for n in range(count // 8 or 1):
        heard(transcript, *(Word(f"word{n * 8 + i}", n * 8 + i, n * 8 + i + 0.5) for i in range(min(count, 8))))
    shown = re.findall(r"word\d+\b", text(transcript))
    lines = count // 8 or 1
    assert len(shown) == len(set(shown)) == min(lines, 4) * min(count, 8)
    assert shown[0] == "word0"
    assert shown[-1] == f"word{(lines - 1) * 8 + min(count, 8) - 1}"
    assert ("⋮" in text(transcript)) == (lines > 4)


def test_latency_and_gaps_are_told_where_there_are_any() -> None:
    transcript = talk(8)
    assert "0.3 s latency" in text(transcript)
    assert "gap " not in text(transcript).partition("next:")[0]
    transcript.add_gap(1, 2, "lost")
    assert "1 gap " in text(transcript)
    transcript.add_gap(2, 3, "lost")
    assert "2 gaps " in text(transcript)


def test_an_interim_is_shown_after_the_finals() -> None:
    transcript = spoken(Word("said", 0, 0.5))
    heard(transcript, Word("perhaps", 1, 1.5), final=False)
    assert "<i>perhaps</i>" in html(transcript)


def test_an_empty_transcript_says_what_to_do() -> None:
    assert text(Transcript()).startswith("No words so far. await dgnb.transcribe(…)")
    silent = Transcript()
    heard(silent)
    assert "0 words · 1.0 s of audio" in text(silent)
    assert ".events says what happened" in text(silent)


@pytest.mark.parametrize(
    "said", ["<script>alert(1)</script>", "<b>bold", '"onload="x', "&lt;b&gt;", "\u202eevil", "\x1b[31m"]
)
def test_what_was_said_is_text(said: str) -> None:
    markup = html(spoken(Word(said, 0, 0.5), Word("end", 0.6, 1)))
    assert said not in markup.replace("&amp;lt;b&amp;gt;", "")
    assert "<script" not in markup
    assert "<b>bold" not in markup


@pytest.mark.parametrize("count", [2000, 100_000])
def test_its_size_does_not_grow(count: int) -> None:
    assert len(html(talk(count))) < 2000
    assert len(html(spoken(*(Word("word", n, n + 0.5) for n in range(1000))))) < 2500

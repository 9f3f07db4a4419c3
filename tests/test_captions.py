"""Captions that players accept, whatever was said."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.captions import Cue, cues, to_srt, to_webvtt
from dgnb.messages import Word

_TIME = r"(\d{2,}):([0-5]\d):([0-5]\d)%s(\d{3})"


def parsed(text: str, mark: str) -> list[tuple[int, int, list[str]]]:
    """The captions of a file in milliseconds, read as strictly as the format allows."""
    found = []
    time = _TIME % re.escape(mark)
    for block in text.removesuffix("\n").split("\n\n") if text.strip() else []:
        first, *lines = block.split("\n")
        match = re.fullmatch(f"{time} --> {time}", first)
        assert match, block
        h1, m1, s1, f1, h2, m2, s2, f2 = map(int, match.groups())
        start, end = ((h1 * 60 + m1) * 60 + s1) * 1000 + f1, ((h2 * 60 + m2) * 60 + s2) * 1000 + f2
        assert start < end
        assert lines
        assert all(line.strip() for line in lines)
        assert not any("-->" in line for line in lines)
        found.append((start, end, lines))
    return found


def read_srt(text: str) -> list[tuple[int, int, list[str]]]:
    numbers = [int(number) for number in re.findall(r"(?:^|\n\n)(\d+)\n(?=\d{2,}:)", text)]
    assert numbers == list(range(1, len(numbers) + 1))
    return parsed(re.sub(r"(^|\n\n)\d+\n(?=\d{2,}:)", r"\1", text), ",")


def read_webvtt(text: str) -> list[tuple[int, int, list[str]]]:
    head, _, rest = text.partition("\n\n")
    assert head.strip() == "WEBVTT"
    found = parsed(rest, ".")
    for _, _, lines in found:
        for line in lines:
            shown = re.sub(r"^<v Speaker \d+>", "", line)
            assert "<" not in shown
            assert not re.search(r"&(?!amp;|lt;|gt;)", shown)
    return found


def words(text: str, *, start: float = 0.0, each: float = 0.3, speaker: int | None = None) -> list[Word]:
    return [
        Word(word.lower(), start + each * i, start + each * (i + 0.9), None, word, speaker)
        for i, word in enumerate(text.split())
    ]


def lines(*utterances: list[Word], **limits: float) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues(utterances, **limits)]  # type: ignore[arg-type]


def test_no_words_are_no_captions() -> None:
    assert cues([]) == []
    assert cues([[]]) == []
    assert to_srt([]) == ""
    assert to_webvtt([]) == "WEBVTT\n"


def test_srt_is_as_players_expect_it() -> None:
    text = to_srt([Cue(0.0, 1.5, ("Hello.",)), Cue(3661.0015, 3662.0, ("Two", "lines."))])
    assert text == ("1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n01:01:01,002 --> 01:01:02,000\nTwo\nlines.\n")


def test_webvtt_is_as_browsers_expect_it() -> None:
    text = to_webvtt([Cue(0.0, 1.5, ("A & B <i>",)), Cue(2.0, 3.0, ("Yes.", "No."), speaker=1)])
    assert text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nA &amp; B &lt;i&gt;\n\n"
        "00:00:02.000 --> 00:00:03.000\n<v Speaker 1>Yes.\nNo.\n"
    )


def test_a_line_is_filled_and_a_caption_has_two() -> None:
    assert lines(words("one two three four five six"), max_chars=9) == [
        ("one two", "three"),
        ("four five", "six"),
    ]


def test_a_word_longer_than_a_line_stands_alone() -> None:
    assert lines(words("a incomprehensibilities b"), max_chars=5) == [("a", "incomprehensibilities"), ("b",)]


def test_a_caption_ends_at_a_pause() -> None:
    assert lines([*words("one"), *words("two", start=2.0)]) == [("one",), ("two",)]


def test_a_caption_ends_after_a_sentence_that_fills_its_lines() -> None:
    assert lines(words("Well now. Then go"), max_chars=5) == [("Well", "now."), ("Then", "go")]
    assert lines(words("Yes. No.")) == [("Yes. No.",)]


def test_a_caption_ends_when_it_has_stood_long_enough() -> None:
    assert lines(words("a b c d", each=0.7), max_duration=1.5) == [("a b",), ("c d",)]


def test_a_caption_has_one_speaker() -> None:
    found = cues([[*words("hello", speaker=0), *words("hi", start=0.4, speaker=1)]])
    assert [(cue.lines, cue.speaker) for cue in found] == [(("hello",), 0), (("hi",), 1)]


def test_captions_of_several_utterances_are_in_order_of_time() -> None:
    assert lines(words("later", start=9.0), words("earlier")) == [("earlier",), ("later",)]


def test_a_caption_without_length_or_before_zero_is_still_shown() -> None:
    found = cues([[Word("a", -1.0, -1.0)], [Word("b", 1.0004, 1.0004)]])
    assert read_srt(to_srt(found)) == [(0, 1, ["a"]), (1000, 1001, ["b"])]


def test_a_hundred_hours_have_three_digits() -> None:
    assert to_srt([Cue(360_000.0, 360_001.0, ("late",))]).split("\n")[1] == "100:00:00,000 --> 100:00:01,000"


@pytest.mark.parametrize("text", ["a\nb", "a --> b", "\u2028", " ", "\0", "<script>alert(1)</script>", "שלום\u202e"])
def test_what_is_said_is_never_taken_for_structure(text: str) -> None:
    found = cues([[Word("before", 0.0, 0.5), Word("x", 0.5, 1.0, None, text), Word("after", 1.0, 1.5)]])
    assert len(read_srt(to_srt(found))) == 1
    assert len(read_webvtt(to_webvtt(found))) == 1


spoken = st.builds(
    Word,
    st.text(max_size=12),
    st.floats(-10, 4e5),
    st.floats(-10, 4e5),
    st.none(),
    st.none() | st.text(max_size=12),
    st.none() | st.integers(0, 3),
)


@given(st.lists(st.lists(spoken, max_size=8), max_size=5), st.integers(1, 50), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_any_words_make_valid_captions_and_each_is_shown_once(
    utterances: list[list[Word]], max_chars: int, max_lines: int
) -> None:
    found = cues(utterances, max_chars=max_chars, max_lines=max_lines)
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)
    for cue in found:
        assert 1 <= len(cue.lines) <= max_lines
    shown = sorted(" ".join(line for cue in found for line in cue.lines).split())
    said = [" ".join((w.punctuated_word or w.word).replace("\0", " ").split()) for u in utterances for w in u]
    assert shown == sorted(" ".join(said).replace("-->", "→").split())
    srt, vtt = read_srt(to_srt(found)), read_webvtt(to_webvtt(found))
    assert len(srt) == len(vtt) == len(found)
    for (start, end, plain), (vtt_start, vtt_end, escaped) in zip(srt, vtt, strict=True):
        assert (start, end) == (vtt_start, vtt_end)
        assert plain == [html.unescape(re.sub(r"^<v Speaker \d+>", "", line)) for line in escaped] or "&" in str(plain)

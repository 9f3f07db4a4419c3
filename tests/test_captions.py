"""Captions are valid for any words: independent parsers of both formats read them back."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import srt
import webvtt
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgnb.captions import Cue, Utterance, cues, plain, to_srt, to_webvtt, voices
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Word
from dgnb.writing import Said, width


class Read(NamedTuple):
    """A caption as a parser read it: times in milliseconds, text with line breaks, speaker."""

    start: int
    end: int
    text: str
    voice: str | None = None


def read_srt(text: str) -> list[Read]:
    found = list(srt.parse(text))
    assert [caption.index for caption in found] == list(range(1, len(found) + 1))
    assert not any(caption.proprietary for caption in found)
    return [
        Read(
            round(caption.start.total_seconds() * 1000),
            round(caption.end.total_seconds() * 1000),
            caption.content.replace("\u2060", ""),
        )
        for caption in found
    ]


def read_webvtt(text: str) -> list[Read]:
    found = []
    for caption in webvtt.from_string(text, strict=True):
        raw = re.sub(r"^<v [^<>]+>", "", caption.raw_text)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", raw)
        times = [
            ((time.hours * 60 + time.minutes) * 60 + time.seconds) * 1000 + time.milliseconds
            for time in map(webvtt.models.Timestamp.from_string, (caption.start, caption.end))
        ]
        found.append(Read(*times, html.unescape(raw), caption.voice))
    return found


def words(text: str, *, start: float = 0.0, each: float = 0.3, speaker: int | None = None) -> list[Word]:
    return [
        Word(word.lower(), start + each * i, start + each * (i + 0.9), None, word, speaker)
        for i, word in enumerate(text.split())
    ]


def made(*utterances: Sequence[Word], channel: int = 0, **limits: Any) -> list[Cue]:
    return cues([(utterance, channel) for utterance in utterances], **limits)


def lines(*utterances: Sequence[Word], **limits: Any) -> list[tuple[str, ...]]:
    return [cue.lines for cue in made(*utterances, **limits)]


def times(captions: Sequence[Cue]) -> list[tuple[float, float]]:
    return [(cue.start, cue.end) for cue in captions]


# The formats


def test_without_words_there_are_no_captions() -> None:
    assert cues([]) == []
    assert cues([([], 0)]) == []
    assert to_srt([]) == ""
    assert to_webvtt([]) == "WEBVTT\n"


def test_srt_has_the_format_that_players_expect() -> None:
    text = to_srt([Cue(0.0, 1.5, ("Hello.",)), Cue(3661.0015, 3662.0, ("Two", "lines."))])
    assert text == ("1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n01:01:01,002 --> 01:01:02,000\nTwo\nlines.\n")


def test_webvtt_has_the_format_that_browsers_expect() -> None:
    text = to_webvtt([Cue(0.0, 1.5, ("A & B <i>",)), Cue(2.0, 3.0, ("Yes.", "No."), "Speaker 1")])
    assert text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nA &amp; B &lt;i&gt;\n\n"
        "00:00:02.000 --> 00:00:03.000\n<v Speaker 1>Yes.\nNo.\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (1.9996, "00:00:02,000"),
        (59.9996, "00:01:00,000"),
        (59.9994, "00:00:59,999"),
        (3599.9999, "01:00:00,000"),
        (0.57, "00:00:00,570"),
        (360_000.0, "100:00:00,000"),
        (4_000_000.001, "1111:06:40,001"),
    ],
)
def test_times_are_rounded_to_the_millisecond_and_carried(seconds: float, shown: str) -> None:
    captions = made([Word("a", seconds, seconds + 1.0)])
    assert to_srt(captions).split("\n")[1].startswith(f"{shown} --> ")
    assert read_srt(to_srt(captions))[0].start == read_webvtt(to_webvtt(captions))[0].start == round(seconds * 1000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a b"),
        ("a\r\n\r\n2\n00:00:09,000 --> 00:00:10,000", "a 2 00:00:09,000 → 00:00:10,000"),
        ("-->", "→"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("<i>", "<i>"),
        ("{\\an8}", "{\\an8}"),
        ("&lt;", "&lt;"),
        ("&", "&"),
        ("\u2028", ""),
        ("\0\x1b[31m", "[31m"),
        ("שלום\u202e", "שלום\u202e"),
        ("NOTE", "NOTE"),
        ("12", "12"),
    ],
)
def test_spoken_text_is_never_read_as_structure(text: str, shown: str) -> None:
    captions = made([Word("before", 0.0, 0.5), Word("x", 0.5, 1.0, None, text), Word("after", 1.0, 1.5)], max_chars=80)
    for read in (read_srt(to_srt(captions)), read_webvtt(to_webvtt(captions))):
        assert [caption.text for caption in read] == [" ".join(f"before {shown} after".split())]


def test_srt_players_find_no_markup_in_spoken_text() -> None:
    text = to_srt(made(words("<b>bold</b> {\\an8} 1<2 <3 {x}")))
    assert "<\u2060b>bold<\u2060/b> {\u2060\\an8} 1<2 <3 {x}" in text
    assert not re.search(r"</?[A-Za-z]|\{\\", text)


# The end of a caption


def test_a_caption_uses_all_lines_that_are_allowed() -> None:
    assert lines(words("one two three four five six"), max_chars=9) == [("one two", "three"), ("four", "five six")]
    assert lines(words("one two three"), max_chars=5, max_lines=3) == [("one", "two", "three")]
    assert lines(words("one two three"), max_chars=5, max_lines=1) == [("one",), ("two",), ("three",)]


def test_a_word_longer_than_a_line_has_its_own_line() -> None:
    assert lines(words("a incomprehensibilities b"), max_chars=5) == [("a", "incomprehensibilities"), ("b",)]


def test_lines_are_about_equally_long() -> None:
    assert lines(words("the cat sat on the mat with the other cats"), max_chars=40) == [
        ("the cat sat on the mat", "with the other cats")
    ]


def test_a_line_ends_at_a_comma_if_possible() -> None:
    assert lines(words("they went home, and then they slept"), max_chars=30) == [
        ("they went home,", "and then they slept")
    ]


def test_a_full_caption_ends_at_the_last_sentence_or_clause() -> None:
    assert lines(words("All was well. And then it rained cats"), max_chars=15) == [
        ("All was well.",),
        ("And then it", "rained cats"),
    ]
    assert lines(words("all was well, and then it rained cats"), max_chars=15)[0] == ("all was well,",)


def test_a_full_caption_ends_at_a_short_pause() -> None:
    spoken = [*words("one two three"), *words("four five six seven eight nine", start=1.6)]
    assert lines(spoken, max_chars=16)[0] == ("one two three",)


def test_a_full_caption_is_not_cut_short_at_an_early_full_stop() -> None:
    assert lines(words("Oh. and then it rained all of the night"), max_chars=15)[0] == (
        "Oh. and then it",
        "rained all of",
    )


def test_a_caption_ends_at_a_pause() -> None:
    assert lines([*words("one"), *words("two", start=2.0)]) == [("one",), ("two",)]


def test_a_caption_ends_at_the_longest_duration() -> None:
    assert lines(words("a b c d", each=0.7), max_duration=1.5) == [("a b",), ("c d",)]
    assert times(made([Word("long", 0.0, 60.0)])) == [(0.0, 7.0)]


def test_the_parts_of_a_word_with_spaces_share_its_time() -> None:
    captions = made([Word("x", 0.0, 3.0, None, "twenty one hundred")], max_chars=7, max_lines=1)
    assert [(cue.lines, cue.start, cue.end) for cue in captions] == [
        (("twenty",), 0.0, 1.125),
        (("one",), 1.125, 1.688),
        (("hundred",), 1.688, 3.0),
    ]


# Duration


def test_a_short_caption_stays_longer_where_nobody_speaks() -> None:
    assert times(made([Word("a", 1.0, 1.1)])) == [(1.0, 1.8)]
    assert times(made([Word("a", 1.0, 1.1)], [Word("b", 1.1, 3.0)])) == [(1.0, 1.125), (1.125, 3.0)]
    assert times(made([Word("a", 1.0, 1.1)], [Word("b", 1.5, 3.0)])) == [(1.0, 1.5), (1.5, 3.0)]


def test_a_caption_with_much_text_stays_longer_where_nobody_speaks() -> None:
    text = "a" * 40
    assert times(made([Word(text, 0.0, 0.5)])) == [(0.0, 2.0)]
    assert times(made([Word(text, 0.0, 0.5)], max_duration=1.5)) == [(0.0, 1.5)]
    assert times(made([Word(text, 0.0, 0.5)], [Word("b", 0.6, 2.0)])) == [(0.0, 0.6), (0.6, 2.0)]


def test_a_caption_does_not_stay_into_the_next_one() -> None:
    captions = cues([([Word("a", 1.0, 1.1)], 0), ([Word("b", 1.5, 3.0)], 1)])
    assert times(captions) == [(1.0, 1.5), (1.5, 3.0)]


def test_captions_of_a_channel_do_not_overlap() -> None:
    assert times(made([Word("a", 1.0, 5.0)], [Word("b", 3.0, 4.0)])) == [(1.0, 3.0), (3.0, 4.0)]
    together = made([Word("a", 1.0, 5.0)], [Word("b", 1.0, 4.0)], [Word("c", 2.0, 4.0)])
    # Each stays for three frames.
    assert times(together) == [(1.0, 1.125), (1.125, 2.0), (2.0, 4.0)]


def test_people_on_two_channels_may_speak_at_once() -> None:
    captions = cues([([Word("b", 3.0, 4.0)], 1), ([Word("a", 1.0, 5.0)], 0)])
    assert times(captions) == [(1.0, 5.0), (3.0, 4.0)]
    assert [cue.voice for cue in captions] == ["Channel 0", "Channel 1"]


def test_captions_are_ordered_by_start() -> None:
    assert lines(words("later", start=9.0), words("earlier")) == [("earlier",), ("later",)]


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (-1.0, -1.0, (0.0, 0.8)),
        (1.0, 1.0, (1.0, 1.8)),
        (2.0, 1.0, (2.0, 2.8)),
    ],
)
def test_a_word_with_odd_times_has_a_caption(start: float, end: float, shown: tuple[float, float]) -> None:
    captions = made([Word("a", start, end)])
    assert times(captions) == [shown]
    assert len(read_srt(to_srt(captions))) == len(read_webvtt(to_webvtt(captions))) == 1


# Scripts without spaces


def unspaced(*texts: str, each: float = 0.4) -> list[Word]:
    """Words between which no space stands."""
    return [Said(text, each * i, each * (i + 1), None, text, spaced=False) for i, text in enumerate(texts)]


def test_a_caption_breaks_between_characters_where_words_have_no_spaces() -> None:
    chinese = unspaced("今天", "天气", "很", "好", "，", "我们", "出去", "散步", "吧", "。")
    assert lines(chinese, max_chars=16) == [("今天天气很好，", "我们出去散步吧。")]
    assert lines(chinese, max_chars=42) == [("今天天气很好，我们出去散步吧。",)]
    thai = unspaced("วันนี้", "อากาศ", "ดี", "มาก")
    assert lines(thai, max_chars=8, max_lines=1) == [("วันนี้อากาศ",), ("ดีมาก",)]


def test_a_whole_sentence_that_is_one_word_is_divided_and_shares_its_time() -> None:
    captions = made([Word("x", 0.0, 4.0, None, "今日は天気がいいね。")], max_chars=8, max_lines=1)
    assert [cue.lines for cue in captions] == [("今日は天",), ("気がいい",), ("ね。",)]
    assert all(width(line) <= 8 for cue in captions for line in cue.lines)
    assert [cue.start for cue in captions] == [0.0, 1.6, 3.2]


def test_no_line_begins_with_closing_punctuation_or_ends_with_opening_punctuation() -> None:
    text = "彼は「おはようございます」と言った。そして、出かけた。"
    for chars in range(4, 30):
        for cue in made([Word("x", 0.0, 9.0, None, text)], max_chars=chars):
            for line in cue.lines:
                assert line[0] not in "」。、"
                assert line[-1] != "「"


def test_what_is_glued_in_a_script_with_spaces_stays_together() -> None:
    korean = [
        *words("오늘 날씨가"),
        Said("좋", 0.6, 0.8, None, "좋"),
        Said("네요", 0.8, 1.0, None, "네요", spaced=False),
    ]
    assert lines(korean, max_chars=6, max_lines=4) == [("오늘", "날씨가", "좋네요")]
    assert lines([Word("don", 0, 1, None, "Don"), Said("'t", 1, 2, None, "'t", spaced=False)], max_chars=3) == [
        ("Don't",)
    ]


# Speakers


def test_speakers_are_named_where_there_are_several() -> None:
    captions = made([*words("Hello.", speaker=0), *words("Hi. You", start=0.4, speaker=1)], words("too.", start=2))
    assert [(cue.lines, cue.voice) for cue in captions] == [
        (("Hello.",), "Speaker 0"),
        (("Hi. You",), "Speaker 1"),
        (("too.",), ""),
    ]
    assert [caption.text for caption in read_srt(to_srt(captions))] == [
        "Speaker 0: Hello.",
        "Speaker 1: Hi. You",
        "too.",
    ]
    assert [caption.voice for caption in read_webvtt(to_webvtt(captions))] == ["Speaker 0", "Speaker 1", None]


def test_speakers_true_names_one_speaker_and_false_names_nobody() -> None:
    one, two = words("Hello.", speaker=3), words("Hi.", start=1.0, speaker=4)
    assert [cue.voice for cue in made(one)] == [""]
    assert [cue.voice for cue in made(one, speakers=True)] == ["Speaker 3"]
    assert [cue.voice for cue in made(one, two, speakers=False)] == ["", ""]
    assert [cue.voice for cue in cues([(one, 0), (two, 1)], speakers=False)] == ["", ""]
    assert [cue.voice for cue in made(words("Hello."), speakers=True)] == [""]


def test_srt_names_a_speaker_where_the_voice_changes() -> None:
    captions = made(
        words("One.", speaker=0), words("Two.", start=2, speaker=0), words("Three.", start=4, speaker=1), speakers=True
    )
    assert [caption.text for caption in read_srt(to_srt(captions))] == ["Speaker 0: One.", "Two.", "Speaker 1: Three."]
    assert to_webvtt(captions).count("<v Speaker 0>") == 2


def test_channels_are_named_where_there_are_several() -> None:
    captions = cues(
        [(words("One.", speaker=0), 0), (words("Two.", start=2), 1), (words("Three.", start=4, speaker=1), 1)]
    )
    assert [cue.voice for cue in captions] == ["Channel 0, Speaker 0", "Channel 1", "Channel 1, Speaker 1"]
    assert [cue.voice for cue in cues([(words("One."), 1), ([], 0)])] == [""]


def test_a_label_counts_as_part_of_its_line() -> None:
    captions = made(words("one two three four five", speaker=0), speakers=True, max_chars=20)
    assert captions[0].lines == ("one two", "three four five")
    assert all(len(line) <= 20 for caption in read_srt(to_srt(captions)) for line in caption.text.split("\n"))


def test_a_label_longer_than_a_line_leaves_room_for_a_word() -> None:
    captions = made(words("one two", speaker=0), speakers=True, max_chars=3, max_lines=1)
    assert [caption.text for caption in read_srt(to_srt(captions))] == ["Speaker 0: one", "two"]


def test_voices_have_the_same_names_in_every_export() -> None:
    name = voices([(words("a", speaker=0), 0), (words("b", speaker=1), 0)])
    assert [name(0, 0), name(0, 1), name(0, None)] == ["Speaker 0", "Speaker 1", ""]


# Limits


@pytest.mark.parametrize(
    "limits",
    [
        {"max_chars": 0},
        {"max_chars": 4.5},
        {"max_chars": True},
        {"max_lines": 0},
        {"max_lines": None},
        {"max_duration": 0},
        {"max_duration": 0.1},
        {"max_duration": math.nan},
        {"max_duration": math.inf},
        {"max_duration": "7"},
    ],
)
def test_an_impossible_limit_is_an_error(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(limits))} must be a .*number.*, not "):
        made(words("one"), **limits)


# Any words


def shown(utterances: Sequence[Utterance]) -> str:
    return " ".join(filter(None, (plain(word) for spoken, _ in utterances for word in spoken))).replace("-->", "→")


# The export inserts word joiners, so the words here have none.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2060"), max_size=12) | st.sampled_from(
    ["-->", "<b>", "&amp;", "a\n\nb", "1", "{\\i1}", "שלום.", "end.", "so,"]
)
spoken = st.builds(
    Word,
    text,
    st.floats(-10, 4e5) | st.just(5.0),
    st.floats(-10, 4e5) | st.just(5.0),
    st.none(),
    st.none() | text,
    st.none() | st.integers(0, 2),
)


@given(
    st.lists(st.tuples(st.lists(spoken, max_size=10), st.integers(0, 2)), max_size=5),
    st.integers(1, 50),
    st.integers(1, 4),
    st.floats(0.125, 10),
    st.sampled_from([None, True, False]),
)
@settings(max_examples=300, deadline=None)
def test_any_words_make_valid_captions_within_the_limits(
    utterances: list[Utterance], max_chars: int, max_lines: int, max_duration: float, speakers: bool | None
) -> None:
    captions = cues(
        utterances,
        max_chars=max_chars,
        max_lines=max_lines,
        max_duration=max_duration,
        speakers=speakers,
    )
    srt_text, vtt_text = read_srt(to_srt(captions)), read_webvtt(to_webvtt(captions))
    assert len(srt_text) == len(vtt_text) == len(captions)
    assert [cue.start for cue in captions] == sorted(cue.start for cue in captions)
    # A word of a script without spaces may be divided.
    said = "".join(shown([utterance]) for utterance in utterances)
    assert sorted("".join("".join(caption.text for caption in vtt_text).split())) == sorted("".join(said.split()))
    for cue, read, other in zip(captions, srt_text, vtt_text, strict=True):
        assert (read.start, read.end) == (other.start, other.end)
        assert read.start + 125 <= read.end <= read.start + round(max_duration * 1000)
        assert (other.voice or "") == cue.voice
        label = f"{cue.voice}: " if cue.voice and cue.turn else ""
        assert read.text == label + other.text
        assert 1 <= len(cue.lines) <= max_lines
        for line in read.text.split("\n"):
            assert width(line) <= max_chars or " " not in line.removeprefix(label)


@st.composite
def talk(draw: st.DrawFn) -> list[Word]:
    """Consecutive words, as a recogniser sends them."""
    at, found = draw(st.floats(0, 400_000)), []
    for length, pause in draw(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 3)), min_size=1, max_size=40)):
        found.append(Word(f"w{len(found)}", at, at + length))
        at += length + pause
    return found


@given(talk(), st.integers(1, 50), st.integers(1, 3))
@example([Word("w0", 1.9996, 59.9996)], 42, 2)
@settings(max_examples=200, deadline=None)
def test_captions_have_the_times_of_their_words(said: list[Word], max_chars: int, max_lines: int) -> None:
    captions = cues([(said, 0)], max_chars=max_chars, max_lines=max_lines)
    by_name = {word.word: word for word in said}
    read = read_srt(to_srt(captions))
    assert " ".join(caption.text for caption in read).split() == [word.word for word in said]
    for before, caption, after in zip([None, *read], read, [*read[1:], None], strict=False):
        first, last = (by_name[name] for name in (caption.text.split()[0], caption.text.split()[-1]))
        # It begins with its first word, or when the caption before it has stayed for three frames.
        assert abs(caption.start - first.start * 1000) <= 1 or (before and caption.start == before.start + 125)
        # It ends with its last word, in the silence after that, or at the longest duration.
        assert caption.end >= min(last.end * 1000, caption.start + 7000) - 1
        assert after is None or caption.end <= max(after.start, caption.start + 1)
        if caption.end > last.end * 1000 + 1:
            chars = len(caption.text)
            assert caption.end - caption.start <= max(800, math.ceil(chars * 50))


@given(talk(), st.data())
@settings(max_examples=50, deadline=None)
def test_captions_of_a_running_transcript_change_only_at_the_end(said: list[Word], data: st.DataObject) -> None:
    until = data.draw(st.integers(0, len(said)))
    so_far, whole = (read_srt(to_srt(cues([(part, 0)]))) for part in (said[:until], said))
    # The end of the last caption is known only when it is full.
    settled = max(0, len(so_far) - 2)
    assert so_far[:settled] == whole[:settled]

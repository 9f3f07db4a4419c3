"""Words as their transcript writes them, in scripts with and without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgnb.messages import Word
from dgnb.writing import closing, fitted, joined, spaced, spread, units, width

SENTENCES = [
    ("今天天气很好", "今天 天气 很 好"),
    ("今日は、天気がいいですね。", "今日 は 天気 が いい です ね"),
    ("彼は「はい」と言った。", "彼 は はい と 言った"),
    ("วันนี้อากาศดีมาก", "วันนี้ อากาศ ดี มาก"),
    ("오늘 날씨가 좋네요.", "오늘 날씨 가 좋 네요"),
    ("我用 iPhone 拍照", "我 用 iphone 拍照"),
    ("我用iPhone拍照，很好！", "我 用 iphone 拍照 很 好"),
    ("Hello, world. It's 5%.", "hello world it's 5"),
    ("¿Qué tal? — Bien.", "qué tal bien"),
    ("I don't know", "i do n't know"),
]


def words(text: str) -> list[Word]:
    return [Word(word, 0.5 * i, 0.5 * i + 0.5) for i, word in enumerate(text.split())]


@pytest.mark.parametrize(("text", "said"), SENTENCES)
def test_the_words_of_a_final_read_as_its_transcript(text: str, said: str) -> None:
    found = fitted(text, words(said), True)
    assert joined(found) == text
    assert [word.word for word in found] == said.split()
    assert [(word.start, word.end) for word in found] == [(word.start, word.end) for word in words(said)]


def test_words_that_read_as_their_transcript_stay_as_they_are() -> None:
    said = words("two words")
    assert fitted("two words", said, True) is said


def test_a_word_that_the_transcript_does_not_have_stays_as_it_is() -> None:
    assert (
        joined(fitted("That is $5, please.", words("that is five dollars please"), True))
        == "That is five dollars please."
    )
    assert joined(fitted("the bar", words("a bar"), True)) == "a bar"
    assert joined(fitted("明天见", words("今天 天气 见"), True)) == "今天天气见"
    assert joined(fitted("", words("one two"), True)) == "one two"


@pytest.mark.parametrize(
    ("before", "after", "space"),
    [
        ("hello", "there", True),
        ("hello", ".", False),
        ("hello", "...", False),
        ("use", ".NET", True),
        ("很好。", "我们", False),
        ("좋네요.", "오늘", True),
        ("用", "iPhone", True),
        ("hello (", "there", False),
        ("好", "。", False),
    ],
)
def test_a_space_stands_between_two_finals_where_the_script_has_one(before: str, after: str, space: bool) -> None:
    assert spaced(before, after) is space


def test_punctuation_that_closes_is_known() -> None:
    assert all(map(closing, (".", "?!", "。", "...", "»", "…", ". ")))
    assert not any(map(closing, ("", "a.", ".a", "(", "「", "5%", "♪")))


def test_text_without_words_is_spread_over_its_time_by_width() -> None:
    found = spread("Hello there, 世界。", 1.0, 3.0, True)
    assert [word.punctuated_word for word in found] == ["Hello", "there,", "世", "界。"]
    assert [word.word for word in found] == ["hello", "there", "世", "界"]
    assert [word.start for word in found] == pytest.approx([1.0, 1.0 + 10 / 17, 1.0 + 22 / 17, 1.0 + 26 / 17])
    assert found[-1].end == 3.0
    assert all(word.estimated for word in found)
    assert joined(found) == "Hello there, 世界。"
    assert spread("  ", 0.0, 1.0, True) == ()


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert [width(text) for text in ("abc", "今天", "한국", "ｶﾅ", "e\u0301", "ดี", "")] == [3, 4, 4, 2, 1, 1, 0]


@given(st.text())
def test_no_character_is_lost_in_units(text: str) -> None:
    token = "".join(text.split())
    assert "".join(units(token)) == token


@given(st.text(), st.lists(st.text(min_size=1), max_size=5))
def test_any_words_fit_any_transcript(text: str, said: list[str]) -> None:
    found = fitted(text, [Word(word, 0.0, 1.0) for word in said], True)
    assert [word.word for word in found] == said

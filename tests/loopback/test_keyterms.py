from __future__ import annotations

from collections.abc import Callable

import pytest

from dgnb.loopback.engines import HeardWord
from dgnb.loopback.engines.keyterms import put_in


def heard(text: str, confidence: float = 0.5) -> list[HeardWord]:
    return [HeardWord(word, i / 2, i / 2 + 0.5, confidence) for i, word in enumerate(text.split())]


def costs(change: float) -> Callable[[str], float]:
    """A model to which a text is less likely by `change` for every term in it."""
    return lambda text: -50.0 - change * (text.count("Praat") + text.count("dgnb"))


@pytest.mark.parametrize(
    ("text", "told", "term", "change", "expected"),
    [
        ("measured with prat, then", "measured with Praat, then", "Praat", 8, "measured with Praat, then"),
        ("measured with prat, then", "measured with Praat, then", "Praat", 20, "measured with prat, then"),
        ("measured with prat, then", "Praat", "Praat", 8, "measured with Praat, then"),
        ("it was a long day", "it was a long dgnb", "dgnb", 8, "it was a long day"),
        ("it was a long", "it was a long dgnb", "dgnb", 8, "it was a long"),
        ("install the gnb and the gnb", "install dgnb and dgnb", "dgnb", 8, "install the dgnb and the dgnb"),
        ("install the gnb and the gnb", "install dgnb and", "dgnb", 8, "install the dgnb and the gnb"),
        ("it is dgnb.", "dgnb dgnb dgnb dgnb", "dgnb", 8, "it is dgnb."),
    ],
)
def test_a_term_comes_in_where_it_was_heard_where_the_words_sound_like_it_and_where_the_text_stays_likely(
    text: str, told: str, term: str, change: float, expected: str
) -> None:
    assert put_in(heard(text), told, [term], costs(change)) == expected


def test_a_term_in_other_letters_is_spelled_as_given_and_not_weighed() -> None:
    words = heard("so the cold hearted shopboy of deep gram, he said", confidence=1.0)
    terms = ["cold-hearted", "shop boy", "Deepgram"]
    told = "Cold-hearted shop boy of Deepgram"
    assert put_in(words, told, terms, costs(99)) == "so the cold-hearted shop boy of Deepgram, he said"


def test_a_word_that_is_certain_gives_way_to_no_term() -> None:
    assert put_in(heard("prat then", confidence=0.95), "Praat then", ["Praat"], costs(0)) == "prat then"


def test_nothing_but_terms_is_taken_from_what_is_heard_with_them() -> None:
    told = "You said so. You said so. You said so with a PRAAT and us"
    assert put_in(heard("you said so to us"), told, ["Praat", "US", "...", ""], costs(0)) == "you said so to us"


def test_no_words_stay_no_words() -> None:
    assert put_in([], "dgnb", ["dgnb"], costs(0)) == ""

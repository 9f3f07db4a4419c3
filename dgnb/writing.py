"""How words are written as text: where a space stands, where a line may break, how wide it is.

Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces between words. Korean has.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from dgnb.messages import Word

_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uaa60-\uaa7f"
    "\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff"
)
"""The characters of scripts without spaces, for a class of a regular expression."""
_AFTER: Final = "、。，．！？；：）］｝」』】》〉〕・"
_BEFORE: Final = "([{«“‘¿¡（［｛「『【《〈〔"
_PUNCTUATION: Final = f".,!?;:…%)]}}»”’\"'{_AFTER}{_BEFORE}"
# No line begins with these: closing punctuation, small kana, and the vowels and marks that follow a letter.
_WIDE_CLOSING: Final = (
    f"{_AFTER}ー々ゝゞヽヾぁぃぅぇぉっゃゅょァィゥェォッャュョ\u3099\u309a"
    "\u0e30-\u0e3a\u0e45-\u0e4e\u0eb0-\u0ebc\u0ec6-\u0ece\u102b-\u103e\u17b4-\u17d3"
)
_CLOSING: Final = rf".,!?;:…%)\]}}»”’{_WIDE_CLOSING}"
# No line ends with these: opening punctuation, and the vowels that stand before their letter.
_OPENING: Final = re.escape(_BEFORE) + "\u0e40-\u0e44\u0ec0-\u0ec4"
_MARKS: Final = ("Mn", "Me", "Cf")

CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_closing = re.compile(rf"[{_WIDE_CLOSING}]|[{_CLOSING}]+(?!\w)")
_opening = re.compile(f"[{_OPENING}]")
_CHARACTERS: Final = re.compile(f"[{_UNSPACED}\uac00-\ud7a3]")
"""Characters that are compared one by one, whatever the words are. Korean has spaces, but not before its particles."""
_unspaced = re.compile(f"[{_UNSPACED}]")
_beside = re.compile(f"(?<=[{_UNSPACED}]) | (?=[{_UNSPACED}])")
_unit = re.compile(f"[{_OPENING}]*(?:[{_UNSPACED}]|[^{_UNSPACED}{_OPENING}]+)?[{_CLOSING}]*")


class Said(Word, frozen=True):
    """A word of a final, and how it is written."""

    spaced: bool = True  # Whether a space stands before it
    estimated: bool = False
    """Whether its times are a share: of a final's that the server sent without words, or of a correction's."""
    corrected: bool = False  # Whether a person wrote it


def parts(text: str) -> list[str]:
    """The words of a text as they are compared: without case, punctuation, apostrophes and the encoding of accents."""
    if text.isascii() and text.isalnum():
        return [text.lower()]
    kept = []
    for character in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(character)
        if character not in "'’ʼ" and kind != "Cf":
            kept.append(character if kind[0] in "LMNS" else " ")
    return _CHARACTERS.sub(r" \g<0> ", "".join(kept)).split()


def is_spaced(word: Word) -> bool:
    """Whether a space stands before a word of a final."""
    return type(word) is not Said or word.spaced


def shown(word: Word) -> str:
    """A word as displayed, with the space before it."""
    return f"{' ' * is_spaced(word)}{word.punctuated_word or word.word}"


def joined(words: Iterable[Word]) -> str:
    """The words as one text, as displayed."""
    return "".join(map(shown, words)).removeprefix(" ")


def one_line(text: str) -> str:
    """A text without line breaks and control characters."""
    # Fast path for nearly every word.
    return text if text.isprintable() and " " not in text else " ".join(CONTROLS.sub(" ", text).split())


def spaced(before: str, after: str) -> bool:
    """Whether a space stands between two texts, where the server does not say."""
    if after[:1].isascii() and after[:1].isalnum() and before[-1:].isalnum():
        # Nearly all texts.
        return True
    return not (_bound(before, after) or (_unspaced.match(before[-1:]) and _unspaced.match(after)))


def tight(text: str) -> str:
    """A text without the spaces beside characters of scripts without spaces."""
    return text if text.isascii() else _beside.sub("", text)


def breakable(before: str, after: str) -> bool:
    """Whether a line may end between two texts that no space separates."""
    return not _bound(before, after) and bool(_unspaced.match(before[-1:]) or _unspaced.match(after))


def closing(text: str) -> bool:
    """Whether a text has no letter, and belongs to the word before it, such as a full stop."""
    return bool(_closing.match(text)) and all(unicodedata.category(character)[0] in "PZ" for character in text)


def _bound(before: str, after: str) -> bool:
    return bool(_closing.match(after) or _opening.match(before[-1:]))


def width(text: str) -> int:
    """How many columns a text takes: wide characters take two, marks on other characters none."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" else unicodedata.category(character) not in _MARKS
        for character in text
    )


def units(text: str) -> Iterator[str]:
    """A text without spaces in parts between which a line may break; one part, in a script with spaces."""
    if text.isascii() or not _unspaced.search(text):
        yield text
    else:
        yield from filter(None, _unit.findall(text))


def fitted(text: str, words: Sequence[Word], space: bool) -> Sequence[Word]:
    """The words of a final as its transcript writes them. `space`: one stands before the first."""
    shown = [word.punctuated_word or word.word for word in words]
    if space and " ".join(shown) == text:
        # Nearly all finals.
        return words
    places, spaces = _places(text, shown), [space] * len(words)
    for index, (before, place) in enumerate(itertools.pairwise([(0, 0), *places])):
        if place:
            shown[index] = text[slice(*place)]
        if before and place and _bare(lead := text[before[1] : place[0]]):
            behind, ahead, gap = _divided(lead) if index else ("", lead.lstrip(), space)
            shown[index] = ahead + shown[index]
            shown[index - 1] += behind
            spaces[index] = gap
        elif index:
            spaces[index] = spaced(shown[index - 1], shown[index])
    if places and (last := places[-1]) and _bare(rest := text[last[1] :]):
        shown[-1] += rest.rstrip()
    return tuple(map(_written, words, shown, spaces))


def spread(text: str, start: float, end: float, space: bool) -> tuple[Said, ...]:
    """A text as words that share the time from `start` to `end` seconds by their width."""
    shown: list[str] = []
    spaces: list[bool] = []
    for token in text.split():
        parts = list(units(token))
        spaces += [bool(shown) or space] + [False] * (len(parts) - 1)
        shown += parts
    return tuple(
        Said(plain(part), since, until, punctuated_word=part, spaced=gap, estimated=True)
        for part, gap, (since, until) in zip(shown, spaces, shares(shown, start, end), strict=True)
    )


def shares(shown: Sequence[str], start: float, end: float) -> list[tuple[float, float]]:
    """The time from `start` to `end` seconds, divided among texts by their width."""
    bounds = list(itertools.accumulate((max(1, width(part)) for part in shown), initial=0))
    times = [start + (end - start) * bound / bounds[-1] for bound in bounds] if shown else []
    return list(itertools.pairwise(times))


def plain(text: str) -> str:
    """A word as it is recognised: in lower case, without punctuation around it."""
    return text.strip(_PUNCTUATION).lower() or text


def _places(text: str, shown: list[str]) -> list[tuple[int, int] | None]:
    """Where each word stands in a transcript; None for a word that does not, or only within another word."""
    folded, at = text.lower(), 0
    if len(folded) != len(text):
        folded = text
    places: list[tuple[int, int] | None] = []
    for word in shown:
        start = folded.find(word.lower(), at)
        within = start > at and text[start - 1].isalnum() and not _unspaced.match(text[start - 1])
        places.append(None if start < 0 or within else (start, at := start + len(word)))
    return places


def _bare(text: str) -> bool:
    """Whether a text has no letter and no digit."""
    return not any(map(str.isalnum, text))


def _divided(lead: str) -> tuple[str, str, bool]:
    """What stands between two words: what belongs to the first, what to the second, and whether there is a space."""
    if space := re.search(r"\s+", lead):
        return lead[: space.start()], lead[space.end() :], True
    opening = _opening.search(lead)
    cut = opening.start() if opening else len(lead)
    return lead[:cut], lead[cut:], False


def _written(word: Word, shown: str, space: bool) -> Word:
    if space and shown == (word.punctuated_word or word.word):
        return word
    fields = {name: getattr(word, name) for name in word.__struct_fields__}
    return Said(**(fields | {"punctuated_word": shown, "spaced": space}))

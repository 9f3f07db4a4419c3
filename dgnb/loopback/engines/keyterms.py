"""Puts key terms into a text that was heard without them.

A model that is told key terms also leaves out, repeats and invents. So it is asked twice. From the text that it gives
with the terms, only the terms are taken, each to where the text without them sounds like it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

from dgnb.loopback.engines import HeardWord

_SURE = 0.9
"""From this confidence on, a word gives way only to another spelling of itself."""
_UNLIKE, _ALIKE = 5.0, -15.0
"""Change of the text's log probability from which a term is believed: where its letters have nothing in common with the
words that it replaces, and where they are nearly the same. In read and synthetic speech, clear and in noise, true terms
changed it by 1 to -13 where 0.5 to 0.9 of the letters were the same. A false one changed it by -27 at 0.3."""


def put_in(words: Sequence[HeardWord], told: str, terms: Sequence[str], weigh: Callable[[str], float]) -> str:
    """The text of `words`, with the terms of them that were `told`, each where the words sound like it.

    `weigh` gives the log probability of a text, for a model that is not told the terms.
    """
    texts, sure = [word.text for word in words], [word.confidence for word in words]
    for term in terms:
        letters = _letters(term)
        # Its case counts, so "US" is not "us"; but a sentence may begin with it.
        said = re.compile(rf"(?<!\w)(?:{re.escape(term)}|{re.escape(term[:1].upper() + term[1:])})(?!\w)")
        missing = len(said.findall(told)) - len(said.findall(" ".join(texts)))
        for _ in range(missing if letters else 0):
            places = [
                (SequenceMatcher(None, these, letters, autojunk=False).ratio(), first, last)
                for first in range(len(texts))
                for last in range(first + 1, min(first + len(term.split()) + 2, len(texts)) + 1)
                for these in [_letters("".join(texts[first:last]))]
                if these == letters or min(sure[first:last]) < _SURE
                if not said.search(" ".join(texts[first:last]))
            ]
            if not places:
                break
            likeness, first, last = max(places, key=lambda place: place[0])
            mark = re.sub(r".*\w", "", texts[last - 1])
            changed = [*texts[:first], term + mark, *texts[last:]]
            least = _UNLIKE + likeness * (_ALIKE - _UNLIKE)
            if likeness < 1 and weigh(" ".join(changed)) - weigh(" ".join(texts)) < least:
                break
            texts, sure[first:last] = changed, [1.0]
    return " ".join(texts)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.casefold())

"""Two texts side by side: what is compared of each, and which words are pairs."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnb.exceptions import DgnbError
from dgnb.writing import parts, tight

try:
    import jiwer
    from rapidfuzz.distance import Levenshtein  # what jiwer counts with
    from whisper_normalizer.english import EnglishTextNormalizer
except ModuleNotFoundError:
    raise DgnbError("Comparing needs jiwer and whisper-normalizer: pip install 'dgnb[compare]'.") from None

Normalize = Callable[[str], str]
Positions = npt.NDArray[np.intp]

OPS: Final = ("equal", "substitute", "delete", "insert", "mixed")
STEP: Final = 1 << 24  # Between the keys of two tokens of a text there is room for those that another text puts in.
COLLAR: Final = 2.0  # Seconds. Words that are further apart are no pair.
_STRETCH: Final = 20  # Words of a text without times that are one utterance
_DRAWS: Final = 1000


class Side:
    """A text: `shown` are its words as displayed, `tokens` is what is compared.

    The arrays have a place for each token: `first` and `last` word that it stands for; `start`, `end` (s, or NaN); `at`
    is the start where the server said it; `utterance`.
    """

    def __init__(self, heard: pd.DataFrame | str, normalize: Normalize) -> None:
        if isinstance(heard, str):
            said = heard.split()
            heard = pd.DataFrame({"punctuated_word": said, "utterance": np.arange(len(said)) // _STRETCH})
            heard[["start", "end"]] = math.nan
        # Each channel comes in its own order, and gaps that were filled come last.
        heard = heard.sort_values("start", kind="stable")
        words, spaced = heard["punctuated_word"].tolist(), heard.get("spaced", [True] * len(heard))
        self.shown = [f" {word}" if space else word for word, space in zip(words, spaced, strict=True)]
        self.tokens = np.array(normalize("".join(self.shown)).split(), object)
        each = functools.cache(lambda word: normalize(word).split())
        alone = [(token, place) for place, word in enumerate(words) for token in each(word)]
        self.first, self.last = _places(alone, self.tokens.tolist())
        self.start, self.end = heard["start"].to_numpy()[self.first], heard["end"].to_numpy()[self.last]
        guessed = heard["estimated"].to_numpy()[self.first] if "estimated" in heard else False
        self.at = np.where(guessed, math.nan, self.start)
        self.utterance = heard["utterance"].to_numpy()[self.first]

    @property
    def text(self) -> str:
        """What is compared, as one text."""
        return tight(" ".join(self.tokens))


def _places(alone: list[tuple[str, int]], tokens: list[str]) -> tuple[Positions, Positions]:
    """The first and the last word of each token: a text has others than its words have, such as "21"."""
    first, last = np.zeros(len(tokens), np.intp), np.zeros(len(tokens), np.intp)
    places, most, since, begin = np.array([place for _, place in alone] or [0]), len(alone) - 1, 0, 0
    for until, end, size in Levenshtein.editops([token for token, _ in alone], tokens).as_matching_blocks():
        # Between equal tokens, each stands for all of the words.
        first[begin:end], last[begin:end] = places[min(since, most)], places[min(max(since, until - 1), most)]
        first[end : end + size] = last[end : end + size] = places[until : until + size]
        since, begin = until + size, end + size
    return first, last


class Pairs:
    """Which tokens of `a` and `b` are pairs: in each place, `i` and `j` are their positions, or -1.

    `found` is what jiwer says of the texts. Tokens that are more than `collar` seconds apart are no pair; `refused` is
    whether there are such. `ops` are positions in `OPS`. `keys` order the places of all texts compared with `a`.
    """

    def __init__(self, a: Side, b: Side, collar: float = math.inf) -> None:
        self.found = jiwer.process_words(" ".join(a.tokens), " ".join(b.tokens))
        only, extra = np.zeros(len(a.tokens), bool), np.zeros(len(b.tokens), bool)
        for piece in self.found.alignments[0]:
            if piece.type == "delete":
                only[piece.ref_start_idx : piece.ref_end_idx] = True
            elif piece.type == "insert":
                extra[piece.hyp_start_idx : piece.hyp_end_idx] = True
        left, right = np.flatnonzero(~only), np.flatnonzero(~extra)
        far = np.abs(a.at[left] - b.at[right]) > collar
        self.refused = bool(far.any())
        only[left[far]] = extra[right[far]] = True
        left, right = left[~far], right[~far]
        # What has no pair stands before the next pair.
        alone, more = np.flatnonzero(only), np.flatnonzero(extra)
        slots = [np.searchsorted(left, alone), np.searchsorted(right, more), np.arange(len(left))]
        order = np.lexsort((np.repeat([0, 1, 2], list(map(len, slots))), np.concatenate(slots)))
        self.i = np.concatenate([alone, np.full(len(more), -1), left])[order]
        self.j = np.concatenate([np.full(len(alone), -1), more, right])[order]
        pair = (self.i >= 0) & (self.j >= 0)
        self.ops = np.select([self.i < 0, self.j < 0], [3, 2], 0)
        slot = np.maximum.accumulate(self.i)
        self.keys = slot * STEP + pd.Series(self.i < 0).groupby(slot).cumsum().to_numpy()
        self.ops[pair] = a.tokens[self.i[pair]] != b.tokens[self.j[pair]]


def interval(a: Side, pairs: Pairs) -> tuple[float, float]:
    """The 95 % bootstrap interval of the word error rate over the utterances of `a`; NaN for fewer than two."""
    names, of = np.unique(a.utterance, return_inverse=True)
    if len(names) < 2:
        return math.nan, math.nan
    # What is put in belongs to the word before it.
    errors = np.bincount(of[np.maximum.accumulate(np.maximum(pairs.i, 0))], pairs.ops > 0, minlength=len(names))
    words, draw = np.bincount(of), np.random.default_rng(0)
    picks = (draw.integers(len(names), size=len(names)) for _ in range(_DRAWS))
    low, high = np.percentile([errors[some].sum() / words[some].sum() for some in picks], [2.5, 97.5])
    return float(low), float(high)


def character_errors(a: Side, b: Side, pairs: Pairs) -> float:
    """The share of the characters of `a` that differ."""
    wrong = np.flatnonzero(pairs.ops)
    left, right = np.append(a.tokens, "")[pairs.i[wrong]], np.append(b.tokens, "")[pairs.j[wrong]]
    # With a good guess, the distance is found thirty times as fast.
    guess = sum(map(Levenshtein.distance, left, right)) + len(wrong)
    return Levenshtein.distance(a.text, b.text, score_hint=guess) / len(a.text)


def normalizer(heard: Iterable[Any]) -> Normalize:
    """How texts are compared: English by Whisper's rules; another language, or script, as `plain`."""
    texts, foreign = [], False
    for said in heard:
        texts.append(said if isinstance(said, str) else " ".join(said["word"]))
        known = [] if isinstance(said, str) else said["language"].dropna()
        foreign = foreign or (len(known) > 0 and sum(map(english, known)) < 0.5 * len(known))
    letters = re.sub(r"[\W\d_]+", "", "".join(texts))
    return plain if foreign or len(letters.encode("ascii", "ignore")) < 0.9 * len(letters) else _english()


def english(language: str | None) -> bool:
    """Whether a language is English, or is not known to be another one."""
    return not language or language == "multi" or language.split("-")[0].lower() == "en"


def plain(said: str) -> str:
    """A text without case and punctuation, and with spaces between characters of scripts without them."""
    return " ".join(parts(said))


@functools.cache
def _english() -> Normalize:
    made: Normalize = EnglishTextNormalizer()
    return made

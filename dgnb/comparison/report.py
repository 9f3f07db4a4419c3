"""`Comparison`: what finished transcripts of the same sound have in common, and where they differ."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from dgnb.comparison.references import NO_WORDS, Reference, named, referred
from dgnb.comparison.texts import COLLAR, OPS, Normalize, Pairs, Side, character_errors, interval, normalizer
from dgnb.exceptions import ConfigurationError
from dgnb.notices import escaped, quiet
from dgnb.transcript import Transcript

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dgnb.widgets.diff import Diff

__all__ = ["Comparison"]

_RATES: Final = ("wer", "wer_low", "wer_high", "substitutions", "deletions", "insertions", "cer", "cpwer")
_MORE: Final = ("disagreement", "confidence", "latency_p50", "latency_p95", "first_word", "churn", "cost", "error")
_SHOWN: Final = ["words", "wer", "disagreement", "confidence", "latency_p50", "cost", "error"]
_MANY, _ALIKE = 30, 0.1
"""Of so many words, transcripts of the same sound share at least this. Texts on different subjects share 0.06."""


class Comparison:
    """Transcripts of the same sound, side by side. `dgnb.compare` makes one; so can you, of finished transcripts.

    Words are compared without case and punctuation. English follows Whisper's normalizer, for which "twenty one" is
    "21" and "can't" is "can not"; other languages, where words or the options of `compare` name them, do not. Chinese,
    Japanese and Thai are compared by character. In `words` and `diff()`, words of known times that are more than 2 s
    apart are no pair.

    Args:
        transcripts: The runs by name.
        reference: What was really said: a `Transcript`, also a corrected one; a text; the path of a text file, of a
            session file or of Deepgram's JSON; or the name of a run.
        normalize: A function from text to text, in place of these rules.
        told: Of each run that heard the sound together with others, further columns of its row in `summary`; of one
            that failed, its `error`.

    Attributes:
        transcripts: The runs that did not fail.
        reference: The `Transcript` or the text; None without one.

    Raises:
        ConfigurationError: There is nothing to compare, a name is wrong, the reference has no words, or a transcript
            has hardly a word in common with the others: it is of other sound.
        DgnbError: The file of the reference can't be read; or jiwer or whisper-normalizer is not installed.

    Example:
        ```python
        comparison = dgnb.Comparison({"before": old, "after": new}, reference="talk.txt")
        comparison.summary
        ```
    """

    def __init__(
        self,
        transcripts: Mapping[str, Transcript],
        reference: Reference = None,
        *,
        normalize: Normalize | None = None,
        told: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._told = dict(told or {})
        checked(normalize)
        self.transcripts: dict[str, Transcript] = named(transcripts)
        for name, run in self.transcripts.items():
            if not isinstance(run, Transcript):
                raise ConfigurationError(f"Run {name!r} is a Transcript, not {type(run).__name__}. Await it first.")
        self.reference = referred(reference, self.transcripts)
        self._base, heard = self._based()
        if len(heard.keys() | self._told) < 2:
            raise ConfigurationError("There is nothing to compare with: give a second run, or a reference.")
        normalize = normalize or normalizer(heard.values())
        self.sides = {name: Side(said, normalize) for name, said in heard.items()}
        base = self.sides[self._base]
        if self.reference is not None and not any(map(str.isalnum, "".join(base.tokens))):
            raise ConfigurationError(NO_WORDS)
        self.pairs = {name: Pairs(base, side, COLLAR) for name, side in self.sides.items()}
        self._refuse_other_sound(base)

    def _based(self) -> tuple[str, dict[str, Any]]:
        """The name of what the runs are compared with, and the words of all by name, or their text."""
        heard: dict[str, Any] = {name: run.words for name, run in self.transcripts.items()}
        if self.reference is None:
            return next(iter(heard)), heard
        for name, run in self.transcripts.items():
            if run is self.reference:
                return name, heard
        text = self.reference.words if isinstance(self.reference, Transcript) else self.reference
        return "reference", {"reference": text, **heard}

    def _refuse_other_sound(self, base: Side) -> None:
        fewer = {name: min(len(base.tokens), len(side.tokens)) for name, side in self.sides.items()}
        few = {name for name, pairs in self.pairs.items() if (pairs.ops == 0).sum() < _ALIKE * fewer[name]}
        strange = {name for name in few if fewer[name] >= _MANY}
        alone = self._base not in self._told and len(strange) == len(self.sides) - 1
        if wrong := strange if alone else strange - self._told.keys():
            raise ConfigurationError(
                f"{self._base!r} and {', '.join(map(repr, sorted(wrong)))} have hardly a word in common at the same "
                "time: they are of different sound. Compare transcripts of one recording."
            )

    @cached_property
    def ops(self) -> pd.DataFrame:
        """Internal: of each text, the operation in each row of `words`, or NaN."""
        rows = np.unique(np.concatenate([pairs.keys for pairs in self.pairs.values()]))
        return pd.DataFrame({name: pd.Series(pairs.ops, pairs.keys) for name, pairs in self.pairs.items()}, rows)

    @cached_property
    def words(self) -> pd.DataFrame:
        """One row for each position, in order: a word of the reference (or the first run), or one that is put in.

        Columns: `start`, `end` (s, or NaN); `reference`, where it is no run; a column for each run with its word as it
        is compared, or NA; `op`: `equal`, `substitute`, `delete` (a run lacks it), `insert`, or `mixed` where runs
        differ in several ways; `drift`: how many seconds later than in the reference, or the first run, the word
        starts, of the run in which it is most. It is NaN where times are not known.
        """

        def columns(name: str, missing: Any) -> pd.DataFrame:
            values = {run: np.append(getattr(side, name), missing) for run, side in self.sides.items()}
            return pd.DataFrame({run: pd.Series(values[run][pairs.j], pairs.keys) for run, pairs in self.pairs.items()})

        start, end = (columns(name, math.nan).bfill(axis=1).iloc[:, 0] for name in ("start", "end"))
        late = (at := columns("at", math.nan)).sub(at[self._base], axis=0)
        late = late.drop(columns=self._base) if len(self.sides) > 1 else late
        drift = late.max(axis=1).where(late.max(axis=1) > -late.min(axis=1), late.min(axis=1))
        most, least = self.ops.max(axis=1), self.ops.where(self.ops > 0).min(axis=1)
        op = np.array(OPS, object)[np.where(least < most, len(OPS) - 1, most).astype(int)]
        table = pd.concat([start.rename("start"), end.rename("end"), columns("tokens", None).astype("string")], axis=1)
        return table.assign(op=pd.array(op, "string"), drift=drift).reset_index(drop=True)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row for each run. What is not known is NaN.

        Columns: `words` (how many); with a reference `wer` and `cer`, the shares of words and characters that differ,
        as jiwer counts them in the whole text, `wer_low` and `wer_high`, the 95 % bootstrap interval over its
        utterances (of a text, over stretches of 20 words), `substitutions`, `deletions`, `insertions`, and `cpwer`
        where both have speakers and meeteval is installed; without a reference `disagreement`, the mean share of words
        that differ from another run; `confidence` (mean), `latency_p50`, `latency_p95` (s, of the interims),
        `first_word` (s of audio sent from the end of the first word to the first message with words), `churn` (mean of
        the finals), `cost` (US$) and `error`.
        """
        runs = {name: self._row(name, run) for name, run in self.transcripts.items()}
        rows = [{"run": name, **runs.get(name, {}), **self._told.get(name, {})} for name in runs | self._told]
        table = pd.DataFrame(rows, columns=["run", "words", *_RATES, *_MORE]).set_index("run")
        whole = dict.fromkeys(("words", "substitutions", "deletions", "insertions"), "Int64")
        return table.astype(dict.fromkeys(table, "float64") | whole | {"error": "string"})

    def _row(self, name: str, run: Transcript) -> dict[str, Any]:
        words, results, side = run.words, run.results, self.sides[name]
        spoken = results[(results["words"] > 0) & results["audio_cursor"].notna()]
        row = {
            "words": len(words),
            "confidence": words["confidence"].mean(),
            "latency_p50": results["latency"].quantile(0.5),
            "latency_p95": results["latency"].quantile(0.95),
            "first_word": spoken["audio_cursor"].iloc[0] - words["end"].min() if len(spoken) else math.nan,
            "churn": results["churn"].mean(),
        }
        base = self.sides[self._base]
        if self.reference is None:
            from rapidfuzz.distance import Levenshtein  # installed with jiwer, for which texts.py asks

            others = [other.tokens.tolist() for each, other in self.sides.items() if each != name]
            far = [Levenshtein.normalized_distance(side.tokens.tolist(), other) for other in others]
            row["disagreement"] = np.mean(far) if far else math.nan
        elif side is not base:
            pairs = Pairs(base, side) if self.pairs[name].refused else self.pairs[name]
            row |= {kind: getattr(pairs.found, kind) for kind in ("wer", "substitutions", "deletions", "insertions")}
            row["wer_low"], row["wer_high"] = interval(base, pairs)
            row |= {"cer": character_errors(base, side, pairs), "cpwer": _cpwer(self.reference, run)}
        return row

    def diff(self, start: float = 0.0, end: float | None = None) -> Diff:
        """The texts side by side, from `start` to `end` seconds, as the value of a cell.

        A word that is another one has a colour and the mark ≠, one that is put in has +, and − stands where one is
        missing. Click a word and hear it, where a transcript has sound; 25 MB of it, about 75 minutes, fit into the
        page. `diff().to_html(path)` writes the page. It raises what `Transcript.player` raises.
        """
        made: Diff = importlib.import_module("dgnb.widgets.diff").Diff(self, start, end)
        return made

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw for each run how large a share of the words differs, and in which way, with its interval.

        It needs matplotlib (`pip install 'dgnb[plots]'`). Without a reference it draws the disagreement.
        """
        axes: Axes = importlib.import_module("dgnb.plots.rates").rates(self, ax)
        return axes

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(map(repr, self.transcripts))}: .summary, .words, .diff(), .plot()>"

    def _repr_html_(self) -> str:
        shown = self.summary[_SHOWN].dropna(axis="columns", how="all").round(3).astype("object").fillna("")
        table = shown.rename(index=escaped).map(escaped).to_html(escape=False, index_names=False)
        return quiet(
            f"{table}<code>.summary</code> · <code>.words</code> · <code>.diff()</code> · <code>.plot()</code>"
        )


def checked(normalize: Any) -> None:
    """`ConfigurationError`: it is no rule of a `Comparison`."""
    if normalize is not None and not callable(normalize):
        raise ConfigurationError(f"normalize is a function from text to text, not {normalize!r}.")


def _cpwer(reference: Any, run: Transcript) -> float:
    """The word error rate of what each speaker said as a whole, with speakers matched at best."""
    tables = [each.words for each in (reference, run) if isinstance(each, Transcript)]
    known = len(tables) == 2 and all(table["speaker"].notna().all() for table in tables)
    if not known or not importlib.util.find_spec("meeteval"):
        return math.nan
    said = [table.groupby("speaker")["word"].agg(" ".join).to_dict() for table in tables]
    count = importlib.import_module("meeteval.wer").cp_word_error_rate
    return float(count(*said, reference_sort=False, hypothesis_sort=False).error_rate)

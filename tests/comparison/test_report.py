"""What two transcripts have in common, and where they differ."""

from __future__ import annotations

import importlib
import random
import sys

import jiwer
import numpy as np
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

import dgnb
from dgnb.comparison import Comparison
from dgnb.exceptions import ConfigurationError, DgnbError
from tests.support.spoken import spoken

LETTERS = "bdfgklmnprstvz"


def talk(count: int, seed: int = 1) -> list[str]:
    """Words that no rule of a language changes."""
    draw = random.Random(seed)
    return ["".join(draw.choices(LETTERS, k=6)) for _ in range(count)]


def planted(words: list[str], seed: int = 2) -> tuple[list[str], list[float], dict[int, str]]:
    """The words with 20 differences, their starts, and the operation at each position of the original."""
    draw = random.Random(seed)
    kinds = ["substitute"] * 8 + ["delete"] * 7 + ["insert"] * 5
    ops = dict(zip(draw.sample(range(5, len(words), 7), 20), kinds, strict=True))
    said, starts = [], []
    for n, word in enumerate(words):
        op = ops.get(n)
        if op == "insert":
            said.append("w" + word)
            starts.append(n * 0.5 - 0.1)
        if op != "delete":
            said.append("x" + word if op == "substitute" else word)
            starts.append(n * 0.5 + 0.05)
    return said, starts, ops


def test_twenty_planted_differences_are_exactly_what_is_found() -> None:
    words = talk(400)
    said, starts, ops = planted(words)
    comparison = Comparison({"run": spoken(said, starts)}, spoken(words))
    row = comparison.summary.loc["run"]
    assert (row.substitutions, row.deletions, row.insertions) == (8, 7, 5)
    assert row.wer == 20 / 400
    assert row.wer_low < row.wer < row.wer_high
    assert (row.wer_low, row.wer_high) == tuple(
        Comparison({"run": spoken(said, starts)}, spoken(words)).summary.loc["run", ["wer_low", "wer_high"]]
    )
    table = comparison.words
    found = table[table["op"] != "equal"]
    expected = {(op, round(n * 0.5 - 0.1 * (op == "insert"), 3)) for n, op in ops.items()}
    assert set(zip(found["op"], found["start"].round(3), strict=True)) == expected
    assert len(found) == 20
    assert found[found.op == "delete"]["run"].isna().all()
    assert found[found.op == "insert"]["reference"].isna().all()
    assert table[table.op == "equal"]["drift"].round(6).eq(0.05).all()


@pytest.mark.parametrize("share", [0.02, 0.4, 1.0])
def test_rates_are_those_of_jiwer_for_the_whole_text(share: float) -> None:
    draw, words = (
        random.Random(3),
        ["Twenty", "one", "can't", "colour", "um,", "Mr.", "Smith's", "the", "the", "a", "dollars"],
    )
    said = [draw.choice(words) for _ in range(600)]
    other = [draw.choice(words) if draw.random() < share else word for word in said if draw.random() > share / 4]
    one, two = spoken(said), spoken(other, sorted(draw.uniform(0, 300) for _ in other))
    row = Comparison({"run": two}, one.text).summary.loc["run"]
    normal = EnglishTextNormalizer()
    expected = jiwer.process_words(normal(one.text), normal(two.text))
    assert row.wer == expected.wer
    assert [row.substitutions, row.deletions, row.insertions] == [
        expected.substitutions,
        expected.deletions,
        expected.insertions,
    ]
    assert row.cer == jiwer.cer(normal(one.text), normal(two.text))


def test_numbers_and_contractions_are_the_same_however_they_are_written() -> None:
    comparison = Comparison(
        {
            "a": spoken(["twenty", "one", "cans", "can't", "um", "fall"]),
            "b": spoken(["21", "cans", "can't", "fall"], [0.2, 1, 1.5, 2.5]),
        }
    )
    assert comparison.summary["disagreement"].tolist() == [0, 0]
    assert comparison.words["a"].tolist() == ["21", "cans", "can", "not", "fall"]
    assert comparison.words["start"].tolist() == [0, 1, 1.5, 1.5, 2.5]
    assert comparison.words["end"].tolist() == [0.9, 1.4, 1.9, 1.9, 2.9]


def test_scripts_without_spaces_count_by_character() -> None:
    row = Comparison({"run": spoken(["今天", "天气", "很好"])}, "今天天汽很好。").summary.loc["run"]
    assert (row.wer, row.cer, row.substitutions) == (1 / 6, 1 / 6, 1)
    assert Comparison({"run": spoken(["안녕", "하세요"])}, "안녕 하세요").summary.loc["run", "wer"] == 0


def test_rules_of_english_are_for_english() -> None:
    # "um" is a word in German, and a sound in English.
    said = ["um", "zwei"]
    assert Comparison({"a": spoken(said), "b": spoken(["zwei"])}).summary["disagreement"].tolist() == [0, 0]
    german = spoken(said, language="de")
    assert Comparison({"a": german, "b": spoken(["zwei"])}).summary["disagreement"].tolist() == [0.5, 0.5]
    assert Comparison({"a": spoken(["A"]), "b": spoken(["a"])}, normalize=str).words["op"].tolist() == ["substitute"]


def test_words_too_far_apart_are_no_pair() -> None:
    words = talk(40)
    late = [n * 0.5 + 3 * (n >= 30) for n in range(40)]
    table = Comparison({"a": spoken(words), "b": spoken(words, late)}).words
    assert table["op"].value_counts().to_dict() == {"equal": 30, "delete": 10, "insert": 10}


def test_three_runs_share_the_rows_of_the_first() -> None:
    words = [*["one", "fish", "two", "fish"], *talk(4)]
    a, b, c = spoken(words), spoken(["won", *words[1:]]), spoken([*words[:2], "blue", *words[3:5], "und", *words[5:]])
    table = Comparison({"a": a, "b": b, "c": c}).words
    assert table.columns.tolist() == ["start", "end", "a", "b", "c", "op", "drift"]
    assert table["op"].tolist()[:3] == ["substitute", "equal", "substitute"]
    assert table["op"].tolist().count("insert") == 1
    mixed = Comparison(
        {"a": a, "b": spoken(["won", *words[1:]]), "c": spoken(words[1:], [n * 0.5 + 0.5 for n in range(7)])}
    )
    assert mixed.words["op"].iloc[0] == "mixed"


def test_a_reference_is_a_transcript_a_text_a_file_or_a_run(tmp_path) -> None:
    words = talk(30)
    run, right = spoken(["x", *words[1:]]), spoken(words)
    right.save(tmp_path / "right.jsonl")
    (tmp_path / "right.txt").write_text(" ".join(words), encoding="utf-8-sig")
    right.to_deepgram_json(tmp_path / "right.json")
    files = [tmp_path / "right.txt", str(tmp_path / "right.jsonl"), tmp_path / "right.json"]
    given = [right, " ".join(words), *files]
    for reference in given:
        assert Comparison({"run": run}, reference).summary.loc["run", "wer"] == 1 / 30
    summary = Comparison({"run": run, "right": right}, "right").summary
    assert summary.loc["run", "wer"] == 1 / 30
    assert np.isnan(summary.loc["right", "wer"])
    corrected = spoken(words)
    corrected.correct(0, "x")
    assert Comparison({"run": run}, corrected).summary.loc["run", "wer"] == 0


@pytest.mark.parametrize(
    ("runs", "reference", "said"),
    [
        ({}, None, "Give the runs by name"),
        (None, None, "Give the runs by name"),
        ({"a": spoken(["one"])}, None, "nothing to compare with"),
        ({"a": spoken(["one"])}, "a", "nothing to compare with"),
        ({"a": spoken(["one"]), "a ": spoken(["one"])}, None, "given twice"),
        ({1: spoken(["one"]), "1": spoken(["one"])}, None, "given twice"),
        ({"op": spoken(["one"]), "b": spoken(["one"])}, None, "name of a column"),
        ({"": spoken(["one"]), "b": spoken(["one"])}, None, "is empty"),
        ({"a": "one", "b": spoken(["one"])}, None, "is a Transcript, not str"),
        ({"a": spoken(["one"])}, "  ", "reference has no words"),
        ({"a": spoken(["one"])}, " ... ", "reference has no words"),
        ({"a": spoken(["one"])}, dgnb.Transcript(), "reference has no words"),
        ({"a": spoken(["one"])}, 7, "reference is a Transcript, a text, a path"),
        ({"a": spoken(["one"])}, "nowhere.txt", "There is no file 'nowhere.txt'"),
        ({"a": spoken(talk(50))}, spoken(talk(50, 9)), "different sound"),
        ({"a": spoken(talk(50)), "b": spoken(talk(50)), "c": spoken(talk(50, 9))}, None, "'c' have hardly"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(runs, reference, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Comparison(runs, reference)


def test_a_run_that_heard_nothing_and_one_that_failed_have_a_row() -> None:
    row = Comparison(
        {"a": spoken(["won", "too"]), "b": dgnb.Transcript()}, "won too", told={"c": {"error": "refused"}}
    ).summary
    assert row.loc["b", ["wer", "deletions"]].tolist() == [1, 2]
    assert row.loc["c", "error"] == "refused"


def test_the_comparison_of_markup_is_text() -> None:
    shown = Comparison({"<b>a</b>": spoken(["one"]), "b": spoken(["two"])}, told={"c": {"error": "<i>"}})._repr_html_()
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "&lt;b&gt;a&lt;/b&gt;" in shown


@pytest.mark.parametrize("package", ["jiwer", "rapidfuzz.distance", "whisper_normalizer.english"])
def test_a_missing_package_is_named_with_the_command(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    for module in ("texts", "report"):
        monkeypatch.delitem(sys.modules, f"dgnb.comparison.{module}")
    with pytest.raises(DgnbError, match=r"pip install 'dgnb\[compare\]'"):
        importlib.import_module("dgnb.comparison.report")


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path) -> None:
    run = spoken(["one"])
    (tmp_path / "latin.txt").write_bytes("d\xe9j\xe0 vu".encode("latin-1"))
    (tmp_path / "broken.jsonl").write_text("{")
    for name, said in (("latin.txt", "can't be read as a text in UTF-8"), ("broken.jsonl", "session file")):
        with pytest.raises(DgnbError, match=said):
            Comparison({"run": run}, tmp_path / name)

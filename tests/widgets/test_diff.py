"""Texts side by side, as a page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb.comparison import Comparison
from dgnb.exceptions import ConfigurationError
from tests.support.spoken import spoken

A, B = "good morning can't you see um dogs", "good evening can you see two dogs"


def drawn(page: str) -> Any:
    """What a page draws."""
    return json.loads(re.search(r'id="dgnb-data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]


def test_what_differs_has_a_mark_and_the_words_stay_as_they_are_displayed(tmp_path: Path) -> None:
    Comparison({"a": spoken(A.split()), "b": spoken(B.split())}).diff().to_html(tmp_path / "diff.html")
    data = drawn((tmp_path / "diff.html").read_text(encoding="utf-8"))
    assert data["names"] == ["a", "b"]
    ((one, other),) = data["rows"]
    assert [said + mark for said, _, _, mark in one] == [
        " good", " morning≠", " can't≠", " you", " see", " um dogs",
    ]  # fmt: skip
    assert [said + mark for said, _, _, mark in other] == [
        " good", " evening≠", " can", "−", " you", " see", " two+", " dogs",
    ]  # fmt: skip
    assert one[1][1:3] == [0.5, 0.9]
    assert data["sound"] is None


def test_the_value_of_a_cell_is_a_page_in_a_frame_and_a_text() -> None:
    diff = Comparison({"a": spoken(["<script>x"]), "<b>": spoken(["good\u202e"])}).diff()
    shown = diff._repr_mimebundle_()
    assert shown["text/html"].startswith('<iframe title="Comparison"')
    assert "<script>x" not in shown["text/html"].replace("&lt;script&gt;x", "")
    assert shown["text/plain"] == "a: ≠<script>x\n<b>: ≠good"


def test_a_stretch_with_its_sound() -> None:
    words = [f"{letter}y" for letter in "bcdfghjklm"] * 4
    one, other = spoken(words), spoken(words)
    one.audio = dgnb.samples.path()
    data = drawn(Comparison({"a": one, "b": other}).diff(5, 9.9)._page(""))
    assert data["sound"]["start"] == 5
    assert len(data["sound"]["base64"]) > 10_000
    assert [said for row in data["rows"] for said, *_ in row[0]] == [f" {word}" for word in words[10:20]]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (3, 2), ("x", None)])
def test_a_stretch_that_is_none_is_refused(start: Any, end: Any) -> None:
    with pytest.raises(ConfigurationError, match="is a time in seconds"):
        Comparison({"a": spoken(["one"]), "b": spoken(["two"])}).diff(start, end)


def test_texts_without_words_are_drawn_too() -> None:
    empty = dgnb.Transcript()
    shown = Comparison({"a": empty, "b": spoken(["one"])}).diff()._repr_mimebundle_()
    assert shown["text/plain"] == "a: \nb: +one"
    assert "no words" in Comparison({"a": empty, "b": empty}).diff()._repr_mimebundle_()["text/plain"]

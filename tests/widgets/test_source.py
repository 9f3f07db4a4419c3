"""The panel's choice of a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb import LiveOptions
from dgnb.exceptions import ConfigurationError
from dgnb.widgets import form
from dgnb.widgets.source import GIVEN, MICROPHONE, RADIO, SAMPLE, TYPED, UPLOAD, SourceChoice


def values(kind: str, path: str = "") -> dict[str, Any]:
    return {**form.shown(LiveOptions()), "source": kind, "path": path}


def test_what_code_gave_stands_first_and_a_text_is_a_typed_path() -> None:
    assert SourceChoice(None, {}, shared=False).values == {"source": SAMPLE, "path": ""}
    assert SourceChoice("talk.wav", {}, shared=False).values == {"source": TYPED, "path": "talk.wav"}
    assert SourceChoice(None, {}, shared=False).kinds[0] == MICROPHONE
    given = SourceChoice(b"RIFF", {}, shared=False)
    assert given.kinds[0] == GIVEN
    assert given.values == {"source": GIVEN, "path": ""}


def test_each_choice_gives_its_source() -> None:
    choice = SourceChoice(dgnb.FileSource("a.wav"), {}, shared=False)
    assert choice.source(values(SAMPLE)).name == dgnb.samples.path().name
    assert choice.source(values(MICROPHONE)) is choice.microphone
    assert "radio" in choice.source(values(RADIO)).name
    assert choice.source(values(TYPED, " talk.wav ")).name == "talk.wav"
    assert choice.source(values(GIVEN)).name == "a.wav"
    raw = {**values(TYPED, "x"), "encoding": "mulaw", "sample_rate": "8000"}
    expected = {"encoding": "mulaw", "sample_rate": 8000, "channels": 1}
    for kind, found in (
        (MICROPHONE, {}),
        (SAMPLE, {}),
        (RADIO, {}),
        (TYPED, expected),
        (UPLOAD, expected),
        (GIVEN, {}),
    ):
        assert choice.format({**raw, "source": kind}) == found


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/no/such.wav", "There is no file"),
        ("x" * 5_000, "There is no file"),
        ("talk\x00.wav", "There is no file"),
        ("\ud800.wav", "There is no file"),
        ("ftp://x/y", "http"),
        ("", ""),
        ("https://example.org/radio.mp3", ""),
        (str(dgnb.samples.path()), ""),
    ],
)
def test_what_is_wrong_with_a_path_is_seen_before_it_is_opened(path: str, told: str) -> None:
    objection = SourceChoice(None, {}, shared=False).objection(values(TYPED, path))
    assert told in objection
    assert bool(told) == bool(objection)
    assert SourceChoice(None, {}, shared=False).objection(values(SAMPLE, path)) == ""


def test_a_shared_panel_says_nothing_about_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    choice = SourceChoice(None, {}, shared=True)
    assert "refused" in choice.objection(values(TYPED, "/etc/passwd"))
    assert choice.objection(values(TYPED, "missing.wav")) == ""


def test_a_file_comes_in_parts_that_must_follow_each_other() -> None:
    choice = SourceChoice(None, {}, shared=False)
    with pytest.raises(ConfigurationError, match="choose one"):
        choice.source(values(UPLOAD))
    size = 2_000_005
    assert choice.take("talk.ogg", 5, size, b"early") == ""
    assert choice.take("talk.ogg", 0, size, b"first") == "talk.ogg, 0.0 of 2.0 MB"
    assert choice.take("talk.ogg", 7, size, b"later") == "talk.ogg, 0.0 of 2.0 MB"
    with pytest.raises(ConfigurationError, match="still on its way"):
        choice.source(values(UPLOAD))
    assert choice.take("talk.ogg", 5, size, bytes(2_000_000)) == "talk.ogg, 2.0 of 2.0 MB"
    assert choice.source(values(UPLOAD)).name == "talk.ogg"
    assert choice.code(values(UPLOAD)) == (
        "'talk.ogg'",
        "# You uploaded this file to the panel: put it beside the notebook first.",
    )
    assert choice.take("other.ogg", 0, 1, b"x") == "other.ogg, 0.0 of 0.0 MB"
    assert choice.take("", 0, 0, b"") == ""
    with pytest.raises(ConfigurationError, match="choose one"):
        choice.source(values(UPLOAD))


def test_each_choice_has_an_expression_for_code() -> None:
    choice = SourceChoice(b"RIFF", {}, shared=False)
    assert choice.code(values(SAMPLE)) == ("dgnb.samples.path()", "")
    assert choice.code(values(RADIO)) == ("dgnb.loopback.radio_url()", "")
    assert choice.code(values(TYPED, "talk 'x'.wav")) == (repr("talk 'x'.wav"), "")
    assert choice.code(values(GIVEN))[0] == "source"


def test_an_upload_keeps_no_more_than_it_announced_and_no_more_than_fits() -> None:
    choice = SourceChoice(None, {}, shared=True)
    with pytest.raises(ConfigurationError, match=r"too large: at most 500 MB\. Give its path"):
        choice.take("film.mp4", 0, 10**12, b"x")
    with pytest.raises(ConfigurationError, match="choose one"):
        choice.source(values(UPLOAD))
    choice.take("talk.ogg", 0, 3, b"abcdef")
    for _ in range(5):
        assert choice.take("talk.ogg", 3, 3, b"more").startswith("talk.ogg")
    assert len(choice._data) == 3


async def test_what_code_gave_is_made_once_with_its_format() -> None:
    chunks = iter([bytes(16_000)])
    for given, raw in (
        ([0.0] * 16_000, {"sample_rate": 16_000}),
        (chunks, {"encoding": "linear16", "sample_rate": 8000}),
    ):
        choice = SourceChoice(given, raw, shared=False)
        source = choice.source(values(GIVEN))
        assert choice.source(values(GIVEN)) is source
        assert choice.format(values(GIVEN)) == raw

"""What the fields of the panel make: a session, what is wrong with them, hints, and code."""

from __future__ import annotations

from typing import Any

import pytest

import dgnb
from dgnb import LiveOptions
from dgnb.exceptions import ConfigurationError
from dgnb.widgets import form
from dgnb.widgets.setup import Setup, doubts
from dgnb.widgets.source import RADIO, SAMPLE, TYPED, UPLOAD, SourceChoice

CANARY = "canary0123456789"
PLAIN = {"pace": 1.0, "reconnect": True, "journal": None}


def values(**changed: Any) -> dict[str, Any]:
    setup = {"source": SAMPLE, "path": "", "endpoint": "offline", "address": "", "duration": ""}
    return {**setup, **form.shown(LiveOptions()), **changed}


def made(source: Any = None, key: str | None = None, most_seconds: float | None = None, **settings: Any) -> Setup:
    choice = SourceChoice(source, {}, shared=False)
    return Setup(choice, key, {**PLAIN, **settings}, most_seconds=most_seconds, shared=most_seconds is not None)


def test_a_session_has_what_the_fields_show() -> None:
    session = made().session(values(endpoint="custom", address=" ws://localhost:1 ", duration="2.5", punctuate=True))
    assert session.options == LiveOptions(punctuate=True)
    assert session.endpoint.url == "ws://localhost:1"
    assert session.source.name == dgnb.samples.path().name


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, {}),
        ({"duration": "soon"}, {"duration": "positive number"}),
        ({"duration": "inf", "source": TYPED, "path": "ftp://x"}, {"duration": "positive number", "path": "http"}),
        ({"endpoint": "custom"}, {"address": "an address such as"}),
        ({"endpoint": "custom", "address": "localhost"}, {"address": "an address such as"}),
        ({"address": "localhost"}, {}),
        ({"endpoint": "deepgram"}, {}),
        ({"endpointing": "x", "duration": "x"}, {"endpointing": "whole number", "duration": "positive"}),
    ],
)
def test_each_problem_stands_at_its_field(changed: dict[str, str], told: dict[str, str]) -> None:
    found = made().problems(values(**changed))
    assert set(found) == set(told)
    assert all(text in found[name] for name, text in told.items())


@pytest.mark.parametrize(
    ("source", "changed", "fields"),
    [
        (None, {}, []),
        (None, {"endpoint": "deepgram"}, ["key"]),
        (None, {"source": TYPED, "endpoint": "deepgram"}, ["path", "key"]),
        (None, {"source": UPLOAD}, ["upload"]),
        (None, {"endpoint": "custom"}, []),  # what is wrong with an address is told before
    ],
)
def test_what_a_start_needs_stands_at_its_field(source: Any, changed: dict[str, str], fields: list[str]) -> None:
    assert list(made(source).missing(values(**changed))) == fields


def test_a_wrong_key_is_told_and_the_one_before_stays() -> None:
    setup = made(key=CANARY)
    assert "Copy it once more" in setup.take_key("two words")
    assert setup.endpoint(values(endpoint="deepgram")).key_origin == "api_key="
    assert setup.take_key(CANARY[::-1]) == ""
    assert CANARY[::-1] not in repr(vars(setup))


@pytest.mark.parametrize(("typed", "seconds"), [("", 60.0), ("5", 5.0), ("3600", 60.0), ("1e3", 60.0)])
def test_the_longest_session_is_the_limit(typed: str, seconds: float) -> None:
    assert f"duration={seconds}" in made(most_seconds=60.0).code(values(duration=typed))


def test_the_code_of_each_source_is_python() -> None:
    for source in (None, "talk 'x'.wav", b"RIFF", dgnb.FileSource("a.wav")):
        setup = made(source, key=CANARY, journal="a 'b'.jsonl", pace=None)
        for kind in setup.source.kinds:
            code = setup.code(
                values(**{**setup.source.values, "source": kind}, smart_format=True, keyterm='it\'s\n"x"')
            )
            compile(code.replace("await session\n", ""), "cell", "exec")
            assert "journal=\"a 'b'.jsonl\",\n    api_key=getpass" in code
            assert "pace=None" in code
            assert CANARY not in code
    code = setup.code(values(source="Microphone"))
    assert "display(microphone)" in code
    assert "await session" not in code
    assert "dgnb.loopback.radio_url()" in setup.code(values(source=RADIO))


def test_code_names_only_what_is_not_the_default() -> None:
    assert made().code(values()) == (
        "import dgnb\n\nsession = dgnb.LiveSession(\n    dgnb.samples.path(),\n    endpoint='offline',\n).start()\n"
        "await session\n"
    )
    with pytest.raises(ConfigurationError, match="Seconds"):
        made().code(values(duration="soon"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"language": "de"}, {"language": "English only"}),
        ({"language": "en-GB"}, {}),
        ({"diarize": True, "endpoint": "deepgram"}, {"diarize": "Deprecated"}),
        ({"diarize": True}, {"diarize": "speakers"}),
        ({"diarize_model": "latest"}, {"diarize_model": "speakers"}),
        ({"language": "fr", "diarize_model": "v1"}, {"language": "English only", "diarize_model": "speakers"}),
        ({"language": "de", "diarize_model": "latest", "endpoint": "deepgram"}, {}),
    ],
)
def test_a_doubtful_choice_gives_a_hint_at_its_field(changed: dict[str, Any], told: dict[str, str]) -> None:
    hints = doubts(values(**changed))
    assert set(hints) == set(told)
    assert all(text in hints[name] for name, text in told.items())

"""Text and numbers of other libraries are text and numbers, wherever an argument is one."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import fractions
import json
import math
import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from yarl import URL

import dgnb
from dgnb.exceptions import ConfigurationError
from dgnb.messages import parse
from dgnb.values import ABOVE_0, is_loopback, native, number, whole


class Name(str):
    """Text of somebody's own type."""

    def __str__(self) -> str:
        return "something for people"


class Kind(enum.StrEnum):
    A = "a"


class Older(str, enum.Enum):  # noqa: UP042 - as before Python 3.11
    A = "a"


class Plain(enum.Enum):
    A = "a"


class Rate(enum.IntEnum):
    A = 5


class Answer:
    """A response of urllib: it can tell its address."""

    def geturl(self) -> str:
        raise NotImplementedError


class Count(int):
    """A number of somebody's own type."""


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        *((text, "a") for text in ("a", Name("a"), Kind.A, Older.A, Plain.A, np.str_("a"), np.array("a"))),
        *((five, 5) for five in (5, np.int64(5), np.uint8(5), np.array(5), Rate.A, Count(5), pd.Series([5])[0])),
        *((half, 0.5) for half in (0.5, np.float16(0.5), np.float64(0.5), np.array(0.5), pd.Series([0.5])[0])),
        *((half, 0.5) for half in (decimal.Decimal("0.5"), fractions.Fraction(1, 2))),
        *((yes, True) for yes in (True, np.bool_(True), np.array(True), pd.array([True], dtype="boolean")[0])),
        *((url, "http://h/a%20b?c=d%2F") for url in (URL("http://h/a%20b?c=d%2F", encoded=True),)),
        (urllib.parse.urlsplit("http://h/a?b#c"), "http://h/a?b#c"),
        (urllib.parse.urlparse("http://h/a;b"), "http://h/a;b"),
    ],
)
def test_text_and_numbers_become_python_s_own(given: object, wanted: object) -> None:
    found = native(given)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    "thing", [None, b"a", [5], np.zeros(1), pd.NA, pd.Series([5]), object, np.timedelta64(5, "ns"), Answer()]
)
def test_anything_else_is_left_as_it_is(thing: object) -> None:
    assert native(thing) is thing


@pytest.mark.parametrize("value", [True, "5", None, math.nan, math.inf, 10**400, np.array([5]), pd.NA, np.bool_(True)])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="pace is a number, not "):
        number("pace is a number", value)


def test_a_number_is_within_its_bounds() -> None:
    assert number("pace is positive", np.float32(0.5), ABOVE_0) == 0.5
    assert number("speed is positive", math.inf, ABOVE_0, math.inf) == math.inf
    with pytest.raises(ConfigurationError, match="pace is positive, not 0"):
        number("pace is positive", 0, ABOVE_0)


@pytest.mark.parametrize("value", [8, "8", 8.0, np.int16(8), np.float64(8.0), np.str_("8")])
def test_a_whole_number_may_be_a_float_or_the_text_of_its_digits(value: Any) -> None:
    found = whole("channels is a whole number", value)
    assert (found, type(found)) == (8, int)


@pytest.mark.parametrize("value", [8.5, "8.0", "-8", "٨", "9" * 400, True, None, 0, -1, math.inf, math.nan])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="channels is a whole number, not "):
        whole("channels is a whole number", value)


# Every public argument

SPEECH = np.zeros(16_000, "float32")


class Text(enum.Enum):
    """Text as somebody's settings hold it."""

    OFFLINE = "offline"
    LINEAR16 = "linear16"
    WORDS = "words"
    NAME = "talk"
    HERE = "127.0.0.1"
    ADDRESS = "http://127.0.0.1/radio"
    MODEL = "nova-3"
    HELLO = "hello world"


class Somewhere:
    """A path of somebody's own type."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return self._path

    def __repr__(self) -> str:  # the same in each test worker, as names of tests have to be
        return f"{type(self).__name__}({self._path!r})"


class Bytes(Somewhere):
    """A path that is bytes, as os.scandir(b".") gives it."""

    def __fspath__(self) -> bytes:  # type: ignore[override]
        return os.fsencode(self._path)


OPTIONS: dict[str, list[Any]] = {
    "model": [Text.MODEL, Name("nova-3"), np.str_("nova-3")],
    "language": [np.str_("de"), Name("de")],
    "encoding": [Text.LINEAR16, Name("linear16")],
    "version": [np.str_("latest")],
    "diarize_model": [Name("v1"), np.str_("v1")],
    "callback": [URL("https://127.0.0.1/x"), Text.ADDRESS, urllib.parse.urlsplit("https://127.0.0.1/x")],
    "callback_method": [np.str_("POST")],
    "endpointing": [np.int64(300), np.array(300), np.float64(300.0), "300", np.bool_(False)],
    "utterance_end_ms": [np.int32(1000), "1000", Count(1000), decimal.Decimal(1000)],
    "sample_rate": [np.int64(16_000), np.float64(16_000), "16000"],
    "channels": [np.uint8(2), np.array(2), "2"],
    "extra": [{Text.NAME: np.int64(3)}, {"a": np.array(["x", "y"])}, {"a": pd.Series([1, 2])}, {"a": np.bool_(True)}],
}
NEEDS = {"utterance_end_ms": {"interim_results": True}, "callback_method": {}, "dictation": {"punctuate": True}}
RAW = {"encoding": "linear16", "sample_rate": 16_000}
MANY = [np.array(["pci", "ssn"]), pd.Series(["pci", "ssn"]), np.array("pci"), [Name("pci")], np.str_("pci")]


def own(value: Any) -> Any:
    """The same with Python's own types, made by other means than those that are tested."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("field", dataclasses.fields(dgnb.LiveOptions), ids=lambda field: field.name)
def test_options_take_text_and_numbers_of_any_library(field: dataclasses.Field[Any]) -> None:
    if isinstance(field.default, bool):
        values: list[Any] = [np.bool_(True), np.array(True), pd.array([True], dtype="boolean")[0]]
    elif field.metadata.get("many"):
        values = [[f"{one}:b" for one in many.tolist()] if field.name == "replace" else many for many in MANY[:2]]
        values += [] if field.name == "replace" else MANY[2:]
    else:
        values = OPTIONS[field.name]
    needs = RAW if field.name in ("encoding", "sample_rate", "channels") else NEEDS.get(field.name, {})
    if field.name in ("keywords", "language_hint"):
        needs = {"keywords": {"model": "nova-2"}, "language_hint": {"language": "multi"}}[field.name]
    for value in values:
        options = dgnb.LiveOptions(**{**needs, field.name: value})
        again = dgnb.LiveOptions(**own(options.changed()))
        assert repr(options) == repr(again)
        assert options == again
        assert options.query() == again.query()
        assert "np." not in repr(options)


SESSIONS: list[dict[str, Any]] = [
    {"sample_rate": np.int64(16_000)},
    {"sample_rate": np.array(16_000), "encoding": Text.LINEAR16},
    {"duration": np.float32(5)},
    {"duration": pd.Series([5])[0]},
    {"duration": decimal.Decimal("0.5")},
    {"pace": np.float32(2)},
    {"pace": fractions.Fraction(1, 2)},
    {"reconnect": np.bool_(False)},
    {"reconnect": np.int64(60)},
    {"journal": Somewhere("talk.jsonl")},
    {"journal": Bytes("talk.jsonl")},
    {"journal": Name("talk.jsonl")},
    {"journal": Text.NAME},
    {"endpoint": Name("offline")},
    {"endpoint": np.str_("offline")},
    {"endpoint": URL("ws://127.0.0.1:8080")},
    {"endpoint": urllib.parse.urlsplit("ws://127.0.0.1:8080")},
    {"api_key": Name("0123456789abcdef")},
    {"smart_format": np.bool_(True), "endpointing": np.int16(300)},
]


@pytest.mark.parametrize("arguments", [*SESSIONS, {"close_timeout": np.float32(3)}], ids=repr)
def test_sessions_take_text_and_numbers_of_any_library(arguments: dict[str, Any]) -> None:
    dgnb.LiveSession(SPEECH, **{"sample_rate": 16_000, "endpoint": Text.OFFLINE, **arguments})


@pytest.mark.parametrize("arguments", SESSIONS, ids=repr)
async def test_the_panel_takes_what_a_session_takes_and_writes_code_that_can_run(arguments: dict[str, Any]) -> None:
    panel = dgnb.ControlPanel(SPEECH, **{"sample_rate": 16_000, "endpoint": Text.OFFLINE, **arguments})
    names: dict[str, Any] = {"dgnb": dgnb, "source": SPEECH}
    call = panel.code().partition("session = ")[2].partition(".start()")[0].replace('getpass("Deepgram key: ")', "None")
    session = eval(call, names)
    assert isinstance(session, dgnb.LiveSession)
    panel.close()


def entry(path: str) -> os.DirEntry[str]:
    with os.scandir(os.path.dirname(path)) as entries:
        return next(entries)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: dgnb.FileSource(Somewhere(path)),
        lambda path: dgnb.FileSource(Bytes(path), decode=np.bool_(True)),
        lambda path: dgnb.FileSource(Name(path), shared=np.bool_(False)),
        lambda path: dgnb.LiveSession(Bytes(path), endpoint="offline").source,
        lambda path: dgnb.LiveSession(Name(path), endpoint="offline").source,
        lambda path: dgnb.LiveSession(entry(path), endpoint="offline").source,
    ],
)
def test_a_path_of_any_type_is_the_path_of_the_file(make: Callable[[str], dgnb.FileSource], tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.touch()
    assert make(str(path)).path == path


@pytest.mark.parametrize(
    "address", [URL("http://127.0.0.1/radio"), Text.ADDRESS, urllib.parse.urlsplit("http://127.0.0.1/radio")]
)
def test_an_address_of_any_type_is_an_address(address: Any) -> None:
    assert dgnb.URLSource(address, stall_timeout=np.float32(3), sample_rate=np.int64(8000), encoding="mulaw").name == (
        "http://127.0.0.1/radio"
    )
    assert isinstance(dgnb.LiveSession(address, endpoint="offline").source, dgnb.URLSource)
    assert dgnb.URLSource(address, headers={Name("Authorization"): Text.NAME}).name == "http://127.0.0.1/radio"


@pytest.fixture
def talk() -> dgnb.Transcript:
    transcript = dgnb.Transcript()
    said = [{"word": word, "start": at, "end": at + 0.5, "confidence": 0.4} for at, word in enumerate(("a", "talk"))]
    results = {"type": "Results", "start": 0.0, "duration": 9.0, "is_final": True, "channel_index": [0, 1]}
    transcript.feed(
        parse(json.dumps({**results, "channel": {"alternatives": [{"transcript": "a talk", "words": said}]}}))
    )
    return transcript


LIMITS = {
    "max_chars": np.int64(30),
    "max_lines": np.array(2),
    "max_duration": np.float32(5),
}
CALLS: list[Callable[[dgnb.Transcript, Any], object]] = [
    lambda talk, path: talk.to_srt(path, **LIMITS, speakers=np.bool_(True)),
    lambda talk, path: talk.to_webvtt(path, **LIMITS),
    lambda talk, path: talk.to_csv(path, Text.WORDS, safe=np.bool_(False)),
    lambda talk, path: talk.to_parquet(path, np.str_("words")),
    lambda talk, path: talk.to_textgrid(path),
    lambda talk, path: talk.to_rttm(path, file_id=Text.NAME),
    lambda talk, path: talk.to_deepgram_json(path),
    lambda talk, path: (talk.save(path), dgnb.Transcript.load(path)),
]


@pytest.mark.parametrize("kind", [Path, Name, Somewhere, Bytes])
@pytest.mark.parametrize("call", CALLS)
def test_exports_take_paths_and_limits_of_any_type(
    call: Callable[[dgnb.Transcript, Any], object], kind: Callable[[str], Any], talk: dgnb.Transcript, tmp_path: Path
) -> None:
    call(talk, kind(str(tmp_path / "talk")))
    assert [path.name for path in tmp_path.iterdir()] == ["talk"]


def test_questions_and_pictures_take_numbers_of_any_type(talk: dgnb.Transcript) -> None:
    assert len(talk.pauses(np.float32(0.25))) == len(talk.pauses(decimal.Decimal("0.25"))) == 1
    assert len(talk.speaking_rate(np.array(1))) == 2
    assert len(talk.find(Text.NAME)) == len(talk.find(Name("talk"))) == 1
    assert len(talk.doubtful(np.float16(0.5), np.int64(1))) == 1
    dgnb.plots.timeline(talk, start=np.float32(0), end=np.int64(5))
    dgnb.plots.confidence(talk, low=np.float64(0.5))
    dgnb.plots.latency(talk)
    dgnb.plots.speaking_rate(talk, window=pd.Series([5])[0])


async def test_the_loopback_server_and_a_connection_take_them_too() -> None:
    numbers: dict[str, Any] = {"port": np.int64(0), "idle_timeout": np.float32(5), "max_connections": np.array(3)}
    options = dgnb.LiveOptions(encoding="linear16", sample_rate=np.int64(16_000))
    limits: dict[str, Any] = {"open_timeout": np.float32(5), "close_timeout": np.int64(5), "ping_timeout": np.array(5)}
    radio = Somewhere(str(dgnb.samples.path()))
    token = Name("0123456789abcdef")
    async with dgnb.loopback.serve(Text.HELLO, token=token, radio=radio, **numbers) as server:
        address: Any = URL(server.url)
        async with dgnb.connect(options, endpoint=address, api_key=token, **limits) as connection:
            await connection.send(bytes(32_000))
            await connection.configure(keyterms=np.array(["dgnb"]), numerals=np.bool_(True))  # type: ignore[arg-type]
            await connection.finalize(np.int64(0))  # type: ignore[arg-type]
            await connection.close_stream()
            assert any("hello" in str(message) for message in [message async for message in connection])
        script = dgnb.loopback.Script(Text.HELLO, words_per_second=np.float32(3), start=decimal.Decimal(0))  # type: ignore[arg-type]
        assert [word.text for word in script.words] == ["hello", "world"]
        session = dgnb.LiveSession(SPEECH, sample_rate=16_000, endpoint=address, api_key=token, pace=None).start()
        assert await session.wait(np.float64(30))
        assert session.transcript.text.startswith("hello")


# An error leads on

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: dgnb.LiveSession(SPEECH, ["nova-3"], endpoint="offline"), "not list: write LiveOptions"),  # type: ignore[arg-type]
    (lambda: dgnb.FileSource(7), "takes a path, not int"),  # type: ignore[arg-type]
    (lambda: dgnb.URLSource("http://127.0.0.1", stall_timeout="3"), "positive number of seconds"),  # type: ignore[arg-type]
    (lambda: dgnb.URLSource("http://127.0.0.1", headers=["a"]), "headers is a mapping"),  # type: ignore[arg-type]
    (lambda: dgnb.ControlPanel(duration="soon"), "duration is a positive number"),  # type: ignore[arg-type]
    (lambda: dgnb.ControlPanel(options=["punctuate"]), "not list: write LiveOptions"),  # type: ignore[arg-type]
    (lambda: dgnb.LiveCaptions(height=12), "CSS height such as '12em'"),  # type: ignore[arg-type]
    (lambda: dgnb.LiveCaptions("talk.wav"), "follow a LiveSession"),  # type: ignore[arg-type]
    (lambda: dgnb.loopback.serve(idle_timeout="5"), "positive number of seconds"),  # type: ignore[arg-type]
    (lambda: dgnb.loopback.serve(port="http"), "port is a whole number"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "told"), WRONG)
def test_an_argument_of_another_kind_is_one_clear_error(call: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        call()


@pytest.mark.parametrize("make", [dgnb.LiveSession, dgnb.ControlPanel])
@pytest.mark.parametrize("options", [None, {}, {"smart_format": True}, RAW, {**RAW, "smart_format": True}])
@pytest.mark.parametrize("named", [{"sample_rate": 16_000}, RAW, {**RAW, "channels": 1}])
async def test_an_array_needs_its_rate_wherever_it_is_said(make: Any, options: Any, named: Any) -> None:
    given = None if options is None else dgnb.LiveOptions(**options)
    if options and "encoding" in options and named == {"sample_rate": 16_000} and make is dgnb.LiveSession:
        named = {}  # said in the options
    made = make(SPEECH, given, endpoint="offline", **named)
    if make is dgnb.ControlPanel:
        assert made.values["source"] == "As given in code"
        assert "sample_rate=16000" in made.code()
        made.close()
    else:
        assert made.source.name == "an array of 16000 samples"


def test_what_an_error_advises_works_when_it_is_done() -> None:
    smart = dgnb.LiveOptions(smart_format=True)
    with pytest.raises(ConfigurationError, match="pass sample_rate=16000, beside any options"):
        dgnb.LiveSession(SPEECH, smart, endpoint="offline")
    dgnb.LiveSession(SPEECH, smart, sample_rate=16_000, endpoint="offline")
    with pytest.raises(ConfigurationError, match="such as 'linear16'; for an array, pass it beside the options"):
        dgnb.LiveOptions(smart_format=True, sample_rate=16_000)
    dgnb.LiveSession(SPEECH, dgnb.LiveOptions(smart_format=True, **RAW), endpoint="offline")
    with pytest.raises(ConfigurationError, match="An array is linear16, not 'mulaw': leave out encoding"):
        dgnb.LiveSession(SPEECH, encoding="mulaw", sample_rate=16_000, endpoint="offline")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        (None, False),
    ],
)
def test_the_names_of_this_machine_are_known(host: str | None, local: bool) -> None:
    assert is_loopback(host) is local

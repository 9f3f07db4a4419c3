"""Messages of the service are read and written; malformed ones never stop a stream."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb import messages
from dgnb.exceptions import ProtocolError
from dgnb.messages import (
    CloseStream,
    Configure,
    ConfigureFailure,
    ConfigureSuccess,
    Entity,
    Error,
    Features,
    Finalize,
    KeepAlive,
    Metadata,
    ModelInfo,
    Results,
    ResultsMetadata,
    SpeechStarted,
    UnknownMessage,
    UtteranceEnd,
    Warning,
    Word,
    encode,
    parse,
    parse_control,
)

RESULTS: dict[str, Any] = {
    "type": "Results",
    "channel_index": [0, 1],
    "duration": 1.98,
    "start": 5.99,
    "is_final": True,
    "speech_final": True,
    "from_finalize": False,
    "channel": {
        "alternatives": [
            {
                "transcript": "Tell me more.",
                "confidence": 0.998,
                "languages": ["en"],
                "words": [
                    {"word": "tell", "start": 6.07, "end": 6.3, "confidence": 0.99, "punctuated_word": "Tell"},
                    {"word": "me", "start": 6.3, "end": 6.5, "confidence": 0.98, "speaker": 1, "language": "en"},
                ],
            }
        ],
        "search": [
            {"query": "more", "hits": [{"confidence": 0.9, "start": 6.5, "end": 6.8, "snippet": "more"}]},
        ],
    },
    "metadata": {
        "request_id": "52cc0efe-fa77-4aa7-b79c-0dda09de2f14",
        "model_uuid": "1234",
        "model_info": {"name": "general-nova-3", "version": "2024", "arch": "nova-3"},
        "extra": {"a": "b"},
    },
    "entities": [{"label": "NAME", "value": "x", "raw_value": "x", "confidence": 0.5, "start_word": 0, "end_word": 1}],
}
SAMPLES: dict[str, dict[str, Any]] = {
    "Answer": {"type": "Answer", "metadata": {"duration": 2.5}, "results": {"summary": {"short": "Two people."}}},
    "Connected": {"type": "Connected", "request_id": "r", "sequence_id": 0},
    "TurnInfo": {
        "type": "TurnInfo",
        "event": "EndOfTurn",
        "turn_index": 0,
        "audio_window_start": 0.0,
        "audio_window_end": 2.08,
        "transcript": "So we begin.",
        "words": [{"word": "So", "confidence": 0.97, "start": 0.4, "end": 0.52}, {"word": "we", "confidence": 0.93}],
        "end_of_turn_confidence": 0.83,
        "trigger": "model",
        "languages": ["en"],
        "languages_hinted": ["en", "es"],
        "request_id": "r",
        "sequence_id": 9,
    },
    "Results": RESULTS,
    "Metadata": {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "r",
        "sha256": "e3b0",
        "created": "2026-07-22T10:00:00.000Z",
        "duration": 25.9,
        "channels": 1,
        "models": ["u"],
        "model_info": {"u": {"name": "n", "version": "v", "arch": "a"}},
    },
    "SpeechStarted": {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 9.54},
    "UtteranceEnd": {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.395},
    "ConfigureSuccess": {"type": "ConfigureSuccess", "request_id": "r", "keyterms": ["a"]},
    "ConfigureFailure": {
        "type": "ConfigureFailure",
        "request_id": "r",
        "code": "CONFIGURE_INTERNAL_ERROR",
        "description": "d",
    },
    "Error": {"type": "Error", "variant": "SchemaError", "description": "d", "message": "m"},
    "Warning": {"type": "Warning", "description": "d", "code": "c"},
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_message_of_the_service_is_read_and_written_back(name: str) -> None:
    message = parse(json.dumps(SAMPLES[name]))
    assert type(message).__name__ == message.type == name
    assert json.loads(encode(message)) == SAMPLES[name]
    assert parse(encode(message).encode()) == message


def test_every_message_of_the_service_has_a_sample() -> None:
    assert {kind.__name__ for kind in typing.get_args(messages.ServerMessage)} == {*SAMPLES, "UnknownMessage"}


def test_a_result_gives_its_first_alternative() -> None:
    message = parse(json.dumps(RESULTS))
    assert isinstance(message, Results)
    assert message.transcript == "Tell me more."
    assert [word.word for word in message.words] == ["tell", "me"]
    assert message.words[1].speaker == 1


def test_a_result_without_alternatives_is_silence() -> None:
    message = parse(json.dumps({**RESULTS, "channel": {"alternatives": []}}))
    assert isinstance(message, Results)
    assert message.transcript == ""
    assert message.words == ()


def test_unknown_fields_are_ignored() -> None:
    more = json.loads(json.dumps(RESULTS))
    more["new"] = more["channel"]["alternatives"][0]["words"][0]["speaker_confidence"] = {"a": [1]}
    assert parse(json.dumps(more)) == parse(json.dumps(RESULTS))


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse('{"type": "Metadata"}').duration = 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (KeepAlive(), '{"type":"KeepAlive"}'),
        (Finalize(), '{"type":"Finalize"}'),
        (Finalize(channel=1), '{"type":"Finalize","channel":1}'),
        (CloseStream(), '{"type":"CloseStream"}'),
        (Configure(keyterms=()), '{"type":"Configure","keyterms":[]}'),
        (Configure(features=Features(numerals=True)), '{"type":"Configure","features":{"numerals":true}}'),
    ],
)
def test_a_client_message_is_written_as_on_the_wire(message: messages.ControlMessage, text: str) -> None:
    assert encode(message) == text
    assert parse_control(text) == message


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "KeepAlive", '{"type": "Results"}', '{"type": "keepalive"}', b"\xff", "{" * 100_000]
)
def test_a_message_that_a_client_must_not_send_is_refused(text: str | bytes) -> None:
    with pytest.raises(ProtocolError, match="Not a message that a client may send"):
        parse_control(text)


# Malformed messages


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"type": "Fancy", "x": 1}', "Fancy"),
        ('{"x": 1}', ""),
        ('{"type": 7}', ""),
        ('{"type": "Results"}', "Results"),
        ('{"type": "UtteranceEnd", "channel": null, "last_word_end": 1}', "UtteranceEnd"),
        ('{"type": "SpeechStarted", "channel": [0, 1], "timestamp": 1e300}', "SpeechStarted"),
        ('{"type": "Results", "channel_index": [100000000000000000000000, 1]}', "Results"),
        ("{}", ""),
    ],
)
def test_an_unknown_message_is_kept_with_the_reason(text: str, kind: str) -> None:
    message = parse(text)
    assert isinstance(message, UnknownMessage)
    assert message.type == kind
    assert message.problem
    assert json.loads(encode(message)) == json.loads(text)


def test_null_alternatives_and_numbers_as_text_are_accepted() -> None:
    assert isinstance(parse(json.dumps({**RESULTS, "channel": {"alternatives": None}})), UnknownMessage)
    lenient = parse(json.dumps({**RESULTS, "start": "5.99", "is_final": "true"}))
    assert isinstance(lenient, Results)
    assert lenient.start == 5.99
    assert lenient.is_final is True


HEARD = {
    "type": "Results",
    "channel_index": [0, 1],
    "start": 0.0,
    "duration": 1.0,
    "is_final": True,
    "channel": {"alternatives": [{"transcript": "hi you", "words": []}]},
}
WORDS = [{"word": "hi", "start": 0.1, "end": 0.5}, {"word": "you", "start": 0.5, "end": 0.9}]


def heard(extra: dict[str, Any], word: dict[str, Any] | None = None, channel: dict[str, Any] | None = None) -> Results:
    alternative = {"transcript": "hi you", "words": [{**WORDS[0], **(word or {})}, WORDS[1]]}
    message = parse(json.dumps({**HEARD, "channel": {"alternatives": [alternative], **(channel or {})}, **extra}))
    assert isinstance(message, Results)
    assert message.transcript == "hi you"
    assert parse(encode(message)) == message
    return message


@pytest.mark.parametrize(
    "extra",
    [
        {"metadata": "none"},
        {"metadata": {"model_info": [], "request_id": {}, "extra": 5}},
        {"entities": [{"value": "x"}, 5, None]},
        {"entities": {}},
        {"entities": "none"},
        {"speech_final": "perhaps"},
        {"from_finalize": []},
        {"channel_index": 0},
    ],
)
def test_an_odd_extra_costs_itself_and_not_the_words(extra: dict[str, Any]) -> None:
    message = heard(extra)
    assert [(word.word, word.start, word.end) for word in message.words] == [("hi", 0.1, 0.5), ("you", 0.5, 0.9)]
    assert message.channel_index[0] == 0
    assert not message.entities
    assert heard({}, channel={"search": [{"query": "x", "hits": 5}, 5]}).words == message.words


@pytest.mark.parametrize(
    "word",
    [{"speaker": "A"}, {"speaker": 1.5}, {"confidence": "high"}, {"language": ["en"]}, {"punctuated_word": {}}],
)
def test_an_odd_extra_of_a_word_costs_itself(word: dict[str, Any]) -> None:
    assert heard({}, word).words == (Word("hi", 0.1, 0.5), Word("you", 0.5, 0.9))


def test_what_can_be_kept_of_an_odd_extra_is_kept() -> None:
    message = heard({"metadata": {"request_id": "r", "model_info": {"name": "n", "version": 2025.4}}}, {"word": 5})
    assert message.metadata == ResultsMetadata("r", model_info=ModelInfo("n", "2025.4"))
    assert message.words[0].word == "5"
    both = heard({"entities": [{"value": "x"}, {"label": "L", "value": 7, "confidence": "?"}]})
    assert both.entities == (Entity("L", "7"),)


@pytest.mark.parametrize("word", [{"start": None}, {"end": "later"}, {"word": None}])
def test_words_that_cannot_be_read_are_left_to_the_transcript_beside_them(word: dict[str, Any]) -> None:
    assert heard({}, word).words == ()


def test_words_without_a_transcript_are_kept() -> None:
    message = parse(json.dumps({**HEARD, "channel": {"alternatives": [{"transcript": None, "words": WORDS}]}}))
    assert isinstance(message, Results)
    assert message.transcript == ""
    assert [word.word for word in message.words] == ["hi", "you"]


def test_numbers_that_are_not_finite_are_missing() -> None:
    message = parse('{"type": "Metadata", "duration": NaN, "channels": 1}')
    assert message == Metadata(channels=1)
    assert parse('{"type": "Metadata", "duration": 1e999}') == Metadata()
    assert parse('{"type": "Metadata", "duration": -Infinity}') == Metadata()


def test_text_that_cannot_be_encoded_is_replaced() -> None:
    for text in ('{"type": "Error", "description": "a\\ud800b"}', '{"type": "Error", "description": "a\ud800b"}'):
        message = parse(text)
        assert isinstance(message, Error)
        assert message.description is not None
        message.description.encode()
    assert parse(b'{"type": "Error", "description": "a\xffb"}') == Error(description="a\ufffdb")
    assert parse('{"type": "X", "\\ud800": ["\\ud800"]}').raw == {"type": "X", "\ufffd": ["\ufffd"]}  # type: ignore[union-attr]


def test_the_last_of_two_equal_json_keys_counts() -> None:
    assert parse('{"type": "Warning", "code": "a", "code": "b"}') == Warning(code="b")


def test_json_that_is_nested_too_deeply_is_kept_as_text() -> None:
    text = '{"type": "X", "a": ' + "[" * 200_000 + "]" * 200_000 + "}"
    message = parse(text)
    assert message == UnknownMessage(type="", raw=text, problem="nested too deeply")
    assert encode(message) == text


@pytest.mark.parametrize("text", ["", "hello", "[]", '"a"', "7", "null", b"\xff\xfe", '{"type": "Results"', b"\x00"])
def test_text_that_is_not_a_json_object_is_a_protocol_error_that_quotes_it(text: str | bytes) -> None:
    with pytest.raises(ProtocolError, match="The server sent"):
        parse(text)


def test_a_long_text_is_quoted_in_part() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse("x" * 10_000_000)
    assert len(str(caught.value)) < 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values inside a JSON value."""
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*at, key))
    return found


@given(name=st.sampled_from(sorted(SAMPLES)), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_message_with_any_value_in_any_place_is_read_and_written_again(name: str, data: st.DataObject) -> None:
    sample = json.loads(json.dumps(SAMPLES[name]))
    *way, last = data.draw(st.sampled_from(paths(sample)))
    inner = sample
    for key in way:
        inner = inner[key]
    if data.draw(st.booleans()):
        inner[last] = data.draw(json_values)
    else:
        del inner[last]
    message = parse(json.dumps(sample, ensure_ascii=data.draw(st.booleans())))
    text = encode(message)
    text.encode()
    again = parse(text)
    assert encode(again) == text


@given(st.text() | st.binary())
@settings(deadline=None)
def test_any_text_is_a_message_or_a_protocol_error(text: str | bytes) -> None:
    try:
        parse(text)
    except ProtocolError as error:
        str(error).encode()


def test_messages_of_the_service_have_a_readable_repr() -> None:
    assert repr(SpeechStarted((0, 1), 1.5)) == "SpeechStarted(channel=(0, 1), timestamp=1.5)"
    assert UtteranceEnd((0, 1), 2.5) == parse('{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.5}')
    assert ConfigureSuccess() != ConfigureFailure()

"""The messages of `/v1/listen` and `/v2/listen` in both directions: immutable records with the wire's names. No I/O.

`parse()` reads what a server sends, `parse_control()` what a client sends, and `encode()` writes either. Unknown fields
are ignored, and so are optional ones of a wrong type. A message of an unknown type, or with a wrong field that it
needs, becomes an `UnknownMessage` that keeps everything: a stream must not stop when the service adds a type.

Source: Deepgram's streaming specification (asyncapi) of 2026-07 and its SDK 7.17.
"""

from __future__ import annotations

import json
import math
import typing
from typing import Any

import msgspec

from dgnb.exceptions import ProtocolError
from dgnb.messages.base import Message, Plain, Seconds, Whole
from dgnb.messages.flux import Connected, ForceEndTurn, Thresholds, TurnInfo, TurnWord
from dgnb.messages.recorded import Answer
from dgnb.values import native

__all__ = [
    "Alternative",
    "Answer",
    "Channel",
    "CloseStream",
    "Configure",
    "ConfigureFailure",
    "ConfigureSuccess",
    "Connected",
    "ControlMessage",
    "Entity",
    "Error",
    "Features",
    "Finalize",
    "ForceEndTurn",
    "KeepAlive",
    "Metadata",
    "ModelInfo",
    "Results",
    "ResultsMetadata",
    "SearchHit",
    "SearchResult",
    "ServerMessage",
    "SpeechStarted",
    "Thresholds",
    "TurnInfo",
    "TurnWord",
    "UnknownMessage",
    "UtteranceEnd",
    "Warning",
    "Word",
    "encode",
    "parse",
    "parse_control",
]


class Word(Plain, frozen=True):
    """One word: seconds from the start of the connection's audio, confidence 0 to 1."""

    word: str
    start: Seconds
    end: Seconds
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: Whole | None = None
    language: str | None = None
    speaker_confidence: float | None = None


class Alternative(Plain, frozen=True):
    """One transcript of the audio; Deepgram sends a single one."""

    transcript: str
    confidence: float | None = None
    words: tuple[Word, ...] = msgspec.field(default_factory=lambda: ())
    languages: tuple[str, ...] | None = None
    languages_hinted: tuple[str, ...] | None = None


class SearchHit(Plain, frozen=True):
    """Where a searched term was heard, in seconds."""

    confidence: float | None = None
    start: Seconds | None = None
    end: Seconds | None = None
    snippet: str | None = None


class SearchResult(Plain, frozen=True):
    """The hits of one searched term."""

    query: str
    hits: tuple[SearchHit, ...] = ()


class Channel(Plain, frozen=True):
    """What was heard on one channel."""

    alternatives: tuple[Alternative, ...] = ()
    search: tuple[SearchResult, ...] | None = None


class ModelInfo(Plain, frozen=True):
    """The model that transcribed."""

    name: str | None = None
    version: str | None = None
    arch: str | None = None


class ResultsMetadata(Plain, frozen=True):
    """The request and the model of a result."""

    request_id: str | None = None
    model_uuid: str | None = None
    model_info: ModelInfo | None = None
    diarize_info: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


class Entity(Plain, frozen=True):
    """A named entity; `start_word` and `end_word` are indices into the final's words."""

    label: str
    value: str
    raw_value: str | None = None
    confidence: float | None = None
    start_word: Whole | None = None
    end_word: Whole | None = None


class Results(Message, frozen=True):
    """What was heard from `start` to `start + duration`, in seconds.

    It replaces its channel's interim. `speech_final` marks an endpoint and implies `is_final`; the reverse does not
    hold. A final may cover less than the interim before it.
    """

    channel_index: tuple[Whole, ...]
    duration: Seconds
    start: Seconds
    channel: Channel
    is_final: bool | None = None
    speech_final: bool | None = None
    from_finalize: bool | None = None
    metadata: ResultsMetadata | None = None
    entities: tuple[Entity, ...] | None = None

    @property
    def alternative(self) -> Alternative:
        """The first alternative; an empty one when the server gave none."""
        alternatives = self.channel.alternatives
        return alternatives[0] if alternatives else _SILENCE

    @property
    def transcript(self) -> str:
        """The text of the first alternative."""
        return self.alternative.transcript

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the first alternative."""
        return self.alternative.words


_SILENCE = Alternative(transcript="")


class Metadata(Message, frozen=True):
    """The server's summary, sent after `CloseStream`: `duration` counts the seconds of audio received."""

    request_id: str | None = None
    duration: Seconds | None = None
    channels: Whole | None = None
    created: str | None = None
    sha256: str | None = None
    transaction_key: str | None = None
    models: tuple[str, ...] | None = None
    model_info: dict[str, ModelInfo] | None = None
    extra: dict[str, Any] | None = None


class SpeechStarted(Message, frozen=True):
    """Speech began at `timestamp` seconds; the first word may start at another time."""

    channel: tuple[Whole, ...]
    timestamp: Seconds


class UtteranceEnd(Message, frozen=True):
    """No words came for `utterance_end_ms` after `last_word_end` seconds."""

    channel: tuple[Whole, ...]
    last_word_end: Seconds


class ConfigureSuccess(Message, frozen=True):
    """The server applied a `Configure`. Flux tells the whole configuration."""

    request_id: str | None = None
    keyterms: tuple[str, ...] | None = None
    thresholds: Thresholds | None = None
    language_hints: tuple[str, ...] | None = None
    numerals: bool | None = None
    sequence_id: Whole | None = None


class ConfigureFailure(Message, frozen=True):
    """The server refused a `Configure`, and goes on with the old values; `code` says why."""

    request_id: str | None = None
    code: str | None = None
    description: str | None = None
    sequence_id: Whole | None = None


class Error(Message, frozen=True):
    """The server reports a fault, such as text that it can't parse (`variant="SchemaError"`)."""

    description: str | None = None
    variant: str | None = None
    message: str | None = None
    code: str | None = None
    request_id: str | None = None
    sequence_id: Whole | None = None


class Warning(Message, frozen=True):
    """A warning. It is not in the specification of v1, but compatible servers send it."""

    description: str | None = None
    code: str | None = None
    request_id: str | None = None
    sequence_id: Whole | None = None


class UnknownMessage(Plain, frozen=True, omit_defaults=False):
    """A message of an unknown type or with a wrong field; `problem` says which.

    `raw` is the JSON object, or the text when it could not be parsed.
    """

    type: str
    raw: dict[str, Any] | str
    problem: str = ""


class KeepAlive(Message, frozen=True):
    """Keeps a connection open while no audio is sent. A text frame every 3 to 5 s; there is no reply."""


class Finalize(Message, frozen=True):
    """Asks for finals of all audio sent so far. The answer, if one comes, has `from_finalize`."""

    channel: Whole | None = None


class CloseStream(Message, frozen=True):
    """Ends the audio: the server sends its last finals and `Metadata`, then closes."""


class Features(Plain, frozen=True):
    """The features that `Configure` can change."""

    numerals: bool | None = None


class Configure(Message, frozen=True):
    """Changes options while the stream runs. What is None stays; an empty list of terms or hints clears it.

    `keyterms` is for both services, `features` for v1 (nova-3), and the rest for Flux.
    """

    keyterms: tuple[str, ...] | None = None
    features: Features | None = None
    thresholds: Thresholds | None = None
    language_hints: tuple[str, ...] | None = None
    numerals: bool | None = None


_Configured = ConfigureSuccess | ConfigureFailure
_Known = (
    Results | Metadata | SpeechStarted | UtteranceEnd | Connected | TurnInfo | _Configured | Error | Warning | Answer
)
ServerMessage = _Known | UnknownMessage
"""What a server sends."""

ControlMessage = KeepAlive | Finalize | CloseStream | Configure | ForceEndTurn
"""What a client sends beside audio."""

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in typing.get_args(_Known)}
_server_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Known)
_control_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ControlMessage)
_encoder = msgspec.json.Encoder(enc_hook=native)


def parse(data: str | bytes) -> ServerMessage:
    """Read one text frame of a server: a message, or an `UnknownMessage`.

    Raises:
        ProtocolError: The text is not a JSON object.

    Example:
        ```python
        >>> parse('{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.5}')
        UtteranceEnd(channel=(0, 1), last_word_end=2.5)
        ```
    """
    try:
        message: ServerMessage = _server_decoder.decode(data)
    except (ValueError, RecursionError):
        return _parse_leniently(data)
    return message


def parse_control(data: str | bytes) -> ControlMessage:
    """Read one text frame of a client, as strictly as the service does.

    Raises:
        ProtocolError: It is not one of the messages that a client may send.
    """
    try:
        message: ControlMessage = _control_decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"Not a message that a client may send: {error}") from None
    return message


def encode(message: ServerMessage | ControlMessage) -> str:
    """Write a message as the text of a frame; parsing it again gives an equal one."""
    if isinstance(message, UnknownMessage):
        return message.raw if isinstance(message.raw, str) else json.dumps(message.raw)
    return _encoder.encode(message).decode()


def _parse_leniently(data: str | bytes) -> ServerMessage:
    """Read what the strict decoder refuses: NaN, lone surrogates, numbers as text, odd extras, unknown types."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        raw = _clean(json.loads(text, parse_constant=lambda _: None))
    except RecursionError:
        return UnknownMessage(type="", raw=text, problem="nested too deeply")
    except ValueError as error:
        raise ProtocolError(f"The server sent text that is not JSON ({error}): {text[:200]!r}") from None
    if not isinstance(raw, dict):
        raise ProtocolError(f"The server sent JSON that is not an object: {text[:200]!r}")
    name = raw["type"] if isinstance(raw.get("type"), str) else ""
    try:
        mended = {**_mended(raw, _KINDS[name]), "type": name} if name in _KINDS else raw
        message: ServerMessage = msgspec.convert(mended, _Known, strict=False)
    except (ValueError, RecursionError) as error:
        return UnknownMessage(type=name, raw=raw, problem=str(error))
    return message


def _mended(value: Any, kind: Any) -> Any:
    """A JSON value without the parts that are not of their kind: an odd extra must not cost the words beside it.

    A number where a text belongs becomes a text. A list of records loses the odd ones, but words are left out together:
    the transcript beside them has their text. What is wrong and can't be left out stays.
    """
    if _fits(value, kind):
        return value
    if isinstance(value, int | float) and _fits(str(value), kind):
        return str(value)
    if _fits([value], kind):
        return [value]
    for one in (kind, *typing.get_args(kind)):
        if isinstance(value, dict) and _is_record(one):
            return _mended_record(value, one)
        if isinstance(value, list) and typing.get_origin(one) is tuple and _is_record(inner := typing.get_args(one)[0]):
            items = [item for item in (_mended(item, inner) for item in value) if _fits(item, inner)]
            return items if inner not in (Word, TurnWord) or len(items) == len(value) else []
    return value


def _mended_record(value: dict[str, Any], kind: Any) -> dict[str, Any]:
    if kind is Alternative and not isinstance(value.get("transcript"), str):
        value = {**value, "transcript": ""}
    mended = {}
    for field in msgspec.structs.fields(kind):
        if (name := field.encode_name) in value:
            item = _mended(value[name], field.type)
            # What was said is no extra.
            if field.required or name == "alternatives" or _fits(item, field.type):
                mended[name] = item
    return mended


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except ValueError:
        return False
    return True


def _clean(value: Any) -> Any:
    """The same JSON value without lone surrogates and infinite numbers, so that it can be encoded again."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value

"""The messages that `/v2/listen` has beside those of `/v1/listen`.

Source: Deepgram's specification (asyncapi) of 2026-07 and its SDK 7.17.
"""

from __future__ import annotations

from dgnb.messages.base import Message, Plain, Seconds, Whole


class Connected(Message, frozen=True):
    """The first message of `/v2/listen`. `sequence_id` counts the messages of its connection from 0."""

    request_id: str | None = None
    sequence_id: Whole | None = None


class TurnWord(Plain, frozen=True):
    """A word of a turn, with punctuation and capitals. Its times, in seconds, are there on newer servers."""

    word: str
    confidence: float | None = None
    start: Seconds | None = None
    end: Seconds | None = None


class TurnInfo(Message, frozen=True):
    """What a turn holds so far: Flux's message, about each quarter of a second of audio.

    `event` is `Update`, `StartOfTurn`, `EagerEndOfTurn`, `TurnResumed` or `EndOfTurn`. `transcript` is the whole turn
    up to now. `trigger` says what ended it: `model`, `manual`, `timeout`, or a newer word.
    """

    event: str
    turn_index: Whole
    audio_window_start: Seconds
    audio_window_end: Seconds
    transcript: str = ""
    words: tuple[TurnWord, ...] = ()
    end_of_turn_confidence: float | None = None
    trigger: str | None = None
    languages: tuple[str, ...] | None = None
    languages_hinted: tuple[str, ...] | None = None
    request_id: str | None = None
    sequence_id: Whole | None = None


class Thresholds(Plain, frozen=True):
    """When Flux ends a turn; see `FluxOptions`."""

    eager_eot_threshold: float | None = None
    eot_threshold: float | None = None
    eot_timeout_ms: Whole | None = None


class ForceEndTurn(Message, frozen=True):
    """Asks Flux to end the turn now, with the text that it has. `EndOfTurn`, or a `Warning` without a turn, answers."""

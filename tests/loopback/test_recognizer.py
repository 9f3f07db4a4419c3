from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.loopback import Script
from dgnb.loopback.engines import EngineInfo, Event, Heard, HeardWord, SpeechStarted
from dgnb.loopback.recognizer import Recognizer, ignored_options, plain
from dgnb.messages import Metadata, ModelInfo, Results, ServerMessage, UtteranceEnd
from dgnb.messages import SpeechStarted as SpeechStartedMessage
from dgnb.options import LiveOptions
from tests.support.scripts import script_of


def audio(seconds: float) -> bytes:
    return bytes(round(seconds * 16_000) * 2)


def hear(script: Script, seconds: float, step: float = 0.1, **options: Any) -> list[ServerMessage]:
    recognizer = Recognizer(script, LiveOptions(**options))
    messages = []
    for _ in range(round(seconds / step)):
        messages += recognizer.feed([audio(step)])
    return messages


def results(messages: Sequence[ServerMessage]) -> list[Results]:
    return [message for message in messages if isinstance(message, Results)]


def finals(messages: Sequence[ServerMessage]) -> list[Results]:
    return [message for message in results(messages) if message.is_final]


class Puppet:
    """An engine that answers each feed with the next of its prepared events, and records how it was opened."""

    info = EngineInfo("puppet", "7", "wood", "uuid-of-puppet")
    languages = None

    def __init__(self, *events: list[Event], flush: Sequence[Event] = ()) -> None:
        self.events = list(events)
        self.flushed = list(flush)
        self.opened: list[dict[str, Any]] = []

    def open(self, **options: Any) -> Puppet:
        self.opened.append(options)
        return self

    def feed(self, pcm: bytes) -> list[Event]:
        return self.events.pop(0) if self.events else []

    def flush(self) -> list[Event]:
        flushed, self.flushed = self.flushed, []
        return flushed


def final(start: float, end: float, *words: tuple[str, float, float], pause: bool = False) -> Heard:
    return Heard(start, end, tuple(HeardWord(*word, 0.9) for word in words), final=True, pause=pause)


def interim(start: float, end: float, *words: tuple[str, float, float]) -> Heard:
    return Heard(start, end, tuple(HeardWord(*word, 0.9) for word in words), final=False)


def test_interims_come_only_when_asked_for() -> None:
    script = Script("a b c d e f g h", words_per_second=2, start=0)
    assert all(message.is_final for message in results(hear(script, 6)))
    assert not all(message.is_final for message in results(hear(script, 6, interim_results=True)))


def test_the_engine_computes_no_interims_unless_asked_for() -> None:
    puppet = Puppet()
    Recognizer(puppet, LiveOptions(endpointing=300, language="en-GB")).feed([audio(1)])
    assert puppet.opened == [{"language": "en-GB", "pause": 0.3, "interims": False}]


def test_a_pause_makes_a_final_speech_final() -> None:
    (one,) = finals(hear(Script("hello world"), 2))
    assert (one.is_final, one.speech_final, one.from_finalize) == (True, True, False)


def test_without_endpointing_nothing_is_speech_final() -> None:
    puppet = Puppet([final(0, 1, ("hi", 0.2, 0.5), pause=True)])
    recognizer = Recognizer(puppet, LiveOptions(endpointing=False))
    (one,) = results(recognizer.feed([audio(1)]))
    assert (one.is_final, one.speech_final) == (True, False)
    assert puppet.opened[0]["pause"] == 0.7


def test_words_are_plain_unless_punctuation_was_asked_for() -> None:
    script = Script("Don't stop, Anna.")
    (one,) = finals(hear(script, 3))
    assert one.transcript == "don't stop anna"
    assert [(word.word, word.punctuated_word) for word in one.words] == [
        ("don't", None),
        ("stop", None),
        ("anna", None),
    ]
    for option in ("punctuate", "smart_format", "detect_entities"):
        (one,) = finals(hear(script, 3, **{option: True}))
        assert one.transcript == "Don't stop, Anna."
        assert [(word.word, word.punctuated_word) for word in one.words][1] == ("stop", "stop,")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("“Don’t!”", "don't"),
        ("twenty-five,", "twenty-five"),
        ("3.5", "3.5"),
        ("10,000.", "10,000"),
        ("U.S.", "us"),
        ("50%", "50%"),
        ("Straße?", "straße"),
        ("¿Qué", "qué"),
        ("हिंदी", "हिंदी"),
        ("—", ""),
        ("$5", "$5"),
    ],
)
def test_a_plain_word_has_no_punctuation_and_no_capitals(text: str, word: str) -> None:
    assert plain(text) == word


def test_punctuation_alone_is_not_a_word() -> None:
    puppet = Puppet([final(0, 1, ("Well", 0, 0.4), ("—", 0.4, 0.5), ("yes", 0.5, 1))])
    (one,) = results(Recognizer(puppet, LiveOptions(punctuate=True)).feed([audio(1)]))
    assert [word.word for word in one.words] == ["well", "yes"]


def test_confidence_is_the_mean_of_the_words() -> None:
    script = script_of([("a", 0, 0.5, 1.0), ("b", 0.5, 1, 0.5)])
    (one,) = finals(hear(script, 2))
    assert one.alternative.confidence == 0.75


def test_words_have_speakers_only_when_asked_for() -> None:
    script = Script("hello")
    assert [word.speaker for word in finals(hear(script, 2))[0].words] == [None]
    for asked in ({"diarize": True}, {"diarize_model": "latest"}):
        assert [word.speaker for word in finals(hear(script, 2, **asked))[0].words] == [0]


def test_speech_started_is_sent_only_when_asked_for() -> None:
    script = Script("hello", start=0.5)
    assert SpeechStartedMessage(channel=(0, 1), timestamp=0.5) in hear(script, 2, vad_events=True)
    assert not any(isinstance(message, SpeechStartedMessage) for message in hear(script, 2))


def test_an_utterance_ends_once_in_each_gap() -> None:
    script = script_of([("a", 0, 0.5), ("b", 0.5, 1.0), ("c", 5.0, 5.5)])
    messages = hear(script, 12, interim_results=True, utterance_end_ms=1000)
    ends = [message for message in messages if isinstance(message, UtteranceEnd)]
    assert ends == [
        UtteranceEnd(channel=(0, 1), last_word_end=1.0),
        UtteranceEnd(channel=(0, 1), last_word_end=5.5),
    ]


def test_an_utterance_end_comes_as_soon_as_the_audio_clock_says() -> None:
    recognizer = Recognizer(script_of([("a", 0, 0.5)]), LiveOptions(interim_results=True, utterance_end_ms=1000))
    for tenth in range(1, 15):
        messages = recognizer.feed([audio(0.1)])
        assert not any(isinstance(message, UtteranceEnd) for message in messages), tenth
    assert recognizer.feed([audio(0.1)]) == [UtteranceEnd(channel=(0, 1), last_word_end=0.5)]


def test_an_utterance_end_is_not_missed_in_one_large_piece() -> None:
    script = script_of([("a", 0, 0.5), ("b", 3.0, 3.5), ("c", 4.2, 4.5)])
    large = hear(script, 8, step=8, interim_results=True, utterance_end_ms=1000)
    assert large == hear(script, 8, interim_results=True, utterance_end_ms=1000)
    assert [message.last_word_end for message in large if isinstance(message, UtteranceEnd)] == [0.5, 4.5]


def test_a_cut_does_not_end_an_utterance_while_the_voice_goes_on() -> None:
    puppet = Puppet(
        [final(0, 2, ("a", 0, 2))],
        [interim(2, 4, ("b", 2, 3.8))],
        [final(2, 4.5, ("b", 2, 3.8), pause=True)],
    )
    recognizer = Recognizer(puppet, LiveOptions(interim_results=True, utterance_end_ms=1000))
    messages = [message for _ in range(3) for message in recognizer.feed([audio(2)])]
    assert [message.last_word_end for message in messages if isinstance(message, UtteranceEnd)] == [3.8]


def test_a_gap_that_a_later_hypothesis_moves_is_still_the_same_gap() -> None:
    puppet = Puppet(
        [interim(0, 2, ("a", 0.2, 0.9))],
        [final(0, 4, ("a", 0.2, 1.0), pause=True)],
    )
    recognizer = Recognizer(puppet, LiveOptions(interim_results=True, utterance_end_ms=1000))
    messages = [message for _ in range(3) for message in recognizer.feed([audio(2)])]
    assert [message.last_word_end for message in messages if isinstance(message, UtteranceEnd)] == [0.9]


def test_a_word_that_only_an_interim_had_does_not_count() -> None:
    puppet = Puppet([interim(0, 2, ("oh", 0.2, 0.9))], [final(0, 4)])
    recognizer = Recognizer(puppet, LiveOptions(interim_results=True, utterance_end_ms=2000))
    assert not any(isinstance(message, UtteranceEnd) for _ in range(2) for message in recognizer.feed([audio(2)]))


def test_finalize_flushes_and_says_so() -> None:
    recognizer = Recognizer(Script("one two", words_per_second=1, start=0), LiveOptions())
    recognizer.feed([audio(1.2)])
    (one,) = recognizer.finalize()
    assert isinstance(one, Results)
    assert (one.is_final, one.from_finalize, one.speech_final, one.transcript) == (True, True, False, "one")
    assert one.start + one.duration == 1.2


def test_finalize_with_nothing_to_flush_has_no_answer() -> None:
    recognizer = Recognizer(Script("one"), LiveOptions())
    assert recognizer.finalize() == []


def test_only_the_last_final_of_a_flush_is_from_finalize() -> None:
    puppet = Puppet(flush=[final(0, 1, ("a", 0, 1)), final(1, 2)])
    recognizer = Recognizer(puppet, LiveOptions())
    recognizer.feed([audio(2)])
    assert [one.from_finalize for one in results(recognizer.finalize())] == [False, True]


def test_finalize_of_one_channel_leaves_the_others() -> None:
    recognizer = Recognizer(Script("one two"), LiveOptions(multichannel=True))
    recognizer.feed([audio(0.7)] * 2)
    assert [one.channel_index for one in results(recognizer.finalize(1))] == [(1, 2)]


def test_each_channel_has_its_own_results() -> None:
    recognizer = Recognizer(Script("hello"), LiveOptions(multichannel=True))
    heard = results(recognizer.feed([audio(2)] * 2))
    assert [one.channel_index for one in heard] == [(0, 2), (1, 2)]
    assert [one.transcript for one in heard] == ["hello", "hello"]


def test_closing_ends_with_metadata() -> None:
    recognizer = Recognizer(Puppet(), LiveOptions(), request_id="r")
    began = datetime.now(UTC)
    recognizer.received(b"as it")
    recognizer.received(b" came")
    recognizer.feed([audio(1.5)])
    (metadata,) = recognizer.close()
    assert isinstance(metadata, Metadata)
    assert metadata.created
    assert metadata.created.endswith("Z")
    assert abs(datetime.fromisoformat(metadata.created) - began) < timedelta(minutes=1)
    assert [metadata] == [
        Metadata(
            request_id="r",
            duration=1.5,
            channels=1,
            created=metadata.created,
            sha256=hashlib.sha256(b"as it came").hexdigest(),
            transaction_key="deprecated",
            models=("uuid-of-puppet",),
            model_info={"uuid-of-puppet": ModelInfo(name="puppet", version="7", arch="wood")},
        )
    ]


def test_results_name_the_true_model() -> None:
    puppet = Puppet([final(0, 1)])
    (one,) = results(Recognizer(puppet, LiveOptions(), request_id="r").feed([audio(1)]))
    assert one.metadata is not None
    assert (one.metadata.request_id, one.metadata.model_uuid) == ("r", "uuid-of-puppet")
    assert one.metadata.model_info is not None
    assert (one.metadata.model_info.name, one.metadata.model_info.arch) == ("puppet", "wood")


def test_options_that_the_engine_ignores_are_listed() -> None:
    options = LiveOptions(
        numerals=True, diarize_model="latest", punctuate=True, tag="t", extra={"filler_words": "true", "extra": "a:b"}
    )
    assert ignored_options(options) == ["diarize_model", "extra", "filler_words", "numerals"]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 1.5)), max_size=8),
    st.lists(st.floats(0, 2.5), min_size=1, max_size=12),
    st.booleans(),
)
def test_finals_tile_the_timeline_to_the_millisecond(
    gaps: list[tuple[float, float]], steps: list[float], finalizing: bool
) -> None:
    clock, words = 0.0, []
    for number, (gap, length) in enumerate(gaps):
        words.append((f"w{number}", clock + gap, clock + gap + length))
        clock += gap + length
    options = LiveOptions(interim_results=True, utterance_end_ms=1000, vad_events=True)
    recognizer = Recognizer(script_of(words), options)
    messages = []
    for step in steps:
        messages += recognizer.feed([audio(step)])
        if finalizing:
            messages += recognizer.finalize()
    messages += recognizer.close()
    edge = 0.0
    for one in finals(messages):
        assert one.start == edge
        assert one.duration > 0
        edge = round(one.start + one.duration, 3)
    metadata = messages[-1]
    assert isinstance(metadata, Metadata)
    assert edge == metadata.duration == round(recognizer.clock, 3)
    for one in results(messages):
        assert not one.speech_final or one.is_final


def test_a_voice_that_starts_after_the_gap_does_not_hide_it() -> None:
    puppet = Puppet([final(0, 1.5, ("a", 0, 1), pause=True), SpeechStarted(3.0)])
    recognizer = Recognizer(puppet, LiveOptions(interim_results=True, utterance_end_ms=1000))
    messages = recognizer.feed([audio(4)])
    assert [message.last_word_end for message in messages if isinstance(message, UtteranceEnd)] == [1.0]


def test_with_language_multi_the_detected_language_is_reported() -> None:
    heard = Heard(0, 1, (HeardWord("Hallo", 0, 1, 0.9),), final=True, language="de")
    (one,) = results(Recognizer(Puppet([heard]), LiveOptions(language="multi")).feed([audio(1)]))
    assert (one.alternative.languages, one.words[0].language) == (("de",), "de")
    (one,) = results(Recognizer(Puppet([heard]), LiveOptions(language="de")).feed([audio(1)]))
    assert (one.alternative.languages, one.words[0].language) == (None, None)

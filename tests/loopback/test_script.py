from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.exceptions import ConfigurationError
from dgnb.loopback import Script
from dgnb.loopback.engines import Event, Heard, SpeechStarted
from tests.support.scripts import script_of

SECOND = bytes(32_000)


def feed(script: Script, seconds: float, **options: object) -> list[Event]:
    return script.open(**options).feed(bytes(int(seconds * 16_000) * 2))  # type: ignore[arg-type]


def finals(events: list[Event]) -> list[Heard]:
    return [event for event in events if isinstance(event, Heard) and event.final]


def said(events: list[Event]) -> list[str]:
    return [word.text for event in finals(events) for word in event.words]


def test_words_come_at_their_times() -> None:
    words = [(word.text, word.start, word.end) for word in Script("one two", words_per_second=2, start=0.5).words]
    assert words == [("one", 0.5, 1.0), ("two", 1.0, 1.5)]


def test_a_sentence_is_followed_by_a_gap() -> None:
    assert [word.start for word in Script("Yes. No.", words_per_second=2, start=0, gap=2).words] == [0, 2.5]


def test_a_pause_ends_an_utterance() -> None:
    first, second = finals(feed(Script("Yes. No.", words_per_second=2, start=0, gap=2), 3.5, pause=0.5))
    assert (first.start, first.end, first.pause) == (0, 1.0, True)
    assert (second.start, second.end, second.pause) == (1.0, 3.5, True)


def test_a_pause_is_never_shorter_than_an_engine_can_tell() -> None:
    events = feed(script_of([("a", 0, 0.5), ("b", 0.6, 1)]), 2, pause=0.01)
    assert [len(final.words) for final in finals(events)] == [2]


def test_interims_grow_with_every_second() -> None:
    events = feed(Script("a b c d e f", words_per_second=2, start=0), 3.2, pause=0.7)
    interims = [event for event in events if isinstance(event, Heard) and not event.final]
    assert [(interim.end, len(interim.words)) for interim in interims] == [(1, 2), (2, 4), (3, 6)]


def test_without_interims_there_are_none() -> None:
    events = feed(Script("a b c d e f"), 5, interims=False)
    assert len(finals(events)) == len([event for event in events if isinstance(event, Heard)]) == 1


def test_a_voice_starts_once_an_utterance() -> None:
    events = feed(Script("Oh yes. Oh no.", words_per_second=2, start=0.25, gap=2), 6)
    assert [event.at for event in events if isinstance(event, SpeechStarted)] == [0.25, 3.25]


def test_silence_is_finalised_every_three_seconds() -> None:
    assert [(final.start, final.end, final.words) for final in finals(feed(Script(), 7))] == [(0, 3, ()), (3, 6, ())]


def test_a_long_utterance_is_cut_without_a_pause() -> None:
    cut, *_ = finals(feed(Script("a b c d e f g h", words_per_second=2, start=0, cut=2.3), 4))
    assert (cut.start, cut.end, cut.pause) == (0, 2.0, False)


def test_a_repeated_script_goes_on_for_ever() -> None:
    events = feed(Script("tick tock", words_per_second=2, start=0, gap=1, repeat=True), 60)
    assert said(events) == ["tick", "tock"] * 30


def test_a_repeated_silence_is_silence() -> None:
    assert said(feed(Script(repeat=True), 10)) == []


def test_flush_brings_the_finals_up_to_the_clock() -> None:
    stream = Script("one two three", words_per_second=1, start=0).open()
    stream.feed(SECOND * 2)
    (flushed,) = stream.flush()
    assert isinstance(flushed, Heard)
    assert (flushed.start, flushed.end, flushed.pause, len(flushed.words)) == (0, 2, False, 2)
    assert stream.flush() == []


def test_a_word_half_said_at_a_flush_is_heard_once() -> None:
    stream = Script("one two", words_per_second=1, start=0).open()
    events = [*stream.feed(bytes(48_000)), *stream.flush(), *stream.feed(SECOND * 3), *stream.flush()]
    assert said(events) == ["one", "two"]
    assert finals(events)[0].words[-1].end == 1.5


def test_a_word_that_had_just_begun_at_a_flush_comes_later() -> None:
    stream = Script("one two", words_per_second=1, start=0).open()
    events = [*stream.feed(bytes(2 * 20_000)), *stream.flush(), *stream.feed(SECOND * 3), *stream.flush()]
    assert said(events) == ["one", "two"]
    assert finals(events)[1].words[0].start == finals(events)[1].start == 1.25


def test_invalid_speeds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="positive"):
        Script("a", words_per_second=0)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    gaps = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), max_size=12))
    ends = itertools.accumulate(gap + length for gap, length in gaps)
    words = [
        (f"w{number}", (end - length) / 20, end / 20)
        for number, (end, (_, length)) in enumerate(zip(ends, gaps, strict=True))
    ]
    return script_of(words, cut=draw(st.sampled_from([2.0, 10.0])))


@settings(deadline=None, max_examples=150)
@given(scripts(), st.lists(st.integers(0, 40_000), min_size=1, max_size=20), st.booleans(), st.data())
def test_finals_tile_the_clock_and_say_each_word_once(
    script: Script, sizes: list[int], interims: bool, data: st.DataObject
) -> None:
    stream = script.open(interims=interims)
    events: list[Event] = []
    for size in sizes:
        events += stream.feed(bytes(2 * size))
        if data.draw(st.booleans()):
            events += stream.flush()
    events += stream.flush()
    edge = 0.0
    for final in finals(events):
        assert final.start == edge
        assert final.end > final.start
        assert all(final.start <= word.start <= word.end <= final.end + 1e-6 for word in final.words)
        edge = final.end
    assert edge == pytest.approx(sum(sizes) / 16_000, abs=1e-5)
    heard = said(events)
    assert heard == [word.text for word in script.words][: len(heard)]


@settings(deadline=None, max_examples=100)
@given(scripts(), st.lists(st.integers(0, 40_000), min_size=1, max_size=20))
def test_the_size_of_the_pieces_makes_no_difference(script: Script, sizes: list[int]) -> None:
    whole, pieces = script.open(), script.open()
    assert whole.feed(bytes(2 * sum(sizes))) == [event for size in sizes for event in pieces.feed(bytes(2 * size))]

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from dgnb.loopback.engines import SAMPLE_RATE, Event, Heard, HeardWord, SpeechStarted
from dgnb.loopback.engines.utterances import FRAME, Decoded, Samples, UtteranceStream, _settle

SPEECH, SILENCE = 0.5, 0.0


class LoudIsVoice:
    """A detector that takes loud frames for a voice."""

    def feed(self, samples: Samples) -> list[float]:
        return [1.0 if np.abs(frame).max() > 0.1 else 0.0 for frame in samples.reshape(-1, FRAME)]


class Counting:
    """A decoder that hears a word in every half second, and takes time to do so."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.now = 0.0
        self.finals: list[float] = []
        self.interims: list[float] = []

    def clock(self) -> float:
        return self.now

    def decode(self, samples: Samples, final: bool) -> Decoded:
        self.now += self.takes
        seconds = len(samples) / SAMPLE_RATE
        (self.finals if final else self.interims).append(seconds)
        return Decoded(
            tuple(HeardWord(f"w{i}", i / 2, min(i / 2 + 0.5, seconds), 0.9) for i in range(1 + int(seconds * 2)))
        )


class Stopping(Counting):
    """A decoder that hears nothing behind the first seconds of what it is given."""

    def __init__(self, after: float, hears: int = 99) -> None:
        super().__init__()
        self.after = after
        self.hears = hears  # so many times

    def decode(self, samples: Samples, final: bool) -> Decoded:
        decoded = super().decode(samples, final)
        heard = len(self.finals) <= self.hears
        return Decoded(tuple(word for word in decoded.words if heard and word.end <= self.after))


def sound(*parts: tuple[float, float]) -> bytes:
    """Audio of (seconds, loudness) after each other."""
    return b"".join(np.full(round(s * SAMPLE_RATE), loud * 32767, "<i2").tobytes() for s, loud in parts)


def stream_of(decoder: Counting, *, pause: float = 0.7, interims: bool = True) -> UtteranceStream:
    return UtteranceStream(decoder.decode, LoudIsVoice(), pause=pause, interims=interims, clock=decoder.clock)


def pieces(pcm: bytes, samples: Callable[[], int]) -> Iterator[bytes]:
    at = 0
    while at < len(pcm):
        size = 2 * samples()
        yield pcm[at : at + size]
        at += size


def listen(stream: UtteranceStream, pcm: bytes, samples: Callable[[], int] = lambda: 1600) -> list[Event]:
    return [event for piece in pieces(pcm, samples) for event in stream.feed(piece)]


def finals_of(events: list[Event]) -> list[Heard]:
    return [event for event in events if isinstance(event, Heard) and event.final]


def interims_of(events: list[Event]) -> list[Heard]:
    return [event for event in events if isinstance(event, Heard) and not event.final]


def assert_tiled(finals: list[Heard], clock: float) -> None:
    assert finals[0].start == 0
    assert all(a.end == b.start for a, b in pairwise(finals))
    assert all(final.start < final.end for final in finals)
    assert finals[-1].end == pytest.approx(clock)
    for final in finals:
        reached = final.start
        for word in final.words:
            assert reached <= word.start <= word.end <= final.end
            reached = word.start


@pytest.mark.parametrize("seed", range(12))
def test_finals_tile_the_clock_whatever_the_sizes_of_the_pieces_and_wherever_it_is_flushed(seed: int) -> None:
    chance = random.Random(seed)
    parts = [(chance.choice([0.02, 0.3, 0.8, 2.5, 7.0, 20.0]), chance.choice([SPEECH, SILENCE])) for _ in range(12)]
    pcm = sound(*parts)
    stream = stream_of(Counting(), pause=chance.choice([0.01, 0.7, 4.0, 60.0]))
    events: list[Event] = []
    for piece in pieces(pcm, lambda: chance.choice([0, 1, 160, 511, 512, 1600, 50_000])):
        events += stream.feed(piece)
        if chance.random() < 0.02:
            events += stream.flush()
    events += stream.flush()
    assert_tiled(finals_of(events), len(pcm) / 2 / SAMPLE_RATE)


def test_the_sizes_of_the_pieces_do_not_change_what_becomes_final() -> None:
    pcm = sound((1, SILENCE), (2, SPEECH), (1, SILENCE), (17, SPEECH), (4, SILENCE), (1, SPEECH))
    heard = []
    for size in (97, 1600, len(pcm)):
        stream = stream_of(Counting())
        heard.append(finals_of(listen(stream, pcm, lambda size=size: size)) + finals_of(stream.flush()))
    assert heard[0] == heard[1] == heard[2]


def test_a_pause_ends_an_utterance_and_says_so() -> None:
    finals = finals_of(listen(stream_of(Counting()), sound((1, SILENCE), (2, SPEECH), (1, SILENCE))))
    assert [(bool(final.words), final.pause) for final in finals] == [(True, True)]
    assert 3.0 < finals[0].end < 3.8


def test_a_shorter_pause_than_the_floor_does_not_cut_a_phrase() -> None:
    events = listen(stream_of(Counting(), pause=0.01), sound((1, SPEECH), (0.3, SILENCE), (1, SPEECH)))
    assert not finals_of(events)


def test_a_pause_too_long_to_wait_for_is_no_endpoint_but_the_words_become_final() -> None:
    finals = finals_of(listen(stream_of(Counting(), pause=float("inf")), sound((2, SPEECH), (4, SILENCE))))
    assert finals[0].words
    assert not finals[0].pause


def test_silence_is_reported_every_few_seconds_without_words_and_without_decoding() -> None:
    decoder = Counting()
    finals = finals_of(listen(stream_of(decoder), sound((20, SILENCE))))
    assert len(finals) == 6
    assert not any(final.words or final.pause for final in finals)
    assert not decoder.finals


def test_a_click_does_not_open_an_utterance() -> None:
    decoder = Counting()
    stream = stream_of(decoder)
    events = listen(stream, sound((1, SILENCE), (0.05, SPEECH), (1, SILENCE))) + stream.flush()
    assert not any(isinstance(event, SpeechStarted) for event in events)
    assert not decoder.finals


def test_a_voice_is_announced_once_where_it_begins() -> None:
    events = listen(stream_of(Counting()), sound((1, SILENCE), (20, SPEECH)))
    assert [event.at for event in events if isinstance(event, SpeechStarted)] == [pytest.approx(1.0, abs=0.04)]


def test_a_flush_in_mid_word_ends_at_the_clock_and_the_rest_of_the_word_is_not_lost() -> None:
    stream = stream_of(Counting())
    listen(stream, sound((1.01, SPEECH)))
    [first] = stream.flush()
    assert isinstance(first, Heard)
    assert first.end == pytest.approx(1.01)
    assert first.words
    assert not first.pause
    assert stream.flush() == []
    [second] = finals_of(listen(stream, sound((0.5, SPEECH), (1, SILENCE))))
    assert second.start == first.end
    assert second.words


def test_a_flush_right_after_a_word_leaves_nothing_to_decode_again() -> None:
    decoder = Counting()
    stream = stream_of(decoder)
    listen(stream, sound((1, SPEECH), (0.2, SILENCE)))
    stream.flush()
    finals = finals_of(listen(stream, sound((4, SILENCE))))
    assert len(decoder.finals) == 1
    assert not any(final.words for final in finals)


def test_a_long_utterance_is_cut_between_words_and_the_rest_is_carried_over() -> None:
    # Half a second of quiet voice in the later half is the best place for a cut.
    pcm = sound((11.0, SPEECH), (0.5, 0.15), (8.0, SPEECH), (1, SILENCE))
    finals = finals_of(listen(stream_of(Counting()), pcm))
    assert 11.0 <= finals[0].end <= 11.5
    assert not finals[0].pause
    assert finals[0].words[-1].end <= finals[0].end
    assert finals[1].pause


def test_interims_come_with_every_second_of_speech_and_cover_the_open_utterance() -> None:
    interims = interims_of(listen(stream_of(Counting()), sound((1, SILENCE), (6, SPEECH))))
    assert 5 <= len(interims) <= 6
    assert all(interim.start == 0 and interim.words for interim in interims)
    assert [b.end - a.end for a, b in pairwise(interims)] == pytest.approx([1.0] * 4, abs=0.14)


def test_no_interims_are_computed_unless_asked_for() -> None:
    decoder = Counting()
    assert not interims_of(listen(stream_of(decoder, interims=False), sound((6, SPEECH))))
    assert not decoder.interims


def test_no_interims_are_computed_while_nothing_new_is_said() -> None:
    decoder = Counting()
    listen(stream_of(decoder, pause=9.0), sound((2, SPEECH), (7, SILENCE)))
    assert len(decoder.interims) <= 2


@pytest.mark.parametrize("takes", [0.5, 2.0, 5.0])
def test_interims_back_off_on_a_slow_machine_so_that_it_never_falls_behind(takes: float) -> None:
    decoder = Counting(takes)
    listen(stream_of(decoder), sound((14, SPEECH)))
    assert 1 <= len(decoder.interims) <= 1 + 14 / (3 * takes)


def test_after_a_slow_final_interims_wait_until_the_delay_is_made_up() -> None:
    decoder = Counting(4.0)
    stream = stream_of(decoder)
    listen(stream, sound((0.5, SPEECH)))
    stream.flush()
    assert len(decoder.finals) == 1
    listen(stream, sound((3.5, SPEECH)))
    assert not decoder.interims
    listen(stream, sound((1, SPEECH)))
    assert len(decoder.interims) == 1


def test_a_final_that_stops_before_the_last_voice_is_completed() -> None:
    for after, decodings in ((3.5, 2), (2.0, 3), (1.5, 4)):
        decoder = Stopping(after)
        pcm = sound((1, SILENCE), (6, SPEECH), (1, SILENCE))
        [final] = finals_of(listen(stream_of(decoder, interims=False), pcm))
        assert final.words[-1].end == pytest.approx(7.0, abs=0.5)
        assert all(abs(b.start - a.end) < 0.3 for a, b in pairwise(final.words))
        assert len(decoder.finals) == decodings
        assert_tiled([final], final.end)


def test_what_a_decoder_does_not_hear_at_all_is_tried_once_more_and_not_for_ever() -> None:
    decoder = Stopping(2.0, hears=1)
    [final] = finals_of(listen(stream_of(decoder, interims=False), sound((6, SPEECH), (1, SILENCE))))
    assert final.words[-1].end == pytest.approx(2.0)
    assert len(decoder.finals) == 2


def test_a_decoder_that_hears_little_each_time_is_not_asked_for_ever() -> None:
    decoder = Stopping(0.5)
    listen(stream_of(decoder, interims=False), sound((12, SPEECH), (1, SILENCE)))
    assert len(decoder.finals) <= 5


def test_interims_silence_and_half_words_are_not_decoded_again() -> None:
    for pcm in (sound((2.6, SPEECH), (1, SILENCE)), sound((2, SPEECH), (0.65, SILENCE), (0.2, SPEECH), (1, SILENCE))):
        decoder = Stopping(2.0)
        listen(stream_of(decoder), pcm)
        assert len(decoder.finals) == 1
    decoder = Stopping(1.0)
    assert interims_of(listen(stream_of(decoder), sound((6, SPEECH))))[-1].words[-1].end == pytest.approx(1.0)
    assert not decoder.finals


def word(text: str, start: float, end: float) -> HeardWord:
    return HeardWord(text, start, end, 0.9)


def test_words_do_not_reach_into_pauses() -> None:
    words = [word("so", 0.1, 0.9), word("then", 0.9, 1.6), word("end", 1.6, 2.4)]
    settled = _settle(words, [(0.0, 0.3), (0.7, 1.2), (2.1, float("inf"))])
    assert [(w.start, w.end) for w in settled] == [(0.3, 0.7), (1.2, 1.6), (1.6, 2.1)]


def test_a_word_that_starts_late_is_moved_to_the_voice() -> None:
    [first] = _settle([word("so", 0.4, 0.9)], [(0.0, 0.3)])
    assert first.start == 0.3


def test_a_word_deep_inside_a_silence_is_dropped() -> None:
    words = [word("so", 0.0, 0.5), word("you", 1.5, 1.8), word("then", 3.0, 3.5)]
    assert [w.text for w in _settle(words, [(0.5, 3.0)])] == ["so", "then"]

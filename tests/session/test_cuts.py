from __future__ import annotations

from dgnb.messages import Alternative, Channel, Results, SpeechStarted, UtteranceEnd, Word
from dgnb.session.cuts import Cuts


def heard(start: float, duration: float, *words: tuple[float, float]) -> Results:
    spoken = tuple(Word("a", *times) for times in words)
    return Results((0, 1), duration, start, Channel((Alternative("a", 0.9, spoken),)), is_final=True)


def test_a_moment_of_the_connection_lies_after_what_was_left_out() -> None:
    cuts = Cuts()
    assert cuts.skip(2.0, 0.1)
    assert not cuts.skip(2.0, 4.9)
    assert cuts.skip(5.0, 10.0)
    assert [cuts.before(at) for at in (1.9, 2.0, 2.1, 5.0, 6.0)] == [0.0, 0.0, 5.0, 5.0, 15.0]
    assert [cuts.until(at) for at in (1.9, 2.0, 2.1, 5.0, 6.0)] == [0.0, 5.0, 5.0, 15.0, 15.0]
    for message, shift in (
        (heard(0.0, 2.0), 0.0),
        (heard(2.0, 1.0, (2.2, 2.4)), 5.0),
        (SpeechStarted((0, 1), 5.0), 15.0),
        (UtteranceEnd((0, 1), 2.0), 0.0),
    ):
        assert cuts.placed(message) == (message, shift)


def test_a_result_across_a_cut_is_stretched_over_it() -> None:
    cuts = Cuts()
    cuts.skip(2.0, 5.0)
    stretched, shift = cuts.placed(heard(1.0, 2.0, (1.2, 1.5), (2.2, 2.6)))
    assert shift == 0.0
    assert isinstance(stretched, Results)
    assert (stretched.start, stretched.duration) == (1.0, 7.0)
    assert [(word.start, word.end) for word in stretched.words] == [(1.2, 1.5), (7.2, 7.6)]

from __future__ import annotations

from dgnb.messages import Word
from dgnb.plots.style import clock, round_up, voices, writable
from dgnb.transcript import Transcript
from tests.plots.talks import heard


def test_characters_that_the_font_lacks_are_boxes() -> None:
    assert writable("\U0010fffd a\nb") == "□ a b"
    assert writable("naïve שלום") == "naïve שלום"
    assert writable("\x00\ud800") == "□"


def test_a_length_of_time_is_rounded_up_to_a_round_one() -> None:
    assert [round_up(seconds) for seconds in (0.0, 5, 6, 61, 1801, 86401)] == [5, 5, 10, 120, 3600, 172800]


def test_a_time_is_written_with_hours() -> None:
    assert [clock(seconds) for seconds in (0.4, -61.0, 3725.0)] == ["0:00:00", "-0:01:01", "1:02:05"]


def test_speakers_are_named_in_order() -> None:
    transcript = Transcript()
    heard(transcript, Word("a", 0, 1, speaker=12), Word("b", 1, 2), channel=1)
    heard(transcript, Word("c", 0, 1, speaker=2), channel=0)
    words, names = voices(transcript.words)
    assert names == ["channel 0 · speaker 2", "channel 1 · speaker 12", "channel 1 · no speaker"]
    assert words["voice"].tolist() == [1, 2, 0]

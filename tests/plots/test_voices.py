from __future__ import annotations

from dgnb.messages import Word
from dgnb.plots.voices import voices
from dgnb.transcript import Transcript
from tests.plots.talks import heard, spoken


def test_speakers_are_named_in_order() -> None:
    transcript = Transcript()
    heard(transcript, Word("a", 0, 1, speaker=12), Word("b", 1, 2), channel=1)
    heard(transcript, Word("c", 0, 1, speaker=2), channel=0)
    who = voices(transcript.words)
    assert who.names == ["channel 0 · speaker 2", "channel 1 · speaker 12", "channel 1 · no speaker"]
    assert who.of.tolist() == [1, 2, 0]


def test_speakers_who_say_least_become_one() -> None:
    who = voices(
        spoken(*(Word("a", n, n + 1, speaker=speaker) for n, speaker in enumerate([0, 1, 1, 2, 3, 3]))).words, 3
    )
    assert who.names == ["speaker 1", "speaker 3", "2 others"]
    assert who.of.tolist() == [2, 0, 0, 2, 1, 1]
    assert who.looks == [1, 3, -1]

"""Transcripts to draw."""

from __future__ import annotations

import random
from typing import Any

import dgnb
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript


def heard(transcript: Transcript, *words: Word, final: bool = True, channel: int = 0, **circumstances: Any) -> None:
    text = " ".join(word.word for word in words)
    start = min((word.start for word in words), default=0.0)
    end = max((word.end for word in words), default=1.0)
    alternatives = (Alternative(text, 0.9, words),)
    results = Results((channel, 2), end - start, start, Channel(alternatives), is_final=final, speech_final=final)
    transcript.feed(results, **circumstances)


def spoken(*words: Word) -> Transcript:
    transcript = Transcript()
    heard(transcript, *words)
    return transcript


def sample() -> Transcript:
    sure = random.Random(1)
    return spoken(
        *(
            Word(word["word"], word["start"], word["end"], sure.random(), word["punctuated_word"], word["speaker"])
            for word in dgnb.samples.words()
        )
    )


def talk(count: int, speakers: int = 2) -> Transcript:
    """A word every 0.4 s, in turns of 8, with an interim before each final."""
    chance = random.Random(count)
    transcript = Transcript()
    for first in range(0, count, 8):
        speaker = chance.randrange(speakers)
        words = [
            Word("said", n * 0.4, n * 0.4 + 0.35, chance.random(), None, speaker)
            for n in range(first, min(count, first + 8))
        ]
        end = words[-1].end
        heard(transcript, *words[:-1], Word("sad", words[-1].start, end), final=False, audio_cursor=end + 0.3)
        heard(transcript, *words, audio_cursor=end + 1)
    return transcript

"""Transcripts of given words."""

from __future__ import annotations

from collections.abc import Sequence

from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript

EACH = 10  # words of an utterance


def spoken(
    words: Sequence[str],
    starts: Sequence[float] | None = None,
    *,
    speakers: Sequence[int] = (),
    language: str | None = None,
) -> Transcript:
    """A transcript of these words, half a second each from `starts` on, in finals of ten words."""
    starts = [n * 0.5 for n in range(len(words))] if starts is None else starts
    transcript = Transcript()
    for at in range(0, len(words), EACH):
        said = tuple(
            Word(word, starts[n], starts[n] + 0.4, 0.9, speaker=speakers[n] if speakers else None, language=language)
            for n, word in enumerate(words[at : at + EACH], at)
        )
        heard = Channel((Alternative(" ".join(word.word for word in said), confidence=0.9, words=said),))
        start, end = said[0].start, said[-1].end
        transcript.feed(Results((0, 1), end - start, start, heard, is_final=True, speech_final=True))
    return transcript

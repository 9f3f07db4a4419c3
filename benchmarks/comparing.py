"""Seconds of CPU and memory to compare two transcripts of 100,000 words, beside jiwer alone on the same texts."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

from dgnb.comparison import Comparison
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript

WORDS = 100_000
WRONG = 0.1


def heard(words: list[str]) -> Transcript:
    """A transcript with ten words an utterance, two a second."""
    transcript = Transcript()
    for at in range(0, len(words), 10):
        said = tuple(Word(word, n / 2, n / 2 + 0.4, 0.9) for n, word in enumerate(words[at : at + 10], at))
        channel = Channel((Alternative(" ".join(words[at : at + 10]), words=said),))
        transcript.feed(Results((0, 1), 5.0, at / 2, channel, is_final=True, speech_final=True))
    return transcript


def pair() -> tuple[Transcript, Transcript]:
    """A talk, and the same with every tenth word wrong, missing or doubled."""
    draw = random.Random(1)
    known = ["".join(draw.choices("bdfgklmnprstv", k=draw.randint(3, 8))) for _ in range(8000)]
    said = [known[min(7999, int(draw.paretovariate(0.8)))] for _ in range(WORDS)]
    other = [
        one
        for word in said
        for one in ([word] if draw.random() > WRONG else draw.choice([[draw.choice(known)], [], [word, word]]))
    ]
    return heard(said), heard(other)


def measured(name: str, call: Callable[[], object]) -> object:
    """Print how long a call takes, and the most memory that the process had so far."""
    began = time.process_time()
    result = call()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:34}{time.process_time() - began:8.2f} s{most:10.0f} MB in all")
    return result


def main() -> None:
    """Print the figures."""
    one, other = pair()
    _ = one.words, other.words
    print(f"Two transcripts of {WORDS:,} words")
    normal = EnglishTextNormalizer()
    a, b = (
        measured("Whisper's normalizer, one text", lambda text=text: normal(text)) for text in (one.text, other.text)
    )
    rate = measured("jiwer.wer() of what it gives", lambda: jiwer.wer(str(a), str(b)))
    comparison = measured("Comparison()", lambda: Comparison({"run": other}, one))
    assert isinstance(comparison, Comparison)
    measured(".summary", lambda: comparison.summary)
    measured(".words", lambda: comparison.words)
    print(f"The same rate: {comparison.summary.loc['run', 'wer'] == rate}")


if __name__ == "__main__":
    main()

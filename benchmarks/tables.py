"""Seconds for each table and helper of 100,000 words, and the bytes a word that a transcript holds.

The transcript is that of a talk with three interims before each final, on a connection that is not the first one, so
that every time lies elsewhere on the source's timeline.
"""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterable

import pandas as pd

from benchmarks.messages import recording
from dgnb.messages import ServerMessage, parse
from dgnb.transcript import Transcript

MESSAGES = 33_340
"""About 100,000 words."""
TABLES = ("words", "utterances", "results", "events", "gaps")
HELPERS: dict[str, Callable[[Transcript], pd.DataFrame]] = {
    "summary()": Transcript.summary,
    "pauses()": Transcript.pauses,
    "pauses(0)": lambda transcript: transcript.pauses(0),
    "speaking_rate()": Transcript.speaking_rate,
    "resample()": Transcript.resample,
    'resample(by="speaker")': lambda transcript: transcript.resample(by="speaker"),
    "find('the morning')": lambda transcript: transcript.find("the morning"),
    "find('the')": lambda transcript: transcript.find("the"),
    "doubtful()": Transcript.doubtful,
    "doubtful(0.7)": lambda transcript: transcript.doubtful(0.7),
}


def fed(messages: Iterable[ServerMessage]) -> Transcript:
    """A transcript of these, half a second behind the audio."""
    transcript = Transcript()
    for message in messages:
        cursor = 100.5 + getattr(message, "start", 0.0) + getattr(message, "duration", 0.0)
        transcript.feed(message, offset=100.0, audio_cursor=cursor, connection=1)
    return transcript


def best(build: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the fastest of several: whatever else the machine did can only have added to it."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        build()
        times.append(time.perf_counter() - began)
    return min(times)


def once(look: Callable[[], object]) -> float:
    """Seconds of one call: the first look at a table converts all of it."""
    began = time.perf_counter()
    look()
    return time.perf_counter() - began


def grown(transcript: Transcript, messages: list[ServerMessage]) -> None:
    """Print what a look costs after twelve new messages, which have about ten new words."""
    later, shift = iter(messages), transcript.transcript_cursor
    for name in TABLES[:3]:
        times = []
        for _ in range(5):
            for message in itertools.islice(later, 12):
                transcript.feed(message, offset=shift, connection=2)
            times.append(once(lambda name=name: getattr(transcript, name)))  # type: ignore[misc]
        print(f"{name + ', a little new':22}{min(times) * 1e3:10.2f} ms")


def main() -> None:
    """Print the figures of one transcript."""
    messages = [parse(frame) for frame in recording(MESSAGES)]
    transcript = fed(messages)
    print(f"Records to tables, {transcript.word_count:,} words, {len(messages):,} messages, pandas {pd.__version__}")

    for name in TABLES:
        print(f"{name:22}{once(lambda name=name: getattr(transcript, name)) * 1e3:10.2f} ms")  # type: ignore[misc]
    grown(transcript, messages)
    print(f"{'words, nothing new':22}{best(lambda: transcript.words) * 1e3:10.2f} ms")
    for name, helper in HELPERS.items():
        print(f"{name:22}{best(lambda helper=helper: helper(transcript)) * 1e3:10.2f} ms")  # type: ignore[misc]
    memory()


def memory() -> None:
    """Print bytes a word, with the messages."""
    gc.collect()
    tracemalloc.start()
    try:
        transcript = fed(parse(frame) for frame in recording(MESSAGES))
        gc.collect()
        words = transcript.word_count
        print(f"{'held':22}{tracemalloc.get_traced_memory()[0] / words:10.1f} bytes a word, with all messages")
        for name in TABLES:
            getattr(transcript, name)
        gc.collect()
        print(f"{'with every table':22}{tracemalloc.get_traced_memory()[0] / words:10.1f} bytes a word")
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()

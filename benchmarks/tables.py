"""Seconds for `transcript.words` of 100,000 words, and asked again with nothing new."""

from __future__ import annotations

import time

import pandas as pd

from benchmarks.messages import recording
from dgnb.messages import Results, parse
from dgnb.transcript import Transcript

WORDS = 100_000


def main() -> None:
    """Print the figures of one transcript."""
    transcript = Transcript()
    finals = [final for frame in recording(8_000) if isinstance(final := parse(frame), Results) and final.is_final]
    offset = finals[-1].start + finals[-1].duration
    round_ = 0
    each = sum(len(final.words) for final in finals)
    while (words := each * round_) < WORDS:
        for final in finals:
            transcript.feed(final, offset=round_ * offset)
        round_ += 1
    print(f"Records to tables, {words:,} words, pandas {pd.__version__}")
    for what in ("the words table", "again, nothing new"):
        began = time.perf_counter()
        _ = transcript.words
        print(f"{what:22}{(time.perf_counter() - began) * 1e3:10.2f} ms")


if __name__ == "__main__":
    main()

"""Seconds for each export of 100,000 words, and for what you would use instead.

- deepgram-captions: the official captions, made from a response for a recording.
- praatio: a TextGrid that the usual library makes and writes.
- pandas: `DataFrame.to_csv`, without the search for formulas.

The alternatives get the words in the form that they read; dgnb starts from the transcript.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import deepgram_captions
import srt
import webvtt
from praatio import textgrid
from praatio.utilities.constants import Interval

from benchmarks.messages import recording
from benchmarks.tables import MESSAGES, best, fed
from dgnb.messages import parse

ROUNDS = 3


def main() -> None:
    """Print the figures for one transcript."""
    transcript = fed([parse(frame) for frame in recording(MESSAGES)])
    words = transcript.words
    answer = deepgram_captions.DeepgramConverter(json.loads(str(transcript.to_deepgram_json())))
    entries = [Interval(word.start, word.end, word.punctuated_word) for word in words.itertuples(index=False)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words"

        def praatio() -> None:
            grid = textgrid.Textgrid()
            grid.addTier(textgrid.IntervalTier("words", entries))
            grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)

        jobs: list[tuple[str, Callable[[], object], str, Callable[[], object] | None]] = [
            ("to_srt()", transcript.to_srt, "deepgram-captions", lambda: deepgram_captions.srt(answer)),
            ("to_webvtt()", transcript.to_webvtt, "deepgram-captions", lambda: deepgram_captions.webvtt(answer)),
            ("to_textgrid(path)", lambda: transcript.to_textgrid(path), "praatio, words only", praatio),
            ("to_csv()", transcript.to_csv, "pandas", lambda: words.to_csv(index=False)),
            ("to_csv(path)", lambda: transcript.to_csv(path), "", None),
            ("to_parquet(path)", lambda: transcript.to_parquet(path), "", None),
            ("to_rttm()", transcript.to_rttm, "", None),
            ("to_deepgram_json()", transcript.to_deepgram_json, "", None),
        ]
        print(f"Exports of {transcript.word_count:,} words, best of {ROUNDS}")
        for what, export, other, instead in jobs:
            ours = best(export, ROUNDS)
            line = f"{what:22}{ours:8.2f} s"
            if instead:
                theirs = best(instead, ROUNDS)
                line += f"   {other:20}{theirs:8.2f} s   {theirs / ours:6.2f} times as long"
            print(line)
    read = (
        len(list(srt.parse(str(transcript.to_srt())))),
        len(webvtt.from_string(str(transcript.to_webvtt()), strict=True)),
    )
    print(f"Captions that srt and webvtt-py read: {read[0]:,} and {read[1]:,}")


if __name__ == "__main__":
    main()

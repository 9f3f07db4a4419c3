"""What the offline engine is worth: words, times and cost, on recordings of your own.

    python benchmarks/speech.py                      # the sample that comes with dgnb
    python benchmarks/speech.py talk.flac more/*.wav

Beside each recording lies its text (`talk.txt`) and, if they are known, the true times of its words (`talk.json`:
`{"words": [{"word": "hello", "start": 0.5, "end": 0.9}, …]}`). The audio is fed in pieces of 100 ms on the audio
clock, as fast as the machine takes it, with the interims of a stream in real time.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import jiwer
import numpy as np

import dgnb.samples
from dgnb.loopback.engines import SAMPLE_RATE, Engine, Heard, HeardWord
from dgnb.loopback.engines.whisper import WhisperEngine

PIECE = SAMPLE_RATE // 10


@dataclass
class Figures:
    """What was measured on one recording, or on all."""

    name: str
    seconds: float = 0.0
    cpu: float = 0.0
    interims: int = 0
    references: list[str] = field(default_factory=list)
    hypotheses: list[str] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    """Seconds by which word starts are off, early or late."""

    def add(self, other: Figures) -> None:
        """Take in what was measured on another recording."""
        self.seconds += other.seconds
        self.cpu += other.cpu
        self.interims += other.interims
        self.references += other.references
        self.hypotheses += other.hypotheses
        self.errors += other.errors

    def row(self) -> str:
        """Put the figures into a line of the table."""
        error_rate = jiwer.wer(self.references, self.hypotheses)
        words = sum(len(reference.split()) for reference in self.references)
        times = ""
        if self.errors:
            median, ninetieth = np.percentile(self.errors, [50, 90])
            times = f"{median * 1000:6.0f} {ninetieth * 1000:6.0f}"
        return (
            f"{self.name[:32]:32} {self.seconds:7.1f} {words:6} {error_rate:7.1%} "
            f"{self.cpu / self.seconds:7.2f} {self.interims:8} {times}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the offline speech engine.")
    parser.add_argument("files", nargs="*", type=Path, help="recordings, each with a .txt beside it")
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--pause", type=float, default=0.7, help="seconds of silence that end an utterance")
    parser.add_argument("--no-interims", action="store_true")
    chosen = parser.parse_args(arguments)

    # Interims back off by what decoding takes; by this clock another program's share does not count.
    engine = WhisperEngine(chosen.model, clock=time.process_time)
    print(f"{engine.info.name}, {engine.info.version}, pause {chosen.pause:g} s")
    print(f"{'recording':32} {'seconds':>7} {'words':>6} {'WER':>7} {'CPU s/s':>7} {'interims':>8} {'start error, ms'}")
    print(f"{'':72}{'50 %':>6} {'90 %':>6}")
    total = Figures("all")
    for path in chosen.files or [dgnb.samples.path()]:
        figures = measure(engine, path, pause=chosen.pause, interims=not chosen.no_interims)
        print(figures.row(), flush=True)
        total.add(figures)
    if len(chosen.files) > 1:
        print(total.row())


def measure(engine: Engine, path: Path, *, pause: float, interims: bool) -> Figures:
    """Stream one recording through an engine."""
    notes = json.loads(path.with_suffix(".json").read_text("utf-8")) if path.with_suffix(".json").is_file() else {}
    text = notes["text"] if "text" in notes else path.with_suffix(".txt").read_text("utf-8")
    pcm = decode(path)
    stream = engine.open(pause=pause, interims=interims)
    words: list[HeardWord] = []
    count = 0
    began = time.process_time()
    for at in range(0, len(pcm), 2 * PIECE):
        events = stream.feed(pcm[at : at + 2 * PIECE])
        words += [word for event in events if isinstance(event, Heard) and event.final for word in event.words]
        count += sum(isinstance(event, Heard) and not event.final for event in events)
    words += [word for event in stream.flush() if isinstance(event, Heard) for word in event.words]
    cpu = time.process_time() - began
    return Figures(
        path.name,
        len(pcm) / 2 / SAMPLE_RATE,
        cpu,
        count,
        [plain(text)],
        [plain(" ".join(word.text for word in words))],
        start_errors(words, notes.get("words", [])),
    )


def decode(path: Path) -> bytes:
    """Decode any recording to what an engine is fed."""
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)


def plain(text: str) -> str:
    """Take away what is not a matter of hearing: case, punctuation, hyphens."""
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).split())


def start_errors(words: Sequence[HeardWord], truth: Sequence[dict[str, float | str]]) -> list[float]:
    """List by how much the starts are off of the words that were recognised."""
    heard = [plain(word.text) for word in words]
    true = [plain(str(word["word"])) for word in truth]
    blocks = difflib.SequenceMatcher(None, true, heard, autojunk=False).get_matching_blocks()
    return [
        abs(words[block.b + i].start - float(truth[block.a + i]["start"]))
        for block in blocks
        for i in range(block.size)
    ]


if __name__ == "__main__":
    main()

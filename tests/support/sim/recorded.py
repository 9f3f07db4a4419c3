"""A session of the simulation that is recorded, on a disk that is full for a while: is second t of both the same?"""

from __future__ import annotations

import contextlib
import errno
import io
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from .audio import BYTES_PER_SECOND, Reader
from .loop import VirtualLoop

if TYPE_CHECKING:
    from .run import Outcome

__all__ = ["Recording"]


class Recording:
    """Where a session is recorded to, and what it must have given to be recorded.

    Attributes:
        path: The file.
        full: The stretch (from, to) of seconds after the start in which the disk takes nothing; none for two seeds of
            three.
    """

    def __init__(self, folder: str, seed: object) -> None:
        rng = random.Random(f"recording {seed}")
        self.path = Path(folder, "talk.flac")
        start = rng.uniform(0, 20) if rng.random() < 1 / 3 else 1e9
        self.full = (start, start + rng.uniform(1, 10))

    @classmethod
    @contextlib.contextmanager
    def made(cls, loop: VirtualLoop, seed: object) -> Iterator[Recording]:
        began = loop.time()
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            recording = cls(folder, seed)

            class File(io.FileIO):
                def write(self, data: Any) -> int:
                    if recording.full[0] <= loop.time() - began < recording.full[1]:
                        # A part of it fits.
                        super().write(data[: len(data) // 2])
                        raise OSError(errno.ENOSPC, "No space left on device")
                    return super().write(data)

            def opened(path: Path, mode: str, buffering: int, opener: Any) -> File:
                return File(path, mode.replace("b", ""), opener=opener)

            patch.setattr("dgnb.audio.recording.open", opened, raising=False)
            yield recording

    def check(self, outcome: Outcome) -> None:
        """The samples are those that were captured, and each word of the transcript is in them at its time."""
        captured, wrong = bytes(outcome.books.audio), outcome.violations
        held = b""
        with contextlib.suppress(ValueError), self.path.open("rb") as file, av.open(file, "r") as container:
            # A file that ended on a full disk ends in the middle of a frame.
            for frame in container.decode(audio=0):
                held += frame.to_ndarray().tobytes()
        # What a session could not write before its end is silence where it went on, and missing where it did not.
        ended = outcome.ended - outcome.started
        whole = self.full[0] > 1e8 or not (outcome.retried or self.full[0] - 2 < ended < self.full[1] + 2)
        mine, theirs = np.frombuffer(held, "<i2"), np.frombuffer(captured, "<i2")[: len(held) // 2]
        right = mine.shape == theirs.shape and ((mine == theirs) | (not whole) & (mine == 0)).all()
        if not right or (whole and len(held) != len(captured)):
            wrong.append(f"INV22 {len(held)} bytes are recorded, {len(captured)} captured, and they are not the same")
        reader = Reader()
        tokens = [*reader.feed(held), *reader.flush()]
        begins = {word: start / BYTES_PER_SECOND for word, start, _ in tokens if word > 0}
        table = outcome.session.transcript.words
        rows = list(zip((int(word[1:]) for word in table["word"]), table["start"].tolist(), strict=True))
        if whole and (missing := [word for word, _ in rows if word not in begins]):
            wrong.append(f"INV22 words that are not in the recording: {missing[:8]} ({len(missing)} in all)")
        worst = max((abs(start - begins[word]) for word, start in rows if word in begins), default=0.0)
        outcome.figures["INV22 word in the recording (s)"] = worst
        if worst > 0.020:
            wrong.append(f"INV22 a word is {worst:.3f} s from its place in the recording")
        told = [event.text for event in outcome.session.transcript._notes if event.type == "warning"]
        if sum("can't be written" in text for text in told) > 1 + outcome.retried:
            wrong.append(f"INV22 a full disk was told more than once: {told}")

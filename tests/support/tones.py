"""A transcript of any length whose sound tells where it is: each second has its own tone."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import av
import numpy as np

from dgnb.audio import Sound
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript

RATE = 16_000
PERIOD = 16.384
"""Seconds after which the tones begin anew: 256 packets of AAC."""
TEXT = "well hello there the quick brown fox said don't jump over lazy dogs when music plays in town"


def tone(at: float) -> float:
    """What is heard at a time, in Hz."""
    return 300.0 + 60 * int(at % PERIOD)


@cache
def _period() -> Any:
    times = np.arange(round(PERIOD * RATE)) / RATE
    return (8_000 * np.sin(2 * np.pi * (300 + 60 * np.floor(times)) * (times % 1))).astype("<i2")


class Tones(Sound):
    """So many seconds of it. Its packets are encoded once and repeated, because an hour takes a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__((RATE, np.resize(_period(), round(seconds * RATE))))
        self.seconds = seconds

    def encoded(self, start: float = 0.0, end: float | None = None) -> tuple[bytes, str]:
        if self.seconds < 10 * PERIOD or start or end:
            return super().encoded(start, end)
        data, mime = Sound((RATE, np.tile(_period(), 3))).encoded()
        written = io.BytesIO()
        with av.open(io.BytesIO(data)) as once, av.open(written, "w", format="mp4") as container:
            stream = container.add_stream_from_template(once.streams.audio[0])
            packets = [bytes(packet) for packet in once.demux() if packet.size][256:512]
            for n in range(int(self.seconds * RATE / 1024)):
                packet = av.Packet(packets[n % 256])
                packet.pts = packet.dts = 1024 * n
                packet.duration, packet.time_base, packet.stream = 1024, stream.time_base, stream
                container.mux(packet)
        return written.getvalue(), mime


def talk(words: int, seconds: float, *, utterance: int = 18) -> Transcript:
    """A transcript of evenly spaced words by three speakers in turn. Each 29th word is doubtful."""
    transcript, step, vocabulary = Transcript(), seconds / words, TEXT.split()
    for first in range(0, words, utterance):
        said = tuple(
            Word(
                vocabulary[n % len(vocabulary)],
                round(n * step, 3),
                round((n + 0.8) * step, 3),
                0.3 if n % 29 == 0 else 0.95,
                speaker=n // utterance // 3 % 3,
            )
            for n in range(first, min(words, first + utterance))
        )
        heard = Channel((Alternative(" ".join(word.word for word in said), 0.9, said),))
        final = Results((0, 1), len(said) * step, first * step, heard, is_final=True, speech_final=True)
        transcript.feed(final)
    transcript.audio = Tones(seconds)
    return transcript

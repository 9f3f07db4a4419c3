"""Silero's voice activity detector, fed as the audio arrives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FRAME = 512
"""Samples in a frame, which has one probability: 32 ms."""

_CONTEXT = 64

Samples = npt.NDArray[np.float32]
"""Audio from -1 to 1, one channel, 16 kHz."""


class SileroVoice:
    """Silero, with its state kept from one call to the next.

    faster-whisper ships the detector and runs it over a finished recording. Here, a stream costs 0.1 ms a frame, and
    nothing is computed twice.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)
        self._tail = np.zeros(_CONTEXT, np.float32)

    def feed(self, samples: Samples) -> list[float]:
        """Take whole frames, at least one; return the probability, 0 to 1, that each holds a voice."""
        frames = samples.reshape(-1, FRAME)
        before = np.vstack([self._tail, frames[:-1, -_CONTEXT:]])
        batch = np.hstack([before, frames])
        output, self._h, self._c = self._session.run(None, {"input": batch, "h": self._h, "c": self._c})
        self._tail = frames[-1, -_CONTEXT:].copy()
        return [float(p) for p in np.asarray(output).ravel()]

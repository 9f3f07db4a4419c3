"""The samples of a source, as tests compare them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dgnb.audio import Audio

Samples = npt.NDArray[Any]
RATE = 16_000


async def samples(audio: Audio) -> Samples:
    try:
        return np.frombuffer(b"".join([chunk async for chunk in audio]), "<i2").reshape(-1, audio.channels)
    finally:
        await audio.aclose()

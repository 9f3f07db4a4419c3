"""`Gate`: which audio is silence that need not be sent. Pure: no clock, no loop, no I/O."""

from __future__ import annotations

import math
from typing import Final

LOUD: Final = -45.0
"""dB below full scale, as root mean square: what is louder is always sent, such as music and steady noise."""
_QUIET: Final = -60.0  # what is quieter is never speech
_ABOVE: Final = 10.0  # dB above the quietest that was heard, up to which it counts as silence
_FRAME: Final = 0.1  # s that are judged together
_HANG_OVER: Final = 0.5  # s that are sent after speech, so that its end is heard as such
_LEAD_IN: Final = 0.3  # s that are sent before speech


class Gate:
    """Judges linear16 as it is captured. Positions are bytes on the source's timeline."""

    def __init__(self, bytes_per_second: float, frame: int) -> None:
        self._step = max(1, round(_FRAME * bytes_per_second / frame)) * frame
        self._rest = b""
        self._silent = bytearray()  # for each step whether it is silence
        self._floor = 0.0
        self.left_out = 0.0  # s that were not sent

    def capture(self, chunk: bytes) -> None:
        """Take the next audio of the source."""
        import numpy as np

        self._rest += chunk
        while len(self._rest) >= self._step:
            heard, self._rest = self._rest[: self._step], self._rest[self._step :]
            samples = np.frombuffer(heard, "<i2").astype(np.float32)
            power = float(np.square(samples).mean()) / 32768**2
            level = 10 * math.log10(power) if power else -math.inf
            # It follows noise that grows within a minute.
            self._floor = max(min(self._floor + 0.02, level), -90.0)
            self._silent.append(level < min(LOUD, max(_QUIET, self._floor + _ABOVE)))

    def skips(self, start: int, size: int, ended: bool) -> bool | None:
        """Whether audio is not sent, because it and what is around it is silence. None: more has to be captured."""
        before, after = (round(seconds / _FRAME) for seconds in (_HANG_OVER, _LEAD_IN))
        first, last = start // self._step, -(-(start + size) // self._step)
        if first < before or not all(self._silent[first - before : last]):
            return False
        known = self._silent[last : last + after]
        if not all(known):
            return False
        return True if len(known) == after else (False if ended else None)

    def silent(self, start: int, end: int) -> bool:
        """Whether all audio from `start` up to `end` is silence."""
        return all(self._silent[start // self._step : -(-end // self._step)])

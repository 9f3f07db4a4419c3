"""`Timeline`: finds in the timestamps of frames where sound is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dgnb.audio.source import CHUNK_SECONDS

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

MOST_MISSED: Final = 3600.0
"""Seconds. A longer hole is a wrong timestamp: nobody wants a day of silence for it."""
_LEAST_MISSED: Final = 0.02  # Seconds that are filled with silence. Less is the jitter of a container.
_RESTART: Final = 1.0  # Timestamps that go back by more seconds than this begin anew


class Timeline:
    """Compares the timestamps of frames with the sound that came, up to `position` in seconds.

    The container begins at `start`, in µs, or with its first sound. With `fills`, silence fills what is missed.
    """

    def __init__(self, start: int | None, *, fills: bool) -> None:
        self.position = 0.0
        self._fills = fills
        self._least, self._most_early = (_LEAST_MISSED, _RESTART) if fills else (CHUNK_SECONDS, CHUNK_SECONDS)
        self._zero = self._earlier = None if start is None else start / 1_000_000

    def since_start(self, at: float) -> float:
        """The position of a timestamp."""
        return at - (self._zero or 0.0)

    def missed(self, frame: AudioFrame) -> float:
        """Seconds that are missing before a frame: 0.0 for most."""
        at = frame.time
        if at is None:
            return 0.0
        if self._zero is None or (at < self._zero and not self.position):
            self._zero = self._earlier = at
        late = at - self._zero - self.position
        # A little too early is jitter. If the zero moved with it, each jitter would add some silence.
        if -self._most_early < late < self._least:
            return 0.0
        assert self._earlier is not None
        if abs(at - self._earlier - self.position) < CHUNK_SECONDS:
            # Time goes on as before: a wrong timestamp stood between.
            self._zero = self._earlier
            return 0.0
        if not self._fills or not 0 < late <= MOST_MISSED:
            self._earlier, self._zero = self._zero, at - self.position
        return max(0.0, late)

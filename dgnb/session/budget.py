"""`Budget`: what the audio costs that was sent, and how much it may cost."""

from __future__ import annotations

from dgnb.transcript import Transcript


class Budget:
    """Counts US$ for all bytes on all connections, and says when the next ones would cost more than `most`."""

    def __init__(self, transcript: Transcript, most: float) -> None:
        self.most = most
        self.price: float | None = None  # US$ a byte on this connection; None where none is known
        self.spent = False
        self._transcript = transcript

    def pays(self, size: int) -> bool:
        """Count so many bytes that are sent next. False: they cost too much, and nothing may be sent any more."""
        if self.price is not None and not self.spent:
            cost = (self._transcript.cost or 0.0) + size * self.price
            # Sums of floats are not exact.
            self.spent = cost > self.most * (1 + 1e-9)
            if self.spent:
                self._transcript.note("limit", f"It ends here: more audio would cost over US${self.most:g}.")
            else:
                self._transcript.cost = cost
        return not self.spent

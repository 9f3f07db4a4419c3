"""`Stop`: when a stop was asked for, and the deadlines that follow from it. Pure: no clock, no loop, no I/O.

To change how long a stop may take, change the constants here. All are seconds.
"""

from __future__ import annotations

import math
from typing import Final

TOTAL: Final = 5.0  # The whole stop. The journal's last write may use what the other steps leave.
DRAIN: Final = 4.5  # From the stop to the server's last message.
REPLAY: Final = 3.0  # From the stop; what was captured and not heard yet is sent in this time.
RELEASE: Final = 0.3  # For the source to close.
INTERRUPTED: Final = 0.3  # For which an interrupted cell waits; later messages arrive in the background.
AT_EXIT: Final = 1.5  # For all sessions of a process that exits.


class Stop:
    """Remembers when a stop was first asked for. Times are seconds on the loop's clock."""

    def __init__(self) -> None:
        self._asked_at = math.inf

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked_at < math.inf

    def ask(self, now: float) -> None:
        """Ask for a stop. Only the first request counts."""
        self._asked_at = min(self._asked_at, now)

    @property
    def replay_deadline(self) -> float:
        """Until when captured audio is still sent; infinite without a stop."""
        return self._asked_at + min(REPLAY, DRAIN)

    def drain_deadline(self, heard_at: float, drain_timeout: float) -> float:
        """Until when the server may take CloseStream or send its next message, after one that came at `heard_at`."""
        return min(heard_at + drain_timeout, self._asked_at + DRAIN)

    def journal_deadline(self, now: float) -> float:
        """Until when a session that ends at `now` waits for its journal."""
        return min(now, self._asked_at) + TOTAL

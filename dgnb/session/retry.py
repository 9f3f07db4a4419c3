"""What a fault of the connection is worth: another try, or the end. Pure: no clock, no loop, no I/O.

The classes of close codes and HTTP statuses are Deepgram's (its pages on errors and on recovering from lost
connections), and RFC 6455's.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final, Literal

from dgnb.exceptions import ConnectionLost, DgnbError, HandshakeError

__all__ = ["Backoff", "Retry", "verdict"]

FIRST_TRIES: Final = 4
"""How often a server is tried that was never reached: somebody is waiting, and the address may be wrong."""

STRIKES: Final = 3
QUICK: Final = 5.0
"""Seconds. Connections that end sooner and without a final, so many in a row, are no accident."""

_MINUTE: Final = 60.0
_TRIES_A_MINUTE: Final = 8

Verdict = Literal["retry", "once", "stop"]
_TRANSIENT: Final = frozenset({1001, 1006, 1011, 1012, 1013, 1014})
_FATAL: Final = frozenset({1002, 1003, 1007, 1008, 1009, 1010, 1015})


def verdict(error: Exception) -> Verdict:
    """Whether to try again after this error: always, only once without a final in between, or never."""
    if isinstance(error, HandshakeError):
        return "retry" if error.transient else "stop"
    if not isinstance(error, ConnectionLost):
        return "stop"
    if error.code == 1011 and is_silent_server(error):
        return "once"
    if error.code in _TRANSIENT or 4000 <= error.code < 5000:
        return "retry"
    if error.code in _FATAL:
        return "stop"
    # 1000 unasked, 1005, and codes that nobody has defined.
    return "once"


def is_silent_server(error: Exception) -> bool:
    """Whether the server says that it could produce no text: its own fault once, the audio's when it happens again."""
    return isinstance(error, ConnectionLost) and "NET0000" in error.reason.upper().replace("-", "")


class Backoff:
    """How long to wait before the next try: full jitter from 0.5 s, doubled three times, then 10 to 12 s.

    Never more than eight tries in the first minute, whatever the dice say.
    """

    random: random.Random = random.Random()

    def __init__(self) -> None:
        self._tries: deque[float] = deque(maxlen=_TRIES_A_MINUTE)
        self.reset()

    def reset(self) -> None:
        """All is well again."""
        self.tries = 0
        self._tries.clear()

    def next(self, now: float, retry_after: float | None = None) -> float:
        """Seconds to wait for the next try; the server's own wish counts where it has one."""
        delay = self.random.uniform(0, 0.5 * 2**self.tries) if self.tries < 4 else self.random.uniform(10, 12)
        if retry_after is not None:
            # Not all at the same moment, where many were turned away at once.
            delay = retry_after + self.random.uniform(0, 0.5)
        if len(self._tries) == _TRIES_A_MINUTE:
            delay = max(delay, self._tries[0] + _MINUTE - now)
        self.tries += 1
        self._tries.append(now + delay)
        return delay


class Retry:
    """Decides after each fault of a session's connections. A final, and nothing else, shows that all is well again.

    Args:
        patience: Seconds for which a server that has been reached before is tried again; 0 for not at all.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._backoff = Backoff()
        self._since: float | None = None
        self._strikes = 0
        self._once: set[str] = set()
        self._reached = False
        self._had_final = False

    @property
    def tries(self) -> int:
        """How many tries there were since all was well."""
        return self._backoff.tries

    def opened(self) -> None:
        """A connection is open."""
        self._reached = True
        self._had_final = False

    def final(self) -> None:
        """A final came."""
        self._had_final = True
        self._backoff.reset()
        self._since = None
        self._strikes = 0
        self._once.clear()

    def after(self, error: Exception, now: float, *, uptime: float | None = None) -> float | None:
        """Seconds to wait before the next try, or None when there is none; then `error` says why, too.

        Args:
            error: What happened.
            now: Seconds, monotonic.
            uptime: How long the connection was open, when it was.
        """
        if self.patience <= 0:
            return None
        what = verdict(error)
        if what == "stop":
            return None
        kind = f"{getattr(error, 'code', '')}{is_silent_server(error)}"
        if what == "once" and kind in self._once:
            if is_silent_server(error):
                _add(error, "It happened twice in a row: is the audio in the format that encoding and sample_rate say?")
            else:
                _add(error, "It happened twice in a row.")
            return None
        self._once.add(kind)
        if uptime is not None and uptime < QUICK and not self._had_final:
            self._strikes += 1
            if self._strikes == STRIKES:
                _add(error, f"It was opened {STRIKES} times, and each time lost within {QUICK:g} s without a final.")
                return None
        self._since = now if self._since is None else self._since
        if not self._reached and self.tries + 1 >= FIRST_TRIES:
            _add(error, f"Tried {self.tries + 1} times.")
            return None
        delay = self._backoff.next(now, getattr(error, "retry_after", None))
        limit = self.patience if self._reached else min(self.patience, _MINUTE)
        if now + delay - self._since > limit:
            if getattr(error, "retry_after", None):
                _add(error, f"The server wants to be left alone for {delay:.0f} s, longer than is waited here.")
            else:
                _add(error, f"Tried {self.tries} times in {now - self._since:.0f} s.")
            return None
        return delay


def _add(error: Exception, words: str) -> None:
    if isinstance(error, DgnbError):
        error.args = (f"{error} {words}",)

"""Whether to connect again after a fault, and when. Pure: no clock, no loop, no I/O.

Which faults are worth another try stands in the table of `dgnb/connection/errors.py`.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final

from dgnb.connection.errors import Again, find_rule, may_retry
from dgnb.exceptions import ConnectionLost, HandshakeError

STRIKES: Final = 3
QUICK: Final = 5.0
"""Seconds. After `STRIKES` connections that the server closes sooner, without any final, there is no further try."""

_MINUTE: Final = 60.0
_TRIES_A_MINUTE: Final = 8


class Backoff:
    """The time to wait before the next try: full jitter from 0.5 s, doubled three times, then 10 to 12 s.

    There are at most eight tries in the first minute. `times` says when they took place: often long after the wait.
    """

    random: random.Random = random.Random()

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=_TRIES_A_MINUTE)
        self.tries = 0

    def next(self, now: float, retry_after: float | None = None) -> float:
        """Seconds to wait before the next try. `retry_after` is what the server asks for."""
        delay = self.random.uniform(0, 0.5 * 2**self.tries) if self.tries < 4 else self.random.uniform(10, 12)
        if retry_after is not None:
            # Jitter: a server that turned many away at once must not get all of them back at once.
            delay = retry_after + self.random.uniform(0, 0.5)
        if len(self.times) == _TRIES_A_MINUTE:
            delay = max(delay, self.times[0] + _MINUTE - now)
        self.tries += 1
        return delay


class Retry:
    """Decides after each fault whether to connect again, for `patience` seconds; 0 for no second try.

    Once a final came, the server is known to work, and only the time without another final counts, however often the
    connection ends. Before that, a server that closes again and again is given up: the request may be wrong.
    `unanswered` is the same for a server that has not answered at all yet; None for `patience`.
    """

    def __init__(self, patience: float, unanswered: float | None = None) -> None:
        self.patience = patience
        self._unanswered = patience if unanswered is None else unanswered
        self._backoff = Backoff()
        self._since: float | None = None
        self._strikes = 0
        self._once: set[str | int] = set()
        self._reached = False
        self._works = False

    def begun(self, now: float) -> None:
        """A further try takes place."""
        self._backoff.times.append(now)

    def opened(self) -> None:
        """A connection is open."""
        self._reached = True

    def final(self) -> None:
        """A final came."""
        self._works = True
        self._backoff = Backoff()
        self._since = None

    def delay(self, error: Exception, now: float, *, uptime: float | None = None) -> float:
        """Seconds to wait before the next try. `uptime` is how long the connection was open, when it was.

        Where there is none, it raises `error`, or a copy that also says why.
        """
        answered = not isinstance(error, HandshakeError) or error.status is not None
        # TLS or a proxy that fails is wrongly set up, but not where the server was reached that way before.
        if self.patience <= 0 or (may_retry(error) is Again.NEVER and (answered or not self._reached)):
            raise error
        if not self._works and (why := self._hopeless(error, uptime)):
            # Not from the error that it repeats: a notebook would print two tracebacks.
            raise _completed(error, why) from None
        if self._since is None or (uptime is not None and uptime >= _MINUTE):
            # A connection that held is progress, even where nobody spoke.
            self._since = now
        wanted = getattr(error, "retry_after", None)
        delay = self._backoff.next(now, wanted)
        limit = self.patience if self._reached or answered else self._unanswered
        if now + delay - self._since <= limit:
            return delay
        why = f"Tried {self._backoff.tries} times in {now - self._since:.0f} s."
        if wanted:
            why = f"The server asks for a wait of {delay:.0f} s, longer than the session waits."
        raise _completed(error, why) from None

    def _hopeless(self, error: Exception, uptime: float | None) -> str:
        """Why another try would not help, as a sentence, or "". Counts this fault."""
        if isinstance(error, ConnectionLost) and may_retry(error) is Again.ONCE:
            advice = find_rule(error.code, error.reason, error.gave_up).twice
            # Faults with the same advice are of the same kind.
            kind = advice or error.code
            if kind in self._once:
                return f"It happened twice in a row. {advice}".rstrip()
            self._once.add(kind)
        # A line that broke, without a close frame, is the network's fault.
        if uptime is not None and uptime < QUICK and not (isinstance(error, ConnectionLost) and error.code == 1006):
            self._strikes += 1
            if self._strikes == STRIKES:
                return f"It was opened {STRIKES} times, and each time lost within {QUICK:g} s without a final."
        return ""


def _completed(error: Exception, why: str) -> Exception:
    """The same error with one more sentence."""
    assert isinstance(error, ConnectionLost | HandshakeError), "no other error is tried again"
    return type(error)(f"{error} {why}", **vars(error))

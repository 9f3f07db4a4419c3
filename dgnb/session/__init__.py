"""`LiveSession` and `transcribe()`: a stream in the background that reconnects and loses no words.

live.py      LiveSession, transcribe: what you do and see
runner.py    Runner: the background task, who waits for it, and its error
registry.py  sessions(), the cell that is run again, the end of the process
requests.py  Requests: finalize and apply
stream.py    Stream: connect, serve, retry; it alone changes State
link.py      Link: one connection: send, receive, drain
capture.py   Capture: source -> ledger, pause, pace
watch.py     Watch: loop lag, sleep, reminders, the journal's clock
writer.py    JournalWriter: the journal's file work, off the loop
stop.py      Stop: when a stop was asked for, and the deadlines that follow; pure
ledger.py    Ledger: which audio is acknowledged, pending, lost; pure
retry.py     Retry: whether to connect again, and when; pure
lag.py       Lag: how long the loop was held up; pure
report.py    a session's report
"""

from __future__ import annotations

from dgnb.session.live import LiveSession, transcribe
from dgnb.session.registry import sessions
from dgnb.session.stream import State

__all__ = ["LiveSession", "State", "sessions", "transcribe"]

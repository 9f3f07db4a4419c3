"""`LiveSession` and `transcribe()`: a stream in the background, that survives what happens to it.

live.py     LiveSession, sessions, transcribe: what a person does and sees
stream.py   Stream: source -> ledger -> one connection after another -> transcript
ledger.py   Ledger: which audio is acknowledged, pending, lost; pure
retry.py    Retry: what is tried again, and when; pure
lag.py      Lag: how long the loop was held up; pure
report.py   what a session has to say about itself
"""

from __future__ import annotations

from dgnb.session.live import LiveSession, sessions, transcribe
from dgnb.session.stream import State

__all__ = ["LiveSession", "State", "sessions", "transcribe"]

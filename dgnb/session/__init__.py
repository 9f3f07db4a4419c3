"""`LiveSession`, `transcribe()` and `replay()`: a stream in the background that reconnects and loses no words."""

from __future__ import annotations

from dgnb.session.again import fill_gaps, replay
from dgnb.session.live import LiveSession, transcribe
from dgnb.session.registry import sessions
from dgnb.session.stream import State

__all__ = ["LiveSession", "State", "fill_gaps", "replay", "sessions", "transcribe"]

"""Audio for sessions whose server follows a script and does not listen."""

from __future__ import annotations

import dgnb

__all__ = ["SECONDS", "speech"]

SECONDS = 6.0


def speech(seconds: float = SECONDS) -> dgnb.BufferSource:
    """So many seconds of silence, linear16 at 16 kHz. The server's script decides the words."""
    return dgnb.BufferSource(bytes(round(seconds * 16_000) * 2), encoding="linear16", sample_rate=16_000)

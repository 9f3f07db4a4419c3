"""Scripts whose words have given times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dgnb.loopback import Script
from dgnb.loopback.engines import HeardWord

__all__ = ["script_of"]


def script_of(words: Iterable[tuple[Any, ...]], **settings: Any) -> Script:
    """A script that says `(word, start, end)` or `(word, start, end, confidence)`, seconds on the clock."""
    script = Script(**settings)
    script.words = tuple(
        HeardWord(text, float(start), float(end), confidence)
        for text, start, end, confidence in ((*word, 0.99)[:4] for word in words)
    )
    return script

"""Scripts whose words have given times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dgnb.loopback import Script
from dgnb.loopback.engines import HeardWord

__all__ = ["script_of"]


def script_of(words: Iterable[tuple[Any, ...]], **settings: Any) -> Script:
    """A script that says `(word, start, end)`, `(…, speaker)` or `(…, speaker, confidence)`, seconds on the clock."""
    script = Script(**settings)
    script.words = tuple(
        HeardWord(text, float(start), float(end), further[1] if len(further) > 1 else 0.99, *further[:1])
        for text, start, end, *further in words
    )
    return script

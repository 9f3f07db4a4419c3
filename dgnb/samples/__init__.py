"""A sample recording: a short dialogue of a man and a woman, with its exact text and true word times.

The text was written for dgnb and spoken by flite's voices `rms` and `slt`, so it may be used for anything. The word
times come from the synthesiser, which sets the length of each phone: they are exact, so you can measure a recogniser
against them. `tools/make_sample.py` makes the files.

```python
import dgnb

transcript = await dgnb.transcribe(dgnb.samples.path(), endpoint="offline")
print(dgnb.samples.text())
```
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict, cast

__all__ = ["Word", "path", "text", "words"]

_HERE = Path(__file__).parent


class Word(TypedDict):
    """A word of the sample, with the keys of a word in Deepgram's `Results`."""

    word: str
    """The word in lower case, without punctuation: `morning`."""
    punctuated_word: str
    """The word as in the text: `morning,`."""
    start: float
    """The start of its first phone, in seconds from the start of the file."""
    end: float
    """The end of its last phone, in seconds from the start of the file."""
    speaker: int
    """The speaker: 0 is the man, who speaks first, and 1 the woman."""


def path() -> Path:
    """The path of the recording, an Ogg Opus file: mono speech of about 45 seconds.

    Examples:
        >>> path().name
        'dialogue.ogg'
    """
    return _HERE / "dialogue.ogg"


def text() -> str:
    """The text of the recording, with capitals and punctuation; its words are joined by spaces.

    Examples:
        >>> text().split(",")[0]
        'Good morning'
    """
    return str(_notes()["text"])


def words() -> list[Word]:
    """The words of the recording in spoken order, with their true times, in a new list.

    Examples:
        >>> words()[1]["punctuated_word"]
        'morning,'
    """
    return cast("list[Word]", _notes()["words"])


def _notes() -> Any:
    return json.loads((_HERE / "dialogue.json").read_text(encoding="utf-8"))

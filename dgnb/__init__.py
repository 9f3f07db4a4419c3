"""Live speech transcription in Jupyter: words with timings from a stream, in a pandas DataFrame.

```python
import dgnb

transcript = await dgnb.transcribe("speech.wav", smart_format=True)
transcript.words
```
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from dgnb._version import __version__ as __version__

# Room -> its public names. A room is loaded on the first use of one, so that importing dgnb stays cheap. Type checkers
# and editors read `__init__.pyi` instead.
_NAMES = {
    "account": ("grant_token", "models"),
    "audio": ("AudioSource", "BufferSource", "FileSource", "URLSource"),
    "blocking": ("run",),
    "comparison": ("Comparison", "compare"),
    "connection": ("Connection", "connect"),
    "exceptions": (
        *("AudioError", "AuthenticationError", "CloseTimeout", "ConfigurationError", "ConnectionLost", "DgnbError"),
        *("HandshakeError", "ProtocolError", "SessionStopped"),
    ),
    "nested": ("allow_nested",),
    "options": ("FluxOptions", "LiveOptions", "PrerecordedOptions"),
    "pricing": ("prices",),
    "recordings": ("transcribe_file",),
    "session": ("LiveSession", "State", "fill_gaps", "replay", "sessions", "transcribe"),
    "transcript": ("Transcript",),
    "widgets": ("ControlPanel", "LiveCaptions", "Microphone"),
}
_HOMES = {name: room for room, names in _NAMES.items() for name in names}
_ROOMS = ("exports", "loopback", "messages", "plots", "samples", "tables")

__all__ = [*_HOMES, *_ROOMS]

if "IPython" in sys.modules:
    # These two learn of IPython's cells and of its Tab from here on.
    importlib.import_module("dgnb.cells")
    importlib.import_module("dgnb.completion")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"dgnb.{_HOMES[name]}"), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"dgnb.{name}")
    else:
        raise AttributeError(f"module 'dgnb' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

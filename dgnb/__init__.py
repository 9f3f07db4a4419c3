"""Live speech transcription in Jupyter: words with timings from a stream, in a pandas DataFrame.

```python
import dgnb

transcript = await dgnb.transcribe("speech.wav", smart_format=True)
transcript.words
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dgnb._version import __version__ as __version__

# Public name -> module it lives in. Loaded on first use, so that importing dgnb stays cheap.
_HOMES = {
    "AudioError": "exceptions",
    "AudioSource": "audio",
    "AuthenticationError": "exceptions",
    "BufferSource": "audio",
    "CloseTimeout": "exceptions",
    "ConfigurationError": "exceptions",
    "Connection": "connection",
    "ConnectionLost": "exceptions",
    "ControlPanel": "widgets",
    "DgnbError": "exceptions",
    "FileSource": "audio",
    "HandshakeError": "exceptions",
    "LiveCaptions": "widgets",
    "LiveOptions": "options",
    "LiveSession": "session",
    "ProtocolError": "exceptions",
    "State": "session",
    "Transcript": "transcript",
    "URLSource": "audio",
    "allow_nested": "nested",
    "connect": "connection",
    "run": "blocking",
    "sessions": "session",
    "transcribe": "session",
}
_ROOMS = {"exports", "loopback", "messages", "plots", "samples", "tables"}

__all__ = [
    "AudioError",
    "AudioSource",
    "AuthenticationError",
    "BufferSource",
    "CloseTimeout",
    "ConfigurationError",
    "Connection",
    "ConnectionLost",
    "ControlPanel",
    "DgnbError",
    "FileSource",
    "HandshakeError",
    "LiveCaptions",
    "LiveOptions",
    "LiveSession",
    "ProtocolError",
    "State",
    "Transcript",
    "URLSource",
    "allow_nested",
    "connect",
    "exports",
    "loopback",
    "messages",
    "plots",
    "run",
    "samples",
    "sessions",
    "tables",
    "transcribe",
]

if TYPE_CHECKING:
    from dgnb import exports, loopback, messages, plots, samples, tables
    from dgnb.audio import AudioSource, BufferSource, FileSource, URLSource
    from dgnb.blocking import run
    from dgnb.connection import Connection, connect
    from dgnb.exceptions import (
        AudioError,
        AuthenticationError,
        CloseTimeout,
        ConfigurationError,
        ConnectionLost,
        DgnbError,
        HandshakeError,
        ProtocolError,
    )
    from dgnb.nested import allow_nested
    from dgnb.options import LiveOptions
    from dgnb.session import LiveSession, State, sessions, transcribe
    from dgnb.transcript import Transcript
    from dgnb.widgets import ControlPanel, LiveCaptions


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

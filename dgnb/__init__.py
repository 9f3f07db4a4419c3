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
from typing import TYPE_CHECKING, Any

from dgnb._version import __version__ as __version__

# Room -> its public names. A room is loaded on the first use of one, so that importing dgnb stays cheap.
_NAMES = {
    "audio": ("AudioSource", "BufferSource", "FileSource", "URLSource"),
    "blocking": ("run",),
    "connection": ("Connection", "connect"),
    "exceptions": (
        *("AudioError", "AuthenticationError", "CloseTimeout", "ConfigurationError", "ConnectionLost", "DgnbError"),
        *("HandshakeError", "ProtocolError", "SessionStopped"),
    ),
    "nested": ("allow_nested",),
    "options": ("LiveOptions",),
    "session": ("LiveSession", "State", "fill_gaps", "replay", "sessions", "transcribe"),
    "transcript": ("Transcript",),
    "widgets": ("ControlPanel", "LiveCaptions", "Microphone"),
}
_HOMES = {name: room for room, names in _NAMES.items() for name in names}
_ROOMS = ("exports", "loopback", "messages", "plots", "samples", "tables")

__all__ = [*_HOMES, *_ROOMS]

if TYPE_CHECKING:
    from dgnb import exports as exports
    from dgnb import loopback as loopback
    from dgnb import messages as messages
    from dgnb import plots as plots
    from dgnb import samples as samples
    from dgnb import tables as tables
    from dgnb.audio import AudioSource as AudioSource
    from dgnb.audio import BufferSource as BufferSource
    from dgnb.audio import FileSource as FileSource
    from dgnb.audio import URLSource as URLSource
    from dgnb.blocking import run as run
    from dgnb.connection import Connection as Connection
    from dgnb.connection import connect as connect
    from dgnb.exceptions import AudioError as AudioError
    from dgnb.exceptions import AuthenticationError as AuthenticationError
    from dgnb.exceptions import CloseTimeout as CloseTimeout
    from dgnb.exceptions import ConfigurationError as ConfigurationError
    from dgnb.exceptions import ConnectionLost as ConnectionLost
    from dgnb.exceptions import DgnbError as DgnbError
    from dgnb.exceptions import HandshakeError as HandshakeError
    from dgnb.exceptions import ProtocolError as ProtocolError
    from dgnb.exceptions import SessionStopped as SessionStopped
    from dgnb.nested import allow_nested as allow_nested
    from dgnb.options import LiveOptions as LiveOptions
    from dgnb.session import LiveSession as LiveSession
    from dgnb.session import State as State
    from dgnb.session import fill_gaps as fill_gaps
    from dgnb.session import replay as replay
    from dgnb.session import sessions as sessions
    from dgnb.session import transcribe as transcribe
    from dgnb.transcript import Transcript as Transcript
    from dgnb.widgets import ControlPanel as ControlPanel
    from dgnb.widgets import LiveCaptions as LiveCaptions
    from dgnb.widgets import Microphone as Microphone

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

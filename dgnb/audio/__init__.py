"""Audio on the way in: files, URLs and buffers, decoded to linear16 and cut into chunks of 100 ms.

PyAV reads bytes, never a path or an address, so it opens nothing that was not handed to it. It runs in a daemon thread
of its own with a bounded queue: a ten-hour file takes as much memory as a short one, and the event loop never waits for
a disk. Decoded audio is mono 16 kHz (all channels when `multichannel`), so every byte has a time.

`as_source` below makes a source of what a person passes: the one place to name a new kind.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

from dgnb.audio.buffer import BufferSource
from dgnb.audio.file import FileSource
from dgnb.audio.pacer import Pacer
from dgnb.audio.sound import Clip, Sound
from dgnb.audio.source import CHUNK_SECONDS, SAMPLE_RATE, Audio, AudioSource, Note, SourceFormat
from dgnb.audio.url.source import URLSource
from dgnb.exceptions import ConfigurationError
from dgnb.values import native

__all__ = [
    "CHUNK_SECONDS",
    "SAMPLE_RATE",
    "Audio",
    "AudioSource",
    "BufferSource",
    "Clip",
    "FileSource",
    "Note",
    "Pacer",
    "Sound",
    "SourceFormat",
    "URLSource",
    "as_source",
]

_QUOTES: Final = ('""', "''", "“”", "‘’", "<>")


def as_source(
    source: Any,
    *,
    encoding: str | None = None,
    sample_rate: int | None = None,
    channels: int = 1,
    shared: bool = False,
) -> AudioSource:
    """A path, an http(s) or file address, or what `BufferSource` takes, as an `AudioSource`.

    Quotes around a text are taken off, and blanks around quotes and addresses: so desktops and terminals copy a path.

    `encoding`, `sample_rate` and `channels` are for raw audio without a header, as in `FileSource`. An `AudioSource`
    has them already.

    `shared` is for an app that others use: only public addresses and files in the working folder are read. It does not
    concern an `AudioSource`, because the app made that one itself.

    Example:
        ```python
        >>> as_source("talk.m4a")
        FileSource('talk.m4a')
        ```

    Raises:
        ConfigurationError: It is none of these, or it is refused.
    """
    raw: dict[str, Any] = {"encoding": encoding, "sample_rate": sample_rate, "channels": channels}
    source = native(source)
    # A Sound and a session stand for what they read.
    for known in (source, getattr(source, "source", None)):
        if isinstance(known, AudioSource):
            return known
    if isinstance(source, str):
        text = source.strip()
        quoted = len(text) > 2 and text[0] + text[-1] in _QUOTES
        source = text[1:-1] if quoted else source.strip("\r\n")
        scheme = source.strip().lower()
        if scheme.startswith(("http://", "https://")):
            return URLSource(source.strip(), shared=shared, **raw)
        if scheme.startswith("file:/"):
            from urllib.request import url2pathname  # slow to import

            # The rest is a path, also where a person typed "#" or "?".
            source = url2pathname(re.sub(r"(?i)\A\s*file:(//(localhost)?(?=/))?", "", source.rstrip()))
        elif "://" in source:
            raise ConfigurationError("A source is a path, or an http(s) or file address; other schemes are not read.")
    if isinstance(source, str | os.PathLike):
        return FileSource(source, shared=shared, **raw)
    return BufferSource(source, **raw)

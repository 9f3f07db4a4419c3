"""`as_source`: makes a source of what a person passes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable
from typing import Any, cast

from dgnb.audio.buffer import BufferSource
from dgnb.audio.file import FileSource
from dgnb.audio.source import AudioSource
from dgnb.audio.url import URLSource
from dgnb.exceptions import ConfigurationError

__all__ = ["as_source"]


def as_source(
    source: object,
    *,
    encoding: str | None = None,
    sample_rate: int | None = None,
    channels: int = 1,
    shared: bool = False,
) -> AudioSource:
    """A path, an http(s) URL, bytes, an array, an async iterator or an `AudioSource`, as an `AudioSource`.

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
    if isinstance(source, AudioSource):
        return source
    if isinstance(source, str) and source.strip().lower().startswith(("http://", "https://")):
        return URLSource(source.strip(), shared=shared, **raw)
    if isinstance(source, str) and "://" in source:
        raise ConfigurationError("A source is a path or an http(s) address; other schemes are not read.")
    if isinstance(source, (str, os.PathLike)):
        return FileSource(source, shared=shared, **raw)
    if isinstance(source, (bytes, bytearray, memoryview, AsyncIterable)) or hasattr(source, "dtype"):
        return BufferSource(cast("bytes", source), **raw)
    raise ConfigurationError(
        f"A source is a path, an http(s) address, bytes, an array, an async iterator or an AudioSource, "
        f"not {type(source).__name__}."
    )

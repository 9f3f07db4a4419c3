"""`FileSource`: a file on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from dgnb.audio.source import Audio, AudioSource, Raw
from dgnb.audio.worker import decoded, passed
from dgnb.exceptions import AudioError, ConfigurationError

__all__ = ["FileSource"]


class FileSource(AudioSource):
    """A file: any container and codec that FFmpeg reads, or raw samples with `encoding` and `sample_rate`.

    Args:
        path: The file.
        encoding: For raw audio without a header: `linear16`, `mulaw`, …
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        decode: False sends the bytes as they are. That gives up exact times for pacing and resuming, mixing down, and
            any sample rate but the file's own.

    Example:
        ```python
        dgnb.FileSource("talk.m4a")
        dgnb.FileSource("call.ulaw", encoding="mulaw", sample_rate=8000)
        ```

    Raises:
        ConfigurationError: The description of raw audio is wrong. The file is first looked at by `open()`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        decode: bool = True,
    ) -> None:
        if not str(path).strip():
            raise ConfigurationError("The source is empty: give a path, an http(s) address or an AudioSource.")
        try:
            self.path = Path(path).expanduser()
        except RuntimeError as error:
            raise ConfigurationError(f"{str(path)!r} names a home folder that is not known here: {error}") from None
        # Names need not be text on every system; what is shown must be.
        self.name = self.path.name.encode("utf-8", "replace").decode()
        self.decode = decode
        self.raw = (Raw.decodable if decode else Raw.of)(encoding, sample_rate, channels)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the file. See `AudioSource.open`."""
        if not self.decode:
            return await passed(self._open_file, self.name, self.raw)
        return await decoded(self._open_file, self.name, self.raw, multichannel=multichannel)

    def _open_file(self) -> BinaryIO:
        shown = repr(str(self.path))
        try:
            if not self.path.exists():
                raise AudioError(f"There is no file {shown} (the working folder is {os.getcwd()!r}).")
            if not self.path.is_file():
                kind = "a folder" if self.path.is_dir() else "not a regular file"
                raise AudioError(f"{shown} is {kind}; give the path of an audio file.")
            return self.path.open("rb")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AudioError(f"{shown} can't be opened: {reason}. Is it yours to read?") from None

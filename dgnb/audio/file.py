"""`FileSource`: a file on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Final

from dgnb.audio.decode import Item, decoded, passed
from dgnb.audio.source import Audio, AudioSource, SourceFormat
from dgnb.audio.threads import in_thread
from dgnb.audio.tracks import as_track
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.values import native

__all__ = ["FileSource"]

_HEADER: Final = 4096  # Bytes that may change while a recording is written: they hold its length
_BEGIN: Final = 65_536  # Bytes after the header by which a file that was replaced is recognised


class FileSource(AudioSource):
    """A file: any container and codec that FFmpeg reads, or raw samples with `encoding` and `sample_rate`.

    Args:
        path: The file.
        encoding: For raw audio without a header: `linear16`, `mulaw`, …
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        decode: False sends the bytes as they are. You give up exact times, resuming after a lost connection, and
            mixing and resampling.
        track: Which audio track is heard, where there are several: its index from 0 on, or its language as the file
            spells it, such as "eng". Without it, the one that the file marks as default, and a note names the others.
        shared: For an app that others use: only files in the working folder and below are opened, whatever links say.

    Example:
        ```python
        dgnb.FileSource("talk.m4a")
        dgnb.FileSource("call.ulaw", encoding="mulaw", sample_rate=8000)
        ```

    Raises:
        ConfigurationError: The description of raw audio is wrong, or a shared path leads out of the working folder.
            Only `open()` looks at the file itself.
    """

    begin: bytes = b""  # What it held after its header when it was opened last

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        decode: bool = True,
        track: int | str | None = None,
        shared: bool = False,
    ) -> None:
        path = native(path)
        if not isinstance(path, str | os.PathLike):
            raise ConfigurationError(f"A FileSource takes a path, not {type(path).__name__}. Pass open files directly.")
        path = os.fsdecode(path)
        if not path.strip():
            raise ConfigurationError("The source is empty: give a path, an http(s) address or an AudioSource.")
        self._root: Path | None = None
        if shared:
            self._root = Path.cwd()
            kinds = (PurePosixPath(path), PureWindowsPath(path))
            if path.startswith("~") or "\0" in path or any(kind.anchor or ".." in kind.parts for kind in kinds):
                raise ConfigurationError("This path is refused: it is not in the working folder. Name one that is.")
        try:
            self.path = self._root / path if self._root else Path(path).expanduser()
        except RuntimeError as error:
            raise ConfigurationError(f"{path!r} names a home folder that is not known here: {error}") from None
        # A file name may hold bytes that are not text.
        self.name = self.path.name.encode("utf-8", "replace").decode()
        self.decode = decode
        self.track = as_track(track)
        if track is not None and not decode:
            raise ConfigurationError("track chooses what is decoded, and decode=False sends all. Leave out one.")
        self.format = SourceFormat.of(encoding, sample_rate, channels, decode=decode)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the file. See `AudioSource.open`."""
        produce = self.decoded(multichannel) if self.decode else passed(self.opened, self.name, self.format)
        return await in_thread(produce, self.name)

    def decoded(self, multichannel: bool = False, start: float | None = None) -> Generator[Item, None, None]:
        """The chunks, read in the caller's thread, with what is to be told of them."""
        how: Any = {"multichannel": multichannel, "track": self.track, "start": start}
        return decoded(self.opened, self.name, self.format, **how)

    def opened(self) -> BinaryIO:
        """The file, at its first byte. It sets `begin`, and may block. `AudioError`: it can't be opened."""
        file = self._opened()
        with contextlib.suppress(OSError):  # whoever reads it raises the error
            file.seek(_HEADER)
            self.begin = file.read(_BEGIN)
        file.seek(0)
        return file

    def _opened(self) -> BinaryIO:
        shown = repr(self.name if self._root else str(self.path))
        try:
            path = self.path.resolve()
            if self._root and not path.is_relative_to(self._root.resolve()):
                raise AudioError(f"{shown} leads out of the working folder. Name a file that lies in it.")
            if not path.exists():
                where = "in the working folder" if self._root else f"(the working folder is {os.getcwd()!r})"
                raise AudioError(f"There is no file {shown} {where}.")
            if not path.is_file():
                kind = "a folder" if path.is_dir() else "not a regular file"
                raise AudioError(f"{shown} is {kind}; give the path of an audio file.")
            return path.open("rb")
        except RuntimeError:
            raise AudioError(f"{shown} is a link that leads back to itself. Name the file itself.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AudioError(f"{shown} can't be opened: {reason}. Is it yours to read?") from None

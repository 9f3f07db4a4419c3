"""`FileSource`: a file on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from dgnb.audio.decode import Item, decoded, passed
from dgnb.audio.source import Audio, AudioSource, SourceFormat
from dgnb.audio.threads import PATIENCE, in_thread
from dgnb.audio.tracks import as_track
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.values import native

__all__ = ["FileSource"]


class FileSource(AudioSource):
    """A file: any container and codec that FFmpeg reads, or raw samples with `encoding` and `sample_rate`.

    Args:
        path: The file.
        encoding: For raw audio without a header: `linear16`, `mulaw`, …
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        decode: False sends the bytes as they are. You give up exact times, resuming after a lost connection, and
            mixing and resampling.
        track: Which audio track is heard, where there are several: its index from 0 on, or its language such as "eng"
            or "en". Without it, the one that the file marks as default, and a note names the others.
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
        self._track = as_track(track)
        if track is not None and not decode:
            raise ConfigurationError("track chooses what is decoded, and decode=False sends all. Leave out one.")
        self.format = SourceFormat.of(encoding, sample_rate, channels, decode=decode)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the file. See `AudioSource.open`."""
        produce = self.decoded(multichannel) if self.decode else passed(self._open_file, self.name, self.format)
        return await in_thread(produce, self.name, patience=PATIENCE)

    def decoded(self, multichannel: bool = False) -> Generator[Item, None, None]:
        """The chunks, read in the caller's thread, with what is to be told of them."""
        return decoded(self._open_file, self.name, self.format, multichannel=multichannel, track=self._track)

    def _open_file(self) -> BinaryIO:
        shown = repr(self.name if self._root else str(self.path))
        try:
            if self._root:
                return _opened_below(self._root, self.path, shown)
            if not self.path.exists():
                raise AudioError(f"There is no file {shown} (the working folder is {os.getcwd()!r}).")
            if not self.path.is_file():
                kind = "a folder" if self.path.is_dir() else "not a regular file"
                raise AudioError(f"{shown} is {kind}; give the path of an audio file.")
            return self.path.open("rb")
        except RuntimeError:
            raise AudioError(f"{shown} is a link that leads back to itself. Name the file itself.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AudioError(f"{shown} can't be opened: {reason}. Is it yours to read?") from None


def _opened_below(root: Path, path: Path, shown: str) -> BinaryIO:
    """Open a regular file that really lies below a folder; refuse anything else."""
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise AudioError(f"{shown} leads out of the working folder. Name a file that lies in it.")
    if not real.exists():
        raise AudioError(f"There is no file {shown} in the working folder.")
    # Somebody may exchange the file meanwhile: follow no link now, and wait for no pipe.
    file = os.open(real, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise AudioError(f"{shown} is not a regular file; give the path of an audio file.")
    return open(file, "rb")

"""`Journal`: a transcript on disk while it grows, so that a killed kernel costs a second of it at most."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import Final

from dgnb import files
from dgnb.exceptions import DgnbError
from dgnb.transcript import Transcript, storage
from dgnb.transcript.reducer import Saved

_TAIL: Final = 64  # Bytes at the end of the file by which a change by others is noticed

Batch = tuple[bytes, Saved]


class Journal:
    """A file that what is new in a transcript is appended to: what `Transcript.save` would write, for its owner alone.

    `path` has its links followed, and `moved` is where a former file went. Made anew when others change it.
    """

    def __init__(self, path: str | os.PathLike[str], transcript: Transcript) -> None:
        self._transcript = transcript
        # How many bytes of the file are whole lines, what of the transcript they hold, and how they end: always
        # changed together.
        self._written = (0, (0, 0, 0, 0), b"")
        made = files.made(path, "journal", lambda path, moved: (path, moved, self._made(path)))
        self.path, self.moved, self._file = made

    def take(self) -> Batch:
        """What is new in the transcript, to pass to `write`: a part, if there is much. It does no I/O."""
        return self._transcript.saved(self._written[1])

    def write(self, batch: Batch, *, last: bool = False) -> str:
        """Append what `take` gave. Returns what others did to the file. `DgnbError`: it is tried again."""
        if self._file.closed:
            return ""
        lines, until = batch
        try:
            told, anew = self._look()
            if lines and not anew:
                self._append(self._file, lines, until, self._written[0])
            if last:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise DgnbError(
                f"The journal {str(self.path)!r} can't be written: {files.remedy(error)} What it has until now can be "
                "loaded; it is tried again while the session runs. save() writes elsewhere."
            ) from error
        finally:
            if last:
                self._file.close()
        return told

    def _made(self, path: Path) -> io.FileIO:
        # For its owner alone. The last write closes it.
        file = open(path, "x+b", buffering=0, opener=partial(os.open, mode=0o600))  # noqa: SIM115
        try:
            self._append(file, storage.JOURNAL, (0, 0, 0, 0), 0)
        except BaseException:
            file.close()
            path.unlink()
            raise
        return file

    def _append(self, file: io.FileIO, lines: bytes, until: Saved, size: int) -> None:
        # Whoever was interrupted in the writing, or between it and the note of it, writes again at the same place.
        file.truncate(size)
        file.seek(size)
        rest = memoryview(lines)
        while rest:
            rest = rest[file.write(rest) :]
        self._written = (size + len(lines), until, lines[-_TAIL:])

    def _look(self) -> tuple[str, bool]:
        """Make the file anew if others removed or changed it. Returns what is to be told, and whether it was."""
        name, (size, _, tail) = str(self.path), self._written
        there = self.path.exists()
        if there and os.fstat(self._file.fileno()).st_nlink:
            self._file.seek(size - len(tail))
            if self._file.read(len(tail)) == tail:
                # Another journal of the same name moves this one aside.
                elsewhere = not os.path.samefile(self.path, self._file.fileno())
                told = f"The journal {name!r} was moved, and another file is there: it goes on where it was moved to."
                return told if elsewhere else "", False
            self._append(self._file, storage.JOURNAL, (0, 0, 0, 0), 0)
        else:
            path = files.free(self.path) if there else self.path
            path.parent.mkdir(parents=True, exist_ok=True)
            former, self._file, self.path = self._file, self._made(path), path
            former.close()
        told = f"The journal {name!r} was removed or changed by others: it is written anew, whole, as {self.path.name}."
        return told, True

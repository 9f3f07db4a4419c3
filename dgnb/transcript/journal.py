"""`Journal`: a transcript on disk while it grows, so that a killed kernel costs a second of it at most."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from dgnb import files
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.transcript import Transcript, storage


class Journal:
    """A file that what is new in a transcript is appended to.

    `Transcript.load` reads it, wherever it breaks off. It is readable by its owner alone (mode 0600), and holds what
    `Transcript.save` would write: no key. It blocks for as long as the disk takes; cancelling has no part in it.
    A file that is there is moved aside first, to `talk-1.jsonl` for `talk.jsonl`. What the transcript holds already is
    new, too.

    Attributes:
        path: The file, links followed.
        moved: Where the file went that was there before, or None.
        error: Why the journal ended early, or None.

    Raises:
        ConfigurationError: The file can't be made.
    """

    def __init__(self, path: str | os.PathLike[str], transcript: Transcript) -> None:
        self.moved: Path | None = None
        self.error: DgnbError | None = None
        self._transcript = transcript
        # How many bytes of the file are whole lines, and what of the transcript they hold: always changed together.
        self._written = (0, (0, 0, 0))
        try:
            self.path = Path(os.path.realpath(os.fsdecode(path)))
            if self.path.exists():
                self.moved = _moved_aside(self.path)
            self._file = open(self.path, "xb", buffering=0, opener=_for_the_owner)  # noqa: SIM115 - closed by close()
            try:
                self._append(storage.JOURNAL, (0, 0, 0))
            except BaseException:
                self._file.close()
                self.path.unlink()
                raise
        except (OSError, ValueError, TypeError) as error:
            if self.moved:
                with contextlib.suppress(OSError):
                    self.moved.rename(self.path)
            raise ConfigurationError(f"The journal {path} can't be made: {files.remedy(error)}") from error

    def __repr__(self) -> str:
        return f"<Journal {str(self.path)!r}: {'closed' if self._file.closed else 'open'}>"

    def take(self) -> tuple[bytes, tuple[int, int, int]]:
        """What is new in the transcript, to pass to `write`. It does no I/O."""
        return self._transcript.saved(self._written[1])

    def write(self, batch: tuple[bytes, tuple[int, int, int]]) -> None:
        """Append what `take` gave, as whole lines. It may run in a thread, before the next `take`. Once the journal is
        closed it does nothing.

        After this it outlives the kernel; after `close` a power cut, too.

        Raises:
            DgnbError: The file can't be written any more. The journal is closed then, and `error` is this.
        """
        if self._file.closed:
            return
        lines, until = batch
        try:
            if lines:
                self._append(lines, until)
        except OSError as error:
            self._fail(error)

    def is_there(self) -> bool:
        """Whether the file can be found at `path`. One that was moved or removed is still written to."""
        with contextlib.suppress(FileNotFoundError):
            return self._file.closed or os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        return False

    def close(self, batch: tuple[bytes, tuple[int, int, int]]) -> None:
        """Append what `take` gave, force all of it to the disk, and close the file. Again is no error."""
        try:
            self.write(batch)
            if not self._file.closed:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(error)
        finally:
            self._file.close()

    def _append(self, lines: bytes, until: tuple[int, int, int]) -> None:
        size = self._written[0]
        # Whoever was interrupted in the writing, or between it and the note of it, writes again at the same place.
        self._file.truncate(size)
        self._file.seek(size)
        rest = memoryview(lines)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._written = (size + len(lines), until)

    def _fail(self, error: OSError) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self.error = DgnbError(
            f"The journal {str(self.path)!r} ends here: {files.remedy(error)} "
            "What it has until now can be loaded; save() writes the rest elsewhere."
        )
        raise self.error from error


def _for_the_owner(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):
        # A umask takes bits away, even the owner's.
        os.fchmod(descriptor, 0o600)
    return descriptor


def _moved_aside(path: Path) -> Path:
    """Move a file to the first name beside it that nothing has: `talk-1.jsonl`, `talk-2.jsonl` and so on."""
    if not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is a folder or a device")
    number = 1
    while os.path.lexists(free := path.with_stem(f"{path.stem}-{number}")):
        number += 1
    return path.rename(free)

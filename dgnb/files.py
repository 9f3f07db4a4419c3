"""Write a file completely or not at all, with a clear error when it cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from dgnb.exceptions import ConfigurationError, DgnbError

T = TypeVar("T")

_REMEDIES: Final[dict[int | None, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EFBIG, errno.EDQUOT), "Make room there, or choose another disk."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Choose a folder and a file that you may write to."),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "Is the folder there? Make it first."),
    **dict.fromkeys((errno.EEXIST, errno.ENAMETOOLONG), "Choose another name."),
    errno.EISDIR: "Name a file in it.",
}


def write(path: str | os.PathLike[str], content: str | bytes | Iterable[bytes]) -> None:
    """Write a file completely, or leave it as it was; text as UTF-8, bytes also in parts. `DgnbError`: it can't be."""
    try:
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        parts = [data] if isinstance(data, bytes) else data
        target = Path(os.path.realpath(os.fsdecode(path)))
        if target.exists() and not target.is_file():
            # A folder raises; a device or a pipe must not be replaced.
            with target.open("wb") as file:
                file.writelines(parts)
            return
        if target.exists() and not os.access(target, os.W_OK):
            # The system would allow the replacement, but the file is read-only on purpose.
            raise PermissionError(errno.EACCES, "the file is read-only")
        # Flushed to the disk, it replaces the file in one step. A link stays a link, and the file keeps its mode.
        draft = target.parent / f".dgnb-{secrets.token_hex(8)}"
        try:
            with draft.open("xb") as file:
                if target.exists():
                    # Before the draft has content that others could read.
                    shutil.copymode(target, draft)
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
    except (OSError, ValueError, TypeError) as error:
        shown = str(path) if isinstance(path, (str, os.PathLike)) else path
        raise DgnbError(f"{shown!r} can't be written: {remedy(error)}") from error


def made(path: str | os.PathLike[str], what: str, make: Callable[[Path, Path | None], T]) -> T:
    """What `make` returns for the path, links followed, and where the former file went; an error puts it back."""
    moved = None
    try:
        real = Path(os.path.realpath(os.fsdecode(path)))
        if real.exists():
            if not real.is_file():
                raise FileExistsError(errno.EEXIST, "it is a folder or a device")
            moved = real.rename(free(real))
        return make(real, moved)
    except (OSError, ValueError, TypeError) as error:
        if moved:
            with contextlib.suppress(OSError):
                moved.rename(real)
        raise ConfigurationError(f"The {what} {path} can't be made: {remedy(error)}") from error


def free(path: Path) -> Path:
    """The first name beside a file that nothing has: `talk-1.jsonl`, `talk-2.jsonl` and so on."""
    number = 1
    while os.path.lexists(name := path.with_stem(f"{path.stem}-{number}")):
        number += 1
    return name


def remedy(error: Exception) -> str:
    """Two sentences: why a file could not be written, in the system's words, and what to change."""
    if isinstance(error, TypeError):
        return "that is no path. Give the name of a file, such as 'talk.jsonl'."
    if isinstance(error, ValueError):
        return f"{error}. Give a name without such characters."
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{reason}. {_REMEDIES.get(getattr(error, 'errno', None), 'Try another folder.')}"

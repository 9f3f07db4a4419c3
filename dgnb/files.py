"""Writing a file so that it is either there whole or as it was before, and saying plainly why when it is not."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

from dgnb.exceptions import DgnbError

__all__ = ["remedy", "write"]

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISSING = {errno.ENOENT, errno.ENOTDIR}


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file; one that is there is replaced whole, keeping its mode, or stays as it was.

    The content goes to a draft in the same folder first, is forced to the disk, and takes the file's place in one
    step. So whoever interrupts, and whatever breaks, the file is never half-written and no draft is left. A link
    stays a link; a device or a pipe is written to as it is.

    Args:
        path: Where to.
        content: What; text is written as UTF-8, with line ends as they are.

    Raises:
        DgnbError: It can't be written: the disk is full, the folder is missing or read-only, the path is a folder or
            no path at all.
    """
    try:
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        target = Path(os.path.realpath(os.fsdecode(path)))
        if target.exists() and not target.is_file():
            # A folder, which refuses; or a device or pipe, which must stay what it is.
            target.write_bytes(data)
            return
        if target.exists() and not os.access(target, os.W_OK):
            # Taking its place would be allowed; but whoever made it read-only meant it.
            raise PermissionError(errno.EACCES, "the file is read-only")
        draft = target.parent / f".dgnb-{secrets.token_hex(8)}"
        try:
            with draft.open("xb") as file:
                if target.exists():
                    # Before there is anything to read in it.
                    shutil.copymode(target, draft)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
    except (OSError, ValueError, TypeError) as error:
        raise DgnbError(f"{_shown(path)} can't be written: {remedy(error)}") from error


def remedy(error: Exception) -> str:
    """What a failure to write a file means, in the system's words, and what to change: two sentences."""
    if isinstance(error, TypeError):
        return "that is no path. Give the name of a file, such as 'talk.jsonl'."
    if isinstance(error, ValueError):
        return f"{error}. Give a name without such characters."
    number = error.errno if isinstance(error, OSError) else None
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if number in _FULL:
        return f"{reason}. Make room there, or choose another disk."
    if number in _FORBIDDEN:
        return f"{reason}. Choose a folder and a file that you may write to."
    if number in _MISSING:
        return f"{reason}. Is the folder there? Make it first."
    if number == errno.EISDIR:
        return f"{reason}. Name a file in it."
    if number in (errno.EEXIST, errno.ENAMETOOLONG):
        return f"{reason}. Choose another name."
    return f"{reason}. Try another folder."


def _shown(path: object) -> str:
    return repr(str(path)) if isinstance(path, (str, os.PathLike)) else repr(path)

"""What a person passes as the runs and as the reference of a comparison, checked and read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.transcript import Transcript
from dgnb.values import native

Reference = Transcript | str | os.PathLike[str] | None

_TAKEN: Final = frozenset({"start", "end", "op", "drift", "reference"})
NO_WORDS: Final = "The reference has no words: give a text of what was said, or leave it out."
_FILES: Final = (".txt", ".json", ".jsonl")


def named(runs: Any) -> dict[str, Any]:
    """Runs by name, checked."""
    if not isinstance(runs, Mapping) or not runs:
        raise ConfigurationError("Give the runs by name, as {'plain': {}, 'smart': {'smart_format': True}}.")
    names = [str(native(name)).strip() for name in runs]
    for name in names:
        if not name or name in _TAKEN or names.count(name) > 1:
            why = "is given twice" if names.count(name) > 1 else "is the name of a column" if name else "is empty"
            raise ConfigurationError(f"The name {name!r} {why}: call this run something else.")
    return dict(zip(names, runs.values(), strict=True))


def referred(reference: Any, runs: Mapping[str, Any]) -> Any:
    """The reference as a `Transcript` or a text; None without one. The name of a run gives that run."""
    found = _found(native(reference), runs)
    text = found.text if isinstance(found, Transcript) else found
    if isinstance(text, str) and not any(map(str.isalnum, text)):
        raise ConfigurationError(NO_WORDS)
    return found


def _found(reference: Any, runs: Mapping[str, Any]) -> Any:
    if isinstance(reference, Transcript | None):
        return reference
    if not isinstance(reference, str | os.PathLike):
        raise ConfigurationError(f"reference is a Transcript, a text, a path or a run, not {type(reference).__name__}.")
    if isinstance(reference, str) and reference in runs:
        return runs[reference]
    if path := file_of(reference):
        return read(path)
    name = os.fsdecode(reference)
    if isinstance(reference, str) and (len(name.split()) > 1 or Path(name).suffix not in _FILES):
        return reference
    raise ConfigurationError(f"There is no file {name!r} for reference= (the working folder is {os.getcwd()!r}).")


def file_of(given: Any) -> Path | None:
    """The file that a text or a path names, if there is one."""
    with contextlib.suppress(OSError, ValueError, RuntimeError, TypeError):  # Most texts are no path at all.
        path = Path(os.fsdecode(given)).expanduser()
        return path if path.is_file() else None
    return None


def read(path: Path) -> Transcript | str:
    """A session file or Deepgram's JSON as a `Transcript`, any other file as a text."""
    try:
        return Transcript.from_deepgram_json(path) if path.suffix == ".json" else Transcript.load(path)
    except DgnbError:
        if path.suffix in _FILES[1:]:
            raise
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DgnbError(f"{str(path)!r} can't be read as a text in UTF-8: {error}. Save it as one.") from error

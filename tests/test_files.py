"""A file is written completely or not at all, and an error says what to change."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dgnb import files
from dgnb.exceptions import DgnbError


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit every file to `size` bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def interrupt(call: Any, step: int, *codes: Any) -> bool:
    """Raise KeyboardInterrupt at one bytecode of `codes` during the call; False if there are fewer bytecodes."""
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("content", ["Öne\r\ntwo\n", "Öne\r\ntwo\n".encode()])
def test_text_and_bytes_are_written_unchanged(tmp_path: Path, content: str | bytes) -> None:
    files.write(tmp_path / "a", content)
    files.write(str(tmp_path / "a"), content)
    assert (tmp_path / "a").read_bytes() == "Öne\r\ntwo\n".encode()
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before", encoding="utf-8")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("b")
    for name in ("link", "dangling"):
        files.write(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "a").read_text(encoding="utf-8") == (tmp_path / "b").read_text(encoding="utf-8") == "after"


def test_a_device_and_a_pipe_are_written_directly(tmp_path: Path) -> None:
    files.write("/dev/null", "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        files.write(tmp_path / "pipe", "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_file_keeps_its_mode_and_so_does_its_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def fsync(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "a").touch(0o600)
    before = os.umask(0o022)
    try:
        files.write(tmp_path / "a", "secret")
        files.write(tmp_path / "b", "as the umask says")
    finally:
        os.umask(before)
    assert modes == [0o600, 0o644]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before", encoding="utf-8")
    with room_for(1000), pytest.raises(DgnbError, match=r"'.*a' can't be written: .* Make room there"):
        files.write(tmp_path / "a", "x" * 1001)
    assert (tmp_path / "a").read_text(encoding="utf-8") == "before"
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(DgnbError, match=r"No space left on device\. Make room there"):
        files.write("/dev/full", "x")


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace"), (shutil, "copymode")])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_step_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, number: int
) -> None:
    (tmp_path / "a").write_text("before", encoding="utf-8")

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(DgnbError, match=os.strerror(number)):
        files.write(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "before"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_step_leaves_a_complete_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before", encoding="utf-8")
    step = 0
    found = []
    while interrupt(lambda: files.write(tmp_path / "a", "after"), step, files.write.__code__):
        found.append((tmp_path / "a").read_text(encoding="utf-8"))
        assert os.listdir(tmp_path) == ["a"]
        (tmp_path / "a").write_text("before", encoding="utf-8")
        step += 1
    assert set(found) == {"before", "after"}
    assert found == sorted(found, reverse=True)


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("before", encoding="utf-8")
    (tmp_path / "a").chmod(0o400)
    if not os.geteuid():
        # For root nothing is read-only.
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DgnbError, match=r"read-only\. Choose a folder and a file that you may write to"):
        files.write(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (".", "Is a directory. Name a file in it."),
        ("", "Is a directory. Name a file in it."),
        ("no/folder.srt", "No such file or directory. Is the folder there? Make it first."),
        ("a/b", "Not a directory. Is the folder there? Make it first."),
        ("/sys/a", ". Choose a folder and a file that you may write to."),  # even for root
        ("a\0b", ". Give a name without such characters."),
        ("x" * 300, "File name too long. Choose another name."),
        (None, "None can't be written: that is no path. Give the name of a file, such as 'talk.jsonl'."),
        (1, "1 can't be written: that is no path."),
        (["a"], "['a'] can't be written: that is no path."),
    ],
)
def test_a_path_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(DgnbError) as caught:
        files.write(path, "text")
    assert what in str(caught.value)
    assert "can't be written: " in str(caught.value)
    assert os.listdir(tmp_path) == ["a"]


def test_an_unpaired_surrogate_is_written_as_a_question_mark(tmp_path: Path) -> None:
    files.write(tmp_path / "a", "a\ud800b")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "a?b"

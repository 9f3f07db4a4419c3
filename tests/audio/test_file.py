"""Files by their path: which are opened, and what the error says of those that are not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dgnb.audio import Audio, FileSource
from dgnb.exceptions import AudioError, ConfigurationError

RATE = 16_000


async def chunks(audio: Audio) -> list[bytes]:
    try:
        return [chunk async for chunk in audio]
    finally:
        await audio.aclose()


async def test_the_error_for_a_missing_file_names_the_working_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"There is no file .*gone\.wav.*the working folder is"):
        await FileSource(tmp_path / "gone.wav").open()


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is a folder; give the path of an audio file"):
        await FileSource(tmp_path).open()


async def test_a_pipe_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="is not a regular file"):
        await asyncio.wait_for(FileSource(tmp_path / "pipe").open(), 5)


async def test_a_device_is_refused() -> None:
    with pytest.raises(AudioError, match="is not a regular file"):
        await FileSource("/dev/zero").open()


async def test_a_file_without_read_permission_raises_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")

    def refuse(*args: Any, **kwargs: Any) -> None:
        # What the system says to anybody but root, who may read everything.
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"can't be opened: Permission denied\. Is it yours to read"):
        await FileSource(path).open()


async def test_a_name_that_no_file_can_have_raises_one_clear_error(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(AudioError):
            await FileSource(tmp_path / name).open()
    with pytest.raises(ConfigurationError, match="The source is empty"):
        FileSource("  ")
    with pytest.raises(ConfigurationError, match="home folder"):
        FileSource("~nobody-of-this-name/a.wav")


async def test_a_name_in_any_script_is_opened_and_can_be_shown(tmp_path: Path, wav: Callable[..., bytes]) -> None:
    data = wav(np.ones((RATE, 1), np.int16))
    for name in ("Gespräch 😀.wav", os.fsdecode(b"caf\xe9.wav"), "%s %d {0}.wav"):
        path = tmp_path / name
        path.write_bytes(data)
        source = FileSource(path)
        assert len(b"".join(await chunks(await source.open()))) == 2 * RATE
        source.name.encode()
        repr(source).encode()


# Lifecycle


async def test_closing_early_and_twice_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "long.raw"
    with path.open("wb") as file:
        file.truncate(600 * 2 * RATE)
    audio = await FileSource(path, encoding="linear16", sample_rate=RATE).open()
    await asyncio.gather(audio.aclose(), audio.aclose())
    await audio.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(audio)


async def test_an_open_that_is_cancelled_leaves_nothing_behind(tmp_path: Path, wav: Callable[..., bytes]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.ones((RATE, 1), np.int16)))
    for turns in range(6):
        opening = asyncio.create_task(FileSource(path).open())
        for _ in range(turns):
            await asyncio.sleep(0)
        # The decoder's thread may have been faster: then there is audio, and it is the caller's to close.
        cancelled = opening.cancel()
        (audio,) = await asyncio.gather(opening, return_exceptions=True)
        assert isinstance(audio, asyncio.CancelledError) == cancelled
        assert cancelled or turns
        if isinstance(audio, Audio):
            await audio.aclose()

"""What is seen of a session while it runs. The kernel's tests show the same in a notebook."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

import dgnb
from dgnb.loopback import Script
from dgnb.session import progress
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

TEXT = "one two three four five six seven eight nine ten"
SAMPLES = np.zeros(32_000, "<i2")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyServer]:
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    monkeypatch.setattr(progress, "_REDRAW", 0.05)
    async with FaultyServer(Script(TEXT)) as server:
        yield server


def lines(err: str) -> list[str]:
    return [line.strip() for line in re.split(r"[\r\n]+", err) if line.strip()]


async def test_a_terminal_shows_how_far_a_file_is(server: FaultyServer, capsys: pytest.CaptureFixture[str]) -> None:
    transcript = await dgnb.transcribe(SAMPLES, sample_rate=16_000, pace=4, endpoint=server.url, progress=True)
    told = lines(capsys.readouterr().err)
    under_way = [line for line in told if re.fullmatch(r"0:0\d of 0:02 · \d\.\d × · 0:0\d left", line)]
    assert under_way
    assert re.fullmatch(rf"{len(transcript.words)} words in \d\.\d s · {server.url} · transcript\.words", told[-1])


async def test_audio_without_a_length_is_counted_in_seconds_and_words(
    server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(48_000)

    source = dgnb.BufferSource(chunks(), encoding="linear16", sample_rate=16_000)
    await dgnb.transcribe(source, pace=4, endpoint=server.url, progress=True)
    told = lines(capsys.readouterr().err)
    assert any(re.fullmatch(r"0:0\d · \d+ words", line) for line in told), told


async def test_the_length_is_no_more_than_the_duration(
    server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await dgnb.transcribe(
        SAMPLES, sample_rate=16_000, pace=4, endpoint=server.url, progress=True, duration=1.0, interim_results=True
    )
    assert any(" of 0:01 · " in line for line in lines(capsys.readouterr().err))


@pytest.mark.parametrize("progress", [None, False])
async def test_where_nobody_looks_nothing_is_shown(
    progress: bool | None, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await dgnb.transcribe(np.zeros(16_000, "<i2"), sample_rate=16_000, endpoint=server.url, progress=progress)
    assert capsys.readouterr() == ("", "")


async def test_after_an_error_only_the_error_stands(server: FaultyServer, capsys: pytest.CaptureFixture[str]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(32_000)
        raise OSError("the disk is gone")

    source = dgnb.BufferSource(chunks(), encoding="linear16", sample_rate=16_000)
    with pytest.raises(dgnb.AudioError, match="the disk is gone"):
        await dgnb.transcribe(source, endpoint=server.url, progress=True)
    assert "transcript.words" not in capsys.readouterr().err


async def test_a_session_shows_its_newest_words_and_in_the_end_one_line(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            shown.append(bundle["text/html"])

    def show(bundle: dict[str, str], **how: Any) -> Handle:
        shown.append(bundle["text/html"])
        return Handle()

    monkeypatch.setattr(progress, "host", lambda: "notebook")
    monkeypatch.setattr(progress, "show", show)
    heard = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(96_000)
        await heard.wait()

    source = dgnb.BufferSource(chunks(), encoding="linear16", sample_rate=16_000)
    session = dgnb.LiveSession(source, pace=None, endpoint=server.url, progress=False).start()
    await until(lambda: session.audio_cursor > 2.8)
    await session.finalize()
    assert len(session.transcript.words) > 2
    session._ipython_display_()
    assert session.transcript.text in shown[0]
    heard.set()
    transcript = await session
    await until(lambda: f"{len(transcript.words)} words in 0:03" in shown[-1])
    assert transcript.text not in shown[-1]


async def test_the_line_of_a_session_that_failed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(progress, "host", lambda: "notebook")
    monkeypatch.setattr(progress, "show", lambda bundle, **how: shown.append(bundle["text/html"]))
    session = dgnb.LiveSession("no<b>.wav", endpoint="offline", progress=False)
    with pytest.raises(dgnb.AudioError):
        await session
    session._ipython_display_()
    assert (
        "0 words in 0:00 · the offline engine on this machine · There is no file &#x27;no&lt;b&gt;.wav&#x27;"
        in shown[0]
    )


async def test_a_wrong_argument_is_refused_before_any_io() -> None:
    with pytest.raises(dgnb.ConfigurationError, match="progress is True, False or None, not 'yes'"):
        await dgnb.transcribe("no.wav", progress="yes")  # type: ignore[arg-type]

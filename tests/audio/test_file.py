"""Files by their path: which are opened, and what the error says of those that are not."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dgnb
from dgnb.audio import Audio, BufferSource, FileSource
from dgnb.exceptions import AudioError, ConfigurationError
from tests.support.waiting import until

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


@pytest.mark.parametrize("shared", [True, False])
async def test_a_link_that_leads_to_itself_raises_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("a.wav", "a.wav")
    with pytest.raises(AudioError, match=r"a\.wav") as caught:
        await FileSource("a.wav", shared=shared).open()
    assert not (shared and str(tmp_path) in str(caught.value))


# A network drive that is gone


@pytest.fixture
def dead_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file whose opening, or first read, hangs until the test is over."""
    over = threading.Event()

    class Hanging(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            over.wait(10)
            raise OSError(errno.EHOSTDOWN, "Host is down")

    def hang(path: Path, mode: str) -> Any:
        if "open" in path.name:
            over.wait(10)
        return Hanging()

    monkeypatch.setattr(Path, "open", hang)
    monkeypatch.setattr("dgnb.audio.threads._RELEASE", 0.5)
    for name in ("hangs at open.wav", "hangs at read.wav"):
        (tmp_path / name).touch()
    yield tmp_path
    over.set()


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("where", ["open", "read"])
async def test_a_file_that_hangs_raises_one_clear_error_in_time(
    dead_drive: Path, monkeypatch: pytest.MonkeyPatch, where: str, decode: bool
) -> None:
    monkeypatch.setattr("dgnb.audio.threads._PATIENCE", 1)
    with pytest.raises(AudioError, match=r"nothing came of it in 1 s\. Is its drive still there\? Copy it"):
        await asyncio.wait_for(FileSource(dead_drive / f"hangs at {where}.wav", decode=decode).open(), 6)


@pytest.mark.parametrize("where", ["open", "read"])
async def test_a_session_whose_file_hangs_can_be_stopped(dead_drive: Path, where: str) -> None:
    source = FileSource(dead_drive / f"hangs at {where}.wav", encoding="linear16", sample_rate=16_000)
    session = dgnb.LiveSession(source, endpoint="ws://127.0.0.1:9", api_key="k" * 40).start()
    await asyncio.sleep(0)
    assert "hangs at" in repr(session)
    await asyncio.wait_for(session.stop(), 5)
    assert session.state is dgnb.State.CLOSED
    assert session.transcript.events["text"].str.contains("takes long to open, and is not waited for").sum() == 1
    # The drive does not come back: the thread is left, and nothing waits for it.
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("dgnb: ")])


async def test_a_drive_that_fails_in_the_middle_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(Path, "open", lambda path, mode: Failing(bytes(64_000)))
    (tmp_path / "a.raw").touch()
    audio = await FileSource(tmp_path / "a.raw", encoding="linear16", sample_rate=16_000, decode=False).open()
    with pytest.raises(AudioError, match=r"a\.raw can't be read: Input/output error\. Copy it"):
        await chunks(audio)


# A shared app

WORD = "CANARY7f3a"
SECRETS = {
    "text": f"KEY={WORD}\n".encode(),
    "UTF-16": f"KEY={WORD}\n".encode("utf-16"),
    "Latin-1": f"Schl\xfcssel={WORD}\n".encode("latin-1"),
    "JSON": f'{{"{WORD}": 1}}'.encode(),
    "a page": f"<html>{WORD}".encode(),
    "a PDF document": f"%PDF-{WORD}".encode(),
    "an archive": f"PK\3\4{WORD}".encode(),
    "bytes": b"\x93\x00\xfe" + WORD.encode() + bytes(range(256)),
    "a playlist": f"#EXTM3U\n{WORD}\n".encode(),
    "a list of files": f"ffconcat version 1.0\nfile '{WORD}'\n".encode(),
    "subtitles": f"1\n00:00:01,000 --> 00:00:02,000\n{WORD}\n".encode(),
    "metadata": f";FFMETADATA1\ntitle={WORD}\n".encode(),
    "WAV": b"RIFF\x24\0\0\0WAVE" + WORD.encode() * 9,
    "AIFF": b"FORM\0\0\1\0AIFF" + WORD.encode() * 9,
    "MP4": b"\0\0\0\x18ftyp" + WORD.encode() * 9,
    "Ogg": b"OggS" + WORD.encode() * 9,
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("decode", [True, False])
async def test_no_message_quotes_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str, decode: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(SECRETS[kind])
    session = dgnb.LiveSession(
        FileSource(".env", shared=True, decode=decode), endpoint="ws://127.0.0.1:9", api_key="k" * 40
    )
    with pytest.raises(AudioError, match=r"^\.env ") as caught:
        await session
    told = [str(caught.value), repr(caught.value), repr(session), session.report(), session.transcript.events.to_csv()]
    assert not [text for text in [*told, caplog.text] if WORD in text or WORD.encode().hex() in text]


@pytest.mark.parametrize(
    "kind", ["text", "JSON", "a page", "a PDF document", "an archive", "a playlist", "WAV", "AIFF"]
)
async def test_what_is_no_sound_is_not_played_as_raw_samples(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(SECRETS[kind])
    for decode in (True, False):
        with pytest.raises(AudioError, match=r"is (a|text)|has a"):
            await FileSource(tmp_path / "a", encoding="mulaw", sample_rate=8000, decode=decode).open()


@pytest.mark.parametrize(
    ("encoding", "samples"),
    [
        ("alaw", b"\x55" * 800),
        ("alaw", bytes(np.random.default_rng(1).choice([0x50, 0x51, 0x54, 0x55, 0x56, 0x57], 800).tolist())),
        ("mulaw", bytes(np.random.default_rng(1).integers(0x70, 0x7E, 800).tolist())),
        ("linear16", np.arange(0x2320, 0x2320 + 400, dtype="<i2").tobytes()),
        ("linear16", np.full(400, 0x4120, "<i2").tobytes()),
    ],
)
async def test_samples_that_are_letters_are_no_text(tmp_path: Path, encoding: str, samples: bytes) -> None:
    (tmp_path / "a.raw").write_bytes(samples)
    audio = await FileSource(tmp_path / "a.raw", encoding=encoding, sample_rate=16_000).open()
    assert sum(map(len, await chunks(audio))) == (800 if encoding == "linear16" else 1600)


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "HLS behind other bytes": "\x01\n#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\noption safe 0\nfile '{}'\noption protocol_whitelist file,http,tcp\n",
    "DASH": "<!-- a --><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' mediaPresentationDuration='PT1S'>"
    "<Period><AdaptationSet mimeType='audio/wav'><Representation id='1' bandwidth='1'><BaseURL>{}</BaseURL>"
    "</Representation></AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
async def test_a_playlist_leads_to_no_file_and_to_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wav: Callable[..., bytes], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(16_000)))
    asked: list[object] = []

    async def station(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(reader)
        writer.close()

    async with await asyncio.start_server(station, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.wav"
        for entry in ("a.wav", f"{tmp_path}/a.wav", f"file://{tmp_path}/a.wav", f"concat:{tmp_path}/a.wav", address):
            data = PLAYLISTS[kind].format(entry).encode()
            (tmp_path / "list").write_bytes(data)
            for source in (FileSource("list", shared=True), FileSource("list", decode=False), BufferSource(data)):
                with pytest.raises(AudioError):
                    await source.open()
    assert not asked

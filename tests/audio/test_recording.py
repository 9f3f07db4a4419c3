"""What a session captures, on disk: its second t is second t of the transcript, whatever happens to the disk."""

from __future__ import annotations

import asyncio
import datetime
import errno
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import dgnb
from dgnb import LiveSession
from dgnb.audio import Audio, AudioSource
from dgnb.audio.recording import Recorder
from dgnb.exceptions import ConfigurationError, HandshakeError
from dgnb.loopback import Script
from dgnb.session.writer import FileWriter
from tests.support.faulty import FaultyServer
from tests.support.samples import RATE, Samples
from tests.support.waiting import until

SECONDS = 6


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("one two three", repeat=True)) as server:
        yield server


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written at each tick of the watch."""
    monkeypatch.setattr("dgnb.session.watch._WRITE", 0.0)


def sound(seconds: float = SECONDS, channels: int = 1) -> Samples:
    """Tones that differ in each channel and glide, so that each moment is another one."""
    at = np.arange(round(seconds * RATE))[:, None] / RATE
    tones = np.sin(2 * np.pi * (200 + 90 * np.arange(channels) + 30 * at) * at) * 9000
    return (tones + np.random.default_rng(7).normal(0, 300, tones.shape)).astype("<i2")


def one_by_one(samples: Samples) -> Iterator[bytes]:
    """Chunks that come once, as those of a station."""
    for start in range(0, len(samples), RATE // 10):
        yield samples[start : start + RATE // 10].tobytes()


def once(samples: Samples) -> dgnb.BufferSource:
    return dgnb.BufferSource(one_by_one(samples), encoding="linear16", sample_rate=RATE, channels=samples.shape[1])


def read(path: Path) -> tuple[Samples, float | None, dict[str, str]]:
    """The samples of a file, the seconds that its header states, and its tags."""
    with path.open("rb") as file, av.open(file, "r") as container:
        stream = container.streams.audio[0]
        stated = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        resampler = av.AudioResampler("s16", stream.layout, RATE)
        frames = [*container.decode(stream), None]
        parts = [part.to_ndarray() for frame in frames for part in resampler.resample(frame)]
        return np.concatenate(parts, axis=1).reshape(-1, stream.channels), stated, container.metadata | stream.metadata


def events(session: LiveSession, kind: str) -> list[str]:
    return session.transcript.events.query(f"type == {kind!r}")["text"].tolist()


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
async def test_flac_holds_exactly_what_was_captured_and_says_what_it_is(
    server: FaultyServer, tmp_path: Path, channels: int
) -> None:
    path, given = tmp_path / "talk.flac", sound(1.2345, channels)
    began = datetime.datetime.now(datetime.UTC)
    session = LiveSession(once(given), endpoint=server.url, pace=None, record=path, multichannel=channels > 1)
    transcript = await session
    held, stated, tags = read(path)
    assert np.array_equal(held, given)
    assert stated == len(given) / RATE
    assert path.stat().st_mode & 0o777 == 0o600
    assert tags["title"] == session.source.name
    assert tags["encoded_by"] == f"dgnb {dgnb.__version__}"
    assert "second t of the transcript" in tags["comment"]
    assert abs(datetime.datetime.fromisoformat(tags["date"]) - began) < datetime.timedelta(seconds=30)
    assert events(session, "recording") == [f"It is recorded to {path}."]
    assert transcript.word_count
    assert transcript.audio
    assert transcript.audio.path == path
    heard = await asyncio.to_thread(transcript.audio.samples, multichannel=channels > 1)
    assert np.array_equal(heard.reshape(given.shape), given)


@pytest.mark.parametrize(("ending", "channels"), [("ogg", 1), ("OPUS", 1), ("ogg", 5)])
async def test_opus_is_as_long_as_what_was_captured_with_each_channel_at_its_place_and_time(
    server: FaultyServer, tmp_path: Path, ending: str, channels: int
) -> None:
    path, given = tmp_path / f"talk.{ending}", sound(3.21, channels)
    await LiveSession(once(given), endpoint=server.url, pace=None, record=path, multichannel=channels > 1)
    held, _, _ = read(path)
    assert held.shape == given.shape
    for mine, theirs in zip(held.T, given.T, strict=True):
        assert np.corrcoef(mine, theirs)[0, 1] > 0.98
    assert path.stat().st_size < 32_000 / 8 * 3.21 * channels * 1.3 + 1000


class Fast(AudioSource):
    """CD quality that is passed on as it is."""

    name = "fast"

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(12):
                yield bytes(44_100 // 10 * 2)

        async def close() -> None: ...

        return Audio(chunks(), close, sample_rate=44_100)


@pytest.mark.parametrize("ending", ["flac", "ogg"])
async def test_a_source_of_another_rate_is_as_long_as_it_was(server: FaultyServer, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"talk.{ending}"
    await LiveSession(Fast(), endpoint=server.url, pace=None, record=path)
    assert abs(len(read(path)[0]) / RATE - 1.2) < 0.001


KILLED = """
import asyncio, sys
import numpy as np
import dgnb

async def main(url, path):
    chunks = ((np.arange(1600) + 1600 * i).astype("<i2").tobytes() for i in range(600))
    source = dgnb.BufferSource(chunks, encoding="linear16", sample_rate=16_000)
    session = dgnb.LiveSession(source, endpoint=url, record=path).start()
    while True:
        await asyncio.sleep(0.1)
        print(session.audio_cursor, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("ending", ["flac", "ogg"])
async def test_a_killed_process_leaves_all_but_the_last_two_seconds(
    server: FaultyServer, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"talk.{ending}"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, server.url, str(path)), stdout=subprocess.PIPE
    )
    assert child.stdout
    while (sent := float(await child.stdout.readline())) < 3.5:
        pass
    os.kill(child.pid, signal.SIGKILL)
    await child.communicate()
    held, stated, _ = read(path)
    assert sent - 2 < len(held) / RATE < sent + 1
    if ending == "flac":
        assert np.array_equal(held[:, 0], np.arange(len(held)).astype("<i2"))
        assert stated == len(held) / RATE


async def test_a_file_that_breaks_off_anywhere_can_be_heard_up_to_there(server: FaultyServer, tmp_path: Path) -> None:
    path, given = tmp_path / "talk.flac", sound(3)
    await LiveSession(once(given), endpoint=server.url, pace=None, record=path)
    whole = path.read_bytes()
    for size in (20_000, 33_333, len(whole) - 1):
        audio = await dgnb.BufferSource(whole[:size]).open()
        held = np.frombuffer(b"".join([chunk async for chunk in audio]), "<i2")
        await audio.aclose()
        assert np.array_equal(held, given[: len(held), 0])
        assert len(held) / len(given) > (size - 8400) / (len(whole) - 8400) - 0.05


Disk = Callable[[Callable[[], bool]], None]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """`disk(full)`: while `full()`, half of each write fits, and the rest is refused."""

    def made(full: Callable[[], bool]) -> None:
        class File(io.FileIO):
            def write(self, data: Any) -> int:
                if full():
                    super().write(data[: len(data) // 2])
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data)

        def opened(path: Path, mode: str, buffering: int, opener: Any) -> File:
            return File(path, mode.replace("b", ""), opener=opener)

        monkeypatch.setattr("dgnb.audio.recording.open", opened, raising=False)

    return made


@pytest.mark.parametrize("memory", [True, False])
async def test_a_disk_that_is_full_for_a_while_costs_what_memory_can_not_hold_and_moves_nothing(
    server: FaultyServer, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, memory: bool
) -> None:
    if not memory:
        monkeypatch.setattr("dgnb.audio.recording._KEPT", 10_000)
    path, given, full = tmp_path / "talk.flac", sound(), False
    disk(lambda: full)
    session = LiveSession(once(given), endpoint=server.url, pace=3.0, record=path).start()
    await until(lambda: session.audio_cursor > 1.5)
    full = True
    await until(lambda: session.audio_cursor > 3.5)
    full = False
    await session
    held = read(path)[0]
    assert held.shape == given.shape
    same = (held == given)[:, 0]
    assert same.all() if memory else (0.2 < 1 - same.mean() < 0.6 and not held[~same].any())
    first, second = events(session, "warning")
    assert "Make room there" in first
    assert ("nothing of it is missing" if memory else "s of it are silence") in second


async def test_a_disk_that_stays_full_ends_no_session_and_is_told_once(
    server: FaultyServer, tmp_path: Path, disk: Disk
) -> None:
    disk(lambda: True)
    session = LiveSession(once(sound()), endpoint=server.url, pace=4.0, record=tmp_path / "talk.flac")
    await session
    assert session.error is None
    (warning,) = events(session, "warning")
    assert "can't be written" in warning


async def test_a_file_that_is_there_is_moved_aside_and_a_session_that_fails_leaves_what_it_heard(
    server: FaultyServer, tmp_path: Path
) -> None:
    path, given = tmp_path / "talk.flac", sound(1)
    path.write_text("the former one")
    session = LiveSession(once(given), endpoint=server.url, pace=None, record=path, reconnect=False)
    with server.rejecting(401), pytest.raises(HandshakeError):
        await session
    assert (tmp_path / "talk-1.flac").read_text() == "the former one"
    assert events(session, "warning")[0] == "The recording that was there before is now talk-1.flac."
    held = read(path)[0]
    assert 0 < len(held) <= len(given)
    assert np.array_equal(held, given[: len(held)])


@pytest.mark.parametrize("damaged", [False, True])
async def test_retry_goes_on_in_the_same_recording(server: FaultyServer, tmp_path: Path, damaged: bool) -> None:
    path, given = tmp_path / "talk.flac", sound()
    source = dgnb.BufferSource(given[:, 0], sample_rate=RATE)
    session = LiveSession(source, endpoint=server.url, pace=4.0, record=path).start()
    await until(lambda: session.audio_cursor > 1)
    await session.stop()
    before = len(read(path)[0])
    # What was captured, and then given back by the stop, is not in it.
    assert before == round(float(session.report().split(" s captured")[0]) * RATE)
    if damaged:
        path.write_bytes(b"damaged")
    await session.retry()
    held = read(path)[0]
    assert held.shape == given.shape
    assert np.array_equal(held[before:], given[before:])
    assert np.array_equal(held[:before], np.zeros_like(given[:before]) if damaged else given[:before])
    assert sorted(os.listdir(tmp_path)) == (["talk-1.flac"] if damaged else []) + ["talk.flac"]
    assert len(events(session, "recording")) == 1


async def test_the_recording_of_another_run_is_not_taken_for_that_of_the_first(
    server: FaultyServer, tmp_path: Path
) -> None:
    path = tmp_path / "talk.flac"
    first, second = [
        await LiveSession(once(sound(1) // part), endpoint=server.url, pace=None, record=path) for part in (1, 2)
    ]
    with pytest.raises(dgnb.AudioError, match="holds other sound than what was transcribed"):
        first.clip(0, 1)
    assert len(second.clip(0, 1)) > RATE


async def test_a_run_that_goes_on_waits_for_the_last_write_of_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda file: gate.wait(10))
    given, recorder = sound(2), Recorder(str(tmp_path / "talk.flac"), "talk")

    async def close() -> None: ...

    former = FileWriter("recording", recorder.open, dgnb.Transcript())
    for number, part in enumerate((given[:RATE], given[RATE:])):
        writer = former if not number else FileWriter("recording", recorder.open, dgnb.Transcript(), former)
        opening = asyncio.create_task(writer.open())
        if number:
            await asyncio.sleep(0.05)
            assert not opening.done()
            gate.set()
        await opening
        recorder.begin(Audio(once(part), close))  # type: ignore[arg-type]
        recorder.capture(part.tobytes())
        recorder.end(2 * RATE * (number + 1))
        await writer.close(asyncio.get_running_loop().time() + 10 * number)
    assert np.array_equal(read(recorder.path)[0], given)


async def test_a_recording_of_nothing_leaves_no_file_behind_at_the_next_try(
    server: FaultyServer, tmp_path: Path
) -> None:
    path = tmp_path / "talk.flac"
    session = LiveSession(tmp_path / "none.wav", endpoint=server.url, record=path)
    for _ in range(3):
        with pytest.raises(dgnb.AudioError):
            await session.retry()
    assert os.listdir(tmp_path) == ["talk.flac"]


async def test_a_link_to_a_file_of_any_name_is_recorded_and_a_file_that_is_removed_is_told(
    server: FaultyServer, tmp_path: Path
) -> None:
    link, target = tmp_path / "talk.flac", tmp_path / "annex"
    link.symlink_to(target)
    session = LiveSession(once(sound()), endpoint=server.url, pace=4.0, record=link).start()
    await until(lambda: target.exists() and target.stat().st_size > 20_000)
    target.unlink()
    await until(lambda: events(session, "warning"))
    assert "was removed by others" in events(session, "warning")[0]
    await session.stop()


def test_what_a_stop_gives_back_was_not_written_yet(tmp_path: Path) -> None:
    given = sound(2)
    recorder = Recorder(str(tmp_path / "talk.flac"), "talk").open()

    async def close() -> None: ...

    recorder.begin(Audio(once(given), close))  # type: ignore[arg-type]
    for chunk in one_by_one(given):
        recorder.capture(chunk)
    recorder.write(recorder.take())
    recorder.end(2 * round(1.7 * RATE))
    recorder.write(recorder.take(), last=True)
    assert np.array_equal(read(recorder.path)[0], given[: round(1.7 * RATE)])


async def test_a_source_that_can_be_heard_again_is_not_copied(server: FaultyServer) -> None:
    session = LiveSession(sound(1)[:, 0], sample_rate=RATE, endpoint=server.url, pace=None, record=True)
    await session
    assert events(session, "recording") == []


TEMPORARY = """
import asyncio, sys
import dgnb

async def main(url):
    source = dgnb.BufferSource(iter([bytes(3200)] * 20), encoding="linear16", sample_rate=16_000)
    transcript = await dgnb.transcribe(source, endpoint=url, pace=None, record=True)
    print(transcript.events.query("type == 'recording'")["text"].item())
    print(__import__("os").path.exists(transcript.events.query("type == 'recording'")["text"].item().split()[4]))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_temporary_recording_is_there_until_the_process_ends(server: FaultyServer) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TEMPORARY, server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), 30)
    told, exists = out.decode().splitlines()
    assert "until this process ends, 2 h at most" in told
    assert exists == "True", err
    assert not Path(told.split()[4]).parent.exists()


async def test_a_temporary_recording_ends_at_its_limit_and_the_session_goes_on(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgnb.audio.recording.LIMIT", 2.5)
    given = sound()
    session = LiveSession(once(given), endpoint=server.url, pace=6.0, record=True)
    await session
    (told,) = events(session, "recording")
    assert np.array_equal(read(Path(told.split()[4]))[0], given[: round(2.5 * RATE)])
    assert [text for text in events(session, "warning") if "full" in text] == events(session, "warning")
    assert len(events(session, "warning")) == 1
    assert session.audio_cursor == SECONDS


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("talk.mp3", r"\.flac, \.ogg, \.opus"),
        ("talk", r"\.flac, \.ogg, \.opus"),
        ("", "record is"),
        (1, "record is"),
        (b"talk.flac", "record is"),
        ("journal.flac", "is the journal, too"),
        ("source.flac", "is the source, too"),
        ("link.flac", "is the source, too"),
    ],
)
def test_a_wrong_record_is_an_error_before_anything_is_opened(record: Any, told: str, tmp_path: Path) -> None:
    (tmp_path / "link.flac").symlink_to(tmp_path / "source.flac")
    if isinstance(record, str) and record:
        record = tmp_path / record
    with pytest.raises(ConfigurationError, match=told):
        LiveSession(tmp_path / "source.flac", record=record, journal=tmp_path / "journal.flac")
    assert [file.name for file in tmp_path.iterdir()] == ["link.flac"]


@pytest.mark.parametrize("path", ["none/talk.flac", "folder.flac", "a\0.flac"])
async def test_a_file_that_can_not_be_made_is_an_error_before_anything_is_opened(
    server: FaultyServer, tmp_path: Path, path: str
) -> None:
    (tmp_path / "folder.flac").mkdir()
    source = once(sound(1))
    session = LiveSession(source, endpoint=server.url, record=tmp_path / path)
    with pytest.raises(ConfigurationError, match=r"The recording .* can't be made"):
        await session
    assert server.requests == []


async def test_audio_that_is_not_decoded_is_not_recorded(server: FaultyServer, tmp_path: Path) -> None:
    source = dgnb.FileSource(dgnb.samples.path(), decode=False)
    with pytest.raises(ConfigurationError, match="decoded audio"):
        await LiveSession(source, endpoint=server.url, record=tmp_path / "talk.flac")
    assert server.requests == []

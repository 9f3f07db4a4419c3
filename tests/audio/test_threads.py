"""The decoder's thread: how far it runs ahead, what it never drops, when it is woken, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb.audio import Audio, AudioSource, Note
from dgnb.audio.decode import Detected, Item
from dgnb.audio.threads import Pipe, in_thread
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer

RATE = 16_000
CHUNK = bytes(3200)
TEN_MINUTES = 6000


class Producer:
    """Gives numbered chunks, and knows how many of them the thread has asked for."""

    def __init__(self, chunks: int, detected: Detected, notes: dict[int, Note] | None = None) -> None:
        self.asked = 0
        self._chunks = chunks
        self._detected = detected
        self._notes = notes or {}
        self._condition = threading.Condition()

    def items(self) -> Iterator[Item]:
        yield self._detected
        for number in range(self._chunks):
            with self._condition:
                self.asked = number + 1
                self._condition.notify_all()
            if number in self._notes:
                yield self._notes[number]
            yield number.to_bytes(2, "little")

    async def was_asked_for(self, chunks: int, *, within: float = 10.0) -> bool:
        def wait() -> bool:
            with self._condition:
                return self._condition.wait_for(lambda: self.asked >= chunks, within)

        return await asyncio.to_thread(wait)

    async def open(self) -> Audio:
        return await in_thread(self.items(), "numbers")  # type: ignore[arg-type]


async def numbers(audio: Audio) -> list[int]:
    try:
        return [int.from_bytes(chunk, "little") async for chunk in audio]
    finally:
        await audio.aclose()


# How far ahead


async def test_a_file_is_decoded_five_seconds_ahead_and_its_thread_is_woken_at_half_of_that() -> None:
    producer = Producer(200, Detected())
    audio = await producer.open()
    assert await producer.was_asked_for(50)
    for _ in range(20):
        await anext(audio)
    assert not await producer.was_asked_for(51, within=0.2)
    for _ in range(10):
        await anext(audio)
    assert await producer.was_asked_for(70)
    assert await numbers(audio) == list(range(30, 200))


async def test_ten_hours_take_no_more_memory_than_ten_minutes(tmp_path: Path) -> None:
    path = tmp_path / "long.raw"
    with path.open("wb") as file:
        file.truncate(36_000 * 2 * RATE)
    tracemalloc.start()
    try:
        audio = await dgnb.FileSource(path, encoding="linear16", sample_rate=RATE).open()
        for _ in range(3000):
            await anext(audio)
        _, peak = tracemalloc.get_traced_memory()
        await audio.aclose()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


async def test_the_thread_takes_ten_minutes_of_a_live_source_from_a_busy_loop_and_then_waits() -> None:
    notes = {3: Note("title", "third"), 4000: Note("title", "late")}
    producer = Producer(TEN_MINUTES + 500, Detected(live=True, waits=False), notes)
    audio = await producer.open()
    assert await producer.was_asked_for(TEN_MINUTES - len(notes))
    assert not await producer.was_asked_for(TEN_MINUTES, within=0.2)
    assert await numbers(audio) == list(range(TEN_MINUTES + 500))
    assert list(audio.notes) == list(notes.values())


async def test_audio_lost_while_the_kernel_was_blocked_is_one_gap_at_its_place() -> None:
    """150 s of a station come at once, as after a cell that blocked the kernel; the session keeps 120 s."""

    class Station(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            def items() -> Iterator[Item]:
                yield Detected(live=True, waits=False)
                yield from (CHUNK for _ in range(1500))
                everything.set()

            audio = await in_thread(items(), "a station")  # type: ignore[arg-type]
            await asyncio.to_thread(everything.wait, 10)
            return audio

    everything = threading.Event()
    async with FaultyServer(Script("words", repeat=True)) as server:
        transcript = await dgnb.transcribe(Station(), endpoint=server.url, pace=None)
    (gap,) = transcript.gaps.itertuples()
    assert (gap.start, gap.end) == (0.0, 30.0)
    assert "more audio was waiting than is kept" in gap.reason


# In which order


async def test_notes_come_with_the_chunk_they_belong_to() -> None:
    def produce() -> Any:
        yield Detected(channels=2)
        yield b"a"
        yield Note("title", "second")
        yield b"b"
        yield Note("warning", "at the end")

    audio = await in_thread(produce(), "notes")
    assert audio.channels == 2
    assert await anext(audio) == b"a"
    assert not audio.notes
    assert await anext(audio) == b"b"
    assert [note.text for note in audio.notes] == ["second"]
    with pytest.raises(StopAsyncIteration):
        await anext(audio)
    assert [note.text for note in audio.notes] == ["second", "at the end"]
    await audio.aclose()


async def test_the_last_format_before_the_first_chunk_describes_the_audio() -> None:
    def produce() -> Any:
        yield Detected(live=True, waits=False)
        yield Detected(channels=3)
        yield b"a"
        yield Detected(live=True, waits=False)
        yield b"b"

    audio = await in_thread(produce(), "two bodies")
    assert (audio.channels, audio.live, audio.waits) == (3, False, True)
    assert [chunk async for chunk in audio] == [b"a", b"b"]
    await audio.aclose()


async def test_a_wait_for_a_chunk_that_is_cancelled_loses_none(tone: Callable[..., Any]) -> None:
    sound = tone(3.0).tobytes()
    audio = await dgnb.BufferSource(sound, encoding="linear16", sample_rate=RATE).open()
    got = b""
    while True:
        waiting = asyncio.ensure_future(anext(audio))
        await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
        try:
            got += await waiting
        except asyncio.CancelledError:
            continue
        except StopAsyncIteration:
            break
    await audio.aclose()
    assert got == sound


# The pipe


async def test_a_wait_for_room_in_a_pipe_ends_when_the_reader_wants_no_more() -> None:
    pipe = Pipe()
    assert await pipe.put(bytes(2_000_000))
    waiting = asyncio.ensure_future(pipe.put(b"more"))
    await asyncio.sleep(0)
    pipe.close()
    assert await asyncio.wait_for(waiting, 5) is False

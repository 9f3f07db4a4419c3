"""What gives its audio bit by bit: generators and queues of the loop, of threads and of processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

import dgnb
from dgnb.audio import as_source
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer
from tests.support.samples import RATE, Samples, samples
from tests.support.waiting import until

RAW: dict[str, Any] = {"encoding": "linear16", "sample_rate": RATE}
PART = 1600


def parts(sound: Any) -> list[Any]:
    return [sound[at : at + PART] for at in range(0, len(sound), PART)]


async def waited_for(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def filled(kind: Callable[[], Any], items: list[Any]) -> Any:
    made = kind()
    for item in [*items, None]:
        if asyncio.iscoroutine(put := made.put(item)):
            put.close()
            made.put_nowait(item)
    return made


class Again:
    """May be read more than once."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


KINDS: dict[str, Callable[[list[Any]], Any]] = {
    "generator": lambda items: (item for item in items),
    "iterator": iter,
    "map": lambda items: map(lambda item: item, items),
    "iterable": Again,
    "async generator": waited_for,
    "queue": lambda items: filled(queue.Queue, items),
    "simple queue": lambda items: filled(queue.SimpleQueue, items),
    "queue of processes": lambda items: filled(multiprocessing.get_context("spawn").Queue, items),
    "queue of the loop": lambda items: filled(asyncio.Queue, items),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("header", [True, False])
async def test_bytes_come_from_any_iterator_and_queue(
    kind: str, header: bool, wav: Callable[..., bytes], tone: Callable[..., Samples]
) -> None:
    sound = tone(1.25)
    source = as_source(KINDS[kind](parts(wav(sound) if header else sound.tobytes())), **({} if header else RAW))
    audio = await source.open()
    assert audio.live
    assert audio.waits
    assert np.array_equal(await samples(audio), sound)


@pytest.mark.parametrize("kind", KINDS)
async def test_arrays_come_from_any_iterator_and_queue(kind: str, tone: Callable[..., Samples]) -> None:
    sound = tone(1.25)
    for scale in (sound, sound / 32768, (sound / 32768).astype("f4")[:, 0]):
        source = as_source(KINDS[kind](parts(scale)), sample_rate=RATE)
        assert np.array_equal(await samples(await source.open()), sound)


@pytest.mark.parametrize("kind", ["generator", "async generator", "queue"])
async def test_the_first_array_says_the_rate_and_the_channels(kind: str, tone: Callable[..., Samples]) -> None:
    sound = tone(1.25, channels=2)
    silent = np.zeros((0, 2), np.int16)
    for items in (
        [silent, *parts(sound)],
        [part.T for part in parts(sound)],
        [part.tolist() for part in parts(sound)],
    ):
        for given, raw in ((items, {"sample_rate": RATE}), ([(RATE, item) for item in items], {})):
            audio = await as_source(KINDS[kind](given), **raw).open(multichannel=True)
            assert audio.channels == 2
            assert np.array_equal(await samples(audio), sound)


async def test_an_array_is_heard_as_soon_as_it_is_given(tone: Callable[..., Samples]) -> None:
    given: queue.Queue[Any] = queue.Queue()
    given.put((RATE, tone(0.25)))
    audio = await asyncio.wait_for(as_source(given).open(), 5)
    assert len(await asyncio.wait_for(anext(audio), 5)) == 3200
    await audio.aclose()


@pytest.mark.parametrize("kind", ["generator", "async generator", "queue", "queue of the loop"])
@pytest.mark.parametrize(
    ("items", "raw", "message"),
    [
        (["hello"], RAW, r"it gave str, not bytes or arrays\. Give it chunks"),
        ([0.25], {"sample_rate": RATE}, "it gave float, not bytes"),
        ([np.float32(0.25)], {"sample_rate": RATE}, "it gave float32, not bytes"),
        ([object()], {}, "it gave object, not bytes"),
        ([bytes(3200)], {"sample_rate": RATE}, "Raw samples need encoding and sample_rate"),
        ([np.zeros(1600)], {}, r"needs sample_rate: pass sample_rate=16000"),
        ([np.array([np.nan])], {"sample_rate": RATE}, "NaN or infinity"),
        ([np.zeros(1600, complex)], {"sample_rate": RATE}, "not complex128"),
        (
            [np.zeros(1600), np.zeros((1600, 2))],
            {"sample_rate": RATE},
            "2 channels at 16000 Hz, unlike what came before",
        ),
        ([(8000, np.zeros(1600)), (RATE, np.zeros(1600))], {}, "1 channels at 16000 Hz, unlike what came before"),
        ([bytes(3200), np.zeros((1600, 2))], RAW, "2 channels at 16000 Hz, unlike what came before"),
        (
            [np.zeros(1600)],
            {"encoding": "mulaw", "sample_rate": 8000},
            "1 channels at 8000 Hz, unlike what came before",
        ),
    ],
)
async def test_what_is_no_audio_ends_a_stream_with_what_to_do(
    kind: str, items: list[Any], raw: dict[str, Any], message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        await samples(await as_source(KINDS[kind](items), **raw).open())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (waited_for, r"not function\. Call it\."),
        (lambda: iter([]), r"not function\. Call it\."),
        (frozenset({1}), "not frozenset"),
        (multiprocessing.get_context("spawn").SimpleQueue, "Call it"),
    ],
)
def test_what_is_no_stream_is_refused_at_once(source: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_source(source)


def test_a_coroutine_has_to_be_awaited_first() -> None:
    async def load() -> bytes:
        raise NotImplementedError

    coroutine = load()
    with pytest.raises(ConfigurationError, match=r"not coroutine\. Await it\."):
        as_source(coroutine)
    coroutine.close()


async def test_an_iterator_is_opened_once_an_iterable_and_a_queue_again(tone: Callable[..., Samples]) -> None:
    sound = tone(0.35)
    source = as_source(iter(parts(sound)), sample_rate=RATE)
    await samples(await source.open())
    with pytest.raises(AudioError, match=r"an iterator was opened before.*Make a new BufferSource"):
        await source.open()
    given: queue.Queue[Any] = queue.Queue()
    for again in (as_source(Again(parts(sound)), sample_rate=RATE), as_source(given, sample_rate=RATE)):
        for _ in range(2):
            for item in [*parts(sound), None]:
                given.put(item)
            assert np.array_equal(await samples(await again.open()), sound)


async def test_a_generator_runs_in_one_thread_that_is_not_the_loops_and_is_closed_in_it() -> None:
    seen: list[int] = []

    def microphone() -> Iterator[Samples]:
        try:
            while True:
                seen.append(threading.get_ident())
                yield np.zeros(PART)
        finally:
            seen.append(threading.get_ident())

    generator = microphone()
    audio = await as_source(generator, sample_rate=RATE).open()
    for _ in range(30):
        await anext(audio)
    await audio.aclose()
    assert generator.gi_frame is None
    assert len(set(seen)) == 1
    assert threading.get_ident() not in seen
    # It is asked for no more than the pipe and the decoder's queue hold.
    assert len(seen) < 30 + 1_048_576 / (2 * PART) + 300


@pytest.mark.parametrize("error", [OSError("unplugged"), StopAsyncIteration("unplugged"), SystemExit("unplugged")])
async def test_the_error_of_a_generator_comes_after_its_audio(error: BaseException) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(16_000)
        raise error

    audio = await as_source(broken(), **RAW).open()
    got = [len(await anext(audio)) for _ in range(5)]
    with pytest.raises(AudioError, match=r"Reading an iterator failed: .*unplugged"):
        await anext(audio)
    await audio.aclose()
    assert sum(got) == 16_000


class Blocked:
    """A source of each kind that gives 0.3 s and then nothing, until it is let go on."""

    def __init__(self, kind: str) -> None:
        self.event = threading.Event()
        self.queue: Any = None
        data = bytes(9600)
        self.source: Any
        if kind == "generator":
            self.source = self._generator(data)
        elif kind == "pipe":
            read, write = os.pipe()
            os.write(write, data)
            self.source = os.fdopen(read, "rb")
            self.write = os.fdopen(write, "wb")
        else:
            self.source = self.queue = asyncio.Queue() if kind == "queue of the loop" else queue.Queue()
            self.queue.put_nowait(data)

    def _generator(self, data: bytes) -> Iterator[bytes]:
        yield data
        self.event.wait()
        yield data

    def let_go(self) -> None:
        self.event.set()
        if hasattr(self, "write"):
            self.write.close()
            self.source.close()


@pytest.mark.parametrize("kind", ["generator", "pipe", "queue", "queue of the loop"])
async def test_a_stop_waits_for_no_source_that_gives_nothing(kind: str) -> None:
    blocked = Blocked(kind)
    before = set(threading.enumerate())
    async with FaultyServer(engine=Script("")) as server:
        session = dgnb.LiveSession(blocked.source, **RAW, endpoint=server.url)
        session.start()
        await until(lambda: session.audio_cursor)
        async with asyncio.timeout(1.5):
            await session.stop()
    if blocked.queue is not None:
        # Its thread has ended, and took nothing that came later.
        blocked.queue.put_nowait(b"later")
        # A thread that has given its result may still be in its last line.
        await until(lambda: set(threading.enumerate()) <= before)
        assert blocked.queue.get_nowait() == b"later"
    blocked.let_go()
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 5)


@pytest.mark.parametrize("kind", ["generator", "pipe", "queue", "queue of the loop"])
async def test_closing_waits_for_no_source_that_gives_nothing(kind: str) -> None:
    blocked = Blocked(kind)
    audio = await as_source(blocked.source, **RAW).open()
    await anext(audio)
    async with asyncio.timeout(1.5):
        await audio.aclose()
    blocked.let_go()


@pytest.mark.parametrize("made", [queue.Queue, asyncio.Queue])
async def test_an_open_that_is_cancelled_takes_nothing_of_a_queue(made: Callable[[], Any]) -> None:
    given = made()
    opening = asyncio.create_task(as_source(given, sample_rate=RATE).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    given.put_nowait("kept")
    assert given.get_nowait() == "kept"

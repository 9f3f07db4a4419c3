"""What is told of a loop that was held up, of a machine that slept, and of a stream without an end."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Iterator
from unittest.mock import Mock

import pytest

from dgnb import Transcript
from dgnb.audio import Audio, AudioSource
from dgnb.session.capture import Capture
from dgnb.session.watch import Watch
from dgnb.session.writer import FileWriter
from tests.support.sim.loop import VirtualLoop


class Source(AudioSource):
    """Two hours of audio at once."""

    name = "a source"

    def __init__(self, *, live: bool = True) -> None:
        self._live = live

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(72):
                yield bytes(100 * 100)

        async def close() -> None: ...

        return Audio(chunks(), close, bytes_per_second=100.0, sample_rate=50, live=self._live)


class Writer(FileWriter):
    """Notes when it was asked to write."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__("nothing", Mock(), Transcript())
        self.clock = clock
        self.written: list[float] = []

    def write(self) -> None:
        self.written.append(self.clock())


class Watched:
    """A watch over two hours of audio, on virtual time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loop: VirtualLoop) -> None:
        self.set_by = 0.0
        clocks = types.SimpleNamespace(
            time=lambda: 1.8e9 + loop.time() + loop.asleep + self.set_by,
            clock_gettime=lambda clock: 5000.0 + loop.time() + loop.asleep,
        )
        monkeypatch.setattr("dgnb.session.watch.time", clocks)
        monkeypatch.setattr("dgnb.session.capture.BUFFER_SECONDS", 7200.0)
        self.loop = loop
        self.transcript = Transcript()
        self.writer = Writer(loop.time)

    def run(self, *acts: Callable[[], None], endless: bool = False, live: bool = True) -> list[str]:
        """Do each act, a second of the loop apart. Returns the texts of the warnings."""

        async def work() -> None:
            self.capture = Capture(Source(live=live), self.transcript, None, None)
            await self.capture.open(multichannel=False)
            self.watch = Watch(self.capture, self.transcript, [self.writer], endless=endless)
            running = asyncio.ensure_future(self.watch.run())
            await asyncio.sleep(1.1)
            for act in acts:
                act()
                await asyncio.sleep(1.0)
            running.cancel()
            await asyncio.wait([running])
            await self.capture.close()

        self.loop.run_until_complete(work())
        return self.transcript.events.query("type == 'warning'")["text"].tolist()

    def sleep(self) -> None:
        self.loop.asleep += 3600.0

    def set_clock(self, seconds: float) -> None:
        self.set_by += seconds

    def send(self) -> None:
        """Send all audio."""
        while chunk := self.capture.ledger.peek():
            self.capture.send(chunk)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    loop = VirtualLoop()
    yield Watched(monkeypatch, loop)
    loop.close()


def test_a_loop_that_was_held_up_for_more_than_a_second_is_told(watched: Watched) -> None:
    told = watched.run(lambda: watched.loop.block(0.9), lambda: watched.loop.block(3.2))
    assert told == ["The kernel was busy for 3.2 s: nothing was sent or received."]
    assert watched.watch.worst == pytest.approx(3.2, abs=0.25)


@pytest.mark.parametrize("live", [True, False])
def test_a_machine_that_slept_is_told_and_a_live_source_has_a_gap(watched: Watched, live: bool) -> None:
    (text,) = watched.run(watched.sleep, live=live)
    since, until = text.removeprefix("This machine was asleep from ").removesuffix(" UTC.").split(" to ")
    assert since[2:] == until[2:]
    assert since[:2] != until[:2]
    gaps = watched.transcript.gaps
    assert gaps[["start", "end", "reason"]].to_numpy().tolist() == ([[7200.0, 7200.0, text]] if live else [])
    assert gaps["missed"].tolist() == [pytest.approx(3600.0, abs=0.3)] * live


@pytest.mark.parametrize("seconds", [11.0, 3600.0, -3600.0])
def test_a_clock_that_is_set_is_not_told_as_a_sleep(watched: Watched, seconds: float) -> None:
    assert watched.run(lambda: watched.set_clock(seconds)) == []
    assert watched.transcript.gaps.empty


@pytest.mark.parametrize("endless", [True, False])
def test_only_a_stream_without_a_duration_is_mentioned_once_after_an_hour(
    watched: Watched, endless: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told = watched.run(watched.send, lambda: None, endless=endless)
    text = "1 h of audio were sent, and it goes on until it is stopped; duration= ends it."
    assert told == ([text] if endless else [])
    assert (text in caplog.text) is endless


def test_the_journal_is_written_each_second(watched: Watched) -> None:
    watched.run(*[lambda: None] * 4)
    assert watched.writer.written == [1001.0, 1002.0, 1003.0, 1004.0, 1005.0]


def test_a_loop_that_runs_has_no_delay(watched: Watched) -> None:
    watched.run(*[lambda: None] * 4)
    assert watched.watch.worst == pytest.approx(0.0)
    assert watched.watch.recent(watched.loop.time()) == pytest.approx(0.0)


def test_the_longest_delay_is_kept_and_a_recent_one_only_for_its_seconds(watched: Watched) -> None:
    recent: list[float] = []

    def look() -> None:
        recent.append(watched.watch.recent(watched.loop.time(), 3.0))

    watched.run(look, lambda: watched.loop.block(60.0), look, lambda: None, lambda: None, lambda: None, look)
    assert recent == pytest.approx([0.0, 60.0, 0.0], abs=0.25)
    assert watched.watch.worst == pytest.approx(60.0, abs=0.25)


def test_a_block_counts_before_the_next_tick(watched: Watched) -> None:
    recent: list[float] = []

    def block() -> None:
        watched.loop.block(12.0)
        recent.append(watched.watch.recent(watched.loop.time()))

    watched.run(block)
    assert recent == pytest.approx([12.0], abs=0.25)


def test_a_watch_that_has_not_begun_has_no_delay(watched: Watched) -> None:
    watched.run()
    new = Watch(watched.capture, watched.transcript, [watched.writer], endless=True)
    assert new.recent(1e9) == new.worst == 0.0


def test_a_sleep_of_the_machine_is_not_a_delay(watched: Watched) -> None:
    watched.run(watched.sleep)
    assert watched.watch.worst == pytest.approx(0.0)

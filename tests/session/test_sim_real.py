"""Sessions on real sockets, through a proxy with faults, to the strict fake: each word is there once, with its time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

import dgnb
from dgnb.session import retry
from tests.support.proxy import Proxy, proxied
from tests.support.sim.audio import BLOCK_SECONDS, wav
from tests.support.sim.check import compare
from tests.support.sim.server import Served, served


@dataclass
class Line:
    """A running session, its proxy and its server."""

    session: dgnb.LiveSession
    proxy: Proxy
    far: Served

    async def until(self, true: Callable[[], bool], seconds: float = 20.0) -> float:
        """Wait until something holds. Returns the seconds that took."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - what is waited for is on the other side of a socket
                await asyncio.sleep(0.005)
        return clock() - begun

    async def speaking(self, finals: int = 1) -> None:
        await self.until(lambda: self.far.cores[-1].finals >= finals and self.session.transcript.word_count > 0)

    @property
    def reconnecting(self) -> int:
        return sum(event == "reconnecting" for event in self.session.transcript.events["type"])


@contextlib.asynccontextmanager
async def talking(words: int, seed: int) -> AsyncIterator[Line]:
    """A session over so many words. At the end of the block each of them must be there once."""
    said = tuple(range(1, words + 1))
    async with served(seed) as far, proxied(far.port, seed) as proxy:
        session = dgnb.LiveSession(dgnb.BufferSource(wav(said)), endpoint=proxy.url)
        line = Line(session.start(), proxy, far)
        try:
            await line.until(lambda: bool(far.cores))
            yield line
            await session
        finally:
            await session.stop()
        table = session.transcript.words
        rows = [
            (int(word[1:]), start, end)
            for word, start, end in zip(table["word"], table["start"], table["end"], strict=True)
        ]
        wrong, _ = compare(said, words * BLOCK_SECONDS, rows, [])
        assert not wrong
        assert len(rows) == words
        assert session.transcript.gaps.empty
        assert not far.violations


class Patient(random.Random):
    """Makes every wait before a try as long as it may be, so that it is the same each time."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def a_reset_in_the_middle_of_a_frame_costs_no_word() -> None:
    rng = random.Random(3)
    async with talking(9, seed=1) as line:
        for number in (1, 2):
            await line.speaking()
            line.proxy.cut_after(rng.randrange(1, 20_000))
            await line.until(lambda number=number: len(line.far.cores) == number + 1)
    assert line.proxy.connections == 3
    assert line.reconnecting == 2


async def a_line_that_goes_dead_in_silence_is_noticed() -> None:
    async with talking(12, seed=2) as line:
        await line.until(lambda: line.far.cores[0].received > 16_000)
        line.proxy.bury()
        took = await line.until(lambda: len(line.far.cores) == 2)
        assert took < 15.0 / 4 + 1
    assert "nothing came for" in " ".join(line.session.transcript.events["text"])


async def a_peer_that_pauses_for_two_seconds_costs_no_connection() -> None:
    async with talking(9, seed=3) as line:
        await line.speaking()
        with line.proxy.hold():
            await asyncio.sleep(2.0)
    assert line.proxy.connections == 1


async def three_seconds_without_a_network_cost_no_word() -> None:
    async with talking(9, seed=4) as line:
        await line.speaking()
        async with line.proxy.down():
            await asyncio.sleep(3.0)
            assert line.reconnecting >= 2
    assert line.session.state.value == "closed"


async def a_server_that_closes_costs_no_word() -> None:
    async with talking(8, seed=5) as line:
        await line.speaking()
        await line.far.connections[0].close(1011, "as the test wants it")
        await line.until(lambda: len(line.far.cores) == 2)
    assert "1011" in " ".join(line.session.transcript.events["text"])


async def a_second_loss_during_the_replay_costs_no_word() -> None:
    async with talking(8, seed=6) as line:
        await line.speaking()
        with line.proxy.latency(0.1):
            line.proxy.reset()
            await line.until(lambda: len(line.far.cores) == 2 and line.far.cores[1].received > 3_200)
            line.proxy.reset()
            await line.until(lambda: len(line.far.cores) == 3)
    assert line.proxy.connections == 3


async def test_a_fault_of_a_real_line_costs_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.Backoff, "random", Patient())
    # A quarter of the real times, which the simulated sessions keep: nobody should wait so long for a test.
    monkeypatch.setattr("dgnb.connection.PING_INTERVAL", 1.25)
    monkeypatch.setattr("dgnb.session.stream.PING_TIMEOUT", 3.0)
    # All at once: they wait for real time, not for each other.
    async with asyncio.TaskGroup() as group:
        for fault in (
            a_reset_in_the_middle_of_a_frame_costs_no_word,
            a_line_that_goes_dead_in_silence_is_noticed,
            a_peer_that_pauses_for_two_seconds_costs_no_connection,
            three_seconds_without_a_network_cost_no_word,
            a_server_that_closes_costs_no_word,
            a_second_loss_during_the_replay_costs_no_word,
        ):
            group.create_task(fault(), name=fault.__name__)

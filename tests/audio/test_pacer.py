"""The pacer, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb.audio import Pacer
from dgnb.exceptions import ConfigurationError

CHUNK = 0.1


class Clock:
    """Time as the pacer sees it: each sleep takes as long as asked, and `late` more."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.late = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


async def times(pacer: Pacer, clock: Clock, stalls: dict[int, float], chunks: int) -> list[float]:
    """When each chunk went out; before some of them the loop was blocked for a while."""
    sent = []
    for number in range(chunks):
        clock.now += stalls.get(number, 0.0)
        await pacer.wait(CHUNK)
        sent.append(clock.now - 1000.0)
    return sent


def fastest(sent: list[float], window: float = 5.0) -> float:
    """The most seconds of audio that went out in any window."""
    return max(sum(CHUNK for t in sent[i:] if t < sent[i] + window) for i in range(len(sent)))


async def test_audio_goes_out_in_real_time_without_drift() -> None:
    clock = Clock()
    clock.late = 0.004
    sent = await times(Pacer(1.0, clock=clock, sleep=clock.sleep), clock, {}, 3000)
    assert max(abs(at - number * CHUNK) for number, at in enumerate(sent)) < 0.01


@pytest.mark.parametrize("pace", [0.5, 2.0, 8.0])
async def test_the_pace_is_seconds_of_audio_a_second(pace: float) -> None:
    clock = Clock()
    sent = await times(Pacer(pace, clock=clock, sleep=clock.sleep), clock, {}, 200)
    assert sent[-1] == pytest.approx(199 * CHUNK / pace, rel=0.01)


async def test_after_a_stall_audio_catches_up_at_no_more_than_1_2_times() -> None:
    clock = Clock()
    sent = await times(Pacer(1.0, clock=clock, sleep=clock.sleep), clock, {50: 10.0}, 800)
    # 10 s behind, gaining 0.2 s a second: level again after 50 s, and never ahead.
    assert sent[49] == pytest.approx(4.9)
    assert sent[-1] == pytest.approx(79.9, abs=0.01)
    level = next(n for n in range(51, 800) if sent[n] - n * CHUNK < 0.01)
    assert level * CHUNK == pytest.approx(65, abs=2.0)
    catching_up = [b - a for a, b in pairwise(sent[52:601])]
    assert min(catching_up) >= CHUNK / 1.2 - 1e-6


@given(
    stalls=st.dictionaries(st.integers(0, 299), st.floats(0, 20), max_size=12),
    late=st.floats(0, 0.05),
    live=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_5_seconds_let_through_more_than_the_service_takes(
    stalls: dict[int, float], late: float, live: bool
) -> None:
    clock = Clock()
    clock.late = late
    pacer = Pacer(1.0, live=live, clock=clock, sleep=clock.sleep)
    sent = asyncio.run(times(pacer, clock, stalls, 300))
    assert fastest(sent) <= 1.25 * 5.0 + 0.5 + 1e-6
    assert sent == sorted(sent)


async def test_a_live_source_may_send_its_backlog_at_the_catch_up_rate() -> None:
    clock = Clock()
    sent = await times(Pacer(1.0, live=True, clock=clock, sleep=clock.sleep), clock, {}, 600)
    assert sent[-1] == pytest.approx(60 / 1.2, abs=0.3)


async def test_a_pause_is_not_caught_up() -> None:
    clock = Clock()
    pacer = Pacer(1.0, clock=clock, sleep=clock.sleep)
    await times(pacer, clock, {}, 50)
    clock.now += 60.0
    pacer.restart()
    sent = await times(pacer, clock, {}, 50)
    assert sent[-1] - sent[0] == pytest.approx(4.9, abs=0.01)


async def test_repeated_pauses_let_no_burst_through() -> None:
    clock = Clock()
    pacer = Pacer(1.0, clock=clock, sleep=clock.sleep)
    sent = []
    for _ in range(200):
        pacer.restart()
        sent += await times(pacer, clock, {}, 1)
    assert fastest(sent) <= 1.25 * 5.0 + 0.5


async def test_without_a_pace_other_tasks_get_a_turn() -> None:
    clock = Clock()
    assert await times(Pacer(None, clock=clock, sleep=clock.sleep), clock, {}, 5) == [0.0] * 5


async def test_a_cancelled_wait_lets_nothing_through() -> None:
    pacer = Pacer(1.0)
    await pacer.wait(30.0)
    waiting = asyncio.ensure_future(pacer.wait(CHUNK))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pacer._sent == 30.0


@pytest.mark.parametrize("pace", [0, -1, float("nan"), float("inf"), "fast", 0.0])
def test_a_wrong_pace_is_refused(pace: object) -> None:
    with pytest.raises(ConfigurationError, match="pace is a positive number, or None"):
        Pacer(pace)  # type: ignore[arg-type]

"""Runs that no seed makes: a day, ten minutes without a network, a sleep of the machine, servers that only refuse."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

from .audio import BLOCK_SECONDS
from .faults import CODES, Fault, Plan, words
from .network import MemorySocket
from .run import Outcome, run

__all__ = ["Memory", "a_day", "a_long_outage", "a_sleep", "closing", "refusing"]

HOUR = 3600.0


def _plan(name: str, seconds: float, *faults: Fault, **more: Any) -> Plan:
    return Plan(name, tuple(range(1, 1 + round(seconds / BLOCK_SECONDS))), faults=faults, **more)


def refusing(*answers: str, first: bool = True) -> Outcome:
    """A server that answers handshakes like this, from the first one on or after the first connection is lost."""
    if first:
        return run(_plan(f"refuses {answers}", 12, live=False, first=answers, fatal=True))
    return run(_plan(f"refuses {answers} later", 12, Fault(5, "refuse", answers=answers), live=False, fatal=True))


def closing(*codes: int, reason: str = "", after: float = 6.0, interval: float = 6.0) -> Outcome:
    """A server that closes each of its first connections with these codes, without a final in between."""
    left = list(codes)

    def inject(outcome: Outcome) -> None:
        def opened(socket: MemorySocket) -> None:
            if left:
                seconds = after if socket.number == 0 else interval
                if socket.number:
                    socket.core.muted = True
                code = left.pop(0)
                outcome.loop.call_later(seconds, lambda: socket.server_closes(code, reason) if socket.open else None)

        outcome.network.on_open.append(opened)

    return run(_plan(f"closes {codes} {reason}", 20, live=False, fatal=True), inject=inject)


def a_long_outage() -> Outcome:
    """Ten minutes without a network while a live source goes on: more audio than is kept."""
    return run(_plan("outage", 720, Fault(30, "down", 600, ("refused",)), live=True, capped=True))


def a_sleep(*, clock_goes_on: bool) -> Outcome:
    """A laptop sleeps for two hours; the loop's clock stands still meanwhile, as Linux's does, or goes on."""

    def inject(outcome: Outcome) -> None:
        def sleep() -> None:
            if clock_goes_on:
                outcome.loop.block(7200)
            else:
                outcome.loop.asleep += 7200
            if outcome.network.socket:
                outcome.network.socket.reset()

        outcome.loop.call_later(20.05, sleep)

    return run(_plan("sleep", 60, live=True, asleep=True), inject=inject, limit=20_000)


@dataclass
class Memory:
    """The memory in use at some hours, without the transcript, the simulation and the test."""

    sizes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """MB an hour."""
        (h0, s0), (h1, s1) = self.sizes[0], self.sizes[-1]
        return (s1 - s0) / 1e6 / (h1 - h0)


def a_day(hours: float = 24.0, drops: int = 200, chunk: float = 0.4) -> tuple[Outcome, Memory]:
    """A live source for a day, whose connection is lost about two hundred times."""
    rng = random.Random("a day")
    faults = []
    for i in range(drops):
        at = round(20 + (i + rng.random()) * (hours * HOUR - 40) / drops, 3)
        kind = rng.choice(("reset", "close", "blackhole", "reset", "close"))
        faults.append(Fault(at, kind, rng.choice(CODES) if kind == "close" else 0.0))
    plan = Plan("a day", words(rng, hours * HOUR), True, tuple(faults), chunk=chunk)
    memory = Memory()
    own = [
        tracemalloc.Filter(False, f"*{part}*")
        for part in (
            "/tests/support/sim/",
            "/dgnb/transcript",
            "/dgnb/messages.py",
            "/pandas/",
            "/numpy/",
            "tracemalloc",
        )
    ]

    def inject(outcome: Outcome) -> None:
        def look(hour: float) -> None:
            snapshot = tracemalloc.take_snapshot().filter_traces(own)
            memory.sizes.append((hour, sum(trace.size for trace in snapshot.traces)))

        for hour in (hours / 12, hours / 2, hours * 0.999):
            outcome.loop.call_later(hour * HOUR, look, hour)

    tracemalloc.start()
    try:
        return run(plan, inject=inject, limit=2 * hours * HOUR), memory
    finally:
        tracemalloc.stop()

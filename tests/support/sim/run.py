"""Runs a plan: the real session, on virtual time, over a network that fails as planned."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import dgnb
from dgnb.session import capture, retry, stream, watch

from .audio import WordSource
from .check import Books, check
from .faults import Injector, Plan
from .loop import VirtualLoop
from .network import MemorySocket, Network
from .recorded import Recording

__all__ = ["Outcome", "run"]

LIMIT = 4000.0
"""Virtual seconds after which a run counts as hung."""


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        violations: What broke an invariant; empty when nothing did.
        figures: What was measured, by invariant.
        trace: Equal for equal runs.
    """

    plan: Plan
    network: Network
    injector: Injector
    source: WordSource
    session: Any
    books: Books
    loop: VirtualLoop
    started: float = 0.0
    ended: float = 0.0
    stop_asked: float | None = None
    stop_took: float | None = None
    stop_lagged: float = 0.0
    stop_well: MemorySocket | None = None
    retried: int = 0
    logged: list[str] = field(default_factory=list)
    raised: BaseException | None = None
    violations: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)

    @property
    def trace(self) -> int:
        return hash((self.network.trace, self.session.transcript.word_count, self.session.transcript.count))

    def __str__(self) -> str:
        """The plan, what was wrong, and how to run it again."""
        told = [str(self.plan), *(f"  ! {what}" for what in self.violations)]
        events = self.session.transcript._notes
        told += [f"  . {event.type}: {event.text[:150]}" for event in events[-40:]]
        told.append(f"  again: python -m tests.support.sim.soak --seed {self.plan.seed}{' --flux' * self.plan.flux}")
        return "\n".join(told)


class _Logged(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record.getMessage())


def run(plan: Plan, *, inject: Any = None, limit: float = LIMIT, record: bool = False) -> Outcome:
    """Run a plan and check the run. `inject(outcome)` may add faults once the session has started."""
    loop = VirtualLoop()
    try:
        with Recording.made(loop, plan.seed) if record else contextlib.nullcontext() as recording:
            outcome = loop.run_until_complete(_run(plan, loop, inject, limit, recording))
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        outcome.violations += [f"INV17 a task is left: {task.get_name()}" for task in left]
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        outcome.violations += [f"INV14 {problem}" for problem in loop.problems]
    finally:
        loop.close()
    return outcome


async def _run(plan: Plan, loop: VirtualLoop, inject: Any, limit: float, recording: Recording | None) -> Outcome:
    network = Network(
        loop, plan.seed, interims=plan.interims, audit=plan.audit, manner=plan.manner, local=plan.local, flux=plan.flux
    )
    if plan.manner == "late":
        network.slow = random.Random(f"late {plan.seed}").uniform(4, 8)
    network.latency = plan.latency
    network.answers.extend(plan.first)
    books = Books(plan)
    source = WordSource(plan.words, live=plan.live, chunk=plan.chunk, asleep=plan.asleep)
    with _seams(network, books, plan.seed), _log() as logged:
        session = dgnb.LiveSession(
            source,
            {"model": "flux-general-en"} if plan.flux else {"interim_results": plan.interims},
            endpoint="ws://127.0.0.1:9" if plan.local else "wss://sim.example",
            duration=plan.duration,
            pace=plan.pace,
            record=recording.path if recording else False,
        )
        injector = Injector(network, session)
        outcome = Outcome(plan, network, injector, source, session, books, loop, logged=logged)
        books.watch(network)
        outcome.started = loop.time()
        # Waits for the task, not for the session: a waiter would learn of an error that must be logged.
        session.start()
        task = _task()
        injector.schedule(plan.faults)
        stopper: asyncio.Task[None] | None = None
        if plan.stop_at is not None:
            stopper = asyncio.create_task(_stop(outcome, plan.stop_at), name="sim: stop")
        if inject:
            inject(outcome)
        done, _ = await asyncio.wait([task], timeout=limit)
        while done and plan.retry is not None and session.error:
            await asyncio.sleep(plan.retry)
            outcome.retried += 1
            logged.clear()
            session.retry()
            done, _ = await asyncio.wait([task := _task()], timeout=limit)
        outcome.ended = loop.time()
        if not done:
            outcome.violations.append(f"INV3 it hangs: {session!r}")
            task.cancel()
            await asyncio.wait([task])
        if stopper and not stopper.done():
            if outcome.stop_asked is None:
                stopper.cancel()
            await asyncio.wait([stopper])
        # Wait a little longer, to see whether anything goes on that should not.
        network.stopped = network.stopped if network.stopped is not None else loop.time()
        injector.cancel()
        await asyncio.sleep(15.0)
        if injector.tasks:
            await asyncio.wait(injector.tasks)
            for helper in injector.tasks:
                error = None if helper.cancelled() else helper.exception()
                if error and not isinstance(error, dgnb.DgnbError):
                    outcome.violations.append(f"INV14 {helper.get_name()} raised {error!r}")
        for socket in network.sockets:
            if socket.open:
                outcome.violations.append(f"INV17 connection {socket.number} is left open")
                socket.abort()
        check(outcome)
        if recording:
            recording.check(outcome)
    return outcome


def _task() -> asyncio.Task[Any]:
    (task,) = (task for task in asyncio.all_tasks() if task.get_name().startswith("dgnb: session"))
    return task


async def _stop(outcome: Outcome, after: float) -> None:
    loop = outcome.loop
    await asyncio.sleep(after)
    outcome.stop_asked = outcome.network.stopped = loop.time()
    socket = outcome.network.socket
    outcome.stop_well = socket if socket and outcome.session.state.value == "open" else None
    held = len(loop.blocked)
    try:
        await outcome.session.stop()
    except dgnb.DgnbError as error:
        outcome.raised = error
    outcome.stop_took = loop.time() - outcome.stop_asked
    outcome.stop_lagged = sum(
        max(0.0, b - max(a, outcome.stop_asked)) for a, b in loop.blocked[max(0, held - 1) :] if b > outcome.stop_asked
    )


@contextlib.contextmanager
def _seams(network: Network, books: Books, seed: object) -> Iterator[None]:
    clock = types.SimpleNamespace(clock_gettime=lambda _: network.loop.time() + network.loop.asleep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "connect", network.connect)
        patch.setattr(capture, "Ledger", books.ledger_class(capture.Ledger))
        patch.setattr(watch, "time", clock)
        patch.setattr(retry.Backoff, "random", random.Random(f"backoff {seed}"))
        yield


@contextlib.contextmanager
def _log() -> Iterator[list[str]]:
    logger = logging.getLogger("dgnb")
    logged: list[str] = []
    handler = _Logged(logged)
    level, spread = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield logged
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = spread

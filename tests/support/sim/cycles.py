"""`python -m tests.support.sim.cycles`: a thousand sessions, stopped at any moment, and what they leave behind.

`--sources` runs 300 sessions instead, with ten kinds of sources, most of which hang or hold no audio.

The server runs in the same process, so that its leaks count too. Its logs are emptied after each cycle.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

import dgnb
from dgnb.audio import Audio
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

__all__ = ["KINDS", "MOMENTS", "Left", "run", "run_sources"]

MOMENTS = ("at once", "connecting", "backing off", "open", "paused", "reconnecting", "at its end", "cancelled")
KINDS = (
    "file",
    "bytes",
    "iterator",
    "slow finally",
    "hang in open",
    "FIFO",
    "URL",
    "URL that never answers",
    "torn container",
    "zero channels",
)
LONGEST_STOP = 5.0
"""Seconds, as `LiveSession.stop()` promises."""

WARM_UP = 200
"""Cycles after which caches, pools and the allocator's arenas have their size."""

BYTES_A_CYCLE = 1024
_PARTS = 10
_SILENCE = bytes(32_000 * 30)


@dataclass(frozen=True)
class Left:
    """The tasks, threads, children, files and memory of this process now."""

    tasks: frozenset[str]
    threads: frozenset[int | None]
    children: frozenset[int]
    files: int
    memory: int

    @classmethod
    def now(cls) -> Left:
        for _ in range(3):
            gc.collect()
        process = psutil.Process()
        return cls(
            tasks=frozenset(task.get_name() for task in asyncio.all_tasks() if not task.done()),
            threads=frozenset(thread.ident for thread in threading.enumerate()),
            children=frozenset(child.pid for child in process.children(recursive=True)),
            files=process.num_fds() if hasattr(process, "num_fds") else 0,
            memory=process.memory_info().rss,
        )

    def leaks(self, before: Left) -> list[str]:
        """Return what is here and was not there before, except for memory."""
        found = [f"task {name!r}" for name in self.tasks - before.tasks]
        found += [f"thread {ident}" for ident in self.threads - before.threads]
        found += [f"child process {pid}" for pid in self.children - before.children]
        if self.files > before.files:
            found.append(f"{self.files - before.files} open files or sockets")
        return found


async def run(cycles: int, seed: int, *, warm_up: int = WARM_UP, parts: int = _PARTS) -> tuple[list[str], float]:
    """Return what so many sessions left behind, and by how many bytes the process grew a session after the warm-up."""
    dice = random.Random(seed)
    script = Script("one two three", repeat=True, words_per_second=6, start=0.1, gap=0.3)
    mute = _Mute()
    async with FaultyServer(script) as server, await asyncio.start_server(mute, "127.0.0.1", 0) as deaf:
        bench = _Bench(server, mute, f"ws://127.0.0.1:{deaf.sockets[0].getsockname()[1]}", dice)
        await bench.run(warm_up)
        before = Left.now()
        grown = [before.memory]
        for _ in range(parts):
            await bench.run(cycles // parts)
            after = Left.now()
            grown.append(after.memory)
    # The allocator returns memory and takes it again, so the minimum of each half counts.
    half = len(grown) // 2
    return after.leaks(before), (min(grown[half:]) - min(grown[:half])) / (cycles / 2)


async def run_sources(rounds: int, seed: int, folder: Path) -> tuple[list[str], dict[str, float]]:
    """Return what so many sessions of each kind left behind, and the longest stop of each kind in seconds."""
    mute = _Mute()
    os.mkfifo(folder / "fifo")
    stops = dict.fromkeys(KINDS, 0.0)
    seen: list[Left] = []
    script = Script("one two three", repeat=True, words_per_second=6, start=0.1, gap=0.3)
    async with FaultyServer(script) as server, await asyncio.start_server(mute, "127.0.0.1", 0) as deaf:
        # The station encodes its recording for the first listener, who waits for that also after having left.
        async with aiohttp.ClientSession() as web, web.get(server.radio_url) as programme:
            await programme.content.readany()
        for number in range(rounds + 1):
            kinds = [_Kind(kind, number, random.Random(f"{seed} {number} {kind}")) for kind in KINDS]
            silent = f"http://127.0.0.1:{deaf.sockets[0].getsockname()[1]}/a.mp3"
            took = await asyncio.gather(*(kind.cycle(server, silent, folder) for kind in kinds))
            for kind, seconds in zip(KINDS, took, strict=True):
                stops[kind] = max(stops[kind], seconds)
            if number in (0, rounds):
                await until(lambda: not _ours() and not server.active)
                server.requests.clear()
                server.connections.clear()
                await asyncio.sleep(0.1)
                seen.append(Left.now())
    return seen[-1].leaks(seen[0]), stops


def _ours() -> list[str]:
    running = [task for task in asyncio.all_tasks() if not task.done()]
    if any("RequestHandler" in repr(task.get_coro()) for task in running):
        return ["a request to the server"]
    tasks = [task.get_name() for task in running]
    return [name for name in [*tasks, *(thread.name for thread in threading.enumerate())] if name.startswith("dgnb: ")]


@dataclass
class _Kind:
    kind: str
    number: int
    dice: random.Random

    async def cycle(self, server: FaultyServer, silent: str, folder: Path) -> float:
        """One session, which is stopped somewhere on its way. Returns the seconds of the stop."""
        over = threading.Event()
        source = self._source(server, silent, folder, over)
        session = dgnb.LiveSession(source, endpoint=server.url, pace=10.0, reconnect=5).start()
        await asyncio.sleep(self.dice.choice((0, 0.01, 0.2)))
        repr((session, dgnb.sessions(), session.report()))
        began = time.monotonic()
        with contextlib.suppress(dgnb.DgnbError):
            await session.stop()
        took = time.monotonic() - began
        over.set()
        assert session.state is dgnb.State.CLOSED
        assert isinstance(session.error, dgnb.AudioError | None), f"{self.kind}: {session.error!r}"
        repr((session, session.report(), session.transcript))
        return took

    def _source(self, server: FaultyServer, silent: str, folder: Path, over: threading.Event) -> Any:
        odd = bool(self.number % 2)
        raw: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}
        whole = dgnb.samples.path().read_bytes()
        if self.kind == "torn container":
            cut = self.dice.choice((1, 4, 40, 300, len(whole) // 2, len(whole) - 1))
            return self.dice.choice((whole[:cut], whole[cut:], bytes(cut), self.dice.randbytes(cut)))
        return {
            "file": dgnb.samples.path,
            "bytes": lambda: dgnb.BufferSource(_SILENCE, **raw),
            "iterator": lambda: dgnb.BufferSource(_silence(), **raw),
            "slow finally": lambda: dgnb.BufferSource(_silence(finally_=0.6, first=60 * odd), **raw),
            "hang in open": lambda: dgnb.BufferSource(_DeadDrive(over), **raw) if odd else _Stubborn(),
            "FIFO": lambda: dgnb.FileSource(folder / "fifo", decode=odd, **raw),
            "URL": lambda: server.radio_url,
            "URL that never answers": lambda: silent,
            "zero channels": lambda: _Mono(channels=0, bytes_per_second=32_000.0 * odd),
        }[self.kind]()


class _DeadDrive(io.BytesIO):
    """An open file on a drive that is gone: a read ends when the drive is back."""

    def __init__(self, back: threading.Event) -> None:
        super().__init__(bytes(100))
        self._back = back

    def read(self, size: int | None = -1, /) -> bytes:
        self._back.wait(LONGEST_STOP * 2)
        raise OSError("Host is down")


class _Mono(dgnb.AudioSource):
    def __init__(self, **said: Any) -> None:
        self._said = said

    async def open(self, *, multichannel: bool = False) -> Audio:
        return Audio(_silence(), lambda: asyncio.sleep(0), **self._said)


class _Stubborn(_Mono):
    """Opens when it was cancelled, and a moment later."""

    async def open(self, *, multichannel: bool = False) -> Audio:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.6)
        return await super().open()


class _Mute:
    """A server that takes a handshake and never answers. The loopback server would keep its end open."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever is stopped early may leave before it asks.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.seen += 1
            await reader.read()
        writer.close()


@dataclass
class _Bench:
    server: FaultyServer
    mute: _Mute
    deaf: str
    dice: random.Random
    number: int = 0

    async def run(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.cycle(MOMENTS[self.number % len(MOMENTS)])
            self.number += 1
        # The server learns of an end from its sockets, which the loop closes a moment later.
        await until(lambda: not self.server.active)
        await asyncio.sleep(0.1)

    async def cycle(self, moment: str) -> None:
        """One session, from its start to its end at that moment."""
        server, dice = self.server, self.dice
        session = dgnb.LiveSession(
            _source(dice),
            endpoint=self.deaf if moment == "connecting" else server.url,
            pace=10.0,
            interim_results=True,
            duration=0.5 if moment == "at its end" else None,
        )
        with contextlib.ExitStack() as faults:
            if moment == "backing off":
                faults.enter_context(server.rejecting(503, headers={"Retry-After": "20"}))
            session.start()
            if moment == "connecting":
                seen = self.mute.seen
                await until(lambda: self.mute.seen > seen)
            elif moment == "backing off":
                await until(lambda: session.transcript.events["type"].tolist() == ["connecting"])
            elif moment == "cancelled":
                await asyncio.sleep(dice.uniform(0, 0.02))
                waiting = asyncio.ensure_future(session.stop())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            elif moment == "at its end":
                await session
            elif moment != "at once":
                await until(lambda: session.audio_cursor > 0)
            if moment == "paused":
                session.pause()
            elif moment == "reconnecting":
                faults.enter_context(server.rejecting(503, headers={"Retry-After": "20"}))
                faults.enter_context(server.dropping(times=1))
                await until(lambda: session.reconnecting or session.state is dgnb.State.CLOSED)
            with contextlib.suppress(dgnb.DgnbError):
                await session.stop()
            assert session.state is dgnb.State.CLOSED
        server.requests.clear()
        server.connections.clear()


def _source(dice: random.Random) -> Any:
    """Half a minute of silence, in one of the ways that audio is given."""
    kind = dice.randrange(3)
    if kind == 0:
        return dgnb.samples.path()
    data: Any = _SILENCE if kind == 1 else _silence()
    return dgnb.BufferSource(data, encoding="linear16", sample_rate=16_000)


async def _silence(*, finally_: float = 0.0, first: float = 0.0) -> AsyncIterator[bytes]:
    try:
        await asyncio.sleep(first)
        for _ in range(300):
            yield bytes(3200)
    finally:
        await asyncio.sleep(finally_)


def main() -> int:
    """Print one line. The exit code says whether something leaks."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.sim.cycles", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", action="store_true", help="300 sessions with ten kinds of sources instead")
    arguments = parser.parse_args()
    if arguments.sources:
        logging.disable(logging.ERROR)
        with tempfile.TemporaryDirectory() as folder:
            leaks, stops = asyncio.run(run_sources(30, arguments.seed, Path(folder)))
        print(f"{30 * len(KINDS)} sessions left {', '.join(leaks) or 'nothing'} behind; the longest stops:")
        print("\n".join(f"  {seconds:.2f} s {kind}" for kind, seconds in stops.items()))
        return bool(leaks or max(stops.values()) > LONGEST_STOP)
    if "MALLOC_ARENA_MAX" not in os.environ:
        # With a heap for each of many short-lived threads, glibc's memory grows and shrinks by megabytes at random.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.support.sim.cycles", *sys.argv[1:]], environment)
    began = time.monotonic()
    leaks, growth = asyncio.run(run(arguments.cycles, arguments.seed))
    for _ in range(2):
        if growth > BYTES_A_CYCLE:
            # A leak shows each time. Pages that a busy machine takes away and returns do not.
            more, again = asyncio.run(run(arguments.cycles, arguments.seed))
            leaks, growth = [*leaks, *more], min(growth, again)
    if growth > BYTES_A_CYCLE:
        leaks.append(f"{growth:.0f} bytes of memory a cycle")
    took = time.monotonic() - began
    what = ", ".join(leaks) if leaks else "nothing"
    print(
        f"{arguments.cycles} sessions in {took:.0f} s left {what} behind; memory grew by {growth:.0f} bytes a session"
    )
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())

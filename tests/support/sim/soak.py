"""`python -m tests.support.sim.soak`: many seeds, and a table of the measurements. `--seed N` shows one run."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from . import scenarios
from .check import LIMITS
from .faults import flux_plan, plan
from .run import Outcome, run

_CHUNK = 50
_MEMORY = "INV17 memory over a day (MB an hour)"
_SAME = "INV21 seeds that did not repeat"
_ROWS = {
    "INV1 steps of the ledger that do not add up": 0.0,
    "INV2 audio lost without a row": 0.0,
    **LIMITS,
    "INV5 rows out of order": 0.0,
    "INV6 replays that begin elsewhere": 0.0,
    "INV9 frames that Deepgram refuses": 0.0,
    "INV10 connections too many, or after stop": 0.0,
    "INV14 errors untold, or told twice": 0.0,
    "INV17 tasks or connections left": 0.0,
    _MEMORY: 1.0,
    _SAME: 0.0,
}
_COUNTED = {name for name in _ROWS if name not in LIMITS and name not in (_MEMORY, _SAME)}


@dataclass
class Tally:
    """The results of many runs."""

    runs: int = 0
    cpu: float = 0.0
    steps: int = 0
    words: int = 0
    connections: int = 0
    speech: float = 0.0
    worst: dict[str, tuple[float, object]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def note(self, name: str, value: float, seed: object) -> None:
        if value >= self.worst.get(name, (-1.0, None))[0]:
            self.worst[name] = (value, seed)

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.steps += outcome.books.steps
        self.words += outcome.session.transcript.word_count
        self.connections += len(outcome.network.sockets)
        self.speech += outcome.books.ledger.captured / 32_000 if outcome.books.ledger else 0.0
        self.kinds.update(kind for _, kind in outcome.injector.done)
        self.recoveries += outcome.recoveries
        for name, value in outcome.figures.items():
            self.note(name, value, outcome.plan.seed)
        for what in outcome.violations:
            self.wrong[what.split()[0]] += 1
        if outcome.violations and len(self.shown) < 10:
            self.shown.append(str(outcome))

    def join(self, other: Tally) -> None:
        for name in ("runs", "cpu", "steps", "words", "connections", "speech"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, (value, seed) in other.worst.items():
            self.note(name, value, seed)
        self.wrong += other.wrong
        self.kinds += other.kinds
        self.recoveries += other.recoveries
        self.shown += other.shown


def _some(seeds: range, *, record: bool = False, flux: bool = False) -> Tally:
    tally, begun, made = Tally(), time.process_time(), flux_plan if flux else plan
    for seed in seeds:
        try:
            tally.add(outcome := run(made(seed), record=record))
        except Exception as error:
            tally.wrong["INV3"] += 1
            tally.shown.append(f"seed {seed} raised {error!r}\n{made(seed)}")
            continue
        if seed % 100 == 0:
            same = {outcome.trace, run(made(seed)).trace, run(made(seed)).trace}
            tally.note(_SAME, float(len(same) - 1), seed)
            tally.wrong["INV21"] += len(same) > 1
    gc.collect()
    tally.cpu = time.process_time() - begun
    return tally


def _a_day(hours: float) -> tuple[Tally, str]:
    outcome, memory = scenarios.a_day(hours, drops=round(200 * hours / 24))
    tally = Tally()
    tally.add(outcome)
    tally.note(_MEMORY, memory.growth, "a day")
    tally.wrong["INV17"] += memory.growth > 1.0
    lost = len(outcome.network.sockets) - 1
    sizes = ", ".join(f"{size / 1e6:.2f} MB after {hour:.0f} h" for hour, size in memory.sizes)
    return tally, f"A day: {outcome.books.ledger.captured / 115_200_000:.1f} h, {lost} reconnects, {sizes}."


def _others() -> tuple[Tally, str]:
    tally = Tally()
    outage = scenarios.a_long_outage()
    sleeps = [scenarios.a_sleep(clock_goes_on=on) for on in (False, True)]
    for outcome in (outage, *sleeps):
        tally.add(outcome)
    gaps = outage.session.transcript.gaps
    spans = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in zip(gaps["start"], gaps["end"], strict=True))
    return tally, (
        f"Ten minutes without a network: gaps {spans}; all the rest is there. Two hours asleep: "
        f"{', '.join(str(len(s.network.attempts) - 1) for s in sleeps)} reconnects."
    )


def table(tally: Tally) -> Iterator[str]:
    yield f"{'invariant':54} {'worst':>10} {'limit':>8} {'violations':>10}   where"
    for name, limit in sorted(_ROWS.items(), key=lambda row: (int(row[0].split()[0][3:]), row[0])):
        number = name.split()[0]
        wrong = tally.wrong[number]
        value, seed = tally.worst.get(name, (float(wrong), ""))
        if name in _COUNTED:
            value, seed = float(wrong), ""
        yield f"{name:54} {value:10.4g} {limit:8g} {wrong:10d}   {'' if not value else seed}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.sim.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hours", type=float, default=24.0, help="of the one long run; 0 for none")
    parser.add_argument("--record", action="store_true", help="record each run, and compare")
    parser.add_argument("--flux", action="store_true", help="/v2/listen")
    parser.add_argument("--seed", type=int, help="run this one, and show what happened")
    args = parser.parse_args()
    if args.seed is not None:
        outcome = run((flux_plan if args.flux else plan)(args.seed), record=args.record)
        print(outcome)
        return bool(outcome.violations)
    begun, total = time.monotonic(), Tally()
    starts = range(args.start, args.start + args.seeds, _CHUNK)
    parts = [range(start, min(start + _CHUNK, args.start + args.seeds)) for start in starts]
    lines = []
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        day = pool.apply_async(_a_day, (args.hours,)) if args.hours else None
        for number, tally in enumerate(
            pool.imap_unordered(partial(_some, record=args.record, flux=args.flux), parts), 1
        ):
            total.join(tally)
            if number % 20 == 0:
                print(f"  {total.runs} runs, {sum(total.wrong.values())} violations", file=sys.stderr, flush=True)
        cpu = total.cpu / max(1, total.runs) * 1000
        tally, line = _others()
        lines.append(line)
        total.join(tally)
        if day:
            tally, line = day.get()
            lines.append(line)
            total.join(tally)
    for shown in total.shown[:10]:
        print(f"\n{shown}")
    print()
    print("\n".join(table(total)))
    late = sorted(total.recoveries)
    if late:
        print(
            f"\nFirst new final after a reconnect, apart from its own length: median {late[len(late) // 2]:.2f} s, "
            f"99 % within {late[int(len(late) * 0.99)]:.2f} s ({len(late)} of them)."
        )
    print("\n".join(lines))
    kinds = ", ".join(f"{kind} {number}" for kind, number in total.kinds.most_common())
    print(
        f"{total.runs} runs with {total.kinds.total()} faults ({kinds}): {total.speech / 3600:.0f} h of speech, "
        f"{total.words} words, {total.connections} connections, {total.steps} steps of the ledger; {cpu:.0f} ms each, "
        f"{time.monotonic() - begun:.0f} s in all."
    )
    return bool(total.wrong.total())


if __name__ == "__main__":
    sys.exit(main())

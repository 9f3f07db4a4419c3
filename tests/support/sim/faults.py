"""Seeded plans (what is said, what goes wrong, and when), and the injector that carries them out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dgnb.options import FluxOptions

from .audio import BLOCK_SECONDS
from .network import MemorySocket, Network

__all__ = ["Fault", "Injector", "Plan", "flux_plan", "plan"]

CODES = (1001, 1011, 1012, 1013, 1014, 4000, 4321, 4999)
STORM = ("1000", "1012", "1011 NET-0000: no text", "1011 NET-0001: nothing came", "1013", "1006")
_SILENT = ("blackhole", "hold", "stall", "swallow", "mute")
BUDGET = 90.0
"""Seconds of a live source that may pile up; 120 s are kept."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong `at` seconds after the start.

    Kinds: `reset`; `close` with a code in `value`; `blackhole`; `hold` (the peer reads nothing for `value` s, 0 for
    ever); `refuse` (the line breaks, and handshakes end as `answers` say); `down` (no network for `value` s; `answers`
    says how handshakes fail); `stall` (all packets are `value` s late); `latency`; `slow` (results are 4 s later for
    `value` s); `block` (a cell holds the loop for `value` s); `replay` (a reset, and another one `value` s after the
    next opening); `storm` (a reset, and each of the next connections, one for each of `answers`, is closed with that
    code and reason `value` s after its opening; 1006 is a reset); `mute` (no results come for `value` s, then 1011
    NET-0000); `swallow` (finals are made and lost for `value` s, then a reset); `pause` for `value` s; `finalize`;
    `apply` (other options).
    """

    at: float
    kind: str
    value: float = 0.0
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything about a run. The same seed makes the same plan, and `run(plan)` the same run."""

    seed: object
    words: tuple[int, ...]
    live: bool
    faults: tuple[Fault, ...]
    first: tuple[str, ...] = ()
    """How the first handshakes end."""
    latency: float = 0.02
    interims: bool = False
    audit: bool = False
    stop_at: float | None = None
    capped: bool = False
    """Whether more may pile up than is kept, so that gaps are right."""
    fatal: bool = False
    """Whether it is right that the session gives up."""
    asleep: bool = False
    chunk: float = 0.1
    duration: float | None = None
    pace: float | None = 1.0
    manner: str = ""
    """What the server does otherwise than Deepgram: see `Core`; `late`: its results come 4 to 8 s later."""
    retry: float | None = None
    """Seconds after an end with an error after which `retry()` is called."""
    local: bool = False
    """Whether the server is on this machine."""
    flux: bool = False
    """Whether it is `/v2/listen`."""

    def __str__(self) -> str:
        kind = " ".join(
            filter(None, ("live" if self.live else "file", self.manner, "local" * self.local, "flux" * self.flux))
        )
        lines = [f"seed {self.seed}: {kind}, {len(self.words) * BLOCK_SECONDS:.1f} s, latency {self.latency:.3f} s"]
        lines += [f"  first {', '.join(self.first)}"] * bool(self.first)
        for fault in self.faults:
            value = f" {fault.value:g}" if fault.value else ""
            lines.append(f"  {fault.at:8.3f} {fault.kind}{value} {', '.join(fault.answers)}".rstrip())
        lines += [f"  duration {self.duration:g} s"] if self.duration is not None else []
        lines += ["  pace None"] if self.pace is None else []
        lines += [f"  {self.stop_at:8.3f} stop()"] if self.stop_at is not None else []
        return "\n".join(lines)


def words(rng: random.Random, seconds: float, first: int = 1) -> tuple[int, ...]:
    """Words numbered by their place, with occasional silence between them."""
    said, silent = [], 0
    for number in range(first, first + round(seconds / BLOCK_SECONDS)):
        if not silent and rng.random() < 0.04:
            silent = rng.randint(1, rng.choice((3, 30)))
        said.append(0 if silent else number)
        silent = max(0, silent - 1)
    return tuple(said)


def plan(seed: int) -> Plan:
    """The plan of a seed: 20 to 90 s of speech, and 0 to 8 faults."""
    rng = random.Random(f"plan {seed}")
    seconds = rng.uniform(20, 90)
    capped = seed % 12 == 7
    live = capped or rng.random() < 0.65
    left = BUDGET if live and not capped else 1e9
    faults = []
    for _ in range(rng.choice((0, 1, 2, 3, 3, 4, 4, 5, 6, 8))):
        fault, cost = _fault(rng, round(rng.uniform(0.2, seconds), 3))
        if cost <= left:
            left -= cost
            faults.append(fault)
    if capped:
        # More audio than is kept piles up, with a connection, without one, and while it catches up.
        seconds = rng.uniform(200, 500)
        for _ in range(rng.randint(1, 3)):
            at, value = round(rng.uniform(5, seconds), 3), round(rng.uniform(40, 200), 1)
            kind = rng.choice(("down", "down", "block", "hold"))
            faults.append(Fault(at, kind, value if kind != "hold" else 11.0, ("refused",) * (kind == "down")))
    # From a generator of its own, so that the rest of each plan stays the same.
    more = random.Random(f"more {seed}")
    if more.random() < 0.2:
        faults.append(Fault(round(more.uniform(1, seconds), 3), "apply"))
    duration = round(more.uniform(1, seconds), more.choice((1, 4))) if more.random() < 0.1 else None
    pace = None if not live and more.random() < 0.2 else 1.0
    stop_at = None
    other = random.Random(f"other {seed}")
    manner = other.choice(("astride", "silent", "shuffled", "late")) if other.random() < 0.3 else ""
    said = words(rng, seconds)
    if manner == "silent":
        # Longer than a server that answers silence may be silent.
        at = other.randrange(len(said))
        said = (*said[:at], *(0,) * len(said[at : at + 60]), *said[at + 60 :])
    if manner == "late" or (other.random() < 0.25 and not capped):
        faults = [fault for fault in faults if fault.kind not in ("slow", *_SILENT)]
    if not capped and other.random() < 0.15:
        number = other.randint(3, 5)
        codes = tuple(other.choice(STORM) for _ in range(number))
        value = round(other.choice((other.uniform(0.05, 1), other.uniform(1, 4))), 2)
        if number * value + 8 <= left:
            left -= number * value + 8
            faults.append(Fault(round(other.uniform(1, seconds), 3), "storm", value, codes))
    if live and not capped and manner != "late" and other.random() < 0.1:
        # It is stopped while it is behind.
        at, value = round(other.uniform(8, seconds), 3), round(other.uniform(3, 30), 1)
        faults = [fault for fault in faults if fault.at < at - 5]
        faults.append(Fault(at, "down", value, ("refused",)))
        stop_at = round(at + value + other.uniform(0.2, 14), 3)
    retry = None
    if not live and manner != "astride" and other.random() < 0.25:
        # A server that refuses what it was sent ends the session.
        faults += [Fault(round(other.uniform(1, seconds), 3), "close", 1008.0) for _ in range(other.randint(1, 2))]
        retry = round(other.uniform(0, 20), 1)
    local = pace is not None and other.random() < 0.3
    first = tuple(rng.choice(("503", "429+1", "refused", "408")) for _ in range(rng.choice((0, 0, 0, 0, 1, 2))))
    return Plan(
        seed,
        said,
        live,
        tuple(sorted(faults, key=lambda fault: fault.at)),
        first=first,
        latency=rng.choice((0.002, 0.02, 0.05, 0.15)),
        interims=rng.random() < 0.25,
        audit=rng.random() < 0.1,
        stop_at=stop_at or _stop_at(rng, seconds, late=manner == "late" or retry is not None),
        capped=capped,
        duration=duration,
        pace=pace,
        chunk=rng.choice((0.1, 0.1, 0.1, 0.064, 0.25)),
        manner=manner,
        retry=retry,
        local=local,
    )


def flux_plan(seed: int) -> Plan:
    """The plan of a seed for `/v2/listen`: the same faults, and servers that fall silent for good."""
    made = plan(seed)
    rng = random.Random(f"flux {seed}")
    faults = list(made.faults)
    last = len(made.words) * BLOCK_SECONDS
    if not made.capped and rng.random() < 0.2:
        faults.append(Fault(round(rng.uniform(1, last), 3), "mute"))
    if not made.capped and rng.random() < 0.1:
        faults.append(Fault(round(rng.uniform(1, last), 3), "refuse", 0.0, ("mute",)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        faults.append(Fault(round(rng.uniform(1, last), 3), "apply"))
    return replace(
        made,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        flux=True,
        manner="startless" if rng.random() < 0.2 else "",
    )


def _stop_at(rng: random.Random, seconds: float, *, late: bool) -> float | None:
    stop_at = round(rng.uniform(0.05, seconds + 5), 3) if rng.random() < 0.15 else None
    # Results that come later than a stop waits for are lost, and that is right.
    return None if late else stop_at


def _fault(rng: random.Random, at: float) -> tuple[Fault, float]:
    """A fault, and how much audio may pile up for it."""
    kind = rng.choices(
        (
            "reset",
            "close",
            "blackhole",
            "hold",
            "refuse",
            "down",
            "stall",
            "latency",
            "slow",
            "block",
            "replay",
            "swallow",
            "pause",
            "finalize",
            "mute",
        ),
        (12, 14, 5, 4, 8, 5, 6, 4, 3, 6, 10, 8, 4, 6, 2),
    )[0]
    match kind:
        case "close":
            return Fault(at, kind, rng.choice(CODES)), 3
        case "blackhole":
            return Fault(at, kind), 20
        case "hold":
            value = rng.choice((0.0, round(rng.uniform(1, 14), 1)))
            return Fault(at, kind, value), value or 20
        case "refuse":
            answers = tuple(
                rng.choice(("503", "500", "429", f"429+{rng.randint(1, 4)}", "refused", "hangs", "502"))
                for _ in range(rng.randint(1, 4))
            )
            return Fault(at, kind, 0.0, answers), 8 + sum(10 if answer == "hangs" else 3 for answer in answers)
        case "down":
            value = round(rng.uniform(0.5, 60), 1)
            return Fault(at, kind, value, (rng.choice(("refused", "silent")),)), value + 24
        case "stall":
            value = round(rng.uniform(0.2, 11), 1)
            return Fault(at, kind, value), value
        case "latency":
            return Fault(at, kind, round(rng.uniform(0.001, 0.6), 3)), 0
        case "slow":
            return Fault(at, kind, round(rng.uniform(2, 20), 1)), 0
        case "block":
            value = round(rng.choice((rng.uniform(1, 9), rng.uniform(9, 60))), 1)
            return Fault(at, kind, value), value + 3
        case "replay":
            return Fault(at, kind, round(rng.uniform(0.05, 4.5), 2)), 5
        case "swallow":
            value = round(rng.uniform(0.3, 4), 1)
            return Fault(at, kind, value), value + 3
        case "mute":
            return Fault(at, kind, round(rng.uniform(15, 25), 1)), 30
        case "pause":
            return Fault(at, kind, round(rng.uniform(0.3, 25), 1)), 0
        case _:
            return Fault(at, kind), 2


class Injector:
    """Carries out the faults of a plan.

    Attributes:
        pauses: When the session was paused, on the loop's clock: (from, to).
        back: When the network was last there again.
        done: What was done, and when.
    """

    def __init__(self, network: Network, session: Any) -> None:
        self.network = network
        self.session = session
        self._flux = isinstance(session.options, FluxOptions)
        self.pauses: list[list[float]] = []
        self.outages: list[list[float]] = []
        self.done: list[tuple[float, str]] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self._loop = network.loop
        self._timers: list[asyncio.TimerHandle] = []
        self._resumes = 0

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        start = self._loop.time()
        for fault in faults:
            self._at(start + fault.at, lambda fault=fault: self.do(fault))

    def cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def do(self, fault: Fault) -> None:
        """Carry out a fault now, or as soon as there is a connection for it."""
        network, socket = self.network, self.network.socket
        if not network.sockets and fault.kind not in ("latency", "slow"):
            self._later(0.7, lambda: self.do(fault))  # A server that was never reached is given up soon.
            return
        if fault.kind in ("latency", "slow", "block", "pause", "finalize", "apply"):
            getattr(self, f"_{fault.kind}")(fault)
        elif fault.kind == "down" and not (socket and self._fragile(socket)):
            self._down(fault)
        elif (
            socket is None
            or self._fragile(socket)
            or (socket.lost and fault.kind in _SILENT)
            or (fault.kind in ("mute", "storm") and not any(one.finals for one in network.sockets))
        ):
            self._later(0.7, lambda: self.do(fault))
            return
        else:
            self._to_socket(fault, socket)
        self.done.append((self._loop.time(), fault.kind))
        network.log(8, len(self.done), int(fault.value * 1000))

    def _to_socket(self, fault: Fault, socket: MemorySocket) -> None:
        match fault.kind:
            case "reset":
                socket.reset()
            case "close":
                socket.server_closes(int(fault.value), "as the simulation wants it")
            case "blackhole":
                socket.blackhole()
            case "hold":
                if fault.value:
                    socket.hold()
                    self._later(fault.value, lambda: socket.release() if not socket.dead else None)
                else:
                    socket.hold_for_ever()
            case "refuse":
                self.network.answers.extend(fault.answers)
                socket.reset()
            case "stall":
                socket.hold(down=True)
                self._later(fault.value, lambda: socket.release() if not socket.dead else None)
            case "replay":
                socket.reset()

                def again(next_socket: MemorySocket) -> None:
                    self.network.on_open.remove(again)
                    self._later(fault.value, lambda: self.do(replace(fault, kind="reset")))

                self.network.on_open.append(again)
            case "storm":
                left = list(fault.answers)

                def close(one: MemorySocket) -> None:
                    code, _, reason = left.pop(0).partition(" ")
                    if not left:
                        self.network.on_open.remove(opened)
                    # After CloseStream a 1000 is no fault: it says that all was heard.
                    if one.open and not (code == "1000" and self.session.state.value == "closing"):
                        one.reset() if code == "1006" else one.server_closes(int(code), reason)

                def opened(one: MemorySocket) -> None:
                    self._later(fault.value, lambda: close(one) if left else None)

                self.network.on_open.append(opened)
                socket.reset()
            case "mute":
                socket.mute()
                if self._flux:
                    # Nothing tells that it says nothing more: the client has to notice.
                    socket.fail("mute")
                    return
                why = "NET-0000: no text for too long"
                self._later(fault.value, lambda: socket.server_closes(1011, why) if socket.open else None)
            case "swallow":
                socket.swallow()
                self._later(fault.value, socket.reset)
            case _:
                raise AssertionError(fault.kind)

    def _down(self, fault: Fault) -> None:
        network = self.network
        how = network.down = fault.answers[0]
        if network.socket:
            if how == "silent":
                network.socket.blackhole()
            else:
                network.socket.reset()
        outage = [self._loop.time(), float("inf")]
        self.outages.append(outage)

        def back() -> None:
            network.down = None
            outage[1] = self._loop.time()

        self._later(fault.value, back)

    def _latency(self, fault: Fault) -> None:
        self.network.latency = fault.value

    def _slow(self, fault: Fault) -> None:
        def set_to(seconds: float) -> None:
            self.network.slow = seconds
            if self.network.socket:
                self.network.socket.core.slow = seconds
                self.network.socket.slowed = True

        set_to(4.0)
        self._later(fault.value, lambda: set_to(0.0))

    def _block(self, fault: Fault) -> None:
        self._loop.block(fault.value)

    def _pause(self, fault: Fault) -> None:
        self.session.pause()
        if not self.session.paused:
            return
        pause = [self._loop.time(), float("inf")]
        self.pauses.append(pause)
        self._resumes += 1
        number = self._resumes

        def resume() -> None:
            if self._resumes == number:
                self.session.resume()
                for one in self.pauses:
                    one[1] = min(one[1], self._loop.time())

        self._later(fault.value, resume)

    def _finalize(self, fault: Fault) -> None:
        if self.session.state.value == "open":
            task = self._loop.create_task(self.session.finalize(), name="sim: finalize")
            self.tasks.add(task)

    def _apply(self, fault: Fault) -> None:
        if self.session.state.value != "open" or self._fragile(self.network.sockets[-1]):
            self._later(0.7, lambda: self.do(fault))
            return
        if self._flux:
            timeout = 5000 + len(self.done)
            options = replace(self.session.options, eot_timeout_ms=timeout)
            self.network.also.add(f"eot_timeout_ms={timeout}")
            self.tasks.add(self._loop.create_task(self.session.apply(options), name="sim: apply"))
            return
        self.network.planned.add(len(self.network.attempts))
        options = replace(self.session.options, smart_format=True)
        self.network.also.add("smart_format=true")
        self.tasks.add(self._loop.create_task(self.session.apply(options), name="sim: apply"))

    def _fragile(self, socket: MemorySocket) -> bool:
        """Whether one more short connection would end the session: three in a row without a final do."""
        if socket.finals or self._loop.time() - socket.opened >= 5.5:
            return False
        short = 0
        for before in reversed(self.network.sockets[:-1]):
            if (before.noticed or 0.0) - before.opened < 5.5:
                short += 1
            if before.finals:
                break
        return short >= 2

    def _at(self, when: float, act: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_at(when, act))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._at(self._loop.time() + seconds, act)

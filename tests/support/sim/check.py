"""The oracle: checks a run against its invariants. It compares the source with the transcript."""

from __future__ import annotations

import bisect
from collections import Counter
from typing import TYPE_CHECKING, Any

import dgnb

from .audio import BLOCK, BLOCK_SECONDS, BYTES_PER_SECOND, block
from .faults import Plan
from .network import MemorySocket, Network

if TYPE_CHECKING:
    from .run import Outcome

__all__ = ["LIMITS", "Books", "check", "compare"]

LIMITS = {
    "INV3 words lost, doubled, unexpected": 0.0,
    "INV4 time error (s)": 0.020,
    "INV7 pace over 5 s (x real time)": 1.25,
    "INV8 silence on the wire (s)": 5.0,
    "INV10 tries in the first minute": 8.0,
    "INV10 tries in 10 s, later (average)": 1.0,
    "INV11 reset noticed (s)": 1.0,
    "INV11 dead line noticed (s)": 15.0,
    "INV12 final after reopening (s)": 3.0,
    "INV12 tried again after the network is back (s)": 22.5,  # a handshake that hangs 10 s, and a backoff of 12
    "INV13 stop (s)": 5.0,
    "INV20 audit (s)": 0.0001,
    "INV22 word in the recording (s)": 0.020,
}
_EDGE = 1e-6
_KEPT = 59 * BYTES_PER_SECOND
"""Half of the 120 s that are kept may be dropped at once."""


class Books:
    """Keeps an account of its own of every step of the ledger.

    Attributes:
        violations: Where the two differ, or the ledger breaks one of its rules.
        acknowledged: Bytes that finals cover.
        audio: What was captured.
        steps: How many there were.
    """

    def __init__(self, plan: Plan) -> None:
        self.violations: list[str] = []
        self.acknowledged = 0
        self.audio = bytearray()
        self.steps = 0
        self.ledger: Any = None
        self.begins: list[tuple[int, int]] = []
        self.given_up: list[float] = []
        """When the session gave up each connection but the last."""
        self._plan = plan
        self._network: Network
        # Skipped audio of a live source is not on the timeline.
        self._exact = not (plan.live and any(fault.kind == "pause" for fault in plan.faults))

    def watch(self, network: Network) -> None:
        self._network = network
        network.on_first_audio = self._first_audio

    def ledger_class(self, base: Any) -> Any:
        """The real `Ledger`, with this account beside it."""
        books = self

        class Kept(base):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                books.ledger = self

            def capture(self, chunk: bytes) -> None:
                before, gaps, mark = self.captured, len(self.gaps), self.acknowledged
                super().capture(chunk)
                books.audio += chunk
                books.heard(self, mark)
                books.step(self, self.captured == before + len(chunk), "capture")
                if len(self.gaps) != gaps and not books._plan.capped:
                    books.say(f"INV3 audio was dropped: {self.gaps[gaps:]}")
                if self.gaps and self.gaps[-1].end == self.kept and self.captured - self.kept < _KEPT:
                    books.say(f"INV3 more was dropped than need be: {_told(self)}")

            def begin(self) -> Any:
                mark = self.acknowledged
                given = super().begin()
                books.heard(self, mark)
                books.step(self, True, "begin")
                return given

            def advance(self, size: int) -> None:
                super().advance(size)
                if self.sent > self.captured:
                    books.say(f"INV1 sent {self.sent} of {self.captured}")

            def acknowledge(self, position: int) -> None:
                before = self.acknowledged
                super().acknowledge(position)
                books.heard(self, before)
                books.step(self, before <= self.acknowledged <= self.sent, "acknowledge")

            def settle(self, *args: Any) -> None:
                before = self.acknowledged
                super().settle(*args)
                books.heard(self, before)
                books.step(self, self.acknowledged == self.sent, "settle")

            def rewind(self, *args: Any) -> None:
                before = self.acknowledged
                super().rewind(*args)
                books.given_up.append(books._network.loop.time())
                books.heard(self, before)
                books.step(self, self.sent == self.acknowledged >= before, "rewind")

            def close(self, *args: Any) -> None:
                before = self.acknowledged
                super().close(*args)
                books.heard(self, before)
                books.step(self, self.pending == 0, "close")

            def give_back(self) -> None:
                super().give_back()
                del books.audio[self.captured :]

        return Kept

    def say(self, what: str) -> None:
        if len(self.violations) < 10:
            self.violations.append(what)

    def heard(self, ledger: Any, before: int) -> None:
        """Count the audio between the old mark and the new one as heard, except for the gaps in it."""
        after = ledger.acknowledged
        if after < before:
            self.say(f"INV6 acknowledged moved back from {before} to {after}")
        lost = sum(max(0, min(gap.end, after) - max(gap.start, before)) for gap in ledger.gaps)
        self.acknowledged += after - before - lost

    def step(self, ledger: Any, right: bool, what: str) -> None:
        """Check that captured = acknowledged + pending + lost, without overlap."""
        self.steps += 1
        lost = 0
        if ledger.gaps:
            lost = sum(gap.end - gap.start for gap in ledger.gaps)
            ends = [edge for gap in ledger.gaps for edge in (gap.start, gap.end)]
            if ends != sorted(ends) or ends[0] < 0 or ends[-1] > ledger.captured:
                self.say(f"INV1 gaps overlap or lie outside after {what}: {ledger.gaps}")
        if not right:
            self.say(f"INV1 wrong after {what}: {_told(ledger)}")
        if ledger.captured != self.acknowledged + ledger.pending + lost or ledger.pending < 0:
            self.say(f"INV1 {ledger.captured} is not {self.acknowledged} + {ledger.pending} + {lost} after {what}")
        if not ledger.torn and ledger.kept > max(ledger.acknowledged, ledger.sent):
            self.say(f"INV1 what is pending is not kept after {what}: {_told(ledger)}")

    def _first_audio(self, socket: MemorySocket, data: bytes) -> None:
        """Check that each connection begins exactly where the last final ended."""
        ledger = self.ledger
        start = ledger.sent - len(data)
        self.begins.append((socket.number, start))
        if start != ledger.acknowledged:
            self.say(f"INV6 connection {socket.number} begins at {start}, and acknowledged is {ledger.acknowledged}")
        if self._exact and data != self.said(start, len(data)):
            self.say(f"INV6 connection {socket.number} begins with other audio than that of {start}")

    def said(self, start: int, size: int) -> bytes:
        """The audio of a source."""
        first = start // BLOCK
        words = self._plan.words[first : (start + size) // BLOCK + 1]
        return b"".join(block(word) for word in words)[start - first * BLOCK :][:size]


def _told(ledger: Any) -> str:
    return (
        f"captured {ledger.captured}, acknowledged {ledger.acknowledged}, sent {ledger.sent}, kept {ledger.kept}, "
        f"pending {ledger.pending}, gaps {ledger.gaps}"
    )


def compare(
    said: tuple[int, ...],
    captured: float,
    rows: list[tuple[int, float, float]],
    gaps: list[tuple[float, float]],
    pauses: list[tuple[float, float]] | None = None,
    given: float | None = None,
    cuts: list[float] | None = None,
) -> tuple[list[str], dict[str, float]]:
    """Compare the words of the source with the rows of the table.

    Args:
        said: The words of the source, in order; 0 for silence.
        captured: Seconds of the source that were taken.
        rows: The table: word, start, end.
        gaps: What the session says that it lost, in seconds.
        pauses: Stretches of a live source, in seconds of the source, in which it was not listened to.
        cuts: Where, on the timeline, one connection was ended for the next one to begin with other options: a word that
            lies across is whole on neither.
        given: Seconds that came out of the source, where that is more than was captured.
    """
    wrong: list[str] = []
    pauses = pauses or []
    truth = {word: index * BLOCK_SECONDS for index, word in enumerate(said) if word}
    written = Counter(word for word, _, _ in rows)
    unexpected = [word for word in written if word not in truth]
    doubled = [word for word, times in written.items() if times > 1]
    # Seconds of a live source that fell into pauses take no time on the timeline.
    shift, error, skips = 0.0, 0.0, [0.0]
    last = -1.0
    previous = -1.0
    for word, start, end in rows:
        if start < last - _EDGE:
            wrong.append(f"INV5 w{word} starts at {start:.3f} s, after a word at {last:.3f} s")
        if end < start or start < -_EDGE or end > captured + _EDGE:
            wrong.append(f"INV5 w{word} from {start:.3f} to {end:.3f} s; {captured:.3f} s were captured")
        last = start
        if word in truth:
            off = truth[word] - start - shift
            if off > 0.02 and any(a < truth[word] and b > previous for a, b in pauses):
                shift += off
                skips.append(shift)
                off = 0.0
            if abs(off) > 0.02 and len(wrong) < 20:
                wrong.append(f"INV4 w{word} at {start:.3f} s is off by {off:.3f} s")
            error = max(error, abs(off))
            previous = truth[word]
    given = captured if given is None else given
    skips.append(given - captured)
    lost = []
    for word, at in truth.items():
        if word in written:
            continue
        if at + BLOCK_SECONDS > given + _EDGE:
            continue
        if any(a < at + BLOCK_SECONDS + _EDGE and b > at - _EDGE for a, b in pauses):
            continue
        if any(a < at - skip + BLOCK_SECONDS and b > at - skip for skip in skips for a, b in gaps):
            continue
        if any(at - skip < cut < at - skip + BLOCK_SECONDS for skip in skips for cut in cuts or ()):
            continue
        lost.append(word)
    for what, which in (("lost", lost), ("doubled", doubled), ("unexpected", unexpected)):
        if which:
            wrong.append(f"INV3 {what}: {', '.join(f'w{word}' for word in which[:8])} ({len(which)} in all)")
    figures = {
        "INV3 words lost, doubled, unexpected": float(len(lost) + len(doubled) + len(unexpected)),
        "INV4 time error (s)": error,
    }
    return wrong, figures


def check(outcome: Outcome) -> None:
    """Check everything; the results are the outcome's violations and figures."""
    plan, network, session, books = outcome.plan, outcome.network, outcome.session, outcome.books
    wrong = outcome.violations
    wrong += network.violations
    wrong += books.violations
    ledger = books.ledger
    if ledger is None:
        return
    captured = ledger.captured / BYTES_PER_SECOND
    _transcript(outcome, captured)
    _errors(outcome)
    _wire(outcome)
    _tries(outcome)
    _detection(outcome)
    _recovery(outcome)
    figures = outcome.figures
    if outcome.stop_took is not None:
        figures["INV13 stop (s)"] = outcome.stop_took - outcome.stop_lagged
    for name, limit in LIMITS.items():
        if figures.get(name, 0.0) > limit + _EDGE and not any(what.startswith(name.split()[0]) for what in wrong):
            wrong.append(f"{name}: {figures[name]:.3f}, at most {limit:g}")
    if session.state.value != "closed":
        wrong.append(f"INV13 it ended {session.state.value}")
    if plan.stop_at is None and session.error is None:
        whole = len(plan.words) * BLOCK
        if plan.duration is not None:
            whole = min(whole, round(plan.duration * 16_000) * 2)
        if plan.live and outcome.injector.pauses:
            whole = min(whole, ledger.captured)
        if ledger.captured != whole:
            wrong.append(f"INV2 {ledger.captured} bytes of {whole} were captured")


def _transcript(outcome: Outcome, captured: float) -> None:
    plan, session, ledger = outcome.plan, outcome.session, outcome.books.ledger
    wrong = outcome.violations
    table = session.transcript.words
    rows = [
        (int(word[1:]), start, end)
        for word, start, end in zip(table["word"], table["start"].tolist(), table["end"].tolist(), strict=True)
    ]
    if plan.manner == "shuffled":
        rows.sort(key=lambda row: row[1])
    shown = session.transcript.gaps
    gaps = list(zip(shown["start"].tolist(), shown["end"].tolist(), strict=True))
    pauses = []
    if plan.live:
        began = outcome.source.started
        # The skipped audio is what the source gives meanwhile, with its lag and a chunk as tolerance.
        lag = sum(b - a for a, b in outcome.loop.blocked)
        pauses = [
            (a - began - lag - 3 * plan.chunk, min(b, outcome.ended) - began + 2 * plan.chunk)
            for a, b in outcome.injector.pauses
        ]
    cuts = [
        start / BYTES_PER_SECOND
        for number, start in outcome.books.begins
        # A word that is astride two finals is whole on neither of two connections.
        if number and (outcome.network.sockets[number - 1].ended_well or plan.manner == "astride")
    ]
    given = outcome.source.given / BYTES_PER_SECOND if pauses and plan.duration is None else None
    if plan.flux:
        turns = session.transcript.turns
        if " ".join(turns["transcript"]).split() != list(table["word"]):
            wrong.append(f"INV3 the turns hold {' '.join(turns['transcript'])!r}")
    more, figures = compare(plan.words, captured, rows, gaps, pauses, given, cuts)
    outcome.figures.update(figures)
    wrong += more
    if any(b > a for a, b in gaps) and plan.stop_at is None and session.error is None and not plan.capped:
        wrong.append(f"INV3 gaps although nothing need be lost: {gaps[:5]}")
    told = [(a, b) for a, b in gaps if b > a]
    lost = [(gap.start / BYTES_PER_SECOND, gap.end / BYTES_PER_SECOND) for gap in ledger.gaps]
    if told != lost:
        wrong.append(f"INV2 transcript.gaps {told[:5]} are not the ledger's {lost[:5]}")
    total = sum(gap.end - gap.start for gap in ledger.gaps)
    at_stop = outcome.stop_well
    if plan.local and total and at_stop and not (at_stop.lost or at_stop.slowed or outcome.loop.blocked or plan.capped):
        wrong.append(f"INV2 a stop left {total} bytes unsent, though the server takes all at once: {gaps}")
    # Audio that was captured for a server that was never reached does not count as lost.
    if total != ledger.captured - outcome.books.acknowledged and outcome.network.connections:
        wrong.append(f"INV2 gaps of {total} bytes, {ledger.captured - outcome.books.acknowledged} not heard")


def _errors(outcome: Outcome) -> None:
    session, plan = outcome.session, outcome.plan
    errors = [event for event in session.transcript._notes if event.type == "error"][outcome.retried :]
    if session.error is None:
        if errors or outcome.logged:
            outcome.violations.append(f"INV14 no error, but {len(errors)} rows and in the log {outcome.logged}")
        return
    if not isinstance(session.error, dgnb.DgnbError):
        outcome.violations.append(f"INV14 not a DgnbError: {session.error!r}")
    if len(errors) != 1:
        outcome.violations.append(f"INV14 {len(errors)} error rows for {session.error!r}")
    told = len(outcome.logged) + (outcome.raised is not None)
    if told != 1:
        outcome.violations.append(f"INV14 told {told} times: {outcome.logged}, raised {outcome.raised!r}")
    if plan.stop_at is None and not plan.fatal:
        outcome.violations.append(f"INV3 it gave up: {session.error}")


def _wire(outcome: Outcome) -> None:
    network, figures = outcome.network, outcome.figures
    for socket in network.sockets:
        for violation in socket.core.violations:
            if not (violation.startswith("NET-0001") and socket.excused):
                outcome.violations.append(f"INV9 connection {socket.number}: {violation}")
    figures["INV7 pace over 5 s (x real time)"] = max((s.meter.worst for s in network.sockets), default=0.0)
    # Pings, which websockets sends, are enough for /v2/listen.
    silences = [] if outcome.plan.flux else [s.silence for s in network.sockets]
    figures["INV8 silence on the wire (s)"] = max(silences, default=0.0)
    worst = 0.0
    for connection in network.connections:
        socket = connection._socket
        if socket.core.metadata and socket.lost is None and connection.stream_closed:
            worst = max(worst, abs(socket.core.metadata["duration"] - connection.bytes_sent / BYTES_PER_SECOND))
    figures["INV20 audit (s)"] = worst


def _tries(outcome: Outcome) -> None:
    """Count the tries from one loss to the next final."""
    network, figures = outcome.network, outcome.figures
    if outcome.retried:
        # Each retry() begins the count anew.
        return
    finals = sorted(at for socket in network.sockets for at in socket.final_times[:1])
    first, later = 0, 0.0
    # A Retry-After of the server overrides our own limits.
    wished = ["+" in how for _, how in network.attempts]
    tries = [
        at
        for number, ((at, _), wish) in enumerate(zip(network.attempts[1:], wished, strict=False), 1)
        if not wish and number not in network.planned
    ]
    at = 0
    while at < len(tries):
        begin = tries[at]
        until = finals[i] if (i := bisect.bisect_left(finals, begin)) < len(finals) else float("inf")
        here = [one for one in tries[at:] if one <= until]
        # After a long connection, or a cell that blocked for long, the count begins again.
        here = here[: next((i for i in range(1, len(here)) if here[i] - here[i - 1] > 40), len(here))]
        first = max(first, sum(one < begin + 59.99 for one in here))
        # A server of Flux that says nothing is left after some seconds, and tried again at once: two are no average.
        if len(late := [one for one in here if one >= begin + 59.99]) > 1 + outcome.plan.flux:
            later = max(later, (len(late) - 1) * 10 / (late[-1] - late[0]))
        at += len(here)
    figures["INV10 tries in the first minute"] = float(first)
    figures["INV10 tries in 10 s, later (average)"] = later


def _detection(outcome: Outcome) -> None:
    """Measure the time from a fault until the session gives up that connection."""
    worst = {"reset": 0.0, "dead line": 0.0}
    if outcome.retried:
        return
    # A server that did not greet was never given audio.
    sockets = [connection._socket for connection in outcome.network.connections]
    for socket, until in zip(sockets, outcome.books.given_up, strict=False):
        if socket.lost is None:
            continue
        at, how = socket.lost
        # That a server says nothing more is noticed by the audio that it does not answer.
        idle = outcome.injector.pauses if how == "mute" else []
        if any(a < until and b > at - 1 for a, b in (*outcome.loop.blocked, *idle)):
            continue
        if how == "held":
            # What the server had heard before still comes.
            at = max(at, socket.heard_at)
        kind = (
            "dead line" if how in ("blackhole", "held", "swallow", "mute", "close on a line that stands") else "reset"
        )
        worst[kind] = max(worst[kind], until - at)
    for kind, seconds in worst.items():
        outcome.figures[f"INV11 {kind} noticed (s)"] = seconds


def _recovery(outcome: Outcome) -> None:
    """Measure the time to the first final, less its own length, and to a connection once the network is back."""
    network, worst = outcome.network, 0.0
    for socket in network.sockets[1:]:
        if socket.final_times and not socket.slowed and not outcome.loop.blocked and not outcome.injector.pauses:
            took = socket.final_times[0] - socket.opened - socket.first_final / 1.2 - 4 * network.latency
            outcome.recoveries.append(took)
            worst = max(worst, took)
    outcome.figures["INV12 final after reopening (s)"] = worst
    back = 0.0
    if not outcome.loop.blocked and not outcome.injector.pauses:
        for _, until in outcome.injector.outages:
            since = max([until, *(s.noticed for s in network.sockets if s.opened < until and s.noticed)])
            if tries := [at for at, _ in network.attempts if at > until]:
                back = max(back, tries[0] - since)
    outcome.figures["INV12 tried again after the network is back (s)"] = back

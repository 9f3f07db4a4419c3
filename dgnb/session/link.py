"""`Link`: one connection while it is used: send, receive, drain. It is made anew for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec import structs

from dgnb.audio.gate import Gate
from dgnb.connection import Connection
from dgnb.connection.errors import find_rule
from dgnb.exceptions import CloseTimeout, ConnectionLost, GaveUp, ProtocolError
from dgnb.messages import Metadata, Results, TurnInfo
from dgnb.session.budget import Budget
from dgnb.session.capture import Capture
from dgnb.session.heard import UNHEARD, Heard
from dgnb.session.stop import Stop
from dgnb.transcript import Transcript
from dgnb.transcript.turns import UNFINISHED, heard_in

_SILENT: Final = 14.0  # s of audio, and of time, of which nothing is heard, after which a server is given up.
_STALLED: Final = 5.0  # The same for turns, which are told each quarter of a second.
_SETTLE: Final = 2.0  # s without a message after which no more of a turn is expected.
_TOLD: Final = 0.35  # s of the newest audio that may be heard and not told yet,
_UNTOLD: Final = 1.0  # and that the last message before the close may leave out.
READ: Final = 0.1  # s in which what has come is read, before anything counts as late.
_AUDIT: Final = 0.1  # s by which the audio that the server reports may differ from the audio that was sent.


@dataclasses.dataclass(eq=False)
class Link:
    """Sends audio on one connection, and puts the messages into the transcript."""

    connection: Connection
    number: int
    capture: Capture
    transcript: Transcript
    stop: Stop
    budget: Budget
    drain_timeout: float
    elsewhere: bool  # results go to a callback address, so that no message shows what was heard
    watched: bool  # for a server that takes audio and hears no more of it, though it answers pings
    answers_silence: bool  # it is known to send empty finals where nobody speaks, and given up without
    notify: Callable[[], None]
    progress: Callable[[], None]  # finals cover more audio
    draining: Callable[[], None]
    heard: Heard = dataclasses.field(default_factory=Heard)

    def __post_init__(self) -> None:
        self.heard.begin = self.capture.ledger.begin()
        self.transcript.cursor = self.capture.audio_cursor
        # What an earlier connection was sent, too, was silent there.
        sent = self.heard.begin if self.connection.turns else max(self.heard.begin, self.capture.ledger.reached)
        self._heard_at = self.connection.opened_at
        self._moved = sent, self._heard_at  # how much was sent when more was heard, and when that was
        self._spoke = False
        self._changing = False
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """A stop was asked for, or something else has changed: look again whether to go on."""
        self._woken.set()

    def change_options(self, wanted: bool) -> None:
        """End the connection as soon as that costs no audio, because other options are wanted; or go on after all."""
        self._changing = wanted
        self.wake()

    async def run(self) -> bool:
        """Use the connection for as long as it lasts, and say whether it was the last one. Cancelling leaves it open.

        It raises `ConnectionLost` when it ended too early, and `CloseTimeout` when the server did not finish in time.
        """
        ledger = self.capture.ledger
        receiver, sender = self._begun(self._receive(), "receive"), self._begun(self._send(), "send")
        try:
            # A change waits for the end of the turn, and for finals of the audio that could not be sent again.
            await self._until(
                lambda: (
                    receiver.done()
                    or sender.done()
                    or self.stop.asked
                    or (self._changing and ledger.kept <= ledger.acknowledged and not self.heard.turn)
                )
            )
            if self.stop.asked and not (receiver.done() or sender.done()):
                # What was captured is still wanted, if there is time: neither a pause nor a pace holds it back.
                await end(sender)
                sender = self._begun(self._send(), "send")
                await self._until(lambda: receiver.done() or sender.done(), lambda: self.stop.replay_deadline)
            all_sent, torn = sender.done() and not ledger.torn, ledger.torn
            await self._end_sending(sender, receiver)
            last = self.stop.asked or (all_sent and not self._changing)
            if not last and not receiver.done() and not torn and ledger.kept <= ledger.acknowledged:
                # Cut where the last final ended: a word across another cut would be whole on neither connection.
                return False
            try:
                await self._drain(receiver)
            except CloseTimeout as error:
                if last and self.capture.pending <= UNHEARD and not self.elsewhere:
                    self.transcript.note("warning", "All was heard, but the server did not say that it had finished.")
                elif last or self.stop.asked:
                    raise
                else:
                    raise ConnectionLost(str(error)) from None
            slack = _UNTOLD if self.connection.turns else UNHEARD
            ledger.settle(round(slack * self.capture.bytes_per_second), "no final came")
        finally:
            await end(receiver, sender)
        return last

    async def _end_sending(self, sender: asyncio.Task[None], receiver: asyncio.Task[None]) -> None:
        await end(sender)
        if not sender.cancelled() and (failed := sender.exception()):
            if isinstance(failed, ConnectionLost):
                # The receiver's error says more.
                await asyncio.wait({receiver}, timeout=1.0)
            if not receiver.done() or not isinstance(failed, ConnectionLost):
                raise failed

    async def _drain(self, receiver: asyncio.Task[None]) -> None:
        if not receiver.done():
            self.draining()
            self._heard_at = asyncio.get_running_loop().time()
            # A loss is the receiver's to report, and a server that takes no more is given up below.
            with contextlib.suppress(ConnectionLost, TimeoutError):
                await self._end_turn(receiver.done)
                async with asyncio.timeout_at(self.stop.drain_deadline(self._heard_at, self.drain_timeout)):
                    await self.connection.close_stream()
        if not await self._until(receiver.done, lambda: self.stop.drain_deadline(self._heard_at, self.drain_timeout)):
            self.connection.abort()
            said = f" The server said {self.connection.said!r}." if self.connection.said else ""
            said += self.connection.answers.foreign
            raise CloseTimeout(
                "The server did not finish in time after CloseStream. What had arrived is kept, and the rest "
                f"stands in transcript.gaps. A slow server wants a larger close_timeout.{said}"
            )
        receiver.result()
        self.keep_turn()
        self.heard.close_holes()
        if self.connection.turns:
            self.heard.reach(self.heard.window)
        self._acknowledge()

    async def _end_turn(self, enough: Callable[[], bool]) -> None:
        """Have the turn ended that is open, when what was sent is heard: the rest of it would be another turn."""
        if not self.connection.turns:
            return

        def settled() -> bool:
            unheard = self.capture.seconds(self.capture.ledger.sent - self.heard.begin) - self.heard.window
            return enough() or unheard < _TOLD

        patience = min(_SETTLE, self.drain_timeout)
        await self._until(settled, lambda: min(self._heard_at + patience, self.stop.replay_deadline))
        if self.heard.turn and not enough():
            with contextlib.suppress(TimeoutError):
                now = asyncio.get_running_loop().time()
                async with asyncio.timeout_at(self.stop.drain_deadline(now, patience)):
                    await self.connection.finalize()

    def keep_turn(self) -> None:
        """Make the turn that is open a final, as no more of it will come."""
        if turn := self.heard.turn:
            offset = self.capture.seconds(self.heard.begin)
            ended = structs.replace(turn, event="EndOfTurn", trigger=UNFINISHED)
            self.transcript.feed(ended, offset=offset, audio_cursor=self.transcript.cursor, connection=self.number)
            text = "The connection ended before the turn did: what was heard of it is kept."
            self.transcript.note("turn_unfinished", text, start=offset + turn.audio_window_end)
            # A word may have begun after the last one.
            words, self.heard.turn = getattr(heard_in(ended), "words", ()), None
            self.heard.reach(words[-1].end if words else turn.audio_window_end)
            # After a loss the ledger stands where the turn began.
            ledger = self.capture.ledger
            heard = self.heard.begin + round(self.heard.end * self.capture.bytes_per_second)
            ledger.advance(max(0, min(heard, ledger.reached) - ledger.sent))
            self._acknowledge()

    async def _until(self, true: Callable[[], bool], deadline: Callable[[], float] = lambda: math.inf) -> bool:
        """Wait until `true()`. Returns False at the deadline, which may move."""
        clock = asyncio.get_running_loop().time
        while not true():
            if clock() >= (at := deadline()):
                # After the process was frozen, or its loop held up, timers run before the messages in the socket.
                await asyncio.sleep(READ)
                if true() or clock() < deadline():
                    continue
                return False
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if at == math.inf else at):
                    await self._woken.wait()
        return True

    def _begun(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"dgnb: {name}")
        task.add_done_callback(lambda _: self.wake())
        return task

    async def _send(self) -> None:
        """Send what the ledger has, until the source has ended, or the connection is torn."""
        capture, connection, ledger = self.capture, self.connection, self.capture.ledger
        least = ledger.chunk if connection.turns else 1
        while not ledger.torn:
            chunk = ledger.peek()
            if capture.ended and not chunk:
                return
            # A server closes a connection that gets no audio within 10 s of its opening, even in a pause.
            holds = connection.bytes_sent > 0 and not self.stop.asked
            if capture.paused and holds:
                await self._end_turn(capture.resumed.is_set)
                await capture.resumed.wait()
                continue
            if len(chunk) < least and not capture.ended:
                await capture.more()
                continue
            if ledger.gate and connection.bytes_sent and await self._left_out(ledger.gate, chunk):
                continue
            await capture.pacer.wait(capture.seconds(len(chunk)))
            if (capture.paused and holds) or ledger.torn:
                continue
            if not self.budget.pays(len(chunk)):
                capture.end(at_once=False)
                return
            # Before the wait: a frame that is written is not taken back when the wait for room is cancelled.
            capture.send(chunk)
            if self.elsewhere:
                ledger.acknowledge(ledger.sent)
            await connection.send(chunk)
            if self.watched:
                self._check_silence()

    async def _left_out(self, gate: Gate, chunk: bytes) -> bool:
        """Whether audio is silence that is not sent: KeepAlive takes its place, and what was said becomes final."""
        capture, ledger, cuts = self.capture, self.capture.ledger, self.heard.cuts
        skips = gate.skips(ledger.sent, len(chunk), capture.ended)
        if skips is None:
            await capture.more()
        if not skips:
            return skips is None
        seconds = capture.seconds(len(chunk))
        capture.send(chunk)
        gate.left_out += seconds
        self._moved = self._moved[0] + len(chunk), self._moved[1]
        if cuts.skip(capture.seconds(self.connection.bytes_sent), seconds):
            await self.connection.finalize()
        # Speech before it waits for its final: a lost connection may still take that away.
        if gate.silent(ledger.acknowledged, ledger.sent):
            ledger.acknowledge(ledger.sent)
        # A file is left out as fast as it is read.
        await asyncio.sleep(0)
        return True

    def _check_silence(self) -> None:
        (sent, at), turns = self._moved, self.connection.turns
        unanswered = self.capture.seconds(self.capture.ledger.sent - sent)
        # A server may take its time until it says anything.
        limit = _STALLED if turns and self.heard.window else _SILENT
        if min(unanswered, asyncio.get_running_loop().time() - at) < limit:
            return
        if self.answers_silence or turns:
            self.connection.give_up(GaveUp.SILENT)
        elif not self._spoke:
            self._spoke = True
            text = f"{unanswered:.0f} s were sent, and the server has said nothing yet. If somebody speaks there:"
            self.transcript.note("warning", f"{text} {find_rule(0, gave_up=GaveUp.SILENT).twice}")

    async def _receive(self) -> None:
        connection, capture, notify, number = self.connection, self.capture, self.notify, self.number
        clock, feed, next_message = asyncio.get_running_loop().time, self.transcript.feed, connection.__anext__
        rate = capture.bytes_per_second
        offset, told = self.heard.begin / rate, ""
        while True:
            try:
                message = await next_message()
            except StopAsyncIteration:
                return
            except ProtocolError as error:
                if str(error) != told:
                    told = str(error)
                    self.transcript.note("warning", told)
                continue
            self._heard_at, self._spoke = clock(), True
            placed, shift, sent = message, 0.0, connection.bytes_sent / rate
            if self.heard.cuts:
                (placed, shift), sent = self.heard.cuts.placed(message), sent + self.heard.cuts.before(sent)
            feed(placed, offset=offset + shift, audio_cursor=offset + sent, connection=number)
            if isinstance(message, Results | TurnInfo):
                self._take(message)
            elif isinstance(message, Metadata) and connection.stream_closed:
                self._audit(message)
                notify()
                return
            notify()

    def _take(self, message: Results | TurnInfo) -> None:
        window = self.heard.window
        final = message.is_final if isinstance(message, Results) else message.event == "EndOfTurn"
        if self.heard.take(message) and final:
            self.progress()
        if self.heard.window > window or final:
            self._moved = self.capture.ledger.sent, self._heard_at
        if isinstance(message, Results) and final and not (message.from_finalize or self.connection.stream_closed):
            heard = any(alternative.words or alternative.transcript for alternative in message.channel.alternatives)
            self.answers_silence = self.answers_silence or not heard
        self._acknowledge()

    def _acknowledge(self) -> None:
        self.capture.ledger.acknowledge(self._position(self.heard.end))
        if self._changing or self.connection.turns:
            self.wake()

    def _position(self, seconds: float) -> int:
        """Where a moment of the connection lies on the timeline, in bytes."""
        return self.heard.begin + round((seconds + self.heard.cuts.until(seconds)) * self.capture.bytes_per_second)

    def _audit(self, metadata: Metadata) -> None:
        sent = self.capture.seconds(self.connection.bytes_sent)
        if not self.capture.decoded or metadata.duration is None:
            return
        # All finals have come: a server that sends none for silence at the end has heard it all the same.
        self.capture.ledger.acknowledge(self._position(metadata.duration))
        if abs(metadata.duration - sent) > _AUDIT:
            text = f"{sent:.2f} s of audio were sent, the server says it received {metadata.duration:.2f} s."
            self.transcript.note("warning", text)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions count as seen."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()

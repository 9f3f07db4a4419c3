"""`Stream`: from a source, through one connection after another, into a transcript, without losing a word.

The source is captured into a ledger by one task; each connection has a task that sends from the ledger and one that
receives. When a connection is lost, the next one begins where its last final ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import enum
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from dgnb.audio import Audio, AudioSource, Pacer
from dgnb.connection import PING_TIMEOUT, Connection, connect
from dgnb.connection.errors import Again, GaveUp, may_retry
from dgnb.endpoints import Endpoint
from dgnb.exceptions import AudioError, CloseTimeout, ConnectionLost, DgnbError, HandshakeError, ProtocolError
from dgnb.messages import Metadata, Results
from dgnb.options import LiveOptions
from dgnb.session.lag import Lag
from dgnb.session.ledger import Ledger
from dgnb.session.retry import Retry
from dgnb.transcript import Transcript
from dgnb.transcript.journal import Journal

__all__ = ["BUFFER_SECONDS", "State", "Stream", "end"]

logger = logging.getLogger("dgnb")

BUFFER_SECONDS: Final = 120.0
"""Audio that is kept until a final covers it. 120 s of linear16 at 16 kHz are 3.8 MB."""

STOP_TIMEOUT: Final = 4.5
TICK: Final = 0.1
"""Seconds. A kernel's interrupt reaches a waiting cell only when the loop next wakes (ipykernel#881)."""

_UNHEARD: Final = 0.25
"""Seconds at the end that a server may leave without a final before it counts as a gap."""

_READ_AHEAD: Final = 0.2
"""Seconds that are read of a source that can wait, before what was read is sent."""

_LARGEST: Final = 0.25
"""Seconds of audio in one frame on the wire. Deepgram advises 20 to 250 ms."""

_RELEASE: Final = 0.3
"""Seconds that a source is given to let go, so that a stop takes 5 s at most."""

_REPLAY: Final = 2.0
"""Seconds after a stop in which what was sent before a loss is sent again."""

_SILENT: Final = 14.0
"""Seconds in which audio is sent, and nothing comes back, after which a line that answers pings counts as dead, too."""

_WATCH: Final = 0.25
_JOURNAL: Final = 1.0
_BUSY: Final = 1.0
_STARVED: Final = 5.0
"""Seconds that the loop was held up which explain why a connection was lost. Deepgram gives up after 10."""

_REMIND: Final = 3600.0
"""Seconds of audio after which a stream without an end is spoken of: it may have been forgotten, and costs money."""

_AUDIT: Final = 0.1
"""Seconds by which what a server says that it received may differ from what was sent."""


class State(enum.Enum):
    """A session is in one of RFC 6455's states."""

    CONNECTING = "connecting"
    """Not open yet: not started, or opening the source and the connection. Also after a connection was lost."""
    OPEN = "open"
    """Audio flows, or is paused."""
    CLOSING = "closing"
    """No more audio is sent; the server's last words are awaited."""
    CLOSED = "closed"
    """Ended, well or not. It stays so: a session is used once."""


@dataclasses.dataclass
class Change:
    """New options that wait for a connection; `answer` is for who asked for them."""

    options: LiveOptions
    answer: asyncio.Future[None]


class Stream:
    """What a session does from its start to its end, and what it knows meanwhile; `run()` is awaited once.

    Attributes:
        state: Where it stands; `told` is called after each change.
        ledger: What became of the audio; None until the source is open.
        replayable: Whether any sample may be the first that a connection is given.
        connection: The newest one.
        connections: How many there were.
    """

    def __init__(
        self,
        source: AudioSource,
        options: LiveOptions,
        endpoint: Endpoint,
        transcript: Transcript,
        *,
        told: Callable[[], None],
        duration: float | None,
        pace: float | None,
        close_timeout: float,
        patience: float,
        journal: str | None,
    ) -> None:
        self.options = options
        self.state = State.CONNECTING
        self.ledger: Ledger | None = None
        self.connection: Connection | None = None
        self.connections = 0
        self.bytes_per_second = 1.0
        self.lag: Lag | None = None
        self.stopping = asyncio.Event()
        self.stopped_at = 0.0
        self.resumed = asyncio.Event()
        self.resumed.set()
        self.skipped = 0.0
        self.change: Change | None = None
        self.newest_chunk = b""
        self.last_fault: Exception | None = None
        self._source = source
        self._endpoint = endpoint
        self._transcript = transcript
        self._told = told
        self._duration = duration
        self._pace = pace
        self._pacer = Pacer(pace)
        self._close_timeout = close_timeout
        self._retry = Retry(patience)
        self._journal_path = journal
        self._journal: Journal | None = None
        self._live = False
        self._waits = False
        self._decoded = False
        self.replayable = False
        self._ended = False
        self._reminded = False
        self._unanswered = False
        self._captured = asyncio.Event()
        self._taken = asyncio.Event()
        self._changing = asyncio.Event()
        self._heard_at = 0.0
        self._heard_to = 0
        self._longest_silence = 0.0

    # What a session asks

    @property
    def audio_cursor(self) -> float:
        """Seconds of the source's timeline that were sent."""
        return self.ledger.sent / self.bytes_per_second if self.ledger else 0.0

    @property
    def reached(self) -> float:
        """The furthest second of the source's timeline that was ever sent."""
        return self.ledger.reached / self.bytes_per_second if self.ledger else 0.0

    @property
    def pending(self) -> float:
        """Seconds of captured audio that no final covers yet."""
        return self.ledger.pending / self.bytes_per_second if self.ledger else 0.0

    @property
    def captured(self) -> float:
        """Seconds of audio that were taken from the source."""
        return self.ledger.captured / self.bytes_per_second if self.ledger else 0.0

    @property
    def longest_silence(self) -> float:
        """The longest time without a frame on an open connection, in seconds."""
        return max(self._longest_silence, self.connection.longest_silence if self.connection else 0.0)

    @property
    def paused(self) -> bool:
        """Whether audio is held back."""
        return not self.resumed.is_set()

    def pause(self) -> None:
        """Hold the audio back."""
        self.resumed.clear()

    def resume(self) -> None:
        """Let it flow."""
        self.resumed.set()
        self._pacer.restart()

    def withdraw(self, change: Change) -> None:
        """Nobody waits for this change any more; one that is under way goes on."""
        change.answer.cancel()
        if self.change is change:
            self.change = None
            self._changing.clear()

    def request(self, change: Change) -> None:
        """Open the next connection with other options, as soon as nothing is lost by that."""
        self.change = change
        self._changing.set()

    def set_state(self, state: State) -> None:
        """Enter a state, and tell whoever waits."""
        self.state = state
        self._told()

    # The course of things

    async def run(self) -> None:
        """Transcribe the source to its end, or until `stopping` is set.

        Raises:
            DgnbError: Why it ended before that. What was transcribed is in the transcript.
        """
        if self._journal_path is not None:
            self._journal = Journal(self._journal_path, self._transcript)
            if self._journal.moved:
                self._transcript.note(
                    "warning", f"The journal that was there before is now {self._journal.moved.name}."
                )
        watch = asyncio.create_task(self._watch(), name="dgnb: watch the loop")
        try:
            audio = await self._source.open(multichannel=self.options.multichannel)
            if not isinstance(audio, Audio):
                raise AudioError(f"open() of {self._source.name} gave {type(audio).__name__}, and not an Audio.")
            try:
                await self._run(audio)
            finally:
                await self._released(audio)
        finally:
            await end(watch)
            if failed := _failure(watch):
                logger.error("The watch over the loop failed", exc_info=failed)
                self._transcript.note("warning", f"The watch over the loop failed: {failed!r}")

    async def _run(self, audio: Audio) -> None:
        self._live, self._waits = audio.live, audio.waits
        self._pacer = Pacer(self._pace, live=audio.live)
        self.bytes_per_second = audio.bytes_per_second
        self._decoded = audio.encoding == "linear16"
        self.ledger = Ledger(round(BUFFER_SECONDS * audio.bytes_per_second), audio.frame_bytes or 1)
        self.replayable = audio.frame_bytes is not None
        if not self.replayable:
            # A container's header came once, at its beginning: what follows can't stand alone.
            self._retry = Retry(0)
        capture = asyncio.create_task(self._capture(audio, self.ledger), name="dgnb: capture")
        try:
            try:
                await self._transcribe(audio, self.ledger)
            except DgnbError as error:
                if not _failure(capture):
                    raise
                self._transcript.note("error", str(error))
        finally:
            cancelled = capture.cancelled()
            capture.cancel()
            # A source that does not let go must not hold up a stop; see _released().
            await asyncio.wait({capture}, timeout=_RELEASE)
        if cancelled:
            raise AudioError(f"{self._source.name} was cancelled from inside: something that it waits for was.")
        # After a source that failed, what was said before is still worth having.
        if failed := _failure(capture):
            raise failed

    async def _released(self, audio: Audio) -> None:
        """Close the source; one that takes long goes on by itself."""
        try:
            async with asyncio.timeout(_RELEASE):
                await audio.aclose()
        except TimeoutError:
            self._transcript.note("warning", f"{self._source.name} was told to close, and is not waited for.")

    async def _transcribe(self, audio: Audio, ledger: Ledger) -> None:
        lost: Exception | None = None
        while (connection := await self._connected(audio, ledger, lost)) is not None:
            lost = None
            try:
                if await self._serve(connection, ledger):
                    return
                reason = "it was sent, and no final came"
            except ConnectionLost as error:
                if self.stopping.is_set():
                    if not self._retry.patience or may_retry(error) is Again.NEVER:
                        raise
                    # A moment later it would have been a stop while reconnecting: a row in the gaps tells what it cost.
                    self._transcript.note("warning", f"While it was being stopped: {error}")
                    return
                lost, reason = error, "its connection was lost, and it was no longer kept in memory"
                self._transcript.drop_interims()
                self.set_state(State.CONNECTING)
            finally:
                self._longest_silence = max(self._longest_silence, connection.longest_silence)
                await connection.close()
            self._transcript.drop_interims()
            if self.stopping.is_set():
                return
            ledger.rewind(reason)

    async def _connected(self, audio: Audio, ledger: Ledger, lost: Exception | None) -> Connection | None:
        """The next connection; None when there is nothing left to be sent."""
        self.set_state(State.CONNECTING)
        while True:
            if lost is not None:
                if self._ended and not ledger.unsent:
                    return None
                await self._back_off(lost)
                if not await self._something_to_send(ledger):
                    return None
            change, self.change = self.change, None
            self._changing.clear()
            try:
                connection = await self._open(audio, ledger, change.options if change else self.options)
            except HandshakeError as error:
                if change is None:
                    lost = error
                    continue
                self._transcript.note(
                    "warning", f"The options were not changed: {error}", request_id=error.request_id or None
                )
                if not change.answer.done():
                    change.answer.set_exception(error)
                # A loss is waited for once; a server that refuses the old options too is another matter.
                lost = error if error.transient else None
                continue
            if change:
                self.options = change.options
                self._transcript.note("changed", f"at {self.audio_cursor:.1f} s: {change.options!r}")
                if not change.answer.done():
                    change.answer.set_result(None)
            return connection

    async def _back_off(self, lost: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self.last_fault = lost
        # A handshake that failed after a connection says nothing about how long that one lived.
        uptime = now - self.connection.opened_at if self.connection and isinstance(lost, ConnectionLost) else None
        delay = self._retry.delay(lost, now, uptime=uptime)
        busy = self.lag.since(now - uptime, now) if self.lag and uptime is not None else 0.0
        if busy >= _STARVED:
            why = (
                f"The kernel was busy for {busy:.0f} s, so that nothing could be sent or received, and the server gave "
                "up waiting. A cell that blocks does that: await what takes long, or run it in a thread."
            )
        else:
            why = str(lost)
        kind = "reconnecting" if self.connections else "connecting"
        text = f"at {self.audio_cursor:.1f} s, in {delay:.1f} s, with {self.pending:.1f} s of audio kept: {why}"
        self._transcript.note(kind, text, request_id=getattr(lost, "request_id", "") or None)
        self._told()
        await asyncio.sleep(delay)

    async def _something_to_send(self, ledger: Ledger) -> bool:
        """Wait until there is: a connection without audio is closed after 10 s, and its slot is wanted elsewhere."""
        while True:
            if self.paused and not self._live:
                await self.resumed.wait()
            if ledger.unsent:
                return True
            if self._ended:
                return False
            self._captured.clear()
            await self._captured.wait()

    async def _open(self, audio: Audio, ledger: Ledger, options: LiveOptions) -> Connection:
        connection = await connect(
            options.for_audio(audio.encoding, audio.sample_rate, audio.channels),
            endpoint=self._endpoint,
            # All was said by then; a server that does not close in turn is not waited for.
            close_timeout=1.0,
            # Unpaced audio may wait long in a server's queue, and a ping behind it.
            ping_timeout=PING_TIMEOUT if self._pace else None,
        )
        self._retry.opened()
        self.connection = connection
        self.connections += 1
        where = f"{self._endpoint}: {connection.url.split('?')[0]}"
        again = f"again at {self.audio_cursor:.1f} s, " if self.connections > 1 else ""
        self._transcript.note("opened", f"{again}{where}", request_id=connection.request_id or None)
        if self.connections == 1:
            for name in connection.ignored:
                self._transcript.note("warning", f"The server can't do {name}, and goes on without it.")
        self._tell_gaps()
        self.set_state(State.OPEN)
        return connection

    async def _serve(self, connection: Connection, ledger: Ledger) -> bool:
        """Use one connection as long as it lasts, and say whether that was all; if not, another one is to follow."""
        begin, loop = ledger.begin(), asyncio.get_running_loop()
        receiver = asyncio.create_task(self._receive(connection, ledger, begin), name="dgnb: receive")
        sender = asyncio.create_task(self._send(connection, ledger), name="dgnb: send")
        stop = asyncio.create_task(self.stopping.wait(), name="dgnb: wait for stop")
        change = asyncio.create_task(self._changing.wait(), name="dgnb: wait for a change")
        try:
            ends = {receiver, sender, stop}
            await asyncio.wait({*ends, change}, return_when=asyncio.FIRST_COMPLETED)
            while change.done() and ledger.kept > ledger.acknowledged and not any(task.done() for task in ends):
                # The change waits for finals of what could not be sent again.
                await asyncio.wait(ends, timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
            while stop.done() and ledger.sent < ledger.reached and not (receiver.done() or sender.done()):
                # What an earlier connection was given already is wanted still, as far as there is time.
                if loop.time() >= self.stopped_at + _REPLAY:
                    break
                await asyncio.wait({receiver, sender}, timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
            all_sent = sender.done() and not ledger.torn
            await end(sender)
            if not sender.cancelled() and (failed := sender.exception()):
                if not isinstance(failed, ConnectionLost):
                    raise failed
                # The receiver knows best why.
                await asyncio.wait({receiver}, timeout=1.0)
                if not receiver.done():
                    raise failed
            slack = round(_UNHEARD * self.bytes_per_second)
            last = self.stopping.is_set() or (all_sent and not self._changing.is_set())
            if not last and not receiver.done() and not ledger.torn and ledger.kept <= ledger.acknowledged:
                # Cut where the last final ended: a word that lies across another cut is whole on neither connection.
                self.set_state(State.CONNECTING)
                return False
            try:
                await self._drain(connection, receiver)
            except CloseTimeout as error:
                if last and ledger.pending <= slack and self.options.callback is None:
                    self._transcript.note("warning", "All was heard, but the server did not say that it had finished.")
                elif self.stopping.is_set() or (last and not self._worth_another()):
                    raise
                else:
                    raise ConnectionLost(str(error)) from None
            ledger.settle(slack, "no final came")
            return last
        finally:
            await end(receiver, sender, stop, change)

    def _worth_another(self) -> bool:
        """Whether a server that did not finish is asked once more: the line may be dead, and its words are kept."""
        if self._unanswered or not self._retry.patience:
            return False
        self._unanswered = True
        return True

    async def _capture(self, audio: Audio, ledger: Ledger) -> None:
        """Take audio from the source: as it comes where it would be lost, else as fast as it is sent."""
        limit = None
        frame = audio.frame_bytes or 1
        most = max(1, round(_LARGEST * audio.bytes_per_second / frame)) * frame
        odd = bytearray()
        if self._duration is not None:
            limit = max(1, round(self._duration * audio.bytes_per_second / frame)) * frame
        ahead = _READ_AHEAD * audio.bytes_per_second
        try:
            async for given in audio:
                self._take_notes(audio)
                # Copied, whole frames, and no larger than a frame on the wire should be: sources of one's own give
                # what they have.
                odd += given
                whole = len(odd) - len(odd) % frame
                taken, odd = bytes(odd[:whole]), odd[whole:]
                if self._live and self.paused:
                    self.skipped += len(taken) / audio.bytes_per_second
                    continue
                for start in range(0, len(taken), most):
                    chunk = taken[start : start + most]
                    if limit is not None:
                        chunk = chunk[: limit - ledger.captured]
                    while audio.waits and ledger.unsent >= ahead:
                        self._taken.clear()
                        await self._taken.wait()
                    ledger.capture(chunk)
                    self._captured.set()
                    if limit is not None and ledger.captured >= limit:
                        return
        finally:
            self._take_notes(audio)
            self._ended = True
            self._captured.set()

    def _take_notes(self, audio: Audio) -> None:
        """What the source has to tell goes into the events; audio of it that was missed, into the gaps."""
        while audio.notes:
            note = audio.notes.popleft()
            at = self.captured
            self._transcript.note(note.type, f"at {at:.1f} s: {note.text}")
            if note.missed:
                # It was never captured, so it takes no time on the timeline.
                self._transcript.add_gap(at, at, f"{note.missed:.1f} s were missed: {note.text}")

    async def _send(self, connection: Connection, ledger: Ledger) -> None:
        """Send what the ledger has, until the source has ended, or the connection is torn."""
        while True:
            chunk = ledger.peek()
            if ledger.torn or (not chunk and self._ended):
                return
            if not chunk:
                self._captured.clear()
                await self._captured.wait()
                continue
            # A connection wants audio within 10 s of its opening, whatever is paused.
            holds = connection.bytes_sent > 0 and not self._live
            if self.paused and holds:
                await self.resumed.wait()
            await self._pacer.wait(len(chunk) / self.bytes_per_second)
            if (self.paused and holds) or ledger.torn:
                continue
            # Before the wait: a frame that is written is not taken back when the wait for room is cancelled.
            ledger.advance(len(chunk))
            self._taken.set()
            if self.options.callback is not None:
                # Its results go elsewhere, so there is nothing that could show what was heard.
                ledger.acknowledge(ledger.sent)
            self.newest_chunk = chunk if self._decoded else b""
            await connection.send(chunk)

    async def _receive(self, connection: Connection, ledger: Ledger, begin: int) -> None:
        clock, feed, next_message = asyncio.get_running_loop().time, self._transcript.feed, connection.__anext__
        offset, number = begin / self.bytes_per_second, self.connections - 1
        self._heard_to = begin
        ends: dict[int, float] = {}
        while True:
            try:
                message = await next_message()
            except StopAsyncIteration:
                return
            except ProtocolError as error:
                self._transcript.note("warning", str(error))
                continue
            self._heard_at, self._heard_to = clock(), ledger.sent
            feed(
                message,
                offset=offset,
                audio_cursor=offset + connection.bytes_sent / self.bytes_per_second,
                connection=number,
            )
            if isinstance(message, Results):
                if message.is_final:
                    self._acknowledge(message, ledger, begin, ends)
            elif isinstance(message, Metadata) and connection.stream_closed:
                self._audit(message, connection)
                self._told()
                return
            self._told()

    def _acknowledge(self, final: Results, ledger: Ledger, begin: int, ends: dict[int, float]) -> None:
        """A final covers the audio up to its end, with several channels once each of them has one."""
        channel, channels = final.channel_index if len(final.channel_index) == 2 else (0, 1)
        ends[channel] = max(ends.get(channel, 0.0), final.start + final.duration)
        if len(ends) >= channels:
            before = ledger.acknowledged
            ledger.acknowledge(begin + round(min(ends.values()) * self.bytes_per_second))
            if ledger.acknowledged > before:
                self._retry.final()
                self._unanswered = False

    def _audit(self, metadata: Metadata, connection: Connection) -> None:
        """Compare what the server says that it received with what was sent, where bytes are seconds."""
        sent = connection.bytes_sent / self.bytes_per_second
        if self._decoded and metadata.duration is not None and abs(metadata.duration - sent) > _AUDIT:
            self._transcript.note(
                "warning",
                f"{sent:.2f} s of audio were sent, the server says it received {metadata.duration:.2f} s.",
            )

    async def _drain(self, connection: Connection, receiver: asyncio.Task[None]) -> None:
        """Close the stream and wait for the server's last words, as long as it goes on speaking."""
        loop = asyncio.get_running_loop()
        if not receiver.done():
            self.set_state(State.CLOSING)
            # The receiver says what is wrong with the connection; a server that takes no more is given up below.
            most = min(self._close_timeout, STOP_TIMEOUT)
            if self.stopping.is_set():
                most = min(most, self.stopped_at + STOP_TIMEOUT - loop.time())
            with contextlib.suppress(ConnectionLost, TimeoutError):
                async with asyncio.timeout(most):
                    await connection.close_stream()
        self._heard_at = loop.time()
        while not receiver.done():
            deadline = self._heard_at + self._close_timeout
            if self.stopping.is_set():
                deadline = min(deadline, self.stopped_at + STOP_TIMEOUT)
            if loop.time() >= deadline:
                connection.abort()
                raise CloseTimeout(
                    "The server did not finish in time after CloseStream. What had arrived is kept, and the rest "
                    "stands in transcript.gaps. A slow server wants a larger close_timeout."
                )
            await asyncio.wait({receiver}, timeout=min(TICK, deadline - loop.time()))
        receiver.result()

    # Beside it

    async def _watch(self) -> None:
        """See how long the loop is held up, and write the journal."""
        loop = asyncio.get_running_loop()
        lag = self.lag = Lag(_WATCH, loop.time(), time.time())
        written = loop.time()
        while True:
            await asyncio.sleep(_WATCH)
            now = loop.time()
            busy, asleep = lag.tick(now, time.time())
            if asleep:
                self._tell_of_sleep(asleep)
            elif busy > _BUSY:
                self._transcript.note("warning", f"The kernel was busy for {busy:.1f} s: nothing was sent or received.")
                logger.info("The event loop was blocked for %.1f s", busy)
            if self._duration is None and not self._reminded and self.audio_cursor >= _REMIND:
                self._reminded = True
                text = (
                    f"{_REMIND / 3600:g} h of audio were sent, and it goes on until it is stopped; duration= ends it."
                )
                self._transcript.note("warning", text)
                logger.warning("%s: %s", self._source.name, text)
            self._listen(now)
            if self._journal and now - written >= _JOURNAL:
                written = now
                self.write_journal()

    def _listen(self, now: float) -> None:
        """Give up a connection that takes audio and says nothing, though it answers pings."""
        if self.state is not State.OPEN or self.connection is None or self.ledger is None:
            return
        # Results may go elsewhere; unpaced audio may wait long; and this machine's own engine may be slow.
        if self.options.callback is not None or not self._pace or self._endpoint.kind == "offline":
            return
        sent = (self.ledger.sent - self._heard_to) / self.bytes_per_second
        if sent >= _SILENT and now - max(self._heard_at, self.connection.opened_at) >= _SILENT:
            self.connection.give_up(GaveUp.SILENT)

    def _tell_of_sleep(self, seconds: float) -> None:
        until = datetime.datetime.now(datetime.UTC)
        since = until - datetime.timedelta(seconds=seconds)
        text = f"This machine was asleep from {since:%H:%M:%S} to {until:%H:%M:%S} UTC."
        self._transcript.note("warning", text)
        if self._live and self.ledger:
            self._transcript.add_gap(self.captured, self.captured, text)

    def write_journal(self, *, last: bool = False) -> None:
        """Bring the journal up to date; a disk that takes no more is told of once, and the stream goes on."""
        if self._journal is None:
            return
        try:
            self._journal.close() if last else self._journal.flush()
        except DgnbError as error:
            self._transcript.note("warning", str(error))
            logger.warning("%s", error)

    def _tell_gaps(self) -> None:
        """Put what is lost for good into the transcript's gaps."""
        assert self.ledger is not None
        for lost in self.ledger.new_gaps():
            self._transcript.add_gap(lost.start / self.bytes_per_second, lost.end / self.bytes_per_second, lost.reason)

    def settle(self, error: Exception | None) -> None:
        """At the end: whatever no final covers is a gap."""
        if self.ledger is None or (not self.connections and self._waits):
            return
        if not self.ledger.captured and error is None and not self.stopping.is_set():
            self._transcript.note("warning", f"{self._source.name} held no audio.")
        slack = _UNHEARD * self.bytes_per_second
        if self.stopping.is_set() and (self._waits or self.ledger.unsent <= slack):
            # A stop means now; a file can be read again.
            self.ledger.give_back()
        if self.skipped:
            text = f"{self.skipped:.1f} s of the live stream were skipped in a pause that lasted to the end."
            self._transcript.note("warning", text)
        if self.options.callback is None:
            why = type(error).__name__ if error else "the session was stopped before it was heard"
            self.ledger.close(why)
            self._tell_gaps()
            for start, until in self._transcript.unheard(self.captured):
                if until - start > _UNHEARD:
                    self._transcript.add_gap(start, until, "no final came")


def _failure(task: asyncio.Task[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions count as seen."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()

"""`Stream`: from a source, over one connection after another, into a transcript, without losing a word.

When a connection is lost, the next one begins where its last final ended. Only this module changes a session's `State`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
import math
from collections.abc import Callable
from typing import Final, NamedTuple

from dgnb.audio import AudioSource
from dgnb.audio.gate import Gate
from dgnb.audio.recording import Recorder
from dgnb.connection import PING_TIMEOUT, Connection, connect
from dgnb.connection.errors import Again, may_retry
from dgnb.endpoints import Endpoint
from dgnb.exceptions import CloseTimeout, ConfigurationError, ConnectionLost, DgnbError, HandshakeError
from dgnb.notices import say
from dgnb.options import StreamOptions
from dgnb.pricing import cost_of
from dgnb.session.budget import Budget
from dgnb.session.capture import Capture
from dgnb.session.heard import UNHEARD, Heard
from dgnb.session.link import Link, end
from dgnb.session.report import figures
from dgnb.session.retry import Retry
from dgnb.session.stop import Stop
from dgnb.session.watch import Watch
from dgnb.session.writer import FileWriter
from dgnb.transcript import Transcript
from dgnb.transcript.journal import Journal

__all__ = ["State"]

logger = logging.getLogger("dgnb")

_STARVED: Final = 5.0
"""Seconds that the loop was held up which explain why a connection was lost. Deepgram closes it after 10."""

ONCE: Final = (
    "A container that is passed through as it is can't go on in another connection: start a new session, or leave out "
    "decode=False."
)
_CANCELLED: Final = "The session was cancelled: the event loop that it ran in has ended."


class State(enum.Enum):
    """A session is in one of RFC 6455's states."""

    CONNECTING = "connecting"
    """Not open yet: not started, or opening the source and the connection. Also after a connection was lost."""
    OPEN = "open"
    """Audio flows, or is paused."""
    CLOSING = "closing"
    """No more audio is sent; the server's last messages are awaited."""
    CLOSED = "closed"
    """Ended, with or without an error. Only `retry()` leads out of it."""


class Settings(NamedTuple):
    """Arguments of `LiveSession` that the stream needs; `patience` and `unanswered` are those of `Retry`."""

    duration: float | None
    pace: float | None
    drain_timeout: float
    patience: float
    journal: str | None
    unanswered: float
    recorder: Recorder | None = None
    max_cost: float = math.inf
    gate: bool = False


@dataclasses.dataclass(eq=False)
class Change:
    """New options that wait for a connection. It is `done` when one has them, or has refused them with `error`."""

    options: StreamOptions
    done: bool = False
    error: HandshakeError | None = None


class Stream:
    """What a session does from its start to its end; `notify` is called after each message and each change of state.

    `error` says why it ended early, `last_fault` is the newest one after which it tried again, and `cut_off` whether a
    stop ended it before all of the source was heard.
    """

    def __init__(
        self,
        source: AudioSource,
        options: StreamOptions,
        endpoint: Endpoint,
        transcript: Transcript,
        settings: Settings,
        notify: Callable[[], None],
    ) -> None:
        self.options = options
        self.capture = Capture(source, transcript, settings.duration, settings.pace)
        self.capture.recorder = settings.recorder
        self.budget = Budget(transcript, settings.max_cost)
        self.endpoint = endpoint
        self.transcript = transcript
        self._settings = settings
        self._notify = notify
        self.connections = 0
        self._link: Link | None = None
        self._recording: FileWriter | None = None
        self._begin()

    def _begin(self) -> None:
        settings, transcript = self._settings, self.transcript
        self.state = State.CONNECTING
        self.error: Exception | None = None
        self.last_fault: Exception | None = None
        self.stop = Stop()
        self.change: Change | None = None
        self.cut_off = False
        writers, former = [], self._recording
        if path := settings.journal:
            writers.append(FileWriter("journal", lambda: Journal(path, transcript), transcript))
        if recorder := settings.recorder:
            self._recording = FileWriter("recording", recorder.open, transcript, former)
            writers.append(self._recording)
        self.watch = Watch(self.capture, transcript, writers, endless=settings.duration is None)
        self._retry = Retry(settings.patience, settings.unanswered)
        self._asked_again_at = -1

    def renew(self) -> None:
        """Make a closed stream ready to go on where it stood. `ConfigurationError` where it can't."""
        capture = self.capture
        if self.error is None and not self.cut_off:
            raise ConfigurationError("Nothing is left to retry: all of it was transcribed.")
        if capture.audio and capture.audio.frame_bytes is None:
            raise ConfigurationError(ONCE)
        if lost := capture.ledger.reopen():
            self.transcript.withdraw_gap(capture.seconds(lost.start), capture.seconds(lost.end), lost.reason)
        self._begin()
        if self._link:
            self._retry.opened()
        self.transcript.note("retried", f"at {capture.audio_cursor:.1f} s, with {capture.pending:.1f} s of audio kept")

    @property
    def connection(self) -> Connection | None:
        """The newest connection."""
        return self._link.connection if self._link else None

    def request_stop(self, now: float) -> None:
        """End the audio, and finish. A stream that is CONNECTING has to be cancelled, too."""
        self.stop.ask(now)
        self.capture.end(at_once=self.endpoint.local)
        if self._link:
            self._link.wake()

    def request(self, change: Change | None) -> None:
        """Open the next connection with other options, as soon as that costs no audio; None: with those of this one."""
        self.change = change
        if self._link:
            self._link.change_options(change is not None)

    def changed(self, change: Change) -> None:
        """The server has the new options."""
        self.options, change.done = change.options, True
        self.transcript.note("changed", f"at {self.capture.audio_cursor:.1f} s: {change.options!r}")

    def pause(self) -> None:
        """Hold the audio back, if it is not held back yet."""
        if self.state in (State.CONNECTING, State.OPEN) and not self.capture.paused:
            self.capture.pause()
            self.transcript.note("paused", f"at {self.capture.audio_cursor:.1f} s")
            self._notify()

    def resume(self) -> None:
        """Let the audio flow again, if it is held back."""
        if self.capture.paused and self.state is not State.CLOSED:
            text = f"at {self.capture.audio_cursor:.1f} s"
            self.transcript.note("resumed", "; ".join(filter(None, (text, self.capture.resume()))))
            if self._link:
                self._link.wake()
            self._notify()

    async def run(self) -> None:
        """Transcribe the source to its end, or until a stop. It raises nothing: `error` says why it ended early."""
        self.cut_off = True
        try:
            for writer in self.watch.writers:
                await writer.open()
            if (recorder := self.capture.recorder) and not self.capture.audio:
                self.transcript.audio = recorder.source
                self.transcript.note("recording", f"It is recorded to {recorder}.")
            watch = asyncio.create_task(self.watch.run(), name="dgnb: watch the loop")
            try:
                await self._run()
            finally:
                await end(watch)
                if not watch.cancelled() and (failed := watch.exception()):
                    logger.error("The watch over the loop failed", exc_info=failed)
                    self.transcript.note("warning", f"The watch over the loop failed: {failed!r}")
        except asyncio.CancelledError:
            if not self.stop.asked:
                self._fail(ConnectionLost(_CANCELLED))
        except Exception as error:
            self._fail(error)
        await self._finish()

    def abandon(self) -> None:
        """Close a stream that can't run: it was never started, or its loop is gone. Does nothing once it is closed."""
        if self.state is not State.CLOSED:
            if self.error is None and not self.stop.asked:
                self._fail(ConnectionLost(_CANCELLED))
            self._enter(State.CLOSED)

    async def _run(self) -> None:
        capture = self.capture
        audio = await capture.open(multichannel=self.options.multichannel)
        if self._settings.gate and capture.ledger.gate is None:
            if audio.encoding != "linear16" or audio.frame_bytes is None:
                await capture.close()
                raise ConfigurationError(
                    "gate=True needs decoded linear16: leave out encoding and decode=False, or gate."
                )
            capture.ledger.gate = Gate(audio.bytes_per_second, audio.frame_bytes)
        if audio.frame_bytes is None:
            # A container's header comes once: what follows can't stand alone on another connection.
            self._retry = Retry(0)
        try:
            if capture.recorder:
                capture.recorder.begin(audio)
            await self._transcribe()
        except DgnbError as error:
            # Why the source failed says more; what was said before is still worth having.
            if not capture.failure:
                raise
            self.transcript.note("error", str(error))
        finally:
            await capture.close()
            self.cut_off = self.stop.asked and (capture.ledger.pending > 0 or not capture.exhausted)
        if failure := capture.failure:
            raise failure

    async def _transcribe(self) -> None:
        lost: Exception | None = None
        while (link := await self._connected(lost)) is not None:
            try:
                done, lost = await self._use(link)
            finally:
                await link.connection.close()
            if done or self.stop.asked:
                return
            dropped = "its connection was lost, and it was no longer kept in memory"
            self.capture.ledger.rewind(dropped if lost else "it was sent, and no final came")

    async def _use(self, link: Link) -> tuple[bool, ConnectionLost | None]:
        """Use a connection. Returns whether that was all and, if not, why the connection was lost, or None."""
        lost = None
        try:
            if await link.run():
                return True, None
        except CloseTimeout as error:
            # It is asked again once, as the line may be dead, until it hears more.
            acknowledged = self.capture.ledger.acknowledged
            again = self._retry.patience and self._asked_again_at != acknowledged
            if self.stop.asked or link.connection.answers.foreign or not again:
                raise
            self._asked_again_at = acknowledged
            lost = ConnectionLost(str(error))
        except ConnectionLost as error:
            if self.stop.asked:
                if not self._retry.patience or may_retry(error) is Again.NEVER:
                    raise
                # A moment later it would have been a stop while reconnecting: a gap tells what it cost.
                self.transcript.note("warning", f"While it was being stopped: {error}")
                return True, None
            lost = error
        if self.capture.ledger.kept > self.capture.ledger.acknowledged:
            # The beginning of the turn can't be sent again.
            link.keep_turn()
        self.transcript.drop_interims()
        self._enter(State.CONNECTING)
        return False, lost

    async def _connected(self, lost: Exception | None) -> Link | None:
        """The next connection; None when there is nothing left to be sent."""
        self._enter(State.CONNECTING)
        while True:
            if lost is not None:
                if self.capture.ended and (self.budget.spent or not self.capture.ledger.unsent):
                    return None
                await self._back_off(lost)
                if self.budget.spent or not await self.capture.something_to_send():
                    return None
                self._retry.begun(asyncio.get_running_loop().time())
            change, self.change = self.change, None
            try:
                link = await self._open(change.options if change else self.options)
            except HandshakeError as error:
                if change is None:
                    lost = error
                    continue
                text = f"The options were not changed: {error}"
                self.transcript.note("warning", text, request_id=error.request_id)
                change.error, change.done = error, True
                # The old options are tried at once, unless the server is at fault.
                lost = error if error.transient else None
                continue
            if change:
                self.changed(change)
            return link

    async def _back_off(self, lost: Exception) -> None:
        now, cursor = asyncio.get_running_loop().time(), self.capture.audio_cursor
        first, self.last_fault = self.last_fault is None and not self.connections, lost
        # How long the last connection lived says nothing about a handshake that failed.
        uptime = now - self.connection.opened_at if self.connection and isinstance(lost, ConnectionLost) else None
        delay = self._retry.delay(lost, now, uptime=uptime)
        if first:
            # Somebody may wait for an address that they have mistyped.
            say(f"Not connected yet, and still trying (`await session.stop()` ends it): {lost}")
        busy = self.watch.recent(now, uptime) if uptime is not None else 0.0
        why = str(lost)
        if busy >= _STARVED:
            why = (
                f"The kernel was busy for {busy:.0f} s, so that nothing could be sent or received, and the server gave "
                "up waiting. A cell that blocks does that: await what takes long, or run it in a thread."
            )
        kind = "reconnecting" if self.connections else "connecting"
        text = f"at {cursor:.1f} s, in {delay:.1f} s, with {self.capture.pending:.1f} s of audio kept: {why}"
        self.transcript.note(kind, text, request_id=getattr(lost, "request_id", ""))
        self._notify()
        await asyncio.sleep(delay)

    async def _open(self, options: StreamOptions) -> Link:
        audio, settings = self.capture.audio, self._settings
        assert audio is not None
        # Nobody bills for what runs on this machine.
        second = None if self.endpoint.local else cost_of(options, 1.0, audio.channels if options.multichannel else 1)
        self.budget.price = None if second is None else second / audio.bytes_per_second
        connection = await connect(
            options.for_audio(audio.encoding, audio.sample_rate, audio.channels),
            endpoint=self.endpoint,
            # All was said by then; a server that does not close in turn is not waited for.
            close_timeout=1.0,
            # Unpaced audio may wait long in a server's queue, and a ping behind it.
            ping_timeout=PING_TIMEOUT if settings.pace else None,
        )
        self._retry.opened()
        # Deepgram advises 20 to 250 ms in general, and 80 for turns.
        self.capture.cut(0.08 if connection.turns else 0.1)
        self._link = Link(
            connection,
            self.connections,
            self.capture,
            self.transcript,
            self.stop,
            self.budget,
            settings.drain_timeout,
            elsewhere=options.callback is not None,
            # Unpaced audio may wait long, and the engine on this machine may be slow.
            watched=options.callback is None and bool(settings.pace) and self.endpoint.kind != "offline",
            answers_silence=self._link.answers_silence if self._link else self.endpoint.answers_silence,
            notify=self._notify,
            progress=self._retry.final,
            draining=lambda: self._enter(State.CLOSING),
            heard=Heard(leaves_out=self._link.heard.leaves_out if self._link else False),
        )
        again = f"again at {self.capture.audio_cursor:.1f} s, " if self.connections else ""
        text = f"{again}{self.endpoint}: {connection.url.split('?')[0]}"
        self.transcript.note("opened", text, request_id=connection.request_id)
        if not self.connections:
            for name in connection.ignored:
                self.transcript.note("warning", f"The server can't do {name}, and goes on without it.")
        self.connections += 1
        self._report_gaps()
        self._enter(State.OPEN)
        return self._link

    async def _finish(self) -> None:
        try:
            # From here on a stop does not cancel.
            self._enter(State.CLOSING)
            sent = self.capture.seconds(self.capture.ledger.reached)
            if self._link:
                self._link.keep_turn()
            self._settle()
            if self.capture.recorder:
                self.capture.recorder.end(self.capture.ledger.captured)
            self.transcript.drop_interims()
            if (gate := self.capture.ledger.gate) and gate.left_out:
                self.transcript.note("gate", f"{gate.left_out:.1f} s of silence were not sent.")
            self.transcript.note("closed", f"{sent:.1f} s of audio sent; {figures(self)}")
            deadline = self.stop.journal_deadline(asyncio.get_running_loop().time())
            await asyncio.gather(*(writer.close(deadline) for writer in self.watch.writers))
        except Exception as error:
            # A caller who waits must not wait for ever.
            if self.error is None:
                self._fail(error)
        finally:
            self._enter(State.CLOSED)

    def _settle(self) -> None:
        capture, ledger, transcript = self.capture, self.capture.ledger, self.transcript
        if capture.audio is None or (not self.connections and capture.audio.waits):
            return
        if not ledger.captured and self.error is None and not self.stop.asked:
            transcript.note("warning", f"{capture.source.name} held no audio.")
        if (self.stop.asked or self.budget.spent) and (
            capture.audio.waits or capture.seconds(ledger.unsent) <= UNHEARD
        ):
            # What was not sent counts as not captured: a file can be read again.
            ledger.give_back()
        if text := capture.resume():
            transcript.note("warning", f"{text} that lasted to the end.")
        if self.options.callback is None:
            ledger.close(type(self.error).__name__ if self.error else "the session was stopped before it was heard")
            self._report_gaps()

    def _report_gaps(self) -> None:
        seconds = self.capture.seconds
        for lost in self.capture.ledger.new_gaps():
            self.transcript.add_gap(seconds(lost.start), seconds(lost.end), lost.reason)

    def _fail(self, error: Exception) -> None:
        self.error = error
        request_id = getattr(error, "request_id", "") or (self.connection.request_id if self.connection else "")
        self.transcript.note("error", str(error), request_id=request_id)

    def _enter(self, state: State) -> None:
        self.state = state
        self._notify()

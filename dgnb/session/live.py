"""`LiveSession` and `transcribe()`: a stream as a background task in the running loop.

One task owns the source, the connection and the state; a second one pumps audio, a third receives. Whoever waits only
waits: interrupting a waiting cell ends the wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import logging
import math
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Final

from dgnb.audio import Audio, AudioSource, Pacer, as_source
from dgnb.connection import PING_TIMEOUT, Connection, connect
from dgnb.endpoints import Endpoint, Secret, choose
from dgnb.exceptions import (
    CloseTimeout,
    ConfigurationError,
    ConnectionLost,
    DgnbError,
    HandshakeError,
    ProtocolError,
)
from dgnb.messages import ConfigureFailure, ConfigureSuccess, Metadata, Results, ServerMessage
from dgnb.options import LiveOptions
from dgnb.transcript import Transcript

__all__ = ["LiveSession", "State", "sessions", "transcribe"]

logger = logging.getLogger("dgnb")

TICK: Final = 0.1
"""Seconds. A kernel's interrupt reaches a waiting cell only when the loop next wakes (ipykernel#881)."""

_INTERRUPTED_DRAIN: Final = 0.3
_STOP_TIMEOUT: Final = 4.5
_FINALIZE_TIMEOUT: Final = 2.0
_NAMES: Final = tuple(field.name for field in dataclasses.fields(LiveOptions))
_UNHEARD: Final = 0.25
"""Seconds at the end that a server may leave without a final before it counts as a gap."""


class State(enum.Enum):
    """A session is in one of RFC 6455's states."""

    CONNECTING = "connecting"
    """Not open yet: not started, or opening the source and the connection."""
    OPEN = "open"
    """Audio flows, or is paused."""
    CLOSING = "closing"
    """No more audio is sent; the server's last words are awaited."""
    CLOSED = "closed"
    """Ended, well or not. It stays so: a session is used once."""


_sessions: list[LiveSession] = []


def sessions() -> list[LiveSession]:
    """The sessions of this process that are not closed, and the one that closed last; in the order of their start.

    Example:
        ```python
        for session in dgnb.sessions():
            await session.stop()
        ```
        A session that failed raises its error there once, where nobody was told of it yet.
    """
    return list(_sessions)


class LiveSession:
    """A live transcription that runs in the background while you go on working.

    `start()` returns at once, and `transcript` grows from then on. `await session` waits until it has ended.
    `async with` starts it, and stops it at the end of the block. `async for` gives the messages, from the first on.

    Args:
        source: A path, an http(s) address, bytes, a NumPy array, an async iterator of bytes, or an `AudioSource`.
        options: What to ask for; or options by name as further arguments, as `smart_format=True`. `encoding`,
            `sample_rate` and `channels` tell how a raw source is read; what is sent is linear16 at 16 kHz.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` base address. Unset: `DGNB_ENDPOINT`; failing that, Deepgram
            where there is a key, else the offline engine on this machine.
        api_key: Deepgram's key. Unset: `DEEPGRAM_API_KEY`.
        duration: Seconds of audio after which it stops by itself; None for no limit.
        pace: Seconds of audio sent a second: 1.0 is real time, None as fast as the server takes it: a server on this
            machine sets its own pace, and any other is given 1.2, as Deepgram takes 1.25.
        close_timeout: Seconds without a word after which the server is no longer waited for at the end of the source.
            `stop()` does not wait for longer than 5 in all.
        **wire: Options by name.

    Attributes:
        transcript: The `Transcript`, from the start on; it survives every error.
        source: The `AudioSource`.
        options: The `LiveOptions`.
        endpoint: Where the audio goes, and why there.
        error: Why it ended, or None.

    Raises:
        ConfigurationError: Source, options or endpoint are wrong; nothing was opened.

    Example:
        ```python
        session = dgnb.LiveSession("http://example.org/radio.mp3", interim_results=True).start()
        ...  # in any later cell:
        session.transcript.words
        await session.stop()
        ```
    """

    def __init__(
        self,
        source: Any,
        options: LiveOptions | None = None,
        *,
        endpoint: str | Endpoint | None = None,
        api_key: str | Secret | None = None,
        duration: float | None = None,
        pace: float | None = 1.0,
        close_timeout: float = 10.0,
        **wire: Any,
    ) -> None:
        api_key = Secret.of(api_key)
        if options is not None and wire:
            raise ConfigurationError(f"Give options as LiveOptions or by name ({', '.join(wire)}), not both.")
        if options is not None and not isinstance(options, LiveOptions):
            raise ConfigurationError(f"options is a LiveOptions, not {type(options).__name__}.")
        if duration is not None and not _positive(duration):
            raise ConfigurationError(f"duration is a positive number of seconds, not {duration!r}.")
        if not _positive(close_timeout):
            raise ConfigurationError(f"close_timeout is a positive number of seconds, not {close_timeout!r}.")
        if hasattr(source, "dtype") and "sample_rate" in wire:
            wire.setdefault("encoding", "linear16")  # an array has samples, whatever its dtype
        self.options = LiveOptions(**wire) if options is None else options
        self.source = _source(source, self.options)
        self.endpoint = endpoint if isinstance(endpoint, Endpoint) else choose(endpoint, api_key)
        self.transcript = Transcript()
        self.error: Exception | None = None
        if pace is None and not self.endpoint.local:
            pace = Pacer.CATCH_UP
        self._pace = pace
        self._pacer = Pacer(pace)
        self._live = self.source.live
        self._duration = duration
        self._close_timeout = close_timeout
        self._state = State.CONNECTING
        self._connection: Connection | None = None
        self._connections = 0
        self._offset = 0.0
        self._bytes_before = 0
        self._bytes_per_second = 1.0
        self._newest_chunk = b""
        self._sending = asyncio.Lock()
        self._change = asyncio.Event()
        self._configuring = False
        self._wanted: tuple[LiveOptions, asyncio.Future[None]] | None = None
        self._stop = asyncio.Event()
        self._stopped_at = 0.0
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._news = asyncio.Event()
        self._heard_at = 0.0
        self._skipped = 0.0
        self._waiting = 0
        self._listeners = 0
        self._told = False
        self._traceback: TracebackType | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        state = self._state.value if self._task or self._is_closed() else "not started"
        if self.paused:
            state = "paused"
        return f"<LiveSession {state}: {self.source.name}, {self.audio_cursor:.1f} s sent, {self.transcript!r}>"

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def paused(self) -> bool:
        """Whether `pause()` holds the audio back."""
        return not self._resumed.is_set() and self._state is not State.CLOSED

    @property
    def audio_cursor(self) -> float:
        """Seconds of audio sent, on the source's timeline."""
        return self._bytes_sent / self._bytes_per_second

    @property
    def _bytes_sent(self) -> int:
        return self._bytes_before + (self._connection.bytes_sent if self._connection else 0)

    @property
    def level(self) -> float | None:
        """How loud the audio is that was sent last: its peak in dB below full scale, None before there is any.

        -inf is digital silence. Only decoded audio has a level.
        """
        if not self._newest_chunk:
            return None
        samples = memoryview(self._newest_chunk[: len(self._newest_chunk) // 2 * 2]).cast("h")
        peak = max(max(samples), -min(samples))
        return 20 * math.log10(peak / 32768) if peak else -math.inf

    # What a user does

    def start(self) -> LiveSession:
        """Begin, and return at once. Starting twice is no error; a session that has ended stays so.

        It runs in the loop in which the session was made: a cell's, or that of the running coroutine.

        Raises:
            ConfigurationError: No loop runs, so there is nothing to run in.
        """
        if self._task is None and (self._loop is None or self._loop.is_closed()):
            self._loop = _running_loop()
        if self._loop is None:
            raise ConfigurationError(
                "No event loop runs here. In a notebook call this in a cell; in a script, inside the coroutine that "
                "asyncio.run() runs."
            )
        self._on_loop(self._begin)
        return self

    def _begin(self) -> None:
        if self._task is None and self._state is not State.CLOSED:
            assert self._loop is not None
            self._task = self._loop.create_task(self._run(), name=f"dgnb: session {self.source.name}")
            # Not at the end of _run(): a task that is cancelled before its first step never enters it.
            self._task.add_done_callback(self._finish)
            _sessions.append(self)

    def _on_loop(self, act: Callable[[], None]) -> None:
        """Do it at once where this is the session's loop; else, from another thread, as soon as that loop can."""
        if self._loop is None or self._loop is _running_loop():
            act()
        else:
            with contextlib.suppress(RuntimeError):  # that loop is closed, and the task with it
                self._loop.call_soon_threadsafe(act)

    def pause(self) -> None:
        """Hold the audio back; KeepAlive keeps the connection. A file waits; a live source is skipped meanwhile.

        Word times count the audio sent, so a pause takes no time on them. Pausing twice is no error.
        """
        self._on_loop(self._pause)

    def _pause(self) -> None:
        if self._state in (State.CONNECTING, State.OPEN) and not self.paused:
            self._resumed.clear()
            self.transcript.note("paused", f"at {self.audio_cursor:.1f} s")
            self._tell()

    def resume(self) -> None:
        """Let the audio flow again; where it does, nothing happens."""
        self._on_loop(self._resume)

    def _resume(self) -> None:
        if self.paused:
            self._resumed.set()
            self._pacer.restart()
            skipped = f"; {self._skipped:.1f} s of the live stream were skipped" if self._skipped else ""
            self._skipped = 0.0
            self.transcript.note("resumed", f"at {self.audio_cursor:.1f} s{skipped}")
            self._tell()

    async def finalize(self) -> bool:
        """Ask the server to finish what it has heard so far, and wait for the answer, two seconds at most.

        Returns:
            Whether the server confirmed with a `from_finalize`; it need not, when little was to be finished.

        Raises:
            ConfigurationError: The session is not open.
        """
        if self._state is not State.OPEN or self._connection is None:
            raise ConfigurationError(f"Only an open session can be finalized; this one is {self._state.value}.")
        seen = self.transcript.count

        def confirmed() -> bool:
            return any(isinstance(m, Results) and m.from_finalize for m in self.transcript.since(seen))

        with contextlib.suppress(TimeoutError, ConnectionLost):  # the session itself tells of a lost connection
            async with asyncio.timeout(_FINALIZE_TIMEOUT):
                await self._connection.finalize()
                await self._wait(lambda: confirmed() or self._is_closed())
        return confirmed()

    async def apply(self, options: LiveOptions) -> None:
        """Change the options while the stream runs: the transcript goes on, with its times.

        Key terms and numerals are sent as `Configure` where the service takes that. Everything else, and where it does
        not, ends the connection with all its words and opens another one; meanwhile the audio waits. What a source is
        read with (`multichannel`, `encoding` and so on) stays as it was when the source was opened.

        Raises:
            ConfigurationError: The session is not open, or another change is under way, or the source would have to be
                read anew.
            HandshakeError: The server refused the new options; the stream goes on with the old ones.
        """
        connection = self._connection
        if self._state is not State.OPEN or connection is None or self._loop is not asyncio.get_running_loop():
            raise ConfigurationError(f"Options can be applied to an open session; this one is {self._state.value}.")
        if self._wanted is not None or self._configuring:
            raise ConfigurationError("Another change is under way: apply this one when it is done.")
        for name in ("multichannel", "encoding", "sample_rate", "channels"):
            if getattr(options, name) != getattr(self.options, name):
                raise ConfigurationError(f"{name} says how the source is read: start a new session for that.")
        if options == self.options or await self._configured(connection, options):
            return
        answer: asyncio.Future[None] = self._loop.create_future()
        self._wanted = (options, answer)
        self._change.set()
        await self._wait(lambda: answer.done() or self._is_closed())
        if self._is_closed() and (not answer.done() or answer.cancelled()):
            raise ConfigurationError("The session ended before its options were changed.")
        answer.result()

    async def stop(self) -> Transcript:
        """End the audio, wait for the server's last words, and close.

        In any state, and twice, without harm. Cancelling ends the wait, not the stopping.

        Raises:
            DgnbError: What the session failed with, where nobody was told yet.
        """
        self._request_stop()
        if self._told:
            await self.wait()
            return self.transcript
        return await self._ended()

    # Waiting

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is CLOSED, `timeout` seconds at most, and say whether it is; its error is not raised."""
        with self._listened():
            await self._wait(self._is_closed, timeout)
        return self._is_closed()

    def __await__(self) -> Generator[Any, None, Transcript]:
        """Wait until it is CLOSED, starting it where it is not. Cancelling ends the wait; the session goes on."""
        return self._awaited().__await__()

    async def __aenter__(self) -> LiveSession:
        return self.start()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.stop()
            return
        # The block's own exception is the one to be seen.
        self._request_stop()
        if isinstance(exc, asyncio.CancelledError):
            await self._drained_briefly()
        else:
            await self.wait()

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        self.start()
        given = 0

        def more() -> bool:
            return self._is_closed() or bool(self.transcript.since(given))

        while True:
            closed = self._is_closed()
            news = self.transcript.since(given)
            for message in news:
                given += 1
                yield message
            if closed:
                self._raise()
                return
            with self._listened():
                await self._wait(more)

    async def _awaited(self) -> Transcript:
        self.start()
        return await self._ended()

    async def _ended(self) -> Transcript:
        try:
            await self.wait()
        except asyncio.CancelledError:
            if not self._stop.is_set():
                logger.warning("The session goes on: `await session.stop()` ends it (dgnb.sessions() finds it).")
            raise
        self._raise()
        return self.transcript

    async def _wait(self, true: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until `true()`, looking when something happened, and waking each TICK so that interrupts get through."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        self._waiting += 1
        try:
            while not true() and (deadline is None or loop.time() < deadline):
                if loop is self._loop:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TICK):
                            await self._news.wait()
                else:
                    await asyncio.sleep(TICK)
        finally:
            self._waiting -= 1

    async def _drained_briefly(self) -> None:
        """After an interrupt: what comes at once is kept, the rest goes on in the background, and the cell ends."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._wait(self._is_closed, timeout=_INTERRUPTED_DRAIN)

    @contextlib.contextmanager
    def _listened(self) -> Iterator[None]:
        """Somebody is there who learns of an error: it need not be logged."""
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    def _is_closed(self) -> bool:
        return self._state is State.CLOSED

    def _raise(self) -> None:
        if self.error is not None:
            self._told = True
            # As it was caught: raising the same exception again would add to its traceback each time.
            raise self.error.with_traceback(self._traceback)

    # How

    def _request_stop(self) -> None:
        if self._task is None or self._loop is None:
            self._stop.set()
            self._set_state(State.CLOSED)
        elif self._loop.is_closed():
            # The task has gone with its loop.
            self._fail(self.error or ConnectionLost("The event loop that the session ran in was closed."))
            self._set_state(State.CLOSED)
        elif self._loop is not _running_loop():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._request_stop)
        elif not self._stop.is_set():
            self._stop.set()
            self._stopped_at = self._loop.time()
            if self._state is State.CONNECTING:
                self._task.cancel()

    def _set_state(self, state: State) -> None:
        self._state = state
        self._tell()

    def _tell(self) -> None:
        if self._waiting:
            self._news.set()
            self._news.clear()

    async def _run(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                audio = await self.source.open(multichannel=self.options.multichannel)
                stack.push_async_callback(audio.aclose)
                self._live = audio.live
                self._pacer = Pacer(self._pace, live=audio.live)
                self._bytes_per_second = audio.bytes_per_second
                await self._stream(audio)
        except asyncio.CancelledError:
            if not self._stop.is_set():
                self._fail(ConnectionLost("The session was cancelled: the event loop that it ran in has ended."))
        except Exception as error:
            self._fail(error)

    async def _stream(self, audio: Audio) -> None:
        """One pump for all the audio; one connection after the other, each with a receiver of its own."""
        connection = await self._connect(audio, self.options)
        pump = asyncio.create_task(self._pump(audio), name="dgnb: pump")
        stop = asyncio.create_task(self._stop.wait(), name="dgnb: wait for stop")
        try:
            while True:
                receiver = asyncio.create_task(self._receive(connection), name="dgnb: receive")
                change = asyncio.create_task(self._change.wait(), name="dgnb: wait for a change")
                try:
                    await asyncio.wait({pump, receiver, stop, change}, return_when=asyncio.FIRST_COMPLETED)
                    if pump.done() or receiver.done() or stop.done():
                        break
                    holding = asyncio.create_task(self._sending.acquire(), name="dgnb: hold the pump")
                    try:
                        # Where the server takes no more, the pump is in the middle of a chunk and may stay there.
                        await asyncio.wait({holding, receiver, stop}, return_when=asyncio.FIRST_COMPLETED)
                        if receiver.done() or stop.done():
                            break
                        await self._drain(connection, receiver)
                        await connection.close()
                        if self._stop.is_set():
                            break
                        connection = await self._connect_changed(audio)
                    finally:
                        await _end(holding)
                        if not holding.cancelled():
                            self._sending.release()
                finally:
                    await _end(change)
            await _end(pump)
            failed = None if pump.cancelled() else pump.exception()
            # After a source that failed, what was said before is still worth having. After a connection that failed,
            # the receiver knows best why.
            try:
                await self._drain(connection, receiver)
            except DgnbError as error:
                if failed is None or isinstance(failed, ConnectionLost):
                    raise
                self.transcript.note("error", str(error))
            if failed:
                raise failed
        finally:
            await _end(pump, receiver, stop)
            await connection.close()

    async def _configured(self, connection: Connection, options: LiveOptions) -> bool:
        """Whether `Configure` could do it all: on Deepgram's global endpoint, with nova-3, it takes these two."""
        changed = {name for name in _NAMES if getattr(options, name) != getattr(self.options, name)}
        if not changed <= {"keyterm", "numerals"} or not options.model.startswith("nova-3"):
            return False
        if self.endpoint.kind == "custom" and not self.endpoint.local:
            return False
        seen = self.transcript.count
        self._configuring = True
        try:
            await connection.configure(
                keyterms=list(options.keyterm) if "keyterm" in changed else None,
                numerals=options.numerals if "numerals" in changed else None,
            )

            def answers() -> list[ServerMessage]:
                return [m for m in self.transcript.since(seen) if isinstance(m, ConfigureSuccess | ConfigureFailure)]

            await self._wait(lambda: bool(answers()) or self._is_closed(), timeout=_FINALIZE_TIMEOUT)
            if not any(isinstance(answer, ConfigureSuccess) for answer in answers()):
                return False
        finally:
            self._configuring = False
        self.options = options
        self.transcript.note("changed", f"at {self.audio_cursor:.1f} s: {options!r}")
        return True

    async def _connect(self, audio: Audio, options: LiveOptions) -> Connection:
        if self.endpoint.kind == "offline":
            _say_once(f"Transcribing with {self.endpoint}.")
        self._set_state(State.CONNECTING)
        connection = await connect(
            options.for_audio(audio.encoding, audio.sample_rate, audio.channels),
            endpoint=self.endpoint,
            # All was said by then; a server that does not close in turn is not waited for.
            close_timeout=1.0,
            # Unpaced audio may wait long in a server's queue, and a ping behind it.
            ping_timeout=PING_TIMEOUT if self._pace else None,
        )
        self._bytes_before = self._bytes_sent
        self._offset = self._bytes_before / self._bytes_per_second
        self._connection = connection
        self._connections += 1
        where = f"{self.endpoint}: {connection.url.split('?')[0]}"
        self.transcript.note("opened", where, request_id=connection.request_id or None)
        for name in connection.ignored:
            self.transcript.note("warning", f"The server can't do {name}, and goes on without it.")
        self._set_state(State.OPEN)
        return connection

    async def _connect_changed(self, audio: Audio) -> Connection:
        """Open anew with the options that `apply()` asks for; with the old ones when the server refuses those."""
        assert self._wanted is not None
        options, answer = self._wanted
        self._wanted = None
        self._change.clear()
        try:
            connection = await self._connect(audio, options)
        except HandshakeError as error:
            self.transcript.note(
                "warning", f"The options were not changed: {error}", request_id=error.request_id or None
            )
            connection = await self._connect(audio, self.options)
            if not answer.done():
                answer.set_exception(error)
        else:
            self.options = options
            self.transcript.note("changed", f"at {self._offset:.1f} s: {options!r}")
            if not answer.done():
                answer.set_result(None)
        return connection

    async def _pump(self, audio: Audio) -> None:
        limit = None
        if self._duration is not None:
            frame = 2 * audio.channels if audio.encoding == "linear16" else 1
            limit = max(1, round(self._duration * audio.bytes_per_second / frame)) * frame
        async for chunk in audio:
            if limit is not None:
                chunk = chunk[: limit - self._bytes_sent]
            await self._pacer.wait(len(chunk) / audio.bytes_per_second)
            if self.paused:
                if self._live:
                    self._skipped += len(chunk) / audio.bytes_per_second
                    continue
                await self._resumed.wait()
            async with self._sending:
                assert self._connection is not None
                await self._connection.send(chunk)
                self._newest_chunk = chunk if audio.encoding == "linear16" else b""
            if limit is not None and self._bytes_sent >= limit:
                return

    async def _receive(self, connection: Connection) -> None:
        clock, feed, next_message = asyncio.get_running_loop().time, self.transcript.feed, connection.__anext__
        offset, number = self._offset, self._connections - 1
        while True:
            try:
                message = await next_message()
            except StopAsyncIteration:
                return
            except ProtocolError as error:
                self.transcript.note("warning", str(error))
                continue
            self._heard_at = clock()
            feed(
                message,
                offset=offset,
                audio_cursor=offset + connection.bytes_sent / self._bytes_per_second,
                connection=number,
            )
            self._tell()
            if connection.stream_closed and isinstance(message, Metadata):
                return

    async def _drain(self, connection: Connection, receiver: asyncio.Task[None]) -> None:
        """Close the stream and wait for the server's last words, as long as it goes on speaking."""
        loop = asyncio.get_running_loop()
        if not receiver.done():
            self._set_state(State.CLOSING)
            # The receiver says what is wrong with the connection; a server that takes no more is given up below.
            with contextlib.suppress(ConnectionLost, TimeoutError):
                async with asyncio.timeout(min(self._close_timeout, _STOP_TIMEOUT)):
                    await connection.close_stream()
        self._heard_at = loop.time()
        while not receiver.done():
            deadline = self._heard_at + self._close_timeout
            if self._stop.is_set():
                deadline = min(deadline, self._stopped_at + _STOP_TIMEOUT)
            if loop.time() >= deadline:
                connection.abort()
                raise CloseTimeout(
                    "The server did not finish in time after CloseStream. What had arrived is kept, and the rest "
                    "stands in transcript.gaps. A slow server wants a larger close_timeout."
                )
            await asyncio.wait({receiver}, timeout=min(TICK, deadline - loop.time()))
        receiver.result()

    def _fail(self, error: Exception) -> None:
        self.error, self._traceback = error, error.__traceback__
        request_id = getattr(error, "request_id", "") or (self._connection.request_id if self._connection else "")
        self.transcript.note("error", str(error), request_id=request_id or None)

    def _finish(self, task: asyncio.Task[None]) -> None:
        sent = self.audio_cursor
        if self._connection and self.options.callback is None:
            for start, end in self.transcript.unheard(sent):
                if end - start > _UNHEARD:
                    why = type(self.error).__name__ if self.error and end == sent else "no final came"
                    self.transcript.add_gap(start, end, why)
        if self._wanted and not self._wanted[1].done():
            self._wanted[1].cancel()
        self.transcript.drop_interims()
        self.transcript.note("closed", f"{sent:.1f} s of audio sent")
        _sessions[:] = [session for session in _sessions if session.state is not State.CLOSED]
        self._set_state(State.CLOSED)
        if self.error and not self._listeners:
            # Nobody is there to raise it to, and a background task's error must not pass unseen.
            self._told = True
            expected = isinstance(self.error, DgnbError)
            logger.error("%s failed: %s", self, self.error, exc_info=None if expected else self.error)


async def transcribe(
    source: Any,
    options: LiveOptions | None = None,
    *,
    duration: float | None = None,
    endpoint: str | None = None,
    api_key: str | Secret | None = None,
    pace: float | None = 1.0,
    **wire: Any,
) -> Transcript:
    """Transcribe a source to its end, or for `duration` seconds.

    Args: as `LiveSession`.

    Returns:
        The transcript: `.text`, `.words`, `.utterances` and more.

    Raises:
        ConfigurationError: Source, options or endpoint are wrong; nothing was opened.
        AudioError: The source can't be opened, read or decoded.
        HandshakeError: The server was not reached, or refused; `AuthenticationError` for the key.
        ConnectionLost: The connection ended before the server had finished.
        CloseTimeout: The server did not finish in time.

    After an error, and when it is cancelled (an interrupted cell), the stream is ended, and what was transcribed so far
    is the `transcript` of the last of `dgnb.sessions()`.

    Example:
        ```python
        transcript = await dgnb.transcribe("speech.wav", smart_format=True)
        transcript.words
        ```
    """
    # Rebound, so that a traceback that prints arguments does not print the key.
    api_key = Secret.of(api_key)
    session = LiveSession(
        source, options, endpoint=endpoint, api_key=api_key, duration=duration, pace=pace, **wire
    ).start()
    try:
        await session.wait()
    except asyncio.CancelledError:
        session._request_stop()
        await session._drained_briefly()
        found = [index for index, listed in enumerate(sessions()) if listed is session]
        if found:
            logger.warning("Interrupted: the transcript so far is dgnb.sessions()[%d].transcript.", found[0])
        raise
    session._raise()
    return session.transcript


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _source(source: Any, options: LiveOptions) -> AudioSource:
    if isinstance(source, AudioSource):
        if options.encoding is not None:
            raise ConfigurationError(
                f"Say encoding and sample_rate where the source is made, as in {type(source).__name__}(…, encoding=…)."
            )
        return source
    return as_source(source, encoding=options.encoding, sample_rate=options.sample_rate, channels=options.channels)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions count as seen."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        logger.warning("%s", text)

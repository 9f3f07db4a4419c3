"""`LiveSession` and `transcribe()`: a stream as a background task in the running loop.

A session's task runs the stream. Whoever waits only waits: interrupting a waiting cell ends the wait.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Final

from dgnb.audio import AudioSource, Pacer, as_source
from dgnb.cells import Cells
from dgnb.connection import Connection
from dgnb.endpoints import Endpoint, Secret, choose
from dgnb.exceptions import ConfigurationError, ConnectionLost, DgnbError
from dgnb.messages import ConfigureFailure, ConfigureSuccess, Results, ServerMessage
from dgnb.options import LiveOptions
from dgnb.session.report import figures, report
from dgnb.session.stream import TICK, Change, State, Stream
from dgnb.transcript import Transcript

__all__ = ["LiveSession", "sessions", "transcribe"]

logger = logging.getLogger("dgnb")

_INTERRUPTED_DRAIN: Final = 0.3
_FINALIZE_TIMEOUT: Final = 2.0
_EXIT_TIMEOUT: Final = 1.5
_STOPS: Final = 10
_PATIENCE: Final = 1800.0
_NAMES: Final = tuple(field.name for field in dataclasses.fields(LiveOptions))

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
        reconnect: Open a new connection when one is lost, and send again what no final covers: no word is lost, and
            none comes twice. True for half an hour of trying, a number for so many seconds, False for not at all. 120 s
            of audio are kept meanwhile; what is older and would not wait becomes a row in `transcript.gaps`.
        journal: A file to write the transcript to each second, so that a killed kernel loses no more than that;
            `Transcript.load` reads it. A file that is there already is moved aside.
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
        reconnect: bool | float = True,
        journal: str | os.PathLike[str] | None = None,
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
        if not isinstance(reconnect, bool) and not _positive(reconnect):
            raise ConfigurationError(f"reconnect is True, False or a positive number of seconds, not {reconnect!r}.")
        if journal is not None and (not isinstance(journal, (str, os.PathLike)) or not os.fspath(journal)):
            raise ConfigurationError(f"journal is the path of a file, not {journal!r}.")
        if hasattr(source, "dtype") and "sample_rate" in wire:
            wire.setdefault("encoding", "linear16")  # an array has samples, whatever its dtype
        options = LiveOptions(**wire) if options is None else options
        self.source = _source(source, options)
        self.endpoint = endpoint if isinstance(endpoint, Endpoint) else choose(endpoint, api_key)
        self.transcript = Transcript()
        self.error: Exception | None = None
        if pace is None and not self.endpoint.local:
            pace = Pacer.CATCH_UP
        self._stream = Stream(
            self.source,
            options,
            self.endpoint,
            self.transcript,
            told=self._tell,
            duration=duration,
            pace=pace,
            close_timeout=close_timeout,
            patience=_PATIENCE if reconnect is True else float(reconnect),
            journal=None if journal is None else os.path.expanduser(os.fspath(journal)),
        )
        self._configuring = False
        self._former: list[LiveSession] = []
        self._news = asyncio.Event()
        self._waiting = 0
        self._listeners = 0
        self._told = False
        self._traceback: TracebackType | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        if not hasattr(self, "_stream"):
            # Where making it failed, a traceback that shows locals still asks.
            return "<LiveSession, not made>"
        state = self.state.value if self._task or self._is_closed() else "not started"
        if self.paused:
            state = "paused"
        elif self.reconnecting:
            state = f"reconnecting, {self.pending:.1f} s kept"
        return f"<LiveSession {state}: {self.source.name}, {self.audio_cursor:.1f} s sent, {self.transcript!r}>"

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._stream.state

    @property
    def options(self) -> LiveOptions:
        """What is asked for; `apply` changes it."""
        return self._stream.options

    @property
    def paused(self) -> bool:
        """Whether `pause()` holds the audio back."""
        return self._stream.paused and not self._is_closed()

    @property
    def reconnecting(self) -> bool:
        """Whether a connection was lost, and the next one is not open yet."""
        return self.state is State.CONNECTING and self._stream.connections > 0

    @property
    def audio_cursor(self) -> float:
        """Seconds of audio sent, on the source's timeline. A lost connection moves it back to its last final."""
        return self._stream.audio_cursor

    @property
    def pending(self) -> float:
        """Seconds of audio that were captured and that no final covers yet: on their way, or kept to be sent."""
        return self._stream.pending

    @property
    def lag(self) -> float:
        """The longest time in the last half minute that the kernel was too busy to serve the stream, in seconds."""
        lag = self._stream.lag
        if lag is None or self._loop is None or self._is_closed():
            return 0.0
        return lag.recent(self._loop.time())

    @property
    def level(self) -> float | None:
        """How loud the audio is that was sent last: its peak in dB below full scale, None before there is any.

        -inf is digital silence. Only decoded audio has a level.
        """
        newest = self._stream.newest_chunk
        if len(newest) < 2:
            return None
        samples = memoryview(newest[: len(newest) // 2 * 2]).cast("h")
        peak = max(max(samples), -min(samples))
        return 20 * math.log10(peak / 32768) if peak else -math.inf

    def report(self) -> str:
        """How it went, to read or to send along with a question; at any time, and without the key.

        One line: seconds of audio captured, acknowledged by finals, pending, and in gaps; words; reconnects; the
        longest time that nothing was sent on the wire, and the longest that the kernel was busy, in seconds. After a
        fault, also what happened in the server's words, the way the line runs, and versions.
        """
        return report(self._stream, self.transcript, self.endpoint, self.error)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it runs in: the one in which it was made or, failing that, started."""
        return self._loop

    # What a user does

    def start(self) -> LiveSession:
        """Begin, and return at once. Starting twice is no error; a session that has ended stays so.

        In a notebook, a cell that is run again ends the session that it started before; the new one begins behind that.

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
        if self._task is None and self.state is not State.CLOSED:
            assert self._loop is not None
            self._task = self._loop.create_task(self._run(), name=f"dgnb: session {self.source.name}")
            # Not at the end of _run(): a task that is cancelled before its first step never enters it.
            self._task.add_done_callback(self._finish)
            _sessions.append(self)
            # Two would cost twice, and hear everything twice.
            self._former = [former for former in _started.replace(self) if not former._is_closed()]
            for former in self._former:
                former.transcript.note("replaced", "The cell that started it was run again.")
                former._request_stop()

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
        if self.state in (State.CONNECTING, State.OPEN) and not self.paused:
            self._stream.pause()
            self.transcript.note("paused", f"at {self.audio_cursor:.1f} s")
            self._tell()

    def resume(self) -> None:
        """Let the audio flow again; where it does, nothing happens."""
        self._on_loop(self._resume)

    def _resume(self) -> None:
        if self.paused:
            stream = self._stream
            stream.resume()
            skipped = f"; {stream.skipped:.1f} s of the live stream were skipped" if stream.skipped else ""
            stream.skipped = 0.0
            self.transcript.note("resumed", f"at {self.audio_cursor:.1f} s{skipped}")
            self._tell()

    async def finalize(self) -> bool:
        """Ask the server to finish what it has heard so far, and wait for the answer, two seconds at most.

        Returns:
            Whether the server confirmed with a `from_finalize`; it need not, when little was to be finished.

        Raises:
            ConfigurationError: The session is not open.
        """
        connection = self._stream.connection
        if self.state is not State.OPEN or connection is None:
            raise ConfigurationError(f"Only an open session can be finalized; this one is {self.state.value}.")
        seen = self.transcript.count

        def confirmed() -> bool:
            return any(isinstance(m, Results) and m.from_finalize for m in self.transcript.since(seen))

        with contextlib.suppress(TimeoutError, ConnectionLost):  # the session itself tells of a lost connection
            async with asyncio.timeout(_FINALIZE_TIMEOUT):
                await connection.finalize()
                await self._wait(lambda: confirmed() or self._is_closed())
        return confirmed()

    async def apply(self, options: LiveOptions) -> None:
        """Change the options while the stream runs: the transcript goes on, with its times.

        Key terms and numerals are sent as `Configure` where the service takes that. Everything else, and where it does
        not, ends the connection and opens another one, which is sent again what had no final yet; meanwhile the audio
        waits. What a source is read with (`multichannel`, `encoding` and so on) stays as it was when it was opened.

        Cancelling takes the change back where it has not begun.

        Raises:
            ConfigurationError: The session is not open, or another change is under way, or the source would have to be
                read anew.
            HandshakeError: The server refused the new options; the stream goes on with the old ones.
        """
        if not isinstance(options, LiveOptions):
            raise ConfigurationError(f"options is a LiveOptions, not {type(options).__name__}.")
        if self._loop is not _running_loop() or self._loop is None:
            raise ConfigurationError("Options are applied in the loop that the session runs in: here another one runs.")
        stream, connection = self._stream, self._stream.connection
        if self.state is not State.OPEN or connection is None:
            raise ConfigurationError(f"Options can be applied to an open session; this one is {self.state.value}.")
        if stream.change is not None or self._configuring:
            raise ConfigurationError("Another change is under way: apply this one when it is done.")
        for name in ("multichannel", "encoding", "sample_rate", "channels"):
            if getattr(options, name) != getattr(self.options, name):
                raise ConfigurationError(f"{name} says how the source is read: start a new session for that.")
        if options == self.options or await self._configured(connection, options):
            return
        if not stream.replayable:
            raise ConfigurationError(
                "A container that is passed through as it is can't go on in another connection: start a new session, "
                "or leave out decode=False."
            )
        answer: asyncio.Future[None] = self._loop.create_future()
        change = Change(options, answer)
        stream.request(change)
        try:
            await self._wait(lambda: answer.done() or self._is_closed())
        except asyncio.CancelledError:
            stream.withdraw(change)
            raise
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
            if not self._stream.stopping.is_set():
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
        return self.state is State.CLOSED

    def _raise(self) -> None:
        if self.error is not None:
            self._told = True
            # As it was caught: raising the same exception again would add to its traceback each time.
            raise self.error.with_traceback(self._traceback)

    # How

    def _request_stop(self) -> None:
        if self._task is None or self._loop is None:
            self._stream.stopping.set()
            self._stream.set_state(State.CLOSED)
        elif self._loop.is_closed():
            # The task has gone with its loop.
            self._fail(self.error or ConnectionLost("The event loop that the session ran in was closed."))
            self._stream.set_state(State.CLOSED)
        elif self._loop is not _running_loop():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._request_stop)
        elif not self._stream.stopping.is_set():
            self._stream.stopping.set()
            self._stream.stopped_at = self._loop.time()
            if self.state is State.CONNECTING:
                self._task.cancel()

    def _tell(self) -> None:
        if self._waiting:
            self._news.set()
            self._news.clear()

    async def _run(self) -> None:
        if self.endpoint.kind == "offline":
            _say_once(f"Transcribing with {self.endpoint}.")
        try:
            for former in self._former:
                await former.wait()
            await self._stream.run()
        except asyncio.CancelledError:
            if not self._stream.stopping.is_set():
                self._fail(ConnectionLost("The session was cancelled: the event loop that it ran in has ended."))
        except Exception as error:
            self._fail(error)

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
            # One that is lost now is opened again, with the new options.
            with contextlib.suppress(ConnectionLost):
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
        self._stream.options = options
        self.transcript.note("changed", f"at {self.audio_cursor:.1f} s: {options!r}")
        return True

    def _fail(self, error: Exception) -> None:
        self.error, self._traceback = error, error.__traceback__
        connection = self._stream.connection
        request_id = getattr(error, "request_id", "") or (connection.request_id if connection else "")
        self.transcript.note("error", str(error), request_id=request_id or None)

    def _finish(self, task: asyncio.Task[None]) -> None:
        stream = self._stream
        sent = stream.reached
        try:
            stream.settle(self.error)
            if stream.change and not stream.change.answer.done():
                stream.change.answer.cancel()
            self.transcript.drop_interims()
            self.transcript.note("closed", f"{sent:.1f} s of audio sent; {figures(stream, self.transcript)}")
            stream.write_journal(last=True)
        except Exception as error:
            # Whoever waits must not wait for ever.
            if self.error is None:
                self._fail(error)
        _sessions[:] = [session for session in _sessions if session.state is not State.CLOSED]
        stream.set_state(State.CLOSED)
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
    reconnect: bool | float = True,
    journal: str | os.PathLike[str] | None = None,
    **wire: Any,
) -> Transcript:
    """Transcribe a source to its end, or for `duration` seconds.

    The arguments are those of `LiveSession`.

    Returns:
        The transcript: `.text`, `.words`, `.utterances` and more.

    Raises:
        ConfigurationError: Source, options or endpoint are wrong; nothing was opened.
        AudioError: The source can't be opened, read or decoded.
        HandshakeError: The server was not reached, or refused; `AuthenticationError` for the key.
        ConnectionLost: The connection ended before the server had finished, and another one was of no use, or not had.
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
        source,
        options,
        endpoint=endpoint,
        api_key=api_key,
        duration=duration,
        pace=pace,
        reconnect=reconnect,
        journal=journal,
        **wire,
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


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        logger.warning("%s", text)


def _at_exit() -> None:
    """A kernel that shuts down or restarts: let servers know, and keep what they say at once.

    Some kernels only stop their loop, so that no task of it is ever cancelled.
    """
    waiting: dict[asyncio.AbstractEventLoop, list[LiveSession]] = {}
    for session in sessions():
        if session._loop and not session._is_closed() and not session._loop.is_closed():
            waiting.setdefault(session._loop, []).append(session)
    for loop, left in waiting.items():
        if not loop.is_running():
            with contextlib.suppress(Exception):
                task = loop.create_task(_let_go(left))
                for _ in range(_STOPS):
                    # A kernel that was interrupted before it ended has asked its loop to stop more than once.
                    with contextlib.suppress(RuntimeError):
                        loop.run_until_complete(task)
                        break


async def _let_go(left: list[LiveSession]) -> None:
    for session in left:
        session._request_stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_TIMEOUT):
            for session in left:
                await session.wait()


_started: Cells[LiveSession] = Cells()

atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    # A forked child has copies of the sockets: it must not speak on them.
    os.register_at_fork(after_in_child=_sessions.clear)

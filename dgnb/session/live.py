"""`LiveSession` and `transcribe()`: what you do with a stream that runs in the background, and what you see of it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from ssl import SSLContext
from typing import Any, Final, Literal, ParamSpec, TypeVar

from dgnb.audio import AudioSource, Pacer, Sound, as_source
from dgnb.audio.sound import again
from dgnb.endpoints import KEY_VARIABLE, Endpoint, Secret, choose, hidden, hide
from dgnb.exceptions import ConfigurationError
from dgnb.messages import ServerMessage
from dgnb.notices import say
from dgnb.options import FluxOptions, StreamOptions, as_options, takes_options
from dgnb.session import checks, requests
from dgnb.session.playback import NOWHERE, Saved
from dgnb.session.progress import Shown
from dgnb.session.registry import sessions
from dgnb.session.report import report
from dgnb.session.runner import Runner
from dgnb.session.stream import Settings, State
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, native, number

__all__ = ["LiveSession", "transcribe"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE: Final = 1800.0
_STARTING: Final = 60.0
_FASTEST: Final = 1.25
_UNSAID: Final = (None, None, 1)  # The input format of a source that says by itself what it is


class LiveSession(Shown):
    """A live transcription that runs in the background while you go on working.

    `start()` returns at once, and `transcript` grows from then on. `await session` starts it and waits until it has
    ended; cancelling (an interrupted cell) stops the waiting, not the session. `async with` starts it, and stops it at
    the end of the block. `async for` gives the messages, from the first on.

    Args:
        source: A path, an http(s) address, an `AudioSource`, or what `BufferSource` takes: bytes, an array, a pair
            such as (16000, array), an open binary file, a queue, an iterator of bytes or arrays, async or not.
        options: What to ask for; or options by name as further arguments, as `smart_format=True`. `FluxOptions`, or a
            model `flux-…`, is for turns: `transcript.turns`.
        encoding: How a source without a header is read, as `"linear16"`. What is sent is linear16 at 16 kHz.
        sample_rate: Samples a second of a source without a header, or of an array.
        channels: Interleaved channels of a source without a header.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` base address. Unset: `DGNB_ENDPOINT`; failing that, Deepgram
            where there is a key, else the offline engine on this machine.
        api_key: Deepgram's key. Unset: `DEEPGRAM_API_KEY`.
        access_token: An access token (sent as `Bearer`) in place of the key. Unset: `DEEPGRAM_TOKEN`. As a rule it is
            valid for 30 s, so a connection that is lost later can't be opened again.
        ssl: An `ssl.SSLContext`, or the path of a PEM file with authorities to trust beside the system's.
        proxy: A proxy's address, such as `"http://user:password@host:3128"`; False for none. Unset: the environment's.
        duration: Seconds of audio after which it stops by itself; None for no limit.
        max_cost: US$ by `dgnb.prices` after which it stops by itself. All audio that is sent counts, also what is sent
            again on another connection. An endpoint on this machine costs nothing.
        gate: Send no silence, which is billed like speech. A KeepAlive takes its place, and all times stay those of the
            source. What is louder than -45 dB, as music, is always sent. Not for Flux.
        pace: Seconds of audio sent a second: 1.0 is real time. None: as fast as a server on this machine takes it, and
            1.2 for any other, as Deepgram takes 1.25.
        close_timeout: Seconds without a message after which the server is given up at the end of the source.
        reconnect: Try again when the server can't be reached or a connection is lost, and send again what no final
            covers: no word is lost, and none comes twice. True: try for half an hour, but only for a minute for a
            server on this machine that has never answered; a number: for so many seconds; False: not at all. 120 s of
            audio are kept meanwhile; of a live source, what is older becomes a row in `transcript.gaps`.
        journal: A file to write the transcript to each second, so that a killed kernel loses no more than that;
            `Transcript.load` reads it. A file that is there already is moved aside.
        record: A file for the audio that is captured: `.flac`, or `.ogg` or `.opus` for Ogg Opus. Second t of it is
            second t of the transcript. It can be played while it grows and after a killed kernel. A file that is there
            already is moved aside; `retry()` goes on in the same one. True: a temporary file until the kernel ends, of
            2 h at most, as an event says; none where the source itself can be heard again, as a file can.
        progress: Whether to show how far it is while it is awaited, from one second on: with a Stop button under the
            cell of a notebook, as a line on stderr elsewhere. None: in a notebook and on a terminal.
        **wire: Options by name.

    Attributes:
        transcript: The `Transcript`, from the start on; it survives every error.
        source: The `AudioSource`.
        endpoint: Where the audio goes, and why there.

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

    @takes_options
    def __init__(
        self,
        source: Any,
        options: StreamOptions | Mapping[str, Any] | None = None,
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        endpoint: str | Endpoint | None = None,
        api_key: str | Secret | None = None,
        access_token: str | Secret | None = None,
        ssl: SSLContext | str | os.PathLike[str] | None = None,
        proxy: str | Secret | Literal[False] | None = None,
        duration: float | None = None,
        max_cost: float | None = None,
        pace: float | None = 1.0,
        close_timeout: float = 10.0,
        reconnect: bool | float = True,
        journal: str | os.PathLike[str] | None = None,
        record: str | os.PathLike[str] | bool = False,
        gate: bool = False,
        progress: bool | None = None,
        **wire: Any,
    ) -> None:
        endpoint, api_key, access_token, proxy = hidden(endpoint, api_key, access_token, proxy)
        asked = as_options(options, wire)
        self._format: tuple[str | None, int | None, int] = (encoding, sample_rate, channels)
        if asked.encoding is not None:
            if self._format not in (_UNSAID, _format_of(asked)):
                raise ConfigurationError("encoding, sample_rate and channels are given twice: by name and in options.")
            self._format, asked = _format_of(asked), asked.for_audio(*_UNSAID)
        if isinstance(source, AudioSource) and self._format != _UNSAID:
            raise ConfigurationError(
                f"Say encoding and sample_rate where the source is made, as in {type(source).__name__}(…, encoding=…)."
            )
        encoding, sample_rate, channels = self._format
        self.source = as_source(source, encoding=encoding, sample_rate=sample_rate, channels=channels)
        replays = isinstance(self.source, Saved)
        self.endpoint = NOWHERE if replays else choose(endpoint, api_key, access_token, ssl, proxy)
        flux, local = isinstance(asked, FluxOptions), self.endpoint.local
        settings = _settings(flux, local, duration, pace, close_timeout, reconnect, journal)
        recorder = checks.recorder(record, self.source, settings.journal)
        settings = settings._replace(
            recorder=recorder, gate=checks.gate(gate, asked), max_cost=checks.most(max_cost, asked)
        )
        self.transcript = Transcript()
        if again(self.source):
            self.transcript.audio = Sound(self.source)
        self._runner = Runner(self, asked, settings, progress)
        self._stream = self._runner.stream

    def __repr__(self) -> str:
        if not hasattr(self, "_runner"):
            # A traceback that shows local variables also shows a session whose __init__ failed.
            return "<LiveSession, not made>"
        state = self.state.value if self in sessions() or self._runner.closed else "not started"
        if self.paused:
            state = "paused"
        elif self.reconnecting:
            state = f"reconnecting, {self.pending:.1f} s kept"
        elif self.state is State.CONNECTING and self._stream.last_fault:
            state = f"connecting still ({self._stream.last_fault})"
        return f"<LiveSession {state}: {self.source.name}, {self.audio_cursor:.1f} s sent, {self.transcript!r}>"

    # What you see

    @property
    def state(self) -> State:
        """CONNECTING, OPEN, CLOSING or CLOSED."""
        return self._stream.state

    @property
    def options(self) -> StreamOptions:
        """What is asked for; `apply` changes it."""
        return self._stream.options

    @property
    def error(self) -> Exception | None:
        """Why it ended early, or None."""
        return self._stream.error

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it runs in: the one in which it was made or, failing that, started."""
        return self._runner.loop

    @property
    def paused(self) -> bool:
        """Whether `pause()` holds the audio back."""
        return self._stream.capture.paused and not self._runner.closed

    @property
    def reconnecting(self) -> bool:
        """Whether a connection was lost, and the next one is not open yet."""
        return self.state is State.CONNECTING and self._stream.connections > 0

    @property
    def audio_cursor(self) -> float:
        """Seconds of audio sent, on the source's timeline. A lost connection moves it back to its last final."""
        return self._stream.capture.audio_cursor

    @property
    def pending(self) -> float:
        """Seconds of captured audio that no final covers yet: on their way, or kept to be sent."""
        return self._stream.capture.pending

    @property
    def lag(self) -> float:
        """The longest time in the last half minute that the kernel was too busy to serve the stream, in seconds."""
        loop = self._runner.loop
        return self._stream.watch.recent(loop.time()) if loop and not self._runner.closed else 0.0

    @property
    def level(self) -> float | None:
        """How loud the audio is that was sent last: its peak in dB below full scale, None before there is any.

        -inf is digital silence. Only decoded audio has a level.
        """
        return self._stream.capture.level

    def report(self) -> str:
        """How it went so far, to read or to send along with a question, without the key.

        One line of figures, in seconds. After a fault also the server's words, its address, and versions.
        """
        return report(self._stream)

    # What you do

    def start(self) -> LiveSession:
        """Begin, and return at once. Starting twice is no error; a session that has ended stays so until `retry()`.

        It runs in the loop in which it was made. In JupyterLab, a cell that is run again ends the sessions that it
        started before, and the new one begins after that. A thread, or a task after other cells ran, ends none.

        Raises:
            ConfigurationError: No loop runs, so there is nothing to run in.
        """
        self._runner.start()
        tell_of_offline(self.endpoint)
        return self

    def retry(self) -> LiveSession:
        """Go on after an error or a stop, with the same transcript and timeline. It returns at once.

        Audio without a final that is still in memory is sent again, and is no row of `transcript.gaps` any more. A file
        is read on from where it stood, and a live source is opened anew: what it missed is a row. An async iterator or
        a pipe can't be opened twice. Then the session sends what is in memory, and ends with an `AudioError`. On a
        session that has not ended, this is `start()`.

        Raises:
            ConfigurationError: All was transcribed, or a container was passed through as it is, or no loop runs.
        """
        self._runner.retry()
        return self

    def pause(self) -> None:
        """Hold the audio back; KeepAlive keeps the connection. Word times count the audio sent, without pauses.

        It ends a turn of Flux's, which could not end without audio.
        A file and an iterator wait. A station does not: it loses the length of the pause, as `transcript.gaps` says.
        """
        self._runner.on_loop(self._stream.pause)

    def resume(self) -> None:
        """Let the audio flow again; without a pause nothing happens."""
        self._runner.on_loop(self._stream.resume)

    async def finalize(self) -> bool:
        """Ask the server to finish what it has heard so far, and wait for the answer, two seconds at most.

        Returns:
            Whether the server confirmed with a `from_finalize`. It need not, when there was little to finish. Flux ends
            the turn: whether there was one.

        Raises:
            ConfigurationError: The session is not open.
        """
        return await requests.finalize(self._runner)

    async def apply(self, options: StreamOptions) -> None:
        """Change the options while the stream runs: the transcript goes on, with its times.

        Another connection is opened, which is sent again what had no final yet; with Flux at the end of the turn, and
        not for thresholds, key terms, hints and numerals. Cancelling takes a change back that has not begun.

        Raises:
            ConfigurationError: The session is not open, or another change is under way, or the source would have to be
                read anew, or Flux refused the change.
            HandshakeError: The server refused the new options; the stream goes on with the old ones.
        """
        options = as_options(options, {})
        if options.encoding is not None:
            if _format_of(options) != self._format:
                raise ConfigurationError("encoding says how the source is read: start a new session for that.")
            options = options.for_audio(*_UNSAID)
        await requests.apply(self._runner, options)

    async def stop(self) -> Transcript:
        """End the audio, wait for the server's last messages, and close. It takes 5 s at most.

        You can call it in any state, and twice. Cancelling stops the waiting; the session still ends.

        Raises:
            DgnbError: What the session failed with, unless that was raised or logged before.
        """
        await self._runner.stop()
        return self.transcript

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is CLOSED, `timeout` seconds at most, and say whether it is; its error is not raised."""
        if timeout is not None:
            timeout = number("timeout is a number of seconds, or None for no limit", timeout, most=math.inf)
        return await self._runner.wait(timeout)

    def __await__(self) -> Generator[Any, None, Transcript]:
        """Start it, wait until it is CLOSED, and raise its error; `SessionStopped` when another one replaced it."""
        self.start()
        return self._runner.result().__await__()

    async def __aenter__(self) -> LiveSession:
        return self.start()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            await self.stop()
        elif isinstance(error, asyncio.CancelledError):
            await self._runner.interrupt(error)
        else:
            # The exception of the block is the one to be seen.
            self._runner.request_stop()
            await self.wait()

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        self.start()
        runner, given = self._runner, 0

        def more() -> bool:
            return runner.closed or self.transcript.count > given

        while True:
            closed = runner.closed
            for message in self.transcript.since(given):
                given += 1
                yield message
            if closed:
                runner.raise_error()
                return
            with runner.listening():
                await runner.wait_until(more)


def _like(made: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """A function that takes the arguments of `made`: type checkers, Tab and Shift-Tab show them."""

    def signed(function: Callable[..., T]) -> Callable[P, T]:
        vars(function)["__signature__"] = inspect.signature(made).replace(return_annotation="Transcript")
        return function

    return signed


@_like(LiveSession)
async def transcribe(*given: Any, **by_name: Any) -> Transcript:
    """Transcribe a source to its end, or for `duration` seconds. The arguments are those of `LiveSession`.

    After an error, and when you cancel it (interrupt the cell), the stream ends, and what was transcribed so far is the
    `transcript` of the last of `dgnb.sessions()`.

    Returns:
        The transcript: `.text`, `.words`, `.utterances` and more.

    Raises:
        ConfigurationError: Source, options or endpoint are wrong; nothing was opened.
        AudioError: The source can't be opened, read or decoded.
        HandshakeError: The server was not reached, or refused; `AuthenticationError` for the key.
        ConnectionLost: The connection ended too early, and a new one did not help or was not wanted.
        CloseTimeout: The server did not finish in time.
        SessionStopped: The session was stopped or replaced before the source ended.

    Example:
        ```python
        transcript = await dgnb.transcribe("speech.wav", smart_format=True)
        transcript.words
        ```
    """
    hide(by_name)
    async with LiveSession(*given, **by_name) as session:
        return await session._runner.whole()


def _settings(
    flux: bool, local: bool, duration: Any, pace: Any, close_timeout: Any, reconnect: Any, journal: Any
) -> Settings:
    if duration is not None:
        duration = number("duration is a positive number of seconds", duration, ABOVE_0)
    close_timeout = number("close_timeout is a positive number of seconds", close_timeout, ABOVE_0)
    reconnect = native(reconnect)
    if not isinstance(reconnect, bool):
        reconnect = number("reconnect is True, False or a positive number of seconds", reconnect, ABOVE_0)
    journal = native(journal)
    if journal is not None and (not isinstance(journal, (str, os.PathLike)) or not os.fspath(journal)):
        raise ConfigurationError(f"journal is the path of a file, not {journal!r}.")
    pace = Pacer.CATCH_UP if pace is None and not local else pace
    if flux and not local and isinstance(pace, int | float) and pace > _FASTEST:
        raise ConfigurationError(f"Flux takes audio at {_FASTEST} times real time at most: leave out pace={pace:g}.")
    patience = _PATIENCE if reconnect is True else float(reconnect)
    # Nobody listens on this machine: the port is wrong, or the server still starts.
    unanswered = _STARTING if reconnect is True and local else patience
    path = None if journal is None else os.path.expanduser(os.fsdecode(journal))
    return Settings(duration, pace, close_timeout, patience, path, unanswered)


def _format_of(options: StreamOptions) -> tuple[str | None, int | None, int]:
    return options.encoding, options.sample_rate, options.channels


def tell_of_offline(endpoint: Endpoint) -> None:
    """Say, once, that the engine on this machine transcribes, so that nobody takes it for Deepgram."""
    if endpoint.kind == "offline":
        _say_once(
            f"The offline engine on this machine transcribes, {endpoint.reason}. For Deepgram, pass "
            f"endpoint='deepgram', with api_key=… or with {KEY_VARIABLE} set before the notebook starts."
        )


_say_once = functools.cache(say)

"""One WebSocket to `/v1/listen` or `/v2/listen`: `connect()` opens it, `Connection` sends audio and gives messages.

It does not reconnect, and it makes no transcript. What a refusal or a close code means stands in `errors.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from ssl import SSLContext
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed, WebSocketException

from dgnb import messages
from dgnb._version import __version__
from dgnb.connection.errors import HOPELESS, Answers, connection_lost, handshake_error, not_greeted, reason_in
from dgnb.endpoints import Endpoint, Secret, choose, hidden
from dgnb.exceptions import ConnectionLost, GaveUp, ProtocolError
from dgnb.messages import Results, ServerMessage, TurnInfo, UnknownMessage
from dgnb.options import FluxOptions, StreamOptions, as_options

__all__ = ["Connection", "connect"]

PING_INTERVAL: Final = 5.0
PING_TIMEOUT: Final = 12.0
"""Seconds. A dead line is noticed within 15 s, and a slow one, which answers late, is not taken for dead."""

_LOOK: Final = 1.0  # Seconds between two looks at whether the server is silent

_MAX_MESSAGE: Final = 4 << 20
_SEND_BUFFER: Final = 64 << 10

_SILENT: Final = logging.Logger("dgnb.wire", logging.CRITICAL)  # noqa: LOG001 - not even a handler of the root hears it
"""What websockets logs, headers and frames among it, is heard nowhere: it would show the key."""


class connect:
    """Open a WebSocket to `/v1/listen`, or with `FluxOptions` to `/v2/listen`.

    `await connect(…)` gives a `Connection` that you close. `async with connect(…) as connection` closes it for you.
    Cancelling closes what was opened so far.

    `/v1/listen` sends nothing before it has audio, and closes after 10 s without any: send at once. `/v2/listen` sends
    `Connected`, which is awaited.

    Args:
        options: What to ask for; `LiveOptions()` when None. For raw audio they need `encoding` and `sample_rate`.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` base address; see `LiveSession`.
        api_key: Deepgram's key; `DEEPGRAM_API_KEY` when None.
        access_token: An access token in place of the key; see `LiveSession`, as for `ssl` and `proxy`.
        open_timeout: Seconds within which the server must answer.
        close_timeout: Seconds within which the server must close.
        ping_timeout: Seconds without a byte from the server after which the line counts as dead. A ping is sent every
            5 s. None for no limit, when you send audio faster than the server transcribes it.
        keep_alive_interval: Seconds without a frame sent after which a KeepAlive is sent. Deepgram advises 3 to 5.
            `/v2/listen` knows none: pings keep it open.

    Raises:
        ConfigurationError: Options or endpoint are wrong; nothing was sent.
        AuthenticationError: The key is wrong, missing, or lacks a permission.
        HandshakeError: The server was not reached, or it refused; the message quotes its words.

    Example:
        ```python
        options = dgnb.LiveOptions(encoding="linear16", sample_rate=16000, interim_results=True)
        async with dgnb.connect(options) as connection:
            await connection.send(chunk)
            await connection.close_stream()
            async for message in connection:
                print(message)
        ```
    """

    def __init__(
        self,
        options: StreamOptions | Mapping[str, Any] | None = None,
        *,
        endpoint: str | Endpoint | None = None,
        api_key: str | Secret | None = None,
        access_token: str | Secret | None = None,
        ssl: SSLContext | str | os.PathLike[str] | None = None,
        proxy: str | Secret | Literal[False] | None = None,
        open_timeout: float = 10.0,
        close_timeout: float = 5.0,
        ping_timeout: float | None = PING_TIMEOUT,
        keep_alive_interval: float = 4.0,
    ) -> None:
        endpoint, api_key, access_token, proxy = hidden(endpoint, api_key, access_token, proxy)
        self._options = as_options(options, {})
        self._endpoint = choose(endpoint, api_key, access_token, ssl, proxy)
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout
        self._ping_timeout = ping_timeout
        self._keep_alive_interval = keep_alive_interval
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        return "<write `await dgnb.connect(…)`, or `async with dgnb.connect(…) as connection`>"

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._open().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._open()
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        if self._connection:
            await self._connection.close()

    async def _open(self) -> Connection:
        endpoint = await self._endpoint.locate()
        url = f"{endpoint.url}{self._options.path}?{urlencode(self._options.query())}"
        try:
            socket_ = await self._handshake(url, endpoint)
        # "from None": the frames of the original error hold the request, and the request holds the key.
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None
        except (OSError, WebSocketException, ValueError, ImportError) as error:
            raise handshake_error(error, endpoint, self._open_timeout) from None
        connection = Connection(
            socket_,
            url=url,
            endpoint=endpoint,
            keep_alive_interval=self._keep_alive_interval,
            close_timeout=self._close_timeout,
            ping_timeout=self._ping_timeout,
        )
        try:
            await connection.greeted(self._open_timeout)
        except asyncio.CancelledError:
            connection.abort()
            raise
        return connection

    async def _handshake(self, url: str, endpoint: Endpoint) -> Any:
        # Apart, because the simulator puts its own network in the place of this step.
        given = endpoint.proxy
        proxy: Any = None if given is False or endpoint.local else True
        tls: dict[str, Any] = {"ssl": endpoint.ssl} if endpoint.ssl else {}
        return await _OpenSocket(
            url,
            create_connection=_Socket,
            additional_headers={"Authorization": HiddenHeader(endpoint.authorization)},
            user_agent_header=f"dgnb/{__version__}",
            # Audio does not compress, and a buffer for compression would hide that the server no longer reads.
            compression=None,
            proxy=given.reveal() if given else proxy,
            open_timeout=self._open_timeout,
            close_timeout=self._close_timeout,
            ping_interval=PING_INTERVAL,
            # `_watch_loop` counts every byte: on a slow link the pongs wait in a queue.
            ping_timeout=None,
            max_size=_MAX_MESSAGE,
            logger=_SILENT,
            **tls,
        )


class Connection:
    """An open WebSocket to `/v1/listen` or `/v2/listen`; `connect()` makes one.

    Iterating gives the messages in order. It ends when the server closes with 1000 after `close_stream()` (or, at
    `/v2/listen`, without a code), and raises `ConnectionLost` when the connection ends otherwise. A frame that is not a
    JSON object raises `ProtocolError`; the next `anext(connection)` gives the next message. It is also raised, once,
    when the first answers are not Deepgram's. Cancelling loses no message.

    At `/v1/listen` a background task sends a KeepAlive whenever nothing else was sent for a while.

    Attributes:
        url: The request's address with its query, without the key.
        request_id: Deepgram's id of the request, or "".
        ignored: Options that the server said it does not support (the loopback server says so).
        bytes_sent: Bytes of audio.
        stream_closed: Whether `close_stream()` was called.
        answers: What the server answered before any message of Deepgram's.
        said: The words of the server's last `Error` message, unless results came after it; or "".
        opened_at: When it was opened, in the loop's seconds.
    """

    def __init__(
        self,
        socket_: _Socket,
        *,
        url: str,
        endpoint: Endpoint,
        keep_alive_interval: float,
        close_timeout: float,
        ping_timeout: float | None,
    ) -> None:
        headers, masked = socket_.response.headers if socket_.response else {}, endpoint.masked
        self.url = url
        self.request_id = masked(headers.get("dg-request-id", ""))
        ignored = masked(headers.get("dgnb-ignored", ""))
        self.ignored = tuple(filter(None, (name.strip() for name in ignored.split(","))))
        self.bytes_sent = 0
        self.stream_closed = False
        self.said = ""
        self.answers = Answers()
        self._doubted = False
        self._first: ServerMessage | None = None
        self._socket = socket_
        self._endpoint = endpoint
        self._close_timeout = close_timeout
        if raw := socket_.transport.get_extra_info("socket"):
            # Audio that waits in a large system buffer counts as sent, and delays pings.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._loop = asyncio.get_running_loop()
        self._last_sent = self.opened_at = self._loop.time()
        self._gave_up: GaveUp | None = None
        self._watch = asyncio.create_task(self._watch_loop(ping_timeout), name="dgnb: silence")
        self._keep_alive = asyncio.create_task(self._keep_alive_loop(keep_alive_interval), name="dgnb: keep alive")

    def __repr__(self) -> str:
        return f"<Connection to {urlsplit(self.url).netloc}: {self._socket.state.name.lower()}>"

    @property
    def turns(self) -> bool:
        """Whether it is one to `/v2/listen`, which hears turns."""
        return urlsplit(self.url).path.endswith(FluxOptions.path)

    async def greeted(self, timeout: float) -> None:
        """Wait for the first message of `/v2/listen`. `HandshakeError`: none came in time."""
        # A connection that ends instead is reported to whoever reads next.
        with contextlib.suppress(ConnectionLost, ProtocolError):
            try:
                async with asyncio.timeout(timeout):
                    self._first = await anext(self) if self.turns else None
            except TimeoutError:
                self.abort()
                raise not_greeted(self._endpoint, timeout, self.request_id) from None

    async def send(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send audio, about 100 ms at a time (20 to 250), or 80 ms to `/v2/listen`. An empty chunk is not sent.

        Waits until the server takes it. Cancelling that wait does not take the chunk back.

        Raises:
            ConnectionLost: The connection is gone.
            RuntimeError: `close_stream()` was called before.
        """
        if self.stream_closed:
            raise RuntimeError("The stream was closed with close_stream(): no audio can follow.")
        if not chunk:
            return
        # Counted before the wait: websockets writes the frame first, and a cancelled wait does not take it back.
        self.bytes_sent += len(chunk)
        try:
            await self._send(chunk)
        except ConnectionLost:
            self.bytes_sent -= len(chunk)
            raise

    async def keep_alive(self) -> None:
        """Send a KeepAlive now; nothing to `/v2/listen`. An idle connection sends them by itself."""
        if not self.turns:
            await self._send(messages.encode(messages.KeepAlive()))

    async def finalize(self, channel: int | None = None) -> None:
        """Ask for finals of all audio sent so far. The answer, if one comes, has `from_finalize`.

        At `/v2/listen` it ends the turn: an `EndOfTurn` answers, or a `Warning` where there is no turn.
        """
        await self._send(messages.encode(messages.ForceEndTurn() if self.turns else messages.Finalize(channel)))

    async def configure(
        self,
        *,
        keyterms: Sequence[str] | None = None,
        numerals: bool | None = None,
        thresholds: messages.Thresholds | None = None,
        language_hints: Sequence[str] | None = None,
    ) -> None:
        """Change options while the stream runs. `ConfigureSuccess` or `ConfigureFailure` answers.

        `thresholds` and `language_hints` are for `/v2/listen`, which takes no further change before its answer.
        """
        terms, hints = (None if many is None else tuple(many) for many in (keyterms, language_hints))
        features = None if numerals is None or self.turns else messages.Features(numerals)
        numerals = numerals if self.turns else None
        await self._send(messages.encode(messages.Configure(terms, features, thresholds, hints, numerals)))

    async def close_stream(self) -> None:
        """End the audio. The server sends its last finals and `Metadata`, then closes: go on reading. Safe to repeat.

        Raises:
            ConnectionLost: The connection is gone.
        """
        if not self.stream_closed:
            self.stream_closed = True
            self._keep_alive.cancel()
            await self._send(messages.encode(messages.CloseStream()))

    def __aiter__(self) -> AsyncIterator[ServerMessage]:
        return self

    async def __anext__(self) -> ServerMessage:
        answers = self.answers
        if message := self._first:
            self._first = None
            return message
        if self._doubted:
            self._doubted = False
            raise ProtocolError(answers.doubt)
        try:
            data = self._endpoint.masked(await self._socket.recv(decode=False))
        except ConnectionClosed as closed:
            # 1005: the close frame has no code, as that of /v2/listen. After an Error that is no good end.
            code = closed.rcvd.code if closed.rcvd else None
            if self.stream_closed and (code == 1000 or (code == 1005 and self.turns and not self.said)):
                raise StopAsyncIteration from None
            raise self._lost(closed) from None
        try:
            message = messages.parse(data)
        except ProtocolError as error:
            if answers.recognised:
                raise
            answers.wonder(data, str(error))
            self.said = self.said or answers.first
            if answers.count >= HOPELESS:
                self.give_up(GaveUp.FOREIGN)
            raise ProtocolError(answers.doubt) from None
        if isinstance(message, UnknownMessage) and not answers.recognised:
            doubt = answers.doubt
            answers.wonder(data)
            self._doubted, self.said = answers.doubt != doubt, self.said or answers.first
        else:
            answers.recognised = True
        self.said = "" if isinstance(message, Results | TurnInfo) else reason_in(message) or self.said
        if not self.request_id:
            told = getattr(message, "metadata", message)
            self.request_id = getattr(told, "request_id", None) or ""
        return message

    async def close(self) -> None:
        """Close now. To get the last messages, call `close_stream()` and read to the end first.

        Sends `CloseStream` if it was not sent, so that the server does not wait for audio. Takes at most
        `close_timeout`. Safe to call twice.
        """
        self._stop_tasks()
        try:
            async with asyncio.timeout(self._close_timeout):
                await asyncio.wait([self._keep_alive, self._watch])
                with contextlib.suppress(ConnectionLost):
                    await self.close_stream()
                # websockets' own limit does not cover a server that no longer reads.
                await self._socket.close()
        except (TimeoutError, asyncio.CancelledError) as ended:
            self.abort()
            if isinstance(ended, asyncio.CancelledError):
                raise

    def abort(self) -> None:
        """Drop the connection at once, without a close frame."""
        self._stop_tasks()
        self._socket.transport.abort()

    def give_up(self, why: GaveUp) -> None:
        """Drop the connection at once. Iterating and sending then raise a `ConnectionLost` that says why."""
        self._gave_up = why
        self.abort()

    def _stop_tasks(self) -> None:
        self._keep_alive.cancel()
        self._watch.cancel()

    async def _send(self, data: str | bytes | bytearray | memoryview) -> None:
        try:
            await self._socket.send(data)
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        self._last_sent = self._loop.time()

    async def _keep_alive_loop(self, interval: float) -> None:
        # The next read or send raises the same error.
        with contextlib.suppress(ConnectionLost):
            while not self.turns:
                idle = self._loop.time() - self._last_sent
                if idle >= interval:
                    await self.keep_alive()
                    idle = 0.0
                await asyncio.sleep(interval - idle)

    async def _watch_loop(self, limit: float | None) -> None:
        """Give up when no byte, pongs included, has come for `limit` seconds in which this side read."""
        looked_at = read_at = self.opened_at
        while limit is not None and not self._socket.transport.is_closing():
            await asyncio.sleep(_LOOK)
            now = self._loop.time()
            if now - looked_at > 2 * _LOOK or not self._socket.transport.is_reading():
                # The loop was blocked, or nobody took the messages.
                read_at = now
            looked_at = now
            if now - max(self._socket.heard_at, read_at) >= limit:
                self.give_up(GaveUp.UNANSWERED)

    def _lost(self, closed: ConnectionClosed) -> ConnectionLost:
        masked = self._endpoint.masked
        told = masked(closed.rcvd.reason) if closed.rcvd else ""
        reason = ": ".join(dict.fromkeys(filter(None, (told, self.said))))
        if closed.rcvd:
            error = connection_lost(closed.rcvd.code, reason, request_id=self.request_id)
            return ConnectionLost(f"{error}{self.answers.foreign}", **vars(error))
        # Only a fault of the protocol makes websockets send a close frame with a reason.
        fault = masked(closed.sent.reason) if closed.sent else ""
        gave_up = self._gave_up or (GaveUp.PROTOCOL if fault else None)
        return connection_lost(1006, reason, gave_up=gave_up, detail=fault, request_id=self.request_id)


class HiddenHeader(str):
    """A header that is sent as it is, and that the repr of the objects that hold it does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'<key>'"


class _Socket(ws.ClientConnection):
    """A WebSocket that knows when the last bytes came, pongs included: `heard_at`, in the loop's seconds."""

    heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


class _OpenSocket(ws.connect):
    """Opens a `_Socket`. A redirect is an error: the key must not go to another server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc

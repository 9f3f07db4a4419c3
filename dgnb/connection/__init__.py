"""One WebSocket to `/v1/listen`: handshake, key, KeepAlive, and what a close code means.

`connect()` opens it, `Connection` sends chunks and gives messages. There is no reconnecting here, and no transcript.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed, WebSocketException

from dgnb._version import __version__
from dgnb.connection.explain import connection_lost, handshake_error
from dgnb.connection.transient import is_transient, retry_after
from dgnb.endpoints import Address, Endpoint, Secret, choose, is_loopback
from dgnb.exceptions import ConfigurationError, ConnectionLost, HandshakeError
from dgnb.messages import (
    CloseStream,
    Configure,
    Features,
    Finalize,
    KeepAlive,
    Metadata,
    Results,
    ServerMessage,
    encode,
    parse,
)
from dgnb.options import LiveOptions

__all__ = ["Connection", "connect"]

OPEN_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 5.0
PING_INTERVAL: Final = 5.0
PING_TIMEOUT: Final = 12.0
"""A link that went dead without a word is to be noticed within 15 s; a slow one answers late, and is not dead."""

KEEP_ALIVE_INTERVAL: Final = 4.0
"""Deepgram closes after 10 s without audio or KeepAlive and advises one every 3 to 5 s."""

_WATCH: Final = 1.0
"""Seconds between two looks at whether the line is alive."""

_MAX_MESSAGE: Final = 4 << 20
_SEND_BUFFER: Final = 64 << 10


_wire_logger = logging.getLogger("dgnb.wire")


class _Masking(logging.LoggerAdapter[logging.Logger]):
    """`dgnb.wire` without the key: at DEBUG websockets writes every header and frame, also those that quote it."""

    def __init__(self, address: Address) -> None:
        super().__init__(_wire_logger)
        self._address = address

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            text = str(msg) % args if args else str(msg)
            self.logger.log(level, "%s", self._address.masked(text), **kwargs)


class _Unseen(str):
    """A header that travels as it is, and hides from whatever prints the objects that hold it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'<key>'"


class connect:
    """Open a WebSocket to `/v1/listen`.

    Spelled in lower case because it is used as a function: `await connect(…)` gives a `Connection` that you close;
    `async with connect(…) as connection` closes it for you. Cancelling while it opens leaves nothing behind.

    The server says nothing before it has audio, and gives up after 10 s without any: send at once.

    Args:
        options: What to ask for; `LiveOptions()` when None. For raw audio it needs `encoding` and `sample_rate`.
        endpoint: `"deepgram"`, `"offline"` or a `ws(s)://` base address; see `LiveSession`.
        api_key: Deepgram's key; `DEEPGRAM_API_KEY` when None.
        open_timeout: Seconds until the server must have answered.
        close_timeout: Seconds until it must have closed.
        ping_timeout: Seconds without a byte from the server after which the line counts as dead, a ping being sent
            every 5; None for no limit, where audio is sent faster than the server works it off.
        keep_alive_interval: Seconds without a frame sent after which a KeepAlive is.

    Raises:
        ConfigurationError: Options or endpoint are wrong; nothing was sent.
        AuthenticationError: The key is wrong, missing, or not allowed to do this.
        HandshakeError: The server was not reached, or refused, with its own words.

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
        options: LiveOptions | None = None,
        *,
        endpoint: str | Endpoint | None = None,
        api_key: str | Secret | None = None,
        open_timeout: float = OPEN_TIMEOUT,
        close_timeout: float = CLOSE_TIMEOUT,
        ping_timeout: float | None = PING_TIMEOUT,
        keep_alive_interval: float = KEEP_ALIVE_INTERVAL,
    ) -> None:
        api_key = Secret.of(api_key)
        if options is not None and not isinstance(options, LiveOptions):
            raise ConfigurationError(f"options is a LiveOptions, not {type(options).__name__}.")
        self._options = options or LiveOptions()
        self._endpoint = endpoint if isinstance(endpoint, Endpoint) else choose(endpoint, api_key)
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout
        self._ping_timeout = ping_timeout
        self._keep_alive_interval = keep_alive_interval
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._open().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._open()
        return self._connection

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection:
            await self._connection.close()

    async def _open(self) -> Connection:
        address = await self._endpoint.locate()
        url = f"{address.url}/v1/listen?{urlencode(self._options.query())}"
        try:
            socket_ = await self._handshake(url, address)
        # From None, both: the original's frames hold the request, and the request holds the key.
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None
        except (OSError, WebSocketException, ValueError, ImportError) as error:
            told = handshake_error(error, self._endpoint, address, self._open_timeout)
            if isinstance(told, HandshakeError):
                told.transient, told.retry_after = is_transient(error), retry_after(error)
            raise told from None
        return Connection(
            socket_,
            url=url,
            masked=address.masked,
            keep_alive_interval=self._keep_alive_interval,
            close_timeout=self._close_timeout,
            ping_timeout=self._ping_timeout,
        )

    async def _handshake(self, url: str, address: Address) -> _Socket:
        socket_ = await _Connect(
            url,
            create_connection=_Socket,
            additional_headers={"Authorization": _Unseen(f"Token {address.key.reveal()}")},
            user_agent_header=f"dgnb/{__version__}",
            # Audio does not compress, and a compressing sender hides that nobody reads at the other end.
            compression=None,
            proxy=None if is_loopback(urlsplit(url).hostname) else True,
            open_timeout=self._open_timeout,
            close_timeout=self._close_timeout,
            ping_interval=PING_INTERVAL,
            # Judged by whatever comes, not by pongs alone: on a slow link they stand in a queue.
            ping_timeout=None,
            max_size=_MAX_MESSAGE,
            logger=_Masking(address),
        )
        assert isinstance(socket_, _Socket)
        return socket_


class _Socket(ws.ClientConnection):
    """Remembers when the last bytes came, pongs included."""

    heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.heard_at = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


class _Connect(ws.connect):
    """A redirect is an answer like any other: the key must not travel on to wherever it points."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Connection:
    """An open WebSocket to `/v1/listen`; `connect()` makes one.

    Iterating gives the messages in order until the server has closed: quietly when it closed 1000 after
    `close_stream()`, with `ConnectionLost` otherwise. A frame that is not a JSON object raises `ProtocolError`, and
    `anext(connection)` goes on behind it. Cancelling loses no message.

    KeepAlive is sent by a task of its own whenever nothing else was sent for a while, so a silent source does not cost
    the connection.

    Attributes:
        url: The request's address, query included; it never holds the key.
        request_id: Deepgram's id of the request, or "".
        ignored: Options that the server said it can't honour (the loopback server does).
        bytes_sent: Of audio.
        stream_closed: Whether `close_stream()` was called.
        opened_at: When it was opened, in the loop's seconds.
        longest_silence: The longest time without a frame sent, in seconds. Deepgram gives up after 10.
    """

    def __init__(
        self,
        socket_: _Socket,
        *,
        url: str,
        masked: Callable[[str], str] = str,
        keep_alive_interval: float,
        close_timeout: float,
        ping_timeout: float | None = PING_TIMEOUT,
    ) -> None:
        headers = socket_.response.headers if socket_.response else {}
        self.url = url
        self.request_id = masked(headers.get("dg-request-id", ""))
        self.ignored = tuple(filter(None, (name.strip() for name in headers.get("dgnb-ignored", "").split(","))))
        self.bytes_sent = 0
        self.stream_closed = False
        self._socket = socket_
        self._masked = masked
        self._close_timeout = close_timeout
        if raw := socket_.transport.get_extra_info("socket"):
            # Megabytes that wait in the system's buffer were never sent: they delay pings, and falsify how far the
            # audio is.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._loop = asyncio.get_running_loop()
        self._last_sent = self.opened_at = self._watched_at = self._loop.time()
        self.longest_silence = 0.0
        self._ping_timeout = ping_timeout
        self._dead = ""
        self._watching: asyncio.TimerHandle | None = None
        if ping_timeout is not None:
            self._watching = self._loop.call_later(_WATCH, self._watch)
        self._keep_alive = asyncio.create_task(self._keep_alive_loop(keep_alive_interval), name="dgnb: keep alive")

    def __repr__(self) -> str:
        return f"<Connection to {urlsplit(self.url).netloc}: {self._socket.state.name.lower()}>"

    async def send(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send audio, about 100 ms at a time (20 to 250). An empty chunk is not sent: it would end the stream.

        Waits while the server takes no more. Cancelling that wait does not take the chunk back.

        Raises:
            ConnectionLost: The connection is gone.
            RuntimeError: `close_stream()` was called before.
        """
        if self.stream_closed:
            raise RuntimeError("The stream was closed with close_stream(): no audio can follow.")
        if not chunk:
            return
        # Before the wait: websockets has written the frame by then, and a cancelled wait does not take it back.
        self.bytes_sent += len(chunk)
        try:
            await self._send(chunk)
        except ConnectionLost:
            self.bytes_sent -= len(chunk)
            raise

    async def keep_alive(self) -> None:
        """Send a KeepAlive now; the connection does so by itself when it is idle."""
        await self._send(encode(KeepAlive()))

    async def finalize(self, channel: int | None = None) -> None:
        """Ask for finals of all that was sent; the answer, where there is one, has `from_finalize`."""
        await self._send(encode(Finalize(channel)))

    async def configure(self, *, keyterms: list[str] | None = None, numerals: bool | None = None) -> None:
        """Change key terms or numerals while the stream runs; a `ConfigureSuccess` or `ConfigureFailure` answers."""
        features = None if numerals is None else Features(numerals)
        await self._send(encode(Configure(None if keyterms is None else tuple(keyterms), features)))

    async def close_stream(self) -> None:
        """Say that no audio follows. The server sends its last finals, `Metadata`, and closes: go on reading.

        Doing so twice is no error.

        Raises:
            ConnectionLost: The connection is gone.
        """
        if not self.stream_closed:
            self.stream_closed = True
            self._keep_alive.cancel()
            await self._send(encode(CloseStream()))

    def __aiter__(self) -> AsyncIterator[ServerMessage]:
        return self

    async def __anext__(self) -> ServerMessage:
        try:
            data = await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            if self.stream_closed and closed.rcvd is not None and closed.rcvd.code == 1000:
                raise StopAsyncIteration from None
            raise self._lost(closed) from None
        message = parse(data)
        if not self.request_id and isinstance(message, Results | Metadata):
            of = message if isinstance(message, Metadata) else message.metadata
            self.request_id = (of and of.request_id) or ""
        return message

    async def close(self) -> None:
        """Close, without waiting for what is still to come: for that, `close_stream()` and read to the end.

        Sends `CloseStream` where it was not sent, so that the server does not wait for audio. Takes `close_timeout` at
        the most. Safe to call twice.
        """
        self._keep_alive.cancel()
        self._watch_no_more()
        try:
            async with asyncio.timeout(self._close_timeout):
                await asyncio.wait([self._keep_alive])
                with contextlib.suppress(ConnectionLost):
                    await self.close_stream()
                # It has a limit of its own, but none for a peer that reads no more.
                await self._socket.close()
        except (TimeoutError, asyncio.CancelledError) as ended:
            self.abort()
            if isinstance(ended, asyncio.CancelledError):
                raise

    def abort(self) -> None:
        """Drop the connection at once, without a word to the server."""
        self._keep_alive.cancel()
        self._watch_no_more()
        self._socket.transport.abort()

    async def _send(self, data: str | bytes | bytearray | memoryview) -> None:
        self.longest_silence = max(self.longest_silence, self._loop.time() - self._last_sent)
        try:
            await self._socket.send(data)
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        self._last_sent = self._loop.time()

    def _watch(self) -> None:
        """Give the line up when nothing has come for too long, though pings went out."""
        assert self._ping_timeout is not None
        if self._socket.transport.is_closing():
            return
        now = self._loop.time()
        if now - self._watched_at > 2 * _WATCH or not self._socket.transport.is_reading():
            # The loop was blocked, or nobody takes the messages: the silence is our own.
            self._socket.heard_at = now
        self._watched_at = now
        silent = now - self._socket.heard_at
        if silent >= self._ping_timeout:
            self._dead = f"nothing came for {silent:.0f} s, not even an answer to a ping"
            self.abort()
        else:
            self._watching = self._loop.call_later(_WATCH, self._watch)

    def _watch_no_more(self) -> None:
        if self._watching:
            self._watching.cancel()

    async def _keep_alive_loop(self, interval: float) -> None:
        # A failure is not hidden by ending here: whoever reads or sends meets the same closed connection.
        with contextlib.suppress(ConnectionLost):
            while True:
                idle = self._loop.time() - self._last_sent
                if idle >= interval:
                    await self.keep_alive()
                    idle = 0.0
                await asyncio.sleep(interval - idle)

    def _lost(self, closed: ConnectionClosed) -> ConnectionLost:
        code = closed.rcvd.code if closed.rcvd else 1006
        reason = self._masked(closed.rcvd.reason) if closed.rcvd else ""
        own = self._dead or (closed.sent.reason if closed.sent and not closed.rcvd else "")
        return connection_lost(code, reason, own, self.request_id)

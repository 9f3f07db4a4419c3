"""One connection of `/v1/listen` or `/v2/listen`: the socket on the loop, all other work in one thread of its own.

    socket -> _read() -> inbox -> thread: decode -> Recognizer or Turns -> _send() -> socket

The inbox is bounded: while it is full, the socket is not read, so the client's sends block. The thread waits until
each message is sent, so a client that does not read stops the thread. The first call of `stop()` decides how the
connection ends.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import queue
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final

import msgspec
from aiohttp import ClientError, WSMessage, WSMsgType, web

from dgnb import messages as wire
from dgnb.exceptions import ProtocolError
from dgnb.loopback.engines import Engine
from dgnb.loopback.intake import Undecodable, decode
from dgnb.loopback.recognizer import Recognizer
from dgnb.loopback.turns import Turns, parse_control
from dgnb.options import FluxOptions, StreamOptions

logger = logging.getLogger("dgnb.loopback")

_CLOSE_TIMEOUT: Final = 2.0

# While there is room the socket is read, so pings are answered even if a client is far ahead of the engine. This is a
# quarter of an hour of linear16 at 16 kHz.
CAPACITY_BYTES: Final = 32 << 20

NO_STATUS: Final = 1005
"""What a client sees of a close frame without a status, which is how `/v2/listen` closes."""

_FATAL: Final = {"NET-0001": "INACTIVE_CLIENT", "DATA-0000": "UNPARSABLE_CLIENT_MESSAGE", "": "INTERNAL_SERVER_ERROR"}
"""The codes of `/v2/listen` for the close reasons of `/v1/listen`."""

Item = bytes | wire.ControlMessage


class Listener:
    """Serves one WebSocket, for as long as a frame comes within `idle_timeout` seconds of the one before.

    At `/v2/listen` pings count as frames, and every fault that ends the connection is told by an `Error`.
    """

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        engine: Engine,
        options: StreamOptions,
        request_id: str,
        idle_timeout: float,
    ) -> None:
        self._websocket = websocket
        self._transport = transport
        self._options = options
        self._request_id = request_id
        self._idle_timeout = idle_timeout
        self._turns = isinstance(options, FluxOptions)
        self._recognizer: Recognizer | Turns = (
            Turns(engine, options, request_id=request_id)
            if isinstance(options, FluxOptions)
            else Recognizer(engine, options, request_id=request_id)
        )
        self._sequence = itertools.count()
        self._loop = asyncio.get_running_loop()
        # With a close frame, or (code None) without.
        self._end: asyncio.Future[tuple[int | None, str]] = self._loop.create_future()
        self._closing = False
        self._inbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._stopped = threading.Event()
        self._thread_ended = asyncio.Event()
        self.over = asyncio.Event()  # No thread and no task of the connection is left.

    async def run(self) -> None:
        """Serve until the connection has ended. No thread and no task outlives this call."""
        if self._turns:
            await self._send(wire.Connected(self._request_id))
        thread = threading.Thread(target=self._work, name=f"dgnb-loopback-{self._request_id[:8]}", daemon=True)
        reader = asyncio.create_task(self._read(), name="dgnb-loopback-read")
        thread.start()
        try:
            await asyncio.shield(self._end)
        finally:
            self.stop(None)
            reader.cancel()
            # The thread may wait for the next item.
            self._put(wire.CloseStream())
            try:
                await asyncio.gather(reader, return_exceptions=True)
                await self._finish(*self._end.result())
            finally:
                await self._thread_ended.wait()
                thread.join()

    def stop(self, code: int | None, reason: str = "") -> None:
        """End the connection, unless something else has ended it already."""
        if not self._end.done():
            self._end.set_result((code, reason))
            self._stopped.set()

    async def _finish(self, code: int | None, reason: str) -> None:
        if self._websocket.closed:
            return
        if code is not None:
            # A client that does not read can't get the close frame.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    if code == NO_STATUS:
                        await self._close_without_status()
                        return
                    # A reason has at most 123 bytes of UTF-8. It is cut between characters.
                    cut = reason.encode()[:123].decode(errors="ignore").encode()
                    await self._websocket.close(code=code, message=cut)
                return
        if self._transport is not None:
            self._transport.abort()

    async def _close_without_status(self) -> None:
        with contextlib.suppress(ClientError, ConnectionError):
            await self._websocket.send_frame(b"", WSMsgType.CLOSE)
            while not self._websocket.closed:
                await self._websocket.receive()

    async def _refuse(self, code: int, reason: str, why: str) -> None:
        """End the connection with one of Deepgram's reasons alone: its clients compare them. The log says why."""
        logger.warning("%s on request %s: %s.", reason or "A fault", self._request_id, why)
        if self._turns:
            await self._send(wire.Error(code=_FATAL[reason], description=f"{why}."))
            self.stop(NO_STATUS)
        else:
            self.stop(code, reason or why)

    # On the loop

    def _put(self, item: Item) -> None:
        self._inbox.put(item)
        self._count(_size(item))

    def _count(self, size: int) -> None:
        """Count what waits in the inbox. While there is no room, nothing is read."""
        self._waiting_bytes += size
        if self._waiting_bytes < CAPACITY_BYTES:
            self._room.set()
        else:
            self._room.clear()

    async def _read(self) -> None:
        """Take frames until the client is gone."""
        while True:
            await self._room.wait()
            try:
                async with asyncio.timeout(None if self._closing else self._idle_timeout):
                    message = await self._websocket.receive()
            except TimeoutError:
                await self._refuse(1011, "NET-0001", f"no audio and no text message for {self._idle_timeout:g} s")
                return
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                if message.type == WSMsgType.PING:
                    await self._websocket.pong(message.data)
                continue
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                # CLOSE, CLOSING, CLOSED, ERROR: aiohttp has already answered.
                self.stop(self._websocket.close_code or 1006, str(message.extra or ""))
                return
            await self._take(message)

    async def _take(self, frame: WSMessage) -> None:
        """Take one frame; what comes after CloseStream is ignored."""
        if self._closing:
            return
        if frame.type == WSMsgType.TEXT:
            await self._control(frame.data)
        elif frame.data:
            self._put(frame.data)
        elif not self._turns:
            # The older form of CloseStream, still understood.
            self._close_stream()

    async def _control(self, text: str) -> None:
        try:
            message = (parse_control if self._turns else wire.parse_control)(text)
            if isinstance(message, wire.ForceEndTurn) and not self._turns:
                raise ProtocolError("ForceEndTurn is for /v2/listen; here it is Finalize.")
        except ProtocolError as error:
            if self._turns:
                await self._refuse(1008, "DATA-0000", str(error).rstrip("."))
                return
            await self._send(
                wire.Error(variant="SchemaError", description="Failed to parse the text message.", message=str(error))
            )
            return
        if isinstance(message, wire.CloseStream):
            self._close_stream()
        elif isinstance(message, wire.Configure) and not self._turns:
            await self._send(self._configure(message))
        elif not isinstance(message, wire.KeepAlive):
            self._put(message)

    def _close_stream(self) -> None:
        self._closing = True
        self._put(wire.CloseStream())

    def _configure(self, message: wire.Configure) -> wire.ServerMessage:
        # An honest refusal: the client can open a new connection instead.
        words = "This server's engine takes other key terms or numerals with a new connection only."
        return wire.ConfigureFailure(self._request_id, code="CONFIGURE_KEYTERMS_NOT_SUPPORTED", description=words)

    async def _send(self, message: wire.ServerMessage) -> None:
        # A client that is gone is found by reading, too, with the close code.
        with contextlib.suppress(ClientError, ConnectionError, RuntimeError):
            if not self._end.done():
                if self._turns:
                    message = msgspec.structs.replace(message, sequence_id=next(self._sequence))
                await self._websocket.send_str(wire.encode(message))

    async def _deliver(self, messages: Sequence[wire.ServerMessage], *, last: bool = False) -> None:
        """Send what was heard, and close after the last."""
        for message in messages:
            await self._send(message)
        if last:
            self.stop(NO_STATUS if self._turns else 1000)

    # In the thread

    def _work(self) -> None:
        # Cancelled: the program ends. The loop may be closed; then nobody waits.
        with contextlib.suppress(concurrent.futures.CancelledError, RuntimeError):
            try:
                self._recognize()
            except concurrent.futures.CancelledError:
                raise
            except Undecodable as error:
                self._call(self._refuse(1008, "DATA-0000", str(error)))
            except Exception as error:
                logger.error("The engine failed on request %s.", self._request_id, exc_info=error)
                self._call(self._refuse(1011, "", "The engine failed; the server's log says why"))
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._thread_ended.set)

    def _recognize(self) -> None:
        for pieces in decode(self._options, self._audio()):
            if self._stopped.is_set():
                return
            self._call(self._deliver(self._recognizer.feed(pieces)))
        if not self._stopped.is_set():
            self._call(self._deliver(self._recognizer.close(), last=True))

    def _audio(self) -> Iterator[bytes]:
        """The audio in the inbox, up to CloseStream. A message in between is answered at its place."""
        while not isinstance(item := self._inbox.get(), wire.CloseStream) and not self._stopped.is_set():
            self._loop.call_soon_threadsafe(self._count, -_size(item))
            if isinstance(item, bytes):
                self._recognizer.received(item)
                yield item
            else:
                self._call(self._deliver(self._answer(item)))

    def _answer(self, message: wire.ControlMessage) -> Sequence[wire.ServerMessage]:
        return self._recognizer.answer(message)

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run on the loop and wait for it."""
        # Where the loop is closed, the coroutine has not begun.
        with contextlib.closing(coroutine):
            asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _size(item: Item) -> int:
    # Many very small items fill the queue too.
    return 128 + (len(item) if isinstance(item, bytes) else 0)

"""A `LoopbackServer` that records what clients send, and makes faults on purpose.

Each fault is a context manager and ends with its context. Several may be in force; of two of the same kind, the newest
counts. `times` says how often a fault strikes; after that, the server behaves well again.

```python
async with FaultyServer("hello world") as server:
    with server.silent(), pytest.raises(dgnb.CloseTimeout):
        await dgnb.transcribe("speech.wav", endpoint=server.url)
```
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from dgnb import messages as wire
from dgnb.exceptions import ProtocolError
from dgnb.loopback import LoopbackServer
from dgnb.loopback.account import Credentials
from dgnb.loopback.handshake import Refusal
from dgnb.loopback.listener import Listener
from dgnb.loopback.radio import Radio
from dgnb.loopback.turns import parse_control
from dgnb.options import FluxOptions, StreamOptions

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CODES: Final = {
    400: ("Bad Request", "Bad Request."),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits for an ASR request."),
    403: ("INSUFFICIENT_PERMISSIONS", "User does not have sufficient permissions."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
}


@dataclass(eq=False)
class Handshake:
    """One HTTP request, and how it was answered.

    Attributes:
        path: The path, without the query.
        query: The parameters, in order.
        headers: The headers, with lower-case names.
        status: The HTTP status of the answer; None before there is one.
        request_id: The value of `dg-request-id`.
    """

    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str] = field(repr=False)
    status: int | None = None
    request_id: str = ""


@dataclass(eq=False)
class ServedConnection:
    """One WebSocket connection, while it runs and afterwards.

    Attributes:
        listener: What serves it.
        request_id: The value of `dg-request-id`.
        options: What the client asked for.
        bytes_received: Bytes of audio.
        texts: Text frames, in order, of each at most 1000 characters.
        frame_times: When each frame arrived, in seconds of the loop's clock.
        violations: What a client must not send: frames after `CloseStream`, empty audio, text that does not parse.
        sent: How many messages were sent, by type.
        close_code: The close code; None while the connection is open, 1006 without a close frame.
        close_reason: The reason that goes with it.
        dropped: Whether a fault ended the connection.
    """

    listener: FaultyListener = field(repr=False)
    request_id: str
    options: StreamOptions
    bytes_received: int = 0
    texts: list[str] = field(default_factory=list)
    frame_times: list[float] = field(default_factory=list, repr=False)
    violations: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    close_code: int | None = None
    close_reason: str = ""
    dropped: bool = False

    @property
    def audio_seconds(self) -> float:
        """The audio clock: seconds that are decoded and recognised."""
        return self.listener.clock

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self.close_code is None

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        await self.listener.over.wait()


_SEEN: Final = web.RequestKey("seen", Handshake)
_FAULT: Final = web.RequestKey("fault", dict[str, Any])


class FaultyServer(LoopbackServer):
    """A `LoopbackServer` that keeps records and can do wrong.

    Attributes:
        requests: Every HTTP request seen, with how it was answered, the oldest first.
        connections: Every WebSocket connection, likewise.
        configurable: Whether `Configure` succeeds, as at Deepgram; it changes nothing.
        ahead: Seconds that the clock of granted tokens is ahead of the true one: add to it, and they expire.
    """

    configurable = True
    ahead = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.requests: list[Handshake] = []
        self.connections: list[ServedConnection] = []
        self._faults: list[dict[str, Any]] = []
        self._credentials = Credentials(self.token, lambda: time.monotonic() + self.ahead)
        self._listener = functools.partial(FaultyListener, self)
        self._radio = FaultyRadio(self, named.get("radio"), self._stopping)

    def rejecting(
        self,
        status: int,
        error: str | None = None,
        body: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> AbstractContextManager[None]:
        """Answer handshakes with an HTTP error instead of 101.

        Args:
            status: 400 to 599, or a 3xx with a `Location` among the headers.
            error: The server's words, in `dg-error` and in the body; by default, words that fit the status.
            body: A mapping is sent as JSON, text as HTML, or as the headers' `Content-Type` says; by default,
                `{err_code, err_msg, request_id}`.
            headers: Further headers, such as `{"Retry-After": "2"}`.
            times: How many handshakes; by default, all until the context ends.
        """
        return self._during("rejecting", times, status=status, error=error, body=body, headers=headers or {})

    def dropping(
        self, after: float = 0.0, code: int | None = None, reason: str = "", times: int | None = None
    ) -> AbstractContextManager[None]:
        """End connections after `after` seconds of their audio; results that are due by then are sent first.

        Connections that are already open are dropped too, with their next audio.

        Args:
            after: Seconds of audio since the connection opened; 0 drops it as soon as it is open.
            code: A close code to send. Without one, the TCP connection ends without a close frame (1006).
            reason: The reason that goes with the code.
            times: How many connections; by default, all until the context ends.
        """
        return self._during("dropping", times, after=after, code=code, reason=reason)

    def silent(self) -> AbstractContextManager[None]:
        """Take everything and send nothing: no `Results`, no answer to `Finalize` or `CloseStream`, no close.

        This applies to open connections too. Messages that fall into the context are never sent.
        """
        return self._during("silent")

    def refusing_to_close(self) -> AbstractContextManager[None]:
        """Transcribe, but leave `CloseStream` unanswered: no last results, no `Metadata`, no close."""
        return self._during("unclosing")

    def stalling(self, after: float = 0.0, times: int | None = None) -> AbstractContextManager[None]:
        """Take the audio of connections, and send nothing more after `after` seconds of it, whatever comes.

        Args:
            after: Seconds of audio since the connection opened; 0 sends not even `Connected`, as an endpoint does that
                dislikes a setting after it has accepted the upgrade.
            times: How many connections; by default, all until the context ends. A stalled one stays so.
        """
        return self._during("stalling", times, after=after)

    def startless(self, times: int | None = None) -> AbstractContextManager[None]:
        """Send `times` messages `StartOfTurn` of Flux as `Update`, as after some reconnects."""
        return self._during("startless", times)

    def untimed(self) -> AbstractContextManager[None]:
        """Send Flux's words without their times, as older servers do."""
        return self._during("untimed")

    def refusing_configure(self, times: int | None = None) -> AbstractContextManager[None]:
        """Answer `Configure` with `ConfigureFailure`: `times` of them, or all until the context ends."""
        return self._during("refusing_configure", times)

    def ignoring_configure(self, times: int | None = None) -> AbstractContextManager[None]:
        """Neither apply nor answer `Configure`: `times` of them, or all until the context ends."""
        return self._during("ignoring_configure", times)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hear recordings, and keep their answers back until the context ends."""
        end = asyncio.Event()
        try:
            with self._during("holding", end=end):
                yield
        finally:
            end.set()

    def cutting(self, after: int = 0, times: int | None = None) -> AbstractContextManager[None]:
        """Reset the connection of uploads.

        Args:
            after: Bytes of the body that are taken first.
            times: How many uploads; by default, all until the context ends.
        """
        return self._during("cutting", times, after=after)

    def editing(self, change: Callable[[Any], Any], times: int | None = None) -> AbstractContextManager[None]:
        """Change the answers for recordings: `editing(lambda answer: answer.pop("results"))`.

        Args:
            change: Gets the JSON, and changes it in place.
            times: How many answers; by default, all until the context ends.
        """
        return self._during("editing", times, change=change)

    def unresponsive(self, times: int | None = None) -> AbstractContextManager[None]:
        """Accept TCP connections and leave handshakes unanswered: `times` of them, or all until the context ends."""
        return self._during("unresponsive", times)

    def broadcasting(
        self,
        *,
        after: float | None = None,
        ends: Literal["closed", "reset", "stalled"] | None = None,
        status: int | None = None,
        times: int | None = None,
    ) -> AbstractContextManager[None]:
        """Let the station (`/radio`) fail for those who begin to listen within the context.

        Args:
            after: Seconds of audio after which it ends; 0 ends right after the headers. By default it goes on for
                ever, or ends at once if `ends` is given.
            ends: How it ends: `"closed"` in good order (the default), `"reset"`, or `"stalled"`, which leaves the
                connection open and sends nothing more.
            status: An HTTP status to answer with, instead of audio.
            times: How many listeners; by default, all until the context ends.
        """
        if after is None:
            after = 0.0 if ends else math.inf
        return self._during("broadcasting", times, after=after, ends=ends, status=status)

    @contextmanager
    def _during(self, kind: str, times: int | None = None, **settings: Any) -> Iterator[None]:
        fault = settings | {"kind": kind, "times": math.inf if times is None else times}
        self._faults.append(fault)
        try:
            yield
        finally:
            # By identity: an equal fault may be in force around this one.
            self._faults = [one for one in self._faults if one is not fault]

    def strike(self, kind: str, due: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any] | None:
        """The newest fault of a kind that is due and may strike, if any; asking counts."""
        able = [one for one in self._faults if one["kind"] == kind and one["times"] > 0 and due(one)]
        if able:
            able[-1]["times"] -= 1
        return able[-1] if able else None

    def _application(self) -> web.Application:
        app = super()._application()
        app.middlewares.insert(0, self._record)
        app.middlewares.append(self._misbehave)
        app.on_response_prepare.append(self._answered)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        request[_SEEN] = Handshake(request.path, list(request.query.items()), headers)
        self.requests.append(request[_SEEN])
        return await handler(request)

    async def _answered(self, request: web.Request, response: web.StreamResponse) -> None:
        # What is not HTTP is answered before it gets here.
        if seen := request.get(_SEEN):
            seen.status, seen.request_id = response.status, response.headers.get("dg-request-id", "")

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path not in ("/v1/listen", "/v2/listen"):
            return await handler(request)
        if self.strike("unresponsive"):
            await self._stopping.wait()
            raise Refusal(503, "STOPPING", "The server ends.")
        if request.method == "POST" and (cut := self.strike("cutting")):
            taken = 0
            while taken < cut["after"] and (data := await request.content.readany()):
                taken += len(data)
            _reset(request)
            raise Refusal(499, "CUT", "The upload was cut.")
        fault = self.strike("rejecting")
        if fault is None:
            response = await handler(request)
            return await self._edited(response) if request.method == "POST" else response
        status, body, headers = fault["status"], fault["body"], fault["headers"]
        if isinstance(body, str):
            # The page of a proxy, or the text of a server before Deepgram's: neither sends Deepgram's headers.
            return web.Response(status=status, text=body, headers={"Content-Type": "text/html", **headers})
        code, words = _CODES.get(status, ("INTERNAL_SERVER_ERROR", "The server was told to refuse this."))
        refusal = Refusal(status, code, fault["error"] or words, headers)
        if body is None:
            raise refusal
        return web.json_response(body, status=status, headers={"dg-error": str(refusal), **headers})

    async def _edited(self, response: web.StreamResponse) -> web.StreamResponse:
        if hold := self.strike("holding"):
            await hold["end"].wait()
        if edit := self.strike("editing"):
            assert isinstance(response, web.Response)
            answer = msgspec.json.decode(response.body)
            edit["change"](answer)
            return web.json_response(answer, headers={"dg-request-id": response.headers["dg-request-id"]})
        return response


class FaultyListener(Listener):
    """Serves one connection of a `FaultyServer`."""

    def __init__(
        self,
        server: FaultyServer,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        engine: Any,
        options: StreamOptions,
        request_id: str,
        idle_timeout: float,
    ) -> None:
        super().__init__(websocket, transport, engine, options, request_id, idle_timeout)
        self._server = server
        self._record = ServedConnection(self, request_id, options)
        self._stalled = False
        server.connections.append(self._record)

    @property
    def clock(self) -> float:
        """Seconds of audio that are recognised."""
        return self._recognizer.clock

    async def run(self) -> None:
        self._stall_if_due()
        self._drop_if_due()
        await super().run()

    def _stall_if_due(self) -> None:
        if not self._stalled and self._server.strike("stalling", lambda stall: self.clock >= stall["after"] - 1e-6):
            self._stalled = True

    def _drop_if_due(self) -> None:
        drop = self._server.strike("dropping", lambda drop: self.clock >= drop["after"] - 1e-6)
        if drop is not None:
            self._record.dropped = True
            self.stop(drop["code"], drop["reason"])

    async def _finish(self, code: int | None, reason: str) -> None:
        self._record.close_code, self._record.close_reason = code or 1006, reason
        await super()._finish(code, reason)

    async def _read(self) -> None:
        while not self._end.done():
            await super()._read()

    async def _refuse(self, code: int, reason: str, why: str) -> None:
        if reason != "NET-0001" or not self._server.strike("silent"):
            await super()._refuse(code, reason, why)

    async def _take(self, frame: WSMessage) -> None:
        record = self._record
        record.frame_times.append(self._loop.time())
        if self._closing:
            record.violations.append(f"a {frame.type.name.lower()} frame after CloseStream")
        elif frame.type == WSMsgType.TEXT:
            record.texts.append(frame.data[:1000])
            try:
                (parse_control if isinstance(record.options, FluxOptions) else wire.parse_control)(frame.data)
            except ProtocolError:
                record.violations.append(f"text that does not parse: {frame.data[:200]}")
        elif not frame.data:
            # The older form of CloseStream. Mostly it is a mistake of the client.
            record.violations.append("an empty binary frame")
        else:
            record.bytes_received += len(frame.data)
        await super()._take(frame)

    def _close_stream(self) -> None:
        if self._server.strike("unclosing"):
            self._closing = True
        else:
            super()._close_stream()

    def _configure(self, message: wire.Configure) -> wire.ServerMessage:
        if self._server.configurable:
            return wire.ConfigureSuccess(request_id=self._request_id, keyterms=message.keyterms)
        return super()._configure(message)

    async def _send(self, message: wire.ServerMessage) -> None:
        if not (self._end.done() or self._stalled or self._server.strike("silent")):
            await super()._send(self._changed(message))
            kind = type(message).__name__
            self._record.sent[kind] = self._record.sent.get(kind, 0) + 1

    def _changed(self, message: wire.ServerMessage) -> wire.ServerMessage:
        if isinstance(message, wire.TurnInfo):
            if message.event == "StartOfTurn" and self._server.strike("startless"):
                message = msgspec.structs.replace(message, event="Update")
            if self._server.strike("untimed"):
                words = tuple(wire.TurnWord(word.word, word.confidence) for word in message.words)
                message = msgspec.structs.replace(message, words=words)
        return message

    def _answer(self, message: wire.ControlMessage) -> Sequence[wire.ServerMessage]:
        if isinstance(message, wire.Configure):
            if self._server.strike("ignoring_configure"):
                return []
            if self._server.strike("refusing_configure"):
                told = "The server was told to refuse this."
                return [wire.ConfigureFailure(self._request_id, code="INVALID_THRESHOLD", description=told)]
        return super()._answer(message)

    async def _deliver(self, messages: Sequence[wire.ServerMessage], *, last: bool = False) -> None:
        self._stall_if_due()
        silent = self._stalled or self._server.strike("silent")
        await super()._deliver([] if silent else messages, last=last and not silent)
        if not last and not self._end.done():
            self._drop_if_due()


class FaultyRadio(Radio):
    """The station of a `FaultyServer`."""

    def __init__(self, server: FaultyServer, recording: Any, stopping: asyncio.Event) -> None:
        super().__init__(recording, stopping)
        self._server = server

    async def listen(self, request: web.Request) -> web.StreamResponse:
        fault = self._server.strike("broadcasting") or {"after": math.inf, "ends": None, "status": None}
        if fault["status"] is not None:
            return web.Response(status=fault["status"])
        request[_FAULT] = fault
        return await super().listen(request)

    async def _play(self, request: web.Request, response: web.StreamResponse, end: float = math.inf) -> None:
        fault = request[_FAULT]
        await super()._play(request, response, fault["after"])
        if fault["ends"] == "reset":
            _reset(request)
        while fault["ends"] == "stalled" and request.transport and not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._stopping.wait()


def _reset(request: web.Request) -> None:
    """Reset the TCP connection of a request: what is on its way is lost, as when a station crashes."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()

"""The HTTP server: `/v1/listen` and `/v2/listen` as Deepgram serves it, and `/radio`, on an address of this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, cast

from aiohttp import web
from aiohttp.http import HttpProcessingError

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.loopback import recordings
from dgnb.loopback.account import Credentials, models
from dgnb.loopback.engines import DEFAULT_MODEL, Engine
from dgnb.loopback.engines.script import Script
from dgnb.loopback.engines.whisper import WhisperEngine
from dgnb.loopback.handshake import (
    INVALID_PARAMETER,
    Refusal,
    check_host,
    check_language,
    parse_query,
    parse_recorded,
    parse_turn_query,
)
from dgnb.loopback.listener import Listener
from dgnb.loopback.radio import Radio
from dgnb.loopback.recognizer import ignored_options
from dgnb.loopback.turns import language_of
from dgnb.options import FluxOptions, StreamOptions
from dgnb.values import ABOVE_0, native, number, whole

__all__ = ["LoopbackServer", "serve"]

MAX_MESSAGE_BYTES: Final = 4 << 20
_LARGEST_JSON: Final = 1 << 16
_CLOSE_TIMEOUT: Final = 2.0
_REQUEST_TIMEOUT: Final = 5.0
"""Seconds from the start of a connection, or its last answer, until the next request must be complete."""

_FLUX_PATIENCE: Final = 6  # Deepgram closes idle connections of /v1/listen after 10 s, of /v2/listen after 60 s.

_REQUEST_ID: Final = web.RequestKey("request_id", str)

_http_logger = logging.getLogger("dgnb.loopback.http")
# What is not HTTP is answered with 400. It is not logged, because it might contain a key.
_http_logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))


class LoopbackServer:
    """A Deepgram-compatible server in this process, for one machine.

    `dgnb.loopback.serve()` makes one. Leaving its context closes open connections with 1001 and waits until the
    engines have ended. Cancelling is safe.

    Args:
        engine: An engine such as `Script`; a text, for a script that says it; or None for Whisper, which is loaded
            with the first connection.
        model: Whisper's size or path, if no engine is given.
        port: 0 for any that is free.
        token: The key that clients must send. Without it, any key will do, as with a self-hosted Deepgram, but
            there must be one.
        idle_timeout: Seconds without audio, KeepAlive or other text until a connection is closed with NET-0001.
            Deepgram says in one place that KeepAlive alone is not enough; here it is. `/v2/listen` waits six times
            as long, and counts pings too.
        max_connections: How many connections, and how many recordings, at a time; more are answered with 429.
        radio: The recording that `/radio` plays; by default, the sample that comes with dgnb.
        tls: Serve `wss://` and `https://` with this.

    Attributes:
        token: The key that clients must send, or None for any.

    Raises:
        ConfigurationError: The token is empty, or a number is out of its bounds.
    """

    def __init__(
        self,
        engine: Engine | str | None = None,
        *,
        model: str = DEFAULT_MODEL,
        port: int = 0,
        token: str | None = None,
        idle_timeout: float = 10.0,
        max_connections: int = 32,
        radio: str | os.PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        token = native(token)
        if token == "":
            raise ConfigurationError("token is empty. Leave it out to let any key in.")
        self.token = token
        self._credentials = Credentials(token)
        self._port = whole("port is a whole number up to 65535, or 0 for any", port, 0, 65_535)
        self._idle_timeout = number("idle_timeout is a positive number of seconds", idle_timeout, ABOVE_0)
        self._max_connections = whole("max_connections is a whole number", max_connections, 0)
        engine = native(engine)
        self._engine: Engine | None = Script(engine) if isinstance(engine, str) else engine
        self._model = native(model)
        self._tls = tls
        self._loading = asyncio.Lock()
        self._listeners: set[Listener] = set()
        self._recordings: set[asyncio.Task[Any]] = set()
        # Tests have it fetch recordings from this machine.
        self._private = False
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()
        self._radio = Radio(radio, self._stopping)
        # Tests put listeners with faults in its place.
        self._listener: Callable[..., Listener] = Listener

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError("A LoopbackServer is used once: call serve() again.")
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_http_logger,
            shutdown_timeout=_CLOSE_TIMEOUT,
            handle_signals=False,
            keepalive_timeout=_REQUEST_TIMEOUT,
        )
        await self._runner.setup()
        try:
            # This machine alone: the server has no defence against a network.
            listening = socket.create_server(("127.0.0.1", self._port))
            # Audio in the system's buffers delays the answer to a ping. With a slow engine, megabytes of it would take
            # minutes, and the client would give up the connection.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
            await web.SockSite(self._runner, listening, ssl_context=self._tls).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopping.set()
        self.drop(1001, "The server ends.")
        for task in self._recordings:
            task.cancel()
        try:
            # Before aiohttp cleans up, because it would not wait for the clients' close frames.
            await asyncio.gather(*(listener.over.wait() for listener in self._listeners))
        finally:
            if self._runner is not None:
                await self._runner.cleanup()

    def __repr__(self) -> str:
        return f"<LoopbackServer {self.url}, {self.active} open>"

    @property
    def url(self) -> str:
        """The address, `ws://127.0.0.1:PORT`: an `endpoint` for dgnb, a base URL for other clients."""
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self._port}"

    @property
    def radio_url(self) -> str:
        """An endless station to stream from: MP3 at `http://…/radio`."""
        return self.url.replace("ws", "http", 1) + "/radio"

    @property
    def active(self) -> int:
        """How many connections are open."""
        return len(self._listeners)

    def drop(self, code: int | None = None, reason: str = "") -> None:
        """End all open connections now, as a server does that restarts. New ones are served.

        Args:
            code: The close code to send; None for no close frame, which the client sees as 1006.
            reason: The reason that goes with the code.
        """
        for listener in self._listeners:
            listener.stop(code, reason)

    async def load(self) -> Engine:
        """Load the engine now, not with the first connection. It is loaded once.

        Raises:
            DgnbError: There is no such model, or it can't be loaded.
        """
        async with self._loading:
            if self._engine is None:
                self._engine = await asyncio.to_thread(WhisperEngine, self._model)
        return self._engine

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_LARGEST_JSON)
        for path in ("/v1/listen", FluxOptions.path):
            app.router.add_get(path, self._listen, allow_head=False)
        app.router.add_post("/v1/listen", self._transcribe)
        app.router.add_post("/v1/auth/grant", self._credentials.grant)
        app.router.add_get("/v1/models", self._models, allow_head=False)
        app.router.add_get("/v1/projects", self._projects, allow_head=False)
        for path in ("/radio", "/radio.mp3"):
            app.router.add_get(path, self._radio.listen, allow_head=False)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Check where the request comes from, and answer errors in one form."""
        request_id = request[_REQUEST_ID] = str(uuid.uuid4())
        try:
            check_host(request.headers.get("Host", ""), request.headers.getall("Origin", []))
            return await handler(request)
        except Refusal as refusal:
            return _refused(request_id, refusal)
        except web.HTTPException as error:
            words = f"{request.method} {request.path}: {error.reason}."
            return _refused(request_id, Refusal(error.status, error.reason, words))

    async def _projects(self, request: web.Request) -> web.Response:
        """What clients ask for to check a key."""
        self._credentials.check(request.headers)
        return web.json_response({"projects": [{"project_id": str(uuid.UUID(int=0)), "name": "dgnb.loopback"}]})

    async def _models(self, request: web.Request) -> web.Response:
        self._credentials.check(request.headers)
        return web.json_response(models(await self._loaded()))

    async def _loaded(self) -> Engine:
        try:
            return await self.load()
        except DgnbError as error:
            raise Refusal(503, "NO_ENGINE", str(error)) from None

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        self._credentials.check(request.headers)
        options = parse_recorded(list(request.query.items()))
        engine = await self._loaded()
        check_language(options.language, engine)
        if len(self._recordings) >= self._max_connections:
            raise Refusal(429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later.")
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._recordings.add(task)
        try:
            return await recordings.answer(request, options, engine, request[_REQUEST_ID], self._private)
        except (ConnectionError, web.RequestPayloadError) as error:
            raise Refusal(499, "CLIENT_CLOSED_REQUEST", f"The request did not arrive whole: {error}.") from None
        finally:
            self._recordings.discard(task)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            told = "This is a WebSocket: connect with ws://, not with http://."
            raise Refusal(426, "UPGRADE_REQUIRED", told, {"Upgrade": "websocket"})
        self._credentials.check(request.headers)
        query, flux = list(request.query.items()), request.path == FluxOptions.path
        options: StreamOptions = parse_turn_query(query) if flux else parse_query(query)
        engine = await self._loaded()
        check_language(language_of(options) if isinstance(options, FluxOptions) else options.language, engine)
        if self.active >= self._max_connections:
            raise Refusal(429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later.")

        websocket = web.WebSocketResponse(
            timeout=_CLOSE_TIMEOUT,
            compress=False,
            # With Flux, pings keep a connection open; so the listener has to see them.
            autoping=not flux,
            # aiohttp wants the smallest size that is too large.
            max_msg_size=MAX_MESSAGE_BYTES + 1,
            protocols=("token", "bearer") if "Sec-WebSocket-Protocol" in request.headers else (),
        )
        websocket.headers["dg-request-id"] = request[_REQUEST_ID]
        if ignored := ignored_options(options):
            websocket.headers["dgnb-ignored"] = ", ".join(ignored)
        await websocket.prepare(request)
        transport, idle = request.transport, self._idle_timeout * (_FLUX_PATIENCE if flux else 1)
        listener = self._listener(websocket, transport, engine, options, request[_REQUEST_ID], idle)
        self._listeners.add(listener)
        if self._stopping.is_set():
            listener.stop(1001, "The server ends.")
        try:
            await listener.run()
        finally:
            self._listeners.discard(listener)
            listener.over.set()
        return websocket


serve = LoopbackServer
"""The name by which a server is made: `async with serve("hello world") as server`."""


def _refused(request_id: str, refusal: Refusal) -> web.Response:
    told = {"err_code": refusal.code, "err_msg": str(refusal), "request_id": request_id}
    if refusal.code == INVALID_PARAMETER:
        told = {"code": refusal.code, "description": str(refusal), "request_id": request_id}
    # What is allowed in a header: printable ASCII.
    words = "".join(character if " " <= character <= "~" else "?" for character in str(refusal))
    headers = {"dg-request-id": request_id, "dg-error": words[:500], **refusal.headers}
    return web.json_response(told, status=refusal.status, headers=headers)

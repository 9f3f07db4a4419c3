"""The strict fake Deepgram on a real socket of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Close

from .fake import Core
from .flux import FluxCore

__all__ = ["Served", "served"]


class Served:
    """The far ends of a real server.

    Attributes:
        url: Where it is.
        cores: One for each connection, in order.
        connections: The same, as websockets' connections.
        queries: What each asked for.
    """

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.cores: list[Core] = []
        self.connections: list[ServerConnection] = []
        self.queries: list[str] = []

    @property
    def violations(self) -> list[str]:
        """The violations of all connections."""
        different = [f"another query: {query}" for query in self.queries if query != self.queries[0]]
        return [what for core in self.cores for what in core.violations] + different


@contextlib.asynccontextmanager
async def served(seed: object = 0, *, longest: int = 3, flux: bool = False) -> AsyncIterator[Served]:
    """A real WebSocket server on this machine; each connection has a `Core` of its own."""
    given = Served()
    clock = asyncio.get_running_loop().time

    async def talk(socket: ServerConnection) -> None:
        number = len(given.cores)
        core = (FluxCore if flux else Core)(
            random.Random(f"{seed}/{number}"),
            clock(),
            interims=True,
            meter=True,
            audit=True,
            longest=longest,
            number=number,
        )
        given.cores.append(core)
        given.connections.append(socket)
        given.queries.append(socket.request.path if socket.request else "")
        news = asyncio.Event()
        speaker = asyncio.create_task(_speak(socket, core, news), name="fake: speak")
        try:
            with contextlib.suppress(websockets.ConnectionClosed):
                async for frame in socket:
                    if isinstance(frame, str):
                        core.text(frame, clock())
                    else:
                        core.binary(frame, clock())
                    news.set()
        finally:
            speaker.cancel()
            await asyncio.wait([speaker])

    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.5) as server:
        given.port = next(iter(server.sockets)).getsockname()[1]
        given.url = f"ws://127.0.0.1:{given.port}"
        yield given


async def _speak(socket: ServerConnection, core: Core, news: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            core.advance(clock())
            while core.out and core.out[0][0] <= clock():
                _, what = core.out.popleft()
                if isinstance(what, Close):
                    # 1005 stands for a close frame without a code, which this library does not send.
                    await socket.close(1000 if what.code == 1005 else what.code, what.reason)
                    return
                await socket.send(what)
            at = core.out[0][0] if core.out else core.deadline
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if at == float("inf") else at):
                    await news.wait()
            news.clear()

"""A small `/v2/listen` whose turns are known, with faults on purpose: it hears where in the audio it is.

`talk()` is audio in which each hundredth of a second holds its own number, so that a server that gets it again from the
middle says the words of that place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import dgnb

__all__ = ["Flux", "samples", "talk"]

RATE = 32_000
STEP = 0.25


def samples(seconds: float) -> bytes:
    """So many seconds whose samples say in which hundredth of a second they are."""
    return np.repeat(np.arange(round(seconds * 100), dtype="<i2"), 160).tobytes()


def talk(seconds: float) -> dgnb.BufferSource:
    """`samples` as a source."""
    return dgnb.BufferSource(samples(seconds), encoding="linear16", sample_rate=16_000)


class Flux:
    """A server of turns `(text, start, end)`, seconds of the audio; each ends half a second after its last word.

    Attributes:
        queries, texts, frames: What each connection asked for, the messages that it sent, and the sizes of its audio.
        greets: Whether it says that it is ready.
        timed: Whether words have times.
        stalls_at: Where in the audio the next connection stops hearing, or None.
        drops_at: Where in the audio the next connection is gone without a close frame, or None.
        dropped: How many connections the last one may follow.
        slow: Seconds for each quarter of a second of audio.
        refuses: The description with which it refuses to be configured, or None; "" for no answer at all.
        last_words: A message that is sent before the close, or None.
    """

    def __init__(self, *turns: tuple[str, float, float]) -> None:
        self.turns = [list(spoken(*turn)) for turn in turns]
        self.queries: list[dict[str, Any]] = []
        self.texts: list[list[dict[str, Any]]] = []
        self.frames: list[list[int]] = []
        self.greets, self.timed = True, True
        self.stalls_at: float | None = None
        self.drops_at: float | None = None
        self.slow = 0.0
        self.refuses: str | None = None
        self.last_words: dict[str, Any] | None = None
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Flux]:
        async with serve(self._serve, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            yield self

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request
        url = urlsplit(socket.request.path)
        assert url.path == "/v2/listen"
        self.queries.append(dict(parse_qsl(url.query)))
        self.texts.append([])
        self.frames.append([])
        with suppress(ConnectionClosed):
            await _Ear(self, socket).run()


class _Ear:
    def __init__(self, flux: Flux, socket: ServerConnection) -> None:
        self.flux, self.socket, self.sequence = flux, socket, 0
        self.texts, self.frames = flux.texts[-1], flux.frames[-1]
        self.stalls_at, flux.stalls_at = flux.stalls_at, None
        self.drops_at, flux.drops_at = flux.drops_at, None
        self.origin: float | None = None
        self.received = self.heard = self.cut = 0.0
        self.index, self.words, self.open = 0, [], False  # type: ignore[var-annotated]
        self.news = asyncio.Event()

    async def say(self, kind: str, **fields: Any) -> None:
        message = {"type": kind, "request_id": "r", "sequence_id": self.sequence, **fields}
        self.sequence += 1
        await self.socket.send(json.dumps(message))

    async def run(self) -> None:
        if not self.flux.greets:
            await self.socket.wait_closed()
            return
        await self.say("Connected")
        decoder = asyncio.create_task(self.decode())
        try:
            async for frame in self.socket:
                if isinstance(frame, bytes):
                    self.frames.append(len(frame))
                    if self.origin is None:
                        self.origin = self.heard = self.cut = int.from_bytes(frame[:2], "little") / 100
                    self.received += len(frame) / RATE
                    self.news.set()
                elif not await self.control(json.loads(frame)):
                    break
        finally:
            decoder.cancel()
            with suppress(asyncio.CancelledError):
                await decoder

    async def control(self, message: dict[str, Any]) -> bool:
        """Do what a client asks for. Returns whether there is more to come."""
        self.texts.append(message)
        if message == {"type": "ForceEndTurn"}:
            if self.open:
                await self.turn("EndOfTurn", trigger="manual")
            else:
                await self.say("Warning", code="FORCE_END_TURN_NO_ACTIVE_TURN", description="No turn is active.")
        elif message == {"type": "CloseStream"}:
            while self.origin is not None and self.now - self.heard > 1e-6 and self.stalls_at is None:
                await self.step(min(STEP, self.now - self.heard))
            if self.flux.last_words:
                await self.say(**self.flux.last_words)
            async with self.socket.send_context():
                self.socket.protocol.send_close()
            return False
        elif message["type"] == "Configure" and not message.get("features"):
            if self.flux.refuses:
                await self.say("ConfigureFailure", code="INVALID", description=self.flux.refuses)
            elif self.flux.refuses is None:
                del message["type"]
                await self.say("ConfigureSuccess", **message)
        else:
            await self.say("Error", code="UNPARSABLE_CLIENT_MESSAGE", description="What is this?")
            return False
        return True

    @property
    def now(self) -> float:
        return (self.origin or 0.0) + self.received

    async def decode(self) -> None:
        while True:
            await self.news.wait()
            self.news.clear()
            while self.now - self.heard >= STEP - 1e-6:
                if self.drops_at is not None and self.heard >= self.drops_at:
                    self.socket.transport.abort()
                    return
                if self.stalls_at is not None and self.heard >= self.stalls_at:
                    break
                await asyncio.sleep(self.flux.slow)
                await self.step(STEP)

    async def step(self, seconds: float) -> None:
        assert self.origin is not None
        self.heard += seconds
        # A word that this connection did not hear from its beginning is none.
        said = [[w for w in turn if w[1] > self.origin - 0.02 and w[2] > self.cut + 1e-3] for turn in self.flux.turns]
        spoken = next(filter(None, said), [])
        self.words = [word for word in spoken if word[2] <= self.heard + 1e-6]
        if not self.words:
            await self.turn("Update")
        elif not self.open:
            self.open = True
            await self.turn("StartOfTurn")
        elif self.words == spoken and self.heard >= spoken[-1][2] + 0.5:
            await self.turn("EndOfTurn", trigger="model")
        else:
            await self.turn("Update")

    async def turn(self, event: str, **more: Any) -> None:
        assert self.origin is not None
        words: list[dict[str, Any]] = [{"word": word, "confidence": 0.9} for word, *_ in self.words]
        for word, (_, start, end) in zip(words, self.words, strict=True):
            word |= {"start": start - self.origin, "end": end - self.origin} if self.flux.timed else {}
        window = {"audio_window_start": self.cut - self.origin, "audio_window_end": self.heard - self.origin}
        text = " ".join(word for word, *_ in self.words)
        fields = {"event": event, "turn_index": self.index, "transcript": text, "words": words, **window}
        if event == "EndOfTurn":
            self.cut, self.open, self.words = self.heard, False, []
            self.index += 1
        await self.say("TurnInfo", **fields, end_of_turn_confidence=0.8, **more)


def spoken(text: str, start: float, end: float) -> list[tuple[str, float, float]]:
    """The words of a text that share the time evenly."""
    words = text.split()
    length = (end - start) / len(words)
    return [(word, start + index * length, start + (index + 1) * length) for index, word in enumerate(words)]

"""A server for whole recordings over a real socket: it notes what it gets, and answers as a test tells it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

import dgnb

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(text: str = "hello world", seconds: float = 2.0) -> dict[str, Any]:
    """What the service answers: one utterance, whose words share its seconds."""
    words = text.split()
    step = seconds / len(words)
    said = [
        {"word": word, "start": place * step, "end": (place + 1) * step, "confidence": 0.9, "punctuated_word": word}
        for place, word in enumerate(words)
    ]
    heard = {"transcript": text, "confidence": 0.9, "words": said}
    utterance = {"start": 0.0, "end": seconds, "channel": 0, "id": "u", **heard}
    metadata = {
        **{"request_id": "request-1", "sha256": "0", "created": "2026-11-01T00:00:00Z", "duration": seconds},
        **{"channels": 1, "models": ["m"], "model_info": {"m": {"name": "n", "version": "1", "arch": "nova-3"}}},
    }
    return {"metadata": metadata, "results": {"channels": [{"alternatives": [heard]}], "utterances": [utterance]}}


def says(status: int, body: Any = "", **headers: str) -> Act:
    """Read the whole request, and answer with this status; a mapping is sent as JSON."""

    async def act(request: web.Request) -> web.StreamResponse:
        await request.read()
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    return act


async def cut(request: web.Request) -> web.StreamResponse:
    """Take the beginning of the body, and break the connection off."""
    await request.content.readany()
    assert request.transport
    request.transport.abort()
    return web.Response()


async def silent(request: web.Request) -> web.StreamResponse:
    """Take the whole body, and never answer."""
    await request.read()
    await asyncio.Event().wait()
    raise AssertionError


async def deaf(request: web.Request) -> web.StreamResponse:
    """Take no byte of the body."""
    await asyncio.Event().wait()
    raise AssertionError


@dataclass
class Asked:
    """One request: its `size` bytes and their `digest`, as far as they came."""

    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = b""
    size: int = 0
    digest: str = ""
    gone: bool = False


@dataclass
class Service:
    """Each request takes the next of `acts`; when none is left, it gets `answer()`. `keep` keeps the bodies."""

    url: str = ""
    acts: list[Act] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    keep: bool = True

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request.path, list(request.query.items()), dict(request.headers))
        self.asked.append(asked)
        act = self.acts.pop(0) if self.acts else None
        try:
            if act:
                return await act(request)
            sha = hashlib.sha256()
            async for data in request.content.iter_any():
                sha.update(data)
                asked.size += len(data)
                asked.body += data if self.keep else b""
            asked.digest = sha.hexdigest()
            return web.json_response(answer())
        except (asyncio.CancelledError, ConnectionError):
            asked.gone = True
            raise


@asynccontextmanager
async def serving(*acts: Act, ssl: Any = None) -> AsyncIterator[Service]:
    """A `Service` that runs, at `url`."""
    service = Service(acts=list(acts))
    app = web.Application(client_max_size=1 << 31)
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl).start()
    service.url = f"{'wss' if ssl else 'ws'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


def warnings(transcript: dgnb.Transcript) -> list[str]:
    """What the events of a transcript warn of."""
    return transcript.events.query("type == 'warning'").text.tolist()

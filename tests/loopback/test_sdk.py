"""Foreign clients, unchanged but for the address, against the loopback server. `make peers` runs more of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import av
import httpx
import numpy as np
import pytest
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types import (
    ListenV1Metadata,
    ListenV1Results,
    ListenV1SpeechStarted,
    ListenV1UtteranceEnd,
)

from dgnb.loopback import Script
from tests.support.faulty import FaultyServer

# The client uses names that websockets deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("Hello world. How are you?", gap=2), token="secret") as server:
        yield server


def here(server: FaultyServer) -> DeepgramClientEnvironment:
    http = server.url.replace("ws://", "http://")
    return DeepgramClientEnvironment(base=http, production=server.url, agent=server.url, agent_rest=http)


def client(server: FaultyServer, key: str = "secret") -> AsyncDeepgramClient:
    return AsyncDeepgramClient(api_key=key, environment=here(server))


@contextlib.asynccontextmanager
async def open_client(server: FaultyServer, **key: str) -> AsyncIterator[AsyncDeepgramClient]:
    """A client of HTTP requests, whose connections are closed."""
    async with httpx.AsyncClient() as http:
        yield AsyncDeepgramClient(**(key or {"api_key": "secret"}), environment=here(server), httpx_client=http)


async def transcribe(server: FaultyServer, seconds: float, **options: Any) -> list[Any]:
    async with client(server).listen.v1.connect(
        model="nova-3", encoding="linear16", sample_rate=16_000, **options
    ) as connection:
        for _ in range(round(seconds * 10)):
            await connection.send_media(bytes(3200))
        await connection.send_keep_alive()
        await connection.send_close_stream()
        return [message async for message in connection]


async def test_the_official_client_gets_results_and_metadata(server: FaultyServer) -> None:
    *messages, metadata = await transcribe(server, 6, smart_format="true")
    finals = [message for message in messages if isinstance(message, ListenV1Results)]
    text = " ".join(final.channel.alternatives[0].transcript for final in finals)
    assert text.split() == ["Hello", "world.", "How", "are", "you?"]
    words = [word for final in finals for word in final.channel.alternatives[0].words]
    assert [word.word for word in words] == ["hello", "world", "how", "are", "you"]
    assert words[0].start == 0.2
    assert finals[0].metadata.model_info.name == "script"
    assert isinstance(metadata, ListenV1Metadata)
    assert metadata.duration == 6.0


async def test_the_official_client_gets_every_kind_of_event(server: FaultyServer) -> None:
    messages = await transcribe(
        server, 6, interim_results="true", utterance_end_ms="1000", vad_events="true", endpointing=300
    )
    kinds = {type(message) for message in messages}
    assert kinds == {ListenV1Results, ListenV1Metadata, ListenV1SpeechStarted, ListenV1UtteranceEnd}
    assert not all(message.is_final for message in messages if isinstance(message, ListenV1Results))


async def test_the_official_client_can_finalize(server: FaultyServer) -> None:
    async with client(server).listen.v1.connect(model="nova-3", encoding="linear16", sample_rate=16_000) as connection:
        await connection.send_media(bytes(3200 * 7))
        await connection.send_finalize()
        async with asyncio.timeout(5):
            message = await connection.recv()
        assert isinstance(message, ListenV1Results)
        assert message.from_finalize


async def test_the_official_client_is_told_of_a_wrong_key(server: FaultyServer) -> None:
    with pytest.raises(ApiError) as caught:
        async with client(server, "wrong").listen.v1.connect(model="nova-3"):
            pass
    assert caught.value.status_code == 401
    assert server.requests[-1].status == 401


async def test_the_official_client_with_threads_gets_results_and_the_projects(server: FaultyServer) -> None:
    def use() -> tuple[list[str | None], list[Any]]:
        # Given a client of HTTP, which it would leave open.
        with httpx.Client() as http:
            client = DeepgramClient(api_key="secret", environment=here(server), httpx_client=http)
            projects = client.manage.v1.projects.list().projects or []
            options: Any = {"model": "nova-2", "encoding": "linear16", "sample_rate": 16_000, "diarize": "true"}
            with client.listen.v1.connect(**options) as connection:
                connection.send_media(bytes(32_000 * 6))
                connection.send_close_stream()
                return [project.name for project in projects], list(connection)

    names, messages = await asyncio.to_thread(use)
    assert names == ["dgnb.loopback"]
    words = [word for m in messages if m.type == "Results" for word in m.channel.alternatives[0].words]
    assert [(word.word, word.speaker) for word in words[:2]] == [("hello", 0), ("world", 0)]


async def test_a_voice_agent_gets_interims_and_answers_to_its_messages(server: FaultyServer) -> None:
    """An agent names every option, sends 50 ms at a time, and keeps the connection alive with pings and texts."""
    query = {
        **{"model": "nova-3", "language": "en-US", "punctuate": "true", "smart_format": "false", "no_delay": "true"},
        **{"interim_results": "true", "encoding": "linear16", "sample_rate": 16_000, "channels": 1, "endpointing": 25},
        **{"vad_events": "true", "filler_words": "true", "profanity_filter": "false", "numerals": "false"},
        **{"mip_opt_out": "false", "utterance_end_ms": 1000, "replace": ["hello:hi", "world:earth"], "tag": "agent"},
    }
    pairs = [
        (name, str(one)) for name, value in query.items() for one in (value if isinstance(value, list) else [value])
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{server.url}/v1/listen", params=pairs, headers={"Authorization": "Token secret"}, heartbeat=30.0
        ) as websocket,
    ):
        for number in range(120):
            await websocket.send_bytes(bytes(1600))
            if number % 40 == 39:
                await websocket.send_str(json.dumps({"type": "KeepAlive"}))
        await websocket.send_str(json.dumps({"type": "Finalize"}))
        await websocket.send_str(json.dumps({"type": "CloseStream"}))
        messages = [json.loads(message.data) async for message in websocket]
    assert websocket.close_code == 1000
    assert {m["type"] for m in messages} == {"Results", "SpeechStarted", "UtteranceEnd", "Metadata"}
    finals = [m for m in messages if m["type"] == "Results" and m["is_final"]]
    said = " ".join(m["channel"]["alternatives"][0]["transcript"] for m in finals)
    assert said.split() == ["Hello", "world.", "How", "are", "you?"]
    assert any(m["speech_final"] for m in finals)


def recorded(seconds: int) -> list[bytes]:
    """What a browser's MediaRecorder gives: WebM with Opus of unknown length, in pieces of a quarter of a second."""
    written = io.BytesIO()
    with av.open(written, "w", format="webm", options={"live": "1", "cluster_time_limit": "250"}) as file:
        stream: Any = file.add_stream("libopus", rate=48_000, layout="mono")
        for at in range(0, seconds * 48_000, 960):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), "<i2"), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, at
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    data, size = written.getvalue(), len(written.getvalue()) // (4 * seconds)
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("options", [{}, {"sample_rate": "48000", "channels": "1"}])
async def test_a_browser_that_records_gets_results_without_saying_what_it_sends(
    server: FaultyServer, options: dict[str, str]
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{server.url}/v1/listen",
            params={"model": "nova-2", "smart_format": "true", **options},
            # A page can't send a header with its key.
            protocols=("token", "secret"),
            origin="http://localhost:3000",
        ) as websocket,
    ):
        for piece in recorded(6):
            await websocket.send_bytes(piece)
        await websocket.send_str(json.dumps({"type": "CloseStream"}))
        *messages, metadata = [json.loads(message.data) async for message in websocket]
    assert websocket.protocol == "token"
    said = " ".join(m["channel"]["alternatives"][0]["transcript"] for m in messages)
    assert said.split() == ["Hello", "world.", "How", "are", "you?"]
    assert metadata["duration"] == pytest.approx(6, abs=0.1)

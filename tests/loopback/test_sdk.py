"""The official client, unchanged but for the address, against the loopback server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types import (
    ListenV1Metadata,
    ListenV1Results,
    ListenV1SpeechStarted,
    ListenV1UtteranceEnd,
)

from dgnb.loopback import LoopbackServer, Script, serve

# The client uses names that websockets deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with serve(Script("Hello world. How are you?", gap=2), token="secret") as server:
        yield server


def client(server: LoopbackServer, key: str = "secret") -> AsyncDeepgramClient:
    http = server.url.replace("ws://", "http://")
    here = DeepgramClientEnvironment(base=http, production=server.url, agent=server.url, agent_rest=http)
    return AsyncDeepgramClient(api_key=key, environment=here)


async def transcribe(server: LoopbackServer, seconds: float, **options: Any) -> list[Any]:
    async with client(server).listen.v1.connect(
        model="nova-3", encoding="linear16", sample_rate=16_000, **options
    ) as connection:
        for _ in range(round(seconds * 10)):
            await connection.send_media(bytes(3200))
        await connection.send_keep_alive()
        await connection.send_close_stream()
        return [message async for message in connection]


async def test_the_official_client_gets_results_and_metadata(server: LoopbackServer) -> None:
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


async def test_the_official_client_gets_every_kind_of_event(server: LoopbackServer) -> None:
    messages = await transcribe(
        server, 6, interim_results="true", utterance_end_ms="1000", vad_events="true", endpointing=300
    )
    kinds = {type(message) for message in messages}
    assert kinds == {ListenV1Results, ListenV1Metadata, ListenV1SpeechStarted, ListenV1UtteranceEnd}
    assert not all(message.is_final for message in messages if isinstance(message, ListenV1Results))


async def test_the_official_client_can_finalize(server: LoopbackServer) -> None:
    async with client(server).listen.v1.connect(model="nova-3", encoding="linear16", sample_rate=16_000) as connection:
        await connection.send_media(bytes(3200 * 7))
        await connection.send_finalize()
        async with asyncio.timeout(5):
            message = await connection.recv()
        assert isinstance(message, ListenV1Results)
        assert message.from_finalize


async def test_the_official_client_is_told_of_a_wrong_key(server: LoopbackServer) -> None:
    with pytest.raises(ApiError) as caught:
        async with client(server, "wrong").listen.v1.connect(model="nova-3"):
            pass
    assert caught.value.status_code == 401
    assert server.requests[-1].status == 401

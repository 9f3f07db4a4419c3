"""deepgram-sdk 7: a client with threads and one with asyncio."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.environment import DeepgramClientEnvironment

URL = os.environ["PEER_URL"]
HTTP = URL.replace("ws", "http", 1)
HERE = DeepgramClientEnvironment(base=HTTP, production=URL, agent=URL, agent_rest=HTTP)
AUDIO = Path(os.environ["PEER_AUDIO"]).read_bytes()
OPTIONS = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16000, "smart_format": "true", "diarize": "true"}


def show(message: Any) -> None:
    if message.type == "Results":
        print(message.channel.alternatives[0].transcript.lower().rstrip("."))


def with_threads() -> None:
    client = DeepgramClient(api_key="any", environment=HERE)
    print([project.name for project in client.manage.v1.projects.list().projects or []])
    with client.listen.v1.connect(**OPTIONS) as connection:
        connection.send_media(AUDIO)
        connection.send_finalize()
        connection.send_close_stream()
        for message in connection:
            show(message)


async def with_asyncio() -> None:
    async with AsyncDeepgramClient(api_key="any", environment=HERE).listen.v1.connect(**OPTIONS) as connection:
        await connection.send_media(AUDIO)
        await connection.send_keep_alive()
        await connection.send_close_stream()
        async for message in connection:
            show(message)


with_threads() if sys.argv[1:] == ["threads"] else asyncio.run(with_asyncio())

"""deepgram-sdk 3 and 4: a client with threads and one with asyncio."""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

from deepgram import DeepgramClient, DeepgramClientOptions, LiveOptions, LiveTranscriptionEvents

CLIENT = DeepgramClient("any", DeepgramClientOptions(url=os.environ["PEER_URL"], options={"keepalive": "true"}))
AUDIO = Path(os.environ["PEER_AUDIO"]).read_bytes()
OPTIONS = LiveOptions(
    **{"model": "nova-2", "smart_format": True, "encoding": "linear16", "sample_rate": 16000, "channels": 1},
    **{"interim_results": True, "utterance_end_ms": "1000", "vad_events": True, "endpointing": 300, "diarize": True},
)


def show(result: Any) -> None:
    alternative = result.channel.alternatives[0]
    if result.is_final:
        print(alternative.transcript.lower().rstrip("."), [word.speaker for word in alternative.words])


def with_threads() -> None:
    connection = CLIENT.listen.websocket.v("1")
    ended = threading.Event()
    connection.on(LiveTranscriptionEvents.Transcript, lambda _, result, **more: show(result))
    connection.on(LiveTranscriptionEvents.Metadata, lambda _, metadata, **more: ended.set())
    assert connection.start(OPTIONS)
    connection.send(AUDIO)
    connection.keep_alive()
    connection.finalize()
    connection.send('{"type": "CloseStream"}')
    assert ended.wait(10)
    connection.finish()


async def with_asyncio() -> None:
    connection = CLIENT.listen.asyncwebsocket.v("1")
    ended = asyncio.Event()

    async def transcript(_: Any, result: Any, **more: Any) -> None:
        show(result)

    async def metadata(_: Any, **more: Any) -> None:
        ended.set()

    connection.on(LiveTranscriptionEvents.Transcript, transcript)
    connection.on(LiveTranscriptionEvents.Metadata, metadata)
    assert await connection.start(OPTIONS)
    await connection.send(AUDIO)
    await connection.keep_alive()
    await connection.finalize()
    await connection.send('{"type": "CloseStream"}')
    await asyncio.wait_for(ended.wait(), 10)
    await connection.finish()


with_threads() if sys.argv[1:] == ["threads"] else asyncio.run(with_asyncio())

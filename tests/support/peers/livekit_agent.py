"""The speech-to-text plugin of LiveKit Agents."""

import asyncio
import os

import aiohttp
from livekit import rtc
from livekit.plugins import deepgram

URL = os.environ["PEER_URL"].replace("ws", "http", 1) + "/v1/listen"


async def main() -> None:
    async with aiohttp.ClientSession() as session:
        engine = deepgram.STT(
            model="nova-2-general", api_key="any", base_url=URL, http_session=session, enable_diarization=True
        )
        stream = engine.stream()
        for _ in range(60):
            stream.push_frame(rtc.AudioFrame(bytes(1600), 16000, 1, 800))
        stream.end_input()
        async with asyncio.timeout(20):
            async for event in stream:
                print(event.type.value, *(alternative.text for alternative in event.alternatives))


asyncio.run(main())

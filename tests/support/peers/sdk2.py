"""deepgram-sdk 2: one client, asyncio."""

import asyncio
import os
from pathlib import Path

from deepgram import Deepgram

AUDIO = Path(os.environ["PEER_AUDIO"]).read_bytes()


async def main() -> None:
    http = os.environ["PEER_URL"].replace("ws", "http", 1)
    client = Deepgram({"api_key": "0" * 40, "api_url": f"{http}/v1"})
    options = {"model": "general", "tier": "enhanced", "punctuate": True, "encoding": "linear16", "sample_rate": 16000}
    live = await client.transcription.live({**options, "interim_results": False, "numbers": True})
    ended = asyncio.Event()
    live.register_handler(
        live.event.TRANSCRIPT_RECEIVED,
        lambda message: print(message["channel"]["alternatives"][0]["transcript"] if "channel" in message else ""),
    )
    live.register_handler(live.event.CLOSE, lambda code: (print("closed", code), ended.set()))
    live.send(AUDIO)
    await live.finish()
    await asyncio.wait_for(ended.wait(), 10)


asyncio.run(main())

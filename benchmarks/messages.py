"""CPU time per message from the wire to the words table, for three clients on the same recorded stream.

- floor: `websockets` and `json.loads`, counting words and keeping nothing.
- deepgram-sdk: the official client, its words gathered into a DataFrame at the end.
- dgnb: a `LiveSession`, and `transcript.words` at the end.

Each client runs in a process of its own, in turns, against one server process that sends the same frames as fast as
they are taken. Imports do not count, the handshake does. The ratios of one run are what to compare: the machine's pace
is in all of them alike.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import time
from typing import Any

MESSAGES = 20_000
ROUNDS = 7


def recording(messages: int) -> list[str]:
    """Three growing interims and a final, over and over, of about ten words: what a talk looks like on the wire."""
    rng = random.Random(7)
    vocabulary = ["about", "words", "of", "a", "language", "people", "spoke", "in", "the", "morning", "radio", "then"]
    frames = []
    start = 0.0
    while len(frames) < messages:
        words = []
        at = start
        for _ in range(12):
            word = rng.choice(vocabulary)
            end = round(at + rng.uniform(0.1, 0.4), 3)
            confidence = round(rng.uniform(0.6, 1.0), 7)
            words.append(
                {"word": word, "start": at, "end": end, "confidence": confidence, "punctuated_word": word.title()}
            )
            at = end
        for heard, final in ((4, False), (7, False), (10, False), (12, True)):
            frames.append(json.dumps(_results(words[:heard], start, final)))
        start = at
    return frames[:messages]


def _results(words: list[dict[str, Any]], start: float, final: bool) -> dict[str, Any]:
    transcript = " ".join(word["punctuated_word"] for word in words)
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": round(words[-1]["end"] - start, 3),
        "start": start,
        "is_final": final,
        "speech_final": final,
        "channel": {"alternatives": [{"transcript": transcript, "confidence": 0.98, "words": words}]},
        "metadata": {
            "request_id": "11111111-2222-3333-4444-555555555555",
            "model_info": {"name": "general", "version": "2026-01-01.0", "arch": "nova-3"},
            "model_uuid": "66666666-7777-8888-9999-000000000000",
        },
        "from_finalize": False,
    }


def _serve(frames: list[str], port: Any) -> None:
    from websockets.asyncio.server import serve

    async def handler(socket: Any) -> None:
        async for frame in socket:
            if isinstance(frame, bytes):
                break
        for frame in frames:
            await socket.send(frame)
        async for frame in socket:
            if "CloseStream" in str(frame):
                break
        metadata = {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": "1",
            "sha256": "",
            "duration": 1.0,
        }
        await socket.send(json.dumps({**metadata, "created": "2026-01-01T00:00:00Z", "channels": 1}))
        await socket.close()

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, compression=None) as server:
            port.put(server.sockets[0].getsockname()[1])
            await asyncio.Future()

    asyncio.run(main())


def _audio() -> bytes:
    return bytes(3200)


def floor(url: str, messages: int) -> int:
    """Count words, and no more."""
    import websockets.asyncio.client

    async def run() -> int:
        words = 0
        socket = await websockets.asyncio.client.connect(f"{url}/v1/listen", compression=None)
        await socket.send(_audio())
        for _ in range(messages):
            message = json.loads(await socket.recv())
            words += message["is_final"] and len(message["channel"]["alternatives"][0]["words"])
        await socket.send('{"type":"CloseStream"}')
        async for _ in socket:
            pass
        return words

    return asyncio.run(run())


def sdk(url: str, messages: int) -> int:
    """The official client, as its examples use it."""
    import pandas as pd
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    async def run() -> int:
        environment = DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)
        client = AsyncDeepgramClient(api_key="none", environment=environment)
        rows = []
        async with client.listen.v1.connect(model="nova-3", encoding="linear16", sample_rate="16000") as socket:
            await socket.send_media(_audio())
            received = 0
            async for message in socket:
                received += 1
                if message.type == "Results" and message.is_final:
                    rows += [word.model_dump() for word in message.channel.alternatives[0].words]
                if received == messages:
                    await socket.send_close_stream()
        return len(pd.DataFrame(rows))

    return asyncio.run(run())


def dgnb(url: str, messages: int) -> int:
    """A session and its words table."""
    import dgnb as package

    async def run() -> int:
        source = package.BufferSource(_audio(), encoding="linear16", sample_rate=16000)
        # With a key as long as Deepgram's: each message is searched for it.
        session = package.LiveSession(source, interim_results=True, endpoint=url, api_key="0123456789" * 4)
        await session
        return len(session.transcript.words)

    return asyncio.run(run())


CLIENTS = {"floor": floor, "deepgram-sdk": sdk, "dgnb": dgnb}


def _measure(name: str, url: str, messages: int, out: Any) -> None:
    # What a notebook has loaded by then.
    import msgspec  # noqa: F401
    import pandas  # noqa: F401

    if name == "deepgram-sdk":
        import deepgram
        import deepgram.listen.v1.socket_client  # noqa: F401
    elif name == "dgnb":
        import av  # noqa: F401

        from dgnb import connection, session  # noqa: F401

    began = time.process_time()
    words = CLIENTS[name](url, messages)
    out.put((time.process_time() - began, words))


def main(messages: int = MESSAGES, rounds: int = ROUNDS) -> dict[str, float]:
    """Run them in turns, print the table, and give microseconds of CPU a message."""
    context = multiprocessing.get_context("spawn")
    frames = recording(messages)
    port = context.Queue()
    server = context.Process(target=_serve, args=(frames, port), daemon=True)
    server.start()
    url = f"ws://127.0.0.1:{port.get(timeout=30)}"
    times: dict[str, list[float]] = {name: [] for name in CLIENTS}
    words: set[int] = set()
    try:
        for _ in range(rounds):
            for name in CLIENTS:
                out = context.Queue()
                client = context.Process(target=_measure, args=(name, url, messages, out))
                client.start()
                seconds, heard = out.get(timeout=300)
                client.join()
                times[name].append(seconds)
                words.add(heard)
    finally:
        server.terminate()
        server.join()
    assert len(words) == 1, f"the clients heard different numbers of words: {words}"
    # The least of several: whatever else the machine did can only have added to it.
    result = {name: min(values) / messages * 1e6 for name, values in times.items()}
    print(f"CPU from wire to words table, {messages:,} messages, {words.pop():,} words, best of {rounds}")
    print(f"{'':14}{'µs/message':>12}{'× floor':>10}{'median':>10}{'most':>8}")
    for name, value in result.items():
        median, most = (of(times[name]) / messages * 1e6 for of in (statistics.median, max))
        print(f"{name:14}{value:12.1f}{value / result['floor']:10.2f}{median:10.1f}{most:8.1f}")
    return result


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

"""What a recording costs: the CPU time of half an hour of speech that is captured in chunks and written each second."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from pathlib import Path

from dgnb import samples
from dgnb.audio import Audio, FileSource
from dgnb.audio.recording import Recorder

SECONDS = 1800


async def _speech() -> tuple[Audio, list[bytes]]:
    audio = await FileSource(samples.path()).open()
    chunks = [chunk async for chunk in audio]
    await audio.aclose()
    return audio, chunks


def _recorded(path: Path, audio: Audio, chunks: list[bytes]) -> tuple[float, float]:
    """The CPU time on the loop and in the thread, in seconds."""
    recorder = Recorder(str(path), "speech").open()
    recorder.begin(audio)
    spoken, loop, thread, size = itertools.cycle(chunks), 0.0, 0.0, 0
    for _ in range(SECONDS):
        began = time.process_time()
        for _ in range(10):
            recorder.capture(chunk := next(spoken))
            size += len(chunk)
        batch = recorder.take()
        loop += (taken := time.process_time()) - began
        recorder.write(batch)
        thread += time.process_time() - taken
    recorder.end(size)
    recorder.write(recorder.take(), last=True)
    return loop, thread


def main() -> None:
    """Print the figures."""
    audio, chunks = asyncio.run(_speech())
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("flac", "ogg"):
            path = Path(folder, f"talk.{ending}")
            loop, thread = _recorded(path, audio, chunks)
            size = path.stat().st_size * 3600 / SECONDS / 1e6
            print(
                f"recording {ending:4} 16 kHz mono: {100 * loop / SECONDS:.3f} % of a core on the loop, "
                f"{100 * thread / SECONDS:.2f} % in the thread, {size:.0f} MB an hour"
            )


if __name__ == "__main__":
    main()

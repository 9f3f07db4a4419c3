"""Context switches and CPU of 50 files that are decoded at once and taken at twice real time."""

from __future__ import annotations

import asyncio
import resource
import time

from dgnb import samples
from dgnb.audio import FileSource, Pacer

STREAMS, PACE = 50, 2.0


def main() -> None:
    """Print the figures of this process."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    chunks = asyncio.run(_all())
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    switches = f"{after.ru_nvcsw - before.ru_nvcsw:,} voluntary, {after.ru_nivcsw - before.ru_nivcsw:,} involuntary"
    print(f"{STREAMS} files, {chunks:,} chunks in {wall:.1f} s: {1e6 * cpu / chunks:.0f} µs of CPU a chunk")
    print(f"context switches: {switches}")


async def _all() -> int:
    return sum(await asyncio.gather(*(_take() for _ in range(STREAMS))))


async def _take() -> int:
    audio, pacer, chunks = await FileSource(samples.path()).open(), Pacer(PACE), 0
    async for chunk in audio:
        await pacer.wait(len(chunk) / audio.bytes_per_second)
        chunks += 1
    await audio.aclose()
    return chunks


if __name__ == "__main__":
    main()

"""`/radio`: an endless station that plays the sample at real time, as MP3."""

from __future__ import annotations

import asyncio
import io
import os
from typing import Any, Final

from aiohttp import web

__all__ = ["Radio"]

BURST_SECONDS: Final = 1.0
"""What a listener gets at once, as real stations do, so that players start without waiting."""

_STEP_SECONDS: Final = 0.1
_SAMPLE_RATE: Final = 44_100
_FRAME_SAMPLES: Final = 1152


class Radio:
    """One programme, encoded once, played from its beginning to each listener.

    Args:
        recording: A file; the sample that comes with dgnb if not given.
    """

    def __init__(self, recording: str | os.PathLike[str] | None = None) -> None:
        self._recording = recording
        self._programme: tuple[bytes, float] | None = None
        self._lock = asyncio.Lock()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Let all listeners go."""
        self._stopped.set()

    async def play(self, request: web.Request) -> web.StreamResponse:
        """Serve one listener until it leaves or the station ends."""
        async with self._lock:
            if self._programme is None:
                self._programme = await asyncio.to_thread(_encode, self._recording)
        audio, seconds = self._programme
        response = web.StreamResponse(
            headers={
                "Content-Type": "audio/mpeg",
                "icy-name": "dgnb radio",
                "icy-description": "The sample of dgnb, for ever",
                "icy-br": str(round(len(audio) * 8 / seconds / 1000)),
                "Cache-Control": "no-store",
            }
        )
        # A station has no length: it ends when the connection does.
        response.force_close()
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        began, sent = loop.time() - BURST_SECONDS, 0
        try:
            while not self._stopped.is_set():
                due = int((loop.time() - began) / seconds * len(audio))
                while sent < due:
                    offset = sent % len(audio)
                    chunk = audio[offset : offset + min(due - sent, 16_384)]
                    await response.write(chunk)
                    sent += len(chunk)
                await self._sleep(_STEP_SECONDS)
        except ConnectionError:
            pass
        return response

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass


def _encode(recording: str | os.PathLike[str] | None) -> tuple[bytes, float]:
    """The recording as MP3 frames without a header, so that its end joins its beginning; and their seconds."""
    import av

    if recording is None:
        from dgnb import samples

        recording = samples.path()
    buffer = io.BytesIO()
    frames = 0
    options = {"write_xing": "0", "id3v2_version": "0"}
    with av.open(os.fspath(recording)) as source, av.open(buffer, "w", format="mp3", options=options) as target:
        stream: Any = target.add_stream("libmp3lame", rate=_SAMPLE_RATE, layout="mono")
        stream.bit_rate = 128_000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=_SAMPLE_RATE)
        for frame in [*source.decode(audio=0), None]:
            if frame is not None:
                frame.pts = None
            for piece in [*resampler.resample(frame), *([] if frame else [None])]:
                for packet in stream.encode(piece):
                    frames += 1
                    target.mux(packet)
    return buffer.getvalue(), frames * _FRAME_SAMPLES / _SAMPLE_RATE

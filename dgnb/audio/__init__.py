"""Audio on the way in: files, URLs and buffers, decoded to linear16 and cut into chunks of 100 ms.

PyAV reads bytes, never a path or an address, so it opens nothing that was not handed to it. It runs in a daemon thread
of its own with a bounded queue: a ten-hour file takes as much memory as a short one, and the event loop never waits for
a disk. Decoded audio is mono 16 kHz (all channels when `multichannel`), so every byte has a time.

    source.py   AudioSource, Audio, Note, SourceFormat: what the rest of the package knows of any source
    file.py     FileSource
    url/        URLSource: a thread that reads the web while the caller's loop is busy
    buffer.py   BufferSource
    choose.py   as_source: makes a source of what a person passes. It imports all sources, so it stands above them.
    pacer.py    Pacer: lets chunks through on a clock
    timeline.py finds in the timestamps where sound is missing
    threads.py  the decoder's thread, and the pipe into it
    decode.py   what the thread does; the only module that touches PyAV
"""

from __future__ import annotations

from dgnb.audio.buffer import BufferSource
from dgnb.audio.choose import as_source
from dgnb.audio.file import FileSource
from dgnb.audio.pacer import Pacer
from dgnb.audio.source import CHUNK_SECONDS, SAMPLE_RATE, Audio, AudioSource, Note, SourceFormat
from dgnb.audio.url import URLSource

__all__ = [
    "CHUNK_SECONDS",
    "SAMPLE_RATE",
    "Audio",
    "AudioSource",
    "BufferSource",
    "FileSource",
    "Note",
    "Pacer",
    "SourceFormat",
    "URLSource",
    "as_source",
]

"""`BufferSource`: audio that is in memory, or comes from an async iterator."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.decode import decoded
from dgnb.audio.source import Audio, AudioSource, SourceFormat
from dgnb.audio.threads import Pipe, in_thread
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.options import MOST_CHANNELS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BufferSource"]

_LOUDEST: Final = 4.0
"""Floats a little over 1 are clipped. Larger floats are refused: they have another scale."""


class BufferSource(AudioSource):
    """Audio that is in memory, or comes from an async iterator.

    Args:
        data: `bytes` or an async iterator of `bytes`: a container, or raw samples with `encoding` and `sample_rate`.
            Or a NumPy array of shape (samples,) or (samples, channels), int16, or float between -1 and 1, with
            `sample_rate`. A generator can be opened once.
        encoding: For raw bytes, as in `FileSource`.
        sample_rate: Samples a second of raw bytes or of an array.
        channels: Interleaved channels of raw bytes.

    Example:
        ```python
        dgnb.BufferSource(np.zeros(16000, dtype="int16"), sample_rate=16000)
        ```

    Raises:
        ConfigurationError: The data is of another kind, or its description is wrong.
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview | np.ndarray[Any, Any] | AsyncIterable[bytes],
        *,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
    ) -> None:
        self._data: bytes | AsyncIterable[bytes]
        self._taken = False
        if isinstance(data, (bytes, bytearray, memoryview)):
            self._data = bytes(data)
            self.name = f"{len(self._data)} bytes"
            if not self._data:
                raise ConfigurationError("The buffer is empty.")
        elif isinstance(data, AsyncIterable):
            self._data = data
            self.name = "an async iterator"
        elif hasattr(data, "dtype"):
            if encoding not in (None, "linear16") or sample_rate is None:
                raise ConfigurationError("An array needs sample_rate, such as sample_rate=16000, and no encoding.")
            self._data, channels = _array_bytes(data)
            self.name = f"an array of {len(data)} samples"
            encoding = "linear16"
        else:
            raise ConfigurationError(
                f"A buffer is bytes, a NumPy array or an async iterator, not {type(data).__name__}."
            )
        self.format = SourceFormat.decodable(encoding, sample_rate, channels)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Find out the format. See `AudioSource.open`."""
        data = self._data
        if isinstance(data, bytes):
            produce = decoded(lambda: io.BytesIO(data), self.name, self.format, multichannel=multichannel)
            return await in_thread(produce, self.name)
        if hasattr(data, "__anext__") and self._taken:
            raise AudioError("This async iterator was opened before, and can't begin anew. Make a new BufferSource.")
        self._taken = True
        pipe = Pipe()
        filling = asyncio.create_task(_fill(pipe, data), name=f"dgnb: read {self.name}")

        async def release() -> None:
            pipe.end()
            filling.cancel()
            await asyncio.wait([filling])

        # It is live, and still waits: it is asked for its next bytes only when there is room.
        produce = decoded(lambda: pipe, self.name, self.format, multichannel=multichannel, live=True)
        return await in_thread(produce, self.name, release)


async def _fill(pipe: Pipe, chunks: AsyncIterable[bytes]) -> None:
    # A generator that is left half-way is otherwise closed at some later time.
    closing: Any = contextlib.aclosing(chunks) if hasattr(chunks, "aclose") else contextlib.nullcontext()
    try:
        async with closing:
            async for chunk in chunks:
                if not isinstance(chunk, (bytes, bytearray, memoryview)):
                    raise TypeError(f"it gave {type(chunk).__name__}, not bytes")
                if not await pipe.put(bytes(chunk)):
                    break
    except Exception as error:
        pipe.end(AudioError(f"The async iterator failed: {error!r}."))
    finally:
        pipe.end()


def _array_bytes(data: Any) -> tuple[bytes, int]:
    import numpy as np

    array = np.asarray(data)
    if array.ndim not in (1, 2) or not array.size:
        raise ConfigurationError(f"An array is of shape (samples,) or (samples, channels), not {array.shape}.")
    channels = 1 if array.ndim == 1 else array.shape[1]
    if channels > MOST_CHANNELS:
        raise ConfigurationError(f"An array is of shape (samples, channels), not {array.shape}. Transpose it with .T.")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ConfigurationError("The array holds NaN or infinity. Replace them, for one with np.nan_to_num.")
        if (loudest := float(np.abs(array).max())) > _LOUDEST:
            raise ConfigurationError(
                f"A float array is between -1 and 1, not up to {loudest:g}. Divide it by its scale."
            )
        # Half precision cannot hold 32767.
        array = np.clip(array.astype(np.result_type(array.dtype, np.float32)) * 32768.0, -32768, 32767).round()
    elif array.dtype.kind != "i" or array.dtype.itemsize != 2:
        raise ConfigurationError(f"An array is int16, or float between -1 and 1, not {array.dtype}.")
    return array.astype("<i2").tobytes(), channels

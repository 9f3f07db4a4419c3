"""`BufferSource`: audio that is in memory, or comes from an async iterator."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.source import Audio, AudioSource, Raw
from dgnb.audio.threads import Feed, Pipe, decoded
from dgnb.exceptions import AudioError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BufferSource"]

_LOUDEST: Final = 4.0
"""Floats a little over 1 are clipped; beyond this they are surely of another scale."""

_MOST_CHANNELS: Final = 20


class BufferSource(AudioSource):
    """Audio that is in memory, or comes from an async iterator.

    Args:
        data: `bytes` or an async iterator of `bytes`: a container, or raw samples with `encoding` and `sample_rate`.
            Or a NumPy array of shape (samples,) or (samples, channels), int16, or float between -1 and 1, with
            `sample_rate`. An iterator that gives a generator's chunks can be opened once.
        encoding: For raw bytes, as in `FileSource`.
        sample_rate: Samples a second of raw bytes or of an array.
        channels: Interleaved channels of raw bytes.

    Example:
        ```python
        dgnb.BufferSource(np.zeros(16000, dtype="int16"), sample_rate=16000)
        ```

    Raises:
        ConfigurationError: The data is of no such kind, or is described wrongly.
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
            self.live = True
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
        self.raw = Raw.decodable(encoding, sample_rate, channels)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Look at what it is. See `AudioSource.open`."""
        data = self._data
        if isinstance(data, bytes):
            return await decoded(lambda: io.BytesIO(data), self.name, self.raw, multichannel=multichannel)
        if hasattr(data, "__anext__") and self._taken:
            raise AudioError("This async iterator was opened before, and can't begin anew. Make a new BufferSource.")
        self._taken = True
        feed = Feed(lambda pipe: _fill(pipe, data), self.name, _explain)
        return await decoded(
            lambda: feed.pipe, self.name, self.raw, multichannel=multichannel, release=feed.aclose, live=True
        )


async def _fill(pipe: Pipe, chunks: AsyncIterable[bytes]) -> None:
    try:
        async for chunk in chunks:
            if not isinstance(chunk, (bytes, bytearray, memoryview)):
                raise TypeError(f"it gave {type(chunk).__name__}, not bytes")
            await pipe.put(bytes(chunk))
    finally:
        # A generator that is left half-way is otherwise closed at some later time.
        if aclose := getattr(chunks, "aclose", None):
            await aclose()


def _explain(error: Exception) -> AudioError:
    return AudioError(f"The async iterator failed: {error!r}.")


def _array_bytes(data: Any) -> tuple[bytes, int]:
    import numpy as np

    array = np.asarray(data)
    if array.ndim not in (1, 2) or not array.size:
        raise ConfigurationError(f"An array is of shape (samples,) or (samples, channels), not {array.shape}.")
    channels = 1 if array.ndim == 1 else array.shape[1]
    if channels > _MOST_CHANNELS:
        raise ConfigurationError(f"An array is of shape (samples, channels), not {array.shape}. Transpose it with .T.")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ConfigurationError("The array holds NaN or infinity. Replace them, for one with np.nan_to_num.")
        if (loudest := float(np.abs(array).max())) > _LOUDEST:
            raise ConfigurationError(
                f"A float array is between -1 and 1, not up to {loudest:g}. Divide it by its scale."
            )
        # Half precision has no room for 32767.
        array = np.clip(array.astype(np.result_type(array.dtype, np.float32)) * 32768.0, -32768, 32767).round()
    elif array.dtype.kind != "i" or array.dtype.itemsize != 2:
        raise ConfigurationError(f"An array is int16, or float between -1 and 1, not {array.dtype}.")
    return array.astype("<i2").tobytes(), channels

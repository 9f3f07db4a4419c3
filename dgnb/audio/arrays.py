"""Samples in arrays, tensors and lists, as linear16."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dgnb.exceptions import ConfigurationError
from dgnb.options import MOST_CHANNELS
from dgnb.values import native, whole

if TYPE_CHECKING:
    import numpy as np

_LOUDEST: Final = 4.0  # Floats a little over 1 are clipped. Larger floats are refused: they have another scale.


def holds_samples(data: Any) -> bool:
    """Whether it is an array of any library, a list, or one of them together with its sample rate."""
    listed = isinstance(data, Sequence) and not isinstance(data, str)
    return listed or any(hasattr(data, name) for name in ("dtype", "__array__", "__dlpack__", "numpy"))


def as_array(data: Any, sample_rate: Any = None) -> tuple[np.ndarray[Any, Any], Any]:
    """Samples as an array, and their rate. ConfigurationError: they can't be read, or none or two rates are given."""
    import numpy as np

    if isinstance(data, tuple | list) and len(data) == 2:
        # Gradio and SciPy give the rate first, librosa, soundfile and torchaudio give it last.
        rate, samples = data if isinstance(native(data[0]), int | float) else reversed(data)
        if isinstance(native(rate), int | float) and holds_samples(native(samples)):
            if sample_rate is not None and whole("sample_rate is a positive whole number", sample_rate) != native(rate):
                raise ConfigurationError(f"sample_rate is given twice: {rate} and {sample_rate}. Leave out one.")
            data, sample_rate = samples, rate
    listed = _is_list(data)
    if sample_rate is None:
        raise ConfigurationError("An array needs sample_rate: pass sample_rate=16000, beside any options.")
    try:
        # A tensor may lie on a graphics card, or be part of a computation.
        for step in ("detach", "cpu", "numpy"):
            data = getattr(data, step)() if hasattr(data, step) else data
        exchanged = hasattr(data, "__dlpack__") and not hasattr(data, "__array__")
        array = np.from_dlpack(data) if exchanged else np.asarray(data)
    except Exception as error:
        what = f"This {type(data).__name__} can't be read as samples: {error}"
        raise ConfigurationError(f"{what}. Pass a NumPy array; of a tensor, .float().numpy().") from None
    # Python's whole numbers have no width of their own.
    return array.astype(np.int64) if listed and array.dtype.kind == "i" else array, sample_rate


def _is_list(data: Any) -> bool:
    """Whether it is a list of numbers, or of lists of them. ConfigurationError: it is a list of something else."""
    listed = isinstance(data, Sequence) and not hasattr(data, "typecode")
    for one in islice(data, 3) if listed else ():
        if not isinstance(native(one), int | float | list | tuple):
            raise ConfigurationError(
                f"A {type(data).__name__} of {type(one).__name__} is not a source. Pass one path at a time, or "
                "(sample_rate, array). Join chunks with np.concatenate, and channels with np.stack."
            )
    return listed


def linear16(array: np.ndarray[Any, Any], *, alone: bool = True) -> tuple[bytes, int]:
    """An array as linear16, and its channels. `alone`: its loudness counts. `ConfigurationError`: no audio."""
    import numpy as np

    if array.ndim == 2 and array.shape[0] <= MOST_CHANNELS < array.shape[1]:
        array = array.T
    if array.ndim not in (1, 2) or not array.size or array.shape[1:] > (MOST_CHANNELS,):
        raise ConfigurationError(
            "An array is of shape (samples,), (samples, channels) or (channels, samples), with at most "
            f"{MOST_CHANNELS} channels, not {array.shape}. Pass the samples of one recording."
        )
    if array.dtype.kind not in "fiu" or array.dtype == np.uint64:
        raise ConfigurationError(
            f"An array is float between -1 and 1, or int16, not {array.dtype}. Convert it with .astype('float32'); of "
            "complex numbers take the signal that they describe."
        )
    if array.dtype != np.int16:
        # The width of integers is their scale, as in a WAV file. Those of 64 bits have the scale of 16.
        kind, bits = array.dtype.kind, 8 * array.dtype.itemsize % 64 or 16
        if kind != "f":
            array = array / 2.0 ** (bits - 1) - (kind == "u")
        loudest = float(np.abs(array).max())
        if not math.isfinite(loudest):
            raise ConfigurationError("The array holds NaN or infinity. Replace them, for one with np.nan_to_num.")
        if loudest > _LOUDEST:
            raise ConfigurationError(
                f"An array is float between -1 and 1, or int16, and this one is {loudest:g} times as loud. Divide it "
                "by its scale."
            )
        if alone and kind == "i" and bits == 32 and 0 < loudest < 2.0**-15:
            raise ConfigurationError("An int32 array as quiet holds int16. Convert it with .astype('int16').")
        # Half precision cannot hold 32767.
        array = np.clip(array.astype(np.result_type(array.dtype, np.float32)) * 32768.0, -32768, 32767).round()
    return array.astype("<i2").tobytes(), 1 if array.ndim == 1 else array.shape[1]

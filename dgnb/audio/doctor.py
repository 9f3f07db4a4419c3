"""Raw samples that look like something else than what they were declared to be."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.source import Note, Raw

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.float64]

__all__ = ["Doctor", "likeness", "suspicion"]

_LOOKED_AT: Final = 1 << 16
_MOST_BLOCKS: Final = 20
_ROUGH: Final = 0.2
_SMOOTH: Final = 0.6
_SAME_HISTOGRAM: Final = 0.85
_MOST_TWINS: Final = 0.5
_MANY_VALUES: Final = 64
_LOUD: Final = 1000.0
"""Samples of another form are loud when read as these; without that, the last bits of silence would be suspected."""


class Doctor:
    """Looks at raw samples as they pass, and notes a warning, once, where another reading is much more like sound.

    Args:
        name: Of the source.
        raw: What they were declared to be.
        notes: Where the warning goes.
    """

    def __init__(self, name: str, raw: Raw, notes: deque[Note]) -> None:
        self._name = name
        self._raw = raw
        self._notes = notes
        self._block = bytearray()
        self._left = _MOST_BLOCKS if raw.encoding in ("linear16", "mulaw", "alaw") else 0

    def look(self, data: bytes) -> None:
        """Take the next bytes; none at the end."""
        if not self._left:
            return
        self._block += data
        if len(self._block) < _LOOKED_AT and data:
            return
        hint = suspicion(bytes(self._block), self._raw)
        self._block.clear()
        self._left = 0 if hint or not data else self._left - 1
        if hint:
            self._notes.append(Note("warning", f"{self._name} was declared to be {self._raw.encoding}, but {hint}"))


def suspicion(data: bytes, raw: Raw) -> str:
    """What raw bytes rather are, and the option to change; "" where they may well be what they were declared to be.

    Neighbouring samples of sound are alike; read in a wrong form they are as unlike as noise. Noise is noise in every
    form, so it raises no suspicion. Telephone audio read as 16 bits keeps some likeness, but then high and low bytes
    have the same histogram, which the two halves of a sample never have.
    """
    if raw.encoding == "linear16" and _is_telephone(data, raw.channels):
        return "it looks like 8-bit samples of telephone audio. Use encoding='mulaw' (or 'alaw')."
    declared, loud = likeness(_read(data, raw.encoding, raw.channels))
    if abs(declared) > _ROUGH or loud < _LOUD:
        return ""
    readings = [
        ("linear16", 0, "16-bit samples. Use encoding='linear16'."),
        ("swapped", 0, "16-bit samples with their bytes swapped. Swap them, for one with array.byteswap()."),
        ("linear16", 1, "16-bit samples that begin one byte later. Leave out the first byte."),
    ]
    measured, words = max(
        (likeness(_read(data[skip:], form, raw.channels))[0], words) for form, skip, words in readings
    )
    return f"it looks like {words}" if measured > _SMOOTH else ""


def _is_telephone(data: bytes, channels: int) -> bool:
    import numpy as np

    measured, loud = likeness(_read(data, "mulaw", channels))
    if measured < _SMOOTH or loud < _LOUD:
        return False
    pairs = np.frombuffer(data, "u1", len(data) // 2 * 2).reshape(-1, 2)
    low, high = (np.bincount(pairs[:, side], minlength=256) / len(pairs) for side in (0, 1))
    shared = float(np.minimum(low, high).sum())
    twins = float((pairs[:, 0] == pairs[:, 1]).mean())
    return shared > _SAME_HISTOGRAM and twins < _MOST_TWINS and int((low > 0).sum()) > _MANY_VALUES


def likeness(samples: Samples) -> tuple[float, float]:
    """How alike neighbouring samples are, from -1 to 1 (noise: 0; the best channel), and how loud they are (RMS)."""
    import numpy as np

    if len(samples) < 1000:
        return 1.0, 0.0
    centred = samples - samples.mean(axis=0)
    power = (centred**2).mean(axis=0)
    if not power.max():
        return 1.0, 0.0
    products = (centred[1:] * centred[:-1]).mean(axis=0)
    return float((products / np.maximum(power, 1e-9)).max()), float(np.sqrt(power.max()))


def _read(data: bytes, form: str, channels: int) -> Samples:
    import numpy as np

    size = channels * (1 if form in ("mulaw", "alaw") else 2)
    data = data[: len(data) // size * size]
    values: npt.NDArray[Any]
    if form in ("mulaw", "alaw"):
        byte = np.frombuffer(data, "u1") ^ (0xFF if form == "mulaw" else 0x55)
        exponent, mantissa = (byte >> 4) & 7, (byte & 15).astype("i4")
        if form == "mulaw":
            values = (((mantissa << 3) + 132) << exponent) - 132
        else:
            values = np.where(exponent > 0, ((mantissa << 4) + 264) << np.maximum(exponent, 1) - 1, (mantissa << 4) + 8)
        negative = (byte & 0x80) != 0 if form == "mulaw" else (byte & 0x80) == 0
        values = np.where(negative, -values, values)
    else:
        values = np.frombuffer(data, ">i2" if form == "swapped" else "<i2")
    return values.reshape(-1, channels).astype("f8")

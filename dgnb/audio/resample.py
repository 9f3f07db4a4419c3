"""`Resampler`: makes linear16 at 16 kHz of frames of any format, and mixes their channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.source import LOWEST_RATE, SAMPLE_RATE

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

_QUIET: Final = 1e-5
"""Power, where 1 is full scale (-50 dB). Below it, left and right are not compared."""
_OPPOSITE: Final = 0.05
"""Power of the sum of left and right over that of their difference. Below it, the mix loses more than 13 dB."""
_AGREED: Final = 5
"""So many parts in a row end what was opposite."""
_COMPARED: Final = 512
_LONGEST: Final = 2
"""Seconds that are resampled at once."""


class Resampler:
    """Converts frames to interleaved linear16 at 16 kHz; one channel is the mix of all. Their format may change.

    Where left and right are opposite (`one_sided`), they would cancel each other out: both become the left then.
    """

    def __init__(self, channels: int) -> None:
        self.one_sided = False
        self._channels = channels
        self._agreed = 0
        self._form: tuple[Any, ...] | None = None
        self._layout: Any = None
        self._mixed = False
        self._resampler: AudioResampler | None = None

    def __call__(self, frames: list[AudioFrame]) -> bytes:
        """The samples of 100 to 200 ms of frames: so often it is decided whether left and right are opposite."""
        if frames and self._channels == 1 and frames[0].layout.nb_channels == 2:
            self._listen(frames[len(frames) // 2])
            if self.one_sided:
                frames = list(map(_left_twice, frames))
        return b"".join(map(self._resampled, frames))

    def _listen(self, frame: AudioFrame) -> None:
        left, right, both = _powers(frame)
        if left + right < _QUIET:
            return
        self._agreed = 0 if left + right + 2 * both < _OPPOSITE * (left + right - 2 * both) else self._agreed + 1
        # A pause holds noise, which is not opposite.
        self.one_sided = not self._agreed or (self.one_sided and self._agreed < _AGREED)

    def _resampled(self, frame: AudioFrame) -> bytes:
        import av

        tail = b""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            tail = self.flush()
            self._form = form
            # FFmpeg would guess the places of unnamed channels, and leave one out as the bass: NumPy mixes them.
            self._mixed = self._channels == 1 and frame.layout.nb_channels > 2 and "channels" in frame.layout.name
            if self._channels == 1:
                layout: Any = frame.layout if self._mixed else "mono"
            else:
                self._layout = layout = self._layout or frame.layout
            self._resampler = av.AudioResampler(format="s16", layout=layout, rate=SAMPLE_RATE)
        assert self._resampler is not None
        frame.pts = None
        return tail + self._bytes(self._resampler.resample(frame))

    def flush(self) -> bytes:
        """What the resampler still holds. The next frame gets a new resampler."""
        resampler, self._resampler, self._form = self._resampler, None, None
        return self._bytes(resampler.resample(None)) if resampler else b""

    def _bytes(self, frames: list[AudioFrame]) -> bytes:
        sizes = [2 * frame.layout.nb_channels * frame.samples for frame in frames]
        data = b"".join(memoryview(frame.planes[0])[:size] for frame, size in zip(frames, sizes, strict=True))
        if not self._mixed or not frames:
            return data
        import numpy as np

        mixed = np.frombuffer(data, "<i2").reshape(-1, frames[0].layout.nb_channels).mean(axis=1).round()
        return bytes(mixed.astype("<i2").tobytes())


def parts(frame: AudioFrame) -> Iterator[AudioFrame]:
    """A frame in parts of two seconds at most; only the first has a time. FLAC packs a minute into 16 bytes."""
    import av

    most = _LONGEST * frame.sample_rate
    if frame.samples <= most or frame.sample_rate < LOWEST_RATE:  # such a rate is refused
        yield frame
        return
    sound = frame.to_ndarray()
    width = 1 if frame.format.is_planar else frame.layout.nb_channels
    for begin in range(0, frame.samples, most):
        cut = sound[:, begin * width : (begin + most) * width].copy()
        part = av.AudioFrame.from_ndarray(cut, format=frame.format.name, layout=frame.layout.name)
        part.sample_rate = frame.sample_rate
        if not begin:
            part.pts, part.time_base = frame.pts, frame.time_base
        yield part


def _powers(frame: AudioFrame) -> tuple[float, float, float]:
    """The power of left and of right, and the mean of their product, in the middle of a frame; 1 is full scale."""
    import numpy as np

    if frame.format.name[:3] not in ("s16", "s32", "flt", "dbl"):
        return 0.0, 0.0, 0.0
    sound = frame.to_ndarray()
    full = 1.0 if sound.dtype.kind == "f" else 2.0 ** (8 * sound.dtype.itemsize - 1)
    both = sound if frame.format.is_planar else sound.reshape(-1, 2).T
    begin = max(0, frame.samples - _COMPARED) // 2
    left, right = both[:, begin : begin + _COMPARED].astype(np.float32) / full
    return left.dot(left) / left.size, right.dot(right) / left.size, left.dot(right) / left.size


def _left_twice(frame: AudioFrame) -> AudioFrame:
    import av

    sound = frame.to_ndarray()
    if frame.format.is_planar:
        sound[1] = sound[0]
    else:
        sound[0, 1::2] = sound[0, ::2]
    twice = av.AudioFrame.from_ndarray(sound, format=frame.format.name, layout=frame.layout.name)
    twice.sample_rate = frame.sample_rate
    return twice

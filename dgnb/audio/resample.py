"""`Resampler`: makes linear16 at 16 kHz of frames of any format, and mixes their channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.source import SAMPLE_RATE

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

_QUIET: Final = 5e3  # Power, in units of linear16 (-53 dB). Below it, left and right are not compared.
_OPPOSITE: Final = 0.05
"""Power of the sum of left and right over that of their difference. Below it, the mix loses more than 13 dB."""
_AGREED: Final = 5  # So many parts in a row end what was opposite


class Resampler:
    """Converts frames to interleaved linear16 at 16 kHz; mixes them for one channel, unless they are `one_sided`."""

    def __init__(self, channels: int) -> None:
        self.one_sided = False
        self._channels = channels
        self._agreed = 0
        self._layout: Any = None
        self._form: tuple[Any, ...] | None = None
        self._resampler: AudioResampler | None = None

    def __call__(self, frames: list[AudioFrame]) -> bytes:
        """The samples of 100 to 200 ms of frames of one form; the next ones may have another."""
        import av

        if not frames:
            return b""
        tail, layout = b"", frames[0].layout
        form = (frames[0].format.name, layout.name, frames[0].sample_rate)
        if form != self._form:
            tail, self._form = self.flush(), form
            if self._channels == 1:
                # FFmpeg would guess the places of unnamed channels, and leave one out as the bass: NumPy mixes them.
                unnamed = layout.nb_channels > 2 and "channels" in layout.name
                self._layout = layout if layout.nb_channels == 2 or unnamed else "mono"
            self._layout = self._layout or layout
            self._resampler = av.AudioResampler(format="s16", layout=self._layout, rate=SAMPLE_RATE)
        assert self._resampler is not None
        made: list[AudioFrame] = []
        for frame in frames:
            frame.pts = None
            made += self._resampler.resample(frame)
        return tail + self._mixed(made)

    def flush(self) -> bytes:
        """What the resampler still holds. The next frame gets a new resampler."""
        resampler, self._resampler, self._form = self._resampler, None, None
        return self._mixed(resampler.resample(None)) if resampler else b""

    def _mixed(self, frames: list[AudioFrame]) -> bytes:
        width = frames[0].layout.nb_channels if frames else self._channels
        data = b"".join(memoryview(frame.planes[0])[: 2 * width * frame.samples] for frame in frames)
        if width == self._channels or not data:
            return data
        import numpy as np

        sound = np.frombuffer(data, "<i2").reshape(-1, width).astype(np.float32)
        mix = sound @ np.full(width, 1 / width, np.float32)
        if width == 2:
            apart = sound[:, 0] - mix
            powers = mix.dot(mix) / mix.size, apart.dot(apart) / mix.size
            if sum(powers) > _QUIET:
                self._agreed = 0 if powers[0] < _OPPOSITE * powers[1] else self._agreed + 1
                # A pause holds noise, which is not opposite.
                self.one_sided = not self._agreed or (self.one_sided and self._agreed < _AGREED)
            mix = sound[:, 0] if self.one_sided else mix
        return bytes(mix.round().astype("<i2").tobytes())

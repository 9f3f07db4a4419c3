"""`URLSource`: a radio station, or a file on a server.

The decoder's thread reads the web in a loop of its own, so that a cell that blocks the kernel costs no audio.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from dgnb.audio.decode import Decoder
from dgnb.audio.source import Audio, AudioSource, SourceFormat
from dgnb.audio.threads import in_thread
from dgnb.audio.tracks import as_track
from dgnb.audio.url.fetch import Fetcher, address, shown
from dgnb.audio.url.policy import Policy
from dgnb.audio.url.reader import Listener, backoff
from dgnb.exceptions import ConfigurationError
from dgnb.values import ABOVE_0, native, number

__all__ = ["URLSource"]


class URLSource(AudioSource):
    """An http or https address: a radio station, a file on a server, a playlist, or HLS. Decoded as the bytes arrive.

    A thread reads it, also while a cell blocks the kernel. A station that ends, breaks off or falls silent is asked
    again, up to 8 times in a row without audio; `Audio.notes` says what was missed. What no header calls a station is
    a file: it is over when the server says so, and it is resumed where it breaks off, if the server can do that.

    There is no limit on the total time. Redirects are followed, five at most, but not from https to http. Credentials
    and the query of the address are used, and never shown; they and `headers` go to this server only.

    Args:
        url: The address.
        headers: Further request headers.
        encoding: For raw audio without a header, as in `FileSource`.
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        track: As in `FileSource`.
        stall_timeout: Seconds without a byte after which a connection is given up.
        reconnect: False ends the audio where the first connection ends.
        shared: For an app that others use: only public addresses are asked, also at a redirect, a playlist entry or a
            segment, whatever a name resolves to.

    Example:
        ```python
        await dgnb.transcribe(dgnb.URLSource("https://example.org/radio.mp3"), duration=30)
        ```

    Raises:
        ConfigurationError: It is not such an address, or the description of raw audio is wrong. Nothing was sent.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        track: int | str | None = None,
        stall_timeout: float = 15.0,
        reconnect: bool = True,
        shared: bool = False,
    ) -> None:
        try:
            self._address = address(native(url))
            right = self._address.scheme in ("http", "https") and bool(self._address.host and self._address.port)
        except (ValueError, AttributeError, TypeError):
            right = False
        if not right:
            raise ConfigurationError("A URL source is an http:// or https:// address with a host.")
        self.name = shown(self._address)
        self.format = SourceFormat.of(encoding, sample_rate, channels, decode=True)
        self.reconnect = reconnect
        self._track = as_track(track)
        if not isinstance(headers, Mapping | None):
            raise ConfigurationError("headers is a mapping of names to values, such as {'User-Agent': 'dgnb'}.")
        self._headers = {str(native(name)): str(native(value)) for name, value in (headers or {}).items()}
        self._stall_timeout = number("stall_timeout is a positive number of seconds", stall_timeout, ABOVE_0)
        self._policy = Policy(shared=shared)
        rng = random.Random()
        self._wait: Callable[[int], float] = lambda tries: backoff(tries, rng)
        if shared and (objection := self._policy.objection(self._address)):
            raise ConfigurationError(f"{self.name} is refused: {objection}. Use another address.")

    @property
    def url(self) -> str:
        """The whole address, with its credentials: for a request, and never to be shown."""
        return str(self._address)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Send the request, and find out what the answer is. See `AudioSource.open`."""
        # No frame of ours keeps the address in a variable: tracebacks may show those.
        fetcher = Fetcher(self.name, self._address, self._headers, self._policy, self._stall_timeout)
        decoder = Decoder(self.name, self.format, multichannel=multichannel, track=self._track)
        listener = Listener(fetcher, decoder, self.reconnect, self._wait)

        async def release() -> None:
            fetcher.stop()

        return await in_thread(listener.decoded(), self.name, release)

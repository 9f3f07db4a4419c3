"""`URLSource`: a radio station, or a file on a server.

A thread with a loop of its own reads the web, so that a cell that blocks the kernel costs no audio; the decoder's
thread takes what it reads.

    reader.py    the thread: asks, reads on, asks again
    feed.py      what it hands to the decoder's thread
    fetch.py     one answer: redirects, status, what goes wrong in words
    policy.py    which addresses may be asked
    icy.py       SHOUTcast's metadata, taken out of the audio
    playlist.py  M3U, PLS, ASX, XSPF
    hls.py       streams in segments
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dgnb.audio.decode import Found
from dgnb.audio.source import Audio, AudioSource, Raw
from dgnb.audio.threads import begun
from dgnb.audio.url.fetch import Fetcher
from dgnb.audio.url.policy import Policy
from dgnb.audio.url.reader import Listener, backoff
from dgnb.exceptions import ConfigurationError

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["URLSource"]


class URLSource(AudioSource):
    """An http or https address: a radio station, a file on a server, a playlist, or HLS. Decoded as the bytes arrive.

    It is read in a thread, also while a cell blocks the kernel; 120 s of a station wait for who takes them. A station
    that ends, breaks off or falls silent is asked again, up to 8 times in a row without audio; `Audio.notes` tells what
    was missed. A file that breaks off is resumed where the server can do that.

    There is no limit on the total time. Redirects are followed, five at most, but not from https to http. Credentials
    and the query of the address are used, and shown nowhere; they and `headers` go to this server and to no other.

    Args:
        url: The address.
        headers: Further request headers.
        encoding: For raw audio without a header, as in `FileSource`.
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        stall_timeout: Seconds without a byte, after which a connection is given up.
        reconnect: False ends the audio where the first connection does.
        shared: For an app that others use: only public addresses are asked, at every redirect, playlist entry and
            segment, whatever a name resolves to.

    Example:
        ```python
        await dgnb.transcribe(dgnb.URLSource("https://example.org/radio.mp3"), duration=30)
        ```

    Raises:
        ConfigurationError: It is no such address, or raw audio is described wrongly. Nothing was sent.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        encoding: str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        stall_timeout: float = 15.0,
        reconnect: bool = True,
        shared: bool = False,
    ) -> None:
        try:
            parts = urlsplit(url)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except (ValueError, AttributeError, TypeError):
            right = False
        if not right:
            raise ConfigurationError("A URL source is an http:// or https:// address with a host.")
        if not stall_timeout > 0:
            raise ConfigurationError("stall_timeout is a positive number of seconds.")
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        self.name = f"{shown}?…" if parts.query else shown
        self.raw = Raw.decodable(encoding, sample_rate, channels)
        self.reconnect = reconnect
        self._url = url
        self._headers = dict(headers or {})
        self._stall_timeout = stall_timeout
        self._policy = Policy(shared=shared)
        rng = random.Random()
        self._wait: Callable[[int], float] = lambda tries: backoff(tries, rng)
        if shared and (objection := self._policy.objection(self._parsed())):
            raise ConfigurationError(f"{self.name} is refused: {objection}. Use another address.")

    def _parsed(self) -> URL:
        from yarl import URL

        try:
            return URL(self._url)
        except ValueError:
            raise ConfigurationError("A URL source is an http:// or https:// address with a host.") from None

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Send the request, and look at what comes. See `AudioSource.open`."""
        url, found = self._parsed(), Found()
        fetcher = Fetcher(self.name, url, self._headers, self._policy, self._stall_timeout)
        listener = Listener(url, fetcher, self.name, found, reconnect=self.reconnect, wait=self._wait)
        return await begun(listener.decoded(self.raw, multichannel), self.name, found, listener.aclose)

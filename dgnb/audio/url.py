"""`URLSource`: a radio station, or a file on a server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dgnb import __version__
from dgnb.audio.decode import printable
from dgnb.audio.source import Audio, AudioSource, Raw
from dgnb.audio.worker import Feed, Pipe, decoded
from dgnb.exceptions import AudioError, ConfigurationError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["URLSource"]

_CONNECT_TIMEOUT: Final = 10.0
_PLAYLISTS: Final = (".m3u", ".m3u8", ".pls", ".asx", ".xspf")
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/?#\s]*@")
_QUERY: Final = re.compile(r"\?[^\s'\"…]+")


class URLSource(AudioSource):
    """An http or https address: a radio station, or a file on a server. Decoded as the bytes arrive.

    There is no limit on the total time; a connection that brings nothing for `stall_timeout` seconds is given up.
    Redirects are followed, five at most. Credentials and the query of the address are used, and shown nowhere.

    Args:
        url: The address.
        headers: Further request headers.
        encoding: For raw audio without a header, as in `FileSource`.
        sample_rate: For raw audio: samples a second.
        channels: For raw audio: interleaved channels.
        stall_timeout: Seconds.

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
        self._url = url
        self._headers = dict(headers or {})
        self._stall_timeout = stall_timeout

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Send the request, and look at what comes. See `AudioSource.open`."""
        import aiohttp

        # identity: a compressed body could unpack to any size.
        headers = {"User-Agent": f"dgnb/{__version__}", "Accept-Encoding": "identity", **self._headers}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=self._stall_timeout)
        session = aiohttp.ClientSession(headers=headers, timeout=timeout, auto_decompress=False)
        try:
            response = await session.get(self._url, max_redirects=5)
            await self._check(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            await session.close()
            raise self._explain(error) from None
        except BaseException:
            await session.close()
            raise
        feed = Feed(lambda pipe: _fill(pipe, response), self.name, self._explain)

        async def release() -> None:
            await feed.aclose()
            await session.close()

        return await decoded(
            lambda: feed.pipe,
            self.name,
            self.raw,
            multichannel=multichannel,
            release=release,
            live=response.content_length is None,
        )

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        kind = response.content_type
        if response.status != 200:
            reason = f"{response.status} {response.reason or ''}".strip()
            raise AudioError(f"{self.name} answered {reason}. Does the address open in a browser?")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise AudioError(
                f"{self.name} sends its body compressed although it was asked not to. Download it, and use the file."
            )
        path = response.url.path.lower()
        if "mpegurl" in kind or "scpls" in kind or path.endswith(_PLAYLISTS):
            raise AudioError(f"{self.name} is a playlist ({kind}), not audio. Use the address of a stream in it.")
        if kind.startswith(("text/", "image/")) or kind in ("application/json", "application/xhtml+xml"):
            start = printable(await response.content.read(200))
            raise AudioError(
                f"{self.name} is not audio but {kind}; it begins with {start}. Use the address of the audio itself."
            )

    def _explain(self, error: Exception) -> AudioError:
        import aiohttp

        if isinstance(error, AudioError):
            return error
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            what = f"it can't be reached within {_CONNECT_TIMEOUT:g} s"
        elif isinstance(error, TimeoutError):
            what = f"nothing came for {self._stall_timeout:g} s"
        elif isinstance(error, aiohttp.TooManyRedirects):
            what = "it redirects more than five times"
        elif isinstance(error, aiohttp.ClientPayloadError):
            what = "the connection ended before the body was complete"
        else:
            # Foreign words may quote an address, this one or one that it redirects to.
            told = str(error).replace(self._url, self.name)
            what = _QUERY.sub("?…", _CREDENTIALS.sub("", told)) or type(error).__name__
        return AudioError(f"{self.name} can't be read: {what}. Does the address open in a browser?")


async def _fill(pipe: Pipe, response: aiohttp.ClientResponse) -> None:
    try:
        async for data in response.content.iter_any():
            await pipe.put(data)
    finally:
        response.close()

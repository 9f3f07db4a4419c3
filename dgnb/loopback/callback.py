"""Sends a connection's results to the client's `callback` URL, on this machine only."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from dgnb.loopback.handshake import is_loopback
from dgnb.options import LiveOptions

logger = logging.getLogger("dgnb.loopback")

_TIMEOUT: Final = ClientTimeout(total=5)


def is_called(options: LiveOptions) -> bool:
    """Whether there is a callback that this server calls: http(s) on this machine, so that it leads nowhere else."""
    try:
        # The parser that connects there later: parsers disagree on the host of http://here\\@there.
        url = URL(options.callback or "")
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and is_loopback(url.host or "")


class Callback:
    """One client's callback. `send()` waits for the answer, so that messages arrive in order."""

    def __init__(self, options: LiveOptions) -> None:
        self._url = URL(options.callback or "")
        self._method = options.callback_method
        self._session = ClientSession(timeout=_TIMEOUT)

    async def send(self, message: str) -> None:
        """Send one message. If that fails, the log says so, and the message is lost."""
        headers = {"Content-Type": "application/json"}
        try:
            # A redirect might lead to another machine.
            async with self._session.request(
                self._method, self._url, data=message, headers=headers, allow_redirects=False
            ) as response:
                if response.status < 300:
                    return
                failure = f"HTTP {response.status}"
        except (ClientError, TimeoutError, RuntimeError) as error:
            failure = type(error).__name__
        logger.warning("The callback on port %s failed: %s.", self._url.port, failure)

    async def close(self) -> None:
        """End what is under way."""
        await self._session.close()

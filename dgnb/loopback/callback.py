"""Sends the results of a connection to the client's `callback` URL, on this machine only."""

from __future__ import annotations

import logging

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from dgnb.loopback.handshake import is_loopback
from dgnb.options import LiveOptions

logger = logging.getLogger("dgnb.loopback")


def is_called(options: LiveOptions) -> bool:
    """Whether there is a callback that this server calls: http(s) on this machine, so that it leads nowhere else."""
    try:
        # The parser that connects there later: parsers disagree on the host of http://here\\@there.
        url = URL(options.callback or "")
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and is_loopback(url.host or "")


async def call(session: ClientSession, options: LiveOptions, message: str) -> None:
    """Send one message and wait for the answer. If that fails, the log says so, and the message is lost."""
    try:
        # A redirect might lead to another machine.
        async with session.request(
            options.callback_method,
            URL(options.callback or ""),
            data=message,
            headers={"Content-Type": "application/json"},
            timeout=ClientTimeout(total=5),
            allow_redirects=False,
        ) as response:
            if response.status >= 300:
                logger.warning("The callback was answered with HTTP %s.", response.status)
    except (ClientError, TimeoutError, RuntimeError) as error:
        logger.warning("The callback failed: %s.", type(error).__name__)

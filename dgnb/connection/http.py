"""One HTTP request to the service: for recordings and for the account. What a refusal means stands in `errors.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import InvalidProxyStatus
from websockets.http11 import Response

from dgnb._version import __version__
from dgnb.connection import HiddenHeader
from dgnb.connection.errors import handshake_error, refusal
from dgnb.endpoints import Endpoint
from dgnb.exceptions import ConfigurationError, HandshakeError

_CONNECT: Final = 10.0  # Seconds within which a connection must be open


async def ask(
    endpoint: Endpoint,
    verb: str,
    path: str,
    *,
    query: Iterable[tuple[str, str]] = (),
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    request: str = "",
) -> bytes:
    """The body of the answer, the key masked in it. It waits without a limit; cancelling aborts the request.

    `request` is as in `errors.find_rule`. `HandshakeError`: the server was not reached, refused, or broke it off.
    """
    import aiohttp

    endpoint = await endpoint.locate()
    given = endpoint.proxy
    if given and given.reveal().startswith("socks"):
        raise ConfigurationError("This request can't go through a SOCKS proxy. Pass an http:// proxy, or proxy=False.")
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=endpoint.ssl or True),
                trust_env=given is None and not endpoint.local,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
                headers={"Authorization": HiddenHeader(endpoint.authorization), "User-Agent": f"dgnb/{__version__}"},
            ) as session,
            session.request(
                verb,
                f"http{str(endpoint.url).removeprefix('ws')}{path}?{urlencode(list(query))}",
                data=body,
                headers=headers,
                allow_redirects=False,  # they would take the key elsewhere
                proxy=given.reveal() if given else None,
            ) as response,
        ):
            answer = endpoint.masked(await response.read())
            if 200 <= response.status < 300:
                return answer
            told = Response(response.status, response.reason or "", Headers(list(response.headers.items())), answer)
            error: Exception = refusal(told, endpoint, request)
    # "from None": the frames of the original error hold the request, and the request holds the key.
    except asyncio.CancelledError:
        raise asyncio.CancelledError from None
    except (aiohttp.ClientError, OSError, ValueError) as failed:
        error = _unreached(failed, endpoint)
    raise error from None


def _unreached(error: Exception, endpoint: Endpoint) -> HandshakeError:
    import aiohttp

    if isinstance(error, aiohttp.ClientHttpProxyError):
        error = InvalidProxyStatus(Response(error.status, "", Headers()))
    elif isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    elif isinstance(error, aiohttp.ClientError | ConnectionError) and not isinstance(error, TimeoutError | ValueError):
        host = urlsplit(str(endpoint.url)).netloc
        return HandshakeError(f"{host} broke the connection off. Is the network there?", transient=True)
    return handshake_error(error, endpoint, _CONNECT)

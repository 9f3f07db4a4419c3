"""What can go wrong before a server answers: names, addresses, TLS and proxies."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

import websockets.asyncio.client as ws
from websockets.exceptions import InvalidMessage, InvalidProxy, InvalidProxyStatus, InvalidStatus, ProxyError

from dgnb.connection.errors import Again, find_rule, one_line, refusal
from dgnb.endpoints import Endpoint
from dgnb.exceptions import HandshakeError

_CERTIFICATE: Final = (
    "Is endpoint= the name that it is for, and this machine's clock right? On macOS run Install Certificates.command. "
    "Behind a proxy that inspects TLS, or with a server of your own, point ssl= or, before the kernel starts, "
    "SSL_CERT_FILE to the certificate of its authority."
)
_UNREACHABLE: Final = {
    "deepgram": "Is the network there? Without it, endpoint='offline' transcribes on this machine.",
    "offline": "Restart the kernel to start the engine afresh.",
    "custom": "Is the server running, and the port right?",
}


def handshake_error(error: Exception, endpoint: Endpoint, timeout: float) -> HandshakeError:
    """Make the error to raise for an error of websockets or of the system during the handshake."""
    if isinstance(error, InvalidStatus):
        return refusal(error, endpoint)
    host, proxy = urlsplit(str(endpoint.url)).netloc, _proxy(endpoint)
    if isinstance(error, ssl.SSLError):
        text = _tls(error, host, endpoint, proxy)
    elif isinstance(error, InvalidProxy | ProxyError | ImportError) or (
        proxy and isinstance(error, OSError | ValueError)
    ):
        around = f"HTTPS_PROXY names another proxy, and NO_PROXY={host} none." if endpoint.proxy is None else ""
        text = f"{host} can't be reached by way of {proxy or 'the proxy'}: {_why(error, timeout)}. "
        text += around or "proxy=False goes around the proxy."
    elif isinstance(error, OSError):
        text = f"{host} can't be reached: {_why(error, timeout)}. {_UNREACHABLE[endpoint.kind]}"
    else:
        told = one_line(endpoint.masked(str(error)))
        text = f"{host} does not answer as a WebSocket server ({told}). Is endpoint right?"
    return HandshakeError(text, transient=_is_transient(error))


def _why(error: Exception, timeout: float) -> str:
    """What went wrong. Nothing of an error about a proxy is quoted: it may hold the proxy's credentials."""
    match error:
        case ImportError():
            return "SOCKS needs the package python-socks: pip install 'python-socks[asyncio]'"
        case InvalidProxyStatus():
            return f"it refused with {error.response.status_code} (407: it wants http://user:password@host:port)"
        case ProxyError():
            return "it does not answer as a proxy does"
        case TimeoutError():
            return f"no answer came within {timeout:g} s"
        case socket.gaierror():
            return "there is no such host, or no network"
        case OSError():
            # A name with several addresses fails once for each, and asyncio joins the errors to one without a number.
            refused = isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error)
            return "nothing listens there" if refused else one_line(error)
        case _:
            return "it is no address such as http://proxy.example:3128"


def _is_transient(error: Exception) -> bool:
    """Whether trying again may help: nobody answered, or the line broke before the answer was complete."""
    if isinstance(error, ssl.SSLError):
        # The others are a wrong certificate, or a server without TLS.
        return isinstance(error, ssl.SSLEOFError)
    if isinstance(error, InvalidProxyStatus):
        return find_rule(error.response.status_code).again is Again.ALWAYS
    return isinstance(error, (OSError, EOFError, InvalidMessage, ProxyError))


def _tls(error: ssl.SSLError, host: str, endpoint: Endpoint, proxy: str) -> str:
    told = one_line(endpoint.masked(str(error)))
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (getattr(error, "verify_message", "") or told).rstrip(".")
        by = f", reached through {proxy}," if proxy else ""
        return f"The certificate of {host}{by} is not trusted ({why}). {_CERTIFICATE}"
    why = (getattr(error, "reason", "") or told).replace("_", " ").lower()
    return f"TLS with {host} failed ({why}). Is it a wss:// server, and the port right?"


def _proxy(endpoint: Endpoint) -> str:
    """The proxy that websockets uses for an address, in words without its credentials; "" for none."""
    used: str | None = None
    if endpoint.proxy:
        used = endpoint.proxy.reveal()
    elif endpoint.proxy is None and not endpoint.local:
        used = ws.get_proxy(ws.parse_uri(str(endpoint.url)))  # type: ignore[attr-defined]
    # The address is shown only where it can't be mistaken for a user name or a password.
    found = re.fullmatch(r"\w+://(?:[^/?#@]*@)?([\w.-]+(?::\d+)?)/?", used or "", re.ASCII)
    return f"the proxy {found[1]}" if found else "the proxy" if used else ""

"""What can go wrong before a server answers: names, addresses, TLS and proxies."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from dgnb.connection.errors import Again, find_rule, one_line, refusal
from dgnb.endpoints import Address, Endpoint, is_loopback
from dgnb.exceptions import ConfigurationError, DgnbError, HandshakeError

_CERTIFICATE: Final = {
    9: "Is this machine's clock right?",
    10: "Is this machine's clock right? If so, the server's owner has to renew it.",
    62: "Is endpoint= the name that the certificate is for?",
    64: "Is endpoint= the name that the certificate is for?",
}
"""Remedies by OpenSSL's code: not valid yet, expired, another host, another address."""

_AUTHORITY: Final = (
    "On macOS run Install Certificates.command; behind a proxy that inspects TLS, or with a server of your own, point "
    "ssl= or, before the kernel starts, SSL_CERT_FILE to the certificate of its authority."
)
_UNREACHABLE: Final = {
    "deepgram": "Is the network there? Without it, endpoint='offline' transcribes on this machine.",
    "offline": "Restart the kernel to start the engine afresh.",
    "custom": "Is the server running, and the port right?",
}


def handshake_error(error: Exception, endpoint: Endpoint, address: Address, timeout: float) -> DgnbError:
    """Make the error to raise for an error of websockets or of the system during the handshake."""
    if isinstance(error, InvalidStatus):
        return refusal(error, endpoint, address)
    if isinstance(error, InvalidURI):
        return ConfigurationError(f"endpoint={address.url!r} is not an address that can be connected to.")
    proxy = _proxy(address.url, endpoint)
    by_proxy = isinstance(error, InvalidProxy | ProxyError | ImportError)
    if isinstance(error, ssl.SSLError):
        text = _tls(error, address, proxy)
    elif by_proxy or (proxy and isinstance(error, OSError | ValueError)):
        around = f"NO_PROXY={urlsplit(address.url).netloc}" if endpoint.proxy is None else "proxy=False"
        text = f"{_by_proxy(error, address, proxy or 'the proxy', timeout)} {around} goes around the proxy."
    else:
        text = _directly(error, endpoint, address, timeout)
    return HandshakeError(text, transient=_is_transient(error))


def _is_transient(error: Exception) -> bool:
    """Whether trying again may help: nobody answered, or the line broke before the answer was complete."""
    if isinstance(error, ssl.SSLError):
        # The others are a wrong certificate, or a server without TLS.
        return isinstance(error, ssl.SSLEOFError)
    if isinstance(error, InvalidProxyStatus):
        return find_rule(error.response.status_code).again is Again.ALWAYS
    return isinstance(error, (OSError, EOFError, InvalidMessage, ProxyError))


def _tls(error: ssl.SSLError, address: Address, proxy: str) -> str:
    host = urlsplit(address.url).netloc
    told = one_line(address.masked(str(error)))
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (getattr(error, "verify_message", "") or told).rstrip(".")
        by = f", reached through {proxy}," if proxy else ""
        remedy = _CERTIFICATE.get(getattr(error, "verify_code", 0), _AUTHORITY)
        return f"The certificate of {host}{by} is not trusted ({why}). {remedy}"
    why = (getattr(error, "reason", "") or told).replace("_", " ").lower()
    return f"TLS with {host} failed ({why}). Is it a wss:// server, and the port right?"


def _directly(error: Exception, endpoint: Endpoint, address: Address, timeout: float) -> str:
    parts = urlsplit(address.url)
    host = parts.netloc
    # websockets does not use ALL_PROXY, although curl and others do.
    hint = " ALL_PROXY is not used for WebSockets: set HTTPS_PROXY." if "all" in getproxies() else ""
    if isinstance(error, TimeoutError):
        return f"{host} did not answer within {timeout:g} s. Is the network there?{hint}"
    if isinstance(error, socket.gaierror):
        return f"There is no host {parts.hostname!r}, or no network ({error.strerror}).{hint}"
    if isinstance(error, OSError):
        return f"{host} can't be reached: {_why(error)}. {_UNREACHABLE[endpoint.kind]}{'' if endpoint.local else hint}"
    told = one_line(address.masked(str(error)))
    if isinstance(error, InvalidHandshake):
        return f"{host} does not answer as a WebSocket server ({told}). Is endpoint right?"
    return f"{host} could not be connected to: {told}."


def _by_proxy(error: Exception, address: Address, proxy: str, timeout: float) -> str:
    """The text for a fault on the way through a proxy. It never quotes the error, which may hold its credentials."""
    host = urlsplit(address.url).netloc
    if isinstance(error, ImportError):
        why = "SOCKS needs the package python-socks: pip install 'python-socks[asyncio]'"
    elif isinstance(error, InvalidProxyStatus):
        why = f"it refused with {error.response.status_code}"
        if error.response.status_code == 407:
            why += ". It wants other credentials, as in http://user:password@host:port"
    elif isinstance(error, ProxyError):
        why = "it does not answer as a proxy does"
    elif isinstance(error, TimeoutError):
        why = f"no answer came within {timeout:g} s"
    elif isinstance(error, socket.gaierror):
        why = "there is no such host, or no network"
    elif isinstance(error, OSError):
        why = _why(error)
    else:
        why = "it is no address such as http://proxy.example:3128"
    return f"{host} can't be reached by way of {proxy}: {why}."


def _proxy(url: str, endpoint: Endpoint) -> str:
    """The proxy that websockets uses for an address, in words without its credentials; "" for none."""
    if endpoint.proxy is not None:
        return f"the proxy {urlsplit(endpoint.proxy.reveal()).netloc.rpartition('@')[2]}" if endpoint.proxy else ""
    parts = urlsplit(url)
    if is_loopback(parts.hostname) or proxy_bypass(f"{parts.hostname}:{parts.port or 443}"):
        return ""
    named = getproxies()
    scheme = next((scheme for scheme in ("wss", "socks", "https") if scheme in named), None)
    if scheme is None:
        return ""
    variables = [f"{scheme}_proxy", f"{scheme}_proxy".upper()]
    origin = next((name for name in variables if os.environ.get(name)), "the system's settings")
    # The address is shown only where it can't be mistaken for a user name or a password.
    found = re.fullmatch(r"\w+://(?:[^/?#@]*@)?([\w.-]+(?::\d+)?)/?", named[scheme], re.ASCII)
    return f"the proxy {found[1]} of {origin}" if found else f"the proxy of {origin}"


def _why(error: OSError) -> str:
    # A name with several addresses fails once for each, and asyncio joins the errors to one without a number.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "nothing listens there"
    return one_line(error)

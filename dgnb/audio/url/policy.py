"""Which addresses may be asked: any, or in an app that others use, only public ones. And the resolver for both."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.threads import in_daemon
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    from yarl import URL

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_RESERVED: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "fec0::/10")))
"""Networks that older versions of the standard library call global."""
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
"""A host whose last label is a number is an IPv4 address, in one of the many forms that `inet_aton` takes."""


def is_public(address: str) -> bool:
    """Whether it is a global unicast address, also inside IPv6: mapped, 6to4, NAT64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped:
            ip = wrapped
        elif ip.scope_id:
            return False
    return (
        not any(ip in network for network in _RESERVED) and ip.is_global and not ip.is_multicast and not ip.is_reserved
    )


@dataclass
class Policy:
    """What may be asked. `objection` checks every hop, playlist entry and segment, `resolve` every name."""

    shared: bool = False
    allowed: frozenset[str] = frozenset()  # public all the same
    lookup: Callable[..., list[Any]] | None = None  # in place of `socket.getaddrinfo`

    def objection(self, url: URL) -> str:
        """Why this address may not be asked, or ""."""
        if url.scheme not in ("http", "https") or not url.host:
            return "it is no http:// or https:// address"
        if self.shared and _is_literal(url.host) and not self._may(url.host):
            return "only public addresses are read here, and this is none"
        return ""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[dict[str, Any]]:
        """The addresses of a name, in the form of aiohttp's resolvers. The connection uses these and asks no more."""
        ask = self.lookup or socket.getaddrinfo
        # In a daemon thread: nothing can cancel a waiting resolver, and the interpreter's exit must not wait.
        try:
            found = await in_daemon(lambda name: ask(name, port, family=family, type=socket.SOCK_STREAM), host)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"no such name: {error}") from None
        if self.shared and not all(self._may(str(where[0])) for _, _, _, _, where in found):
            raise AudioError(f"{host} can't be read: only public addresses are read here, and it has another one.")
        return [
            {
                "hostname": host,
                "host": str(where[0]),
                "port": port,
                "family": kind,
                "proto": proto,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for kind, _, proto, _, where in found
        ]

    def _may(self, address: str) -> bool:
        return is_public(address) or address in self.allowed


def _is_literal(host: str) -> bool:
    """Whether the host is a literal address in any form. Such a host is refused without I/O."""
    last = host.removesuffix(".").lower().rpartition(".")[2]
    return ":" in host or last == "localhost" or bool(_NUMBER.fullmatch(last))

"""Each error of websockets and of the system becomes one of dgnb, with a remedy."""

from __future__ import annotations

import inspect
import ssl
from typing import Any

import pytest
import websockets
import websockets.exceptions
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response

from dgnb.connection.unreached import handshake_error
from dgnb.endpoints import choose
from dgnb.exceptions import DgnbError, HandshakeError

CANARY = "canary0123456789"


def instances() -> list[Exception]:
    """One of each exception that websockets can raise from a handshake or a closed connection."""
    response = Response(401, "Unauthorized", Headers(), b"")
    special: dict[str, tuple[Any, ...]] = {
        "ConnectionClosed": (Close(1011, ""), None),
        "ConnectionClosedOK": (Close(1000, ""), None),
        "ConnectionClosedError": (None, None),
        "InvalidProxyStatus": (response,),
        "PayloadTooBig": (1, 2),
        "InvalidStatus": (response,),
        "InvalidHeaderFormat": ("x", "y", "z", 0),
    }
    found = []
    for name in websockets.exceptions.__all__:
        kind = getattr(websockets.exceptions, name)
        needed = inspect.signature(kind.__init__).parameters.values() if hasattr(kind.__init__, "__code__") else ()
        filled = ["1" for p in list(needed)[1:] if p.default is p.empty]
        found.append(kind(*special.get(name, filled)))
    return found


@pytest.mark.parametrize("error", instances(), ids=lambda error: type(error).__name__)
def test_every_exception_of_websockets_becomes_one_of_ours(error: Exception) -> None:
    endpoint = choose("wss://example.org", CANARY)
    ours = handshake_error(error, endpoint, 10.0)
    assert isinstance(ours, DgnbError)
    assert CANARY not in str(ours)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "no answer came within 10 s"),
        (ConnectionRefusedError(), "nothing listens"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "not trusted"),
        (ValueError("odd"), "odd"),
    ],
)
def test_errors_of_the_system_get_a_remedy(error: Exception, told: str) -> None:
    endpoint = choose("deepgram", CANARY)
    assert told in str(handshake_error(error, endpoint, 10.0))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), True),
        (websockets.exceptions.InvalidMessage("half an answer"), True),
        (ssl.SSLCertVerificationError(1, "self-signed"), False),
        (ssl.SSLError(1, "wrong version number"), False),
        (websockets.exceptions.InvalidUpgrade("Upgrade"), False),
        (ValueError("odd"), False),
    ],
)
def test_a_handshake_is_tried_again_only_when_nobody_answered(error: Exception, transient: bool) -> None:
    ours = handshake_error(error, choose("wss://example.org", CANARY), 10.0)
    assert isinstance(ours, HandshakeError)
    assert ours.transient is transient


@pytest.mark.parametrize(("status", "transient"), [(407, False), (403, False), (502, True)])
def test_a_proxy_that_refuses_is_tried_again_only_for_a_fault_of_its_own(status: int, transient: bool) -> None:
    refused = websockets.exceptions.InvalidProxyStatus(Response(status, "", Headers(), b""))
    ours = handshake_error(refused, choose("wss://example.org", CANARY), 10.0)
    assert isinstance(ours, HandshakeError)
    assert ours.transient is transient

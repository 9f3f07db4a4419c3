"""The table of refusals and close codes, and what becomes of each error of websockets and of the system."""

from __future__ import annotations

import inspect
import ssl
from typing import Any

import pytest
import websockets
import websockets.exceptions
from websockets.datastructures import Headers
from websockets.frames import EXTERNAL_CLOSE_CODES, Close
from websockets.http11 import Response

import dgnb
from dgnb.connection.errors import RULES, Again, GaveUp, connection_lost, find_rule, handshake_error, may_retry
from dgnb.endpoints import choose
from dgnb.exceptions import DgnbError, HandshakeError
from tests.support.faulty import FaultyServer

CANARY = "canary0123456789"


@pytest.mark.parametrize("key", RULES, ids=str)
def test_each_row_is_a_sentence(key: int | str | GaveUp) -> None:
    text = RULES[key].text
    assert text == "" or text[-1] in ".?"


def test_each_close_code_that_a_server_may_send_has_a_row() -> None:
    assert set(EXTERNAL_CLOSE_CODES) <= set(RULES)


def test_each_reason_to_give_up_has_a_row() -> None:
    assert set(GaveUp) <= set(RULES)


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 1014, 4000, 4008, 4999])
def test_a_connection_that_ended_for_a_passing_reason_is_opened_again(code: int) -> None:
    assert may_retry(connection_lost(code)) is Again.ALWAYS


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 1015])
def test_a_fault_that_would_come_again_is_not_tried_again(code: int) -> None:
    assert may_retry(connection_lost(code)) is Again.NEVER


@pytest.mark.parametrize("code", [1000, 1005, 3000])
def test_an_unexpected_end_is_tried_again_once(code: int) -> None:
    assert may_retry(connection_lost(code)) is Again.ONCE


@pytest.mark.parametrize(
    ("code", "reason", "again"),
    [
        (1008, "DATA-0000", Again.NEVER),
        (1011, "NET-0000", Again.ONCE),
        (1011, "see https://dpgr.am/net0000", Again.ONCE),
        (1011, "NET-0001", Again.ALWAYS),
        (1011, "anything else", Again.ALWAYS),
    ],
)
def test_the_server_s_reason_counts_more_than_its_code(code: int, reason: str, again: Again) -> None:
    assert may_retry(connection_lost(code, reason)) is again


@pytest.mark.parametrize(
    ("why", "again"), [(GaveUp.UNANSWERED, Again.ALWAYS), (GaveUp.SILENT, Again.ONCE), (GaveUp.PROTOCOL, Again.ALWAYS)]
)
def test_a_connection_that_this_side_dropped_says_why(why: GaveUp, again: Again) -> None:
    error = connection_lost(1006, gave_up=why, detail="as seen here", request_id="r")
    assert may_retry(error) is again
    assert RULES[why].text in str(error)
    assert str(error).endswith("Code 1006 'as seen here' (request r).")
    assert (error.reason, error.gave_up) == ("", why)


@pytest.mark.parametrize(
    ("status", "again"), [(400, Again.NEVER), (418, Again.NEVER), (408, Again.ALWAYS), (429, Again.ALWAYS)]
)
def test_a_refusal_has_a_rule_also_for_a_status_without_a_row(status: int, again: Again) -> None:
    assert find_rule(status).again is again
    assert find_rule(599).again is Again.ALWAYS


def test_other_errors_are_not_tried_again() -> None:
    assert may_retry(dgnb.HandshakeError("no", transient=True)) is Again.ALWAYS
    for error in (dgnb.HandshakeError("no"), dgnb.AuthenticationError("no"), dgnb.DgnbError("no"), ValueError("no")):
        assert may_retry(error) is Again.NEVER


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("2.5", 2.5), ("-3", None), ("nan", None), ("soon", None), ("Fri, 01 Jan 2100 00:00:00 GMT", None)],
)
async def test_retry_after_is_a_number_of_seconds(told: str, seconds: float | None) -> None:
    async with FaultyServer("hello") as server:
        with server.rejecting(503, headers={"Retry-After": told}), pytest.raises(dgnb.HandshakeError) as caught:
            await dgnb.connect(dgnb.LiveOptions(), endpoint=server.url)
    assert caught.value.retry_after == seconds


# Before a server answers


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

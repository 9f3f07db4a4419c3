"""The table of refusals and close codes."""

from __future__ import annotations

import pytest
from websockets.frames import EXTERNAL_CLOSE_CODES

import dgnb
from dgnb.connection.errors import RULES, Again, GaveUp, connection_lost, find_rule, may_retry


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
    async with dgnb.loopback.serve("hello") as server:
        with server.rejecting(503, headers={"Retry-After": told}), pytest.raises(dgnb.HandshakeError) as caught:
            await dgnb.connect(dgnb.LiveOptions(), endpoint=server.url)
    assert caught.value.retry_after == seconds

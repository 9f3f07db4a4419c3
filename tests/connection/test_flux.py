"""`connect()` with `FluxOptions`, against a server of `/v2/listen`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection

import dgnb
from dgnb import FluxOptions, messages
from dgnb.connection import connect
from dgnb.connection.errors import Again, may_retry
from dgnb.exceptions import ConnectionLost, HandshakeError
from dgnb.messages import Connected, TurnInfo
from tests.session.test_reconnect import plain
from tests.support.faulty import FaultyServer
from tests.support.flux import Flux, samples

RAW = FluxOptions(encoding="linear16", sample_rate=16000, eot_threshold=0.8)
AUDIO = {"encoding": "linear16", "sample_rate": "16000"}


@pytest.fixture
async def flux() -> AsyncIterator[Flux]:
    async with Flux(("one two three", 0.5, 1.4)).serving() as flux:
        yield flux


async def test_turns_come_from_v2_and_a_close_without_a_code_is_its_end(flux: Flux) -> None:
    async with connect(RAW, endpoint=flux.url, keep_alive_interval=0.001) as connection:
        assert connection.turns
        await connection.keep_alive()
        await connection.send(samples(3))
        await connection.close_stream()
        found = [message async for message in connection]
    assert isinstance(found[0], Connected)
    assert found[0].request_id == connection.request_id == "r"
    ends = [message for message in found if isinstance(message, TurnInfo) and message.event == "EndOfTurn"]
    assert [end.transcript for end in ends] == ["one two three"]
    assert flux.queries == [{"model": "flux-general-en", "eot_threshold": "0.8"} | AUDIO]
    # No KeepAlive: it would be fatal.
    assert flux.texts == [[{"type": "CloseStream"}]]


async def test_finalize_ends_the_turn_and_configure_has_the_form_of_v2(flux: Flux) -> None:
    async with connect(RAW, endpoint=flux.url) as connection:
        await connection.send(samples(1.25))
        async for message in connection:
            if isinstance(message, TurnInfo) and message.transcript == "one two":
                break
        await connection.finalize()
        thresholds = messages.Thresholds(eot_threshold=0.9)
        await connection.configure(keyterms=[], numerals=True, thresholds=thresholds, language_hints=["de"])
        await connection.close_stream()
        found = [message async for message in connection]
    assert next(message.trigger for message in found if isinstance(message, TurnInfo)) == "manual"
    assert {"ConfigureSuccess"} == {message.type for message in found if message.type.startswith("Configure")}
    assert flux.texts[0][:2] == [
        {"type": "ForceEndTurn"},
        {
            "keyterms": [],
            "thresholds": {"eot_threshold": 0.9},
            "language_hints": ["de"],
            "numerals": True,
        },
    ]


async def test_a_server_that_never_greets_is_a_handshake_that_failed(flux: Flux) -> None:
    flux.greets = False
    with pytest.raises(HandshakeError, match=r"sent no Connected within 0\.2 s") as caught:
        await connect(RAW, endpoint=flux.url, open_timeout=0.2)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("code", "again"),
    [
        ("INTERNAL_SERVER_ERROR", Again.ALWAYS),
        ("INACTIVE_CLIENT", Again.ALWAYS),
        ("UNPARSABLE_CLIENT_MESSAGE", Again.NEVER),
        ("SOMETHING_NEW", Again.ONCE),
    ],
)
async def test_an_error_before_a_close_without_a_code_is_no_good_end(flux: Flux, code: str, again: Again) -> None:
    flux.last_words = {"kind": "Error", "code": code, "description": "Why not."}
    async with connect(RAW, endpoint=flux.url) as connection:
        await connection.close_stream()
        with pytest.raises(ConnectionLost, match=f"{code}: Why not") as caught:
            async for _ in connection:
                pass
    assert (caught.value.code, may_retry(caught.value)) == (1005, again)


async def test_a_close_without_a_code_is_no_good_end_of_v1_and_none_before_close_stream() -> None:
    async def handler(socket: ServerConnection) -> None:
        if socket.request and socket.request.path.startswith("/v1"):
            await socket.recv()
        async with socket.send_context():
            socket.protocol.send_close()

    async with plain(handler) as url:
        for options in (dgnb.LiveOptions(), RAW):
            async with connect(options, endpoint=url) as connection:
                if not connection.turns:
                    await connection.close_stream()
                with pytest.raises(ConnectionLost) as caught:
                    await anext(connection)
                assert caught.value.code == 1005


async def test_a_refusal_of_v2_is_quoted() -> None:
    body = {"code": "INVALID_PARAMETER", "description": "eot_threshold is 0.5 to 1.0"}
    async with FaultyServer("hi") as server:
        refused = pytest.raises(HandshakeError, match=r"400 'eot_threshold is 0\.5 to 1\.0'")
        with server.rejecting(400, body=body, headers={"dg-error": ""}), refused:
            await connect(dgnb.LiveOptions(), endpoint=server.url)

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dgnb import messages as wire
from dgnb.exceptions import ProtocolError
from dgnb.loopback import Script
from dgnb.loopback.engines import Engine, Event, Heard, HeardWord, SpeechStarted
from dgnb.loopback.turns import Turns, parse_control, silence_of
from dgnb.options import FluxOptions
from tests.loopback.test_recognizer import Puppet, audio
from tests.support.faulty import FaultyServer
from tests.support.scripts import script_of

RAW = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": "16000"}
CLOSE = '{"type":"CloseStream"}'
TALK = [("So", 0.5, 0.8), ("we", 0.8, 1.0), ("begin.", 1.0, 1.4), ("Now", 3.0, 3.4), ("go.", 3.4, 3.8)]


def turns_of(engine: Engine | None = None, **options: Any) -> Turns:
    return Turns(engine or script_of(TALK), FluxOptions(**options), request_id="r")


def feed(turns: Turns, seconds: float, step: float = 0.1) -> list[wire.TurnInfo]:
    heard = [message for _ in range(round(seconds / step)) for message in turns.feed([audio(step)])]
    assert all(isinstance(message, wire.TurnInfo) for message in heard)
    return heard  # type: ignore[return-value]


def events(heard: Sequence[wire.TurnInfo]) -> list[tuple[str, int, float, str]]:
    """All but the updates."""
    return [(m.event, m.turn_index, m.audio_window_end, m.transcript) for m in heard if m.event != "Update"]


def test_a_turn_starts_with_its_first_words_and_ends_after_the_silence_of_the_threshold() -> None:
    heard = feed(turns_of(), 6)
    assert events(heard) == [
        ("StartOfTurn", 0, 1.0, "So we"),
        ("EndOfTurn", 0, 2.1, "So we begin."),
        ("StartOfTurn", 1, 4.0, "Now go."),
        ("EndOfTurn", 1, 4.5, "Now go."),
    ]
    first, second = (m for m in heard if m.event == "EndOfTurn")
    assert (first.trigger, first.end_of_turn_confidence, second.trigger) == ("model", 0.7, "model")
    assert first.words[2] == wire.TurnWord("begin.", 0.99, 1.0, 1.4)
    assert (first.audio_window_start, second.audio_window_start) == (0.0, 2.1)
    assert (first.languages, first.request_id) == (None, "r")


def test_an_update_comes_with_each_quarter_of_a_second_and_a_change_takes_its_place() -> None:
    heard = feed(turns_of(), 3)
    assert [m.audio_window_end for m in heard[:2]] == [0.25, 0.5]
    assert (heard[0].transcript, heard[0].words, heard[0].end_of_turn_confidence) == ("", (), 0.0)
    assert [m.event for m in heard] == [
        *(["Update"] * 3),
        "StartOfTurn",
        *(["Update"] * 4),
        "EndOfTurn",
        *(["Update"] * 3),
    ]
    confidence = [m.end_of_turn_confidence for m in heard if m.transcript]
    assert confidence == sorted(confidence)
    assert {m.turn_index for m in heard[9:]} == {1}


@pytest.mark.parametrize("step", [0.01, 0.04, 0.25])
def test_the_sizes_of_the_pieces_make_no_difference(step: float) -> None:
    options = {"eager_eot_threshold": 0.4, "eot_threshold": 0.9}
    assert feed(turns_of(**options), 6, step) == feed(turns_of(**options), 6, 0.05)


def test_an_eager_end_is_taken_back_when_the_voice_comes_back_and_else_equals_the_end() -> None:
    script = script_of([("One", 0.2, 0.6), ("two.", 1.4, 1.8)])
    heard = feed(turns_of(script, eager_eot_threshold=0.5, eot_threshold=0.8), 4)
    assert events(heard) == [
        ("StartOfTurn", 0, 0.9, "One"),
        ("EagerEndOfTurn", 0, 1.003, "One"),
        ("TurnResumed", 0, 1.4, "One"),
        ("EagerEndOfTurn", 0, 2.203, "One two."),
        ("EndOfTurn", 0, 2.736, "One two."),
    ]


def test_a_changed_text_takes_an_eager_end_back_also_without_a_voice() -> None:
    def heard(end: float, *words: str, final: bool = True) -> Heard:
        spoken = tuple(HeardWord(word, n / 10, n / 10 + 0.1, 0.9) for n, word in enumerate(words))
        return Heard(0.0, end, spoken, final=final, pause=final)

    puppet = Puppet([heard(0.4, "a")], [], [Heard(0.4, 0.8, (), final=True)], [heard(0.9, "b", "c", final=False)])
    found = feed(turns_of(puppet, eager_eot_threshold=0.5, eot_threshold=0.9), 1, 0.25)
    assert events(found)[1:] == [("EagerEndOfTurn", 0, 0.503, "a"), ("TurnResumed", 0, 0.9, "a b c")]


def test_a_turn_whose_words_are_taken_back_ends_too() -> None:
    puppet = Puppet(
        [SpeechStarted(0.1), Heard(0.0, 0.25, (HeardWord("you", 0.1, 0.2, 0.3),), final=False)],
        [Heard(0.0, 0.5, (), final=True)],
    )
    assert events(feed(turns_of(puppet), 2, 0.25)) == [("StartOfTurn", 0, 0.25, "you"), ("EndOfTurn", 0, 0.7, "")]


def test_at_threshold_1_only_the_time_out_ends_a_turn_and_new_speech_restarts_it() -> None:
    script = script_of([("One", 0.2, 0.6), ("two.", 2.0, 2.4)])
    heard = feed(turns_of(script, eot_threshold=1.0, eot_timeout_ms=1500), 5)
    assert events(heard) == [("StartOfTurn", 0, 0.9, "One"), ("EndOfTurn", 0, 3.9, "One two.")]
    assert [m.trigger for m in heard if m.trigger] == ["timeout"]
    assert silence_of(1.0) == float("inf")


def test_force_end_turn_ends_the_turn_with_the_last_text_and_later_words_belong_to_the_next() -> None:
    turns = turns_of()
    feed(turns, 1.3)
    (ended,) = turns.answer(wire.ForceEndTurn())
    assert isinstance(ended, wire.TurnInfo)
    assert (ended.event, ended.trigger, ended.transcript, ended.audio_window_end) == (
        "EndOfTurn",
        "manual",
        "So we",
        1.0,
    )
    (warning,) = turns.answer(wire.ForceEndTurn())
    assert isinstance(warning, wire.Warning)
    assert warning.code == "FORCE_END_TURN_NO_ACTIVE_TURN"
    assert events(feed(turns, 1.3)) == [("StartOfTurn", 1, 1.7, "begin."), ("EndOfTurn", 1, 2.1, "begin.")]


def test_closing_sends_the_last_words_as_an_update_and_ends_no_turn() -> None:
    turns = turns_of()
    feed(turns, 3.9)
    *_, last = turns.close()
    assert isinstance(last, wire.TurnInfo)
    assert (last.event, last.transcript, last.audio_window_end) == ("Update", "Now go.", 3.9)


def test_configure_applies_all_or_nothing_and_tells_the_whole_configuration() -> None:
    turns = turns_of(keyterm=["Oder"])
    (failed,) = turns.answer(wire.Configure(keyterms=(), thresholds=wire.Thresholds(eager_eot_threshold=0.8)))
    assert isinstance(failed, wire.ConfigureFailure)
    assert failed.code == "INVALID_THRESHOLD"
    assert "eager_eot_threshold is at most eot_threshold (0.7)" in str(failed.description)
    for wrong, code in (
        (wire.Configure(keyterms=(" ",)), "INVALID_PARAMETER"),
        (wire.Configure(language_hints=("de",)), "INVALID_PARAMETER"),
    ):
        assert turns.answer(wrong)[0].code == code  # type: ignore[union-attr]
    changed = wire.Configure(thresholds=wire.Thresholds(eot_threshold=0.9, eager_eot_threshold=0.8), numerals=True)
    assert turns.answer(changed) == [
        wire.ConfigureSuccess("r", ("Oder",), wire.Thresholds(0.8, 0.9, 5000), (), True),
    ]
    assert events(feed(turns, 2.8))[-1] == ("EndOfTurn", 0, 2.739, "So we begin.")


def test_several_languages_are_named_by_their_words() -> None:
    class Polyglot(Puppet):
        def feed(self, pcm: bytes) -> list[Event]:
            return super().feed(pcm) or [Heard(0.25, 0.5, (HeardWord("ja", 0.3, 0.5, 1),), True, True, "de")]

    puppet = Polyglot(
        [Heard(0.0, 0.25, (HeardWord("Yes", 0.0, 0.1, 1), HeardWord("so", 0.1, 0.2, 1)), True, True, "en")]
    )
    turns = turns_of(puppet, model="flux-general-multi", language_hint=["de", "en-GB"])
    found = feed(turns, 0.5, 0.25)[-1]
    assert (found.transcript, found.languages, found.languages_hinted) == ("Yes so ja", ("en", "de"), ("de", "en-GB"))
    assert puppet.opened == [{"language": "multi", "pause": 0.3, "interims": True}]


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"KeepAlive"}',
        '{"type":"Finalize"}',
        '{"type":"Configure","features":{"numerals":true}}',
        '{"type":"Configure","numerals":"true"}',
        '{"type":"Configure","thresholds":{"eot_threshold":"0.8"}}',
        '{"type":"Configure","model":"flux-general-multi"}',
        '{"type":"Else"}',
        "[]",
        "hello",
    ],
)
def test_any_other_text_is_no_message_of_flux(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_control(text)


# Over a socket


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(script_of(TALK), token="secret") as server:
        yield server


def listen(server: FaultyServer, **query: Any) -> connect:
    url = f"{server.url}/v2/listen?{urlencode(RAW | query, doseq=True)}"
    return connect(url, additional_headers={"Authorization": "Token secret"}, compression=None, proxy=None)


async def all_of(websocket: ClientConnection) -> list[wire.ServerMessage]:
    # A close without a status is a failure to this client's own iterator.
    messages = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(wire.parse(await websocket.recv()))
    assert websocket.close_code == 1005
    return messages


async def test_a_connection_begins_with_connected_counts_its_messages_and_closes_without_a_status(
    server: FaultyServer,
) -> None:
    async with listen(server) as websocket:
        await websocket.send(audio(4.0))
        await websocket.send('{"type":"ForceEndTurn"}')
        await websocket.send('{"type":"ForceEndTurn"}')
        await websocket.send(CLOSE)
        first, *messages = await all_of(websocket)
    assert first == wire.Connected(server.connections[0].request_id, 0)
    assert [m.sequence_id for m in messages] == list(range(1, 1 + len(messages)))  # type: ignore[union-attr]
    told = [m.event if isinstance(m, wire.TurnInfo) else m.type for m in messages]
    assert [one for one in told if one != "Update"] == [*(["StartOfTurn", "EndOfTurn"] * 2), "Warning"]
    assert told[-1] == "Update"


@pytest.mark.parametrize("text", ['{"type":"KeepAlive"}', "hello"])
async def test_a_message_that_flux_does_not_know_is_answered_by_an_error_and_the_end(
    server: FaultyServer, text: str
) -> None:
    async with listen(server) as websocket:
        await websocket.send(text)
        *_, error = await all_of(websocket)
    assert isinstance(error, wire.Error)
    assert (error.code, error.sequence_id, error.request_id) == ("UNPARSABLE_CLIENT_MESSAGE", 1, None)


async def test_what_is_not_audio_is_answered_by_an_error_too(server: FaultyServer) -> None:
    async with listen(server) as websocket:
        await websocket.send(b"RIFF0000WAVE" + bytes(100))
        *_, error = await all_of(websocket)
    assert isinstance(error, wire.Error)
    assert "WAV file" in str(error.description)


async def test_an_idle_client_is_told_so_but_pings_keep_the_connection_open() -> None:
    async with FaultyServer("hello", idle_timeout=0.05, token="secret") as server, listen(server) as websocket:
        for _ in range(3):
            # Each answer comes within the time-out, the three together do not.
            async with asyncio.timeout(0.29):
                await (await websocket.ping())
            await asyncio.sleep(0.2)
        assert server.connections[0].is_open
        *_, error = await all_of(websocket)
    assert isinstance(error, wire.Error)
    assert error.code == "INACTIVE_CLIENT"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"model": "flux"}, "model"),
        ({"model": "flux-general-fr"}, "model"),
        ({"model": "nova-3"}, "model"),
        ({"eager_eot_threshold": 0.75}, "eager_eot_threshold"),
        ({"eot_threshold": 0.49}, "eot_threshold"),
        ({"eot_threshold": 1.01}, "eot_threshold"),
        ({"eot_timeout_ms": 499}, "eot_timeout_ms"),
        ({"language_hint": "de"}, "language_hint"),
        ({"model": "flux-general-multi", "language_hint": "sv"}, "language_hint"),
        ({"model": "flux-general-multi", "language_hint": ""}, "language_hint"),
        ({"keyterm": " "}, "keyterm"),
        ({"keyterm": "a" * 101}, "keyterm"),
        ({"keyterm": ["a"] * 101}, "keyterm"),
        ({"sample_rate": 22_050}, "sample_rate"),
        ({"encoding": "flac"}, "encoding"),
        ({"encoding": "opus"}, "encoding"),
        ({"redact": "pci"}, "redact"),
        ({"numerals": "yes"}, "numerals"),
        ({"tag": "a" * 129}, "tag"),
    ],
)
async def test_a_wrong_parameter_is_refused_in_the_documented_form(
    server: FaultyServer, query: dict[str, Any], named: str
) -> None:
    status, body = await refusal(server, RAW | query)
    assert status == 400
    assert body["code"] == "INVALID_PARAMETER"
    assert named in body["description"]


async def test_parameters_of_v1_and_unknown_ones_are_refused_by_name(server: FaultyServer) -> None:
    status, body = await refusal(server, RAW | {"punctuate": "true", "channels": 1, "nonsense": 1})
    assert (status, body["err_code"]) == (400, "INVALID_QUERY_PARAMETER")
    assert body["err_msg"] == "Unknown query parameters: punctuate, channels, nonsense"
    status, body = await refusal(server, {"encoding": "linear16", "sample_rate": 16_000})
    assert (status, "model" in body["description"]) == (400, True)


async def refusal(server: FaultyServer, query: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {
        **{"Authorization": "Token secret", "Upgrade": "websocket", "Connection": "Upgrade"},
        **{"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
    }
    url = f"{server.url.replace('ws', 'http', 1)}/v2/listen?{urlencode(query, doseq=True)}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")
async def test_the_official_client_gets_turns_and_answers_to_its_messages() -> None:
    async with FaultyServer(Script("Hello world. How are you?", gap=2), token="secret") as server:
        here = DeepgramClientEnvironment(base="", production=server.url, agent=server.url, agent_rest="")
        sdk = AsyncDeepgramClient(api_key="secret", environment=here)
        async with sdk.listen.v2.connect(
            model="flux-general-en",
            encoding="linear16",
            sample_rate=16_000,
            eager_eot_threshold=0.5,
            keyterm=["one", "two"],
            numerals=True,
            mip_opt_out=True,
        ) as connection:
            for _ in range(40):
                await connection.send_media(audio(0.1))
            await connection.send_configure({"type": "Configure", "thresholds": {"eot_threshold": 0.8}})
            await connection.send_configure({"type": "Configure", "thresholds": {"eot_threshold": 0.4}})
            await connection.send_force_end_turn()
            await connection.send_force_end_turn()
            await connection.send_close_stream()
            messages = [message async for message in connection]
    assert dict(server.requests[0].query)["numerals"] == "true"
    assert not server.connections[0].violations
    told = [m.event if m.type == "TurnInfo" else m.type for m in messages]
    assert [one for one in told if one != "Update"] == [
        *("Connected", "StartOfTurn", "EagerEndOfTurn", "EndOfTurn", "StartOfTurn"),
        *("ConfigureSuccess", "ConfigureFailure", "EndOfTurn", "Warning", "StartOfTurn"),
    ]
    ends = [m for m in messages if m.type == "TurnInfo" and m.event == "EndOfTurn"]
    assert [(end.transcript, end.trigger) for end in ends] == [("Hello world.", "model"), ("How are", "manual")]
    assert [(word.word, word.start, word.end) for word in ends[0].words] == [("Hello", 0.2, 0.6), ("world.", 0.6, 1.0)]


# Faults on purpose


async def test_a_stalled_connection_says_nothing_more_and_the_next_one_works(server: FaultyServer) -> None:
    for after, said in ((0.0, 0), (0.5, 3)):
        with server.stalling(after=after, times=1):
            async with listen(server) as websocket:
                for _ in range(40):
                    await websocket.send(audio(0.1))
                while server.connections[-1].audio_seconds < 4:
                    await (await websocket.ping())
                assert server.connections[-1].sent.get("TurnInfo", 0) + len(server.connections[-1].sent) == said
            async with listen(server) as websocket:
                await websocket.send(audio(4))
                await websocket.send(CLOSE)
                assert len(await all_of(websocket)) > 10


async def test_words_without_times_and_turns_without_a_start(server: FaultyServer) -> None:
    with server.untimed(), server.startless(times=1):
        async with listen(server) as websocket:
            await websocket.send(audio(5))
            await websocket.send(CLOSE)
            messages = [m for m in await all_of(websocket) if isinstance(m, wire.TurnInfo)]
    assert [m.event for m in messages if m.event != "Update"] == ["EndOfTurn", "StartOfTurn", "EndOfTurn"]
    assert all(word.start is None and word.end is None for m in messages for word in m.words)


async def test_a_configure_that_is_refused_or_not_answered(server: FaultyServer) -> None:
    change = json.dumps({"type": "Configure", "thresholds": {"eot_threshold": 0.9}})
    async with listen(server) as websocket:
        with server.ignoring_configure(times=1), server.refusing_configure(times=1):
            for _ in range(3):
                await websocket.send(change)
            await websocket.send(CLOSE)
            messages = await all_of(websocket)
    assert [m.type for m in messages] == ["Connected", "ConfigureFailure", "ConfigureSuccess", "TurnInfo"]

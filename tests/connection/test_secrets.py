"""No repr, traceback, log, pickle or widget state shows the key."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import logging
import os
import pickle
import ssl
import traceback
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ipywidgets
import numpy as np
import pytest
import trustme
from IPython.core.ultratb import FormattedTB
from websockets.asyncio.server import ServerConnection, serve

import dgnb
from dgnb.connection import connect
from dgnb.endpoints import Secret, choose
from tests.support.clicks import sends
from tests.support.faulty import FaultyServer
from tests.support.tracebacks import shown
from tests.support.waiting import until

CANARY = "canary-0123456789-canary"
RAW = dgnb.LiveOptions(encoding="linear16", sample_rate=16000)
SECOND = np.zeros(16_000, np.int16)
MASKED = {"err_code": "INVALID_AUTH", "err_msg": f"Token {CANARY} may not do this.", "request_id": CANARY}

Use = Callable[[str], Awaitable[object]]


def key() -> str:
    """The key, joined at run time: a traceback shows the source line of a literal."""
    return "-".join(["canary", "0123456789", "canary"])


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer("hello world", token=CANARY) as server:
        yield server


async def by_connect(address: str) -> object:
    async with connect(RAW, endpoint=address, api_key=key(), open_timeout=0.3) as connection:
        await connection.send(SECOND.tobytes())
        async for message in connection:
            message.type  # noqa: B018 - reading is all that is wanted
    return connection


async def by_session(address: str) -> object:
    session = dgnb.LiveSession(
        SECOND, sample_rate=16000, endpoint=address, api_key=key(), pace=None, reconnect=False
    ).start()
    try:
        async with asyncio.timeout(0.5):
            return await session
    finally:
        with contextlib.suppress(dgnb.DgnbError):
            await session.stop()


async def by_transcribe(address: str) -> object:
    async with asyncio.timeout(0.5):
        return await dgnb.transcribe(
            SECOND, sample_rate=16000, endpoint=address, api_key=key(), pace=None, reconnect=False
        )


class Fault:
    """Faults for `use(address)`; each one raises."""

    def __init__(self, server: FaultyServer, use: Use, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
        self.server, self.use, self.monkeypatch, self.unused_port = server, use, monkeypatch, unused_port

    async def refusal(self, status: int) -> None:
        with self.server.rejecting(status, f"No {CANARY} here", body=MASKED, headers={"dg-request-id": CANARY}):
            await self.use(self.server.url)

    async def page(self) -> None:
        with self.server.rejecting(503, body=f"<p>{CANARY}</p>"):
            await self.use(self.server.url)

    async def redirect(self) -> None:
        with self.server.rejecting(302, headers={"Location": f"ws://localhost:1/{CANARY}"}):
            await self.use(self.server.url)

    async def silence(self) -> None:
        with self.server.unresponsive():
            await self.use(self.server.url)

    async def nobody(self) -> None:
        await self.use(f"ws://127.0.0.1:{self.unused_port}")

    async def no_tls(self) -> None:
        await self.use(self.server.url.replace("ws:", "wss:"))

    async def certificate(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        plain = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with plain:
            await self.use(f"wss://localhost:{plain.sockets[0].getsockname()[1]}")

    async def proxy(self) -> None:
        self.monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@127.0.0.1:{self.unused_port}")
        self.monkeypatch.setenv("NO_PROXY", "")
        await self.use("wss://speech.invalid")

    async def no_such_host(self) -> None:
        await self.use("wss://speech.invalid")

    async def lost(self, code: int | None) -> None:
        with self.server.dropping(after=0.1, code=code, reason=f"No more of {CANARY}"):
            await self.use(self.server.url)

    async def cancelled(self) -> None:
        with self.server.unresponsive():
            task = asyncio.ensure_future(self.use(self.server.url))
            await until(lambda: self.server.requests)
            task.cancel()
            await task

    async def no_endpoint(self) -> None:
        await self.use("nowhere")

    async def in_clear(self) -> None:
        await self.use("ws://example.org")


FAULTS: dict[str, Callable[[Fault], Awaitable[None]]] = {
    **{f"{status}": lambda fault, status=status: fault.refusal(status) for status in (400, 401, 402, 403, 404)},  # type: ignore[misc]
    "a page": Fault.page,
    "a redirect": Fault.redirect,
    "silence": Fault.silence,
    "nobody": Fault.nobody,
    "no TLS": Fault.no_tls,
    "a certificate": Fault.certificate,
    "a proxy": Fault.proxy,
    "no such host": Fault.no_such_host,
    "lost": lambda fault: fault.lost(None),
    "closed": lambda fault: fault.lost(1008),
    "cancelled": Fault.cancelled,
    "no endpoint": Fault.no_endpoint,
    "in clear": Fault.in_clear,
}


@pytest.mark.parametrize("use", [by_connect, by_session, by_transcribe])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_failure_shows_the_key(
    server: FaultyServer,
    use: Use,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    unused_tcp_port: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    # In debug mode asyncio logs each callback that took longer.
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    kind = asyncio.CancelledError if fault == "cancelled" else (dgnb.DgnbError, TimeoutError)
    with pytest.raises(kind) as caught:
        await FAULTS[fault](Fault(server, use, monkeypatch, unused_tcp_port))
    loop.set_debug(False)
    assert CANARY not in shown(caught.value)
    left = [dgnb.sessions(), *(vars(session) for session in dgnb.sessions())]
    left += [session.transcript.events.to_csv() for session in dgnb.sessions()]
    assert CANARY not in repr(left)
    assert CANARY not in caplog.text
    assert CANARY not in repr([(record.args, record.__dict__) for record in caplog.records])
    assert CANARY not in "".join(capfd.readouterr())


def forms(holder: object) -> str:
    """All texts that an object gives of itself."""
    texts = [repr(holder), str(holder), f"{holder!s:>5}", repr(dir(holder)), repr(getattr(holder, "__dict__", ""))]
    for name in getattr(type(holder), "__slots__", ()):
        texts.append(repr(getattr(holder, name, "")))
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        try:
            texts.append(repr(make(holder)))  # type: ignore[operator]
        except Exception as error:  # that it can't be copied is as good
            texts.append(f"{error!r} {error}")
    return "\n".join(texts)


def reached(holder: object, most: int = 5000) -> list[str]:
    """The reprs of all objects that an inspector of variables reaches by attributes and items."""
    # The loop also leads to the server's objects, which know the key.
    apart = (type, ModuleType, asyncio.AbstractEventLoop, FaultyServer)
    found: dict[int, object] = {id(holder): holder}
    queue = [holder]
    for each in queue:
        inner = [*getattr(each, "__dict__", {}).values()]
        inner += [getattr(each, name, None) for name in getattr(type(each), "__slots__", ()) if isinstance(name, str)]
        if isinstance(each, dict):
            inner += [*each, *each.values()]
        elif isinstance(each, (list, tuple, set, frozenset)):
            inner += each
        for further in inner:
            known = id(further) in found or isinstance(further, apart) or type(further).__module__.startswith("aiohttp")
            if not known and len(queue) < most:
                found[id(further)] = further
                queue.append(further)
    return [repr(each) for each in queue]


async def test_no_object_that_holds_the_key_shows_it(
    server: FaultyServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    session = dgnb.LiveSession(SECOND, sample_rate=16000, endpoint=server.url, api_key=key(), pace=None)
    panel = dgnb.ControlPanel(SECOND, sample_rate=16000, encoding="linear16", endpoint=server.url, api_key=key())
    opening = connect(RAW, endpoint=server.url, api_key=key())
    endpoint = choose(server.url, key())
    holders: list[Any] = [Secret(key()), endpoint, await endpoint.locate(), session, panel, opening]
    async with opening as connection:
        transcript = await session
        holders += [connection, transcript]
        for holder in holders:
            assert CANARY not in forms(holder), type(holder).__name__
        for holder in (session, opening, connection):
            shown = reached(holder)
            assert len(shown) > 20
            assert [text for text in shown if CANARY in text] == []
    panel.close()
    for text in (transcript.events.to_csv(), repr(vars(transcript)), panel.code(), connection.url):
        assert CANARY not in text
    assert CANARY not in "".join(capfd.readouterr()) + caplog.text


QUOTED: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "small letters": str.lower,
    "JSON": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "an address": lambda key: "".join(f"%{ord(c):02X}" for c in key),
    "an address, twice": lambda key: urllib.parse.quote("".join(f"%{ord(c):02X}" for c in key)),
    "HTML": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Token {key}.".encode()).decode(),
    "base64 of user and key": lambda key: base64.urlsafe_b64encode(f"a:{key}".encode()).decode(),
}


def quoting(quoted: str) -> list[str | bytes]:
    """Messages that hold a text wherever a message can hold one."""
    word = f'{{"word":"{quoted}","punctuated_word":"{quoted}!","start":0,"end":0.1,"language":"{quoted}"}}'
    heard = f'"channel":{{"alternatives":[{{"transcript":"{quoted}","words":[{word}]}}]}}'
    metadata = f'"metadata":{{"request_id":"{quoted}","model_info":{{"name":"{quoted}"}}}}'
    common = '"type":"Results","channel_index":[0,1],"start":0,"duration":0.1'
    return [
        f'{{"type":"Error","description":"Wrong: {quoted}","message":"{quoted}","code":"{quoted}"}}',
        f'{{"type":"Warning","description":"{quoted}"}}',
        f'{{"type":"{quoted}","{quoted}":["{quoted}"]}}',
        f'{{"type":"Metadata","request_id":"{quoted}","extra":{{"a":"{quoted}"}}}}',
        f'{{{common},"is_final":false,{heard},{metadata}}}',
        f'{{{common},"is_final":true,{heard},{metadata}}}',
        f"no JSON: {quoted}",
        f"<html>{quoted}</html>".encode(),
        ["in ", quoted[: len(quoted) // 2], quoted[len(quoted) // 2 :]],  # type: ignore[list-item]
    ]


@pytest.mark.parametrize("quote", QUOTED)
async def test_a_key_that_a_server_quotes_in_any_message_is_masked_everywhere(
    quote: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    quoted = QUOTED[quote](key())

    async def answer(connection: ServerConnection) -> None:
        for message in quoting(quoted):
            await connection.send(message)
        await connection.close(1008, quoted if len(quoted) < 124 else key())

    with caplog.filtering(lambda record: record.name != "websockets.server"):
        async with serve(answer, "127.0.0.1", 0) as quoter:
            address = f"ws://127.0.0.1:{quoter.sockets[0].getsockname()[1]}"
            session = dgnb.LiveSession(
                SECOND, sample_rate=16000, endpoint=address, api_key=key(), journal=tmp_path / "a.jsonl"
            ).start()
            with pytest.raises(dgnb.ConnectionLost) as caught:
                await session
    transcript = session.transcript
    transcript.save(tmp_path / "b.jsonl")
    transcript.to_deepgram_json(tmp_path / "c.json")
    texts = [transcript.text, session.report(), shown(caught.value), caplog.text, repr(transcript.messages)]
    texts += [transcript.words.to_csv(), transcript.results.to_csv(), transcript.events.to_csv()]
    texts += [path.read_text(encoding="utf-8") for path in map(tmp_path.joinpath, os.listdir(tmp_path))]
    for form in (CANARY, quoted):
        assert [text for text in texts if form.lower() in text.lower()] == []
    assert len(transcript.words) == 1
    assert "<key>" in transcript.text
    assert "<key>" in caught.value.reason


@pytest.mark.parametrize("quote", QUOTED)
async def test_a_key_that_is_quoted_in_a_refusal_is_masked(
    server: FaultyServer, quote: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    quoted = QUOTED[quote](key())
    headers = {"dg-request-id": quoted, "dg-error": quoted, "X-Echo": quoted}
    for body in (f"<p>No {quoted}</p>", {"err_msg": quoted, "request_id": quoted}, {"details": {quoted: [quoted]}}):
        refusing = server.rejecting(401, body=body, headers=headers)  # type: ignore[arg-type]
        with refusing, pytest.raises(dgnb.AuthenticationError) as caught:
            await connect(RAW, endpoint=server.url, api_key=key())
        for form in (CANARY, quoted):
            assert form not in shown(caught.value) + caplog.text


def test_a_short_key_is_masked_where_it_is_named_and_leaves_words_alone() -> None:
    secret = Secret("hello")
    assert secret.masked("hello world") == "hello world"
    assert secret.masked(b"Authorization: Token hello.") == b"Authorization: <key>."


async def test_no_widget_state_holds_a_key_that_was_typed(server: FaultyServer) -> None:
    panel = dgnb.ControlPanel(SECOND, sample_rate=16000, encoding="linear16", endpoint=server.url)
    sends(panel, {"do": "key", "key": key()})
    state = ipywidgets.Widget.get_manager_state()
    assert CANARY not in json.dumps(state, default=repr)
    assert CANARY not in repr(vars(panel))
    panel.close()


@pytest.mark.parametrize("typed", [key(), f" {key()}\n", "not a key ✗ at all"])
async def test_a_key_that_is_typed_is_sent_to_no_front_end(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setattr("ipywidgets.widgets.widget.JUPYTER_WIDGETS_ECHO", True)
    panel = dgnb.ControlPanel(SECOND, sample_rate=16000, encoding="linear16", endpoint=server.url)
    sent: list[Any] = []
    monkeypatch.setattr(ipywidgets.Widget, "_send", lambda self, message, buffers=None: sent.append(message))
    panel.set_state({"values": {**panel.values, "duration": "7"}})
    assert any(message["method"] == "echo_update" for message in sent)
    # As when a front end sends it.
    sends(panel, {"do": "key", "key": typed})
    panel.click("code")
    await asyncio.sleep(0)
    assert ("Copy it once more" in panel.problems.get("key", "")) is typed.startswith("not a key")
    assert typed.strip() not in repr(sent)
    panel.close()


async def test_this_test_would_see_a_key(caplog: pytest.LogCaptureFixture) -> None:
    def careless(api_key: str) -> None:
        raise ValueError("careless")

    with pytest.raises(ValueError, match="careless") as caught:
        careless(key())
    trace = caught.value.__traceback__
    assert trace is not None
    trace = trace.tb_next
    told = traceback.TracebackException(ValueError, caught.value, trace, capture_locals=True)
    assert CANARY in "".join(told.format())
    assert CANARY in FormattedTB("Verbose", "nocolor").text(ValueError, caught.value, trace)

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import wave
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from deepgram.core.api_error import ApiError

from dgnb import samples
from dgnb.loopback import Script, recordings
from tests.loopback.test_sdk import open_client
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

# The client uses names that websockets deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")

SCRIPT = Script("Hello world. How are you? I am fine.", gap=1.0)
KEY = {"Authorization": "Token secret"}


def wav(seconds: float, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(np.zeros((round(seconds * 16_000), channels), "<i2").tobytes())
    return file.getvalue()


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(SCRIPT, token="secret") as server:
        yield server


async def post(server: FaultyServer, body: Any, **given: Any) -> tuple[int, dict[str, Any]]:
    url = server.url.replace("ws", "http", 1) + "/v1/listen"
    headers = {**KEY, **given.pop("headers", {})}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, params=given.get("params", [("model", "nova-3")]), headers=headers) as response,
    ):
        return response.status, await response.json()


async def test_the_official_client_gets_words_utterances_and_paragraphs(server: FaultyServer) -> None:
    sound = wav(8)
    async with open_client(server) as client:
        answer: Any = await client.listen.v1.media.transcribe_file(
            request=sound, model="nova-3", smart_format=True, utterances=True, paragraphs=True, tag=["a", "b"]
        )
    channel = answer.results.channels[0].alternatives[0]
    assert channel.transcript == "Hello world. How are you? I am fine."
    assert [(word.word, word.start, word.end) for word in channel.words] == [
        (word.text.lower().strip(".?"), word.start, word.end) for word in SCRIPT.words
    ]
    assert [one.transcript for one in answer.results.utterances] == ["Hello world.", "How are you?", "I am fine."]
    assert [one.text for one in channel.paragraphs.paragraphs[0].sentences] == [
        "Hello world.",
        "How are you?",
        "I am fine.",
    ]
    assert answer.metadata.sha256 == hashlib.sha256(sound).hexdigest()
    assert (answer.metadata.duration, answer.metadata.channels) == (8.0, 1)
    assert answer.metadata.model_info[answer.metadata.models[0]]["name"] == "script"


async def test_utt_split_says_which_pauses_split_utterances(server: FaultyServer) -> None:
    params = [("model", "nova-3"), ("utterances", "true"), ("utt_split", "1.5")]
    _, answer = await post(server, wav(8), params=params)
    assert [one["transcript"] for one in answer["results"]["utterances"]] == ["hello world how are you i am fine"]


async def test_each_channel_is_heard_by_itself(server: FaultyServer) -> None:
    _, answer = await post(server, wav(8, 2), params=[("multichannel", "true"), ("utterances", "true")])
    assert [one["alternatives"][0]["transcript"] for one in answer["results"]["channels"]] == [
        "hello world how are you i am fine"
    ] * 2
    assert [one["channel"] for one in answer["results"]["utterances"]] == [0, 0, 0, 1, 1, 1]


async def test_raw_audio_needs_its_encoding(server: FaultyServer) -> None:
    raw = bytes(32_000 * 8)
    status, answer = await post(server, raw)
    assert (status, answer["err_msg"].partition(":")[0]) == (400, "Bad Request")
    assert "corrupt or unsupported data" in answer["err_msg"]
    params = [("model", "nova-3"), ("encoding", "linear16"), ("sample_rate", "16000")]
    status, answer = await post(server, raw, params=params)
    assert (status, answer["metadata"]["duration"]) == (200, 8.0)


async def test_what_has_no_effect_here_is_a_warning_as_for_a_language_that_lacks_it(server: FaultyServer) -> None:
    _, answer = await post(
        server, wav(3), params=[("model", "nova-3"), ("topics", "true"), ("numerals", "true"), ("intents", "false")]
    )
    assert [one["parameter"] for one in answer["metadata"]["warnings"]] == ["topics", "numerals"]
    assert "topics" not in answer["results"]


async def test_topics_in_other_languages_are_missing_and_a_warning_says_so(server: FaultyServer) -> None:
    params = [("model", "nova-3"), ("language", "de"), ("topics", "true"), ("custom_topic", "weather")]
    status, answer = await post(server, wav(3), params=params)
    assert status == 200
    assert [one["parameter"] for one in answer["metadata"]["warnings"]] == ["topics", "custom_topic"]


async def test_the_language_of_a_channel_is_the_one_that_most_words_are_in() -> None:
    class Polyglot(Script):
        def open(self, **given: Any) -> Any:
            assert given["language"] == "multi"
            stream = super().open(**given)
            flush = stream.flush
            stream.flush = lambda: [replace(one, language="de") if one.final else one for one in flush()]  # type: ignore[method-assign]
            return stream

    class English(Script):
        languages = ("en",)

    params = [("model", "nova-3"), ("detect_language", "true")]
    async with FaultyServer(Polyglot("Guten Tag"), token="secret") as server:
        _, answer = await post(server, wav(1), params=params)
        assert answer["results"]["channels"][0]["detected_language"] == "de"
        assert "warnings" not in answer["metadata"]
    async with FaultyServer(English("Good day"), token="secret") as server:
        _, answer = await post(server, wav(1), params=params)
        assert "detected_language" not in answer["results"]["channels"][0]
        assert [one["parameter"] for one in answer["metadata"]["warnings"]] == ["detect_language"]


async def test_speakers_and_paragraphs_come_with_punctuation(server: FaultyServer) -> None:
    params = [("diarize_model", "v2"), ("paragraphs", "true"), ("utterances", "true"), ("utt_split", "0")]
    status, answer = await post(server, wav(8), params=params)
    assert status == 200
    paragraph = answer["results"]["channels"][0]["alternatives"][0]["paragraphs"]["paragraphs"][0]
    assert (paragraph["num_words"], paragraph["speaker"], len(paragraph["sentences"])) == (8, 0, 3)
    assert answer["results"]["utterances"][0]["speaker"] == 0


async def test_a_server_that_ends_ends_the_work() -> None:
    async with FaultyServer(SCRIPT) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server._port)
        writer.write(
            b"POST /v1/listen HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token any\r\nContent-Length: 9\r\n\r\n"
        )
        await until(lambda: len(server._recordings) == 1)
        begin = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begin < 1
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_too_large_is_refused(
    chunked: bool, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(1000)

    monkeypatch.setattr(recordings, "MOST_BYTES", 9_999)
    status, answer = await post(server, pieces() if chunked else bytes(10_000))
    assert (status, answer["err_code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("head", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
async def test_an_upload_that_is_cut_is_forgotten(
    head: str, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server._port)
    lines = ("POST /v1/listen HTTP/1.1", "Host: localhost", "Authorization: Token secret", head, "", "")
    writer.write("\r\n".join(lines).encode())
    await until(lambda: len(server._recordings) == 1)
    writer.write(b"no chunk\r\n")
    await writer.drain()
    writer.close()
    await until(lambda: not server._recordings)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ([("interim_results", "true")], "Unknown parameter 'interim_results'"),
        ([("utterences", "true")], "Did you mean 'utterances'"),
        ([("model", "flux-general-en")], "live streams only"),
        ([("smart_format", "yes")], "true or false on the wire"),
        ([("extra", "novalue")], "key:value"),
        ([("summarize", "v1")], "not allowed"),
        ([("summarize", "v2"), ("language", "de")], "for English alone"),
        ([("encoding", "opus"), ("sample_rate", "48000")], "no bare packets"),
        ([("encoding", "linear16"), ("sample_rate", "10")], "4000 to 384000"),
        ([("model", "nova-3-nonsense")], "No such model"),
        ([("diarize", "true"), ("diarize_model", "v2")], "both given"),
        ([("utt_split", "-1")], "utt_split"),
        ([("utt_split", "nan")], "utt_split"),
        ([("callback", "https://example.org/x")], "no results elsewhere"),
    ],
)
async def test_a_wrong_query_is_refused(server: FaultyServer, params: list[tuple[str, str]], told: str) -> None:
    status, answer = await post(server, wav(1), params=params)
    assert status == 400
    assert told in answer["err_msg"]
    assert answer["request_id"]


@pytest.mark.parametrize("body", [b"", b"these are words\n" * 500, b'{"url": "https://example.org/a.wav"}'])
async def test_what_is_no_audio_is_refused_in_the_words_of_the_service(server: FaultyServer, body: bytes) -> None:
    status, answer = await post(server, body, headers={"Content-Type": "audio/wav"})
    assert status == 400
    assert "failed to process audio: corrupt or unsupported data" in answer["err_msg"]


@pytest.mark.parametrize("body", [b"{}", b"[]", b"1", b'{"url": 5}', b"{", b'{"url": null}'])
async def test_json_that_names_no_url_is_refused(server: FaultyServer, body: bytes) -> None:
    status, answer = await post(server, body, headers={"Content-Type": "application/json"})
    assert (status, answer["err_code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:9/a.wav", "http://localhost:9/a.wav", "http://[::1]/a", "http://10.0.0.1/a", "file:///a"),
        *("http://127.1:9/", "http://2130706433:9/", "http://[::ffff:127.0.0.1]:9/", "http://0.0.0.0:9/"),
        *("http://169.254.169.254/latest/meta-data", "http://user:word@localhost:9/", "http://"),
        *("https://[::1", "http://example.org:99999/", "no address", ""),
    ],
)
async def test_an_address_that_is_not_public_is_never_fetched(server: FaultyServer, url: str) -> None:
    body = json.dumps({"url": url}).encode()
    status, answer = await post(server, body, headers={"Content-Type": "application/json"})
    assert (status, answer["err_code"]) == (400, "REMOTE_CONTENT_ERROR")


async def test_the_official_client_has_a_url_fetched(server: FaultyServer) -> None:
    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound("/a.wav")

    async def sound(request: web.Request) -> web.Response:
        return web.Response(body=wav(3))

    async def around(request: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    app = web.Application()
    app.router.add_get("/", redirect)
    app.router.add_get("/a.wav", sound)
    app.router.add_get("/round", around)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server._private = True
    try:
        async with open_client(server) as client:
            answer: Any = await client.listen.v1.media.transcribe_url(url=f"{address}/", model="nova-3")
            assert answer.results.channels[0].alternatives[0].transcript == "hello world how are you"
            for path, told in (("/round", "TooManyRedirects"), ("/none", "404")):
                with pytest.raises(ApiError) as raised:
                    await client.listen.v1.media.transcribe_url(
                        url=address + path, model="nova-3", request_options={"max_retries": 0}
                    )
                assert raised.value.status_code == 400
                assert raised.value.body["err_code"] == "REMOTE_CONTENT_ERROR"
                assert told in raised.value.body["err_msg"]
    finally:
        await runner.cleanup()


async def test_a_key_is_needed_and_requests_are_counted() -> None:
    async with FaultyServer(SCRIPT, token="secret", max_connections=0) as server:
        status, answer = await post(server, wav(1), headers={"Authorization": "Token wrong"})
        assert (status, answer["err_code"]) == (401, "INVALID_AUTH")
        status, answer = await post(server, wav(1))
        assert (status, answer["err_code"]) == (429, "TOO_MANY_REQUESTS")


async def test_a_client_that_leaves_ends_the_work() -> None:
    begun, fed = asyncio.Event(), 0
    loop = asyncio.get_running_loop()

    class Slow(Script):
        def open(self, **given: Any) -> Any:
            stream = super().open(**given)
            feed = stream.feed

            def slowly(pcm: bytes) -> Any:
                nonlocal fed
                fed += 1
                loop.call_soon_threadsafe(begun.set)
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
                return feed(pcm)

            stream.feed = slowly  # type: ignore[method-assign]
            return stream

    async with FaultyServer(Slow("Hello"), token="secret") as server:
        task = asyncio.create_task(post(server, io.BytesIO(wav(600))))
        await begun.wait()
        task.cancel()
        await until(lambda: not server._recordings)
        assert fed < 100


async def test_real_speech_is_heard_as_it_is_live() -> None:
    async with FaultyServer(token="secret") as server:
        _, answer = await post(server, samples.path().read_bytes()[:50_000], params=[("smart_format", "true")])
    words = answer["results"]["channels"][0]["alternatives"][0]["words"]
    assert len(words) > 10
    assert all(0 <= word["start"] <= word["end"] <= answer["metadata"]["duration"] for word in words)

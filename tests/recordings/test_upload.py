"""What is sent, again where that may help, and what an error says of it. The service is a server over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

import dgnb
from dgnb.recordings import upload
from dgnb.session.retry import Backoff
from tests.support.service import Act, answer, cut, deaf, says, serving, silent, warnings
from tests.support.tracebacks import awaited, shown
from tests.support.waiting import until

NOISE = np.random.default_rng(0).integers(-9000, 9000, 1_600_000).astype("<i2")
"""100 s that do not compress: more than a socket's buffers hold."""
BUSY = {"err_code": "TOO_MANY_REQUESTS", "err_msg": "Too many requests.", "request_id": "r-1"}
CANARY = "-".join(["canary", "0123456789", "canary"])


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which take no time here."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(round(seconds, 3))

    monkeypatch.setattr(upload, "sleep", sleep)
    monkeypatch.setattr(Backoff, "random", random.Random(7))
    return waited


async def sent(url: str, source: Any = None, **how: Any) -> dgnb.Transcript:
    return await dgnb.transcribe_file((16_000, NOISE[:16_000]) if source is None else source, endpoint=url, **how)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"err_code": "Bad Request", "err_msg": "No such thing.", "request_id": "r-1"},
            "'No such thing' (request r-1)",
        ),
        ({"category": "X", "message": "No.", "details": "d", "request_id": "r-1"}, "'No' (request r-1)"),
        ({"error_code": "X", "message": "No.", "request_id": "r-1"}, "'No' (request r-1)"),
        ("UUID parsing failed", "'UUID parsing failed'"),
    ],
)
async def test_each_form_of_an_error_is_read(body: Any, said: str) -> None:
    async with serving(says(400, body)) as service:
        with pytest.raises(dgnb.HandshakeError) as caught:
            await sent(service.url)
    assert f"refused with 400 {said}. A parameter is wrong, or the recording is no audio" in str(caught.value)
    assert len(service.asked) == 1


@pytest.mark.parametrize("how", [{}, {"callback": "https://example.org/in"}])
@pytest.mark.parametrize("body", ["<html>", "", "[1]"])
async def test_an_answer_that_is_none_of_deepgram_s_is_told(body: str, how: dict[str, Any]) -> None:
    async with serving(says(200, body)) as service:
        with pytest.raises(dgnb.HandshakeError, match="something else than Deepgram does"):
            await sent(service.url, **how)


async def test_tls_is_checked_and_a_key_goes_to_nobody_else(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with serving(ssl=context) as service:
        await sent(service.url, ssl=tmp_path / "authority.pem", api_key=CANARY)
        with pytest.raises(dgnb.HandshakeError, match="is not trusted"):
            await sent(service.url, api_key=CANARY)
        with pytest.raises(dgnb.HandshakeError, match="can't be reached by way of the proxy"):
            await sent("wss://transcribe.invalid", api_key=CANARY, proxy="http://user:word@127.0.0.1:9")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "Is the key complete"),
        (402, "no credit left"),
        (403, "no access to this model"),
        (404, "Is the endpoint the right one"),
        (405, "Is the endpoint the right one"),
        (413, "too large: split it"),
        (414, "fewer terms"),
        (504, "ten minutes at most"),
        (301, "does not follow redirects"),
    ],
)
async def test_what_would_fail_again_is_not_sent_again(status: int, told: str) -> None:
    async with serving(says(status, "no", Location="/elsewhere")) as service:
        with pytest.raises(dgnb.HandshakeError, match=told) as caught:
            await sent(service.url, api_key=CANARY)
    assert len(service.asked) == 1
    assert isinstance(caught.value, dgnb.AuthenticationError) == (status in (401, 403))


async def test_a_server_that_is_overloaded_gets_the_whole_file_again_after_waits_with_jitter(
    waits: list[float], tmp_path: Path, wav: Callable[..., bytes]
) -> None:
    (tmp_path / "talk.wav").write_bytes(wav(NOISE))
    acts = (says(429, BUSY, **{"Retry-After": "7"}), says(408, "SLOW_UPLOAD"), says(503, "busy"))
    async with serving(*acts) as service:
        transcript = await sent(service.url, tmp_path / "talk.wav")
    expected, rng = [], random.Random(7)
    for tries in range(3):
        jitter = rng.uniform(0, 0.5 * 2**tries)
        expected.append(round(7 + rng.uniform(0, 0.5) if tries == 0 else jitter, 3))
    assert waits == expected
    assert service.asked[-1].digest == hashlib.sha256(wav(NOISE)).hexdigest()
    assert service.asked[-1].headers["Content-Length"] == str(len(wav(NOISE)))
    told = warnings(transcript)
    assert [text.split(". ")[-1] for text in told] == [f"Sent again after {wait:.1f} s." for wait in waits]
    assert "billed" not in "".join(told)


async def test_a_storm_of_429_ends_after_four_tries() -> None:
    async with serving(*[says(429, BUSY)] * 9) as service:
        with pytest.raises(dgnb.HandshakeError, match=r"send fewer at a time\. Tried 4 times\.") as caught:
            await sent(service.url)
    assert (len(service.asked), caught.value.status, caught.value.request_id) == (4, 429, "r-1")


async def test_a_wait_that_is_too_long_is_the_caller_s_to_make(waits: list[float]) -> None:
    async with serving(says(429, BUSY, **{"Retry-After": "3600"})) as service:
        with pytest.raises(dgnb.HandshakeError, match="asks for a wait of 3600 s"):
            await sent(service.url)
    assert waits == []


async def test_a_cut_upload_is_begun_anew() -> None:
    async with serving(cut) as service:
        transcript = await sent(service.url, (16_000, NOISE))
    assert service.asked[1].size == int(service.asked[1].headers["Content-Length"]) > 1_000_000
    assert transcript.text == "hello world"
    assert "broke the connection off" in warnings(transcript)[0]
    assert "billed" not in warnings(transcript)[0]


async def test_an_upload_that_nobody_takes_is_given_up_and_counts_silence_only() -> None:
    async with serving(*[deaf] * 4) as service:
        with pytest.raises(dgnb.HandshakeError, match=r"took no byte for 0.1 s, after \d.\d of .* MB sent") as caught:
            # More than the buffers of the system take.
            await sent(service.url, (16_000, np.tile(NOISE, 10)), timeout=0.1, reduce=False)
    assert "billed" not in str(caught.value)

    async def slow(request: Any) -> Any:
        for _ in range(8):
            await asyncio.sleep(0.05)
            await request.content.readany()
        return await says(200, answer())(request)

    async with serving(slow) as service:
        await sent(service.url, (16_000, np.tile(NOISE, 10)), timeout=0.3, reduce=False)
    assert len(service.asked) == 1


async def test_no_answer_after_the_upload_is_tried_once_more_and_the_bill_is_told() -> None:
    async with serving(silent) as service:
        transcript = await sent(service.url, timeout=0.1)
    assert "It may be billed twice: the first try was sent as a whole." in warnings(transcript)[0]
    async with serving(silent, silent, silent) as service:
        with pytest.raises(dgnb.CloseTimeout, match="It was sent 2 times as a whole, and each may be billed"):
            await sent(service.url, timeout=0.1)
    assert len(service.asked) == 2


async def test_cancelling_ends_the_request_at_once() -> None:
    async with serving(silent) as service:
        task = asyncio.create_task(sent(service.url))
        await until(lambda: service.asked)
        task.cancel()
        async with asyncio.timeout(0.5):
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: service.asked[0].gone)


async def test_cancelling_ends_the_reduction_too(
    tmp_path: Path, wav: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "talk.wav").write_bytes(wav(np.tile(NOISE, 20).reshape(-1, 2), 96_000))
    async with serving() as service:
        task = asyncio.create_task(sent(service.url, tmp_path / "talk.wav"))
        await until(lambda: list(tmp_path.glob("dgnb-*/sound.flac")))
        task.cancel()
        async with asyncio.timeout(0.5):
            with pytest.raises(asyncio.CancelledError):
                await task
    assert not service.asked
    assert os.listdir(tmp_path) == ["talk.wav"]


async def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path, wav: Callable[..., bytes]) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(NOISE))

    async def shrink(request: Any) -> Any:
        path.write_bytes(wav(NOISE)[:400_000])
        return await says(200)(request)

    async with serving(shrink) as service:
        with pytest.raises(dgnb.AudioError, match="became shorter while it was sent"):
            await sent(service.url, path)


ACTS: list[tuple[str, tuple[Act, ...]]] = [
    ("refused", (says(401, {"err_code": "INVALID_AUTH", "err_msg": f"Token {CANARY}", "request_id": CANARY}),)),
    ("cut", (cut,) * 4),
    ("silent", (silent,) * 2),
]


@pytest.mark.parametrize("acts", [acts for _, acts in ACTS], ids=[name for name, _ in ACTS])
async def test_no_error_shows_the_key(acts: tuple[Act, ...]) -> None:
    async with serving(*acts) as service:
        with pytest.raises(dgnb.DgnbError) as caught:
            await awaited(dgnb.transcribe_file, (16_000, NOISE), endpoint=service.url, api_key=CANARY, timeout=0.2)
        assert service.asked[0].headers["Authorization"] == f"Token {CANARY}"
    assert CANARY not in shown(caught.value)


async def test_a_request_that_is_cancelled_shows_no_key() -> None:
    async with serving(silent) as service:
        call = awaited(dgnb.transcribe_file, (16_000, NOISE), endpoint=service.url, api_key=CANARY)
        task = asyncio.create_task(call)
        await until(lambda: service.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert CANARY not in shown(caught.value)

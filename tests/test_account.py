"""Temporary tokens and the list of models, from a server over a real socket."""

from __future__ import annotations

import pytest

import dgnb
from tests.support.service import says, serving, silent
from tests.support.tracebacks import awaited, shown

CANARY = "-".join(["canary", "0123456789", "canary"])
GRANTED = {"access_token": CANARY, "expires_in": 60}
LISTED = {
    "stt": [
        {
            **{
                "name": "general",
                "canonical_name": "nova-3-general",
                "architecture": "nova-3",
                "version": "2026-01-01",
            },
            **{"languages": ["en", "de"], "uuid": "u-1", "batch": True, "streaming": False, "formatted_output": True},
        },
        {"name": "own", "uuid": "u-2"},
    ],
    "tts": [
        {"name": "asteria", "canonical_name": "aura-asteria-en", "languages": ["en"], "metadata": {"age": "adult"}}
    ],
}


async def test_a_token_is_granted_and_opens_requests_and_nothing_shows_it() -> None:
    async with serving(says(200, GRANTED), says(200, LISTED)) as service:
        token = await dgnb.grant_token(ttl=60, endpoint=service.url, api_key="key-of-a-member")
        await dgnb.models(endpoint=service.url, access_token=token)
    assert (service.asked[0].path, service.asked[0].headers["Authorization"]) == (
        "/v1/auth/grant",
        "Token key-of-a-member",
    )
    assert service.asked[1].headers["Authorization"] == f"Bearer {CANARY}"
    assert f"{token} {token!r} {token.expires_in}" == "<access token, valid for 60 s> " * 2 + "60.0"


async def test_the_models_are_a_table() -> None:
    async with serving(says(200, LISTED)) as service:
        models = await dgnb.models(endpoint=service.url)
    assert list(models) == [
        *("name", "canonical_name", "architecture", "languages", "version", "uuid", "batch", "streaming", "kind"),
    ]
    assert models.kind.tolist() == ["stt", "stt", "tts"]
    assert models.languages.tolist() == [["en", "de"], [], ["en"]]
    assert models.query("streaming == False").canonical_name.tolist() == ["nova-3-general"]
    assert models.batch.isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, {"err_code": "FORBIDDEN", "err_msg": "no"}, "whose role is Member"),
        (200, "<html>", "something else than Deepgram does"),
        (200, {"expires_in": 3}, "something else than Deepgram does"),
    ],
)
async def test_a_grant_that_fails_says_why(status: int, body: object, told: str) -> None:
    async with serving(says(status, body)) as service:
        with pytest.raises(dgnb.HandshakeError, match=told):
            await dgnb.grant_token(endpoint=service.url, api_key="key-of-a-guest")


async def test_a_wrong_ttl_is_an_error_before_anything_is_sent() -> None:
    for wrong in (0, -1, 1.5, "soon", None, True):
        with pytest.raises(dgnb.ConfigurationError, match="ttl is a whole number of seconds"):
            await dgnb.grant_token(ttl=wrong, endpoint="ws://127.0.0.1:9")  # type: ignore[arg-type]


async def test_an_error_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgnb.account._WITHIN", 0.1)
    async with serving(says(401, f"no {CANARY}"), silent) as service:
        for _ in range(2):
            with pytest.raises(dgnb.HandshakeError) as caught:
                await awaited(dgnb.models, endpoint=service.url, api_key=CANARY)
            assert CANARY not in shown(caught.value)

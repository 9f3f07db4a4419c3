from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from deepgram.core.api_error import ApiError

from dgnb.loopback import Script
from dgnb.loopback.account import Credentials
from tests.loopback.test_sdk import open_client
from tests.support.faulty import FaultyServer


async def test_the_official_client_is_granted_a_token_that_lets_it_in() -> None:
    async with FaultyServer(Script("Hello"), token="secret") as server:
        async with open_client(server) as client:
            granted = await client.auth.v1.tokens.grant(ttl_seconds=60)
        assert granted.expires_in == 60
        async with open_client(server, access_token=granted.access_token) as guest:
            models = await guest.manage.v1.models.list()
            assert [(model.name, model.batch, model.streaming) for model in models.stt or ()] == [
                ("script", True, True)
            ]
            with pytest.raises(ApiError) as raised:
                await guest.auth.v1.tokens.grant()
        assert raised.value.status_code == 403


async def test_a_token_is_good_until_its_time_is_over() -> None:
    now = 100.0
    credentials = Credentials("secret", lambda: now)

    class Request:
        def __init__(self) -> None:
            self.headers = {"Authorization": "Token secret"}

        async def read(self) -> bytes:
            return b'{"ttl_seconds": 5}'

    response: Any = await credentials.grant(Request())  # type: ignore[arg-type]
    token = json.loads(response.body)["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    now = 104.9
    credentials.check(bearer)
    now = 105.0
    with pytest.raises(Exception, match="has expired"):
        credentials.check(bearer)


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"ttl_seconds": 0}', b'{"ttl_seconds": "soon"}', b'{"ttl_seconds": 4000}']
)
async def test_a_wrong_time_to_live_is_refused(body: bytes) -> None:
    async with FaultyServer(Script("Hello"), token="secret") as server:
        url = server.url.replace("ws", "http", 1) + "/v1/auth/grant"
        headers = {"Authorization": "Token secret"}
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
            assert response.status == 400

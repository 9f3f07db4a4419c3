from __future__ import annotations

import aiohttp
import pytest
from deepgram.core.api_error import ApiError

from dgnb.loopback import Script
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
    async with FaultyServer(Script("Hello"), token="secret") as server:
        async with open_client(server) as client:
            token = (await client.auth.v1.tokens.grant(ttl_seconds=60)).access_token
        async with open_client(server, access_token=token) as guest:
            server.ahead = 59
            await guest.manage.v1.models.list(include_outdated=True)
            server.ahead = 61
            with pytest.raises(ApiError, match="has expired"):
                await guest.manage.v1.models.list()
        async with open_client(server, api_key=token) as guest:
            server.ahead = 0
            with pytest.raises(ApiError, match="Invalid credentials"):
                await guest.manage.v1.models.list()


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"ttl_seconds": 0}', b'{"ttl_seconds": "soon"}', b'{"ttl_seconds": 4000}']
)
async def test_a_wrong_time_to_live_is_refused(body: bytes) -> None:
    async with FaultyServer(Script("Hello"), token="secret") as server:
        url = server.url.replace("ws", "http", 1) + "/v1/auth/grant"
        headers = {"Authorization": "Token secret"}
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
            assert response.status == 400

"""What the server says of itself and of keys: `/v1/auth/grant`, which gives temporary tokens, and `/v1/models`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from dgnb.exceptions import ConfigurationError
from dgnb.loopback.engines import Engine
from dgnb.loopback.handshake import Refusal, check_credential, credential
from dgnb.values import whole

_DEFAULT: Final = 30
_LONGEST: Final = 3600
"""Seconds that a token may live. The service's own limit is not documented."""


class Credentials:
    """The key of the server, or None for any, and the tokens that it has granted."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.token = token
        self._clock = clock
        self._granted: dict[str, float] = {}

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse with 401 a request without a key or a granted token that is still good."""
        scheme, key = credential(headers)
        until = self._granted.get(key)
        if until is None or scheme != "bearer":
            check_credential(headers, self.token)
        elif until <= self._clock():
            raise Refusal(401, "INVALID_AUTH", "The token has expired: ask for another one.")

    async def grant(self, request: web.Request) -> web.Response:
        """Answer `POST /v1/auth/grant`: a token for a number of seconds."""
        self.check(request.headers)
        if credential(request.headers)[1] in self._granted:
            raise Refusal(403, "FORBIDDEN", "Insufficient permissions: a token can't ask for a token. Use the key.")
        try:
            body = json.loads(await request.read() or b"{}")
            rule = f"ttl_seconds is a whole number from 1 to {_LONGEST}"
            seconds = whole(rule, body.get("ttl_seconds", _DEFAULT), 1, _LONGEST)
        except (ValueError, AttributeError, ConfigurationError) as error:
            raise Refusal(400, "Bad Request", str(error)) from None
        now = self._clock()
        self._granted = {token: until for token, until in self._granted.items() if until > now - _LONGEST}
        token = secrets.token_urlsafe(48)
        self._granted[token] = now + seconds
        return web.json_response({"access_token": token, "expires_in": seconds})


def models(engine: Engine) -> dict[str, Any]:
    """The answer to `GET /v1/models`: the one that runs here, by its own name."""
    info = engine.info
    model = {
        "name": info.name,
        "canonical_name": info.name,
        "architecture": info.arch,
        "languages": list(engine.languages or ()),
        "version": info.version,
        "uuid": info.uuid,
        "batch": True,
        "streaming": True,
        "formatted_output": False,
    }
    return {"stt": [model], "tts": []}

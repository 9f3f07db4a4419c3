"""What the service says of an account: a temporary access token, and the models that there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dgnb.connection.http import ask
from dgnb.endpoints import Endpoint, Secret, choose, hidden
from dgnb.exceptions import HandshakeError
from dgnb.values import whole

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AccessToken", "grant_token", "models"]

_WITHIN: Final = 30.0  # Seconds for an answer


class AccessToken(Secret):
    """What `access_token=` takes, and no repr shows. `expires_in`: for so many seconds it opens connections."""

    __slots__ = ("expires_in",)

    def __init__(self, value: str, expires_in: float) -> None:
        super().__init__(value)
        self.expires_in = expires_in

    def __repr__(self) -> str:
        return f"<access token, valid for {self.expires_in:g} s>"

    __str__ = __repr__


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float


class _Model(msgspec.Struct):
    name: str | None = None
    canonical_name: str | None = None
    architecture: str | None = None
    languages: list[str] = []
    version: str | None = None
    uuid: str | None = None
    batch: bool | None = None
    streaming: bool | None = None


class _Models(msgspec.Struct):
    stt: list[_Model] = []
    tts: list[_Model] = []


async def grant_token(
    ttl: int = 30,
    *,
    endpoint: Any = None,
    api_key: Any = None,
    access_token: Any = None,
    ssl: Any = None,
    proxy: Any = None,
) -> AccessToken:
    """Ask for a temporary access token, as `POST /v1/auth/grant` gives it to a key with the role Member or higher.

    It opens connections for `ttl` seconds, to hand it to a browser or to another person; what is open stays open. Give
    more than 30 s for the upload of recordings. The arguments from `endpoint` on are as in
    `LiveSession`. Cancelling ends the request.

    Raises:
        ConfigurationError: An argument is wrong; nothing was sent.
        HandshakeError: The server was not reached, or refused; `AuthenticationError` for the key.

    Example:
        ```python
        token = await dgnb.grant_token(ttl=60)
        await dgnb.transcribe("talk.wav", access_token=token)
        ```
    """
    endpoint, api_key, access_token, proxy = hidden(endpoint, api_key, access_token, proxy)
    chosen = choose(endpoint, api_key, access_token, ssl, proxy)
    body = {"ttl_seconds": whole("ttl is a whole number of seconds from 1 on", ttl)}
    granted = await _asked(_Granted, chosen, "POST", "/v1/auth/grant", body, request="grant")
    return AccessToken(granted.access_token, granted.expires_in)


async def models(
    *, endpoint: Any = None, api_key: Any = None, access_token: Any = None, ssl: Any = None, proxy: Any = None
) -> pd.DataFrame:
    """The models that the service lists, as `GET /v1/models` does: one row each. Arguments and errors: `grant_token`.

    Columns: `name`, `canonical_name` (what `model=` takes), `architecture`, `languages` (a list), `version`, `uuid`,
    `batch` and `streaming` (whether `transcribe_file` and `transcribe` may use it, or NA), `kind` (`stt` for speech to
    text, `tts` for the reverse). The service does not list Flux.

    Example:
        ```python
        known = await dgnb.models()
        known.query("kind == 'stt' and streaming")
        ```
    """
    endpoint, api_key, access_token, proxy = hidden(endpoint, api_key, access_token, proxy)
    chosen = choose(endpoint, api_key, access_token, ssl, proxy)
    found = await _asked(_Models, chosen, "GET", "/v1/models")
    from dgnb import frames

    rows = [(*msgspec.structs.astuple(model), kind) for kind in ("stt", "tts") for model in getattr(found, kind)]
    return frames.rows(frames.MODELS, rows)


async def _asked(
    kind: type[Any], endpoint: Endpoint, verb: str, path: str, body: object = None, request: str = ""
) -> Any:
    how: Any = {"body": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}} if body else {}
    endpoint = await endpoint.locate()
    try:
        async with asyncio.timeout(_WITHIN):
            answer = await ask(endpoint, verb, path, request=request, **how)
        return msgspec.json.decode(answer, type=kind)
    except TimeoutError:
        problem = f"gave no answer within {_WITHIN:g} s. Is the network there?"
    except msgspec.MsgspecError:
        problem = "answered with something else than Deepgram does. Is endpoint right?"
    raise HandshakeError(f"{endpoint.name} {problem}")

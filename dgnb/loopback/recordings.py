"""`POST /v1/listen`: a recording as a whole, with the answer that Deepgram documents for one.

The engine of the live streams hears it, in a thread. It has no part that summarizes or finds topics: what it can't do
stands in `metadata.warnings`, as Deepgram does with what a language does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean
from typing import IO, Any, Final
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, uuid5

import aiohttp
import msgspec
from aiohttp import web

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.loopback.engines import Engine
from dgnb.loopback.handshake import Refusal
from dgnb.loopback.intake import Undecodable, decode
from dgnb.loopback.recognizer import Recognizer
from dgnb.messages import Metadata, Results, Word
from dgnb.options import LiveOptions, PrerecordedOptions, fields_of

MOST_BYTES: Final = 2_000_000_000
_SLOW: Final = 20.0  # s without a byte of an upload
_LOOK: Final = 0.25  # s between two looks at whether the client is still there
_CHUNK: Final = 1 << 16
_REDIRECTS: Final = 5
_PARAGRAPH: Final = 2.0  # s of silence that begin a paragraph
_SENTENCES: Final = 5  # in a paragraph, at most

_HEARD: Final = (
    *("language", "smart_format", "punctuate", "diarize", "diarize_model", "multichannel"),
    *("encoding", "sample_rate", "channels"),
)
"""The options that this server takes over from those of a live stream."""
_HONOURED: Final = {*_HEARD, "model", "utterances", "utt_split", "paragraphs", "tag"}
_CORRUPT: Final = "Bad Request: failed to process audio: corrupt or unsupported data"


def parse_recorded(query: Sequence[tuple[str, str]]) -> PrerecordedOptions:
    """The options of a query. Refuses with 400 what is unknown or wrong."""
    known = fields_of(PrerecordedOptions).keys()
    for name, value in query:
        if name not in known:
            raise Refusal(400, "Bad Request", f"Unknown parameter {name!r}.{nearest(name, [*known])}")
        if name == "extra" and ":" not in value:
            raise Refusal(400, "Bad Request", f"extra={value!r} is not of the form 'key:value'.")
    try:
        options = PrerecordedOptions.from_query(query)
    except ConfigurationError as error:
        raise Refusal(400, "Bad Request", str(error)) from None
    if options.callback:
        raise Refusal(400, "Bad Request", "This server sends no results elsewhere: leave out callback.")
    return options


async def received(request: web.Request, private: bool) -> tuple[IO[bytes], str]:
    """The recording that a request holds or names, in a file, and its SHA-256. `private` takes any address."""
    if request.content_type != "application/json":
        body = request.content.iter_chunked(_CHUNK)
        return await _kept(body, request.content_length or 0, Refusal(408, "SLOW_UPLOAD", "Request upload timeout."))
    try:
        url = json.loads(await request.read())["url"]
        parts = urlsplit(url)
        _ = parts.port
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Refusal(400, "INVALID_JSON", 'The body is JSON of the form {"url": "https://…"}.') from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refusal(400, "REMOTE_CONTENT_ERROR", "The URL is no http or https address.")
    return await _fetched(url, private)


async def _fetched(url: str, private: bool) -> tuple[IO[bytes], str]:
    connector = aiohttp.TCPConnector(resolver=None if private else _Public())
    timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=_SLOW)
    slow = Refusal(400, "REMOTE_CONTENT_ERROR", "The host of the URL does not answer.")
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            for _ in range(_REDIRECTS):
                # aiohttp asks no resolver for an address in numbers.
                if not private and not _is_public(urlsplit(url).hostname or ""):
                    raise OSError("it is not publicly routable")
                async with session.get(url, allow_redirects=False) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        url = str(response.url.join(type(response.url)(response.headers.get("Location", ""))))
                        continue
                    response.raise_for_status()
                    return await _kept(response.content.iter_chunked(_CHUNK), response.content_length or 0, slow)
            raise OSError("too many redirects")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Refusal(400, "REMOTE_CONTENT_ERROR", f"The URL can't be fetched: {error}.") from None


def _is_public(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_global
    return True


class _Public(aiohttp.ThreadedResolver):
    """Resolves names to public addresses alone: a page must not have this machine's own network read."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await super().resolve(host, port, family)
        if not all(_is_public(one["host"]) for one in found):
            raise OSError("it is not publicly routable")
        return found


async def _kept(body: AsyncIterator[bytes], said: int, slow: Refusal) -> tuple[IO[bytes], str]:
    digest, size = hashlib.sha256(), 0
    too_large = Refusal(413, "PAYLOAD_TOO_LARGE", f"At most {MOST_BYTES / 1e9:g} GB are taken.")
    if said > MOST_BYTES:
        raise too_large
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        while True:
            try:
                async with asyncio.timeout(_SLOW):
                    data = await anext(body, b"")
            except TimeoutError:
                raise slow from None
            if not data:
                break
            size += len(data)
            if size > MOST_BYTES:
                raise too_large
            digest.update(data)
            await asyncio.to_thread(file.write, data)
        if not size:
            raise Refusal(400, "Bad Request", f"{_CORRUPT}: there is no audio in the request")
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, digest.hexdigest()


async def answer(
    request: web.Request, options: PrerecordedOptions, engine: Engine, request_id: str, private: bool
) -> web.Response:
    """Hear a recording and answer. A client that leaves ends the work."""
    created = datetime.now(UTC)
    file, digest = await received(request, private)
    left = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(_heard, options, engine, file, left))
    try:
        while not (await asyncio.wait({work}, timeout=_LOOK))[0]:
            if request.transport is None or request.transport.is_closing():
                raise Refusal(499, "CLIENT_CLOSED_REQUEST", "The client has left.")
        channels, told = work.result()
    except Undecodable as error:
        raise Refusal(400, "Bad Request", f"{_CORRUPT} ({error})") from None
    finally:
        left.set()
        await asyncio.wait({work})
        file.close()
    metadata: dict[str, Any] = {
        **msgspec.to_builtins(told),
        "request_id": request_id,
        "sha256": digest,
        "created": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    metadata.pop("type")
    if options.tag:
        metadata["tags"] = list(options.tag)
    if said := options.extra.get("extra"):
        metadata["extra"] = dict(one.split(":", 1) for one in ([said] if isinstance(said, str) else said))
    ignored = [name for name in options.changed() if name not in _HONOURED and name != "extra"]
    if ignored:
        metadata["warnings"] = [
            {"parameter": name, "type": "unsupported", "message": f"{name} has no effect at this server."}
            for name in ignored
        ]
    return web.json_response(
        {"metadata": metadata, "results": _results(options, channels, request_id)},
        headers={"dg-request-id": request_id},
    )


def _heard(
    options: PrerecordedOptions, engine: Engine, file: IO[bytes], left: threading.Event
) -> tuple[list[list[Word]], Metadata]:
    """The words of each channel, and the `Metadata` of the stream that they come from. Runs in a thread."""
    given = {name: getattr(options, name) for name in _HEARD}
    live = LiveOptions(**given, endpointing=round(options.utt_split * 1000))
    recognizer = Recognizer(engine, live)
    channels: dict[int, list[Word]] = {}

    def data() -> Iterator[bytes]:
        while not left.is_set() and (chunk := file.read(_CHUNK)):
            yield chunk

    def take(messages: Sequence[Any]) -> None:
        for message in messages:
            if isinstance(message, Results) and message.is_final:
                channels.setdefault(message.channel_index[0], []).extend(message.words)

    for pieces in decode(live, data()):
        take(recognizer.feed(pieces))
        if left.is_set():
            break
    *last, told = recognizer.close()
    take(last)
    assert isinstance(told, Metadata)
    return [channels.get(index, []) for index in range(told.channels or 1)], told


def _results(options: PrerecordedOptions, channels: list[list[Word]], request_id: str) -> dict[str, Any]:
    paragraphs = options.paragraphs or options.smart_format
    found: dict[str, Any] = {"channels": []}
    for words in channels:
        alternative = _said(words)
        if paragraphs:
            alternative["paragraphs"] = _paragraphs(words)
        found["channels"].append({"alternatives": [alternative]})
    if options.utterances:
        found["utterances"] = [
            {
                "start": stretch[0].start,
                "end": stretch[-1].end,
                "channel": index,
                **_said(stretch),
                **({} if stretch[0].speaker is None else {"speaker": stretch[0].speaker}),
                "id": str(uuid5(NAMESPACE_OID, f"{request_id}/{index}/{number}")),
            }
            for index, words in enumerate(channels)
            for number, stretch in enumerate(_split(words, options.utt_split))
        ]
    return found


def _said(words: Sequence[Word]) -> dict[str, Any]:
    confidences = [word.confidence or 0.0 for word in words]
    return {
        "transcript": _text(words),
        "confidence": round(fmean(confidences), 6) if confidences else 0.0,
        "words": msgspec.to_builtins(words),
    }


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.punctuated_word or word.word for word in words)


def _split(words: Sequence[Word], pause: float) -> list[list[Word]]:
    """The stretches of words with less than a pause, in seconds, between them."""
    stretches: list[list[Word]] = [[words[0]]] if words else []
    for before, word in pairwise(words):
        if word.start - before.end >= pause:
            stretches.append([])
        stretches[-1].append(word)
    return stretches


def _paragraphs(words: Sequence[Word]) -> dict[str, Any]:
    paragraphs: list[list[list[Word]]] = []
    for stretch in _split(words, _PARAGRAPH):
        sentences: list[list[Word]] = [[]]
        for word in stretch:
            sentences[-1].append(word)
            if (word.punctuated_word or word.word).endswith((".", "?", "!")):
                sentences.append([])
        sentences = [sentence for sentence in sentences if sentence]
        paragraphs += [sentences[at : at + _SENTENCES] for at in range(0, len(sentences), _SENTENCES)]
    found = [
        {
            "sentences": [{"text": _text(one), "start": one[0].start, "end": one[-1].end} for one in sentences],
            **({} if sentences[0][0].speaker is None else {"speaker": sentences[0][0].speaker}),
            "num_words": sum(map(len, sentences)),
            "start": sentences[0][0].start,
            "end": sentences[-1][-1].end,
        }
        for sentences in paragraphs
    ]
    texts = [" ".join(_text(one) for one in sentences) for sentences in paragraphs]
    return {"transcript": "\n\n".join(texts), "paragraphs": found}

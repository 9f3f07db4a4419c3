"""`POST /v1/listen`: a recording as a whole, with the answer that Deepgram documents for one.

The engine of the live streams hears it, in a thread. It has no part that summarizes or finds topics: what it can't do
stands in `metadata.warnings`, as Deepgram does with what a language does not have.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean
from typing import IO, Any, Final
from uuid import NAMESPACE_OID, uuid5

import aiohttp
import msgspec
from aiohttp import web

from dgnb.loopback.engines import Engine
from dgnb.loopback.handshake import Refusal
from dgnb.loopback.intake import Undecodable, decode
from dgnb.loopback.recognizer import Recognizer
from dgnb.messages import Results, Word
from dgnb.options import LiveOptions, PrerecordedOptions

MOST_BYTES: Final = 2_000_000_000
_SLOW: Final = 20.0  # s without a byte of an upload
_LOOK: Final = 0.25  # s between two looks at whether the client is still there
_CHUNK: Final = 1 << 16
_PARAGRAPH: Final = 2.0  # s of silence that begin a paragraph
_SENTENCES: Final = 5  # in a paragraph, at most

_HONOURED: Final = {
    *("model", "language", "detect_language", "smart_format", "punctuate", "paragraphs", "utterances", "utt_split"),
    *("diarize", "diarize_model", "multichannel", "encoding", "sample_rate", "channels", "tag", "extra"),
}
_CORRUPT: Final = "Bad Request: failed to process audio: corrupt or unsupported data"


class _Remote(msgspec.Struct):
    url: str


async def _received(request: web.Request, private: bool) -> IO[bytes]:
    """The recording that a request holds or names, in a file. With `private`, it may be anywhere."""
    if request.content_type != "application/json":
        try:
            return await _kept(request, request.content, request.content_length or 0)
        except TimeoutError:
            raise Refusal(408, "SLOW_UPLOAD", "Request upload timeout.") from None
    try:
        url = msgspec.json.decode(await request.read(), type=_Remote).url
    except msgspec.DecodeError:
        raise Refusal(400, "INVALID_JSON", 'The body is JSON of the form {"url": "https://…"}.') from None
    connector = aiohttp.TCPConnector(socket_factory=None if private else _public_socket)
    timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=_SLOW)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, raise_for_status=True) as session,
            session.get(url, max_redirects=5) as response,
        ):
            return await _kept(request, response.content, response.content_length or 0)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        told = f"The URL can't be fetched: {type(error).__name__}: {error}"
        raise Refusal(400, "REMOTE_CONTENT_ERROR", told) from None


def _public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for a public address: a client must not have this machine's own network read.

    It is called for every connection, after the name was resolved: no redirect and no changed name evades it.
    """
    host = ipaddress.ip_address(address[4][0])
    if not (getattr(host, "ipv4_mapped", None) or host).is_global:
        raise OSError("the address is not publicly routable")
    return socket.socket(*address[:3])


def _check_there(request: web.Request) -> None:
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the client has left")


async def _kept(request: web.Request, body: aiohttp.StreamReader, size: int) -> IO[bytes]:
    """A body, of the request or of another one that it asks for, in a temporary file. `size` is what was announced."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        while size <= MOST_BYTES:
            async with asyncio.timeout(_SLOW):
                data = await body.read(_CHUNK)
            if not data:
                file.seek(0)
                return file
            _check_there(request)
            await asyncio.to_thread(file.write, data)
            size = max(size, file.tell())
        raise Refusal(413, "PAYLOAD_TOO_LARGE", f"At most {MOST_BYTES / 1e9:g} GB are taken.")
    except BaseException:
        file.close()
        raise


async def answer(
    request: web.Request, options: PrerecordedOptions, engine: Engine, request_id: str, private: bool
) -> web.Response:
    """Hear a recording and answer. A client that leaves ends the work."""
    left = threading.Event()
    with await _received(request, private) as file:
        work = asyncio.ensure_future(asyncio.to_thread(_heard, options, engine, file, left, request_id))
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK))[0]:
                _check_there(request)
            results, metadata = work.result()
        except Undecodable as error:
            raise Refusal(400, "Bad Request", f"{_CORRUPT} ({error})") from None
        finally:
            left.set()
            await asyncio.gather(work, return_exceptions=True)
    if options.tag:
        metadata["tags"] = list(options.tag)
    if said := request.query.getall("extra", []):
        metadata["extra"] = dict(one.split(":", 1) for one in said)
    honoured = _HONOURED if _detects(engine) else _HONOURED - {"detect_language"}
    asked = dict.fromkeys(name for name, value in request.query.items() if value != "false")
    if ignored := [name for name in asked if name not in honoured]:
        metadata["warnings"] = [
            {"parameter": name, "type": "unsupported", "message": f"{name} has no effect at this server."}
            for name in ignored
        ]
    body = msgspec.json.encode({"metadata": metadata, "results": results})
    return web.Response(body=body, content_type="application/json", headers={"dg-request-id": request_id})


def _detects(engine: Engine) -> bool:
    return engine.languages is None or len(engine.languages) > 1


def _heard(
    options: PrerecordedOptions, engine: Engine, file: IO[bytes], left: threading.Event, request_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`results` and `metadata` of the answer. Runs in a thread."""
    live = LiveOptions(
        **{name: getattr(options, name) for name in ("multichannel", "encoding", "sample_rate", "channels")},
        language="multi" if options.detect_language and _detects(engine) else options.language,
        punctuate=options.punctuated or options.paragraphs,
        diarize=options.diarize or options.diarize_model is not None,
        endpointing=False,
    )
    recognizer = Recognizer(engine, live, request_id=request_id)
    channels: dict[int, list[Word]] = {}

    def data() -> Iterator[bytes]:
        while not left.is_set() and (chunk := file.read(_CHUNK)):
            recognizer.received(chunk)
            yield chunk

    def take(messages: Sequence[Any]) -> None:
        for message in messages:
            if isinstance(message, Results):
                channels.setdefault(message.channel_index[0], []).extend(message.words)

    chunks = data()
    for pieces in decode(live, chunks):
        if left.is_set():
            raise Undecodable("the client has left")
        take(recognizer.feed(pieces))
    if not recognizer.clock:
        raise Undecodable("there is no audio in it")
    # What comes after the audio counts for the digest.
    for _ in chunks:
        pass
    *last, end = recognizer.close()
    take(last)
    metadata = msgspec.to_builtins(end)
    del metadata["type"]
    words = [channels.get(index, []) for index in range(metadata["channels"])]
    return _results(options, words, request_id), metadata


def _results(options: PrerecordedOptions, channels: list[list[Word]], request_id: str) -> dict[str, Any]:
    paragraphs = options.paragraphs or options.smart_format
    found: dict[str, Any] = {"channels": []}
    for words in channels:
        alternative = _said(words)
        if paragraphs:
            alternative["paragraphs"] = _paragraphs(words)
        channel: dict[str, Any] = {"alternatives": [alternative]}
        if languages := [name for name, _ in Counter(word.language for word in words).most_common() if name]:
            alternative["languages"] = languages
            if options.detect_language:
                channel["detected_language"] = languages[0]
        found["channels"].append(channel)
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

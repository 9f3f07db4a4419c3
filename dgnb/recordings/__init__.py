"""Recordings: `transcribe_file()` sends one to `POST /v1/listen` as a whole, and makes a transcript of the answer."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from dgnb.audio import BufferSource, FileSource, URLSource, as_source
from dgnb.audio.reduce import check_size, look, reduced
from dgnb.audio.sound import again
from dgnb.audio.url.fetch import address
from dgnb.audio.url.policy import Policy
from dgnb.endpoints import Endpoint, Secret, choose, hidden
from dgnb.exceptions import ConfigurationError, DgnbError, HandshakeError, SessionStopped, shorten
from dgnb.options import PrerecordedOptions, as_recorded, takes_options
from dgnb.pricing import cost_of, limit_seconds
from dgnb.recordings.upload import Upload
from dgnb.session.live import tell_of_offline
from dgnb.session.progress import shown
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, number

__all__ = ["transcribe_file"]


@functools.partial(takes_options, kind=PrerecordedOptions)
async def transcribe_file(
    source: Any,
    options: PrerecordedOptions | Mapping[str, Any] | None = None,
    *,
    endpoint: str | Endpoint | None = None,
    api_key: str | Secret | None = None,
    access_token: str | Secret | None = None,
    ssl: SSLContext | str | os.PathLike[str] | None = None,
    proxy: str | Secret | Literal[False] | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
    reduce: bool = True,
    max_cost: float | None = None,
    **wire: Any,
) -> Transcript:
    """Transcribe a whole recording by `POST /v1/listen`: an hour takes about a minute, and no stream is open.

    `source` is a path, bytes, an open binary file, a pair such as (16000, array), a `Sound`, or an http(s) address,
    which the service fetches; 2 GB at most. `options` are `PrerecordedOptions`, a mapping, or options by name;
    `utterances` is always asked for. With `callback` the result goes there, and the transcript has `events` only.
    `endpoint` to `proxy` are as in `LiveSession`.

    - `timeout`: seconds without progress after which it is given up. None: 60 while it is sent, and 21 minutes while
      the service works, which gives up earlier itself.
    - `progress`: whether to show how far it is, with a Stop button. None: in a notebook and on a terminal.
    - `reduce`: send only the sound of films, unusual containers and plain samples of high rates, as FLAC at 16 kHz.
      False: send each file as it is.
    - `max_cost` (US$): send nothing if it costs more by `dgnb.prices`.

    Where that may help, the request is sent again, four times in all: the server is overloaded or has a fault, or the
    upload was cut. Where all was sent and no answer came, it is sent once more only, and `transcript.events` says that
    both may be billed. Cancelling ends the request at once; what was sent as a whole may be billed.

    Returns:
        The transcript, as that of a stream, and what else the answer holds. `transcript.audio` is the source.

    Raises:
        ConfigurationError: Source, options or endpoint are wrong, or it costs more than `max_cost`; nothing was sent.
        AudioError: The source can't be read, or is no audio; nothing was sent.
        HandshakeError: The server was not reached, or refused; `AuthenticationError` for the key.
        CloseTimeout: The answer did not come in time.
        SessionStopped: It was stopped by the button.

    Example:
        ```python
        transcript = await dgnb.transcribe_file("talk.mp4", smart_format=True, paragraphs=True)
        transcript.paragraphs
        ```
    """
    endpoint, api_key, access_token, proxy = hidden(endpoint, api_key, access_token, proxy)
    rate = None if "encoding" in wire else wire.pop("sample_rate", None)  # that of an array
    options = dataclasses.replace(as_recorded(options, wire), utterances=True)
    where = choose(endpoint, api_key, access_token, ssl, proxy)
    if timeout is not None:
        timeout = number("timeout is a positive number of seconds, or None", timeout, ABOVE_0)
    if max_cost is not None:
        max_cost = number("max_cost is a number of US$ from 0 on, or None", max_cost, 0.0)
    source = _checked(source, options, rate, where)
    upload = Upload(where, timeout)
    task = asyncio.create_task(_transcribed(source, options, upload, reduce, max_cost), name="dgnb: recording")
    async with shown(upload, progress, task.cancel) as screen:
        try:
            return await task
        except asyncio.CancelledError as error:
            shorten(error)
            if not (screen and screen.stopped):
                raise
    raise SessionStopped(
        f"{source.name} was stopped while {upload.status()}. What was sent as a whole may be billed.",
        transcript=Transcript(),
    )


def _checked(
    given: Any, options: PrerecordedOptions, rate: Any, endpoint: Endpoint
) -> FileSource | BufferSource | URLSource:
    """The source, where it is one that this endpoint can transcribe as a whole."""
    raw: dict[str, Any] = {"encoding": options.encoding, "sample_rate": options.sample_rate or rate}
    source = as_source(given, **raw, channels=options.channels)
    if isinstance(source, FileSource | BufferSource):
        return source
    if not isinstance(source, URLSource) or source.url.partition("?")[0].lower().endswith((".m3u8", ".m3u", ".pls")):
        raise ConfigurationError(
            f"{source.name} is live: transcribe_file() is for recordings, which have an end. Use dgnb.transcribe()."
        )
    if not endpoint.local and Policy(shared=True).objection(address(source.url)):
        raise ConfigurationError(
            f"{source.name} is on this machine or in a private network, where {endpoint.name} can't fetch it. Download "
            "it, and pass the file."
        )
    return source


async def _transcribed(source: Any, options: Any, upload: Upload, reduce: bool, max_cost: float | None) -> Transcript:
    with tempfile.TemporaryDirectory(prefix="dgnb-") as folder:
        sent, query, seconds, channels = source, options.for_audio(None, None, 1), None, 1
        if not isinstance(source, URLSource):
            found = await asyncio.to_thread(look, source)
            upload.size, seconds, channels = found.size, found.length, found.channels
            if not (reduce and found.film):
                check_size(source.name, upload.size)
            if reduce and not (found.plain and (seconds or max_cost is None)):
                sent = FileSource(Path(folder, "sound.flac"))
                seconds, channels = await reduced(source, options.multichannel, sent.path, upload.told)
                upload.size = sent.path.stat().st_size
                check_size(source.name, upload.size)
            elif source.format:
                query = options.for_audio(*dataclasses.astuple(source.format))
        if not upload.endpoint.local:
            _estimate(upload, options, seconds, channels if options.multichannel else 1, max_cost)
        tell_of_offline(upload.endpoint)
        upload.endpoint = await upload.endpoint.locate()
        answer = await upload.post(options.path, query.query(), sent)
    try:
        transcript = await asyncio.to_thread(_read, answer, options.callback)
    except (DgnbError, msgspec.MsgspecError):
        told = f"{upload.endpoint.name} answered with something else than Deepgram does. Is endpoint right?"
        raise HandshakeError(told, status=200) from None
    for kind, text in upload.events:
        transcript.note(kind, text)
    upload.words, transcript.cost = transcript.word_count, upload.cost
    if again(source):
        try:
            await asyncio.to_thread(setattr, transcript, "audio", source)
        except DgnbError as error:
            # The words are paid for.
            transcript.note("warning", str(error))
    return transcript


def _read(answer: bytes, callback: str | None) -> Transcript:
    if not callback:
        return Transcript.from_deepgram_json(answer)
    taken, where = msgspec.json.decode(answer, type=dict[str, Any]), urlsplit(callback)
    transcript, text = Transcript(), f"The result goes to {where.scheme}://{where.hostname}{where.path}, and not here."
    transcript.note("callback", text, request_id=str(taken.get("request_id") or ""))
    return transcript


def _estimate(upload: Upload, options: Any, seconds: float | None, channels: int, max_cost: float | None) -> None:
    """Note what it costs, where that is known. `ConfigurationError`: more than `max_cost`."""
    if max_cost is not None:
        if seconds is None:
            raise ConfigurationError("max_cost needs the length of the recording. Pass a file, and not reduce=False.")
        limit_seconds(options, max_cost, channels)  # says which price is missing
    cost = None if seconds is None else cost_of(options, seconds, channels)
    if cost is None:
        return
    told = f"US${cost:.4f} for {seconds:.1f} s with {options.model}, by dgnb.prices"
    if max_cost is not None and cost > max_cost:
        raise ConfigurationError(f"It costs about {told}, more than max_cost={max_cost:g}. Nothing was sent.")
    upload.cost = cost
    upload.events.append(("cost", f"An estimate: {told}."))

"""`Upload`: the request with a recording, again where that may help, and what is seen of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Sequence
from typing import Any, Final

from dgnb.audio import AudioSource, Note, URLSource
from dgnb.connection.http import ask
from dgnb.endpoints import Endpoint
from dgnb.exceptions import AudioError, CloseTimeout, HandshakeError
from dgnb.notices import clock, escaped, quiet
from dgnb.session.retry import Backoff

_CHUNK: Final = 1 << 17
_TRIES: Final = 4
_SENDING: Final = 60.0  # Seconds in which the server takes no byte
_PROCESSING: Final = 1260.0
"""Seconds without an answer. The service itself gives up after 10 minutes, and with Whisper after 20."""
_LONGEST: Final = 120.0  # Seconds that a server may ask to wait

sleep = asyncio.sleep


class Upload:
    """A recording on its way. `events` are rows for the transcript; `words` is set when it is there."""

    def __init__(self, endpoint: Endpoint, timeout: float | None) -> None:
        self.endpoint = endpoint
        self.events: list[tuple[str, str]] = []
        self.cost: float | None = None  # US$, an estimate
        self.doing = "preparing"
        self.size = self.sent = self.words = 0
        self._timeout = timeout
        self._since = self._now()
        self._clock: asyncio.Timeout | None = None
        self._file: Any = None
        self._broken: AudioError | None = None

    def status(self) -> str:
        """As "3.1 of 55.0 MB sent"."""
        if self.doing == "sending":
            return f"{self.sent / 1e6:.1f} of {self.size / 1e6:.1f} MB sent"
        return f"{self.doing}, {clock(self._now() - self._since)}"

    def markup(self) -> str:
        """The same as HTML, with a bar."""
        bar = f'<progress value="{self.sent / (self.size or 1):.3f}" style="width:10em"></progress> '
        return quiet(f"{bar}{escaped(self.status())}")

    def outcome(self, took: float) -> str:
        """What came of it."""
        return f"{self.words} words in {took:.1f} s · {self.endpoint.name} · transcript.words"

    def do(self, doing: str) -> None:
        """Say what is done from now on."""
        self.doing, self._since = doing, self._now()

    def told(self, news: float | Note) -> None:
        """So many seconds were reduced to their sound; or something is wrong with the recording."""
        if isinstance(news, Note):
            self.events.append((news.type, news.text))
        else:
            self.doing = f"reducing it to its sound ({clock(news)})"

    async def post(self, path: str, query: Sequence[tuple[str, str]], source: AudioSource) -> bytes:
        """Send `size` bytes of a file or a buffer, or an address, up to four times, and return the answer.

        Raises:
            HandshakeError: The server was not reached, or refused, and trying again did not help.
            CloseTimeout: No answer came in time.
            AudioError: The file can't be read any more.
        """
        backoff, tries, heard = Backoff(), 0, 0
        while True:
            fault = await self._once(path, query, source)
            if isinstance(fault, bytes):
                return fault
            tries += 1
            # The server has all of it, and nobody knows what became of it.
            unsure = self.sent == self.size and getattr(fault, "status", None) is None
            heard += unsure
            billed = f" It was sent {heard} times as a whole, and each may be billed." if heard > 1 else ""
            most = 2 if unsure or getattr(fault, "status", None) == 400 else _TRIES
            wait = backoff.next(self._now(), getattr(fault, "retry_after", None))
            if wait > _LONGEST:
                billed += f" The server asks for a wait of {wait:.0f} s: try again then."
            if not getattr(fault, "transient", True) or tries >= most or heard > 1 or wait > _LONGEST:
                told = f" Tried {tries} times." if tries > 1 else ""
                raise type(fault)(f"{fault}{told}{billed}", **vars(fault)) from None
            billing = " It may be billed twice: the first try was sent as a whole." if unsure else ""
            self.events.append(("warning", f"{fault} Sent again after {wait:.1f} s.{billing}"))
            self.do("waiting to try again" + (" (it may be billed twice)" if unsure else ""))
            await sleep(wait)

    async def _once(self, path: str, query: Any, source: Any) -> bytes | Exception:
        self.sent, self._broken, kind = 0, None, "application/octet-stream"
        if isinstance(source, URLSource):
            # In no variable of its own: an address may hold a signature, and tracebacks show variables.
            self._file, kind = io.BytesIO(json.dumps({"url": source.url}).encode()), "application/json"
            self.size = self._file.getbuffer().nbytes
        else:
            self._file = await asyncio.to_thread(source.opened)
        self.do("sending")
        headers = {"Content-Type": kind, "Content-Length": str(self.size)}
        try:
            with contextlib.closing(self._file):
                async with asyncio.timeout(self._timeout or _SENDING) as self._clock:
                    return await ask(
                        self.endpoint, "POST", path, query=query, body=self, headers=headers, request="file"
                    )
        except TimeoutError:
            if self.doing == "sending":
                text = f"{self.endpoint.name} took no byte for {self._timeout or _SENDING:g} s, after {self.status()}."
                return HandshakeError(f"{text} Is the network there?", transient=True)
            text = f"{self.endpoint.name} has all of it, and gave no answer for {self._timeout or _PROCESSING:g} s."
            return CloseTimeout(f"{text} Raise timeout=, or split the recording at a silence.")
        except HandshakeError as error:
            if self._broken:
                raise self._broken from None
            return error

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        assert self._clock
        try:
            data: bytes = await asyncio.to_thread(self._file.read, min(_CHUNK, self.size - self.sent))
        except OSError as error:
            self._broken = AudioError(f"The file can't be read on: {error.strerror}. Send it again.")
            raise
        self._clock.reschedule(self._now() + (self._timeout or _SENDING))
        if data:
            self.sent += len(data)
            return data
        if self.sent < self.size:
            self._broken = AudioError("The file became shorter while it was sent. Send it again when it is complete.")
            raise self._broken
        self.do("processing")
        self._clock.reschedule(self._now() + (self._timeout or _PROCESSING))
        raise StopAsyncIteration

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

"""The thread that reads the web for one source, and asks again when a station ends or breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Final

from dgnb.audio.decode import Decoder, Item
from dgnb.audio.source import SAMPLE_RATE, Note, SourceFormat
from dgnb.audio.threads import no_thread
from dgnb.audio.url import icy, playlist
from dgnb.audio.url.feed import Body, Stretch
from dgnb.audio.url.fetch import Answer, Fetcher, Trouble
from dgnb.audio.url.hls import LARGEST as LARGEST_HLS
from dgnb.audio.url.hls import Hls, Undecodable
from dgnb.exceptions import AudioError

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["MOST_TRIES", "Listener", "backoff"]

MOST_TRIES: Final = 8
"""Tries in a row without audio, after which a station is given up."""

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 10.0
_USE_STREAM: Final = "Use the address of a stream."
_NO_AUDIO: Final = ("application/json", "application/xhtml+xml")
_DEEPEST: Final = 3
_MARK_BYTES: Final = 512
_MOST_LEAD: Final = 60.0
"""Seconds ahead of the clock. No radio is so far ahead: what comes faster is a file."""


def backoff(tries: int, rng: random.Random) -> float:
    """Seconds to wait after so many tries without audio: full jitter, up to 0.5 s, 1 s, 2 s … 10 s."""
    return rng.uniform(0.0, min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** max(0, tries - 1)))


class Ended(Trouble):
    """A live body ended in good order. A radio has no end, so this is still a fault."""


class Sated(Undecodable):
    """The decoder wants no more, and reports no error."""


class Listener:
    """Reads one address in a thread with a loop of its own, and gives bodies to the decoder's thread.

    Args:
        url: The address.
        fetcher: Asks for it.
        name: Of the source.
        reconnect: Ask again when a live body ends.
        wait: Gives the seconds before the next try, after so many in a row without audio.

    Raises:
        AudioError: No thread can be started.
    """

    def __init__(
        self,
        url: URL,
        fetcher: Fetcher,
        name: str,
        *,
        reconnect: bool,
        wait: Callable[[int], float],
    ) -> None:
        self._url = url
        self._fetcher = fetcher
        self._name = name
        self._reconnect = reconnect
        self._wait = wait
        self._hls = Hls(name, self)
        self._bodies: queue.SimpleQueue[Body | AudioError | None] = queue.SimpleQueue()
        self._notes: queue.SimpleQueue[Note] = queue.SimpleQueue()
        self._body: Body | None = None
        self._live = False
        self._brought = False
        self._asked = 0
        self._away: tuple[float, str] | None = None
        self._exact = False
        self._last = time.monotonic()
        self._caller = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            self._loop = asyncio.new_event_loop()
        except OSError as error:
            raise no_thread(name, error) from None
        self._task: asyncio.Task[None] | None = None
        try:
            threading.Thread(target=self._run, name=f"dgnb: read {name}", daemon=True).start()
        except RuntimeError as error:
            self._loop.close()
            raise no_thread(name, error) from None

    # In the decoder's thread

    def decoded(self, raw: SourceFormat | None, multichannel: bool) -> Generator[Item, None, None]:
        """All bodies as one row of chunks.

        Raises:
            AudioError: Nothing could be read, or no more.
        """
        decoder = Decoder(self._name, raw, multichannel=multichannel)
        try:
            while body := (yield from self._next(decoder)):
                try:
                    yield from self._decoded(body, decoder)
                except AudioError as error:
                    body.error = error
                finally:
                    body.finish()
        finally:
            self.stop()

    def _next(self, decoder: Decoder) -> Generator[Item, None, Body | None]:
        given = self._bodies.get()
        if not isinstance(given, Body):
            yield from decoder.rest()
            yield from self._said()
        if isinstance(given, AudioError):
            raise given
        return given

    def _decoded(self, body: Body, decoder: Decoder) -> Generator[Item, None, None]:
        """One body. Where the codec changes, the decoder begins anew with what it did not understand."""
        stretch = Stretch(body.pipe, endless=not body.live)
        heard = -1.0
        while body.heard > heard:
            heard, error = body.heard, None
            try:
                for item in decoder.chunks(stretch, live=body.live, waits=not body.live):
                    if isinstance(item, bytes):
                        seconds = len(item) / (2 * decoder.channels * SAMPLE_RATE)
                        stretch.understood(seconds)
                        if not body.heard and body.away:
                            yield self._back(body, *body.away)
                        body.hear(seconds)
                        yield from self._said()
                    yield item
            except AudioError as raised:
                error = raised
            if not stretch.again():
                break
        if error:
            raise error

    def _back(self, body: Body, since: float, why: str) -> Note:
        seconds = max(0.0, (body.began or since) - since)
        return Note("source", f"reconnected after {seconds:.1f} s: {why}", 0.0 if body.exact else seconds)

    def _said(self) -> Iterator[Note]:
        while not self._notes.empty():
            yield self._notes.get()

    # From any thread

    def stop(self) -> None:
        """End the reading."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so it has ended
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    async def aclose(self) -> None:
        """End the reading, and wait for the thread's end. In the caller's loop."""
        self.stop()
        await self._ended.wait()

    # In the fetching loop

    def _run(self) -> None:
        try:
            self._task = self._loop.create_task(self._listen(), name=f"dgnb: read {self._name}")
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        finally:
            if self._body:
                self._body.pipe.end()
            self._bodies.put(None)
            self._loop.close()
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
                self._caller.call_soon_threadsafe(self._ended.set)

    async def _listen(self) -> None:
        try:
            async with self._fetcher:
                await self._play_on()
        except Exception as error:
            failure = self._fetcher.explain(error)
            self._bodies.put(AudioError(str(failure)))

    async def _play_on(self) -> None:
        tries, heard_ever = 0, False
        while True:
            self._body, self._brought, self._asked = None, False, 0
            try:
                await self._play(self._url, ())
                return
            except Exception as error:
                failure = self._fetcher.explain(error)
            heard = await self._heard()
            heard_ever = heard_ever or heard
            if isinstance(failure, Ended) and not self._reconnect:
                return
            fatal = getattr(failure, "fatal", False)
            if fatal or not (heard_ever and self._live and self._reconnect):
                raise failure
            why = getattr(failure, "reason", str(failure))
            tries = 0 if heard else tries + 1
            if tries >= MOST_TRIES:
                raise Trouble(self._name, f"{tries} tries in a row brought no audio; the last time, {why}")
            if heard or not self._away:
                self._away = (self._last, why)
            await asyncio.sleep(self._wait(tries))

    async def _play(self, url: URL, chain: tuple[URL, ...]) -> None:
        """Follow an address to audio, and pass the audio on to its end.

        Raises:
            Ended: A live body ended.
            Exception: The address can't be read.
        """
        if url in chain:
            raise Trouble(self._name, "its playlist leads back to itself", _USE_STREAM, fatal=True)
        if len(chain) > _DEEPEST:
            raise Trouble(self._name, "its playlist leads to playlists more than three deep", _USE_STREAM, fatal=True)
        self._asked += 1
        if self._asked > playlist.MOST_ENTRIES:
            raise Trouble(self._name, "its playlists name too many addresses", _USE_STREAM, fatal=True)
        answer = await self._fetcher.get(url)
        try:
            start = await answer.start(_MARK_BYTES)
            if playlist.is_playlist(start, answer.kind, answer.url.path):
                await self._playlist(answer, (*chain, url))
            elif answer.kind.startswith(("text/", "image/")) or answer.kind in _NO_AUDIO:
                raise await self._fetcher.not_audio(answer)
            else:
                await self._sound(answer)
        finally:
            answer.close()

    async def _playlist(self, answer: Answer, chain: tuple[URL, ...]) -> None:
        from yarl import URL

        hls = b"#EXT-X-" in await answer.start(_MARK_BYTES)
        data = await self._fetcher.whole(answer, LARGEST_HLS if hls else playlist.LARGEST)
        text = data.decode("utf-8", "replace")
        if playlist.is_hls(text):
            self._exact = True
            await self._hls.play(self._fetcher, text, answer.url)
            await self._decoded_to_the_end()
            return
        named = playlist.entries(data)
        failures: list[AudioError] = []
        for entry in named:
            try:
                await self._play(answer.url.join(URL(entry)), chain)
            except Exception as error:
                if await self._heard():
                    raise
                failures.append(self._fetcher.explain(error))
                continue
            if len(named) > 1:
                text = f"{self._name} is a playlist of {len(named)} addresses; only one of them was read"
                self.note(Note("warning", text))
            return
        if not failures:
            raise Trouble(self._name, "it is a playlist that names no address", _USE_STREAM, fatal=True)
        # A failure that may pass says more than one that never will.
        raise next((failure for failure in failures if not getattr(failure, "fatal", False)), failures[-1])

    async def _sound(self, answer: Answer) -> None:
        """Pass a body on, from its first byte to its last.

        Raises:
            Ended: It was a live body.
            Exception: It broke off, or can't be decoded.
        """
        radio = any(name.lower().startswith("icy-") for name in answer.headers)
        live = radio or answer.length is None
        try:
            strip = icy.Stripper(icy.interval(answer.headers))
        except ValueError as error:
            raise Trouble(self._name, str(error), fatal=True) from None
        await self.begin(live=live)
        position = tries = 0
        while True:
            try:
                while data := await answer.read():
                    position, tries = position + len(data), 0
                    await self.put(strip(data))
                    while strip.titles:
                        self.note(Note("title", strip.titles.pop(0)))
                break
            except Sated:
                if live:
                    raise
                break
            except Undecodable:
                raise
            except Exception as error:
                if live or not self._reconnect:
                    raise
                failure = self._fetcher.explain(error)
            tries += 1
            answer.close()
            answer = await self._resumed(answer, position, tries, failure)
        answer.close()
        body = await self._decoded_to_the_end()
        # A file of unknown length ends with a chunk of zero bytes, and comes as fast as the line allows.
        chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
        whole = chunked and not radio and body.lead > min(_MOST_LEAD, 0.8 * body.heard)
        if live and not whole:
            raise Ended(self._name, "the station ended the stream")

    async def _resumed(self, answer: Answer, position: int, tries: int, failure: AudioError) -> Answer:
        """The rest of a body that broke off."""
        since = self._last
        validator = answer.headers.get("ETag", "")
        if not validator.startswith('"'):
            validator = answer.headers.get("Last-Modified", "")
        extra = {"Range": f"bytes={position}-"} | ({"If-Range": validator} if validator else {})
        reason = getattr(failure, "reason", str(failure))
        while tries <= MOST_TRIES:
            await asyncio.sleep(self._wait(tries))
            try:
                more = await self._fetcher.get(answer.url, **extra)
            except Exception as error:
                failure = self._fetcher.explain(error)
                if getattr(failure, "fatal", False):
                    raise failure from None
                tries += 1
                continue
            if more.status == 206 and more.headers.get("Content-Range", "").startswith(f"bytes {position}-"):
                self.note(Note("source", f"resumed after {time.monotonic() - since:.1f} s: {reason}"))
                return more
            more.close()
            break
        raise Trouble(self._name, f"{reason} (after {position} of {answer.length} bytes), and it can't be resumed")

    # The sink that bodies and segments go into

    async def begin(self, *, live: bool) -> None:
        """Begin a body of its own: the decoder begins anew."""
        if self._body:
            body = await self._decoded_to_the_end()
            if body.heard:
                self._brought, self._away = True, None
        self._live = live
        self._body = Body(live=live, away=self._away, exact=self._exact)
        self._bodies.put(self._body)

    async def put(self, data: bytes) -> None:
        """Add bytes when there is room.

        Raises:
            Undecodable: The decoder gave up.
            Sated: The decoder is done, because the audio itself says where it ends.
        """
        assert self._body
        self._last = time.monotonic()
        if self._body.began is None:
            self._body.began = self._last
        if not await self._body.pipe.put(data):
            await self._decoded_to_the_end()
            raise Sated(f"{self._name} holds no more audio.")

    def note(self, note: Note) -> None:
        """Report something that concerns what comes next."""
        self._notes.put(note)

    async def _decoded_to_the_end(self) -> Body:
        body = self._body
        assert body
        await body.finished()
        error, body.error = body.error, None
        if error:
            raise Undecodable(str(error))
        return body

    async def _heard(self) -> bool:
        """Whether this try brought any audio."""
        if self._body:
            await self._body.finished()
            self._brought = self._brought or bool(self._body.heard)
        return self._brought

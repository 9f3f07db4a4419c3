"""`FileWriter`: the file work of a journal or a recording in threads: a slow disk never holds up the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from dgnb.audio.recording import Recorder
from dgnb.exceptions import DgnbError
from dgnb.transcript import Transcript
from dgnb.transcript.journal import Journal

logger = logging.getLogger("dgnb")

T = TypeVar("T")


class FileWriter:
    """Opens, writes and closes a file, a step at a time and in order. `kind` is for people; `make` runs in a thread.

    It opens after the `former` writer of the same file has closed it.
    """

    def __init__(
        self,
        kind: str,
        make: Callable[[], Journal | Recorder],
        transcript: Transcript,
        former: FileWriter | None = None,
    ) -> None:
        self._kind = kind
        self._former = former
        self._make = make
        self._transcript = transcript
        self._file: Any = None
        self._step: asyncio.Future[Any] | None = None
        self._told = ""
        self._failing = False

    async def open(self) -> None:
        """Make the file. Cancelling stops the waiting; `close` then waits for the file."""
        if self._former and (last := self._former._step) and not last.done():
            self._step = last  # Whoever comes after a cancelled opening waits for it, too.
            await asyncio.wait({last})
        self._former = None
        self._step = _in_thread(self._made)
        await asyncio.shield(self._step)
        if moved := self._file.moved:
            self._transcript.note("warning", f"The {self._kind} that was there before is now {moved.name}.")

    def _made(self) -> None:
        self._file = self._make()

    def write(self) -> None:
        """Begin to write what is new, unless the last write still goes on."""
        if self._step and self._step.done() and (file := self._file):
            self._step = self._begun(partial(file.write, file.take()))

    def _begun(self, work: Callable[[], str]) -> asyncio.Future[str]:
        step = _in_thread(work)
        step.add_done_callback(self._tell)
        return step

    async def close(self, deadline: float) -> None:
        """Write what is new, and close the file. After `deadline`, on the loop's clock, this goes on by itself."""
        if self._step:
            closing = self._step = asyncio.create_task(self._close(self._step), name=f"dgnb: close the {self._kind}")
            seconds = max(0.0, deadline - asyncio.get_running_loop().time())
            done, _ = await asyncio.wait({closing}, timeout=seconds)
            if not done:
                self._report(f"The disk is slow: the {self._kind} is still being written.")

    async def _close(self, last: asyncio.Future[Any]) -> None:
        await asyncio.wait({last})
        if file := self._file:
            batch, done = file.take(), False
            while not done:
                step = self._begun(partial(file.write, batch))
                await asyncio.wait({step})
                batch = file.take()
                done = step.exception() is not None or not batch[0]
            await asyncio.wait({self._begun(partial(file.write, batch, last=True))})

    def _tell(self, step: asyncio.Future[str]) -> None:
        """Report, once, what others did to the file, a disk that takes no more, and that it takes more again."""
        error = step.exception()
        unknown = f"The {self._kind} can't be written: {error!r}"
        text = unknown if error and not isinstance(error, DgnbError) else str(error) if error else step.result()
        if text and text != self._told:
            self._report(text)
        elif self._failing and not error:
            self._report(f"The {self._kind} is written again: nothing of it is missing.")
        self._told, self._failing = text, error is not None

    def _report(self, text: str) -> None:
        self._transcript.note("warning", text)
        logger.warning("%s", text)


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Begin to do `work` in a thread of the loop's own pool."""
    loop = asyncio.get_running_loop()
    try:
        return loop.run_in_executor(None, work)
    except RuntimeError:
        # The interpreter exits, or no thread can be started: the loop has to wait for the disk.
        future: asyncio.Future[T] = loop.create_future()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future

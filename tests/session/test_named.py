from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

import dgnb
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer
from tests.support.speech import speech

Waits = Callable[[Coroutine[Any, Any, dgnb.Transcript]], Awaitable[dgnb.Transcript]]


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("one two three")) as server:
        yield server


async def plain(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


async def gathered(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return (await asyncio.gather(coroutine, asyncio.sleep(0)))[0]


async def task(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.create_task(coroutine)


async def shielded(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.shield(coroutine)


async def in_time(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.wait_for(coroutine, 30)


async def group(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.TaskGroup() as tasks:
        made = tasks.create_task(coroutine)
    return made.result()


async def first(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await next(asyncio.as_completed([coroutine]))


async def from_a_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(coroutine, loop).result(30))


async def own_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.to_thread(asyncio.run, coroutine)


async def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.to_thread(dgnb.run, coroutine)


EVERY_WAY = [plain, gathered, task, shielded, in_time, group, first, from_a_thread, own_loop, run]


@pytest.mark.parametrize("way", EVERY_WAY)
async def test_every_way_to_wait_gives_the_transcript(way: Waits, server: FaultyServer) -> None:
    transcript = await way(dgnb.transcribe(speech(), endpoint=server.url, pace=None))
    assert transcript.text == "one two three"
    if way is run:
        dgnb.blocking.stop()


@pytest.mark.parametrize("way", EVERY_WAY)
async def test_a_wrong_argument_is_told_when_it_is_awaited(way: Waits) -> None:
    coroutine = dgnb.transcribe("speech.wav", smart_fromat=True)
    with pytest.raises((dgnb.ConfigurationError, ExceptionGroup)) as caught:
        await way(coroutine)
    error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
    assert "Did you mean 'smart_format'?" in str(error)
    if way is run:
        dgnb.blocking.stop()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda session: dgnb.transcribe("speech.wav"), "await dgnb.transcribe(…)"),
        (lambda session: session.stop(), "await session.stop()"),
        (lambda session: session.wait(3), "await session.wait()"),
        (lambda session: session.finalize(), "await session.finalize()"),
        (lambda session: session.apply(dgnb.LiveOptions()), "await session.apply(…)"),
    ],
)
async def test_a_forgotten_await_is_told_by_the_repr_and_by_one_warning(
    call: Callable[[dgnb.LiveSession], object], told: str
) -> None:
    session = dgnb.LiveSession(bytes(3200), encoding="linear16", sample_rate=16000, endpoint="offline")
    forgotten = call(session)
    assert repr(forgotten) == f"<not awaited: write `{told}`>"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del forgotten
        gc.collect()
    assert [(one.category, "was never awaited" in str(one.message)) for one in warned] == [(RuntimeWarning, True)]


async def test_a_connection_that_was_not_awaited_says_so() -> None:
    assert "await dgnb.connect(…)" in repr(dgnb.connect(dgnb.LiveOptions(), endpoint="offline"))


async def test_the_repr_says_how_far_it_is() -> None:
    coroutine = dgnb.transcribe("no.wav", endpoint="offline")
    with pytest.raises(dgnb.AudioError):
        await coroutine
    assert repr(coroutine) == "<dgnb.transcribe(…): ended>"
    with pytest.raises(RuntimeError, match="cannot reuse"):
        await coroutine


async def test_one_that_was_closed_or_cancelled_before_it_began_warns_of_nothing(recwarn: Any) -> None:
    dgnb.transcribe("no.wav").close()
    made = asyncio.create_task(dgnb.transcribe("no.wav"))
    made.cancel()
    with pytest.raises(asyncio.CancelledError):
        await made
    with pytest.raises(dgnb.ConfigurationError, match="inside"):
        dgnb.run(nested_run())
    dgnb.blocking.stop()
    gc.collect()
    assert not recwarn.list


async def nested_run() -> None:
    dgnb.run(dgnb.transcribe("no.wav"))


def test_it_is_still_a_coroutine_function_with_its_signature() -> None:
    assert asyncio.iscoroutinefunction(dgnb.transcribe)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(dgnb.transcribe)
    assert list(inspect.signature(dgnb.transcribe).parameters)[:3] == ["source", "options", "encoding"]
    assert "Transcribe a source to its end" in str(dgnb.transcribe.__doc__)
    assert dgnb.transcribe.__name__ == "transcribe"


async def test_it_has_what_tools_ask_of_a_coroutine() -> None:
    coroutine = dgnb.transcribe("no.wav")
    assert isinstance(coroutine, Coroutine)
    assert inspect.isawaitable(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED  # type: ignore[arg-type]
    assert coroutine.__qualname__ == "transcribe"
    assert not hasattr(coroutine, "nosuch")
    assert repr(copy.copy(coroutine)) == repr(coroutine)
    coroutine.close()

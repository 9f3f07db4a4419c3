"""`named()`: an async function whose coroutine says in its repr that it was not awaited."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class NamedCoroutine(Awaitable[Any]):
    """A coroutine with a repr for people. `call` is what they wrote; the rest is the coroutine itself."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], call: str) -> None:
        self._coroutine, self._call = coroutine, call

    def __repr__(self) -> str:
        state = inspect.getcoroutinestate(self._coroutine)
        if state == inspect.CORO_CREATED:
            return f"<not awaited: write `await {self._call}`>"
        return f"<{self._call}: {'ended' if state == inspect.CORO_CLOSED else 'running'}>"

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # As `send`, `throw`, `close`, `cr_frame`. copy() asks before there is a coroutine.
        return getattr(vars(self).get("_coroutine"), name)


Coroutine.register(NamedCoroutine)


def named(call: str) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Have an async function return a `NamedCoroutine`. It stays a coroutine function for those who ask."""

    def wrap(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(function)
        def made(*given: P.args, **by_name: P.kwargs) -> Any:
            return NamedCoroutine(function(*given, **by_name), call)

        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(made)
        else:
            vars(made)["_is_coroutine"] = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
        return made

    return wrap

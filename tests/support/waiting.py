"""Waiting for what has no event that a test could await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop run until a condition holds.

    Raises:
        TimeoutError: It does not hold within so many seconds.
    """
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - no event stands for it
            await asyncio.sleep(0.001)

"""Errors as the usual tools print them, with the variables of each frame of the package."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from IPython.core.ultratb import FormattedTB

TESTS = str(Path(__file__).parents[1])


async def awaited(use: Callable[..., Any], *args: Any, **options: Any) -> object:
    """Call it, and await what it returns."""
    return await use(*args, **options)


def beyond_the_tests(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of the tests, which know the secrets."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(TESTS):
        trace = trace.tb_next
    return trace


def shown(error: BaseException) -> str:
    """An error as the usual tools print it."""
    trace = beyond_the_tests(error.__traceback__)
    told = traceback.TracebackException(type(error), error, trace, capture_locals=True)
    texts = [*told.format(), repr(error), str(error), repr(error.args), repr(vars(error))]
    for mode in ("Plain", "Context", "Verbose"):
        texts.append(FormattedTB(mode, "nocolor").text(type(error), error, trace))
    return "\n".join(texts)
